package registry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace.dev/internal/trust"
)

const maxRole = 40 // bytes

const (
	wantsAuthor  = "no author has signed it"
	registerHint = "register the bundle again, with the key of an author"
)

// trusted is what a state knows of who may decide.
type trusted struct {
	anchor *trust.SignedRoot // what the reader trusts to begin with; nil is nobody, and everybody may decide
	root   *trust.SignedRoot // the document in force; nil without an anchor
	roots  []published       // those in the log
}

// published is a root document in the log.
type published struct {
	*trust.SignedRoot

	seq int
}

// vet tells why an event about a version does not count; nil if it does. v is the version, nil for a registration.
func (s *state) vet(e *Event, v *registered) error {
	if s.root == nil {
		return nil
	}
	if e.Envelope == nil {
		if e.Action == Registered && !s.root.Policy.SignedBundles {
			return nil
		}
		return untrusted("it is not signed")
	}
	p := s.root.Person(e.Envelope.Signer())
	if p == nil {
		return untrusted("the key %.12s is nobody's in root %d", cmp.Or(e.Envelope.Signer(), "(none)"), s.root.Version)
	}
	if err := e.claim().Check(e.Envelope, p.Key); err != nil {
		return err
	}
	if p.Name != e.Actor {
		return untrusted("it is signed by the key of %s", p.Name)
	}
	if p.Until != nil && e.Seq > p.Until.Seq {
		return untrusted("the key of %s has ended with event %d", p.Name, p.Until.Seq)
	}
	return s.vetRole(e, v, p)
}

// lenient tells whether an event that does not follow from those before it may stand in the log: where signatures are demanded,
// what each of them comes to depends on the root document in force, and what does not count is passed over.
func (s *state) lenient() bool { return s.root != nil || len(s.roots) > 0 }

// vetRole tells why a person may not do what the event says.
func (s *state) vetRole(e *Event, v *registered, p *trust.Person) error {
	if v != nil && v.Purged && !e.refuses() && e.Action != Noted {
		return untrusted("the bundle of %s had been removed", v.Ref())
	}
	switch e.Action {
	case Registered:
		if s.root.Policy.SignedBundles && !p.Has(trust.RoleAuthor) {
			return untrusted("%s does not have the role %s", p.Name, trust.RoleAuthor)
		}
	case Approved:
		return s.vetApproval(e, v, p)
	case Promoted, RolledBack, Tried:
		if e.ends() { // not to run it is the safe side
			return nil
		}
		if err := s.vetPromoter(p); err != nil {
			return err
		}
		if v.State != StateApproved {
			return untrusted("%s was %s then", v.Ref(), v.State)
		}
	case Rejected, Retired, Purged, RootSet: // anybody's no is one
	case Noted: // it decides nothing
	}
	return nil
}

func (s *state) vetPromoter(p *trust.Person) error {
	if !s.root.MayPromote(p) {
		return untrusted("%s has none of the roles that promote: %s", p.Name, strings.Join(s.root.Promoters(), ", "))
	}
	return nil
}

func (s *state) vetApproval(e *Event, v *registered, p *trust.Person) error {
	policy := &s.root.Policy
	switch roles := s.root.Approver(p); {
	case v.fault != nil && policy.SignedBundles:
		return withHint(untrusted("%s cannot be approved: %s", v.Ref(), wantsAuthor), registerHint)
	case len(roles) == 0:
		return untrusted("%s has none of the roles that approve: %s", p.Name, strings.Join(approving(policy), ", "))
	case !slices.Contains(roles, e.Role):
		return untrusted("%s does not have the role %q, or it is none that approves", p.Name, e.Role)
	case !policy.AuthorMayApprove && (v.RegisteredBy == p.Name || v.author == p.Key.ID()):
		return untrusted("%s registered it, and the author may not approve", v.RegisteredBy)
	}
	for _, a := range v.Approvals {
		if a.By == p.Name {
			return untrusted("%s has approved it before (event %d): another person has to", p.Name, a.Seq)
		}
	}
	return nil
}

func approving(p *trust.Policy) []string {
	var roles []string
	for _, a := range p.Approvals {
		roles = append(roles, a.Role)
	}
	return roles
}

func untrusted(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUntrusted, fmt.Sprintf(format, args...))
}

// ignore notes that an event about v does not count, if it does not.
func (v *registered) ignore(e *Event, why error) error {
	if why == nil {
		return nil
	}
	why = fmt.Errorf("event %d, %s by %s, does not count: %w", e.Seq, e.Action, e.Actor, why)
	v.Ignored = append(v.Ignored, Ignored{Seq: e.Seq, Err: why})
	return why
}

// approve adds an approval that counts, and tells whether no other is missing.
func (s *state) approve(v *registered, e *Event) bool {
	a := Approval{Seq: e.Seq, By: e.Actor, Role: e.Role, Reason: e.Reason, At: e.Time}
	if s.root == nil {
		v.Approvals = slices.DeleteFunc(slices.Clone(v.Approvals), func(b Approval) bool { return b.By == a.By })
	} else {
		a.Key = e.Envelope.Signer()
	}
	v.Approvals = append(slices.Clone(v.Approvals), a) // versions that were handed out keep theirs
	if s.root != nil {
		if _, _, missing := s.root.Missing(given(v.Approvals)); missing != "" {
			return false
		}
	}
	v.State = StateApproved
	return true
}

// given returns who has approved, and in which role.
func given(list []Approval) map[string]string {
	m := map[string]string{}
	for _, a := range list {
		m[a.By] = a.Role
	}
	return m
}

// crowns tells whether an approval may also make a version the champion.
func (s *state) crowns(e *Event) bool {
	if s.root == nil {
		return true
	}
	p := s.root.Person(e.Envelope.Signer())
	return p != nil && s.root.MayPromote(p)
}

// wants says what a candidate lacks; "" where there is no root.
func (s *state) wants(v *registered) string {
	switch {
	case s.root == nil || v.State != StateCandidate && v.State != StateRetired:
		return ""
	case v.fault != nil && s.root.Policy.SignedBundles:
		return wantsAuthor
	}
	want, have, missing := s.root.Missing(given(v.Approvals))
	return fmt.Sprintf("%d of %d approvals, %s", have, want, missing)
}

// claim returns what the actor of an event signs.
func (e *Event) claim() *trust.Claim {
	return &trust.Claim{
		Action: string(e.Action), Model: e.Model, Version: e.Version, Digest: e.Digest, Bytes: e.Bytes,
		By: e.Actor, Role: e.Role, Reason: e.Reason, Group: e.Group, Gates: gatesDigest(e.Gates), Trial: trialDigest(e.Trial), Note: noteDigest(e.Note), Seq: e.Seq, Prev: e.Prev, Time: e.Time,
	}
}

// rotate applies a root event, and looks at all events before it again: the root in force decides about them too.
func (s *state) rotate(e *Event) error {
	if e.Model != "" || !isClean(e.Actor, maxActor) || e.Reason != "" && !isClean(e.Reason, maxReason) || e.Envelope == nil {
		return fmt.Errorf("%w: it holds no root document", ErrCorrupt)
	}
	r, err := trust.FromEnvelope(e.Envelope)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if r.Version != e.Version || r.Digest() != e.Digest {
		return fmt.Errorf("%w: it holds another root document than it says", ErrCorrupt)
	}
	next := (&state{events: append(s.events, *e), trusted: s.trusted}).cleared()
	next.roots = append(slices.Clone(s.roots), published{r, e.Seq})
	if next.root, err = inForce(s.anchor, next.roots); err != nil {
		return err
	}
	if err := next.replay(); err != nil {
		return err
	}
	*s = *next
	return nil
}

// replay judges all events of the state.
func (s *state) replay() error {
	for i := range s.events {
		e := &s.events[i]
		if err := s.checkPlace(e); err != nil {
			return err
		}
		if e.Action == RootSet {
			continue
		}
		if err := s.judge(e); err != nil {
			return err
		}
	}
	return nil
}

// checkPlace wants the log to go through the places that the root in force names.
func (s *state) checkPlace(e *Event) error {
	if s.root == nil {
		return nil
	}
	for _, p := range s.root.People {
		if p.Until != nil && p.Until.Seq == e.Seq && p.Until.Sum != e.Sum {
			return untrusted("root %d knows another event %d, of sum %s: the log was rewritten", s.root.Version, e.Seq, p.Until.Sum)
		}
	}
	return nil
}

// checkReached wants the log to be as long as the root in force knows it to be.
func (s *state) checkReached() error {
	if s.root == nil {
		return nil
	}
	return reached(s.root, len(s.events))
}

func reached(r *trust.SignedRoot, events int) error {
	for _, p := range r.People {
		if p.Until != nil && p.Until.Seq > events {
			return untrusted("root %d knows event %d, and the log ends with event %d: its end was cut off, or it is another log", r.Version, p.Until.Seq, events)
		}
	}
	return nil
}

// inForce returns the root document that holds, beginning with the one that is trusted. Those in the log have to be one
// chain: each names the digest of the one before it, and those after the trusted one are signed as the one before them
// and they themselves demand.
func inForce(anchor *trust.SignedRoot, log []published) (*trust.SignedRoot, error) {
	for i := 1; i < len(log); i++ {
		if a, b := log[i-1], log[i]; b.Version != a.Version+1 || b.Previous != a.Digest() {
			return nil, untrusted("root %d, of event %d, does not follow root %d, of event %d", b.Version, b.seq, a.Version, a.seq)
		}
	}
	if anchor == nil {
		return nil, nil
	}
	root := anchor
	for _, r := range log {
		switch {
		case r.Version == anchor.Version && r.Digest() != anchor.Digest(),
			r.Version == anchor.Version-1 && r.Digest() != anchor.Previous:
			return nil, untrusted("root %d, of event %d, is not the one that is trusted: it has been replaced", r.Version, r.seq)
		case r.Version > anchor.Version:
			if err := r.Follows(root); err != nil {
				return nil, fmt.Errorf("event %d: %w", r.seq, err)
			}
			root = r.SignedRoot
		}
	}
	return root, nil
}

// rootAt returns the root document that held when an event was written. Before one was published nothing was demanded.
func (t *trusted) rootAt(seq int) *trust.SignedRoot {
	if t.anchor == nil || len(t.roots) == 0 {
		return t.anchor
	}
	if last := t.roots[len(t.roots)-1]; last.Version < t.anchor.Version-1 {
		return t.anchor // nothing ties those of the log to the one that is trusted
	}
	var at *trust.SignedRoot
	if t.anchor.Version < t.roots[0].Version {
		at = t.anchor
	}
	for _, r := range t.roots {
		if r.seq < seq {
			at = r.SignedRoot
		}
	}
	return at
}

// person returns whose key it is.
func (s *state) person(k *trust.Key) (*trust.Person, error) {
	if k == nil {
		return nil, withHint(fmt.Errorf("%w: root %d demands a signature, and %w", ErrInvalid, s.root.Version, ErrNoKey), "name your private key: --key FILE, or MILLRACE_KEY=FILE")
	}
	p := s.root.Person(k.Public().ID())
	if p == nil {
		return nil, untrusted("the key %.12s is nobody's in root %d, which has %s", k.Public().ID(), s.root.Version, strings.Join(people(s.root), ", "))
	}
	return p, nil
}

// people returns the names in a root document, sorted.
func people(r *trust.SignedRoot) []string {
	names := map[string]bool{}
	for _, p := range r.People {
		names[p.Name] = true
	}
	list := slices.Sorted(maps.Keys(names))
	return list[:min(len(list), 10)]
}

// actor returns in whose name an event is written: by, or the person whose key it is, who has to be the same.
func (s *state) actor(by string, k *trust.Key) (string, error) {
	if s.root == nil {
		if n := len(s.roots); n > 0 {
			return "", withHint(fmt.Errorf("%w: the registry has root %d, and this command none: what it writes would not count", ErrInvalid, s.roots[n-1].Version),
				"name the root document: model.root in the pipeline file, or --root FILE")
		}
		return by, nil
	}
	p, err := s.person(k)
	if err != nil {
		return "", err
	}
	if by != "" && by != p.Name {
		return "", fmt.Errorf("%w: %s is not the name of the key's owner, %s", ErrInvalid, by, p.Name)
	}
	return p.Name, nil
}

// role returns the role that a person approves v in: the first that the policy still needs.
func (s *state) role(k *trust.Key, v *registered) string {
	p := s.root.Person(k.Public().ID())
	if p == nil {
		return ""
	}
	roles := s.root.Approver(p)
	for _, a := range s.root.Policy.Approvals {
		n := 0
		for _, role := range given(v.Approvals) {
			if role == a.Role {
				n++
			}
		}
		if n < a.Count && slices.Contains(roles, a.Role) {
			return a.Role
		}
	}
	if len(roles) == 0 {
		return ""
	}
	return roles[0]
}
