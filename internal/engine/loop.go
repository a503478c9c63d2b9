package engine

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
)

// loop works in one session: it reads records and gives them to the tasks, and ends rounds: everything that tasks have
// processed, written and changed is committed at once. One goroutine runs it; the pool's run the tasks. Under
// exactly-once the tasks go on with the records that they have while a round is being committed, and what they write
// waits for the next round.
//
// The loop sleeps until there are records, a time has come, or somebody pokes it: the session, a task, a restore, a
// global table. Whoever pokes it has changed before what step looks at.
type loop struct {
	engine  *Engine
	session *kafka.Session
	plan    *plan
	globals *globals
	pool    *pool
	outlet  *outlet
	env     task.Env // of the tasks, without what differs
	tasks   map[task.ID]*running
	order   []*running // the same, by id

	limit    int          // records to read at a time: less while a refused record is looked for
	quota    atomic.Int64 // while one is looked for, how many records tasks may still process in the round
	began    time.Time    // the round
	round    tally        // of the round
	worked   atomic.Bool  // a task has something to commit
	epoch    int64        // the round commits for what comes after it
	news     bool         // epochs of partitions have changed
	settling bool         // the tasks stand still until it is known which partitions are still there
	letters  *writer      // of what global tables have dropped
	dropped  []globalDrop // of which the open round has the dead letters
	stops    map[place]*stop
	slow     []UnderWay // as it was told

	restores restores
	purge    purge
	looked   time.Time // when it was last noted that state is what the changelogs say
}

func newLoop(e *Engine, s *kafka.Session, p *plan, g *globals) *loop {
	l := &loop{
		engine: e, session: s, plan: p, globals: g, tasks: map[task.ID]*running{}, stops: map[place]*stop{}, limit: e.options.MaxQueued,
		outlet: newOutlet(s), round: newTally(), restores: newRestores(), purge: newPurge(e), looked: time.Now(),
	}
	l.letters = newWriter(l, nil)
	l.ration(0)
	return l
}

// run works until the session fails or ctx is cancelled. It then finishes what was processed.
func (l *loop) run(ctx context.Context) (err error) {
	// Tasks outlive ctx: what was begun is finished. Functions that take long are told when the patience is over.
	tctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		l.engine.waker.poke()
		t := time.AfterFunc(stopPatience, cancel)
		context.AfterFunc(tctx, func() { t.Stop() })
	})
	l.env = task.Env{Context: tctx, Globals: l.globals.tables, Now: l.engine.options.Now, Log: l.engine.options.Log}
	l.pool = newPool(l.engine.options.Threads, (*running).process, l.engine.waker.poke)
	l.engine.loop.Store(l)
	defer func() {
		l.engine.loop.Store(nil)
		stop()
		cancel()
		l.outlet.giveUp()
		l.pool.stop()
		l.pool.close()
		if cerr := l.closeAll(); err == nil {
			err = cerr
		}
	}()
	for ctx.Err() == nil {
		if err := l.step(ctx); err != nil {
			return err
		}
	}
	l.engine.stats.setState(Stopping)
	return l.end(ctx, true)
}

// closeAll ends everything that runs beside the loop.
func (l *loop) closeAll() error {
	l.purge.close()
	var errs []error
	for _, r := range l.order {
		l.engine.holdings.remove(r.id)
		if err := r.close(); err != nil {
			errs = append(errs, &TaskError{err})
		}
		l.engine.leave(r.id)
	}
	return errors.Join(errs...)
}

// step does what is next.
func (l *loop) step(ctx context.Context) error {
	l.engine.steps.Add(1)
	if err := l.failure(); err != nil {
		return l.undoStopped(ctx, err)
	}
	if err := l.stopped(); err != nil {
		return err
	}
	if err := l.globals.failed(); err != nil {
		return err
	}
	if l.engine.grown.Load() {
		return errGrown
	}
	if l.outlet.opened() {
		if l.due() {
			return l.end(ctx, false)
		}
	} else if began, err := l.between(ctx); began || err != nil {
		return err
	}
	if err := l.startRestored(ctx); err != nil {
		return err
	}
	l.measureRestore(ctx)
	l.purge.step(ctx)
	l.tryAgain()
	l.admitWaiting()
	l.holdBack()
	l.hold()
	l.publishEpochs()
	l.tellLacks()
	l.tellUnderWay()
	l.engine.tellMemory(ctx)
	return l.poll(ctx)
}

// between does what has to be done while no round is open, and tells whether it has begun one.
func (l *loop) between(ctx context.Context) (began bool, err error) {
	if l.session.ExactlyOnce() && l.session.Stale() { // the next round is lost anyway: let it be a short one
		return true, l.undo(ctx)
	}
	if err := l.adopt(); err != nil {
		return false, err
	}
	if err := l.putBack(); err != nil {
		return false, err
	}
	l.engine.cleanState(ctx)
	if err := l.stampAll(); err != nil {
		return false, err
	}
	if l.settling || !l.worked.Load() && !l.outlet.waiting() && !l.globals.waiting() && !l.parked() && !l.turnsAny() {
		l.engine.idle.Add(1)
		return false, nil
	}
	return true, l.begin()
}

// searching tells whether a refused record is looked for: rounds are small, so that one is found that fails for a single
// record.
func (l *loop) searching() bool { return l.limit < l.engine.options.MaxQueued }

// parked tells whether a task waits for a round.
func (l *loop) parked() bool {
	return slices.ContainsFunc(l.order, func(r *running) bool { return r.parked.Load() })
}

// unlimited is more records than a round ever has.
const unlimited = math.MaxInt64 / 2

// ration sets how many records tasks may process until it is called again.
func (l *loop) ration(n int) {
	if !l.searching() {
		l.quota.Store(unlimited)
		return
	}
	l.quota.Store(int64(n))
}

// draw takes up to n records from the quota.
func (l *loop) draw(n int) int {
	for {
		have := l.quota.Load()
		if have >= unlimited/2 {
			return n
		}
		n = int(min(int64(n), max(0, have)))
		if l.quota.CompareAndSwap(have, have-int64(n)) {
			return n
		}
	}
}

// giveBack returns to the quota what was not needed.
func (l *loop) giveBack(n int) {
	if n > 0 && l.quota.Load() < unlimited/2 {
		l.quota.Add(int64(n))
	}
}

// due tells whether the round should end now.
func (l *loop) due() bool {
	if l.session.Stale() || l.session.Doomed() || l.searching() || time.Since(l.began) >= l.engine.options.CommitInterval {
		return true
	}
	var rows int64
	for _, r := range l.order {
		if r.waits.Load() && r.behind == 0 { // for nothing but this commit
			return true
		}
		rows += r.rows.Load()
	}
	return rows > maxUncommittedRows || l.pressed()
}

// pressed tells whether uncommitted changes take so much memory that tasks wait for a commit.
func (l *loop) pressed() bool {
	b := l.engine.budget.Load()
	return b != nil && b.CommitNow()
}

// maxUncommittedRows is how many rows that wait decoded end a round before its time, since to write them takes time. So do
// all uncommitted changes if they take much of the memory for state.
const maxUncommittedRows = 500_000

// wait returns how long the loop has nothing to do if nobody pokes it; less than 0 is for ever.
func (l *loop) wait() time.Duration {
	wait := time.Duration(-1)
	within := func(d time.Duration) {
		if d = max(d, 0); wait < 0 || d < wait {
			wait = d
		}
	}
	if l.outlet.opened() {
		within(l.engine.options.CommitInterval - time.Since(l.began))
	} else {
		if d := l.engine.stateWait(); d >= 0 {
			within(d)
		}
		within(stampEvery - time.Since(l.looked))
	}
	now := l.engine.options.Now()
	if next := l.pool.due(l.order, now); !next.IsZero() {
		within(next.Sub(now))
	}
	if d, ok := l.waitForTrial(now); ok {
		within(d)
	}
	for _, r := range l.order {
		if _, d := r.lacking(now); d >= 0 {
			within(d)
		}
		if d := l.engine.options.LackPatience - now.Sub(r.since); r.late > 0 && d > 0 {
			within(d)
		}
	}
	if l.restores.working() {
		within(restoreEvery)
	}
	if d := l.purge.wait(); d >= 0 {
		within(d)
	}
	return wait
}

// poll reads records, and waits for them or for something else to do.
func (l *loop) poll(ctx context.Context) error {
	runs, err := l.read(ctx)
	if err != nil {
		if kafka.Recover(err) != kafka.Retry {
			return err
		}
		l.engine.options.Log.LogAttrs(ctx, slog.LevelWarn, "reading was disturbed and goes on", slog.Any("error", err))
	}
	if records(runs) > 0 && !l.outlet.opened() {
		if l.session.ExactlyOnce() && l.session.Stale() { // they come again when that round was undone
			return nil
		}
		if err := l.adopt(); err != nil {
			return err
		}
		if err := l.begin(); err != nil {
			return err
		}
	}
	for _, run := range runs {
		if r := l.owner(run.Topic, run.Partition); r != nil && r.started {
			l.round.position[place{run.Topic, run.Partition}] = position{next: -1, end: run.End}
			r.deliver(l.withhold(run))
		}
	}
	if !l.settling {
		return nil
	}
	l.settling = false
	if !l.outlet.opened() {
		if err := l.adopt(); err != nil {
			return err
		}
	}
	l.pool.resume()
	return nil
}

// read polls the session, as long as there is nothing else to do.
func (l *loop) read(ctx context.Context) ([]kafka.Run, error) {
	room, wait := l.room(), l.wait()
	pctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.engine.waker.enter(cancel) || l.settling {
		wait = 0
	}
	defer l.engine.waker.leave()
	if room > 0 {
		return l.session.Poll(pctx, wait, room)
	}
	sleep(pctx, wait)
	return nil, nil
}

func records(runs []kafka.Run) int {
	n := 0
	for _, r := range runs {
		n += r.Len()
	}
	return n
}

// room returns how many records may be read. When that is none the pool wakes the loop.
func (l *loop) room() int {
	n, bytes := int64(l.limit), l.engine.options.MaxQueuedBytes
	for _, r := range l.order {
		for _, in := range r.intakes {
			if !in.paused.Load() {
				n -= in.waiting()
				bytes -= in.waitingBytes()
			}
		}
	}
	// Wait for some progress rather than read one by one.
	if (n < int64(l.limit)/4 || bytes <= 0) && l.pool.active() {
		return 0
	}
	if bytes <= 0 {
		return 1
	}
	return int(max(n, int64(l.limit)/16, 1))
}

// maxWaiting is how many records of a topic wait in a task for those of another.
const maxWaiting = 2000

// hold stops reading topics of which a task has enough that waits for another one, and goes on with them when it has
// not. It is not done without need: a fetch that leaves them out may be held back by the broker for as long as there is
// nothing new in the others.
func (l *loop) hold() {
	share := l.engine.options.MaxQueuedBytes / int64(max(1, 2*len(l.order)))
	for _, r := range l.order {
		if !r.started || r.held.Load() {
			continue
		}
		for _, in := range r.intakes {
			ps := kafka.Partitions{in.topic: {r.id.Partition}}
			switch n, paused := in.waiting(), in.paused.Load(); {
			case !paused && r.stuck.Load() && (n > maxWaiting || n > 1 && in.waitingBytes() > share):
				in.paused.Store(true)
				l.session.Pause(ps)
			case paused && n <= maxWaiting/2 && in.waitingBytes() <= share/2:
				in.paused.Store(false)
				l.session.Resume(ps)
			}
		}
	}
}

// parallel calls fn for each, on several goroutines, and returns the errors.
func parallel(threads int, list []*running, fn func(*running) error) error {
	if len(list) < 2 || threads < 2 {
		for _, r := range list {
			if err := fn(r); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, len(list))
	var left sync.WaitGroup
	for part := range min(threads, len(list)) {
		left.Go(func() {
			for i := part; i < len(list); i += threads {
				errs[i] = fn(list[i])
			}
		})
	}
	left.Wait()
	return errors.Join(errs...)
}

func byID(a, b *running) int {
	return cmp.Or(cmp.Compare(a.id.Sub, b.id.Sub), cmp.Compare(a.id.Partition, b.id.Partition))
}
