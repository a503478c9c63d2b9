package registry

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"millrace.dev/internal/trust"
	"millrace.dev/model"
)

// State is where a version is in its life.
type State string

// The states of a version.
const (
	StateCandidate State = "candidate"
	StateApproved  State = "approved"
	StateRejected  State = "rejected"
	StateRetired   State = "retired"
)

// The aliases of versions.
const (
	AliasCandidate = "candidate"
	AliasChampion  = "champion"
)

// Version is a registered model.
type Version struct {
	// Model is the name of the model, and Number counts its versions from 1.
	Model  string
	Number int
	// Digest is the digest of the bundle, and Bytes its size.
	Digest string
	Bytes  int64
	State  State
	// Aliases are those that stand for this version now, sorted.
	Aliases []string
	// RegisteredBy and RegisteredAt say who registered it, and when.
	RegisteredBy string
	RegisteredAt time.Time
	// Gates are the outcomes of the gates that it met in training.
	Gates []Gate
	// Trials are those that have not ended, in the order in which they were noted last.
	Trials []RunningTrial
	// DecidedBy, DecidedAt and Reason are of the last approval or rejection; empty for a candidate.
	DecidedBy string
	DecidedAt time.Time
	Reason    string
	// Approvals are those that count, since the version was last retired, in order.
	Approvals []Approval
	// Wants says what a candidate lacks to be approved, of a registry with a root; "" is one approval by anybody.
	Wants string
	// Ignored are the events about the version that do not count, and why; of a registry with a root.
	Ignored []Ignored
	// Purged tells whether the bundle was removed for good, by [Registry.GC].
	Purged bool
	// Notes are what is noted of it.
	Notes Notes
}

// Approval is one person's consent to a version.
type Approval struct {
	Seq    int // of the event
	By     string
	Role   string // "" without a root
	Reason string
	At     time.Time
	Key    string // the ID of the key that signed it; "" without a root
}

// Ignored is an event that does not count.
type Ignored struct {
	Seq int
	Err error // why; it matches ErrUntrusted
}

// Ref returns the name of the version, such as "house-prices@3".
func (v Version) Ref() string { return fmt.Sprintf("%s@%d", v.Model, v.Number) }

// CheckApproved wants a version that may run. The error matches [ErrNotApproved] and says what to do; it matches
// [ErrUntrusted] too where a decision about the version does not count.
func (v Version) CheckApproved() error {
	switch v.State {
	case StateApproved:
		return nil
	case StateCandidate:
	case StateRejected, StateRetired:
		return withHint(fmt.Errorf("registry: %s: %w: %s %s it (%s)", v.Ref(), ErrNotApproved, v.DecidedBy, v.State, v.Reason), "use another version")
	}
	err := fmt.Errorf("registry: %s: %w: it is a %s", v.Ref(), ErrNotApproved, v.State)
	if v.Wants != "" {
		err = fmt.Errorf("%w: %s", err, v.Wants)
	}
	for _, i := range v.Ignored {
		err = fmt.Errorf("%w; %w", err, i.Err)
	}
	if v.barred() {
		return withHint(err, registerHint)
	}
	return withHint(err, v.approveHint())
}

// barred tells whether nobody can approve the version, since its registration does not count.
func (v Version) barred() bool { return v.Wants == wantsAuthor }

// approveHint says how the version becomes approved.
func (v Version) approveHint() string {
	if v.Wants == "" {
		return approveHint(v.Ref())
	}
	return fmt.Sprintf("approve it: millrace model approve %s --reason TEXT --key FILE", v.Ref())
}

func approveHint(ref string) string {
	return fmt.Sprintf("approve it: millrace model approve %s --by NAME --reason TEXT", ref)
}

// state is what the events up to the last one add up to.
type state struct {
	events []Event
	models map[string]*entry
	purges map[string]int // digests to the number of the last event that purged them
	trusted
}

// entry is a model: its versions by number from 1, its champion, 0 if it has none, and those that were champions and were not rolled
// back from, in order.
type entry struct {
	versions  []*registered
	champion  int
	crowned   int // the number of the event that made the champion
	ended     int // that of the event that took the last champion away; 0 if none has
	champions []int
	notes     Notes
	aliases   map[string]int // that were noted
}

// registered is a version, and what is known of who registered it.
type registered struct {
	Version

	author string // the ID of the key that signed the registration; "" is none
	fault  error  // why the registration does not count
}

// newState returns the state before the first event. anchor is the root document that is trusted; nil is none.
func newState(anchor *trust.SignedRoot) *state {
	return (&state{trusted: trusted{anchor: anchor, root: anchor}}).cleared()
}

// cleared takes away what events have added up to.
func (s *state) cleared() *state {
	s.models, s.purges = map[string]*entry{}, map[string]int{}
	return s
}

// sum returns the sum of the last event.
func (s *state) sum() string {
	if len(s.events) == 0 {
		return ""
	}
	return s.events[len(s.events)-1].Sum
}

// apply adds an event. It refuses one that does not follow from those before it, which no writer has written.
func (s *state) apply(e *Event) error {
	if e.Format < 1 || e.Format > noteFormat || e.Seq != len(s.events)+1 {
		return fmt.Errorf("%w: it says that it is event %d, of format %d", ErrCorrupt, e.Seq, e.Format)
	}
	if e.Prev != s.sum() {
		return fmt.Errorf("%w: it does not follow the event before it: one of the two has been replaced", ErrCorrupt)
	}
	if (e.Format == trialFormat) != (e.Trial != nil) {
		return fmt.Errorf("%w: it is of format %d, which is for trials alone", ErrCorrupt, e.Format)
	}
	if (e.Format == noteFormat) != (e.Note != nil) {
		return fmt.Errorf("%w: it is of format %d, which is for notes alone", ErrCorrupt, e.Format)
	}
	if err := errors.Join(checkTrial(e), checkNote(e)); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := s.checkPlace(e); err != nil {
		return err
	}
	if e.Action == RootSet {
		return s.rotate(e)
	}
	if err := s.judge(e); err != nil {
		return err
	}
	s.events = append(s.events, *e)
	return nil
}

// judge applies an event about a version to the models.
func (s *state) judge(e *Event) error {
	orphan := e.Action == Purged && e.Model == "" && e.Version == 0
	if !isClean(e.Actor, maxActor) || model.CheckName(e.Model) != nil && !orphan || !validDigest(e.Digest) {
		return fmt.Errorf("%w: it has no actor, no model or no digest", ErrCorrupt)
	}
	if e.Action == Purged {
		return s.purge(e)
	}
	if e.Action == Noted {
		return s.note(e)
	}
	m := s.models[e.Model]
	if e.Action != Registered {
		if err := s.decide(m, e); err != nil {
			return err
		}
		v := m.versions[e.Version-1]
		v.Wants = s.wants(v)
		return nil
	}
	if m == nil {
		m = &entry{}
	}
	if e.Version != len(m.versions)+1 || e.Bytes < 1 || e.Reason != "" && !isClean(e.Reason, maxReason) {
		return fmt.Errorf("%w: it registers %s@%d, of %d bytes, after version %d", ErrCorrupt, e.Model, e.Version, e.Bytes, len(m.versions))
	}
	if err := checkGates(e.Gates); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	v := &registered{Version: Version{
		Model: e.Model, Number: e.Version, Digest: e.Digest, Bytes: e.Bytes, State: StateCandidate,
		RegisteredBy: e.Actor, RegisteredAt: e.Time, Gates: e.Gates,
	}, author: e.Envelope.Signer()}
	v.fault = v.ignore(e, s.vet(e, nil))
	v.Wants = s.wants(v)
	m.versions = append(m.versions, v)
	s.models[e.Model] = m
	return nil
}

// decide applies an event about a version that is registered.
func (s *state) decide(m *entry, e *Event) error {
	if m == nil || e.Version < 1 || e.Version > len(m.versions) {
		return fmt.Errorf("%w: it is about %s@%d, which is not registered", ErrCorrupt, e.Model, e.Version)
	}
	v := m.versions[e.Version-1]
	if v.Digest != e.Digest || v.State == StateRejected && !e.ends() || !isClean(e.Reason, maxReason) || e.Role != "" && !isClean(e.Role, maxRole) {
		return fmt.Errorf("%w: it does not fit %s@%d", ErrCorrupt, e.Model, e.Version)
	}
	if v.Purged && !e.refuses() && !s.lenient() {
		return fmt.Errorf("%w: it is about %s@%d, which was purged", ErrCorrupt, e.Model, e.Version)
	}
	counts := v.ignore(e, s.vet(e, v)) == nil
	switch e.Action {
	case Approved:
		if !counts || !s.approve(v, e) {
			return nil
		}
		// Nobody signs the format, and no log of format 1 was signed: there it must not make a promotion of an approval.
		if (m.champion == 0 && s.crowns(e)) || (e.Format == 1 && s.root == nil) {
			m.crown(e)
		}
	case Rejected, Retired: // who may not say so is heard all the same: it is the safe side
		v.State, v.Approvals = StateRetired, nil
		if e.Action == Rejected {
			v.State = StateRejected
			m.unname(v.Number)
		}
		m.end(v.Number, e)
	case Promoted, RolledBack:
		if v.State != StateApproved && !s.lenient() {
			return fmt.Errorf("%w: it promotes %s@%d, which is %s", ErrCorrupt, e.Model, e.Version, v.State)
		}
		if counts && v.State == StateApproved {
			m.crown(e)
			m.settle(e.Group)
		}
		return nil
	case Tried:
		return s.try(v, e, counts)
	default:
		return fmt.Errorf("%w: its action is %.40q", ErrCorrupt, e.Action)
	}
	v.DecidedBy, v.DecidedAt, v.Reason = e.Actor, e.Time, e.Reason
	return nil
}

// crown makes the version of an event the champion. A rollback forgets the champions that it goes back over, so that the next one goes
// further back, and never forward to what somebody has taken back.
func (m *entry) crown(e *Event) {
	n := e.Version
	m.champion, m.crowned = n, e.Seq
	if e.Action == RolledBack {
		for len(m.champions) > 0 && m.champions[len(m.champions)-1] != n && slices.Contains(m.champions, n) {
			m.champions = m.champions[:len(m.champions)-1]
		}
	}
	if l := len(m.champions); l == 0 || m.champions[l-1] != n {
		m.champions = append(m.champions, n)
	}
}

// end takes the champion away if it is version n.
func (m *entry) end(n int, e *Event) {
	if m.champion == n {
		m.champion, m.ended = 0, e.Seq
	}
}

// before returns the champion before the present one, or the last one where there is none at present: the newest of those
// before that may still run; 0 if there is none.
func (m *entry) before() int {
	for _, n := range slices.Backward(m.champions) {
		if n != m.champion && m.versions[n-1].State == StateApproved {
			return n
		}
	}
	return 0
}

// candidate returns the number of the newest version that waits for review, unless a newer one has been
// approved; 0 if there is none.
func (m *entry) candidate() int {
	for _, v := range slices.Backward(m.versions) {
		switch v.State {
		case StateCandidate:
			if !v.barred() {
				return v.Number
			}
		case StateApproved:
			return 0
		case StateRejected, StateRetired:
		}
	}
	return 0
}

// version returns version n, which exists, with its aliases.
func (m *entry) version(n int) Version {
	v := m.versions[n-1].Version
	if n == m.candidate() {
		v.Aliases = append(v.Aliases, AliasCandidate)
	}
	if n == m.champion {
		v.Aliases = append(v.Aliases, AliasChampion)
	}
	return v
}

// list returns every version, by name and number.
func (s *state) list() []Version {
	var all []Version
	for _, m := range s.models {
		for i := range m.versions {
			all = append(all, m.version(i+1))
		}
	}
	slices.SortFunc(all, func(a, b Version) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.Number, b.Number))
	})
	return all
}

// names returns the names of the models, sorted.
func (s *state) names() []string { return slices.Sorted(maps.Keys(s.models)) }
