package auth

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ed25519Key() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	p := &Principal{Roles: []Role{Viewer, Operator}}
	for role, want := range map[Role]bool{Anyone: true, Viewer: true, Scorer: false, Operator: true, Author: false} {
		if p.May(role) != want {
			t.Errorf("%s: %t", role, !want)
		}
	}
	if got := From(With(t.Context(), p)); got != p {
		t.Error(got)
	}
	if got := From(t.Context()); got.Name != "" || got.May(Viewer) || !got.May(Anyone) {
		t.Error(got)
	}
}

// write writes a tokens file that only its owner can read.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTokens makes tokens, and has them known while the file says so.
func TestTokens(t *testing.T) {
	t.Parallel()
	token, line, err := NewToken(strings.NewReader(strings.Repeat("x", tokenBytes)), "ada", []Role{Scorer, Viewer})
	if err != nil {
		t.Fatal(err)
	}
	if want := "millrace_" + "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg"; token.Reveal() != want {
		t.Errorf("token %s, want %s", token.Reveal(), want)
	}
	if strings.Contains(line, token.Reveal()) || !strings.HasPrefix(line, "ada scorer,viewer ") {
		t.Errorf("line %q", line)
	}
	other, otherLine, err := NewToken(rand.Reader, "bob@example.com", []Role{Author})
	if err != nil {
		t.Fatal(err)
	}
	now := &clock{now: time.Unix(0, 0)}
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, "# who may do what\n\n"+line+"  # of the stream\n")
	c := newChecker(t, Options{Tokens: path, Now: now.Now, Log: slog.New(slog.NewTextHandler(&log, nil))})
	want := func(token, name string, roles ...Role) {
		t.Helper()
		got, err := ask(t, c, token)
		if name == "" && (err == nil || err.Error() != "the bearer token is not known") {
			t.Errorf("%v %v", got, err)
		}
		if name != "" && cmp.Diff(&Principal{Name: name, Roles: roles}, got) != "" {
			t.Errorf("%v %v, want %s", got, err, name)
		}
	}
	want(token.Reveal(), "ada", Scorer, Viewer)
	want(other.Reveal(), "")
	want(token.Reveal()+"x", "")
	want(strings.Fields(line)[2], "") // the hash is no token
	write(t, path, line+"\n"+otherLine+"\n")
	now.pass(time.Second)
	want(other.Reveal(), "bob@example.com", Author)
	write(t, path, otherLine+"\nada scorer "+token.Reveal()+"\n") // the token in the place of its hash
	now.pass(time.Second)
	want(token.Reveal(), "ada", Scorer, Viewer) // what was there before stays
	if s := log.String(); !strings.Contains(s, "line 2: the third word is no SHA-256") || strings.Contains(s, token.Reveal()) {
		t.Errorf("log %q", s)
	}
	write(t, path, otherLine+"\n")
	now.pass(time.Second)
	want(token.Reveal(), "")
	want(other.Reveal(), "bob@example.com", Author)
}

func TestBadTokens(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0a", 32)
	for text, want := range map[string]string{
		"ada scorer":                                  "line 1: want a name, roles and the SHA-256 of a token, and not 2 words",
		"\nada scorer x y":                            "line 2: want a name",
		"ada scorer " + hash[2:]:                      "line 1: the third word is no SHA-256",
		"ada scorer " + strings.Repeat("x", 64):       "line 1: the third word is no SHA-256",
		"ada root " + hash:                            `there is no role "root"`,
		"ada scorer,,viewer " + hash:                  `there is no role ""`,
		"a/b scorer " + hash:                          "want a name of at most 63",
		strings.Repeat("a", 64) + " scorer " + hash:   "want a name of at most 63",
		"ada scorer " + hash + "\nbob viewer " + hash: "line 2: an earlier line has the same token",
		strings.Repeat("#\n", maxTokensFile):          "larger than 1048576 bytes",
	} {
		if _, err := parseTokens([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: error %v, want one with %q", text, err, want)
		}
	}
	for _, roles := range [][]Role{nil, {"root"}, {Anyone}} {
		if _, _, err := NewToken(rand.Reader, "ada", roles); err == nil {
			t.Errorf("roles %v", roles)
		}
	}
	if _, _, err := NewToken(strings.NewReader("short"), "ada", []Role{Viewer}); err == nil {
		t.Error("a token of few random bytes")
	}
}

// TestTokensMode refuses a file that others can read.
func TestTokensMode(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("this system has no modes of files")
	}
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, "")
	for mode, ok := range map[os.FileMode]bool{0o400: true, 0o600: true, 0o640: true, 0o604: false, 0o644: false, 0o660: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{Tokens: path})
		if (err == nil) != ok {
			t.Errorf("%#o: %v", mode, err)
		}
		if err != nil && !strings.Contains(err.Error(), "chmod 600") {
			t.Error(err)
		}
	}
	if _, err := New(Options{Tokens: path + "x"}); err == nil {
		t.Error("a file that is not there")
	}
}

// TestHeaders sees which headers are understood.
func TestHeaders(t *testing.T) {
	t.Parallel()
	token, line, err := NewToken(rand.Reader, "ada", []Role{Scorer})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, line)
	c := newChecker(t, Options{Tokens: path})
	text := token.Reveal()
	for _, test := range []struct {
		headers     []string
		name, error string
	}{
		{nil, "", ""},
		{[]string{"Bearer " + text}, "ada", ""},
		{[]string{"bearer   " + text}, "ada", ""},
		{[]string{text}, "", "no bearer token"},
		{[]string{""}, "", "no bearer token"},
		{[]string{"Bearer "}, "", "no bearer token"},
		{[]string{"Basic " + text}, "", "no bearer token"},
		{[]string{"Bearer " + text, "Bearer " + text}, "", "more than one header"},
		{[]string{"Bearer " + strings.Repeat("x", maxToken+1)}, "", "more than 8192 bytes"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.Header["Authorization"] = test.headers
		got, err := c.Authenticate(r)
		switch {
		case test.error != "":
			if err == nil || !strings.Contains(err.Error(), test.error) || strings.Contains(err.Error(), text) {
				t.Errorf("%.20q: error %v, want one with %q", test.headers, err, test.error)
			}
		case err != nil || got.Name != test.name:
			t.Errorf("%.20q: %v %v", test.headers, got, err)
		}
	}
}

// TestCertificates finds the roles of client certificates by all their names.
func TestCertificates(t *testing.T) {
	t.Parallel()
	c := newChecker(t, Options{Certificates: []Certificate{
		{"scorer", []Role{Scorer}}, {"a.example.com", []Role{Viewer}}, {"192.0.2.1", []Role{Operator}}, {"spiffe://example.com/sa/x", []Role{Author}}, {"", []Role{Author}},
	}})
	id, err := url.Parse("spiffe://example.com/sa/x")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		cert x509.Certificate
		want Principal
	}{
		"common name": {x509.Certificate{Subject: pkix.Name{CommonName: "scorer"}}, Principal{"scorer", []Role{Scorer}}},
		"DNS name":    {x509.Certificate{DNSNames: []string{"b.example.com", "a.example.com"}}, Principal{"a.example.com", []Role{Viewer}}},
		"address":     {x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}, Principal{"192.0.2.1", []Role{Operator}}},
		"URI":         {x509.Certificate{URIs: []*url.URL{id}}, Principal{"spiffe://example.com/sa/x", []Role{Author}}},
		"several":     {x509.Certificate{Subject: pkix.Name{CommonName: "scorer"}, DNSNames: []string{"a.example.com"}}, Principal{"scorer", []Role{Scorer, Viewer}}},
		"a part":      {x509.Certificate{Subject: pkix.Name{CommonName: "scorer.example.com"}}, Principal{}},
		"no name":     {x509.Certificate{}, Principal{}},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{&test.cert}, VerifiedChains: [][]*x509.Certificate{{&test.cert}}}
		got, err := c.Authenticate(r)
		if d := cmp.Diff(&test.want, got); d != "" || err != nil {
			t.Error(name, d, err)
		}
		r.TLS.VerifiedChains = nil // nobody checked it
		if got, err := c.Authenticate(r); err != nil || got.Name != "" {
			t.Error(name, got, err)
		}
	}
}

func FuzzTokens(f *testing.F) {
	_, line, err := NewToken(rand.Reader, "ada", []Role{Scorer, Viewer})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(line + "\n# comment\n"))
	f.Add([]byte("a viewer 00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parseTokens(text)
		if err != nil {
			return
		}
		for i := range all {
			if checkToken(all[i].principal.Name, all[i].principal.Roles) != nil {
				t.Errorf("%+v", all[i].principal)
			}
		}
		if all.find("") != nil {
			t.Error("the empty text is a token")
		}
	})
}

func FuzzBearer(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	i, err := newIssuer(&OIDC{Issuer: "https://a.example", Audience: "a"}, func() time.Time { return now })
	if err != nil {
		f.Fatal(err)
	}
	i.keys.current.Store(&keySet{at: now})
	i.keys.tried = now // so that no key is asked for
	c := &Checker{issuer: i, log: slog.New(slog.DiscardHandler)}
	f.Add("Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJhIn0.AAAA")
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	f.Add("Basic YTpi")
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		if p, err := c.Authenticate(r); err == nil {
			t.Errorf("%q is %v", header, p)
		}
	})
}
