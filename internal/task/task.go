package task

import (
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/record"
)

// Records is a run of records of one partition, in order.
type Records interface {
	Len() int
	Read(i int, r *record.Raw) // fills r
	// CaughtUp tells whether the partition had no records after these when they were read.
	CaughtUp() bool
}

// unknownPatience is how long a task with several sources waits for a partition of which it is not known whether it is at
// its end. A driver that tells by an Add what it finds out first, records or none, keeps a task from waiting that long.
const unknownPatience = 5 * time.Second

// sampleEvery is for how many records of a source the time of nodes is taken once.
const sampleEvery = 256

// Task is a sub-topology on one partition. Its methods are for one goroutine at a time. A task whose method has
// returned an error can only be closed, or reset after a rollback of its state.
type Task struct {
	id      ID
	program *Program
	sub     *Subtopology
	ctx     *Context
	env     Env
	procs   *Processors
	queues  []*queue
	blocked time.Time // since when a source has no records while another one has
	waits   bool      // the last call of Process ended because of that
	active  time.Time // when a record was last processed
	samples int
}

// queue holds the records of a source that were not processed yet.
type queue struct {
	runs     []Records
	at       int // in runs[0]
	caughtUp bool
	head     record.Raw
	loaded   bool // head is decoded, with this time
	time     int64
	next     int64 // the offset after the last record that was processed or dropped; -1 is none
	taken    bool  // next has moved since the last commit, or was not said whole
	said     int64 // what Positions has said last; -1 is nothing
}

// New makes a task and opens its stores, which are to be restored before [Task.Start].
func New(p *Program, id ID, env Env) (*Task, error) {
	if id.Sub < 0 || id.Sub >= len(p.Subs) {
		return nil, fmt.Errorf("task %s: no such sub-topology", id)
	}
	t := &Task{id: id, program: p, sub: p.Subs[id.Sub], env: env}
	stores := map[string]*store.Store{}
	for _, s := range t.sub.Stores {
		st, err := env.State.Store(store.Spec{Name: s.Name, Backend: s.Backend, Logged: s.Logged})
		if err != nil {
			return nil, fmt.Errorf("task %s: open store %s: %w", id, s.Name, err)
		}
		stores[s.Name] = st
	}
	t.ctx = &Context{id: id, program: p, env: env, stores: stores}
	return t, nil
}

// Start makes the processors.
func (t *Task) Start() (err error) {
	defer t.recover(&err)
	return t.build()
}

// build makes processors that know nothing but what is in the stores.
func (t *Task) build() error {
	c := t.ctx
	c.record, c.streamTime, c.resumed, c.nextTime = nil, NoTime, NoTime, math.MaxInt64
	c.schedules, c.stats = nil, make([]NodeStats, len(t.program.Nodes))
	c.pushing, c.mixed = false, false
	c.now = t.env.Now()
	t.active, t.blocked, t.waits = c.now, time.Time{}, false
	t.queues = make([]*queue, len(t.sub.Sources))
	for i := range t.queues {
		t.queues[i] = &queue{next: -1, said: -1}
	}
	procs, err := t.sub.Build(c)
	if err != nil {
		return fmt.Errorf("task %s: %w", t.id, err)
	}
	t.procs = procs
	c.nextTime = math.MaxInt64
	for _, s := range c.schedules {
		if !s.wall {
			c.nextTime = min(c.nextTime, s.due)
		}
	}
	return nil
}

// Reset forgets the queues and everything that processors hold in memory, after the state was rolled back.
func (t *Task) Reset() (err error) {
	defer t.recover(&err)
	t.close()
	return t.build()
}

func (t *Task) close() {
	if t.procs == nil {
		return
	}
	for _, n := range t.procs.Nodes {
		if c, ok := n.(Closer); ok {
			c.Close()
		}
	}
	t.procs = nil
}

// Close waits for what the task has in flight.
func (t *Task) Close() { t.close() }

// Store returns a store of the task, nil if it has none of that name.
func (t *Task) Store(name string) *store.Store { return t.ctx.Store(name) }

// ID returns the id of the task.
func (t *Task) ID() ID { return t.id }

// Add queues records of a source, which is an index into the sub-topology's sources.
func (t *Task) Add(source int, rs Records) {
	q := t.queues[source]
	q.caughtUp = rs.CaughtUp()
	if rs.Len() > 0 {
		q.runs = append(q.runs, rs)
	}
}

// SetEpoch says with what the application is to compute, by a number of its own. It may be called before Start and Reset, and
// when nothing that the task has begun is left, as after Flush. Before that it is 0.
func (t *Task) SetEpoch(n int64) { t.ctx.epoch = n }

// Epoch returns what was set last.
func (t *Task) Epoch() int64 { return t.ctx.epoch }

// Queued returns the number of records of a source that wait.
func (t *Task) Queued(source int) int {
	q := t.queues[source]
	n := -q.at
	for _, r := range q.runs {
		n += r.Len()
	}
	return n
}

// StreamTime returns the highest event time that the task has seen, or [NoTime].
func (t *Task) StreamTime() int64 { return t.ctx.streamTime }

// Stats returns the counters of the nodes, by [Node.ID]. The slice is the task's.
func (t *Task) Stats() []NodeStats { return t.ctx.stats }

// Process processes queued records, at most limit, in the order of their event times over the sources, and sends on
// what has become ready otherwise. It returns how many it has processed or dropped, those of sources in step that have one
// event time counting as one; fewer than limit means that
// nothing more can be done before [Task.Next], another Add, or a wake-up. With limit 0 it takes no record, and goes on with what it
// has begun as if there were none.
func (t *Task) Process(limit int) (n int, err error) {
	defer t.recover(&err)
	t.ctx.now = t.env.Now()
	if err := t.poll(); err != nil {
		return 0, err
	}
	if err := t.tick(); err != nil {
		return 0, err
	}
	switch {
	case t.sub.InStep:
		n, err = t.steps(limit)
	case len(t.queues) == 1:
		n, err = t.processOne(t.queues[0], limit)
	default:
		n, err = t.merge(limit)
	}
	if n > 0 {
		t.active = t.ctx.now
	}
	if err != nil || n == limit && limit > 0 {
		return n, err
	}
	for _, p := range t.procs.Nodes {
		if d, ok := p.(Drainer); ok {
			if err := d.Drained(); err != nil {
				return n, t.fault(err)
			}
		}
	}
	return n, nil
}

// recover makes an error of a panic in a user's function.
func (t *Task) recover(err *error) {
	if p := recover(); p != nil {
		*err = t.fault(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

// fault says at which record a task failed.
func (t *Task) fault(err error) error {
	if r := t.ctx.record; r != nil {
		return fmt.Errorf("task %s, record %s/%d/%d: %w", t.id, r.Topic, r.Partition, r.Offset, err)
	}
	return fmt.Errorf("task %s: %w", t.id, err)
}

func (t *Task) poll() error {
	for _, n := range t.procs.Nodes {
		if p, ok := n.(Poller); ok {
			if err := p.Poll(); err != nil {
				return t.fault(err)
			}
		}
	}
	return nil
}

// tick does what is due by the clock.
func (t *Task) tick() error {
	now := t.ctx.now
	for _, n := range t.procs.Nodes {
		if m, ok := n.(Timer); ok {
			if at := m.Next(); !at.IsZero() && !now.Before(at) {
				if err := m.Tick(now); err != nil {
					return t.fault(err)
				}
			}
		}
	}
	if err := t.ctx.tick(now.UnixMilli()); err != nil {
		return t.fault(err)
	}
	return t.idle()
}

// idle moves stream time on where no records come.
func (t *Task) idle() error {
	if d := t.program.IdleTimeout; d > 0 && !t.waiting() && t.ctx.now.Sub(t.active) >= d {
		if at := t.ctx.now.Add(-d).UnixMilli(); t.ctx.seen() != NoTime && at > t.ctx.seen() {
			return t.advance(at)
		}
	}
	return nil
}

func (t *Task) advance(at int64) error {
	t.ctx.streamTime = at
	for _, n := range t.procs.Nodes {
		if a, ok := n.(Advancer); ok {
			if err := a.Advance(at); err != nil {
				return t.fault(err)
			}
		}
	}
	if at >= t.ctx.nextTime {
		if err := t.ctx.punctuate(at); err != nil {
			return t.fault(err)
		}
	}
	return nil
}

// waiting tells whether any record is queued.
func (t *Task) waiting() bool {
	return slices.ContainsFunc(t.queues, func(q *queue) bool { return len(q.runs) > 0 })
}

// Blocked tells whether the last call of Process ended because records wait for another source, which has none, or for what
// runs beside the task. More of the same source are of no use then.
func (t *Task) Blocked() bool { return t.waits || t.full() }

// Next returns when Process has something to do by the clock; the zero time is never.
func (t *Task) Next() time.Time {
	var at time.Time
	earlier := func(x time.Time) {
		if !x.IsZero() && (at.IsZero() || x.Before(at)) {
			at = x
		}
	}
	for _, n := range t.procs.Nodes {
		if m, ok := n.(Timer); ok {
			earlier(m.Next())
		}
	}
	if w := t.ctx.wake(); w != math.MaxInt64 {
		earlier(time.UnixMilli(w))
	}
	if !t.blocked.IsZero() {
		earlier(t.blocked.Add(t.patience()))
	}
	if d := t.program.IdleTimeout; d > 0 && t.ctx.seen() != NoTime && !t.waiting() {
		if x := t.active.Add(d); x.After(t.ctx.now) {
			earlier(x)
		} else {
			earlier(t.ctx.now.Add(d / 4))
		}
	}
	return at
}

// processOne processes the records of the only source.
func (t *Task) processOne(q *queue, limit int) (int, error) {
	source := t.procs.Sources[0]
	n := 0
	t.ctx.pushing = true
	defer func() { t.ctx.pushing = false }()
	for n < limit && !t.full() && q.peek() {
		t.ctx.record = &q.head
		if !q.loaded {
			at, ok, err := source.Load(&q.head)
			if err != nil {
				return n, t.fault(err)
			}
			q.time = at
			if !ok {
				q.drop()
				n++
				continue
			}
		}
		if err := t.push(source, q); err != nil {
			return n, err
		}
		n++
	}
	t.ctx.record = nil
	return n, nil
}

// full tells whether the node that runs beside the task takes no more records at the moment.
func (t *Task) full() bool { return t.procs.Apart != nil && t.procs.Apart.Full() }

// push sends the head of a queue through the sub-topology.
func (t *Task) push(source Loader, q *queue) error {
	c := t.ctx
	if c.sampling = t.samples == 0; c.sampling {
		t.samples = sampleEvery
		c.inner = 0
	}
	t.samples--
	c.streamTime = max(c.streamTime, q.time)
	if err := source.Push(); err != nil {
		return t.fault(err)
	}
	if c.streamTime >= c.nextTime {
		c.sampling = false
		if err := c.punctuate(c.streamTime); err != nil {
			return t.fault(err)
		}
	}
	q.drop()
	return nil
}

// merge processes the records of several sources by their event times; of equal ones the source that was declared
// first goes first.
func (t *Task) merge(limit int) (int, error) {
	t.waits = false
	n := 0
	for n < limit {
		first, empty, dropped, err := t.first()
		n += dropped
		if err != nil {
			return n, err
		}
		if first < 0 {
			t.blocked = time.Time{}
			break
		}
		if !empty {
			t.blocked = time.Time{}
		} else if t.mustWait() {
			t.waits = true
			break
		}
		q := t.queues[first]
		t.ctx.record = &q.head
		if err := t.push(t.procs.Sources[first], q); err != nil {
			return n, err
		}
		n++
	}
	t.ctx.record = nil
	return n, nil
}

// steps processes the records of sources in step, those of one event time at once. So no commit comes between them, and which have
// been processed is the same for all sources.
func (t *Task) steps(limit int) (int, error) {
	t.waits = false
	n := 0
	for n < limit {
		first, empty, dropped, err := t.first()
		n += dropped
		if err != nil || first < 0 {
			return n, err
		}
		if empty { // it may still have a record of that time, or an earlier one
			t.waits = true
			break
		}
		at := t.queues[first].time
		for i, q := range t.queues {
			if q.time != at {
				continue
			}
			t.ctx.record = &q.head
			if err := t.push(t.procs.Sources[i], q); err != nil {
				return n, err
			}
		}
		t.ctx.record = nil
		for _, p := range t.procs.Nodes {
			if s, ok := p.(Stepper); ok {
				if err := s.Step(); err != nil {
					return n, t.fault(err)
				}
			}
		}
		n++
	}
	t.ctx.record = nil
	return n, nil
}

// Lacks tells whether the last call of Process ended because records wait for this source, among others.
func (t *Task) Lacks(source int) bool {
	q := t.queues[source]
	return t.waits && !q.loaded && len(q.runs) == 0
}

// first returns the source whose next record has the lowest time, -1 if there is none, and whether any has none.
func (t *Task) first() (first int, empty bool, dropped int, err error) {
	first = -1
	for i, q := range t.queues {
		for !q.loaded && q.peek() {
			t.ctx.record = &q.head
			at, ok, err := t.procs.Sources[i].Load(&q.head)
			if err != nil {
				return 0, false, dropped, t.fault(err)
			}
			if !ok {
				q.drop()
				dropped++
				continue
			}
			q.time, q.loaded = at, true
		}
		switch {
		case !q.loaded:
			empty = true
		case first < 0 || q.time < t.queues[first].time:
			first = i
		}
	}
	return first, empty, dropped, nil
}

// patience returns how long records wait for a source that has none.
func (t *Task) patience() time.Duration {
	for _, q := range t.queues {
		if !q.loaded && len(q.runs) == 0 && !q.caughtUp {
			return max(t.program.MaxIdle, unknownPatience)
		}
	}
	return t.program.MaxIdle
}

// mustWait tells whether records have to wait for a source that has none.
func (t *Task) mustWait() bool {
	if t.blocked.IsZero() {
		t.blocked = t.ctx.now
	}
	if t.ctx.now.Sub(t.blocked) < t.patience() {
		return true
	}
	for _, q := range t.queues {
		if !q.loaded && len(q.runs) == 0 {
			q.caughtUp = true // what there is would have come
		}
	}
	return false
}

// peek makes the next record the head.
func (q *queue) peek() bool {
	if len(q.runs) == 0 {
		return false
	}
	if !q.loaded {
		q.runs[0].Read(q.at, &q.head)
	}
	return true
}

// drop ends the head.
func (q *queue) drop() {
	q.next, q.taken, q.loaded = q.head.Offset+1, true, false
	if q.at++; q.at == q.runs[0].Len() {
		q.runs[0] = nil
		q.runs, q.at = q.runs[1:], 0
		if len(q.runs) == 0 {
			q.head = record.Raw{}
		}
	}
}

// Flush finishes what was begun, writes caches to the stores, and the changes of logged stores to their changelogs.
// After it everything that Process has taken is in the output and in the stores.
func (t *Task) Flush() error { return t.flush(true) }

// Settle is Flush without waiting for the node that runs beside the task, if it has one: what [Task.UnderWay] tells of is
// then in neither, and [Task.Positions] leaves it out.
func (t *Task) Settle() error {
	// A record that was dropped before that node has its place in the output before records that it has come after.
	return t.flush(t.procs.Apart == nil || t.ctx.mixed)
}

func (t *Task) flush(wait bool) (err error) {
	defer t.recover(&err)
	t.ctx.now = t.env.Now()
	t.ctx.record = nil
	for _, n := range t.procs.Nodes {
		var err error
		switch f, ok := n.(Flusher); {
		case !wait && n == any(t.procs.Apart):
			err = t.procs.Apart.Settle()
		case ok:
			err = f.Flush()
		}
		if err != nil {
			return t.fault(err)
		}
	}
	if wait {
		t.ctx.mixed = false
	}
	if err := t.env.State.Changes(t.env.Output.Change); err != nil {
		return t.fault(fmt.Errorf("write changelog: %w", err))
	}
	return nil
}

// UnderWay returns how many of the records that Process has taken are with the node that runs beside the task, and the offset of
// the first of them.
func (t *Task) UnderWay() (n int, first int64) {
	if t.procs == nil || t.procs.Apart == nil {
		return 0, 0
	}
	n, r := t.procs.Apart.UnderWay()
	if r != nil {
		first = r.Offset
	}
	return n, first
}

// Uncommitted returns how many rows wait in memory for the next Flush. A driver that wants to bound them commits early.
func (t *Task) Uncommitted() int64 {
	var n int64
	for _, p := range t.procs.Nodes {
		if h, ok := p.(Holder); ok {
			n += int64(h.Uncommitted())
		}
	}
	return n
}

// Positions calls fn with the offset after the last record of each source that was processed since it was last called; of a
// task with records under way, with that of the first of them.
func (t *Task) Positions(fn func(source int, next int64)) {
	late, first := t.UnderWay()
	for i, q := range t.queues {
		next := q.next
		if late > 0 {
			next = first
		}
		if q.taken && next != q.said {
			fn(i, next)
		}
		q.taken, q.said = late > 0, next
	}
}
