package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	limits := defaultServe().Limits
	longer := limits
	longer.Timeout = 20 * time.Second
	for text, want := range map[string]Query{
		"": {Limits: limits},
		`query:
  http: 10.1.2.3:8090
  advertise: https://a.example.com/x
  ca_file: ca.pem
  tls: {cert_file: a.pem, key_file: a.key, client_ca_file: ca.pem}
  auth: {tokens_file: tokens}
  limits: {timeout: 20s}
`: {
			HTTP: "10.1.2.3:8090", Advertise: "https://a.example.com/x", CAFile: "ca.pem", TLS: ServeTLS{CertFile: "a.pem", KeyFile: "a.key", ClientCAFile: "ca.pem"},
			Auth: ServeAuth{TokensFile: "tokens"}, Limits: longer,
		},
		"query: {http: \":8090\", advertise: \"https://behind.a.proxy\"}\n": {HTTP: ":8090", Advertise: "https://behind.a.proxy", Limits: limits},
	} {
		p, err := Parse("x.yaml", []byte(minimal+text), Options{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if d := cmp.Diff(want, p.Query); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
}

func TestBadQuery(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http: localhost":                   "query.http: want host:port",
		"advertise: 10.1.2.3:8090":          "query.advertise: want a URL",
		"advertise: http://u:p@a":           "query.advertise: want a URL",
		"advertise: http://a?x=y":           "query.advertise: want a URL",
		"advertise: ftp://a":                "query.advertise: want a URL",
		"tls: {cert_file: a.pem}":           "query.tls has one of cert_file and key_file",
		"auth: {certificates: {a: reader}}": "clients are not asked for a certificate",
		"advertise: http://a\n  tls: {cert_file: a.pem, key_file: a.key}":      "query.advertise begins with http://, and query.tls has the address speak TLS",
		"advertise: http://" + strings.Repeat("a", maxAdvertise-len("http:/")): "query.advertise: want a URL of at most 2048 bytes",
	} {
		_, err := Parse("x.yaml", []byte(minimal+"query:\n  "+text+"\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: error %v, want one with %q", text, err, want)
		}
	}
}
