package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"millrace.dev/internal/auth"
	"millrace.dev/internal/testenv"
)

// byCertificate has the common name of a client's certificate as its name.
type byCertificate struct{}

func (byCertificate) Authenticate(r *http.Request) (*auth.Principal, error) {
	if len(r.TLS.PeerCertificates) == 0 {
		return &auth.Principal{}, nil
	}
	return &auth.Principal{Name: r.TLS.PeerCertificates[0].Subject.CommonName, Roles: auth.Roles()}, nil
}

func secure(t *testing.T, config *tls.Config, set func(*http.Protocols)) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	set(protocols)
	transport := &http.Transport{TLSClientConfig: config, Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func http2(p *http.Protocols) { p.SetHTTP2(true) }

// TestTLS has clients with and without a certificate, by both protocols, and certificates that change while the server runs.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir, a, stranger := t.TempDir(), testenv.NewAuthority(t), testenv.NewAuthority(t)
	cert, key := a.Issue(t, dir, "server")
	clientCert, clientKey := a.Issue(t, dir, "scorer")
	ca := a.File(t, dir)
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	s := start(t, Options{Auth: byCertificate{}, TLS: TLS{Cert: cert, Key: key, ClientCA: ca}, Now: func() time.Time { return time.Unix(0, clock.Load()) }})
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	model := request{method: "GET", path: "/models/m"}
	for protocol, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "HTTP/2.0": http2} {
		got := do(t, secure(t, &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{pair}}, set), model.make(t, s.url))
		if got.body != "m for scorer by "+protocol || got.header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: %d %s", protocol, got.status, got.body)
		}
		if got := do(t, secure(t, &tls.Config{RootCAs: a.Pool()}, set), model.make(t, s.url)); got.status != http.StatusUnauthorized {
			t.Errorf("without a certificate: %d %s", got.status, got.body)
		}
	}
	otherCert, otherKey := stranger.Issue(t, t.TempDir(), "scorer")
	other, err := tls.LoadX509KeyPair(otherCert, otherKey)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(config *tls.Config) {
		t.Helper()
		if a, err := secure(t, config, http1).Do(model.make(t, s.url)); err == nil {
			_ = a.Body.Close()
			t.Errorf("status %d", a.StatusCode)
		}
	}
	// With TLS 1.3 a client is through before the server says that it does not know the authority.
	refused(&tls.Config{RootCAs: a.Pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &other, nil }})
	refused(&tls.Config{RootCAs: a.Pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})

	config := &tls.Config{RootCAs: stranger.Pool(), Certificates: []tls.Certificate{pair}}
	refused(config)
	next, nextKey := stranger.Issue(t, t.TempDir(), "server")
	replace(t, next, cert) // and not yet its key
	clock.Add(int64(2 * time.Second))
	refused(config)
	if got := do(t, secure(t, &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{pair}}, http1), model.make(t, s.url)); got.status != http.StatusOK {
		t.Errorf("between the two files: %d", got.status)
	}
	replace(t, nextKey, key)
	clock.Add(int64(2 * time.Second))
	if got := do(t, secure(t, config, http1), model.make(t, s.url)); got.status != http.StatusOK {
		t.Errorf("after both: %d", got.status)
	}
	if n := strings.Count(s.log.String(), "cannot be used"); n != 1 {
		t.Errorf("the log says %d times that the key was not there yet", n)
	}
}

func replace(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestBadTLS(t *testing.T) {
	t.Parallel()
	dir, a := t.TempDir(), testenv.NewAuthority(t)
	cert, key := a.Issue(t, dir, "a")
	_, other := a.Issue(t, dir, "b")
	for want, files := range map[string]TLS{
		"no such file":             {Cert: cert, Key: filepath.Join(dir, "none")},
		"does not match":           {Cert: cert, Key: other},
		"holds no certificate":     {Cert: cert, Key: key, ClientCA: key},
		"none: no such file or di": {Cert: cert, Key: key, ClientCA: filepath.Join(dir, "none")},
	} {
		if _, err := New(NewRouter(), Options{TLS: files}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestGRPC has a procedure of gRPC as a route, and clients of gRPC meet its role and limits.
func TestGRPC(t *testing.T) {
	t.Parallel()
	const procedure = "/test.Service/Echo"
	handler := connect.NewUnaryHandler(procedure, func(_ context.Context, r *connect.Request[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.BytesValue], error) {
		return connect.NewResponse(r.Msg), nil
	})
	for name, o := range map[string]Options{
		"h2c": {},
		"TLS": func() Options {
			cert, key := testenv.NewAuthority(t).Issue(t, t.TempDir(), "server")
			return Options{TLS: TLS{Cert: cert, Key: key}}
		}(),
	} {
		router := NewRouter()
		if err := router.Add(Route{Method: http.MethodPost, Pattern: procedure, Role: auth.Scorer, Summary: "Echo", Handler: handler}); err != nil {
			t.Fatal(err)
		}
		o.Auth, o.Limits = known(), Limits{Body: 100, RatePerSecond: 0.001, Burst: 4}
		s, err := New(router, o)
		if err != nil {
			t.Fatal(err)
		}
		url := serve(t, s)
		set := h2c
		if o.TLS != (TLS{}) {
			set = http2
		}
		client := connect.NewClient[wrapperspb.BytesValue, wrapperspb.BytesValue](secure(t, &tls.Config{InsecureSkipVerify: true}, set), url+procedure, connect.WithGRPC()) //nolint:gosec // whom the client talks to is not what is tested
		call := func(token string, n int) connect.Code {
			t.Helper()
			r := connect.NewRequest(wrapperspb.Bytes(make([]byte, n)))
			if token != "" {
				r.Header().Set("Authorization", "Bearer "+token)
			}
			got, err := client.CallUnary(t.Context(), r)
			if err == nil {
				if len(got.Msg.GetValue()) != n {
					t.Errorf("%s: %d bytes, want %d", name, len(got.Msg.GetValue()), n)
				}
				return 0
			}
			return connect.CodeOf(err)
		}
		for _, c := range []struct {
			token string
			n     int
			want  connect.Code
		}{
			{"ada", 20, 0},
			{"ada", 90, 0},
			{"ada", 100, connect.CodeResourceExhausted}, // with its frame
			{"", 20, connect.CodeUnauthenticated},
			{"eve", 20, connect.CodeUnauthenticated},
			{"bob", 20, connect.CodePermissionDenied},
			{"later", 20, connect.CodeUnavailable},
			{"ada", 20, 0},
			{"ada", 20, connect.CodeResourceExhausted}, // the rate
		} {
			if got := call(c.token, c.n); got != c.want {
				t.Errorf("%s: token %q, %d bytes: code %v, want %v", name, c.token, c.n, got, c.want)
			}
		}
	}
}
