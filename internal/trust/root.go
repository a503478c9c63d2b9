package trust

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The roles that millrace knows. Others are those that the policy names.
const (
	// RoleAuthor is that of people who may register a model.
	RoleAuthor = "author"
	// RoleDeployer is that of people who may promote a model that is approved.
	RoleDeployer = "deployer"
)

const (
	rootPayload = "application/vnd.millrace.root+json"
	rootType    = "https://millrace.dev/registry/root/v1"
	maxName     = 200 // bytes
)

var roleForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Root says who may decide what, and what is demanded.
type Root struct {
	// Type is that of root documents.
	Type string `json:"type"`
	// Version counts the root documents of a registry from 1.
	Version int `json:"version"`
	// Previous is "sha256:" and the digest of the version before it; "" in version 1.
	Previous string `json:"previous"`
	// Threshold is how many of RootKeys have to sign this version, and the next.
	Threshold int         `json:"threshold"`
	RootKeys  []PublicKey `json:"root_keys"`
	// People are those who may sign. One with several keys is there several times, under one name.
	People []Person `json:"people"`
	Policy Policy   `json:"policy"`
}

// Person is someone with a key.
type Person struct {
	Name  string    `json:"name"`
	Key   PublicKey `json:"public_key"`
	Roles []string  `json:"roles"`
	// Until is where in the log the key ended; nil is not yet. What it has signed up to there stays signed.
	Until *Place `json:"until,omitempty"`
}

// Place is a place in the log of a registry.
type Place struct {
	Seq int    `json:"seq"` // the number of an event
	Sum string `json:"sum"` // and its sum
}

// Policy is what is demanded.
type Policy struct {
	// Approvals are all demanded, each from other people.
	Approvals []Approvals `json:"approvals"`
	// Promotions are the roles that may promote; nil are [RoleDeployer] and those of Approvals.
	Promotions []string `json:"promotions,omitempty"`
	// AuthorMayApprove lets who registered a version be one of those who approve it.
	AuthorMayApprove bool `json:"author_may_approve"`
	// SignedBundles demands that who registers a version signs that, and has [RoleAuthor].
	SignedBundles bool `json:"signed_bundles"`
}

// Approvals are a number of people with a role who have to approve.
type Approvals struct {
	Role  string `json:"role"`
	Count int    `json:"count"`
}

// Has tells whether the person has a role.
func (p *Person) Has(role string) bool { return slices.Contains(p.Roles, role) }

// Person returns who has a key; nil for nobody.
func (r *Root) Person(keyID string) *Person {
	for i := range r.People {
		if r.People[i].Key.id == keyID {
			return &r.People[i]
		}
	}
	return nil
}

// Approver returns the roles of a person that the policy demands approvals of.
func (r *Root) Approver(p *Person) []string {
	var roles []string
	for _, a := range r.Policy.Approvals {
		if p.Has(a.Role) {
			roles = append(roles, a.Role)
		}
	}
	return roles
}

// Promoters returns the roles that may promote.
func (r *Root) Promoters() []string {
	if r.Policy.Promotions != nil {
		return r.Policy.Promotions
	}
	roles := []string{RoleDeployer}
	for _, a := range r.Policy.Approvals {
		roles = append(roles, a.Role)
	}
	return roles
}

// MayPromote tells whether a person may promote.
func (r *Root) MayPromote(p *Person) bool { return slices.ContainsFunc(r.Promoters(), p.Has) }

// Missing returns how many approvals the policy demands, how many of them are there, and in words what is missing, "" if nothing
// is. given maps the people who have approved to the roles that they did it in.
func (r *Root) Missing(given map[string]string) (want, have int, missing string) {
	var lack []string
	for _, a := range r.Policy.Approvals {
		n := 0
		for _, role := range given {
			if role == a.Role {
				n++
			}
		}
		want += a.Count
		have += min(n, a.Count)
		if d := a.Count - n; d > 0 {
			lack = append(lack, a.Role)
		}
	}
	switch len(lack) {
	case 0:
		return want, have, ""
	case 1:
		return want, have, "role " + lack[0] + " is missing"
	default:
		return want, have, "roles " + strings.Join(lack, ", ") + " are missing"
	}
}

// Validate wants a document that hangs together. The error matches [ErrInvalid].
func (r *Root) Validate() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: root: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case r.Type != rootType:
		return fail("type is %.80q, want %q", r.Type, rootType)
	case r.Version < 1:
		return fail("version %d: versions count from 1", r.Version)
	case (r.Previous == "") != (r.Version == 1):
		return fail("previous is the digest of the version before it, which version 1 alone does not have")
	case r.Threshold < 1 || r.Threshold > len(r.RootKeys):
		return fail("threshold is %d, with %d root keys", r.Threshold, len(r.RootKeys))
	case len(r.RootKeys) > maxSignatures:
		return fail("it has %d root keys, the limit is %d", len(r.RootKeys), maxSignatures)
	case len(r.Policy.Approvals) == 0:
		return fail("policy.approvals demands nothing")
	}
	seen := map[string]bool{}
	for i, k := range r.RootKeys {
		if k.IsZero() || seen[k.id] {
			return fail("root_keys[%d] is there twice, or is none", i)
		}
		seen[k.id] = true
	}
	if err := r.checkPeople(fail); err != nil {
		return err
	}
	return r.checkPolicy(fail)
}

func (r *Root) checkPeople(fail func(string, ...any) error) error {
	seen, looks := map[string]string{}, map[string]string{}
	for i, p := range r.People {
		look := looksLike(p.Name)
		if was, ok := looks[look]; ok && was != p.Name {
			return fail("people[%d].name: %.80q and %.80q are told apart by case or white space alone: write one person one way", i, p.Name, was)
		}
		looks[look] = p.Name
		switch {
		case !plainName(p.Name):
			return fail("people[%d].name: %.80q is no name: want one line of plain text", i, p.Name)
		case p.Key.IsZero():
			return fail("people[%d]: %s has no public_key", i, p.Name)
		case seen[p.Key.id] != "":
			return fail("people[%d]: %s and %s have the same key", i, seen[p.Key.id], p.Name)
		case len(p.Roles) == 0:
			return fail("people[%d]: %s has no role: take the entry out", i, p.Name)
		case p.Until != nil && (p.Until.Seq < 1 || p.Until.Sum == ""):
			return fail("people[%d]: until needs the seq and the sum of an event: see millrace model log --json", i)
		}
		seen[p.Key.id] = p.Name
		for _, role := range p.Roles {
			if !roleForm.MatchString(role) {
				return fail("people[%d]: %.80q is no role: want small letters, digits and hyphens", i, role)
			}
		}
	}
	return nil
}

func (r *Root) checkPolicy(fail func(string, ...any) error) error {
	seen := map[string]bool{}
	for i, a := range r.Policy.Approvals {
		people := map[string]bool{}
		for _, p := range r.People {
			if p.Has(a.Role) && p.Until == nil {
				people[p.Name] = true
			}
		}
		switch {
		case !roleForm.MatchString(a.Role) || a.Role == RoleAuthor || a.Role == RoleDeployer:
			return fail("policy.approvals[%d]: %.80q is no role that approves", i, a.Role)
		case seen[a.Role]:
			return fail("policy.approvals names the role %s twice", a.Role)
		case a.Count < 1 || a.Count > len(people):
			return fail("policy.approvals demands %d of the role %s, which %d people have", a.Count, a.Role, len(people))
		}
		seen[a.Role] = true
	}
	if r.Policy.Promotions != nil && len(r.Policy.Promotions) == 0 { // and the next version would be written without it
		return fail("policy.promotions lets nobody promote: leave it out, or name a role")
	}
	for i, role := range r.Policy.Promotions {
		if !slices.ContainsFunc(r.People, func(p Person) bool { return p.Has(role) }) {
			return fail("policy.promotions[%d]: nobody has the role %.80q", i, role)
		}
	}
	return nil
}

// looksLike returns a name without what hardly tells two names apart: one person under both would count for two.
func looksLike(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }

// plainName tells whether s is a name as the registry's log has it.
func plainName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		strings.IndexFunc(s, func(c rune) bool { return !unicode.IsGraphic(c) }) < 0
}

// NewRoot returns a root document of version 1 without keys and people.
func NewRoot() *Root { return &Root{Type: rootType, Version: 1, Policy: Policy{SignedBundles: true}} }

// Encode returns the document as text to be read, edited and signed.
func (r *Root) Encode() ([]byte, error) {
	text, err := encode(r)
	if err != nil {
		return nil, err
	}
	var v json.RawMessage = text
	text, err = json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

// digestOf returns how a root document names the one before it.
func digestOf(payload []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(payload)) }
