//go:build unix

package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace.dev/e2e/leash"
	"millrace.dev/e2e/pypi"
	"millrace.dev/internal/house"
)

const (
	sales = 3000 // the model is trained with
	rows  = 40   // are predicted: others
	least = 40   // checks
)

// TestClients runs the checks of both clients, which cannot be in one process: each brings the messages of the protocol. The
// OpenAPI document is held to its specification, and to what is answered. Then it serves the same with TLS and tokens.
func TestClients(t *testing.T) {
	python := pypi.Environment(t, "conformance", "requirements.txt", "make conformance")
	p := newProject(t)
	address := p.serve("pipeline.yaml", "windows.yaml")
	passed, total := 0, 0
	count := func(python, script, address string, more ...string) {
		good, all, out := p.checks(python, script, address, more...)
		passed, total = passed+good, total+all
		if good != all || all == 0 {
			t.Errorf("%s:\n%s", script, out)
		}
	}
	count(python, "triton.py", address)
	count(python, "kserve_client.py", address)
	count(pypi.Environment(t, "openapi", "requirements_openapi.txt", "make conformance"), "openapi.py", address)
	certificate, scorer, viewer := p.secure()
	count(python, "secured.py", p.serve("secured.yaml"), certificate, scorer, viewer)
	if total < least {
		t.Errorf("%d checks: want %d and more", total, least)
	}
	if _, err := fmt.Fprintf(os.Stdout, "%d/%d\n", passed, total); err != nil {
		t.Error(err)
	}
}

// project is a folder with two models: one that predicts records, of which versions 1 and 2 are approved, and 3 is not; and
// one that needs windows.
type project struct {
	t           *testing.T
	binary, dir string
}

func newProject(t *testing.T) *project {
	t.Helper()
	p := &project{t: t, dir: t.TempDir()}
	p.binary = filepath.Join(p.dir, "millrace")
	p.run("", "go", "build", "-o", p.binary, "millrace.dev/cmd/millrace")
	g, err := house.New(house.Options{Seed: 1, History: sales})
	if err != nil {
		t.Fatal(err)
	}
	var records []byte
	for i := range int64(rows) {
		s := g.Sale(sales + i)
		records = append(s.AppendListing(records), '\n')
	}
	p.write("sales.csv", g.CSV(sales))
	p.write("records.jsonl", records)
	for _, name := range []string{"pipeline.yaml", "windows.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		p.write(name, text)
	}
	for version, trees := range []string{"40", "20", "10"} {
		p.millrace("train", "--by", "e2e", "--set", "train.gbm.ntrees="+trees)
		if version < 2 {
			p.approve("pipeline.yaml", fmt.Sprintf("house-prices@%d", version+1))
		}
	}
	p.millrace("train", "windows.yaml", "--by", "e2e")
	p.approve("windows.yaml", "busy-prices@1")
	for _, version := range []string{"1", "2"} {
		p.millrace("predict", "--data", "records.jsonl", "--model", "house-prices@"+version, "--out", "predicted"+version+".jsonl")
	}
	return p
}

func (p *project) approve(file, model string) {
	p.t.Helper()
	p.millrace("model", "approve", model, "-f", file, "--by", "e2e", "--reason", "it is a test")
}

func (p *project) path(name string) string { return filepath.Join(p.dir, name) }

func (p *project) write(name string, text []byte) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), text, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// run runs a command that has to succeed.
func (p *project) run(dir, name string, args ...string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
}

func (p *project) millrace(args ...string) {
	p.t.Helper()
	p.run(p.dir, p.binary, args...)
}

// secure writes secured.yaml, by which the same is served with TLS and tokens. It returns the file of the certificate, and the
// tokens of somebody who may predict and look, and of one who may only look.
func (p *project) secure() (certificate, scorer, viewer string) {
	p.t.Helper()
	certificate = p.certificate()
	var lines strings.Builder
	token := func(name, roles string) string {
		cmd := exec.CommandContext(p.t.Context(), p.binary, "token", "new", name, "--roles", roles, "--json")
		out, err := cmd.Output()
		var made struct {
			Token string `json:"token"`
			Line  string `json:"line"`
		}
		if err == nil {
			err = json.Unmarshal(out, &made)
		}
		if err != nil {
			p.t.Fatalf("a token: %v: %s", err, out)
		}
		lines.WriteString(made.Line + "\n")
		return made.Token
	}
	scorer, viewer = token("scorer", "scorer,viewer"), token("viewer", "viewer")
	p.write("tokens", []byte(lines.String()))
	text, err := os.ReadFile(p.path("pipeline.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	plain, _, _ := strings.Cut(string(text), "serve:")
	p.write("secured.yaml", []byte(plain+"serve: {tls: {cert_file: cert.pem, key_file: key.pem}, auth: {tokens_file: tokens}}\n"))
	return certificate, scorer, viewer
}

// certificate writes a certificate that vouches for itself, and its key.
func (p *project) certificate() (path string) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		p.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	p.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}))
	return p.path("cert.pem")
}

// serve serves models, and returns the address. The server ends with the test, in good order: 143 says that it was told to.
func (p *project) serve(files ...string) (address string) {
	p.t.Helper()
	name := files[0] + ".log"
	log, err := os.Create(p.path(name))
	if err != nil {
		p.t.Fatal(err)
	}
	server, err := leash.Start(leash.Command{Args: append([]string{p.binary, "serve", "--http", "127.0.0.1:0"}, files...), Dir: p.dir, Stdout: log, Stderr: log})
	if err != nil {
		p.t.Fatal(err)
	}
	_ = log.Close() // the server has its own
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), time.Minute)
		defer cancel()
		if err := server.End(ctx, syscall.SIGTERM); err != nil || server.State().ExitCode() != 143 {
			p.t.Errorf("the server has ended with %v, %v", server.State(), err)
		}
		if p.t.Failed() {
			p.t.Logf("the log of the server:\n%s", p.log(name))
		}
	})
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if at := regexp.MustCompile(`at https?://(\S+)`).FindStringSubmatch(p.log(name)); at != nil {
			return at[1]
		}
		select {
		case <-tick.C:
		case <-server.Done():
			p.t.Fatalf("the server has ended:\n%s", p.log(name))
		case <-ctx.Done():
			p.t.Fatalf("the server has not begun:\n%s", p.log(name))
		}
	}
}

// log returns the end of what a server has said.
func (p *project) log(name string) string {
	p.t.Helper()
	f, err := os.Open(p.path(name))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it is only read
	const most = 64 << 10
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // else all of it is read
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// checks runs a script, whose last line is passed/total.
func (p *project) checks(python, script, address string, more ...string) (passed, total int, out string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, append([]string{filepath.Join("testdata", script), address, p.path("records.jsonl"), p.path("predicted1.jsonl"), p.path("predicted2.jsonl")}, more...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	var all, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &all, &errs
	err := cmd.Run()
	out = all.String()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if _, scanErr := fmt.Sscanf(lines[len(lines)-1], "%d/%d", &passed, &total); scanErr != nil {
		p.t.Fatalf("%s: %v\n%s%s", script, err, out, errs.String())
	}
	return passed, total, out
}
