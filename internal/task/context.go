package task

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/record"
)

// NoTime is stream time before the first record.
const NoTime int64 = math.MinInt64

// AnyPartition leaves the partition of a [Message] to its key, or for a null key to the partition of its source.
const AnyPartition int32 = -1

// Message is a record to be written.
type Message struct {
	Topic     string
	Partition int32
	// Choose returns the partition out of n, or a negative number for AnyPartition: see [Message.Place]. nil leaves it to
	// Partition.
	Choose    func(n int) int
	Key       []byte // nil is null; copied by Send
	Value     []byte // nil is null; copied by Send
	Headers   []record.Header
	Timestamp int64
	// Source is the record whose processing led to the message; nil if none did.
	Source *record.Raw
	// Provenance adds the header that names the source's origin.
	Provenance bool
	// CarryOrigin adds the header that holds the source's origin: see [Program.Origin].
	CarryOrigin bool
	// NoLetter makes no dead letter of the source where the topic cannot take the message.
	NoLetter bool
}

// ClassUnknownPartition is why a record is dropped whose chosen partition there is not.
const ClassUnknownPartition = "unknown_partition"

// Place returns the partition of the message, or [AnyPartition], in a topic with n of them. An [Output] calls it once for
// each message.
func (m *Message) Place(n int) (int32, *record.Problem) {
	if m.Choose == nil {
		return m.Partition, nil
	}
	p := m.Choose(n)
	switch {
	case p < 0:
		return AnyPartition, nil
	case p >= n:
		return 0, &record.Problem{
			Stage: record.StageProcess, Class: ClassUnknownPartition, Reason: fmt.Sprintf("partition %d was chosen; the topic has %d", p, n),
		}
	}
	return int32(p), nil
}

// Output takes what a task writes. It is used by the task's goroutine alone.
type Output interface {
	// Send writes a record, or says why its topic cannot take it.
	Send(*Message) *record.Problem
	// Change writes a change of a store to its changelog; a nil value deletes. Both slices are copied.
	Change(store string, key, value []byte) error
	// Drop counts a record that was dropped, [Drop.Count] times, and writes a dead letter where the program wants them and
	// the drop does too.
	Drop(source *record.Raw, d Drop)
}

// Drop says which node dropped a record, and why.
type Drop struct {
	Node    int
	Problem record.Problem
	// Count is how often the drop counts: a record can be missing from several windows. It is one dead letter still.
	// Default: 1
	Count int
	// NoLetter makes no dead letter of it: the record has its result elsewhere.
	NoLetter bool
}

// Env is what a driver gives a task.
type Env struct {
	Context context.Context //nolint:containedctx // ends when the driver gives up on the task
	Output  Output
	State   *store.Task
	Globals map[string]GlobalTable
	Now     func() time.Time
	Log     *slog.Logger
	// Wake is called, by any goroutine, when [Task.Process] has something to do that it had not before.
	Wake func()
	// Steady makes what runs beside the task come back at fixed points: it is waited for whenever the task is processed.
	// For tests, which are to give the same each time. Default: results are taken when they are there
	Steady bool
}

// Context is what processors know of their task. It is for the task's goroutine.
type Context struct {
	env        Env
	id         ID
	program    *Program
	stores     map[string]*store.Store
	record     *record.Raw
	now        time.Time
	epoch      int64
	streamTime int64
	resumed    int64 // what Resume was called with, or NoTime
	sampling   bool
	inner      time.Duration // time of nodes that the sampled one has called
	pushing    bool          // records of a source are on their way in
	mixed      bool          // one was dropped there since the last commit that has waited for all records
	stats      []NodeStats
	schedules  []*Schedule
	nextTime   int64 // the earliest stream time at which a schedule is due
}

// NodeStats is what a node of a task has done since the task began.
type NodeStats struct {
	Records uint64        // that came in
	Sampled uint64        // of them, whose time was taken
	Time    time.Duration // that the sampled ones took in this node
}

// ID returns the id of the task.
func (c *Context) ID() ID { return c.id }

// Record returns the record of the source that is being processed, nil outside of that.
func (c *Context) Record() *record.Raw { return c.record }

// Origin returns the record that led to what Record returns, which may be it, and nil where that is nil: see
// [Program.Origin].
func (c *Context) Origin(into *record.Raw) *record.Raw {
	if c.record == nil {
		return nil
	}
	return c.OriginOf(c.record, into)
}

// OriginOf returns the record that led to a record of the task's sources: see [Program.Origin]. It is safe for concurrent
// use.
func (c *Context) OriginOf(raw, into *record.Raw) *record.Raw { return c.program.Origin(raw, into) }

// SetRecord sets what Record returns, for an operator that goes on with a record later, and returns what it was.
func (c *Context) SetRecord(r *record.Raw) *record.Raw {
	was := c.record
	c.record = r
	return was
}

// StreamTime returns the highest event time that the task has seen, or [NoTime].
func (c *Context) StreamTime() int64 { return c.streamTime }

// Resume says that the state of the task was made by records up to a stream time. [Context.StreamTime] begins without a
// record all the same, as punctuation does, but where the program has an IdleTimeout the task does not have to see a
// record again before time goes on.
func (c *Context) Resume(streamTime int64) { c.resumed = max(c.resumed, streamTime) }

// seen returns the stream time that the task and its state have seen, or NoTime.
func (c *Context) seen() int64 { return max(c.streamTime, c.resumed) }

// Now returns the time of the clock, as it was when the present run of records began.
func (c *Context) Now() time.Time { return c.now }

// Epoch returns the epoch of the task: see [Task.SetEpoch].
func (c *Context) Epoch() int64 { return c.epoch }

// Log returns the logger.
func (c *Context) Log() *slog.Logger { return c.env.Log }

// Done returns a context that ends when the driver gives up on the task.
func (c *Context) Done() context.Context { return c.env.Context }

// Wake asks for the task to be processed. It is safe for concurrent use.
func (c *Context) Wake() { c.env.Wake() }

// Steady tells whether what runs beside the task is to come back at fixed points: see [Env].
func (c *Context) Steady() bool { return c.env.Steady }

// Store returns a store of the sub-topology.
func (c *Context) Store(name string) *store.Store { return c.stores[name] }

// Global returns a global table.
func (c *Context) Global(name string) GlobalTable { return c.env.Globals[name] }

// Stats returns the counters of a node.
func (c *Context) Stats(node int) *NodeStats { return &c.stats[node] }

// Sampling tells whether the time of the present record is taken.
func (c *Context) Sampling() bool { return c.sampling }

// Enter begins to take the time of a node. Leave ends it.
func (c *Context) Enter() (start time.Time, outer time.Duration) {
	outer, c.inner = c.inner, 0
	return time.Now(), outer
}

// Leave ends what Enter began.
func (c *Context) Leave(s *NodeStats, start time.Time, outer time.Duration) {
	d := time.Since(start)
	s.Sampled++
	s.Time += d - c.inner
	c.inner = outer + d
}

// Send writes a record. One that its topic cannot take is dropped.
func (c *Context) Send(node int, m *Message) {
	m.Source = c.record
	if p := c.env.Output.Send(m); p != nil {
		c.Drop(Drop{Node: node, Problem: *p, NoLetter: m.NoLetter})
	}
}

// SendOrStop writes a record, or returns the error that ends the application at the record at hand, where its topic cannot take it.
func (c *Context) SendOrStop(m *Message) error {
	m.Source = c.record
	p := c.env.Output.Send(m)
	if p == nil {
		return nil
	}
	return c.Stop(fmt.Errorf("topic %s cannot take its result: %s: %s", m.Topic, p.Class, p.Reason))
}

// Drop drops the present record.
func (c *Context) Drop(d Drop) {
	d.Count = max(1, d.Count)
	c.mixed = c.mixed || c.pushing
	c.env.Output.Drop(c.record, d)
}

// Schedule calls a function again and again.
type Schedule struct {
	interval int64
	wall     bool
	due      int64 // milliseconds; NoTime before the first record
	fn       func(timestamp int64) error
	stopped  bool
}

// Stop ends the calls.
func (s *Schedule) Stop() { s.stopped = true }

// OnStreamTime calls fn with the stream time after the next record, and then each time that has come to another multiple
// of interval since 1970-01-01 00:00:00 UTC, at most once for a record: as Kafka Streams does.
func (c *Context) OnStreamTime(interval time.Duration, fn func(timestamp int64) error) *Schedule {
	s := &Schedule{interval: max(1, interval.Milliseconds()), due: NoTime, fn: fn}
	c.schedules = append(c.schedules, s)
	c.nextTime = min(c.nextTime, s.due)
	return s
}

// OnWallClock calls fn with the time of the clock once for each interval, or less often if the task is busy.
func (c *Context) OnWallClock(interval time.Duration, fn func(timestamp int64) error) *Schedule {
	s := &Schedule{interval: max(1, interval.Milliseconds()), wall: true, fn: fn}
	s.due = c.env.Now().UnixMilli() + s.interval
	c.schedules = append(c.schedules, s)
	return s
}

// punctuate calls what is due at a stream time.
func (c *Context) punctuate(at int64) error {
	c.nextTime = math.MaxInt64
	for _, s := range c.schedules {
		if s.wall || s.stopped {
			continue
		}
		if at >= s.due { // also before the first record: as in Kafka Streams the first call comes with it
			s.due = next(s.due, s.interval, at)
			if err := s.fn(at); err != nil {
				return err
			}
		}
		c.nextTime = min(c.nextTime, s.due)
	}
	return nil
}

// next returns the first time after at that is some intervals after due; NoTime counts as 0.
func next(due, interval, at int64) int64 {
	if due == NoTime {
		due = 0
	}
	return due + ((at-due)/interval+1)*interval
}

// tick calls what is due by the clock.
func (c *Context) tick(now int64) error {
	for _, s := range c.schedules {
		if !s.wall || s.stopped || now < s.due {
			continue
		}
		s.due = next(s.due, s.interval, now)
		if err := s.fn(now); err != nil {
			return err
		}
	}
	return nil
}

// wake returns when tick is due next, in milliseconds; MaxInt64 is never.
func (c *Context) wake() int64 {
	at := int64(math.MaxInt64)
	for _, s := range c.schedules {
		if s.wall && !s.stopped {
			at = min(at, s.due)
		}
	}
	return at
}
