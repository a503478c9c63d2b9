package serve

import (
	"context"
	"sync"
	"time"

	"millrace.dev/internal/trace"
	"millrace.dev/record"
)

// kind is what the rows of a call are, and what is wanted of them: a batch has rows of one kind.
type kind int

const (
	kindRecords   kind = iota // records, for the whole path
	kindExplained             // records whose predictions are taken apart
	kindInputs                // rows of model inputs
	kinds
)

// mostExplained is how many rows are explained in one go: one takes as long as hundreds of others, which then wait.
const mostExplained = 8

// leastShare is how many rows a batch is not split below, where several workers are idle: handing over more batches would cost more than
// it saves.
const leastShare = 32

// retryAfter is how long a request is asked to wait that finds the queue full.
const retryAfter = time.Second

// call is a request that waits for its rows. The mutex of the queue guards what is not said to be otherwise.
type call struct {
	records []record.Raw  // the rows, or
	frame   *record.Frame // these. Neither changes
	rows    []Row         // what becomes of them: each is written by the worker that has it, and read when all are done
	came    time.Time
	taken   int // so many rows are in batches, or done: the first ones
	left    int // so many are not done
	done    chan struct{}
	times   times // of its batches; queue is how long its first row has waited
}

// lane is what waits for a version, of one kind. The mutex of the queue guards it.
type lane struct {
	version *Version
	kind    kind
	calls   fifo[*call] // in the order in which they are taken from; some may have been cancelled
	rows    int         // of the calls that no batch has
	queued  bool        // it is in the ring of the queue
	timer   *time.Timer // that puts it there; nil: none does
}

// queue is what waits for the workers: lanes that take turns, so that no model keeps another waiting, and in a lane calls that take
// turns, so that no large request keeps a small one waiting. It is safe for concurrent use.
type queue struct {
	options *Options

	mu     sync.Mutex
	wake   sync.Cond   // of workers that are idle
	ring   fifo[*lane] // that can be taken from
	rows   int         // that wait, in all lanes
	idle   int         // workers
	closed bool
}

func newQueue(o *Options) *queue {
	q := &queue{options: o}
	q.wake.L = &q.mu
	return q
}

// do has a call done, and returns when all its rows are, or none is looked at any more.
func (q *queue) do(ctx context.Context, l *lane, c *call) error {
	if err := ctx.Err(); err != nil || len(c.rows) == 0 {
		return err
	}
	c.came, c.left, c.done = q.options.Now(), len(c.rows), make(chan struct{})
	if err := q.add(l, c); err != nil {
		l.version.stats.refused(err)
		return err
	}
	select {
	case <-c.done:
		t := &c.times
		trace.Steps(ctx, c.came, trace.Step{Name: "queue", Took: t.queue}, trace.Step{Name: "features", Took: t.features},
			trace.Step{Name: "score", Took: t.scoring}, trace.Step{Name: "encode", Took: t.output})
		return nil
	case <-ctx.Done():
	}
	cancelled := q.cancel(l, c)
	<-c.done
	if !cancelled {
		return nil // the last rows were at work
	}
	l.version.stats.cancelled()
	return ctx.Err()
}

// add has a call wait.
func (q *queue) add(l *lane, c *call) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrDraining
	case q.rows > 0 && q.rows+len(c.rows) > q.options.Queue:
		return &BusyError{Waiting: q.rows, RetryAfter: retryAfter}
	}
	q.rows += len(c.rows)
	l.rows += len(c.rows)
	l.calls.push(c)
	l.version.stats.pending.Add(1)
	switch {
	case q.options.MaxWait == 0 || l.rows >= q.options.MaxRows:
		q.offer(l)
	case l.timer == nil && !l.queued:
		l.timer = time.AfterFunc(q.options.MaxWait, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.offer(l)
		})
	}
	return nil
}

// offer puts a lane in the ring, where it has rows and is not there.
func (q *queue) offer(l *lane) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if l.rows > 0 && !l.queued {
		l.queued = true
		q.ring.push(l)
		q.wake.Signal()
	}
}

// cancel has no more rows of a call taken, and tells whether there were any.
func (q *queue) cancel(l *lane, c *call) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(c.rows) - c.taken
	if n == 0 {
		return false
	}
	q.forget(l, n)
	if c.taken == 0 {
		l.version.stats.pending.Add(-1)
	}
	c.taken += n
	if c.left -= n; c.left == 0 {
		close(c.done)
	}
	return true
}

// forget takes n rows of a lane off the count.
func (q *queue) forget(l *lane, n int) {
	q.rows -= n
	l.rows -= n
	if q.closed && q.rows == 0 {
		q.wake.Broadcast() // nothing will come any more
	}
}

// close has calls refused from now on, and workers end when nothing waits any more.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
}

// batch is what a worker does in one go: rows of calls of one lane.
type batch struct {
	lane  *lane
	parts []part
	times times // but for queue
}

// part is rows of a call, from and below to.
type part struct {
	call     *call
	from, to int
}

// work does what waits until the queue is closed. worker tells it from the others.
func (q *queue) work(worker int) {
	var b batch
	for q.take(&b) {
		b.lane.version.desks[worker].run(&b)
		q.finish(&b)
	}
}

// take waits for rows, and makes a batch of them; false says that there will be none any more.
func (q *queue) take(b *batch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for q.ring.n == 0 {
			if q.closed && q.rows == 0 {
				return false
			}
			q.idle++
			q.wake.Wait()
			q.idle--
		}
		l := q.ring.pop()
		l.queued = false
		q.fill(b, l)
		if len(b.parts) > 0 {
			return true
		}
	}
}

// fill makes a batch of what waits in a lane, and offers the rest again.
func (q *queue) fill(b *batch, l *lane) {
	b.lane, b.parts, b.times = l, b.parts[:0], times{}
	room := min(q.options.MaxRows, max(leastShare, (l.rows+q.idle)/(q.idle+1)))
	if l.kind == kindExplained {
		room = min(room, mostExplained)
	}
	now := q.options.Now()
	for room > 0 && l.calls.n > 0 {
		c := l.calls.pop()
		n := min(room, len(c.rows)-c.taken)
		if n == 0 {
			continue // it was cancelled
		}
		if c.taken == 0 {
			c.times.queue = now.Sub(c.came)
			l.version.stats.pending.Add(-1)
		}
		b.parts = append(b.parts, part{c, c.taken, c.taken + n})
		c.taken += n
		room -= n
		q.forget(l, n)
		if c.taken < len(c.rows) {
			l.calls.push(c)
		}
	}
	q.offer(l)
}

// finish gives the calls of a batch their rows.
func (q *queue) finish(b *batch) {
	rows := 0
	for _, p := range b.parts {
		rows += p.to - p.from
	}
	s := b.lane.version.stats
	s.batch(rows)
	now := q.options.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range b.parts {
		c := p.call
		c.times.add(&b.times)
		if c.left -= p.to - p.from; c.left == 0 {
			if c.taken == len(c.rows) {
				s.done(b.lane.kind, c.rows, now, now.Sub(c.came), &c.times)
			}
			close(c.done)
		}
	}
	clear(b.parts) // let go of the calls
}
