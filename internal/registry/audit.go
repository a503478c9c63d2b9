package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace.dev/internal/trust"
)

// past returns the state after the first n events, by the root document that held then. Its error matches ErrCorrupt or
// ErrUntrusted.
func (s *state) past(n int) (*state, error) {
	p := (&state{events: s.events[:n:n], trusted: s.ruledAt(n + 1)}).cleared()
	return p, p.replay()
}

// ruledAt returns whose decisions counted when an event was written.
func (s *state) ruledAt(seq int) trusted {
	return trusted{root: s.rootAt(seq), roots: s.roots} // with roots, so that nothing of a signed log is taken for damaged
}

// signatures judges each event by the root document that held when it was written. It returns how many signatures count,
// and the first event that did not count.
func (s *state) signatures() (int, error) {
	if s.anchor == nil {
		return 0, nil
	}
	p, signed := (&state{trusted: s.ruledAt(1)}).cleared(), 0
	for i := range s.events {
		e := &s.events[i]
		if e.Action == RootSet {
			var err error
			if p, err = s.past(i + 1); err != nil {
				return signed, err
			}
			signed++
			continue
		}
		var v *registered
		if m := p.models[e.Model]; m != nil && e.Version > 0 && e.Version <= len(m.versions) {
			v = m.versions[e.Version-1]
		}
		if err := p.vet(e, v); err != nil {
			return signed, fmt.Errorf("event %d, %s %s by %s, does not count: %w", e.Seq, e.Action, e.Ref(), e.Actor, err)
		}
		if err := p.judge(e); err != nil {
			return signed, err
		}
		if p.root != nil && e.Envelope != nil {
			signed++
		}
	}
	return signed, nil
}

// GoesThrough tells whether the log goes through an event with this sum, which was its head once. If it does not, what was before it
// has been rewritten or cut off: the error matches [ErrCorrupt]; it matches [ErrInvalid] where sum is none.
func (r *Registry) GoesThrough(ctx context.Context, sum string) error {
	if !validDigest(sum) {
		return fmt.Errorf("registry: %w: %.80q is not the sum of an event, sha256:HEX", ErrInvalid, sum)
	}
	return r.view(ctx, func(s *state) error {
		if slices.ContainsFunc(s.events, func(e Event) bool { return e.Sum == sum }) {
			return nil
		}
		return withHint(fmt.Errorf("%w: the log does not go through %s: it was rewritten, or its end was cut off", ErrCorrupt, sum), "compare it with a backup")
	})
}

// Moment is what was live at some time.
type Moment struct {
	Time time.Time
	// Events is how many events had happened, and Sum that of the last of them.
	Events int
	Sum    string
	// Root is the version of the root document in force; 0 is none.
	Root   int
	Models []Live // by name
	// Later are events that come after the Events, and are dated at this time or before: clocks differ, and if it is that of the first event
	// after the Events which is wrong, they had happened as well.
	Later int
}

// Live is the champion of a model, and who let it be that.
type Live struct {
	Model string
	// Champion is the version; nil where the model had none.
	Champion *Version
	// Registered and Promoted are the events that made the version and the champion; the latter may be an approval.
	Registered, Promoted Event
	// Ended is the event that took the champion away, where the model had one before and then none.
	Ended *Event
}

// At returns what was live at a time: what the events add up to that had happened then, by the root document in force
// then. The order of events is that of their numbers; clocks may differ. An event is taken to have happened at the
// latest time that it or one before it has. An error is as of [Registry.List].
func (r *Registry) At(ctx context.Context, t time.Time) (m Moment, err error) {
	err = r.view(ctx, func(s *state) error {
		n := slices.IndexFunc(s.events, func(e Event) bool { return e.Time.After(t) })
		if n < 0 {
			n = len(s.events)
		}
		p, err := s.past(n)
		if err != nil {
			return err
		}
		m = Moment{Time: t, Events: n, Sum: p.sum(), Root: version(p.root)}
		for _, e := range s.events[n:] {
			if !e.Time.After(t) {
				m.Later++
			}
		}
		for name, e := range p.models {
			m.Models = append(m.Models, p.live(name, e))
		}
		slices.SortFunc(m.Models, func(a, b Live) int { return cmp.Compare(a.Model, b.Model) })
		return nil
	})
	return m, err
}

func version(r *trust.SignedRoot) int {
	if r == nil {
		return 0
	}
	return r.Version
}

// live returns what is known of the champion of a model.
func (s *state) live(name string, m *entry) Live {
	l := Live{Model: name}
	if m.champion == 0 {
		if m.ended > 0 {
			l.Ended = &s.events[m.ended-1]
		}
		return l
	}
	v := m.version(m.champion)
	l.Champion, l.Promoted = &v, s.events[m.crowned-1]
	i := slices.IndexFunc(s.events, func(e Event) bool {
		return e.Action == Registered && e.Model == name && e.Version == v.Number
	})
	l.Registered = s.events[i]
	return l
}

// Root returns the root document in force, nil in a registry that was opened without one, and the version of the last one in
// the log, 0 if there is none.
func (r *Registry) Root(ctx context.Context) (root *trust.SignedRoot, logged int, err error) {
	err = r.view(ctx, func(s *state) error {
		root = s.root
		if n := len(s.roots); n > 0 {
			logged = s.roots[n-1].Version
		}
		return nil
	})
	return root, logged, err
}

// CheckAuthor wants a key that may register a model, if one is demanded: what takes long need not be done in vain. by is
// as in [Registry.Register]. An error matches [ErrInvalid] or [ErrUntrusted].
func (r *Registry) CheckAuthor(ctx context.Context, by string) error {
	key, err := r.signer()
	if err != nil {
		return err
	}
	return r.view(ctx, func(s *state) error {
		name, err := s.actor(by, key)
		if err != nil || s.root == nil || !s.root.Policy.SignedBundles {
			return err
		}
		if p := s.root.Person(key.Public().ID()); !p.Has(trust.RoleAuthor) {
			return untrusted("%s does not have the role %s", name, trust.RoleAuthor)
		}
		return nil
	})
}

// Promoter returns who promotes: by, or the owner of the key. It wants somebody who may, so that nothing is begun that cannot
// be recorded. An error matches [ErrInvalid] or [ErrUntrusted].
func (r *Registry) Promoter(ctx context.Context, by string) (name string, err error) {
	if name, err = r.name("name of who decides", by); err != nil {
		return "", fmt.Errorf("registry: %w", err)
	}
	key, err := r.signer()
	if err != nil {
		return "", err
	}
	err = r.view(ctx, func(s *state) error {
		if name, err = s.actor(name, key); err != nil || s.root == nil {
			return err
		}
		return s.vetPromoter(s.root.Person(key.Public().ID()))
	})
	return name, err
}

// PublishRoot writes a root document into the log: the one that the registry was opened with, or the next version of the
// last one, signed as both demand. From then on it decides, also about what was signed before. by says who does it; the
// document's own signatures are what counts. Doing it again changes nothing. An error matches [ErrInvalid],
// [ErrUntrusted], [ErrCorrupt] or [ErrNewer], or is one of the file system.
func (r *Registry) PublishRoot(ctx context.Context, root *trust.SignedRoot, by string) error {
	actor, err := cleanText("name of who publishes", by, maxActor)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	return r.add(ctx, nil, func(s *state) (*Event, error) {
		if s.anchor == nil {
			return nil, fmt.Errorf("%w: a registry without a root has none to follow", ErrInvalid)
		}
		if n := len(s.roots); n > 0 && s.roots[n-1].Digest() == root.Digest() {
			return nil, nil
		}
		log := append(slices.Clone(s.roots), published{root, len(s.events) + 1})
		if _, err := inForce(s.anchor, log); err != nil {
			return nil, err
		}
		if err := errors.Join(root.Check(), reached(root, len(s.events))); err != nil {
			return nil, err
		}
		return rootEvent(root, actor), nil
	})
}

func rootEvent(root *trust.SignedRoot, actor string) *Event {
	return &Event{Actor: actor, Action: RootSet, Version: root.Version, Digest: root.Digest(), Envelope: root.Envelope()}
}

// anchored returns the event that puts the root document that is trusted into the log.
func (s *state) anchored(actor string) *Event { return rootEvent(s.anchor, actor) }
