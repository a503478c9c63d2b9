package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"millrace.dev/internal/durable"
	"millrace.dev/model"
)

// Options are the options of [Open].
type Options struct {
	// Now is the clock that dates events. Default: time.Now.
	Now func() time.Time
}

// Registry is a registry in a folder. It is safe for concurrent use, also by several processes. Each method
// sees what others have written before it was called.
type Registry struct {
	folder folder
	now    func() time.Time

	mu    sync.Mutex
	state *state
}

// Open opens the registry in the folder dir and reads its events. A folder that does not exist is an empty
// registry, and is created when something is registered. Reading needs no right to write. An error matches
// [ErrCorrupt] or [ErrNewer], or is one of the file system.
func Open(dir string, o Options) (*Registry, error) { return open(dir, o, durable.OS()) }

func open(dir string, o Options, fsys durable.FS) (*Registry, error) {
	r := &Registry{folder: folder{dir, fsys}, now: o.Now, state: newState()}
	if r.now == nil {
		r.now = time.Now
	}
	if err := r.refresh(context.Background()); err != nil {
		return nil, err
	}
	return r, nil
}

// refresh reads the events that came since the last time. The caller holds r.mu, or has r to itself.
func (r *Registry) refresh(ctx context.Context) error {
	if err := r.folder.read(ctx, r.state); err != nil {
		return fmt.Errorf("registry: %s: %w", r.folder.dir, err)
	}
	return nil
}

// read applies the events after the last one of s to s.
func (f folder) read(ctx context.Context, s *state) error {
	if n := len(s.events); n > 0 { // the last one must still be there: the next will be chained to it
		if e, err := f.readEvent(n); errors.Is(err, fs.ErrNotExist) || err == nil && e.Sum != s.sum() {
			return fmt.Errorf("%w: %s has been removed or replaced since it was read", ErrCorrupt, f.event(n))
		} else if err != nil {
			return err
		}
	}
	last, err := f.lastEvent()
	if err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		seq := len(s.events) + 1
		e, err := f.readEvent(seq)
		if errors.Is(err, fs.ErrNotExist) {
			if seq > last {
				return nil
			}
			return withHint(fmt.Errorf("%w: %s is missing, though later events are there", ErrCorrupt, f.event(seq)), "restore it from a backup")
		}
		if err != nil {
			return err
		}
		if err := s.apply(e); err != nil {
			return fmt.Errorf("%s: %w", f.event(seq), err)
		}
	}
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

// add writes the event that decide makes of the state, which returns nil if there is nothing to do. Another
// writer may be faster; decide is then called again, with the new state.
func (r *Registry) add(ctx context.Context, decide func(*state) (*Event, error)) error {
	for {
		err := r.view(ctx, func(s *state) error {
			e, err := decide(s)
			if err != nil || e == nil {
				return err
			}
			e.Format, e.Seq, e.Prev, e.Time = eventFormat, len(s.events)+1, s.sum(), r.now().UTC().Round(0)
			if err := r.folder.addEvent(e); err != nil {
				return err
			}
			r.folder.clean(e.Seq)
			return s.apply(e)
		})
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// Register adds data, the bytes of a bundle, as a new version of the model that its manifest names, on behalf
// of by, with the outcomes of the gates that it has met. If the model has these bytes as a candidate or an approved version, that one is returned; those of a
// rejected version become a new candidate. An error matches those of [model.Decode], [ErrInvalid], [ErrCorrupt]
// or [ErrNewer], or is one of the file system.
func (r *Registry) Register(ctx context.Context, data []byte, by string, gates ...Gate) (Version, error) {
	actor, err := cleanText("name of who registers", by, maxActor)
	if err := errors.Join(err, checkGates(gates)); err != nil {
		return Version{}, fmt.Errorf("registry: %w", err)
	}
	b, err := model.Decode(data)
	if err != nil {
		return Version{}, fmt.Errorf("registry: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return Version{}, err
	}
	name, digest := b.Manifest.Name, model.Digest(data)
	if err := r.folder.addBlob(digest, data); err != nil {
		return Version{}, fmt.Errorf("registry: %w", err)
	}
	ref := reference{model: name}
	err = r.add(ctx, func(s *state) (*Event, error) {
		ref.number = 1
		if m := s.models[name]; m != nil {
			for _, v := range slices.Backward(m.versions) {
				if v.Digest == digest && v.State != StateRejected {
					ref.number = v.Number
					return nil, nil
				}
			}
			ref.number = len(m.versions) + 1
		}
		return &Event{
			Actor: actor, Action: Registered, Model: name, Version: ref.number, Digest: digest, Bytes: int64(len(data)), Gates: gates,
		}, nil
	})
	if err != nil {
		return Version{}, err
	}
	return r.get(ref)
}

// get returns a version that is in the state.
func (r *Registry) get(ref reference) (v Version, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.resolve(ref)
}

// Decision is who decides something, and why.
type Decision struct {
	By     string // a name, for the audit log
	Reason string
	// Group is the consumer group that is told to run the version, of a promotion; "" if none is.
	Group string
}

// Approve approves a version; its bundle must be intact. It becomes the champion if the model has none. ref is as in
// [Registry.Resolve]. Doing the same again changes nothing. An error matches [ErrNotFound], [ErrRejected],
// [ErrInvalid], [ErrCorrupt] or [ErrNewer], or is one of the file system.
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
	actor, err1 := cleanText("name of who decides", d.By, maxActor)
	reason, err2 := cleanText("reason", d.Reason, maxReason)
	if err := errors.Join(err, err1, err2); err != nil {
		return Version{}, fmt.Errorf("registry: %s %s: %w", action, ref, err)
	}
	err = r.add(ctx, func(s *state) (*Event, error) {
		v, err := s.resolve(target)
		if err != nil {
			return nil, err
		}
		// An alias stands for one version throughout: were it looked up again after another writer won, the
		// decision could fall on a version that nobody has looked at.
		target = reference{model: v.Model, number: v.Number}
		e := &Event{Actor: actor, Action: action, Model: v.Model, Version: v.Number, Digest: v.Digest, Reason: reason, Group: d.Group}
		return r.admit(v, e)
	})
	if err != nil {
		return Version{}, err
	}
	return r.get(target)
}

// admit returns e, which is about v, nil if that was decided already, or why it cannot be decided.
func (r *Registry) admit(v Version, e *Event) (*Event, error) {
	decided := v.DecidedBy == e.Actor && v.Reason == e.Reason
	switch {
	case e.Action == Approved && v.State == StateApproved && decided,
		e.Action == Rejected && v.State == StateRejected && decided,
		e.Action == Retired && v.State == StateRetired:
		return nil, nil
	case v.State == StateRejected:
		return nil, withHint(fmt.Errorf("%s: %w, by %s (%s), which is final", v.Ref(), ErrRejected, v.DecidedBy, v.Reason),
			"register the bundle again to have it reviewed again")
	}
	if err := v.checkPassed(); err != nil && e.Action != Rejected && e.Action != Retired {
		return nil, err
	}
	if e.Action == Promoted || e.Action == RolledBack {
		if err := v.CheckApproved(); err != nil {
			return nil, err
		}
	}
	if e.Action != Rejected && e.Action != Retired { // nobody can have looked at what is not there
		if _, err := r.folder.readBlob(v.Digest, v.Bytes); err != nil {
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
		for _, e := range s.events {
			if err == nil && e.Model == v.Model && e.Version == v.Number {
				events = append(events, e)
			}
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

// Load returns the bytes of a version's bundle, which have its digest. An error matches [ErrCorrupt], or is one
// of the file system.
func (r *Registry) Load(ctx context.Context, v Version) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !validDigest(v.Digest) || v.Bytes < 1 {
		return nil, fmt.Errorf("registry: %w: %.80q is not the digest of a bundle", ErrInvalid, v.Digest)
	}
	data, err := r.folder.readBlob(v.Digest, v.Bytes)
	if err != nil {
		return nil, fmt.Errorf("registry: %s: %w", v.Ref(), err)
	}
	return data, nil
}

// Report is what [Registry.Verify] has looked at.
type Report struct {
	Events int // verified, from the first
	Blobs  int // verified
	// Head is the Sum of the last event. Whoever keeps it elsewhere can tell later that the log up to there is
	// the same: it is the one thing that a log cannot prove of itself.
	Head string
}

// Verify reads every event and every blob anew and returns the first that is not what it should be, as an error
// that matches [ErrCorrupt] or [ErrNewer]; the report says how far it came.
func (r *Registry) Verify(ctx context.Context) (Report, error) {
	s := newState()
	err := r.folder.read(ctx, s)
	report := Report{Events: len(s.events), Head: s.sum()}
	seen := map[string]bool{}
	for _, e := range s.events {
		if err != nil {
			break
		}
		if err = ctx.Err(); err == nil && e.Action == Registered && !seen[e.Digest] {
			if _, err = r.folder.readBlob(e.Digest, e.Bytes); err == nil {
				seen[e.Digest] = true
				report.Blobs++
			}
		}
	}
	if err != nil {
		return report, fmt.Errorf("registry: %s: %w", r.folder.dir, err)
	}
	return report, nil
}
