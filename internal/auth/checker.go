package auth

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"millrace.dev/internal/reload"
)

// Options say who is believed to be whom.
type Options struct {
	// Tokens is the path of a tokens file, as NewToken writes its lines. It is read again when it changes. Default: "", none.
	Tokens string
	// OIDC says which JSON Web Tokens are believed. Default: nil, none.
	OIDC *OIDC
	// Certificates are the client certificates that have roles. Default: none.
	Certificates []Certificate
	// Log is told of tokens that are not believed, at level debug, and of files that cannot be read again. Default: nothing is.
	Log *slog.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Checker tells who sends a request. It is for many goroutines.
type Checker struct {
	tokens       *reload.Value[tokens] // nil is none
	issuer       *issuer               // nil is none
	certificates []Certificate
	log          *slog.Logger
}

// New returns a checker. It fails where a file is not as it should be. An issuer is not asked before there is a token of it.
func New(o Options) (*Checker, error) {
	c := &Checker{certificates: o.Certificates, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	if o.Now == nil {
		o.Now = time.Now
	}
	var err error
	if o.Tokens != "" {
		if c.tokens, err = reload.New([]string{o.Tokens}, func() (tokens, error) { return readTokens(o.Tokens) }, o.Now, c.log); err != nil {
			return nil, fmt.Errorf("auth: tokens: %w", err)
		}
	}
	if o.OIDC != nil {
		if c.issuer, err = newIssuer(o.OIDC, o.Now); err != nil {
			return nil, fmt.Errorf("auth: oidc: %w", err)
		}
	}
	return c, nil
}

// maxToken bounds what stands behind "Bearer", in bytes.
const maxToken = 8 << 10

// Authenticate returns who sends a request: whose bearer token it has, else whose client certificate its connection showed, else
// nobody. The error is an *Error for a token that is not believed, and ErrUnavailable where that cannot be told now.
func (c *Checker) Authenticate(r *http.Request) (*Principal, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		if p := certified(r.TLS, c.certificates); p != nil {
			return p, nil
		}
		return &Principal{}, nil
	}
	if len(values) > 1 {
		return nil, &Error{Reason: "the request has more than one header Authorization"}
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	if text = strings.TrimLeft(text, " "); !strings.EqualFold(scheme, "Bearer") || text == "" {
		return nil, &Error{Reason: "the request has no bearer token under Authorization"}
	}
	if len(text) > maxToken {
		return nil, &Error{Reason: fmt.Sprintf("the bearer token has more than %d bytes", maxToken)}
	}
	p, err := c.bearer(r, text)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		c.log.LogAttrs(r.Context(), slog.LevelDebug, "a bearer token is not believed", slog.Any("error", err), slog.Any("cause", errors.Unwrap(err)))
	}
	return p, err
}

func (c *Checker) bearer(r *http.Request, text string) (*Principal, error) {
	if c.tokens != nil {
		if p := c.tokens.Get(r.Context()).find(text); p != nil {
			return p, nil
		}
	}
	if c.issuer != nil && compact(text) {
		return c.issuer.verify(r.Context(), text)
	}
	return nil, &Error{Reason: "the bearer token is not known"}
}

// compact tells whether a text has the form of a signed JSON Web Token: three parts of base64.
func compact(text string) bool {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."
	return strings.Count(text, ".") == 2 && strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(letters, r) }) < 0
}
