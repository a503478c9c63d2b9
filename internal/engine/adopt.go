package engine

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// adopt makes the tasks be those of the partitions that the group has given to this instance. No round is open.
func (l *loop) adopt(ctx context.Context) error {
	changes := l.engine.changes.take()
	if len(changes) == 0 {
		return nil
	}
	l.pool.stop()
	defer l.pool.resume()
	for _, c := range changes {
		for _, gone := range []kafka.Partitions{c.Revoked, c.Lost} {
			for topic, ps := range gone {
				for _, p := range ps {
					if err := l.dismiss(topic, p); err != nil {
						return err
					}
				}
			}
		}
	}
	assigned := l.session.Assigned()
	for _, sub := range l.engine.program.Subs {
		for p := range l.plan.tasks[sub.ID] {
			id := task.ID{Sub: sub.ID, Partition: int32(p)}
			if l.tasks[id] == nil && complete(sub, id.Partition, assigned, l.plan) {
				if err := l.openTask(ctx, id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// complete tells whether the partitions that a task reads are all assigned.
func complete(sub *task.Subtopology, p int32, assigned kafka.Partitions, plan *plan) bool {
	some := false
	for _, s := range sub.Sources {
		if int(p) >= plan.partitions[s.Topic] {
			continue
		}
		if !slices.Contains(assigned[s.Topic], p) {
			return false
		}
		some = true
	}
	return some
}

// owner returns the task that reads a partition.
func (l *loop) owner(topic string, p int32) *running {
	return l.tasks[task.ID{Sub: l.plan.readers[topic], Partition: p}]
}

// dismiss ends the task that reads a partition.
func (l *loop) dismiss(topic string, p int32) error {
	r := l.owner(topic, p)
	if r == nil {
		return nil
	}
	l.pool.remove(r)
	delete(l.tasks, r.id)
	l.order = slices.DeleteFunc(l.order, func(x *running) bool { return x == r })
	if err := r.close(); err != nil {
		return &TaskError{err}
	}
	l.engine.closed[r.id.String()] = time.Now()
	return nil
}

// openTask opens a task and begins to restore its state.
func (l *loop) openTask(ctx context.Context, id task.ID) error {
	sub := l.engine.program.Subs[id.Sub]
	r := &running{id: id, loop: l, sources: map[string]int{}, tally: newTally(), paused: map[string]bool{}}
	for i, s := range sub.Sources {
		r.sources[s.Topic] = i
	}
	r.out = newWriter(l, id)
	if err := r.openState(); err != nil {
		return &TaskError{err}
	}
	delete(l.engine.closed, id.String())
	l.tasks[id] = r
	l.order = append(l.order, r)
	slices.SortFunc(l.order, byID)
	r.restore = l.startRestore(ctx, r)
	return nil
}

// openState opens the state of the task, and the task itself.
func (r *running) openState() (err error) {
	e := r.loop.engine
	if r.state, err = e.db.Task(r.id.String()); err != nil {
		return err
	}
	r.task, err = task.New(e.program, r.id, task.Env{
		Context: r.loop.ctx, Output: r.out, State: r.state, Globals: r.loop.globals.tables, Now: e.options.Now, Log: e.options.Log,
		Wake: func() { r.loop.pool.schedule(r) },
	})
	if err != nil {
		return errors.Join(err, r.state.Close())
	}
	return nil
}

// restore is the reading of a task's changelogs.
type restore struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	begun  time.Time

	mu      sync.Mutex
	records int64            // that were read
	left    map[string]int64 // offsets that were not, by changelog
}

func (r *restore) stop() {
	r.cancel()
	<-r.done
}

// startRestore reads the changelogs of a task on a goroutine of its own, and tells the loop when they are read.
func (l *loop) startRestore(ctx context.Context, r *running) *restore {
	rctx, cancel := context.WithCancel(ctx)
	s := &restore{cancel: cancel, done: make(chan struct{}), begun: time.Now(), left: map[string]int64{}}
	go func() {
		defer close(s.done)
		if s.err = s.read(rctx, r); rctx.Err() != nil {
			return
		}
		select {
		case l.restored <- r:
			l.poke()
		case <-rctx.Done():
		}
	}()
	return s
}

// read reads the changelogs to their ends. State that does not fit to a changelog is given up: all changelogs are then
// read from their beginning.
func (s *restore) read(ctx context.Context, r *running) error {
	from, names := s.plan(r)
	if len(from) == 0 {
		return nil
	}
	client := r.loop.engine.options.Client
	for try := 1; ; try++ {
		err := client.Read(ctx, kafka.ReadConfig{From: from}, func(step kafka.Step) error { return s.step(r, names, step) })
		out, ok := errors.AsType[*kafka.RangeError](err)
		if !ok || try > 3 {
			return err
		}
		if err := s.adjust(r, from, names, out); err != nil {
			return err
		}
	}
}

// plan returns where to begin, and the names of stores by changelog.
func (s *restore) plan(r *running) (from map[string]kafka.Offsets, names map[string]string) {
	from, names = map[string]kafka.Offsets{}, map[string]string{}
	p := r.loop.engine.program
	for _, spec := range p.Subs[r.id.Sub].Stores {
		if !spec.Logged {
			continue
		}
		at, _ := r.state.Checkpoint(spec.Name)
		topic := p.Changelog(spec.Name)
		from[topic] = kafka.Offsets{r.id.Partition: at}
		names[topic] = spec.Name
	}
	return from, names
}

// adjust sets where to begin after a changelog turned out not to have an offset. An empty store begins where its
// changelog does; with one that is not empty all stores of the task are emptied.
func (s *restore) adjust(r *running, from map[string]kafka.Offsets, names map[string]string, out *kafka.RangeError) error {
	for _, p := range out.Partitions {
		if from[p.Topic][p.Partition] == 0 {
			from[p.Topic] = kafka.Offsets{p.Partition: p.Start}
			continue
		}
		e := r.loop.engine
		e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "state does not fit to its changelog; restoring all of it",
			slog.String("task", r.id.String()), slog.String("store", names[p.Topic]), slog.Any("error", out))
		if err := errors.Join(r.state.Close(), e.db.Remove(r.id.String())); err != nil {
			return &TaskError{err}
		}
		if err := r.openState(); err != nil {
			return &TaskError{err}
		}
		for topic := range from {
			from[topic] = kafka.Offsets{r.id.Partition: 0}
		}
		return nil
	}
	return nil
}

// step takes over what was read.
func (s *restore) step(r *running, names map[string]string, step kafka.Step) error {
	entries := make([]store.Entry, step.Len())
	var raw record.Raw
	for i := range entries {
		step.Read(i, &raw)
		entries[i] = store.Entry{Key: raw.Key, Value: raw.Value}
	}
	if err := r.state.Restore(names[step.Topic], entries, step.Next); err != nil {
		return &TaskError{err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records += int64(len(entries))
	s.left[step.Topic] = max(0, step.Goal-step.Next)
	return nil
}

// Restoring is how far the reading of changelogs is.
type Restoring struct {
	Tasks int           // that wait for their state
	Left  int64         // offsets, as far as that is known
	Rate  float64       // records a second
	ETA   time.Duration // 0 if it is not known
}

// measureRestore publishes how far restoring is, and now and then logs it.
func (l *loop) measureRestore() {
	now := time.Now()
	if now.Sub(l.measured) < restoreEvery {
		return
	}
	l.measured = now
	var p Restoring
	for _, r := range l.order {
		if r.started {
			continue
		}
		p.Tasks++
		s := r.restore
		s.mu.Lock()
		for _, n := range s.left {
			p.Left += n
		}
		if d := now.Sub(s.begun).Seconds(); d > 0 {
			p.Rate += float64(s.records) / d
		}
		s.mu.Unlock()
	}
	if p.Rate > 0 {
		p.ETA = time.Duration(float64(p.Left) / p.Rate * float64(time.Second))
	}
	if p != l.engine.Stats().Restoring {
		l.engine.stats.change(func() { l.engine.stats.stats.Restoring = p })
	}
	if p.Left > 0 && now.Sub(l.said) >= sayRestoreEvery {
		l.said = now
		l.engine.options.Log.LogAttrs(l.ctx, slog.LevelInfo, "restoring state", slog.Int("tasks", p.Tasks), slog.Int64("records_left", p.Left),
			slog.Float64("records_per_second", math.Round(p.Rate)), slog.Duration("time_left", p.ETA.Round(time.Second)))
	}
}

// How often the progress of restoring is taken, and logged.
const (
	restoreEvery    = 200 * time.Millisecond
	sayRestoreEvery = 5 * time.Second
)

// startRestored starts the tasks whose state is complete.
func (l *loop) startRestored() error {
	for {
		select {
		case r := <-l.restored:
			if l.tasks[r.id] != r || r.started {
				continue
			}
			if r.restore.err != nil {
				return r.restore.err
			}
			if err := l.start(r); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (l *loop) start(r *running) error {
	if err := r.task.Start(); err != nil {
		return &TaskError{err}
	}
	r.started = true
	ps := kafka.Partitions{}
	for topic := range r.sources {
		ps[topic] = []int32{r.id.Partition}
	}
	l.session.Resume(ps)
	l.pool.schedule(r)
	l.engine.options.Log.LogAttrs(l.ctx, slog.LevelDebug, "task runs", slog.String("task", r.id.String()),
		slog.Duration("restored_in", time.Since(r.restore.begun).Round(time.Millisecond)))
	return nil
}

// openState opens the state folder.
func (e *Engine) openState() (*store.DB, error) {
	o := store.Options{MemoryBytes: e.options.StateBytes, Logger: e.options.Log}
	db, err := store.Open(e.options.StateDir, o)
	if errors.Is(err, store.ErrCorrupt) {
		e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "the state folder is corrupt; restoring from the changelogs", slog.Any("error", err))
		if err := store.Wipe(e.options.StateDir); err != nil {
			return nil, err
		}
		db, err = store.Open(e.options.StateDir, o)
	}
	return db, err
}

// closeState closes the state folder, with everything on disk.
func (e *Engine) closeState() error { return errors.Join(e.db.Flush(), e.db.Close()) }
