package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/internal/auth"
)

// defaultServe is what a file without serve says.
func defaultServe() Serve {
	return Serve{
		HTTP: "127.0.0.1:8080",
		Limits: ServeLimits{
			BodyBytes: 8 << 20, Connections: 4096, ConnectionsPerClient: 512, Concurrency: 256, Timeout: 10 * time.Second,
			Rate: ServeRate{Burst: 1}, Drain: 30 * time.Second,
		},
		Batch: ServeBatch{MaxRows: 256}, Refresh: time.Second, VersionsKept: 4,
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	all := defaultServe()
	all.HTTP = ":8443"
	all.TLS = ServeTLS{CertFile: "tls/server.pem", KeyFile: "/etc/server.key", ClientCAFile: "tls/ca.pem"}
	all.Auth = ServeAuth{
		TokensFile: "tokens",
		OIDC: &ServeOIDC{
			Issuer: "https://login.example.com/realms/ml", Audience: "millrace", NameClaim: "email", RolesClaim: "realm_access.roles",
			Roles:   []ClaimRoles{{Value: "ml-user", Roles: []auth.Role{auth.Viewer, auth.Scorer}}, {Value: "ml-admin", Roles: []auth.Role{auth.Operator}}},
			Require: []RequiredClaim{{Claim: "tenant", Value: "houses"}}, Algorithms: []string{"EdDSA"},
		},
		Certificates: []CertificateRoles{{Name: "scorer.example.com", Roles: []auth.Role{auth.Scorer}}},
	}
	all.Limits = ServeLimits{
		BodyBytes: 1 << 20, Connections: 100, ConnectionsPerClient: 100, Concurrency: 8, Timeout: 2 * time.Second,
		Rate: ServeRate{PerSecond: 2.5, Burst: 3}, Drain: 5 * time.Second, DrainNotice: 3 * time.Second,
	}
	all.Batch = ServeBatch{MaxRows: 32, MaxWait: 2 * time.Millisecond}
	all.Refresh, all.VersionsKept = 5*time.Second, 2
	all.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}
	for text, want := range map[string]Serve{
		"": defaultServe(),
		`serve:
  http: :8443
  tls: {cert_file: tls/server.pem, key_file: /etc/server.key, client_ca_file: tls/ca.pem}
  auth:
    tokens_file: tokens
    oidc:
      issuer: https://login.example.com/realms/ml
      audience: millrace
      name_claim: email
      roles_claim: realm_access.roles
      roles: {ml-user: [viewer, scorer], ml-admin: operator}
      require: {tenant: houses}
      algorithms: [EdDSA]
    certificates: {scorer.example.com: [scorer]}
  limits: {body_bytes: 1048576, connections: 100, concurrency: 8, timeout: 2s, rate: {per_second: 2.5}, drain: 5s, drain_notice: 3s}
  batch: {max_rows: 32, max_wait: 2ms}
  refresh: 5s
  versions_kept: 2
  trusted_proxies: [10.1.0.0/8, 192.0.2.7, 2001:db8::/32]
`: all,
	} {
		p, err := Parse("x.yaml", []byte(minimal+text), Options{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if d := cmp.Diff(want, p.Serve, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	if none, some := defaultServe(), all; none.Auth.Enabled() || !some.Auth.Enabled() {
		t.Error("who has to say who they are")
	}
}

func TestBadServe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http: localhost":                                                         "serve.http: want host:port",
		"http: localhost:http":                                                    "serve.http: want host:port",
		"http: http://localhost:80":                                               "serve.http: want host:port",
		"tls: {cert_file: a.pem}":                                                 "one of cert_file and key_file",
		"tls: {client_ca_file: a.pem}":                                            "without TLS no client shows a certificate",
		"auth: {certificates: {a: scorer}}":                                       "clients are not asked for a certificate",
		"auth: {certificates: {a: admin}}":                                        "want viewer, scorer, operator, author or reader",
		"auth: {certificates: {a: []}}":                                           "is empty",
		"auth: {oidc: {issuer: \"https://a\"}}":                                   "audience is missing",
		"auth: {oidc: {issuer: \"http://login.example.com\", audience: a}}":       "want a URL with https",
		"auth: {oidc: {issuer: \"https://u:p@login.example.com\", audience: a}}":  "want a URL with https",
		"auth: {oidc: {issuer: \"https://a\", audience: a, algorithms: none}}":    "want RS256",
		"auth: {oidc: {issuer: \"https://a\", audience: a, algorithms: [HS256]}}": "want RS256",
		"auth: {oidc: {issuer: \"https://a\", audience: a, roles: {x: [root]}}}":  "want viewer",
		"auth: {tokens: a}":                                                       "serve.auth has no key \"tokens\"",
		"limits: {body_bytes: 8MB}":                                               "want a whole number from 1024",
		"limits: {connections: 0}":                                                "want a whole number from 1",
		"limits: {connections: 5, connections_per_client: 6}":                     "is more than connections, which is 5",
		"limits: {rate: {per_second: -1}}":                                        "want a number from 0",
		"limits: {timeout: 1h}":                                                   "want a duration from 10ms to 10m",
		"batch: {max_wait: 2s}":                                                   "want a duration from 0s to 1s",
		"trusted_proxies: [proxy.example.com]":                                    "want an address or a network",
		"trusted_proxies: [10.0.0.0/33]":                                          "want an address or a network",
		"trusted_proxies: [\"fe80::1%eth0\"]":                                     "want an address or a network",
	} {
		_, err := Parse("x.yaml", []byte(minimal+"serve:\n  "+text+"\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}
