package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"

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
	c := &p.Serve
	o := server.Options{
		TLS: server.TLS{Cert: c.TLS.CertFile, Key: c.TLS.KeyFile, ClientCA: c.TLS.ClientCAFile},
		Limits: server.Limits{
			Body: c.Limits.BodyBytes, Connections: c.Limits.Connections, ConnectionsPerClient: c.Limits.ConnectionsPerClient,
			Concurrency: c.Limits.Concurrency, Timeout: c.Limits.Timeout, RatePerSecond: c.Limits.Rate.PerSecond, Burst: c.Limits.Rate.Burst,
		},
		TrustedProxies: c.TrustedProxies, Log: a.Log, Now: a.Now, Around: around(t),
	}
	if !c.Auth.Enabled() {
		return o, nil
	}
	if c.TLS.CertFile == "" && (c.Auth.TokensFile != "" || c.Auth.OIDC != nil) {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "whoever listens in can read tokens: connections are not encrypted",
			slog.String("hint", "set serve.tls, unless a proxy in front does that"))
	}
	checker, err := auth.New(authOptions(&c.Auth, a))
	if err != nil {
		return o, &Error{Code: Usage, Op: "serve", Where: p.File, Err: err, Hint: "see docs/serve_security.md"}
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
