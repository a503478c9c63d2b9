package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// loop works in one session: it reads records, hands them in batches to the workers, sends the results in the
// order of the records, and commits. One goroutine runs it; each worker has a goroutine of its own.
type loop struct {
	engine  *Engine
	session *kafka.Session
	limits  map[string]kafka.Limits
	jobs    chan *job
	idle    []*job      // to be used again
	pending []*job      // with the workers, in the order of their records
	todo    []kafka.Run // read, and not yet with a worker
	most    int         // jobs with the workers at a time
	full    int         // records to read at a time
	limit   int         // the same, less while a refused record is looked for
	open    bool        // there is a round
	began   time.Time   // the round
	round   tally       // of the round
}

// job is a batch on its way through a worker.
type job struct {
	run   kafka.Run
	out   *kafka.Outbox
	tally tally
	done  chan struct{}
}

func newLoop(e *Engine, s *kafka.Session, limits map[string]kafka.Limits) *loop {
	workers := len(e.options.Workers)
	full := e.options.BatchRows * (workers + 2)
	return &loop{
		engine: e, session: s, limits: limits, jobs: make(chan *job, workers+2), most: workers + 2,
		full: full, limit: full, round: newTally(),
	}
}

// run works until the session fails or ctx is cancelled. It then finishes what was read.
func (l *loop) run(ctx context.Context) error {
	workers := l.engine.options.Workers
	left := make(chan struct{})
	for _, w := range workers {
		go func() {
			defer func() { left <- struct{}{} }()
			l.work(w)
		}()
	}
	defer func() {
		close(l.jobs)
		for range workers {
			<-left
		}
	}()
	for ctx.Err() == nil {
		if err := l.step(ctx); err != nil {
			return err
		}
	}
	l.engine.stats.setState(Stopping)
	if !l.open {
		return nil
	}
	return l.end(ctx)
}

// work processes jobs.
func (l *loop) work(w Worker) {
	b := w.NewBatch()
	x := newWriter(l.engine, l.limits)
	for j := range l.jobs {
		b.Reset()
		j.run.Append(b)
		w.Process(b)
		x.batch(w, b, j.out, &j.tally)
		b.Reset() // let go of the records
		j.done <- struct{}{}
	}
}

// step reads, hands out or takes back, whichever is next.
func (l *loop) step(ctx context.Context) error {
	if l.open && l.due() {
		return l.end(ctx)
	}
	polled := false
	if len(l.todo) == 0 {
		n, err := l.poll(ctx)
		if err != nil {
			return err
		}
		polled = n > 0
	}
	if err := l.handOut(ctx); err != nil {
		return err
	}
	if !polled && len(l.pending) > 0 {
		return l.takeBack(ctx)
	}
	return nil
}

// due tells whether the round should end now.
func (l *loop) due() bool {
	return l.session.Stale() || l.session.Doomed() || l.limit < l.full || time.Since(l.began) >= l.engine.options.CommitInterval
}

// poll reads records, and waits for them if there is nothing else to do.
func (l *loop) poll(ctx context.Context) (int, error) {
	wait := time.Duration(-1)
	switch {
	case len(l.pending) > 0:
		wait = 0
	case l.open:
		wait = max(time.Millisecond, l.engine.options.CommitInterval-time.Since(l.began))
	}
	runs, err := l.session.Poll(ctx, wait, l.limit)
	if err != nil {
		if kafka.Recover(err) != kafka.Retry {
			return 0, err
		}
		l.engine.options.Log.LogAttrs(ctx, slog.LevelWarn, "reading was disturbed and goes on", slog.Any("error", err))
	}
	if len(runs) == 0 {
		return 0, nil
	}
	if !l.open {
		if err := l.session.Begin(); err != nil {
			return 0, err
		}
		l.open, l.began = true, time.Now()
	}
	n := 0
	for _, r := range runs {
		n += r.Len()
		for i := 0; i < r.Len(); i += l.engine.options.BatchRows {
			l.todo = append(l.todo, r.Slice(i, min(i+l.engine.options.BatchRows, r.Len())))
		}
	}
	return n, nil
}

// handOut gives what was read to the workers, as much as they may have at a time.
func (l *loop) handOut(ctx context.Context) error {
	for len(l.todo) > 0 {
		if len(l.pending) == l.most {
			if err := l.takeBack(ctx); err != nil {
				return err
			}
		}
		j := l.job()
		j.run, j.out = l.todo[0], l.session.Outbox()
		l.todo[0] = kafka.Run{}
		l.todo = l.todo[1:]
		l.pending = append(l.pending, j)
		l.jobs <- j
	}
	l.todo = l.todo[:0]
	return nil
}

func (l *loop) job() *job {
	if n := len(l.idle); n > 0 {
		j := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return j
	}
	return &job{done: make(chan struct{}, 1), tally: newTally()}
}

// takeBack waits for the oldest job and sends its results.
func (l *loop) takeBack(ctx context.Context) error {
	j := l.pending[0]
	<-j.done
	l.pending = append(l.pending[:0], l.pending[1:]...)
	j.tally.position[j.run.Partition] = position{next: j.run.Last() + 1, end: j.run.End}
	l.round.add(&j.tally)
	j.tally.reset()
	out := j.out
	j.run, j.out = kafka.Run{}, nil
	l.idle = append(l.idle, j)
	if l.session.Doomed() {
		out.Discard()
		return nil
	}
	sctx, cancel := l.patience(ctx)
	defer cancel()
	return l.session.Send(sctx, out)
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

// end finishes what was read and ends the round.
func (l *loop) end(ctx context.Context) error {
	doomed := l.session.Doomed()
	if doomed {
		l.todo = l.todo[:0]
	}
	if err := l.handOut(ctx); err != nil {
		return err
	}
	for len(l.pending) > 0 {
		if err := l.takeBack(ctx); err != nil {
			return err
		}
	}
	ectx, cancel := l.patience(ctx)
	defer cancel()
	l.open = false
	at := kafka.Positions{}
	for p, to := range l.round.position {
		at.Set(l.engine.options.Source, p, kafka.Position{Offset: to.next})
	}
	ok, err := l.session.Commit(ectx, at)
	if ok {
		l.engine.stats.committed(&l.round)
		l.limit = min(2*l.limit, l.full)
		for at := range l.engine.condemned {
			if p, ok := l.round.position[at.partition]; ok && at.offset < p.next {
				delete(l.engine.condemned, at)
			}
		}
	} else {
		l.engine.stats.aborted()
	}
	if w, is := errors.AsType[*kafka.WriteError](err); is && w.Refused() {
		err = l.refused(ctx, w)
	}
	l.round.reset()
	return err
}

// refused deals with a round that failed because the brokers refused a record for what it is. When a batch was too
// large, the topic takes less than its configuration was believed to say: a new session makes smaller ones. Else
// half as much is read at a time, until a round of that one record fails: it is then condemned to another form. As
// rounds succeed more is read again.
func (l *loop) refused(ctx context.Context, w *kafka.WriteError) error {
	if b := l.limits[w.Topic].MaxBytes; w.TooLarge() && b > minLetterBytes {
		l.engine.shrunk[w.Topic] = max(minLetterBytes, b/2)
		return w
	}
	l.limit = max(1, l.limit/2)
	if l.round.rows > 1 {
		return nil
	}
	var at coordinates
	for p, pos := range l.round.position {
		at = coordinates{p, pos.next - 1}
	}
	v := l.engine.condemned[at]
	switch {
	case v.bare:
		return &kafka.Error{
			Code: kafka.CodeRejected, Op: "write dead letter to topic", Where: l.engine.options.DeadLetter, Err: w.Err,
			Hint: "the brokers refuse dead letters: check the topic's configuration",
		}
	case w.Topic == l.engine.options.DeadLetter:
		v.bare = true
	default:
		v.problem = record.Problem{Stage: record.StageProduce, Class: classRefused, Reason: "the brokers refuse the prediction: " + w.Err.Error()}
	}
	l.engine.condemned[at] = v
	l.engine.options.Log.LogAttrs(ctx, slog.LevelWarn, "the brokers refuse a record; it goes out in another form", slog.Any("error", w),
		slog.String("source", l.engine.options.Source), slog.Int("partition", int(at.partition)), slog.Int64("offset", at.offset))
	return nil
}
