package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/netip"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/config"
	"millrace.dev/internal/secret"
	"millrace.dev/internal/server"
	"millrace.dev/internal/trace"
)

// around has spans around the handlers of routes that are not light.
func around(t *trace.Tracer) func(server.Route, http.Handler) http.Handler {
	return func(r server.Route, h http.Handler) http.Handler {
		if r.Light {
			return h
		}
		return t.Handler(r.Method+" "+r.Pattern, h)
	}
}

// serverOptions returns how a server answers by the section serve of a pipeline file.
func (a *App) serverOptions(ctx context.Context, p *config.Pipeline, t *trace.Tracer) (server.Options, error) {
	return a.guarded(ctx, "serve", p.File, &p.Serve.TLS, &p.Serve.Auth, &p.Serve.Limits, p.Serve.TrustedProxies, t)
}

// guarded returns how a server answers by a section of a pipeline file.
func (a *App) guarded(ctx context.Context, section, file string, tls *config.ServeTLS, who *config.ServeAuth, l *config.ServeLimits, proxies []netip.Prefix, t *trace.Tracer) (server.Options, error) {
	o := server.Options{
		TLS: server.TLS{Cert: tls.CertFile, Key: tls.KeyFile, ClientCA: tls.ClientCAFile},
		Limits: server.Limits{
			Body: l.BodyBytes, Connections: l.Connections, ConnectionsPerClient: l.ConnectionsPerClient,
			Concurrency: l.Concurrency, Timeout: l.Timeout, RatePerSecond: l.Rate.PerSecond, Burst: l.Rate.Burst,
		},
		TrustedProxies: proxies, Log: a.Log, Now: a.Now, Around: around(t),
	}
	if !who.Enabled() {
		return o, nil
	}
	if tls.CertFile == "" && (who.TokensFile != "" || who.OIDC != nil) {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "whoever listens in can read tokens: connections are not encrypted",
			slog.String("hint", "set "+section+".tls, unless a proxy in front does that"))
	}
	checker, err := auth.New(authOptions(who, a))
	if err != nil {
		return o, &Error{Code: Usage, Op: section, Where: file, Err: err, Hint: "see docs/serve_security.md"}
	}
	o.Auth = checker
	return o, nil
}

func authOptions(c *config.ServeAuth, a *App) auth.Options {
	o := auth.Options{Tokens: c.TokensFile, Log: a.Log, Now: a.Now}
	for _, cert := range c.Certificates {
		o.Certificates = append(o.Certificates, auth.Certificate(cert))
	}
	if c.OIDC == nil {
		return o
	}
	o.OIDC = &auth.OIDC{
		Issuer: c.OIDC.Issuer, Audience: c.OIDC.Audience, CAFile: c.OIDC.CAFile, NameClaim: c.OIDC.NameClaim, RolesClaim: c.OIDC.RolesClaim,
		Roles: map[string][]auth.Role{}, Require: map[string]string{}, Algorithms: c.OIDC.Algorithms,
	}
	for _, r := range c.OIDC.Roles {
		o.OIDC.Roles[r.Value] = r.Roles
	}
	for _, r := range c.OIDC.Require {
		o.OIDC.Require[r.Claim] = r.Value
	}
	return o
}

// NewToken returns a new bearer token, and its line for a tokens file.
func NewToken(name string, roles []string) (token secret.Text, line string, err error) {
	list := make([]auth.Role, len(roles))
	for i, r := range roles {
		list[i] = auth.Role(r)
	}
	if token, line, err = auth.NewToken(rand.Reader, name, list); err != nil {
		return token, "", &Error{Code: Usage, Op: "make token", Where: name, Err: err}
	}
	return token, line, nil
}
