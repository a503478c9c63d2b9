package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// TaskError is an error of a task that no retry mends: of a user's function, a codec, or the state folder.
type TaskError struct{ Err error }

// Error returns the cause's text.
func (e *TaskError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *TaskError) Unwrap() error { return e.Err }

// batchRows is the most records that a task processes before its output is sent and another task has its turn.
const batchRows = 1000

// running is a task of this instance. The fields of the first group belong to whoever runs the task: a worker, or the
// loop while no worker works.
type running struct {
	id      task.ID
	loop    *loop
	sources map[string]int // by topic
	task    *task.Task
	state   *store.Task
	out     *writer
	tally   tally
	seen    []task.NodeStats // that the statistics have already
	sealed  bool

	mu    sync.Mutex
	inbox []delivery

	queued      atomic.Int64 // records in the inbox and in the task
	uncommitted atomic.Int64 // bytes of changed state
	paused      map[string]bool
	started     bool // the loop's: restored, and reading

	// The scheduler's.
	scheduled, busy, again bool
	touched                bool // since the last flush
	next                   time.Time

	restore *restore
}

// delivery is records of a source on their way to a task.
type delivery struct {
	source int
	run    kafka.Run
}

// deliver queues records.
func (r *running) deliver(run kafka.Run) {
	r.queued.Add(int64(run.Len()))
	r.mu.Lock()
	r.inbox = append(r.inbox, delivery{r.sources[run.Topic], run})
	r.mu.Unlock()
	r.loop.pool.schedule(r)
}

// process has the task process some of its records, and tells whether there is more to do.
func (r *running) process(ctx context.Context) (again bool, err error) {
	r.mu.Lock()
	for _, d := range r.inbox {
		r.task.Add(d.source, d.run)
	}
	clear(r.inbox)
	r.inbox = r.inbox[:0]
	r.mu.Unlock()
	r.out.begin(&r.tally)
	n, err := r.task.Process(batchRows)
	r.queued.Add(int64(-n))
	r.tally.rows += n
	r.tally.batches++
	r.uncommitted.Store(r.state.UncommittedBytes())
	if err != nil {
		return false, &TaskError{err}
	}
	if n > 0 && r.loop.progress.CompareAndSwap(false, true) {
		r.loop.poke()
	}
	return n == batchRows, r.send(ctx)
}

// send gives what the task has written to the loop.
func (r *running) send(ctx context.Context) error {
	o := r.out.take()
	if o == nil {
		return nil
	}
	return r.loop.send(ctx, o)
}

// flush finishes what the task has begun, and seals its state.
func (r *running) flush(ctx context.Context) error {
	r.out.begin(&r.tally)
	if err := r.task.Flush(); err != nil {
		return &TaskError{err}
	}
	if err := r.send(ctx); err != nil {
		return err
	}
	r.state.Seal()
	r.sealed = true
	r.uncommitted.Store(0)
	return nil
}

// countNodes adds what the nodes have done since it was last called to the tally.
func (r *running) countNodes() {
	now := r.task.Stats()
	if r.seen == nil {
		r.seen = make([]task.NodeStats, len(now))
	}
	if r.tally.nodes == nil {
		r.tally.nodes = make([]task.NodeStats, len(now))
	}
	for i, n := range now {
		was := r.seen[i]
		r.tally.nodes[i] = task.NodeStats{Records: n.Records - was.Records, Sampled: n.Sampled - was.Sampled, Time: n.Time - was.Time}
	}
	copy(r.seen, now)
}

// close ends the task; what it has not committed is gone.
func (r *running) close() error {
	r.restore.stop()
	r.task.Close()
	r.state.Rollback()
	return r.state.Close()
}

// reset goes back to what is committed.
func (r *running) reset() error {
	if !r.started {
		return nil
	}
	r.mu.Lock()
	clear(r.inbox)
	r.inbox = nil
	r.mu.Unlock()
	r.queued.Store(0)
	r.out.discard()
	r.tally.reset()
	r.state.Rollback()
	r.sealed, r.touched = false, false
	r.seen = nil
	if err := r.task.Reset(); err != nil {
		return &TaskError{err}
	}
	return nil
}
