package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// begin opens a round.
func (l *loop) begin() error {
	if err := l.session.Begin(); err != nil {
		return err
	}
	l.began = time.Now()
	l.outlet.open(l.env.Context)
	l.ration(l.limit)
	for _, r := range l.order {
		if r.parked.Swap(false) {
			l.pool.schedule(r)
		}
	}
	l.dropped = append(l.dropped, l.globals.take()...)
	l.letters.begin(&l.round)
	for i := range l.dropped {
		l.letters.Drop(&l.dropped[i].raw, l.dropped[i].drop)
	}
	l.letters.ship()
	return nil
}

// How long a round may take to end, beyond the transaction timeout: a commit waits for a rebalance that waits
// for the session of a dead member to time out. On the way out there is less patience.
const (
	endPatience  = 10 * time.Second
	stopPatience = 5 * time.Second
)

// drainPatience is how long tasks may go on, at the end of a round, with what they have where they must not go on
// while it is committed.
const drainPatience = time.Second

// patience returns a context that outlives ctx, so that what was begun can be finished, but not for ever.
func (l *loop) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	long, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.engine.options.TransactionTimeout+endPatience)
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(stopPatience, cancel)
		context.AfterFunc(long, func() { t.Stop() })
	})
	return long, func() {
		stop()
		cancel()
	}
}

// end ends the round. Tasks go on with what they have while it is committed, where a failure can undo that; last waits
// for nothing else.
func (l *loop) end(ctx context.Context, last bool) error {
	ectx, cancel := l.patience(ctx)
	defer cancel()
	defer context.AfterFunc(ectx, l.outlet.giveUp)()
	ahead := l.session.ExactlyOnce() && !l.searching() && !last
	if ahead || last || l.session.Doomed() {
		l.pool.stop()
	} else {
		l.pool.drain(drainPatience)
	}
	if err := l.failure(); err != nil {
		return l.undoStopped(ctx, err)
	}
	if last && !l.outlet.opened() {
		if !l.worked.Load() && !l.outlet.waiting() {
			return nil
		}
		if err := l.begin(); err != nil {
			return err
		}
	}
	if l.session.Doomed() {
		return l.undo(ctx)
	}
	positions, err := l.flush()
	if err != nil {
		return l.undoStopped(ctx, l.fault(err))
	}
	if !l.outlet.close() && !l.session.Doomed() {
		return l.impatient()
	}
	l.takeUp()
	if ahead {
		l.pool.resume()
	}
	ok, err := l.session.Commit(ectx, positions)
	if !ok {
		return l.undone(ctx, err)
	}
	if err := l.commitState(); err != nil {
		return err
	}
	l.committed(positions)
	// Without transactions partitions may go now, and what is queued of them must not be processed.
	if l.settling = !l.session.ExactlyOnce(); !l.settling {
		l.pool.resume()
	}
	return err
}

// impatient returns the error for a round that the brokers did not take the output of.
func (l *loop) impatient() error {
	return &kafka.Error{
		Code: kafka.CodeUnavailable, Op: "write to", Where: "[" + strings.Join(l.engine.options.Client.Brokers(), " ") + "]",
		Err: errors.New("the output was not acknowledged for too long"), Hint: "check the brokers and the network between",
	}
}

// flush has all tasks that did something finish it, and returns how far they are. Tasks that go over to another epoch say
// where they are in any case.
func (l *loop) flush() (kafka.Positions, error) {
	l.ration(0) // until the next round begins
	l.turn()
	l.worked.Store(false)
	var touched []*running
	for _, r := range l.order {
		if r.touched {
			touched = append(touched, r)
		}
	}
	if err := parallel(l.engine.options.Threads, touched, (*running).flush); err != nil {
		return nil, err
	}
	if l.engine.db.Budget().Over() {
		for _, r := range l.order {
			if r.started && !r.touched {
				r.state.Trim()
			}
		}
	}
	positions := kafka.Positions{}
	for _, r := range l.order {
		turns := l.turns(r, l.epoch)
		r.turning = turns && r.late == 0
		r.drain(turns && r.late > 0)
		if r.turning && !r.touched {
			l.positions(r, positions)
		}
	}
	for _, r := range touched {
		r.touched = false
		l.positions(r, positions)
		r.countNodes()
		l.round.add(&r.tally)
		r.outcomes = slices.Clone(r.tally.outcomes)
		r.tally.reset()
	}
	return positions, nil
}

// positions adds how far a task is. One that has written something and read nothing says where it is all the same: the
// group then refuses the transaction of an instance that it does not count on any more, also if that has only moved
// with the clock.
func (l *loop) positions(r *running, to kafka.Positions) {
	news := false
	epoch := l.epoch
	if r.behind > 0 || r.draining.Load() {
		epoch = 0
	}
	r.task.Positions(func(source int, next int64) {
		topic := r.intakes[source].topic
		to.Set(topic, r.id.Partition, kafka.Position{Offset: next, Metadata: r.intakes[source].note(next, epoch)})
		at := place{topic, r.id.Partition}
		l.round.position[at] = position{next: next, end: l.round.position[at].end}
		news = true
	})
	if r.chosen || r.turning || r.wrote && !news {
		for _, in := range r.intakes {
			if _, ok := to[in.topic][r.id.Partition]; ok {
				continue
			}
			if at, ok := l.session.Position(in.topic, r.id.Partition); ok {
				at.Metadata = in.note(at.Offset, epoch)
				to.Set(in.topic, r.id.Partition, at)
			}
		}
	}
	r.wrote, r.chosen = false, false
}

// commitState brings the state of the round to where it stays.
func (l *loop) commitState() error {
	return parallel(l.engine.options.Threads, l.order, func(r *running) error {
		if !r.sealed {
			return nil
		}
		r.sealed = false
		next := map[string]int64{}
		for _, s := range l.engine.program.Subs[r.id.Sub].Stores {
			if at, ok := l.session.Written(l.engine.program.Changelog(s.Name), r.id.Partition); ok && s.Logged {
				next[s.Name] = at
			}
		}
		if err := r.state.CommitStamped(next, r.asOf(next)); err != nil {
			return &TaskError{err}
		}
		return nil
	})
}

// committed counts the round.
func (l *loop) committed(at kafka.Positions) {
	if len(at) > 0 || !l.round.empty() {
		l.engine.stats.committed(&l.round)
	}
	l.dropped = nil
	l.turned()
	l.judgeCommitted()
	if l.round.rows > 0 { // one without records says nothing of those to come
		l.limit = min(2*l.limit, l.engine.options.MaxQueued)
	}
	l.engine.acquit(l.round.position)
	l.purge.committed(l.session, at)
	l.settle(at)
	l.round.reset()
}

// undo ends a round, or none, in a way that it has never been.
func (l *loop) undo(ctx context.Context) error {
	l.outlet.giveUp() // who waits to write need not
	l.pool.stop()
	var failure error
	if l.outlet.opened() {
		failure = l.session.Fault()
	} else {
		if err := l.session.Begin(); err != nil { // only an open round can be undone
			return err
		}
	}
	l.outlet.close()
	ectx, cancel := l.patience(ctx)
	defer cancel()
	if err := l.session.Abort(ectx); err != nil {
		return err
	}
	for _, r := range l.order {
		if r.started { // what is under way has no part in what has failed
			r.noteUnderWay()
		}
		l.round.add(&r.tally)
		if r.started {
			l.positions(r, kafka.Positions{})
		}
	}
	return l.undone(ctx, failure)
}

// undone goes back to what is committed, after a round that was not.
func (l *loop) undone(ctx context.Context, err error) error {
	l.pool.stop()
	l.outlet.close()
	l.outlet.discard()
	l.engine.stats.aborted()
	if w, is := errors.AsType[*kafka.WriteError](err); is && w.Refused() {
		err = l.refused(ctx, w)
	}
	l.round.reset()
	l.letters.discard()
	l.worked.Store(false)
	if err != nil || ctx.Err() != nil { // the next run does the same records again
		return err
	}
	l.rewindStops()
	l.globals.giveBack(l.dropped)
	l.dropped = nil
	for _, r := range l.order {
		if err := r.reset(); err != nil {
			return err
		}
	}
	if err := l.adopt(); err != nil {
		return err
	}
	l.pool.resume()
	return nil
}

// refused deals with a round that failed because the brokers refused a record for what it is. When a batch was too
// large, the topic takes less than its configuration was believed to say: a new session makes smaller ones. Else
// half as much is read, and processed, at a time, until a round of that one record fails: it is then condemned to another
// form. As rounds succeed there is more again.
func (l *loop) refused(ctx context.Context, w *kafka.WriteError) error {
	if b := l.plan.limits[w.Topic].MaxBytes; w.TooLarge() && b > minLetterBytes {
		l.engine.shrunk[w.Topic] = max(minLetterBytes, b/2)
		return w
	}
	l.limit = max(1, min(l.limit, l.round.rows)/2)
	l.ration(0)
	if l.round.rows > 1 {
		return nil
	}
	var ats []coordinates // one, or those of a step
	for p, pos := range l.round.position {
		if pos.next > 0 {
			ats = append(ats, coordinates{p, pos.next - 1})
		}
	}
	var v verdict
	for _, at := range ats {
		if known := l.engine.condemned(at); known != (verdict{}) {
			v = known
		}
	}
	letters := l.engine.program.DeadLetters
	fault := func(hint string) error {
		return &kafka.Error{Code: kafka.CodeRejected, Op: "write to topic", Where: w.Topic, Err: w.Err, Hint: hint}
	}
	switch {
	case v.bare:
		return fault("the brokers refuse dead letters: check the topic's configuration")
	case w.Topic == letters:
		v.bare = true
	case letters == "":
		return fault("check the topic's configuration, or name a topic for dead letters")
	case l.round.rows == 0 || v.problem.Stage != "" || l.plan.changelogs[w.Topic]: // no record can be left out to mend it
		return fault("check the topic's configuration")
	default:
		v.problem = record.Problem{Stage: record.StageProduce, Class: classRefused, Reason: "the brokers refuse the output: " + w.Err.Error()}
	}
	for _, at := range ats {
		l.engine.condemn(at, v)
		l.engine.options.Log.LogAttrs(ctx, slog.LevelWarn, "the brokers refuse a record; it goes out in another form", slog.Any("error", w),
			slog.String("source", at.topic), slog.Int("partition", int(at.partition)), slog.Int64("offset", at.offset))
	}
	return nil
}

// condemned returns in what form the record of some coordinates goes out.
func (e *Engine) condemned(at coordinates) verdict { return (*e.verdicts.Load())[at] }

// condemn sets in what form a record goes out. Tasks may be running.
func (e *Engine) condemn(at coordinates, v verdict) {
	m := maps.Clone(*e.verdicts.Load())
	m[at] = v
	e.verdicts.Store(&m)
}

// acquit forgets the verdicts on records before positions.
func (e *Engine) acquit(before map[place]position) {
	old := *e.verdicts.Load()
	if len(old) == 0 {
		return
	}
	m := maps.Clone(old)
	maps.DeleteFunc(m, func(at coordinates, _ verdict) bool {
		p, ok := before[at.place]
		return ok && at.offset < p.next
	})
	e.verdicts.Store(&m)
}

// TaskError is an error of a task that no retry mends: of a user's function, a codec, or the state folder.
type TaskError struct{ Err error }

// Error returns the cause's text.
func (e *TaskError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *TaskError) Unwrap() error { return e.Err }
