package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"millrace.dev/internal/registry/objects"
	"millrace.dev/internal/trust"
	"millrace.dev/model"
)

// Options are the options of [Open].
type Options struct {
	// Now is the clock that dates events. Default: time.Now.
	Now func() time.Time
	// Root is the document to begin with that says who may decide; the registry's log may hold later versions of it.
	// Default: nil, everybody may, and nothing is signed.
	Root *trust.SignedRoot
	// Key returns the key that signs what is written to a registry with a Root; it is asked whenever something is.
	// Default: nil, and such a registry can be read alone.
	Key func() (*trust.Key, error)
}

// Registry is a registry in a folder or a bucket. It is safe for concurrent use, also by several processes. Each method
// sees what others have written before it was called.
type Registry struct {
	store store
	now   func() time.Time
	key   func() (*trust.Key, error)

	mu    sync.Mutex
	state *state
}

// Open opens the registry at a location, the path of a folder or the address of a bucket (see [objects.ParseAddress]),
// and reads its events. A folder that does not exist is an empty registry, and is created when something is registered;
// a bucket must exist. Reading needs no right to write. An error matches [ErrCorrupt], [ErrUntrusted] (the root documents
// do not lead on from the one that is trusted), [ErrNewer], [ErrSetup] or [ErrUnreachable], or is one of the file system.
func Open(location string, o Options) (*Registry, error) {
	s, err := objects.Open(location)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	return openStore(s, o)
}

func openStore(s objects.Store, o Options) (*Registry, error) {
	r := &Registry{store: store{s}, now: o.Now, key: o.Key, state: newState(o.Root)}
	if r.now == nil {
		r.now = time.Now
	}
	if o.Root != nil {
		if err := o.Root.Check(); err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
	}
	if err := r.refresh(context.Background()); err != nil {
		return nil, err
	}
	return r, nil
}

// Location returns where the registry is, as [Open] takes it.
func (r *Registry) Location() string { return r.store.Location() }

// refresh reads the events that came since the last time. The caller holds r.mu, or has r to itself.
func (r *Registry) refresh(ctx context.Context) error {
	if err := r.store.read(ctx, r.state); err != nil {
		return fmt.Errorf("registry: %s: %w", r.store.Location(), err)
	}
	return nil
}

// view refreshes the state and calls f with it.
func (r *Registry) view(ctx context.Context, f func(*state) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refresh(ctx); err != nil {
		return err
	}
	if err := f(r.state); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}

// add writes the event that decide makes of the state, which returns nil if there is nothing to do, signed with k. Another
// writer may be faster; decide is then called again, with the new state. The root document that is trusted goes into a
// log that has none first, so that whoever reads the log sees that signatures are demanded. A bundle that decide misses may
// have been purged since the state was read: then too it is called again.
func (r *Registry) add(ctx context.Context, k *trust.Key, decide func(*state) (*Event, error)) error {
	for {
		first, seen := false, -1
		err := r.view(ctx, func(s *state) error {
			seen = len(s.events)
			e, err := decide(s)
			if err != nil || e == nil {
				return err
			}
			if s.anchor != nil && len(s.roots) == 0 && e.Action != RootSet {
				if err := s.sign(e.placed(s, r.now()), k); err != nil { // who may not do it writes nothing
					return err
				}
				e, first = s.anchored(e.Actor), true
			}
			if err := s.sign(e.placed(s, r.now()), k); err != nil {
				return err
			}
			if e.Action == RootSet { // one that the log refuses would spoil it
				probe := *s
				if err := probe.rotate(e); err != nil {
					return err
				}
			}
			if err := r.store.addEvent(ctx, e); err != nil {
				return err
			}
			_, _ = r.store.Clean(ctx, litterAge, false) // litter that cannot be removed stays
			return s.apply(e)
		})
		again := errors.Is(err, fs.ErrExist) || err == nil && first || errors.Is(err, ErrCorrupt) && seen >= 0 && r.hasMore(ctx, seen)
		if !again {
			return err
		}
	}
}

// hasMore tells whether the log has more than n events.
func (r *Registry) hasMore(ctx context.Context, n int) bool {
	more := false
	err := r.view(ctx, func(s *state) error {
		more = len(s.events) > n
		return nil
	})
	return more && err == nil
}

// placed puts the event behind the last one of a state, and returns it.
func (e *Event) placed(s *state, now time.Time) *Event {
	e.Format, e.Seq, e.Prev, e.Time = eventFormat, len(s.events)+1, s.sum(), now.UTC().Round(0)
	if e.Trial != nil {
		e.Format = trialFormat
	}
	if e.Note != nil {
		e.Format = noteFormat
	}
	return e
}

// signer returns the key to sign with; nil where nothing is signed, or none was given.
func (r *Registry) signer() (*trust.Key, error) {
	if r.state.anchor == nil || r.key == nil {
		return nil, nil
	}
	k, err := r.key()
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	return k, nil
}

// sign signs an event with its place in the log, if the registry has a root, and wants it to count.
func (s *state) sign(e *Event, k *trust.Key) (err error) {
	if s.root == nil || e.Action == RootSet {
		return nil
	}
	if e.Envelope, err = e.claim().Sign(k); err != nil {
		return err
	}
	var v *registered
	if e.Action != Registered && e.Action != Purged && e.Version > 0 {
		v = s.models[e.Model].versions[e.Version-1]
	}
	if err := s.vet(e, v); err != nil {
		return fmt.Errorf("%s %s: %w", e.Action, e.Ref(), err)
	}
	return nil
}

// Register adds data, the bytes of a bundle, as a new version of the model that its manifest names, on behalf
// of by, with the outcomes of the gates that it has met. If the model has these bytes as a version that was not rejected, that one is returned; those of a
// rejected version become a new candidate, and so do those of a version that nobody has signed where that is demanded. In a
// registry with a root, by may be "": it is the owner of the key. An error matches those of [model.Decode], [ErrInvalid],
// [ErrUntrusted], [ErrCorrupt] or [ErrNewer], or is one of the file system.
func (r *Registry) Register(ctx context.Context, data []byte, by string, gates ...Gate) (Version, error) {
	return r.register(ctx, data, by, "", gates...)
}

// register is [Registry.Register] with a reason, which may be empty.
func (r *Registry) register(ctx context.Context, data []byte, by, reason string, gates ...Gate) (Version, error) {
	by, err := r.name("name of who registers", by)
	if err := errors.Join(err, checkGates(gates)); err != nil {
		return Version{}, fmt.Errorf("registry: %w", err)
	}
	if reason != "" {
		if reason, err = cleanText("reason", reason, maxReason); err != nil {
			return Version{}, fmt.Errorf("registry: %w", err)
		}
	}
	key, err := r.signer()
	if err != nil {
		return Version{}, err
	}
	b, err := model.Decode(data)
	if err != nil {
		return Version{}, fmt.Errorf("registry: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return Version{}, err
	}
	name, digest := b.Manifest.Name, model.Digest(data)
	var blob blobID
	if err := r.view(ctx, func(s *state) error { blob = s.blob(digest); return nil }); err != nil {
		return Version{}, err
	}
	if err := r.store.addBlob(ctx, blob, data); errors.Is(err, ErrCorrupt) {
		blob = blobID{} // one that was there may have been purged since: it is written again below
	} else if err != nil {
		return Version{}, fmt.Errorf("registry: %w", err)
	}
	ref := reference{model: name}
	err = r.add(ctx, key, func(s *state) (*Event, error) {
		actor, err := s.actor(by, key)
		if err != nil {
			return nil, err
		}
		if now := s.blob(digest); now != blob { // what was written has been purged since, or is going to be
			if err := r.store.addBlob(ctx, now, data); err != nil {
				return nil, err
			}
			blob = now
		}
		ref.number = 1
		if m := s.models[name]; m != nil {
			for _, v := range slices.Backward(m.versions) {
				if v.Digest == digest && v.State != StateRejected && !v.Purged && (v.fault == nil || !s.root.Policy.SignedBundles) {
					ref.number = v.Number
					return nil, nil
				}
			}
			ref.number = len(m.versions) + 1
		}
		return &Event{
			Actor: actor, Action: Registered, Model: name, Version: ref.number, Digest: digest, Bytes: int64(len(data)), Reason: reason, Gates: gates,
		}, nil
	})
	if err != nil {
		return Version{}, err
	}
	return r.get(ref)
}

// name returns a person's name without white space around it, which may be "" where the key says who it is.
func (r *Registry) name(what, by string) (string, error) {
	if by == "" && r.state.anchor != nil {
		return "", nil
	}
	return cleanText(what, by, maxActor)
}

// get returns a version that is in the state.
func (r *Registry) get(ref reference) (v Version, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.resolve(ref)
}

// Decision is who decides something, and why.
type Decision struct {
	By     string // a name, for the audit log; in a registry with a root "" is the owner of the key
	Reason string
	// Role is the role that an approval is given in, of a registry with a root. Default: the first of the person's that the
	// policy still needs.
	Role string
	// Group is the consumer group that is told to run the version, of a promotion or a trial; "" if none is.
	Group string
	// Trial is what is noted of a trial; of [Registry.Try], and of a promotion that ends one. Default: nil, there is none.
	Trial *Trial
}

// Approve approves a version; its bundle must be intact. It becomes the champion if the model has none. In a registry with a
// root it stays a candidate until the policy is met, and becomes the champion only if who approves it last may also promote.
// ref is as in [Registry.Resolve]. Doing the same again changes nothing. An error matches [ErrNotFound], [ErrRejected],
// [ErrInvalid], [ErrUntrusted], [ErrCorrupt] or [ErrNewer], or is one of the file system.
func (r *Registry) Approve(ctx context.Context, ref, defaultModel string, d Decision) (Version, error) {
	return r.decide(ctx, Approved, ref, defaultModel, d)
}

// Reject rejects a version for good; it may be the champion, which leaves the model without one. Arguments and
// errors are those of [Registry.Approve].
func (r *Registry) Reject(ctx context.Context, ref, defaultModel string, d Decision) (Version, error) {
	return r.decide(ctx, Rejected, ref, defaultModel, d)
}

// Retire ends the life of a version that was approved, or waited to be: it is not to run any more. Approving it again
// brings it back. Arguments and errors are those of [Registry.Approve].
func (r *Registry) Retire(ctx context.Context, ref, defaultModel string, d Decision) (Version, error) {
	return r.decide(ctx, Retired, ref, defaultModel, d)
}

// Promote makes an approved version the champion. Arguments and errors are those of [Registry.Approve]; an error
// also matches [ErrNotApproved].
func (r *Registry) Promote(ctx context.Context, ref, defaultModel string, d Decision) (Version, error) {
	return r.decide(ctx, Promoted, ref, defaultModel, d)
}

// RollBack makes an approved version the champion again. It is [Registry.Promote] by another name in the log.
func (r *Registry) RollBack(ctx context.Context, ref, defaultModel string, d Decision) (Version, error) {
	return r.decide(ctx, RolledBack, ref, defaultModel, d)
}

// Before returns the champion that a model had before the present one, or had last: the newest that may still run. An
// error matches [ErrNotFound], [ErrCorrupt] or [ErrNewer], or is one of the file system.
func (r *Registry) Before(ctx context.Context, name string) (v Version, err error) {
	err = r.view(ctx, func(s *state) error {
		m := s.models[name]
		if m == nil {
			_, err := s.resolve(reference{model: name, number: 1})
			return err
		}
		n := m.before()
		if n == 0 {
			return withHint(fmt.Errorf("%w: %s has had no other champion that may still run", ErrNotFound, name), "promote a version by its number: see millrace model list")
		}
		v = m.version(n)
		return nil
	})
	return v, err
}

func (r *Registry) decide(ctx context.Context, action Action, ref, defaultModel string, d Decision) (Version, error) {
	target, err := parseRef(ref, defaultModel)
	by, err1 := r.name("name of who decides", d.By)
	reason, err2 := cleanText("reason", d.Reason, maxReason)
	if err := errors.Join(err, err1, err2); err != nil {
		return Version{}, fmt.Errorf("registry: %s %s: %w", action, ref, err)
	}
	key, err := r.signer()
	if err != nil {
		return Version{}, err
	}
	err = r.add(ctx, key, func(s *state) (*Event, error) {
		actor, err := s.actor(by, key)
		if err != nil {
			return nil, err
		}
		v, err := s.resolve(target)
		if err != nil {
			return nil, err
		}
		// An alias stands for one version throughout: were it looked up again after another writer won, the
		// decision could fall on a version that nobody has looked at.
		target = reference{model: v.Model, number: v.Number}
		e := &Event{Actor: actor, Action: action, Model: v.Model, Version: v.Number, Digest: v.Digest, Reason: reason, Group: d.Group, Trial: d.Trial}
		if err := checkTrial(e); err != nil {
			return nil, err
		}
		if s.root != nil && action == Approved {
			if e.Role = d.Role; e.Role == "" {
				e.Role = s.role(key, s.models[v.Model].versions[v.Number-1])
			}
			if slices.ContainsFunc(v.Approvals, func(a Approval) bool { return a.By == actor && a.Reason == reason }) {
				return nil, nil // as before
			}
		}
		return r.admit(ctx, s, v, e)
	})
	if err != nil {
		return Version{}, err
	}
	return r.get(target)
}

// admit returns e, which is about v, nil if that was decided already, or why it cannot be decided.
func (r *Registry) admit(ctx context.Context, s *state, v Version, e *Event) (*Event, error) {
	decided := v.DecidedBy == e.Actor && v.Reason == e.Reason
	if e.Action == Tried {
		if news, err := v.admitTrial(e); err != nil || !news {
			return nil, err
		}
		if e.ends() {
			return e, nil
		}
	}
	switch {
	case e.Action == Approved && v.State == StateApproved && decided,
		e.Action == Rejected && v.State == StateRejected && decided,
		e.Action == Retired && v.State == StateRetired:
		return nil, nil
	case v.State == StateRejected:
		return nil, withHint(fmt.Errorf("%s: %w, by %s (%s), which is final", v.Ref(), ErrRejected, v.DecidedBy, v.Reason),
			"register the bundle again to have it reviewed again")
	}
	if err := v.checkPassed(); err != nil && !e.refuses() {
		return nil, err
	}
	if e.Action == Promoted || e.Action == RolledBack || e.Action == Tried {
		if err := v.CheckApproved(); err != nil {
			return nil, err
		}
	}
	if !e.refuses() { // nobody can have looked at what is not there
		if v.Purged {
			return nil, v.purged()
		}
		if _, err := r.store.readBlob(ctx, s.blob(v.Digest), v.Bytes); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Ref(), err)
		}
	}
	return e, nil
}

// List returns every version, by model and number.
func (r *Registry) List(ctx context.Context) (versions []Version, err error) {
	err = r.view(ctx, func(s *state) error {
		versions = s.list()
		return nil
	})
	return versions, err
}

// Resolve returns the version that ref stands for: NAME@NUMBER, NAME@champion or NAME@candidate, without NAME
// for defaultModel. An error matches [ErrInvalid], [ErrNotFound], [ErrNotApproved] (a model without a
// champion), [ErrCorrupt] or [ErrNewer], or is one of the file system.
func (r *Registry) Resolve(ctx context.Context, ref, defaultModel string) (v Version, err error) {
	v, _, err = r.Show(ctx, ref, defaultModel)
	return v, err
}

// Show returns the version that ref stands for, as [Registry.Resolve] does, and the events about it.
func (r *Registry) Show(ctx context.Context, ref, defaultModel string) (v Version, events []Event, err error) {
	target, err := parseRef(ref, defaultModel)
	if err != nil {
		return Version{}, nil, fmt.Errorf("registry: %w", err)
	}
	err = r.view(ctx, func(s *state) (err error) {
		v, err = s.resolve(target)
		if err == nil {
			events = s.about(v)
		}
		return err
	})
	return v, events, err
}

// Log returns the audit log: every event, in order.
func (r *Registry) Log(ctx context.Context) (events []Event, err error) {
	err = r.view(ctx, func(s *state) error {
		events = slices.Clone(s.events)
		return nil
	})
	return events, err
}

// Load returns the bytes of a version's bundle, which have its digest. An error matches [ErrCorrupt], [ErrPurged] or
// [ErrUnreachable], or is one of the file system.
func (r *Registry) Load(ctx context.Context, v Version) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !validDigest(v.Digest) || v.Bytes < 1 {
		return nil, fmt.Errorf("registry: %w: %.80q is not the digest of a bundle", ErrInvalid, v.Digest)
	}
	r.mu.Lock()
	now := r.state.blob(v.Digest)
	r.mu.Unlock()
	for {
		blob := now
		data, err := r.store.readBlob(ctx, blob, v.Bytes)
		if err == nil {
			return data, nil
		}
		gone := false
		if errors.Is(err, ErrCorrupt) { // it may have been purged, and registered again, since the events were read
			if err := r.view(ctx, func(s *state) error {
				now, gone = s.blob(v.Digest), s.isPurged(v)
				return nil
			}); err != nil {
				return nil, err
			}
		}
		switch {
		case gone:
			return nil, v.purged()
		case now == blob:
			return nil, fmt.Errorf("registry: %s: %w", v.Ref(), err)
		}
	}
}

// Report is what [Registry.Verify] has looked at.
type Report struct {
	Events int // verified, from the first
	Blobs  int // verified
	Signed int // events with a signature that counts, or counted when it was made
	Purged int // that are gone on purpose
	// Head is the Sum of the last event. Whoever keeps it elsewhere can tell later that the log up to there is
	// the same: it is the one thing that a log cannot prove of itself.
	Head string
}

// Verify reads every event and every blob anew and returns the first that is not what it should be, as an error
// that matches [ErrCorrupt], [ErrUntrusted] or [ErrNewer]; the report says how far it came. Signatures are judged by the
// root document that held when they were made.
func (r *Registry) Verify(ctx context.Context) (Report, error) {
	s := newState(r.state.anchor)
	err := r.store.read(ctx, s)
	report := Report{Events: len(s.events), Head: s.sum()}
	seen := map[string]bool{}
	for _, e := range s.events {
		if err != nil {
			break
		}
		if e.Action != Registered || seen[e.Digest] {
			continue
		}
		seen[e.Digest] = true
		var live bool
		if live, err = r.store.checkBlob(ctx, s, &e); live {
			report.Blobs++
		} else if err == nil {
			report.Purged++
		}
	}
	if err == nil {
		report.Signed, err = s.signatures()
	}
	if err != nil {
		return report, fmt.Errorf("registry: %s: %w", r.store.Location(), err)
	}
	return report, nil
}
