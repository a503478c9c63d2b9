package engine

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// loop works in one session: it reads records and gives them to the tasks, and ends rounds: everything that tasks have
// processed, written and changed is committed at once. One goroutine runs it; the pool's run the tasks. While a round is
// being committed the tasks go on with the records that they have, and what they write waits for the next round.
type loop struct {
	engine  *Engine
	session *kafka.Session
	plan    *plan
	globals *globals
	pool    *pool
	tasks   map[task.ID]*running
	order   []*running // the same, by id
	limit   int        // records to read at a time: less while a refused record is looked for
	began   time.Time  // the round
	round   tally      // of the round
	letters *writer    // of what global tables have dropped

	measured time.Time // restoring
	said     time.Time

	progress atomic.Bool     // tasks have processed something since the last flush

	ctx      context.Context // of the tasks
	restored chan *running

	mu     sync.Mutex
	open   bool            // there is a round to send to
	held   []*kafka.Outbox // to be sent in the next round
	poked  bool
	cancel context.CancelFunc // of the poll that is under way
}

func newLoop(e *Engine, s *kafka.Session, p *plan, g *globals) *loop {
	l := &loop{
		engine: e, session: s, plan: p, globals: g, tasks: map[task.ID]*running{}, limit: e.options.MaxQueued,
		round: newTally(), restored: make(chan *running, 1024),
	}
	l.letters = newWriter(l, task.ID{})
	return l
}

// run works until the session fails or ctx is cancelled. It then finishes what was processed.
func (l *loop) run(ctx context.Context) (err error) {
	tctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.ctx = tctx
	l.pool = newPool(l.engine.options.Threads, func(r *running) (bool, error) { return r.process(tctx) }, l.poke)
	l.globals.tell(l.poke)
	defer func() {
		cancel()
		l.pool.stop()
		l.pool.close()
		for _, r := range l.order {
			if cerr := r.close(); cerr != nil && err == nil {
				err = &TaskError{cerr}
			}
		}
	}()
	stop := context.AfterFunc(ctx, l.poke)
	defer stop()
	for ctx.Err() == nil {
		if err := l.step(ctx); err != nil {
			return err
		}
	}
	l.engine.stats.setState(Stopping)
	return l.end(ctx, true)
}

// step does what is next.
func (l *loop) step(ctx context.Context) error {
	if err := l.pool.failed(); err != nil {
		return err
	}
	if err := l.globals.failed(); err != nil {
		return err
	}
	if l.opened() && l.due() {
		return l.end(ctx, false)
	}
	if !l.opened() {
		if err := l.adopt(ctx); err != nil {
			return err
		}
		if l.progress.Load() || l.hasHeld() || l.globals.waiting() {
			return l.begin(ctx)
		}
	}
	if err := l.startRestored(); err != nil {
		return err
	}
	l.measureRestore()
	return l.poll(ctx)
}

func (l *loop) opened() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

func (l *loop) hasHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held) > 0
}

// due tells whether the round should end now.
func (l *loop) due() bool {
	if l.session.Stale() || l.session.Doomed() || l.limit < l.engine.options.MaxQueued || time.Since(l.began) >= l.engine.options.CommitInterval {
		return true
	}
	var bytes int64
	for _, r := range l.order {
		bytes += r.uncommitted.Load()
	}
	return bytes > maxUncommitted
}

// maxUncommitted is how many bytes of changed state end a round before its time.
const maxUncommitted = 64 << 20

// poke wakes the loop.
func (l *loop) poke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.poked = true
	if l.cancel != nil {
		l.cancel()
	}
}

// maxPollWait is how long the loop waits at most: what the client's callbacks have noted is looked at this often.
const maxPollWait = 100 * time.Millisecond

// poll reads records, and waits for them, for something else to do or for the time to commit.
func (l *loop) poll(ctx context.Context) error {
	now := time.Now()
	latest := now.Add(maxPollWait)
	if l.opened() {
		latest = l.began.Add(l.engine.options.CommitInterval)
	}
	wait := max(l.pool.due(l.order, l.engine.options.Now(), latest).Sub(now), 0)
	pctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	l.mu.Lock()
	if l.poked {
		wait, l.poked = 0, false
	} else {
		l.cancel = cancel
	}
	l.mu.Unlock()
	var runs []kafka.Run
	var err error
	if room := l.room(); room > 0 {
		runs, err = l.session.Poll(pctx, wait, room)
	} else {
		<-pctx.Done()
	}
	l.mu.Lock()
	l.cancel = nil
	l.mu.Unlock()
	if err != nil {
		if kafka.Recover(err) != kafka.Retry {
			return err
		}
		l.engine.options.Log.LogAttrs(ctx, slog.LevelWarn, "reading was disturbed and goes on", slog.Any("error", err))
	}
	if len(runs) == 0 {
		return nil
	}
	if !l.opened() {
		if err := l.begin(ctx); err != nil {
			return err
		}
	}
	for _, run := range runs {
		if r := l.owner(run.Topic, run.Partition); r != nil && r.started {
			l.round.position[place{run.Topic, run.Partition}] = position{next: -1, end: run.End}
			r.deliver(run)
		}
	}
	return nil
}

// room returns how many records may be read.
func (l *loop) room() int {
	n := int64(l.limit)
	for _, r := range l.order {
		n -= r.queued.Load()
	}
	if n < int64(l.limit)/4 && l.pool.active() { // wait for some progress rather than read one by one
		return 0
	}
	return int(max(n, 1))
}

// maxWaiting is how many records of a topic wait in a task for those of another.
const maxWaiting = 2000

// hold stops reading topics of which a task that merges several has enough, and goes on with them when it has not. No
// task runs.
func (l *loop) hold() {
	for _, r := range l.order {
		if len(r.sources) < 2 || !r.started {
			continue
		}
		pause, resume := kafka.Partitions{}, kafka.Partitions{}
		for topic, source := range r.sources {
			switch n := r.task.Queued(source); {
			case n > maxWaiting && !r.paused[topic]:
				pause[topic] = []int32{r.id.Partition}
				r.paused[topic] = true
			case n < maxWaiting/2 && r.paused[topic]:
				resume[topic] = []int32{r.id.Partition}
				delete(r.paused, topic)
			}
		}
		if len(pause) > 0 {
			l.session.Pause(pause)
		}
		if len(resume) > 0 {
			l.session.Resume(resume)
		}
	}
}

// begin opens a round.
func (l *loop) begin(ctx context.Context) error {
	if err := l.session.Begin(); err != nil {
		return err
	}
	l.began = time.Now()
	l.mu.Lock()
	held := l.held
	l.held = nil
	l.mu.Unlock()
	for { // what the tasks write meanwhile has to come after what they have written before
		for _, o := range held {
			if err := l.session.Send(ctx, o); err != nil {
				return err
			}
		}
		l.mu.Lock()
		if held = l.held; len(held) == 0 {
			l.open = true
			l.mu.Unlock()
			break
		}
		l.held = nil
		l.mu.Unlock()
	}
	l.letters.begin(&l.round)
	l.globals.drops(l.letters)
	if o := l.letters.take(); o != nil {
		return l.session.Send(ctx, o)
	}
	return nil
}

// send writes what a task gave out, in this round or in the next. It is safe for concurrent use.
func (l *loop) send(ctx context.Context, o *kafka.Outbox) error {
	l.mu.Lock()
	if !l.open {
		l.held = append(l.held, o)
		l.mu.Unlock()
		l.poke()
		return nil
	}
	l.mu.Unlock()
	if l.session.Doomed() {
		o.Discard()
		return nil
	}
	return l.session.Send(ctx, o)
}

// How long a round may take to end, beyond the transaction timeout: a commit waits for a rebalance that waits
// for the session of a dead member to time out. On the way out there is less patience.
const (
	endPatience  = 10 * time.Second
	stopPatience = 5 * time.Second
)

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
	ahead := l.session.ExactlyOnce() && l.limit == l.engine.options.MaxQueued && !last
	if doomed := l.session.Doomed(); ahead || doomed || last {
		l.pool.stop()
	} else {
		l.pool.drain()
	}
	if err := l.pool.failed(); err != nil {
		return err
	}
	ectx, cancel := l.patience(ctx)
	defer cancel()
	if last && !l.opened() {
		if !l.progress.Load() && !l.hasHeld() {
			return nil
		}
		if err := l.begin(ectx); err != nil {
			return err
		}
	}
	if l.session.Doomed() {
		return l.undo(ectx)
	}
	positions, err := l.flush(ectx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.open = false
	l.mu.Unlock()
	l.hold()
	if ahead {
		l.pool.resume()
	}
	ok, err := l.session.Commit(ectx, positions)
	if !ok {
		l.pool.stop()
		return l.undone(ctx, err)
	}
	if err := l.commitState(); err != nil {
		return err
	}
	l.committed()
	l.pool.resume()
	return err
}

// flush has all tasks that did something finish it, and returns how far they are.
func (l *loop) flush(ctx context.Context) (kafka.Positions, error) {
	l.progress.Store(false)
	var touched []*running
	for _, r := range l.order {
		if r.touched {
			touched = append(touched, r)
		}
	}
	if err := parallel(l.engine.options.Threads, touched, func(r *running) error { return r.flush(ctx) }); err != nil {
		return nil, err
	}
	positions := kafka.Positions{}
	for _, r := range touched {
		r.touched = false
		l.positions(r, positions)
		r.countNodes()
		l.round.add(&r.tally)
		r.tally.reset()
	}
	return positions, nil
}

// positions adds how far a task is. One without news says so too: the group then refuses the transaction of an instance
// that it does not count on any more, also if that has only moved with the clock.
func (l *loop) positions(r *running, to kafka.Positions) {
	sources := l.engine.program.Subs[r.id.Sub].Sources
	any := false
	r.task.Positions(func(source int, next int64) {
		topic := sources[source].Topic
		to.Set(topic, r.id.Partition, kafka.Position{Offset: next})
		at := place{topic, r.id.Partition}
		l.round.position[at] = position{next: next, end: l.round.position[at].end}
		any = true
	})
	if any {
		return
	}
	for _, s := range sources {
		if at, ok := l.session.Position(s.Topic, r.id.Partition); ok {
			to.Set(s.Topic, r.id.Partition, at)
			return
		}
	}
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
		if err := r.state.Commit(next); err != nil {
			return &TaskError{err}
		}
		return nil
	})
}

// committed counts the round.
func (l *loop) committed() {
	l.engine.stats.committed(&l.round)
	l.limit = min(2*l.limit, l.engine.options.MaxQueued)
	for at := range l.engine.condemned {
		if p, ok := l.round.position[at.place]; ok && at.offset < p.next {
			delete(l.engine.condemned, at)
		}
	}
	l.round.reset()
}

// undo ends a round that can only be undone.
func (l *loop) undo(ctx context.Context) error {
	l.mu.Lock()
	l.open = false
	l.mu.Unlock()
	failure := l.session.Failed()
	if err := l.session.Abort(ctx); err != nil {
		return err
	}
	for _, r := range l.order {
		l.round.add(&r.tally)
	}
	if failure != nil {
		return l.undone(ctx, failure)
	}
	return l.undone(ctx, nil)
}

// undone goes back to what is committed, after a round that was not.
func (l *loop) undone(ctx context.Context, err error) error {
	l.engine.stats.aborted()
	l.mu.Lock()
	held := l.held
	l.held = nil
	l.mu.Unlock()
	for _, o := range held {
		o.Discard()
	}
	if w, is := errors.AsType[*kafka.WriteError](err); is && w.Refused() {
		err = l.refused(ctx, w)
	}
	l.round.reset()
	l.letters.discard()
	if err != nil {
		return err
	}
	for _, r := range l.order {
		if err := r.reset(); err != nil {
			return err
		}
	}
	if err := l.adopt(ctx); err != nil {
		return err
	}
	l.pool.resume()
	return nil
}

// refused deals with a round that failed because the brokers refused a record for what it is. When a batch was too
// large, the topic takes less than its configuration was believed to say: a new session makes smaller ones. Else
// half as much is read at a time, until a round of that one record fails: it is then condemned to another form. As
// rounds succeed more is read again.
func (l *loop) refused(ctx context.Context, w *kafka.WriteError) error {
	if b := l.plan.limits[w.Topic].MaxBytes; w.TooLarge() && b > minLetterBytes {
		l.engine.shrunk[w.Topic] = max(minLetterBytes, b/2)
		return w
	}
	l.limit = max(1, l.limit/2)
	if l.round.rows > 1 {
		return nil
	}
	var at coordinates
	for p, pos := range l.round.position {
		if pos.next > 0 {
			at = coordinates{p, pos.next - 1}
		}
	}
	v := l.engine.condemned[at]
	switch letters := l.engine.program.DeadLetters; {
	case v.bare || l.round.rows == 0 || letters == "":
		return &kafka.Error{
			Code: kafka.CodeRejected, Op: "write to topic", Where: w.Topic, Err: w.Err,
			Hint: cmp.Or(map[bool]string{true: "the brokers refuse dead letters: check the topic's configuration"}[v.bare], "check the topic's configuration, or name a topic for dead letters"),
		}
	case w.Topic == letters:
		v.bare = true
	default:
		v.problem = record.Problem{Stage: record.StageProduce, Class: classRefused, Reason: "the brokers refuse the output: " + w.Err.Error()}
	}
	l.engine.condemned[at] = v
	l.engine.options.Log.LogAttrs(ctx, slog.LevelWarn, "the brokers refuse a record; it goes out in another form", slog.Any("error", w),
		slog.String("source", at.topic), slog.Int("partition", int(at.partition)), slog.Int64("offset", at.offset))
	return nil
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
