package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/app"
	"millrace.dev/internal/auth"
	"millrace.dev/internal/config"
)

// TestSecrets gives canaries wherever a secret can come in: in tokens, headers, queries, bodies and the configuration. None comes out again:
// not in the log, with all its levels, in metrics, in errors, in other answers, or in what the configuration prints.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const canary = "canary:Xq7" // which is no id of a request: these are in answers
	t.Run("configuration", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "pipeline.yaml")
		text := flatsFile + "kafka: {tls: {enabled: true}, sasl: {mechanism: plain, username: me, password: \"${SASL}\"}}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := config.Load(file, config.Options{Env: func(name string) (string, bool) { return canary, name == "SASL" }})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := p.Kafka.SASL.Secret(); err != nil || b.Reveal() != canary {
			t.Fatal(b, err)
		}
		js, err := json.Marshal(p.Kafka) //nolint:musttag // it is printed as anybody would
		if err != nil {
			t.Fatal(err)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", p.Kafka, p.Kafka, p.Kafka, js); strings.Contains(s, canary) {
			t.Errorf("the configuration prints it: %s", s)
		}
	})
	g := serveGuarded(t, "serve.limits.rate.per_second=1000")
	var out bytes.Buffer
	ask := func(method, path, body string, header map[string]string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, g.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			r.Header.Set(k, v)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(a.Body)
		if err := errors.Join(err, a.Body.Close()); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, a.StatusCode, a.Header, string(b))
	}
	bearer := func(r auth.Role) map[string]string {
		return map[string]string{"Authorization": "Bearer " + g.tokens[r]}
	}
	for _, header := range []map[string]string{
		{"Authorization": "Bearer " + canary},
		{"Authorization": canary},
		{"Authorization": "Basic " + canary},
		{"Cookie": canary},
		{"X-Request-Id": canary + " "},
		{"User-Agent": canary},
		{"X-Forwarded-For": canary},
		{"Traceparent": canary},
		{"Origin": "https://" + canary},
		{"Content-Type": canary},
		{"Accept-Encoding": canary},
	} {
		for _, target := range []string{"POST /predict", "GET /v2/models/flats", "POST /v2/models/flats/infer", "GET /metrics", "GET /none", "POST /v2/repository/index"} {
			method, path, _ := strings.Cut(target, " ")
			ask(method, path, "{}", header)
			with := bearer(auth.Scorer)
			maps.Copy(with, header)
			ask(method, path, "{}", with)
		}
	}
	ask("GET", "/v2/models?token="+canary, "", bearer(auth.Viewer))
	ask("POST", "/predict?token="+canary, `{"size":"`+canary+`"}`, bearer(auth.Scorer))
	ask("POST", "/predict", canary, bearer(auth.Scorer))
	ask("POST", "/v2/models/flats/infer", `{"inputs":[{"name":"size","shape":[1],"datatype":"FP64","data":["`+canary+`"]}]}`, bearer(auth.Scorer))
	for _, r := range auth.Roles() {
		ask("GET", "/metrics", "", bearer(r))
	}
	places := map[string]string{"the log": g.log.String(), "an answer": out.String()}
	if len(places["the log"]) < 10_000 || !strings.Contains(places["an answer"], "\n200 ") {
		t.Errorf("the log has %d bytes, and the answers are %.200s", len(places["the log"]), places["an answer"])
	}
	secrets := []string{canary}
	for _, token := range g.tokens {
		secrets = append(secrets, token)
	}
	for place, text := range places {
		for _, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("%s has a secret in it: %s", place, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
}

// TestServedTLS has clients show certificates that the pipeline file gives roles to.
func TestServedTLS(t *testing.T) {
	t.Parallel()
	f := newFlats(t, flatsFile+"serve: {tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}, auth: {certificates: {example.com: [viewer]}}}\n")
	pair, pool := selfSigned(t, filepath.Dir(f.file))
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := make(chan *app.Serving, 1), make(chan error, 1)
	f.a.Log = slog.New(slog.DiscardHandler)
	go func() {
		_, err := f.a.Serve(ctx, app.ServeOptions{
			Files: []string{f.file}, HTTP: "127.0.0.1:0", Threads: 1, Started: func(s *app.Serving) { started <- s },
		})
		ended <- err
	}()
	var at *app.Serving
	select {
	case at = <-started:
	case err := <-ended:
		t.Fatal(err)
	}
	status := map[string]int{}
	for name, certificates := range map[string][]tls.Certificate{"with": {pair}, "without": nil} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates}}
		for _, path := range []string{"/v2/models/flats", "/metrics"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+at.Address+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			a, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = a.Body.Close()
			status[name+" "+path] = a.StatusCode
		}
		transport.CloseIdleConnections()
	}
	if d := cmp.Diff(map[string]int{"with /v2/models/flats": 200, "with /metrics": 403, "without /v2/models/flats": 401, "without /metrics": 401}, status); d != "" {
		t.Error(d)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// selfSigned writes a certificate that is its own authority, for servers and clients, and its key, to cert.pem and key.pem.
func selfSigned(t *testing.T, dir string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"example.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, private := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	for name, b := range map[string][]byte{"cert.pem": cert, "key.pem": private} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pair, pool
}
