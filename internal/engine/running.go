package engine

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// running is a task of this instance. The fields of the first group belong to whoever runs the task: a worker, or the
// loop while no worker works.
type running struct {
	id      task.ID
	loop    *loop
	intakes []*intake // the sources
	task    *task.Task
	state   *store.Task
	out     *writer
	tally   tally
	seen    []task.NodeStats // that the statistics have already
	sealed  bool
	// sealTime is the stream time of what is sealed.
	sealTime int64
	wrote    bool      // since the last flush
	chosen   bool      // it begins at the end of a topic, and the group does not know that
	slice    int       // how many records are processed before the clock is looked at
	late     int       // records under way when the task was flushed last
	waiting  int       // how many more than before that
	first    int64     // the offset of the first of them
	since    time.Time // that is the first

	lock  lock
	inbox []delivery

	bytes  atomic.Int64 // of changed state
	rows   atomic.Int64 // of changed state, in memory before the stores
	parked atomic.Bool  // it waits for a round
	held   atomic.Bool  // it is held back: see halted
	waits  atomic.Bool  // for its epoch: see admit
	// allowed is how many records may be processed until the breaker has seen a round.
	allowed atomic.Int64
	// draining: it goes over to another epoch when what it has under way is done.
	draining atomic.Bool
	stuck    atomic.Bool   // it waits for records of another source than those that it has, or for what it has under way
	lacks    atomic.Uint32 // of sources in step, those that it waits for, by bit
	moved    atomic.Int64  // when it last processed a record, in nanoseconds of the clock

	// The loop's.
	started   bool  // it reads
	restoring bool  // it reads its changelogs
	returned  bool  // while it is held back: what was read for it was put back
	epoch     int64 // that it uses, or has used last
	committed int64 // the highest epoch of its marks when it began
	behind    int64 // the epoch that the engine does not have; 0 is none
	turning   bool  // the round commits an epoch for it that was not committed before
	breaker   *breaker
	outcomes  []outcome // of the round that is being committed
	short     uint32    // what was last told of lacks
	restore   *restore

	// The scheduler's.
	scheduled, busy, again bool
	touched                bool // since the last flush
	next                   time.Time
}

// delivery is records of a source on their way to a task.
type delivery struct {
	source int
	run    kafka.Run
}

// intake is a source of a task: what was read of its partition and was not processed.
type intake struct {
	topic     string
	exists    bool // the topic has such a partition
	delivered atomic.Int64
	taken     atomic.Int64 // of the delivered records, those that the task has processed or dropped
	paused    atomic.Bool

	given int64 // the task's: records that it got

	// The loop's.
	chunks []chunk
	bytes  int64     // of chunks
	mark   Mark      // with what its records are processed
	coming Mark      // that the round commits
	saved  Mark      // that is committed
	since  time.Time // saved is known
}

// chunk is what was delivered in one go.
type chunk struct{ upto, bytes int64 }

func (in *intake) deliver(run kafka.Run) {
	upto := in.delivered.Add(int64(run.Len()))
	in.chunks = append(in.chunks, chunk{upto, run.Bytes()})
	in.bytes += run.Bytes()
}

// waiting returns the number of records that wait.
func (in *intake) waiting() int64 { return in.delivered.Load() - in.taken.Load() }

// waitingBytes returns at least the bytes of the records that wait. It is for the loop.
func (in *intake) waitingBytes() int64 {
	n := 0
	for taken := in.taken.Load(); n < len(in.chunks) && in.chunks[n].upto <= taken; n++ {
		in.bytes -= in.chunks[n].bytes
	}
	in.chunks = append(in.chunks[:0], in.chunks[n:]...)
	return in.bytes
}

func (in *intake) reset() {
	in.delivered.Store(0)
	in.taken.Store(0)
	in.given, in.chunks, in.bytes = 0, nil, 0
}

// deliver queues records, or the news that the end of their partition was reached.
func (r *running) deliver(run kafka.Run) {
	for i, in := range r.intakes {
		if in.topic != run.Topic {
			continue
		}
		if run.Len() == 0 && len(r.intakes) == 1 {
			return
		}
		in.deliver(run)
		r.lock.Lock()
		r.inbox = append(r.inbox, delivery{i, run})
		r.lock.Unlock()
		r.loop.pool.schedule(r)
	}
}

// collect gives the task what was delivered.
func (r *running) collect() {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, d := range r.inbox {
		r.task.Add(d.source, d.run)
		r.intakes[d.source].given += int64(d.run.Len())
	}
	clear(r.inbox)
	r.inbox = r.inbox[:0]
}

// A task has its turn until it has processed batchRows records, somebody asks for it back, or too much output waits; it
// looks whether that is so about every sliceTime, and about every sliceBytes of output and changes of state.
const (
	batchRows  = 1000
	firstSlice = 64
	sliceTime  = 5 * time.Millisecond
	sliceBytes = 2 * maxOutbox
)

// process has the task process some of its records, and tells whether there is more to do.
func (r *running) process() (again bool, err error) {
	if r.halted() && !r.tried() || r.wait() {
		return false, nil
	}
	r.collect()
	r.out.begin(&r.tally)
	worked := false
	for rows := 0; rows < batchRows; {
		start, given, changed, slice := time.Now(), r.out.given(), r.state.UncommittedBytes(), r.loop.draw(int(min(int64(r.slice), int64(batchRows-rows), r.allowed.Load())))
		if finish := r.draining.Load() || r.tried(); finish {
			r.loop.giveBack(slice)
			slice = 0
		} else if slice == 0 {
			again = true // and then it waits
			break
		}
		n, err := r.task.Process(slice)
		if err != nil {
			return false, &TaskError{err}
		}
		if slice == 0 {
			break
		}
		r.loop.giveBack(slice - n)
		worked = worked || n > 0
		if rows += n; r.allowed.Load() < unlimited/2 {
			r.allowed.Add(int64(-n))
		}
		r.took(n)
		if again = n == slice; !again || r.loop.pool.halt.Load() || r.halted() {
			break
		}
		r.pace(time.Since(start), r.out.given()-given+int(max(0, r.state.UncommittedBytes()-changed)))
		if r.loop.outlet.full() || r.loop.pressed() {
			break
		}
	}
	r.tally.batches++
	r.out.ship()
	r.bytes.Store(r.state.UncommittedBytes())
	r.rows.Store(r.task.Uncommitted())
	r.stuck.Store(r.task.Blocked())
	r.noteLacks(worked)
	if (r.tally.rows > 0 || r.wrote || r.landed() || r.bytes.Load()+r.rows.Load() > 0) && !r.loop.worked.Swap(true) && !r.loop.outlet.opened() {
		r.loop.engine.waker.poke()
	}
	return again, nil
}

// landed tells whether records have come back that were under way at the last commit, whether they have led to output or not: that a
// commit can leave them behind is news.
func (r *running) landed() bool {
	late, first := r.task.UnderWay()
	return r.late > 0 && (late == 0 || first != r.first)
}

// wait tells whether too much waits for the next round or for the end of this one already, or no more records may be processed in this one. The task
// then runs when the next one begins.
func (r *running) wait() bool {
	l := r.loop
	if !l.outlet.full() && l.quota.Load() > 0 && !l.pressed() {
		return false
	}
	r.parked.Store(true)
	if l.quota.Load() <= 0 || l.pressed() {
		l.engine.waker.poke()
		return true
	}
	if l.outlet.full() {
		return true
	}
	r.parked.Store(false)
	return false
}

// took notes how far the task is.
func (r *running) took(n int) {
	r.tally.rows += n
	if len(r.intakes) == 1 {
		in := r.intakes[0]
		in.taken.Add(int64(n))
		r.tally.outcomes[0].rows += n
		r.enough(in)
		return
	}
	for i, in := range r.intakes {
		taken := in.given - int64(r.task.Queued(i))
		r.tally.outcomes[i].rows += int(taken - in.taken.Swap(taken))
		r.enough(in)
	}
}

// enough has the loop go on reading a source of which not many records wait any more.
func (r *running) enough(in *intake) {
	if in.paused.Load() && in.waiting() <= maxWaiting/2 {
		r.loop.engine.waker.poke()
	}
}

// pace sets the slices to what takes sliceTime and makes no more than sliceBytes.
func (r *running) pace(d time.Duration, bytes int) {
	switch {
	case d > 2*sliceTime || bytes > 2*sliceBytes:
		r.slice = max(1, r.slice/4)
	case d < sliceTime/4 && bytes < sliceBytes/4:
		r.slice = min(2*r.slice, batchRows)
	}
}

// flush finishes what the task has begun, and seals its state. What may take long it does not wait for, but where each
// record counts.
func (r *running) flush() error {
	r.out.begin(&r.tally)
	flush := r.task.Settle
	if r.loop.searching() {
		flush = r.task.Flush
	}
	if err := flush(); err != nil {
		return &TaskError{err}
	}
	r.noteUnderWay()
	r.out.ship()
	r.sealTime = r.task.StreamTime()
	r.state.Seal()
	r.sealed = true
	r.bytes.Store(0)
	r.rows.Store(0)
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
	if r.waiting != 0 { // a record counts for its source when it is done
		source := &r.tally.nodes[r.loop.engine.program.Subs[r.id.Sub].Sources[0].Node].Records
		*source = uint64(int64(*source) - int64(r.waiting)) //nolint:gosec // no more records are under way than came in
		r.waiting = 0
	}
}

// close ends the task; what it has not committed is gone.
func (r *running) close() error {
	r.restore.stop()
	if r.task == nil { // it could not be opened again
		return nil
	}
	r.task.Close()
	return r.state.Close()
}

// start makes the processors, which may call functions of the user.
func (r *running) start() error {
	r.recall()
	if err := guarded(r.task.Start); err != nil {
		return &TaskError{fmt.Errorf("start task %s: %w", r.id, err)}
	}
	r.started = true
	r.orient()
	return nil
}

// guarded makes an error of a panic.
func guarded(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return fn()
}

// orient tells the task of which sources nothing is to be expected at the moment, and notes whether it begins where only
// this session knows: its next round commits that.
func (r *running) orient() {
	for i, in := range r.intakes {
		if in.exists && r.loop.session.Chosen(in.topic, r.id.Partition) {
			r.wrote, r.chosen = true, true
		}
		if !in.exists || r.loop.session.AtEnd(in.topic, r.id.Partition) {
			r.task.Add(i, kafka.Run{})
		}
	}
}

// reset goes back to what is committed.
func (r *running) reset() error {
	if !r.started {
		return nil
	}
	r.lock.Lock()
	clear(r.inbox)
	r.inbox = nil
	r.lock.Unlock()
	for _, in := range r.intakes {
		in.reset()
	}
	r.out.discard()
	r.tally.reset()
	r.outcomes = nil
	clear(r.tally.outcomes) // what is in a row begins anew
	r.allowed.Store(r.breaker.allowance())
	r.state.Rollback()
	r.sealed, r.wrote, r.chosen = false, false, false
	r.bytes.Store(0)
	r.rows.Store(0)
	r.parked.Store(false)
	r.stuck.Store(false)
	r.draining.Store(false)
	r.lacks.Store(0)
	r.seen, r.late, r.waiting = nil, 0, 0
	r.recall()
	if err := guarded(r.task.Reset); err != nil {
		return &TaskError{fmt.Errorf("start task %s: %w", r.id, err)}
	}
	r.orient()
	r.loop.pool.schedule(r)
	return nil
}
