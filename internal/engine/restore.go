package engine

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/record"
)

// restores are the readings of changelogs, for all tasks of a loop.
type restores struct {
	slots    chan struct{} // has a token for each task that may read at a time
	lock     lock
	done     []*running // that have come to an end
	ready    []*running // the loop's: of these, those whose positions are not known yet
	open     int        // the loop's: tasks that read
	told     bool       // that there are some
	measured time.Time
	said     time.Time
}

// restoreAtOnce is how many tasks read their changelogs at a time: each has connections and memory of its own.
const restoreAtOnce = 4

func newRestores() restores {
	return restores{lock: newLock(), slots: make(chan struct{}, restoreAtOnce)}
}

// working tells whether any task waits for its state.
func (rs *restores) working() bool { return rs.open > 0 }

func (rs *restores) finished(r *running) {
	rs.lock.Lock()
	defer rs.lock.Unlock()
	rs.done = append(rs.done, r)
}

// take moves what is done to ready, which it returns.
func (rs *restores) take() []*running {
	rs.lock.Lock()
	defer rs.lock.Unlock()
	rs.ready = append(rs.ready, rs.done...)
	rs.done = nil
	return rs.ready
}

// restore is the reading of a task's changelogs.
type restore struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done
	begun  time.Time

	lock    lock
	records int64            // that were read
	left    map[string]int64 // offsets that were not, by changelog
}

// stop ends the reading.
func (s *restore) stop() {
	s.cancel()
	<-s.done
}

// startRestore reads the changelogs of a task on a goroutine of its own, and tells the loop when they are read.
func (l *loop) startRestore(r *running) {
	rctx, cancel := context.WithCancel(l.env.Context)
	r.restore = &restore{cancel: cancel, done: make(chan struct{}), begun: time.Now(), lock: newLock(), left: map[string]int64{}}
	s := r.restore
	from, names := s.plan(r)
	if len(from) == 0 {
		cancel()
		close(s.done)
		l.restores.finished(r)
		return
	}
	r.restoring = true
	l.restores.open++
	go func() {
		defer close(s.done)
		select {
		case l.restores.slots <- struct{}{}:
			defer func() { <-l.restores.slots }()
		case <-rctx.Done():
			return
		}
		if s.err = s.read(rctx, r, from, names); rctx.Err() == nil {
			l.restores.finished(r)
			l.engine.waker.poke()
		}
	}()
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

// maxRangeErrors is how often the start of a changelog may move away before it could be read.
const maxRangeErrors = 10

// read reads the changelogs to their ends. State that does not fit to a changelog is given up: all changelogs are then
// read from their beginning.
func (s *restore) read(ctx context.Context, r *running, from map[string]kafka.Offsets, names map[string]string) error {
	client := r.loop.engine.options.Client
	pauses := kafka.Backoff{Min: minPause, Max: maxPause}
	for try := 1; ; try++ {
		err := client.Read(ctx, kafka.ReadConfig{From: from}, func(step kafka.Step) error {
			if err := s.step(r, names, step); err != nil {
				return err
			}
			from[step.Topic][step.Partition] = step.Next
			return nil
		})
		if err == nil || ctx.Err() != nil {
			return err
		}
		k, is := errors.AsType[*kafka.Error](err)
		out, outside := errors.AsType[*kafka.RangeError](err)
		switch {
		case outside && try <= maxRangeErrors:
			if err := s.adjust(r, from, names, out); err != nil {
				return err
			}
		case is && k.Code == kafka.CodeUnavailable: // the session says when nobody answers; what was read stays
			sleep(ctx, pauses.Pause(try))
		default:
			return err
		}
	}
}

// adjust sets where to begin after a changelog turned out not to have an offset. An empty store begins where its
// changelog does; with one that is not empty all stores of the task are emptied.
func (s *restore) adjust(r *running, from map[string]kafka.Offsets, names map[string]string, out *kafka.RangeError) error {
	for _, p := range out.Partitions {
		if from[p.Topic][p.Partition] == 0 {
			from[p.Topic][p.Partition] = p.Start
			continue
		}
		e := r.loop.engine
		e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "state does not fit to its changelog; restoring all of it",
			slog.String("task", r.id.String()), slog.String("store", names[p.Topic]), slog.Any("error", out))
		if err := s.empty(r); err != nil {
			return &TaskError{err}
		}
		for _, offsets := range from {
			offsets[r.id.Partition] = 0
		}
		return nil
	}
	return nil
}

// empty gives up the state of a task.
func (s *restore) empty(r *running) error {
	state := r.state
	r.state, r.task = nil, nil
	if err := errors.Join(state.Close(), r.loop.engine.db.Remove(r.id.String())); err != nil {
		return err
	}
	return r.openState()
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
	s.lock.Lock()
	defer s.lock.Unlock()
	s.records += int64(len(entries))
	s.left[step.Topic] = max(0, step.Goal-step.Next)
	return nil
}

// Restoring is how far the reading of changelogs is.
type Restoring struct {
	Tasks int           `json:"tasks"`              // that wait for their state
	Left  int64         `json:"left"`               // offsets, as far as that is known
	Rate  float64       `json:"records_per_second"` // since each of them began
	ETA   time.Duration `json:"eta_ns"`             // 0 if it is not known
}

// How often the progress of restoring is taken, and logged.
const (
	restoreEvery    = 200 * time.Millisecond
	sayRestoreEvery = 5 * time.Second
)

// measureRestore publishes how far restoring is, and now and then logs it.
func (l *loop) measureRestore(ctx context.Context) {
	rs, now := &l.restores, time.Now()
	if rs.open == 0 && !rs.told || rs.open > 0 && now.Sub(rs.measured) < restoreEvery {
		return
	}
	rs.measured, rs.told = now, rs.open > 0
	p := Restoring{Tasks: rs.open}
	for _, r := range l.order {
		if !r.restoring {
			continue
		}
		s := r.restore
		s.lock.Lock()
		for _, n := range s.left {
			p.Left += n
		}
		if d := now.Sub(s.begun).Seconds(); d > 0 {
			p.Rate += float64(s.records) / d
		}
		s.lock.Unlock()
	}
	if p.Rate > 0 {
		p.ETA = time.Duration(float64(p.Left) / p.Rate * float64(time.Second))
	}
	l.engine.stats.change(func() { l.engine.stats.stats.Restoring = p })
	if p.Left > 0 && now.Sub(rs.said) >= sayRestoreEvery {
		rs.said = now
		l.engine.options.Log.LogAttrs(ctx, slog.LevelInfo, "restoring state", slog.Int("tasks", p.Tasks), slog.Int64("records_left", p.Left),
			slog.Float64("records_per_second", math.Round(p.Rate)), slog.Duration("time_left", p.ETA.Round(time.Second)))
	}
}

// startRestored starts the tasks whose state is complete. Their partitions are read from then on, all at once: the next
// fetch of those that come later waits for the one of those that came first.
func (l *loop) startRestored(ctx context.Context) error {
	var waiting []*running
	ps := kafka.Partitions{}
	defer func() { l.session.Resume(ps) }()
	for _, r := range l.restores.take() {
		if l.tasks[r.id] != r {
			continue
		}
		l.restored(r)
		switch {
		case r.restore.err != nil:
			return r.restore.err
		case !l.positioned(r):
			waiting = append(waiting, r)
		default:
			if err := l.start(ctx, r); err != nil {
				return err
			}
			for _, in := range r.intakes {
				if in.exists {
					ps[in.topic] = append(ps[in.topic], r.id.Partition)
				}
			}
		}
	}
	l.restores.ready = waiting
	return nil
}

// restored notes that a task does not read its changelogs any more.
func (l *loop) restored(r *running) {
	if r.restoring {
		r.restoring = false
		l.restores.open--
	}
}

// positioned tells whether it is known where the task reads. Before that it must not write: the group could not refuse
// what it writes with the clock.
func (l *loop) positioned(r *running) bool {
	for _, in := range r.intakes {
		if _, ok := l.session.Position(in.topic, r.id.Partition); !ok && in.exists {
			return false
		}
	}
	return true
}

func (l *loop) start(ctx context.Context, r *running) error {
	if err := l.engine.stampTasks(r.restore.begun, r.id); err != nil {
		return &TaskError{err}
	}
	if err := r.start(); err != nil {
		return err
	}
	r.show()
	l.news = true
	l.pool.schedule(r)
	level := slog.LevelDebug
	if r.restore.records > 0 {
		level = slog.LevelInfo
	}
	l.engine.options.Log.LogAttrs(ctx, level, "task runs", slog.String("task", r.id.String()), slog.Int64("records_restored", r.restore.records),
		slog.Duration("in", time.Since(r.restore.begun).Round(time.Millisecond)))
	return nil
}
