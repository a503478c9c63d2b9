package engine

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/kafka"
)

// Pause lets the engine process no more records until [Engine.Resume], and says why; the reason is in the statistics and
// the log. Records of which processing has begun are finished and committed, and nothing that was committed is undone.
// What was read and not processed is put back: nothing is lost, it is read again. The instance stays in its group, keeps
// its partitions and their state, and follows global tables.
//
// A pause holds through lost sessions and rebalances, until Resume or the end of the process; it is of this instance
// alone. Calling Pause again changes the reason. It is safe for concurrent use, before [Engine.Run] too.
func (e *Engine) Pause(reason string) {
	now := e.options.Now()
	e.stats.change(func() {
		s := &e.stats.stats
		if s.Paused == "" {
			s.PausedSince = now
		}
		s.Paused = reason
		e.paused.Store(true)
	})
	e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "paused: no records are processed", slog.String("group", e.options.Group),
		slog.String("instance", e.instance), slog.String("reason", reason))
	e.waker.poke()
}

// Resume ends a pause; it does nothing if there is none. It is safe for concurrent use.
func (e *Engine) Resume() {
	var since time.Time
	e.stats.change(func() {
		s := &e.stats.stats
		since = s.PausedSince
		s.Paused, s.PausedSince = "", time.Time{}
		e.paused.Store(false)
	})
	if since.IsZero() {
		return
	}
	e.options.Log.LogAttrs(context.Background(), slog.LevelInfo, "resumed", slog.String("group", e.options.Group),
		slog.String("instance", e.instance), slog.Duration("after", e.options.Now().Sub(since).Round(time.Millisecond)))
	e.waker.poke()
}

// halted tells whether the task must not begin with another record.
func (r *running) halted() bool {
	return r.held.Load() || r.waits.Load() || r.loop.engine.paused.Load() || r.allowed.Load() <= 0
}

// tried tells whether the task is halted for no other reason than that all records of its trial have been taken: what is under way of
// them decides it, and has to come back. It is for who runs the task.
func (r *running) tried() bool {
	late, _ := r.task.UnderWay()
	return late > 0 && r.allowed.Load() <= 0 && !r.held.Load() && !r.waits.Load() && !r.loop.engine.paused.Load()
}

// partitions returns what the task reads.
func (r *running) partitions() kafka.Partitions {
	ps := kafka.Partitions{}
	for _, in := range r.intakes {
		if in.exists {
			ps[in.topic] = []int32{r.id.Partition}
		}
	}
	return ps
}

// holdBack stops the reading of tasks that are to process nothing, and goes on with that of those that may again.
func (l *loop) holdBack() {
	for _, r := range l.order {
		want := l.engine.paused.Load() || r.breaker.state == open || r.behind > 0
		switch {
		case !r.started || want == r.held.Load():
		case want:
			r.held.Store(true)
			r.returned = false
			l.session.Pause(r.partitions())
		default:
			r.held.Store(false)
			ps := r.partitions()
			for _, in := range r.intakes {
				if in.paused.Load() { // that is for hold
					delete(ps, in.topic)
				}
			}
			l.session.Resume(ps)
			l.pool.schedule(r)
		}
	}
}

// putBack gives back what was read for tasks that are held back, so that it takes no memory and the others' reading goes
// on. It is done while no round is open, with tasks of which nothing waits to be committed.
func (l *loop) putBack() error {
	kept := func(r *running) bool { return r.held.Load() && !r.returned }
	if !slices.ContainsFunc(l.order, kept) {
		return nil
	}
	if !l.pool.stop() {
		defer l.pool.resume()
	}
	for _, r := range l.order {
		if !kept(r) || !r.clean() {
			continue
		}
		l.session.Rewind(r.partitions())
		if err := r.reset(); err != nil {
			return err
		}
		r.returned = true
	}
	return nil
}

// clean tells whether the task has done nothing since it was committed. It must not run.
func (r *running) clean() bool {
	return r.tally.rows == 0 && r.tally.empty() && (!r.wrote || r.chosen) && r.bytes.Load()+r.rows.Load() == 0
}

// judgeCommitted has the breakers see what a committed round has come to.
func (l *loop) judgeCommitted() {
	now := l.engine.options.Now()
	changed := false
	for _, r := range l.order {
		if r.outcomes == nil {
			continue
		}
		was := r.breaker.state
		if r.breaker.committed(r.outcomes, now) {
			changed = true
			l.tell(r, was)
		}
		r.allow(was)
		r.outcomes = nil
	}
	if changed {
		l.publishHolds()
	}
}

// allow sets how many more records may be processed, after the breaker has seen those of r.outcomes.
func (r *running) allow(was breakerState) {
	switch b := r.breaker; {
	case b.state != was:
		r.allowed.Store(b.allowance())
	case b.state == trial: // others may be in flight
		for i := range r.outcomes {
			r.allowed.Add(int64(r.outcomes[i].rows - r.outcomes[i].letters))
		}
	default:
		return
	}
	r.loop.pool.schedule(r)
}

// tryAgain begins the trials whose time has come.
func (l *loop) tryAgain() {
	now := l.engine.options.Now()
	changed := false
	for _, r := range l.order {
		if r.breaker.due(now) {
			changed = true
			r.allowed.Store(r.breaker.allowance())
			l.tell(r, open)
		}
	}
	if changed {
		l.publishHolds()
	}
}

// tell logs the new state of a breaker.
func (l *loop) tell(r *running, was breakerState) {
	b, log := r.breaker, l.engine.options.Log
	ctx := context.Background()
	attrs := []slog.Attr{slog.String("group", l.engine.options.Group), slog.String("task", r.id.String()), slog.Any("partitions", r.partitions())}
	switch b.state {
	case closed:
		log.LogAttrs(ctx, slog.LevelInfo, "the partition is read as before: its records are no dead letters any more", attrs...)
	case trial:
		log.LogAttrs(ctx, slog.LevelInfo, "the partition is read again on trial after too many dead letters", attrs...)
	case open:
		attrs = append(attrs, slog.String("reason", b.held.reason), slog.Duration("next_try_in", b.retry),
			slog.String("hint", "nothing is lost: the records wait in the topic. Find out what the dead letters have in common, and mend that"))
		if was == trial {
			log.LogAttrs(ctx, slog.LevelWarn, "too many dead letters again: the partition stays paused", attrs...)
			return
		}
		l.engine.stats.change(func() { l.engine.stats.stats.BreakerOpened++ })
		log.LogAttrs(ctx, slog.LevelWarn, "too many dead letters: the partition is paused", attrs...)
	}
}

// publishHolds shows in the statistics what is paused.
func (l *loop) publishHolds() {
	var holds []Hold
	for _, r := range l.order {
		b := r.breaker
		if b.state == closed {
			continue
		}
		for topic := range r.partitions() {
			holds = append(holds, Hold{Partition{topic, r.id.Partition}, b.held.reason, b.since, b.until, b.state == trial})
		}
	}
	slices.SortFunc(holds, func(a, b Hold) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition.Partition, b.Partition.Partition))
	})
	l.engine.stats.change(func() { l.engine.stats.stats.Held = holds })
}

// waitForTrial returns when the next trial is, and false if there is none.
func (l *loop) waitForTrial(now time.Time) (time.Duration, bool) {
	wait, some := time.Duration(0), false
	for _, r := range l.order {
		if r.breaker.state != open {
			continue
		}
		if d := max(0, r.breaker.until.Sub(now)); !some || d < wait {
			wait, some = d, true
		}
	}
	return wait, some
}
