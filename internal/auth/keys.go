package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How the keys of an issuer are fetched and kept.
const (
	keysFresh = 15 * time.Minute // after that they are fetched again, so that one that was taken back is not believed for long
	keysStale = 24 * time.Hour   // for so long they do where the issuer cannot be reached
	keysPause = 10 * time.Second // from a fetch to the next one: tokens that name keys that do not exist lead to no more
	fetchTime = 5 * time.Second
	maxFetch  = 1 << 20 // bytes
	maxKeys   = 100
)

// keys are the public keys of an issuer.
type keys struct {
	issuer string
	client *http.Client
	now    func() time.Time

	current  atomic.Pointer[keySet]
	fetching chan struct{} // holds one element while somebody fetches, or looks whether to
	tried    time.Time     // by who fetches
	failed   error         // the same: of the last fetch
}

// keySet is what was fetched at a time.
type keySet struct {
	keys []jose.JSONWebKey
	at   time.Time
}

func newKeys(issuer, caFile string, now func() time.Time) (*keys, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives: true, // the next fetch is minutes away
	}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, errors.New(caFile + ": holds no certificate in PEM")
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &keys{issuer: issuer, now: now, fetching: make(chan struct{}, 1), client: &http.Client{
		Transport: transport, Timeout: fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects, which is not followed") },
	}}, nil
}

// of returns the keys that a signature can be of: those with its id, all where it has none. The error is an *Error where there
// is none, and ErrUnavailable where that cannot be told.
func (k *keys) of(ctx context.Context, id, algorithm string) ([]jose.JSONWebKey, error) {
	set := k.current.Load()
	usable := set != nil && k.age(set) < keysStale && len(set.of(id, algorithm)) > 0
	if usable && k.age(set) < keysFresh {
		return set.of(id, algorithm), nil
	}
	// Who has keys that still do does not wait while somebody else asks for newer ones: an issuer that hangs holds up one request.
	set, err := k.refresh(ctx, set, !usable)
	if set != nil && (err == nil || k.age(set) < keysStale) {
		if found := set.of(id, algorithm); len(found) > 0 {
			return found, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: keys of the issuer %s: %w", ErrUnavailable, k.issuer, err)
	}
	return nil, &Error{Reason: "the bearer token is signed with a key that its issuer does not have"}
}

func (k *keys) age(s *keySet) time.Duration { return max(0, k.now().Sub(s.at)) }

// refresh returns newer keys than those in seen, or these where it is too early to ask the issuer again. The error is why the
// issuer could not be asked the last time. Where somebody else asks it, wait says whether to wait for that.
func (k *keys) refresh(ctx context.Context, seen *keySet, wait bool) (*keySet, error) {
	select {
	case k.fetching <- struct{}{}:
	default:
		if !wait {
			return seen, nil
		}
		select {
		case k.fetching <- struct{}{}:
		case <-ctx.Done():
			return seen, ctx.Err()
		}
	}
	defer func() { <-k.fetching }()
	current, now := k.current.Load(), k.now()
	if current != seen || !k.tried.IsZero() && now.Sub(k.tried) < keysPause && !now.Before(k.tried) {
		return current, k.failed
	}
	// Others wait for the same keys: it goes on when the client of this request goes.
	list, err := k.fetch(context.WithoutCancel(ctx))
	k.tried = k.now() // from its end: an issuer that hangs is left alone as long as one that refuses
	if k.failed = err; err != nil {
		return current, err
	}
	set := &keySet{keys: list, at: now}
	k.current.Store(set)
	return set, nil
}

// fetch asks the issuer where its keys are, and gets them.
func (k *keys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration", &about); err != nil {
		return nil, err
	}
	if about.Issuer != k.issuer {
		return nil, errors.New("its configuration is that of another issuer: is serve.auth.oidc.issuer as its tokens have it?")
	}
	if err := checkURL(about.Keys); err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, about.Keys, &set); err != nil {
		return nil, err
	}
	return parseKeys(set.Keys)
}

// parseKeys reads public keys. Those of kinds that are not known are left out: an issuer can have them for others.
func parseKeys(texts []json.RawMessage) ([]jose.JSONWebKey, error) {
	if len(texts) > maxKeys {
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	var list []jose.JSONWebKey
	for _, text := range texts {
		var key jose.JSONWebKey
		if err := json.Unmarshal(text, &key); err == nil && key.Valid() && key.IsPublic() && key.Use != "enc" {
			list = append(list, key)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("it has no public key that can be used")
	}
	return list, nil
}

// get reads a JSON document.
func (k *keys) get(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	answer, err := k.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // nothing was written
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: status %d", url, answer.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxFetch+1))
	if err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	if len(b) > maxFetch {
		return fmt.Errorf("get %s: more than %d bytes", url, maxFetch)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("get %s: no JSON as it has to be: %w", url, err)
	}
	return nil
}

// of returns the keys of an id and an algorithm.
func (s *keySet) of(id, algorithm string) []jose.JSONWebKey {
	var found []jose.JSONWebKey
	for _, key := range s.keys {
		if (id == "" || key.KeyID == id) && (key.Algorithm == "" || key.Algorithm == algorithm) {
			found = append(found, key)
		}
	}
	return found
}
