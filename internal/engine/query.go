package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// AsOf says as of which commit the state of a task is. It does not change.
type AsOf struct {
	// Committed is when this instance committed, by its clock; the zero time is that it has not since it has the task: the state is what
	// whoever had the task before has committed.
	Committed time.Time
	// StreamTime is the highest event time that the task had seen, or task.NoTime.
	StreamTime int64
	// Sources are, by topic, the offsets of the task's partition up to which, and without which, records are in the state.
	Sources map[string]int64
	// Changelogs are, by store, the offsets in the partition of the changelog up to which the state is written there, as far as known.
	Changelogs map[string]int64
}

// Errors of [Engine.View].
var (
	// ErrElsewhere means that the group has not given the task to this instance, or that it has no session.
	ErrElsewhere = errors.New("the task is not with this instance")
	// ErrRestoring means that this instance has the task, and does not have its state yet.
	ErrRestoring = errors.New("the task restores its state")
)

// holdings are the tasks of this instance, for those who ask from outside. A task without a state restores it.
type holdings struct {
	lock  lock
	tasks map[task.ID]*store.Task
}

func newHoldings() holdings { return holdings{newLock(), map[task.ID]*store.Task{}} }

func (h *holdings) put(id task.ID, state *store.Task) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.tasks[id] = state
}

func (h *holdings) remove(id task.ID) {
	h.lock.Lock()
	defer h.lock.Unlock()
	delete(h.tasks, id)
}

func (h *holdings) get(id task.ID) (*store.Task, error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	switch state, ok := h.tasks[id]; {
	case !ok:
		return nil, ErrElsewhere
	case state == nil:
		return nil, ErrRestoring
	default:
		return state, nil
	}
}

// View takes a view of a store of a task, which the caller closes soon, and says as of which commit it is. It fails with
// [ErrElsewhere] or [ErrRestoring] where the task cannot be asked here now. It is safe for concurrent use.
func (e *Engine) View(id task.ID, name string) (*store.View, *AsOf, error) {
	state, err := e.holdings.get(id)
	if err != nil {
		return nil, nil, err
	}
	v, err := state.View(name)
	if errors.Is(err, store.ErrClosed) { // a moment ago
		return nil, nil, ErrElsewhere
	}
	if err != nil {
		return nil, nil, err
	}
	at, ok := v.Stamp().(*AsOf)
	if !ok {
		return nil, nil, errors.Join(ErrRestoring, v.Close())
	}
	return v, at, nil
}

// Holds returns the tasks that this instance has, in order, and of each whether it has its state. It is safe for concurrent use.
func (e *Engine) Holds() (ids []task.ID, ready map[task.ID]bool) {
	e.holdings.lock.Lock()
	defer e.holdings.lock.Unlock()
	ready = map[task.ID]bool{}
	for id, state := range e.holdings.tasks {
		ids = append(ids, id)
		ready[id] = state != nil
	}
	slices.SortFunc(ids, func(a, b task.ID) int {
		if a.Sub != b.Sub {
			return a.Sub - b.Sub
		}
		return int(a.Partition - b.Partition)
	})
	return ids, ready
}

// Spread returns over how many partitions the rows of a node's stores are spread; 0 while that is not known.
func (e *Engine) Spread(node int) int {
	counts := e.counts.Load()
	if counts == nil {
		return 0
	}
	return e.program.Spread(node, *counts)
}

// Members returns the members of the group, and whether it is at rest.
func (e *Engine) Members(ctx context.Context) ([]kafka.GroupMember, bool, error) {
	return e.options.Client.Members(ctx, e.options.Group)
}

// Owner returns which of the members has a task, nil if none has.
func (e *Engine) Owner(id task.ID, members []kafka.GroupMember) *kafka.GroupMember {
	for i := range members {
		for _, s := range e.program.Subs[id.Sub].Sources {
			if slices.Contains(members[i].Assigned[s.Topic], id.Partition) {
				return &members[i]
			}
		}
	}
	return nil
}

// show lets the state of the task, which is complete, be seen from outside.
func (r *running) show() {
	next := map[string]int64{}
	for _, s := range r.loop.engine.program.Subs[r.id.Sub].Stores {
		if at, ok := r.state.Checkpoint(s.Name); ok && s.Logged {
			next[s.Name] = at
		}
	}
	r.sealTime = r.task.StreamTime()
	at := r.asOf(next)
	at.Committed = time.Time{}
	r.state.Stamp(at)
	r.loop.engine.holdings.put(r.id, r.state)
}

// asOf says what the state is that is being committed, with its changelogs up to next.
func (r *running) asOf(next map[string]int64) *AsOf {
	at := &AsOf{Committed: r.loop.engine.options.Now(), StreamTime: r.sealTime, Sources: map[string]int64{}, Changelogs: next}
	for _, in := range r.intakes {
		if p, ok := r.loop.session.Position(in.topic, r.id.Partition); ok && in.exists {
			at.Sources[in.topic] = p.Offset
		}
	}
	return at
}
