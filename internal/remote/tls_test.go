package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key = issue(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func issue(t *testing.T, by *authority, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeClient writes the files of a client that a server's authority knows.
func writeClient(t *testing.T, files TLS, server, client *authority, name string) {
	t.Helper()
	cert, key := issue(t, client, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, files.CAFile, "CERTIFICATE", server.cert.Raw)
	write(t, files.CertFile, "CERTIFICATE", cert.Raw)
	write(t, files.KeyFile, "EC PRIVATE KEY", der)
}

// secure starts a server with TLS, and HTTP/2, that wants certificates of clients.
func secure(t *testing.T, server, client *authority, h http.HandlerFunc) string {
	t.Helper()
	cert, key := issue(t, server, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	pool := x509.NewCertPool()
	pool.AddCert(client.cert)
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// TestMutualTLS shows the certificate in the files, and the next one when they have changed.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	server, client, other := newAuthority(t), newAuthority(t), newAuthority(t)
	var name, protocol atomic.Value
	url := secure(t, server, client, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		name.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
		protocol.Store(r.Proto)
		_, _ = io.WriteString(w, good)
	})
	dir := t.TempDir()
	files := TLS{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	writeClient(t, files, server, client, "first")
	var clock atomic.Int64
	start := time.Now()
	m := model(t, Options{Protocol: MLflow, URL: url, TLS: files, Now: func() time.Time { return start.Add(time.Duration(clock.Load())) }})
	score := func(want string) {
		t.Helper()
		if _, err := m.Score(t.Context(), houses()); err != nil {
			t.Fatal(err)
		}
		if name.Load() != want || protocol.Load() != "HTTP/2.0" {
			t.Errorf("called by %v with %v, want %s", name.Load(), protocol.Load(), want)
		}
	}
	score("first")
	writeClient(t, files, server, client, "the second")
	score("first") // not looked at yet
	clock.Add(int64(fileInterval))
	score("the second")
	if err := os.WriteFile(files.KeyFile, []byte("half of a"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock.Add(int64(fileInterval))
	score("the second") // a file that is being written

	writeClient(t, files, server, other, "a stranger")
	clock.Add(int64(fileInterval))
	_, err := m.Score(t.Context(), houses())
	if e, ok := errors.AsType[*Error](err); !ok || e.Class != Forbidden || e.Hint == "" {
		t.Errorf("a certificate that the server does not believe: %v", err)
	}
	writeClient(t, files, other, client, "first")
	clock.Add(int64(fileInterval))
	_, err = m.Score(t.Context(), houses())
	if e, ok := errors.AsType[*Error](err); !ok || e.Class != Forbidden || e.Hint == "" {
		t.Errorf("a server that is not to be believed: %v", err)
	}
}

func TestTLSFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range []TLS{
		{CAFile: filepath.Join(dir, "none")}, {CAFile: empty}, {CertFile: empty, KeyFile: empty}, {CertFile: empty}, {KeyFile: empty},
	} {
		if _, err := New(Options{Protocol: MLflow, URL: "https://models.example", TLS: files}); err == nil {
			t.Errorf("%+v is taken", files)
		}
	}
}

// TestGoAway has a server of HTTP/2 that ends connections in good order: calls go on over others.
func TestGoAway(t *testing.T) {
	t.Parallel()
	server, client := newAuthority(t), newAuthority(t)
	url := secure(t, server, client, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Connection", "close") // GOAWAY, in HTTP/2
		_, _ = io.WriteString(w, good)
	})
	dir := t.TempDir()
	files := TLS{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	writeClient(t, files, server, client, "a client")
	m := model(t, Options{Protocol: MLflow, URL: url, TLS: files, Retries: 20})
	done := make(chan error)
	for range 4 {
		go func() {
			for range 20 {
				if _, err := m.Score(t.Context(), houses()); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
