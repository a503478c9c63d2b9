// Package auth tells who sends a request, and what they may do.
package auth

import (
	"context"
	"slices"
)

// Role is what somebody may do. A route needs one; whoever has it may call the route.
type Role string

// The roles. They do not contain one another: whoever is to do several things has several roles.
const (
	Anyone   Role = ""         // no token is needed: health, and nothing else
	Viewer   Role = "viewer"   // see what models there are: metadata, the index, the registry
	Scorer   Role = "scorer"   // have records predicted
	Operator Role = "operator" // load and unload models, read metrics
	Author   Role = "author"   // write to the registry: tags, aliases, descriptions
	Reader   Role = "reader"   // read the rows of stores
)

// Roles returns all roles that somebody can have, in the order of the documentation.
func Roles() []Role { return []Role{Viewer, Scorer, Operator, Author, Reader} }

// Principal is somebody who sends requests. The zero value is nobody: it has no roles.
type Principal struct {
	Name  string // for the access log and the rate limit: of a token, the subject of a JWT, the common name of a certificate
	Roles []Role
}

// May tells whether the principal may call a route that needs a role.
func (p *Principal) May(r Role) bool { return r == Anyone || slices.Contains(p.Roles, r) }

type principalKey struct{}

// With returns a context that bears a principal.
func With(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From returns the principal that a context bears, which is nobody where it bears none.
func From(ctx context.Context) *Principal {
	if p, ok := ctx.Value(principalKey{}).(*Principal); ok {
		return p
	}
	return &Principal{}
}
