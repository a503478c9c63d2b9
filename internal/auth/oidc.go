package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// OIDC says which JSON Web Tokens of an OpenID Connect issuer are believed.
type OIDC struct {
	// Issuer is the URL of the issuer, as tokens have it. It has to be one of https, or of this machine.
	Issuer string
	// Audience is what tokens have to be for. It must not be "".
	Audience string
	// CAFile holds the authorities that the issuer's certificate is checked against, PEM. Default: those of the system.
	CAFile string
	// NameClaim has the principal's name. Default: sub.
	NameClaim string
	// RolesClaim has the roles, as a list, or a text with blanks between. Dots lead into nested claims, unless there is a claim
	// of the whole name. Default: roles.
	RolesClaim string
	// Roles gives roles to values of that claim. Other values give none. Default: nil, a value is the name of a role.
	Roles map[string][]Role
	// Require are claims, named in the same way, that must have a value, or have it in a list. Default: none.
	Require map[string]string
	// Algorithms are those of [Algorithms] that signatures can have. Default: RS256 and ES256.
	Algorithms []string
}

// leeway is how far the clocks of an issuer and of this machine may be apart.
const leeway = time.Minute

// maxTries bounds the keys that a signature is tried with, where it does not say which one it is of.
const maxTries = 8

// issuer verifies the tokens of an issuer.
type issuer struct {
	o          OIDC
	algorithms []jose.SignatureAlgorithm
	keys       *keys
	now        func() time.Time
}

func newIssuer(o *OIDC, now func() time.Time) (*issuer, error) {
	i := &issuer{o: *o, now: now}
	i.o.NameClaim, i.o.RolesClaim = cmp.Or(o.NameClaim, "sub"), cmp.Or(o.RolesClaim, "roles")
	if len(i.o.Algorithms) == 0 {
		i.o.Algorithms = []string{string(jose.RS256), string(jose.ES256)}
	}
	for _, a := range i.o.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			return nil, fmt.Errorf("algorithm %.20q: want one of %v", a, Algorithms())
		}
		i.algorithms = append(i.algorithms, jose.SignatureAlgorithm(a))
	}
	if i.o.Audience == "" {
		return nil, errors.New("without an audience, which tokens are to be for")
	}
	if err := checkURL(i.o.Issuer); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	var err error
	i.keys, err = newKeys(i.o.Issuer, i.o.CAFile, now)
	return i, err
}

// checkURL wants a URL that nobody can listen in to.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("want a URL")
	}
	a, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && a.IsLoopback()) {
		return nil
	}
	return errors.New("want a URL of https")
}

// verify returns whom a token is for.
func (i *issuer) verify(ctx context.Context, text string) (*Principal, error) {
	token, err := jwt.ParseSigned(text, i.algorithms)
	if err != nil {
		return nil, &Error{Reason: "the bearer token has a form or an algorithm that is not accepted", cause: err}
	}
	var standard jwt.Claims
	all := map[string]any{}
	if err := i.signed(ctx, token, &standard, &all); err != nil {
		return nil, err
	}
	if err := i.valid(&standard); err != nil {
		return nil, err
	}
	for name, want := range i.o.Require {
		if !slices.Contains(textsOf(claim(all, name), false), want) {
			return nil, &Error{Reason: "the bearer token lacks a claim that is required here"}
		}
	}
	return i.principal(all)
}

// signed checks the signature of a token, and then reads its claims.
func (i *issuer) signed(ctx context.Context, token *jwt.JSONWebToken, into ...any) error {
	header := token.Headers[0] // the compact form has one signature
	candidates, err := i.keys.of(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return err
	}
	for n := range candidates {
		if n == maxTries {
			break
		}
		if err = token.Claims(&candidates[n], into...); err == nil {
			return nil
		}
	}
	return &Error{Reason: "the signature of the bearer token is wrong", cause: err}
}

// valid checks for whom and when a token is. A token that never expires is not accepted.
func (i *issuer) valid(c *jwt.Claims) error {
	err := c.ValidateWithLeeway(jwt.Expected{Issuer: i.o.Issuer, AnyAudience: jwt.Audience{i.o.Audience}, Time: i.now()}, leeway)
	switch {
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return &Error{Reason: "the bearer token is of another issuer", cause: err}
	case errors.Is(err, jwt.ErrInvalidAudience):
		return &Error{Reason: "the bearer token is for another audience", cause: err}
	case errors.Is(err, jwt.ErrExpired):
		return &Error{Reason: "the bearer token has expired", cause: err}
	case err != nil:
		return &Error{Reason: "the bearer token is not valid yet", cause: err}
	case c.Expiry == nil:
		return &Error{Reason: "the bearer token does not say when it expires"}
	default:
		return nil
	}
}

// principal returns whom the claims of a token are for.
func (i *issuer) principal(claims map[string]any) (*Principal, error) {
	name, _ := claim(claims, i.o.NameClaim).(string)
	if name == "" {
		return nil, &Error{Reason: "the bearer token lacks the claim that names its principal"}
	}
	p := &Principal{Name: name}
	for _, value := range textsOf(claim(claims, i.o.RolesClaim), true) {
		roles := i.o.Roles[value]
		if len(i.o.Roles) == 0 && slices.Contains(Roles(), Role(value)) {
			roles = []Role{Role(value)}
		}
		for _, r := range roles {
			if !slices.Contains(p.Roles, r) {
				p.Roles = append(p.Roles, r)
			}
		}
	}
	return p, nil
}
