package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
)

// provider is a small OpenID Connect issuer.
type provider struct {
	*httptest.Server

	mu      sync.Mutex
	keys    []jose.JSONWebKey // that it publishes
	fetches int
	answer  func(w http.ResponseWriter, r *http.Request) bool // instead of its own; nil is none
}

func newProvider(t *testing.T, keys ...jose.JSONWebKey) *provider {
	t.Helper()
	p := &provider{keys: keys}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	if p.answer != nil && p.answer(w, r) {
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	case "/keys":
		list := []any{map[string]string{"kty": "OKP", "crv": "Ed448", "x": "AA", "kid": "of another kind"}}
		for _, k := range p.keys {
			list = append(list, k.Public())
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": list})
	default:
		http.NotFound(w, r)
	}
}

func (p *provider) publish(keys ...jose.JSONWebKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

func (p *provider) answers(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *provider) fetched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func rsaKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: id, Use: "sig"}
}

func ecKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: id, Use: "sig", Algorithm: "ES256"}
}

// sign signs claims.
func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// ask has a checker tell who sends a request with a token.
func ask(t *testing.T, c *Checker, token string) (*Principal, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+token)
	return c.Authenticate(r)
}

func newChecker(t *testing.T, o Options) *Checker {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// clock is a clock that is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestTokensOfIssuer(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	key, ec, hidden := rsaKey(t, "a"), ecKey(t, "b"), rsaKey(t, "a")
	p := newProvider(t, key, ec)
	c := newChecker(t, Options{Now: func() time.Time { return now }, OIDC: &OIDC{
		Issuer: p.URL, Audience: "millrace", RolesClaim: "realm_access.roles", Require: map[string]string{"tenant": "houses"},
		Roles: map[string][]Role{"ml-user": {Viewer, Scorer}, "ml-admin": {Operator, Scorer}},
	}})
	claims := func(change func(map[string]any)) map[string]any {
		m := map[string]any{
			"iss": p.URL, "aud": []string{"other", "millrace"}, "sub": "ada", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "tenant": "houses",
			"realm_access": map[string]any{"roles": []any{"ml-user", "stranger", 7, "ml-admin"}},
		}
		if change != nil {
			change(m)
		}
		return m
	}
	set := func(name string, value any) map[string]any { return claims(func(m map[string]any) { m[name] = value }) }
	ada := &Principal{Name: "ada", Roles: []Role{Viewer, Scorer, Operator}}
	none := &Principal{Name: "ada"}
	public, err := x509.MarshalPKIXPublicKey(key.Public().Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		token string
		want  *Principal
		error string
	}{
		"RSA":               {token: sign(t, jose.RS256, key, claims(nil)), want: ada},
		"elliptic curve":    {token: sign(t, jose.ES256, ec, claims(nil)), want: ada},
		"no key id":         {token: sign(t, jose.RS256, key.Key, claims(nil)), want: ada},
		"one audience":      {token: sign(t, jose.RS256, key, set("aud", "millrace")), want: ada},
		"roles as a text":   {token: sign(t, jose.RS256, key, set("realm_access", map[string]any{"roles": "stranger ml-user"})), want: &Principal{Name: "ada", Roles: []Role{Viewer, Scorer}}},
		"whole name first":  {token: sign(t, jose.RS256, key, set("realm_access.roles", []string{"ml-user"})), want: &Principal{Name: "ada", Roles: []Role{Viewer, Scorer}}},
		"names of roles":    {token: sign(t, jose.RS256, key, set("realm_access", map[string]any{"roles": []string{"author"}})), want: none},
		"no roles":          {token: sign(t, jose.RS256, key, set("realm_access", nil)), want: none},
		"clocks apart":      {token: sign(t, jose.RS256, key, set("exp", now.Add(-30*time.Second).Unix())), want: ada},
		"claim in a list":   {token: sign(t, jose.RS256, key, set("tenant", []string{"x", "houses"})), want: ada},
		"expired":           {token: sign(t, jose.RS256, key, set("exp", now.Add(-2*time.Minute).Unix())), error: "has expired"},
		"never expires":     {token: sign(t, jose.RS256, key, claims(func(m map[string]any) { delete(m, "exp") })), error: "does not say when it expires"},
		"not yet":           {token: sign(t, jose.RS256, key, set("nbf", now.Add(2*time.Minute).Unix())), error: "not valid yet"},
		"of the future":     {token: sign(t, jose.RS256, key, set("iat", now.Add(2*time.Minute).Unix())), error: "not valid yet"},
		"another audience":  {token: sign(t, jose.RS256, key, set("aud", "other")), error: "for another audience"},
		"no audience":       {token: sign(t, jose.RS256, key, claims(func(m map[string]any) { delete(m, "aud") })), error: "for another audience"},
		"another issuer":    {token: sign(t, jose.RS256, key, set("iss", p.URL+"/")), error: "of another issuer"},
		"nobody":            {token: sign(t, jose.RS256, key, set("sub", "")), error: "lacks the claim that names"},
		"lacks a claim":     {token: sign(t, jose.RS256, key, set("tenant", "flats")), error: "lacks a claim that is required"},
		"claim of its kind": {token: sign(t, jose.RS256, key, set("tenant", map[string]any{"houses": true})), error: "lacks a claim that is required"},
		"another key":       {token: sign(t, jose.RS256, hidden, claims(nil)), error: "signature of the bearer token is wrong"},
		"algorithm":         {token: sign(t, jose.PS256, key, claims(nil)), error: "a form or an algorithm"},
		"a shared secret":   {token: sign(t, jose.HS256, jose.JSONWebKey{Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), KeyID: "a"}, claims(nil)), error: "a form or an algorithm"},
		"none":              {token: unsigned(t, claims(nil)), error: "a form or an algorithm"},
		"no signature":      {token: withoutSignature(sign(t, jose.RS256, key, claims(nil))), error: "signature of the bearer token is wrong"},
		"huge":              {token: sign(t, jose.RS256, key, set("sub", strings.Repeat("a", 9000))), error: "more than 8192 bytes"},
		"no claims":         {token: sign(t, jose.RS256, key, map[string]any{}), error: "of another issuer"},
		"two parts":         {token: "a.b", error: "is not known"},
		"another text":      {token: "a.b.ü", error: "is not known"},
		"garbage":           {token: "a.b.c", error: "a form or an algorithm"},
	} {
		got, err := ask(t, c, test.token)
		if e, ok := errors.AsType[*Error](err); test.error != "" && (!ok || !strings.Contains(e.Error(), test.error)) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.error)
		}
		if test.error == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// unsigned returns a token with the algorithm none.
func unsigned(t *testing.T, claims map[string]any) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(b) + "."
}

func withoutSignature(token string) string { return token[:strings.LastIndexByte(token, '.')+1] }

// TestRotation has an issuer replace its key, go away and come back.
func TestRotation(t *testing.T) {
	t.Parallel()
	first, second, third := rsaKey(t, "1"), rsaKey(t, "2"), rsaKey(t, "3")
	p := newProvider(t, first)
	now := &clock{now: time.Unix(1_800_000_000, 0)}
	c := newChecker(t, Options{Now: now.Now, OIDC: &OIDC{Issuer: p.URL, Audience: "millrace"}})
	token := func(k jose.JSONWebKey) string {
		return sign(t, jose.RS256, k, map[string]any{"iss": p.URL, "aud": "millrace", "sub": "ada", "roles": []string{"scorer", "root"}, "exp": now.Now().Add(100 * time.Hour).Unix()})
	}
	const ok, unknown, unavailable = "", "a key that its issuer does not have", "cannot be told now"
	want := func(k jose.JSONWebKey, want string, fetches int) {
		t.Helper()
		before := p.fetched()
		got, err := ask(t, c, token(k))
		if want == ok && (err != nil || !slices.Equal(got.Roles, []Role{Scorer})) || want != ok && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, error %v, want %q", got, err, want)
		}
		if errors.Is(err, ErrUnavailable) != (want == unavailable) {
			t.Errorf("error %v", err)
		}
		if n := p.fetched() - before; n != fetches {
			t.Errorf("%d fetches, want %d", n, fetches)
		}
	}
	gone := func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true }

	p.answers(gone)
	want(first, unavailable, 1)
	p.answers(nil)
	want(first, unavailable, 0) // it is not asked again so soon
	now.pass(keysPause)
	want(first, ok, 2)
	want(first, ok, 0)
	want(second, unknown, 0)
	now.pass(keysPause)
	want(second, unknown, 2)
	want(third, unknown, 0)
	p.publish(first, second)
	now.pass(keysPause)
	want(second, ok, 2)
	p.publish(second)
	want(first, ok, 0)
	now.pass(keysFresh)
	want(first, unknown, 2) // it was taken back
	want(second, ok, 0)
	p.answers(gone)
	now.pass(keysFresh)
	want(second, ok, 1)
	want(third, unavailable, 0)
	now.pass(keysStale)
	want(second, unavailable, 1)
	p.answers(nil)
	now.pass(keysPause)
	want(second, ok, 2)
}

// TestHangingIssuer believes the tokens of an issuer that hangs while its keys still do: one request asks it again, and no other waits.
func TestHangingIssuer(t *testing.T) {
	t.Parallel()
	key := rsaKey(t, "1")
	p := newProvider(t, key)
	now := &clock{now: time.Unix(1_800_000_000, 0)}
	c := newChecker(t, Options{Now: now.Now, OIDC: &OIDC{Issuer: p.URL, Audience: "millrace"}})
	token := sign(t, jose.RS256, key, map[string]any{"iss": p.URL, "aud": "millrace", "sub": "ada", "exp": now.Now().Add(time.Hour).Unix()})
	if _, err := ask(t, c, token); err != nil {
		t.Fatal(err)
	}
	asked, release := make(chan struct{}, 1), make(chan struct{})
	p.answers(func(w http.ResponseWriter, _ *http.Request) bool {
		asked <- struct{}{}
		<-release
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	now.pass(keysFresh)
	first := make(chan error, 1)
	go func() {
		_, err := ask(t, c, token)
		first <- err
	}()
	<-asked
	for range 3 {
		if _, err := ask(t, c, token); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-first:
		t.Errorf("the issuer was not asked: %v", err)
	default:
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// TestBadIssuers has issuers that answer with what cannot be used.
func TestBadIssuers(t *testing.T) {
	t.Parallel()
	key := rsaKey(t, "1")
	for want, answer := range map[string]func(p *provider, w http.ResponseWriter, r *http.Request) bool{
		"status 404": func(_ *provider, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusNotFound)
			return true
		},
		"no JSON": func(_ *provider, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = fmt.Fprint(w, "<html>")
			return true
		},
		"that of another issuer": func(_ *provider, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = fmt.Fprint(w, `{"issuer":"https://other.example","jwks_uri":"https://other.example/keys"}`)
			return true
		},
		"jwks_uri: want a URL of https": func(p *provider, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"http://other.example/keys"}`, p.URL)
			return true
		},
		"redirects": func(_ *provider, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return true
		},
		"more than 1048576 bytes": func(_ *provider, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			_, _ = w.Write(append([]byte(`{"keys":[]}`), make([]byte, maxFetch)...))
			return true
		},
		"more than 100 keys": func(_ *provider, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			_, _ = fmt.Fprint(w, `{"keys":[{}`+strings.Repeat(",{}", maxKeys)+`]}`)
			return true
		},
		"no public key": func(_ *provider, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			_, _ = fmt.Fprint(w, `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"1"},{"kty":"RSA"}]}`)
			return true
		},
	} {
		p := newProvider(t, key)
		p.answers(func(w http.ResponseWriter, r *http.Request) bool { return answer(p, w, r) })
		c := newChecker(t, Options{OIDC: &OIDC{Issuer: p.URL, Audience: "a"}})
		_, err := ask(t, c, sign(t, jose.RS256, key, map[string]any{"iss": p.URL}))
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestIssuerCertificate reaches an issuer whose certificate is signed by an authority of a file.
func TestIssuerCertificate(t *testing.T) {
	t.Parallel()
	key := rsaKey(t, "1")
	p := &provider{keys: []jose.JSONWebKey{key}}
	p.Server = httptest.NewTLSServer(p)
	p.Config.ErrorLog = nil
	t.Cleanup(p.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	token := sign(t, jose.RS256, key, map[string]any{"iss": p.URL, "aud": "a", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix()})
	if got, err := ask(t, newChecker(t, Options{OIDC: &OIDC{Issuer: p.URL, Audience: "a", CAFile: ca}}), token); err != nil || got.Name != "ada" {
		t.Error(got, err)
	}
	if _, err := ask(t, newChecker(t, Options{OIDC: &OIDC{Issuer: p.URL, Audience: "a"}}), token); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

func TestBadOIDC(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]OIDC{
		"without an audience":    {Issuer: "https://a"},
		"want a URL":             {Issuer: "a", Audience: "a"},
		"want a URL of https":    {Issuer: "http://192.0.2.1", Audience: "a"},
		`algorithm "HS256"`:      {Issuer: "https://a", Audience: "a", Algorithms: []string{"HS256"}},
		"no such file":           {Issuer: "https://a", Audience: "a", CAFile: "none.pem"},
		"holds no certificate":   {Issuer: "https://a", Audience: "a", CAFile: "oidc_test.go"},
		`algorithm "none": want`: {Issuer: "https://a", Audience: "a", Algorithms: []string{"none"}},
	} {
		if _, err := New(Options{OIDC: &o}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestAlgorithms has a token of each algorithm accepted where it is named, and not where it is not.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	for _, algorithm := range Algorithms() {
		var key crypto.Signer
		var err error
		switch curve, ok := curves[algorithm]; {
		case ok:
			key, err = ecdsa.GenerateKey(curve, rand.Reader)
		case algorithm == "EdDSA":
			key, err = ed25519Key()
		default:
			key, err = rsa.GenerateKey(rand.Reader, 2048)
		}
		if err != nil {
			t.Fatal(err)
		}
		k := jose.JSONWebKey{Key: key, KeyID: algorithm}
		p := newProvider(t, k)
		others := slices.DeleteFunc(Algorithms(), func(a string) bool { return a == algorithm })
		token := sign(t, jose.SignatureAlgorithm(algorithm), k, map[string]any{"iss": p.URL, "aud": "a", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix()})
		for _, test := range []struct {
			list []string
			ok   bool
		}{{[]string{algorithm}, true}, {others, false}} {
			_, err := ask(t, newChecker(t, Options{OIDC: &OIDC{Issuer: p.URL, Audience: "a", Algorithms: test.list}}), token)
			if (err == nil) != test.ok {
				t.Errorf("%s with %v: %v", algorithm, test.list, err)
			}
		}
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	claims := map[string]any{"a": "1", "a.b": "2", "c": map[string]any{"d": map[string]any{"e": "3"}, "d.f": "4"}, "https://x.example/roles": "5"}
	want := map[string]any{"a": "1", "a.b": "2", "c.d.e": "3", "c.d.f": "4", "https://x.example/roles": "5", "a.c": nil, "": nil, "c.": nil, "z": nil}
	got := map[string]any{}
	for name := range maps.Keys(want) {
		got[name] = claim(claims, name)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, test := range []struct {
		v     any
		words bool
		want  []string
	}{
		{"a b", true, []string{"a", "b"}},
		{"a b", false, []string{"a b"}},
		{true, false, []string{"true"}},
		{12.0, false, []string{"12"}},
		{[]any{"a b", 1.0, "c"}, true, []string{"a b", "c"}},
		{nil, true, nil},
		{map[string]any{"a": "b"}, true, nil},
	} {
		if d := cmp.Diff(test.want, textsOf(test.v, test.words)); d != "" {
			t.Error(d)
		}
	}
}
