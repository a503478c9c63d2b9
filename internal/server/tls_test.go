package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
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
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue writes a certificate and its key, and returns the paths.
func (a *authority) issue(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "EC PRIVATE KEY", secret)
	return cert, key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

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
	dir, a, stranger := t.TempDir(), newAuthority(t), newAuthority(t)
	cert, key := a.issue(t, dir, "server")
	clientCert, clientKey := a.issue(t, dir, "scorer")
	ca := filepath.Join(dir, "ca.pem")
	writePEM(t, ca, "CERTIFICATE", a.cert.Raw)
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	s := start(t, Options{Auth: byCertificate{}, TLS: TLS{Cert: cert, Key: key, ClientCA: ca}, Now: func() time.Time { return time.Unix(0, clock.Load()) }})
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	model := request{method: "GET", path: "/models/m"}
	for protocol, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "HTTP/2.0": http2} {
		got := do(t, secure(t, &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{pair}}, set), model.make(t, s.url))
		if got.body != "m for scorer by "+protocol || got.header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: %d %s", protocol, got.status, got.body)
		}
		if got := do(t, secure(t, &tls.Config{RootCAs: a.pool()}, set), model.make(t, s.url)); got.status != http.StatusUnauthorized {
			t.Errorf("without a certificate: %d %s", got.status, got.body)
		}
	}
	otherCert, otherKey := stranger.issue(t, t.TempDir(), "scorer")
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
	refused(&tls.Config{RootCAs: a.pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &other, nil }})
	refused(&tls.Config{RootCAs: a.pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})

	config := &tls.Config{RootCAs: stranger.pool(), Certificates: []tls.Certificate{pair}}
	refused(config)
	next, nextKey := stranger.issue(t, t.TempDir(), "server")
	replace(t, next, cert) // and not yet its key
	clock.Add(int64(2 * time.Second))
	refused(config)
	if got := do(t, secure(t, &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{pair}}, http1), model.make(t, s.url)); got.status != http.StatusOK {
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
	dir, a := t.TempDir(), newAuthority(t)
	cert, key := a.issue(t, dir, "a")
	_, other := a.issue(t, dir, "b")
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
			cert, key := newAuthority(t).issue(t, t.TempDir(), "server")
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
