package registry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

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
	// DecidedBy, DecidedAt and Reason are of the last approval or rejection; empty for a candidate.
	DecidedBy string
	DecidedAt time.Time
	Reason    string
}

// Ref returns the name of the version, such as "house-prices@3".
func (v Version) Ref() string { return fmt.Sprintf("%s@%d", v.Model, v.Number) }

// CheckApproved wants a version that may run. The error matches [ErrNotApproved] and says what to do.
func (v Version) CheckApproved() error {
	switch v.State {
	case StateApproved:
		return nil
	case StateRejected, StateRetired:
		return withHint(fmt.Errorf("registry: %s: %w: %s %s it (%s)", v.Ref(), ErrNotApproved, v.DecidedBy, v.State, v.Reason), "use another version")
	default:
		return withHint(fmt.Errorf("registry: %s: %w: it is a %s", v.Ref(), ErrNotApproved, v.State), approveHint(v.Ref()))
	}
}

func approveHint(ref string) string {
	return fmt.Sprintf("approve it: millrace model approve %s --by NAME --reason TEXT", ref)
}

// state is what the events up to the last one add up to.
type state struct {
	events []Event
	models map[string]*entry
}

// entry is a model: its versions by number from 1, its champion, 0 if it has none, and all that were champions, in order.
type entry struct {
	versions  []Version
	champion  int
	champions []int
}

func newState() *state { return &state{models: map[string]*entry{}} }

// sum returns the sum of the last event.
func (s *state) sum() string {
	if len(s.events) == 0 {
		return ""
	}
	return s.events[len(s.events)-1].Sum
}

// apply adds an event. It refuses one that does not follow from those before it, which no writer has written.
func (s *state) apply(e *Event) error {
	if e.Format < 1 || e.Format > eventFormat || e.Seq != len(s.events)+1 {
		return fmt.Errorf("%w: it says that it is event %d, of format %d", ErrCorrupt, e.Seq, e.Format)
	}
	if e.Prev != s.sum() {
		return fmt.Errorf("%w: it does not follow the event before it: one of the two has been replaced", ErrCorrupt)
	}
	if !isClean(e.Actor, maxActor) || model.CheckName(e.Model) != nil || !validDigest(e.Digest) {
		return fmt.Errorf("%w: it has no actor, no model or no digest", ErrCorrupt)
	}
	m := s.models[e.Model]
	if e.Action == Registered {
		if m == nil {
			m = &entry{}
		}
		if e.Version != len(m.versions)+1 || e.Bytes < 1 {
			return fmt.Errorf("%w: it registers %s@%d, of %d bytes, after version %d", ErrCorrupt, e.Model, e.Version, e.Bytes, len(m.versions))
		}
		if err := checkGates(e.Gates); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		m.versions = append(m.versions, Version{
			Model: e.Model, Number: e.Version, Digest: e.Digest, Bytes: e.Bytes, State: StateCandidate,
			RegisteredBy: e.Actor, RegisteredAt: e.Time, Gates: e.Gates,
		})
		s.models[e.Model] = m
	} else if err := m.decide(e); err != nil {
		return err
	}
	s.events = append(s.events, *e)
	return nil
}

// decide applies an event about a version that is registered.
func (m *entry) decide(e *Event) error {
	if m == nil || e.Version < 1 || e.Version > len(m.versions) {
		return fmt.Errorf("%w: it is about %s@%d, which is not registered", ErrCorrupt, e.Model, e.Version)
	}
	v := &m.versions[e.Version-1]
	if v.Digest != e.Digest || v.State == StateRejected || !isClean(e.Reason, maxReason) {
		return fmt.Errorf("%w: it does not fit %s@%d", ErrCorrupt, e.Model, e.Version)
	}
	switch e.Action {
	case Approved:
		v.State = StateApproved
		if m.champion == 0 || e.Format == 1 {
			m.crown(e.Version)
		}
	case Rejected, Retired:
		v.State = StateRejected
		if e.Action == Retired {
			v.State = StateRetired
		}
		if m.champion == e.Version {
			m.champion = 0
		}
	case Promoted, RolledBack:
		if v.State != StateApproved {
			return fmt.Errorf("%w: it promotes %s@%d, which is %s", ErrCorrupt, e.Model, e.Version, v.State)
		}
		m.crown(e.Version)
		return nil
	default:
		return fmt.Errorf("%w: its action is %.40q", ErrCorrupt, e.Action)
	}
	v.DecidedBy, v.DecidedAt, v.Reason = e.Actor, e.Time, e.Reason
	return nil
}

// crown makes a version the champion.
func (m *entry) crown(n int) {
	m.champion = n
	if l := len(m.champions); l == 0 || m.champions[l-1] != n {
		m.champions = append(m.champions, n)
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
			return v.Number
		case StateApproved:
			return 0
		case StateRejected, StateRetired:
		}
	}
	return 0
}

// version returns version n, which exists, with its aliases.
func (m *entry) version(n int) Version {
	v := m.versions[n-1]
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
