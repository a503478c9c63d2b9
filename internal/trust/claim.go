package trust

import (
	"fmt"
	"strings"
	"time"
)

// The types of what is signed.
const (
	statementPayload = "application/vnd.in-toto+json"
	statementType    = "https://in-toto.io/Statement/v1"
	claimType        = "https://millrace.dev/registry/event/v1"
)

// Claim is what a person signs about a version of a model: an event of the registry with its place in the log. The place
// makes it good once: the same decision, copied to another place or another log, is not signed.
type Claim struct {
	Action  string `json:"action"`
	Model   string `json:"model"`
	Version int    `json:"version"`
	Digest  string `json:"digest"` // "sha256:" and hex, of the bundle
	Bytes   int64  `json:"bytes,omitempty"`
	By      string `json:"by"`             // the person
	Role    string `json:"role,omitempty"` // in which the person acts
	Reason  string `json:"reason,omitempty"`
	Group   string `json:"group,omitempty"`
	Gates   string `json:"gates,omitempty"` // the digest of the outcomes of gates; of a registration that met some
	Trial   string `json:"trial,omitempty"` // the digest of what is said of a trial; of an event that says something
	Note    string `json:"note,omitempty"`  // the digest of what is noted; of an event that notes something
	// Seq, Prev and Time are the event's number, the sum of the event before it, and its time.
	Seq  int       `json:"seq"`
	Prev string    `json:"prev"`
	Time time.Time `json:"time"`
}

// statement is an in-toto Statement, version 1.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Claim     `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// subject returns what the claim is about: the bundle of a version.
func (c *Claim) subject() subject {
	return subject{fmt.Sprintf("%s@%d", c.Model, c.Version), map[string]string{"sha256": strings.TrimPrefix(c.Digest, "sha256:")}}
}

// Sign returns the claim as a statement that k has signed.
func (c *Claim) Sign(k *Key) (*Envelope, error) {
	payload, err := encode(statement{statementType, []subject{c.subject()}, claimType, *c})
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("sign: %w: the statement has %d bytes, the limit is %d", ErrInvalid, len(payload), maxPayload)
	}
	return seal(statementPayload, payload, k), nil
}

// Check wants an envelope that holds this very claim, signed by k alone. The error matches [ErrUntrusted], and names what is
// not as it should be.
func (c *Claim) Check(e *Envelope, k PublicKey) error {
	if p := e.problem(statementPayload); p != "" {
		return fmt.Errorf("%w: %s", ErrUntrusted, p)
	}
	if len(e.Signatures) != 1 || len(e.signers([]PublicKey{k})) != 1 {
		return fmt.Errorf("%w: the signature is not one of the key %s over what it is on", ErrUntrusted, short(k.id))
	}
	var s statement
	if err := decode(e.Payload, &s); err != nil {
		return fmt.Errorf("%w: what is signed is no statement: %w", ErrUntrusted, err)
	}
	if s.Type != statementType || s.PredicateType != claimType {
		return fmt.Errorf("%w: what is signed is of the type %.80q, want %q", ErrUntrusted, s.PredicateType, claimType)
	}
	if err := c.same(&s.Predicate); err != nil {
		return err
	}
	want := c.subject()
	if len(s.Subject) != 1 || s.Subject[0].Name != want.Name || len(s.Subject[0].Digest) != 1 || s.Subject[0].Digest["sha256"] != want.Digest["sha256"] {
		return fmt.Errorf("%w: the subject of what is signed is not %s", ErrUntrusted, want.Name)
	}
	return nil
}

// same wants a claim that is c; the error names the first field that differs.
func (c *Claim) same(signed *Claim) error {
	for _, f := range []struct {
		name         string
		signed, here any
	}{
		{"model", signed.Model, c.Model},
		{"version", signed.Version, c.Version},
		{"digest", signed.Digest, c.Digest},
		{"action", signed.Action, c.Action},
		{"name", signed.By, c.By},
		{"role", signed.Role, c.Role},
		{"reason", signed.Reason, c.Reason},
		{"group", signed.Group, c.Group},
		{"size", signed.Bytes, c.Bytes},
		{"outcome of gates", signed.Gates, c.Gates},
		{"trial", signed.Trial, c.Trial},
		{"note", signed.Note, c.Note},
		{"place in the log", signed.Seq, c.Seq},
		{"event before it", signed.Prev, c.Prev},
	} {
		if f.signed != f.here {
			return fmt.Errorf("%w: it is signed for another %s: %.100q, not %.100q", ErrUntrusted, f.name, fmt.Sprint(f.signed), fmt.Sprint(f.here))
		}
	}
	if !signed.Time.Equal(c.Time) {
		return fmt.Errorf("%w: it is signed for another time: %s, not %s", ErrUntrusted, signed.Time.Format(time.RFC3339Nano), c.Time.Format(time.RFC3339Nano))
	}
	return nil
}

// Signer returns the ID of the key that is said to have signed an envelope with one signature; "" for another.
func (e *Envelope) Signer() string {
	if e == nil || len(e.Signatures) != 1 {
		return ""
	}
	return e.Signatures[0].KeyID
}

// short returns the beginning of a key's ID, for people.
func short(id string) string {
	return id[:min(len(id), 12)]
}
