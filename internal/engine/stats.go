package engine

import (
	"maps"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// State is what an engine is doing.
type State string

// The states of an [Engine].
const (
	Starting         State = "starting"
	Running          State = "running"
	WaitingForBroker State = "waiting_for_broker" // no broker answers, or the cluster cannot serve
	Recovering       State = "recovering"         // a session was lost, another one is on its way
	Stalled          State = "stalled"            // records wait and none are committed
	Paused           State = "paused"             // by Pause, and otherwise running
	Stopping         State = "stopping"
	Stopped          State = "stopped"
	Failed           State = "failed"
)

// Kind is the kind of a dead letter.
type Kind struct{ Stage, Class string }

// Drop is the kind of a dropped record, with the operator that dropped it.
type Drop struct{ Node, Stage, Class string }

// Partition is a partition of a topic.
type Partition struct {
	Topic     string
	Partition int32
}

// Stats is what an engine has done. Records and what became of them count when that is committed, so that each counts
// once however often it was processed.
type Stats struct {
	State       State
	Since       time.Time // of the state
	Paused      string    // why no records are processed; "" if they are
	PausedSince time.Time // zero if they are processed
	Held        []Hold    // the partitions that the breaker has paused, in order
	// Epochs are those of the partitions of tasks that have their state, in order; none for an application without epochs.
	Epochs []PartitionEpoch
	// Lacks are the partitions for whose records those of other topics have waited for a while, in order.
	Lacks []Lack
	// UnderWay are the partitions of which records wait for an asynchronous function for a while, in order.
	UnderWay []UnderWay
	// BreakerOpened counts how often the breaker has paused a partition that it had not paused before.
	BreakerOpened uint64
	Records       uint64
	Written       uint64            // to topics other than the application's own
	WrittenTo     map[string]uint64 // the same, by topic
	DeadLetters   map[Kind]uint64
	Dropped       map[Drop]uint64  // records, with a dead letter or without
	Nodes         []task.NodeStats // by task.Node.ID; the times are samples
	Restoring     Restoring
	Batches       uint64
	Commits       uint64    // rounds, which are transactions under exactly-once
	Aborts        uint64    // rounds that were undone, and processed again
	Rebalances    uint64    // changes of this instance's partitions
	Skipped       uint64    // offsets that the source topic did not keep until they were read
	Progress      time.Time // of the last commit; zero before the first
	// Lag counts, for each partition that this instance has, the offsets after the last one that is committed;
	// the partition is absent until that is known. The markers of transactions are offsets too.
	Lag     map[Partition]int64
	Latency Histogram   // from a record's timestamp to the commit of what it led to
	Memory  store.Usage // for state
}

// TotalLag returns the sum of Lag.
func (s *Stats) TotalLag() int64 {
	var n int64
	for _, v := range s.Lag {
		n += v
	}
	return n
}

// activeLag is TotalLag without the partitions that are held, wait for an epoch, for records of another topic, or for an answer from outside.
func (s *Stats) activeLag() int64 {
	n := s.TotalLag()
	for _, h := range s.Held {
		n -= s.Lag[h.Partition]
	}
	for _, p := range s.Epochs {
		if p.Waits {
			n -= s.Lag[p.Partition]
		}
	}
	for _, p := range s.UnderWay {
		n -= s.Lag[p.Partition]
	}
	for _, p := range s.Lacks {
		for at, lag := range s.Lag {
			if at.Partition == p.Partition.Partition {
				n -= lag
			}
		}
	}
	return n
}

// TotalDeadLetters returns the sum of DeadLetters.
func (s *Stats) TotalDeadLetters() uint64 {
	var n uint64
	for _, v := range s.DeadLetters {
		n += v
	}
	return n
}

// Buckets of a [Histogram]: exact milliseconds up to 2^subBits, then 2^subBits buckets for each doubling, so that
// a bucket is at most 1/16 wide of what it holds.
const (
	subBits    = 4
	doublings  = 28 // the last bucket holds everything from 2^(28+4-1) ms, which is 24 days
	numBuckets = (doublings + 1) << subBits
)

// Histogram counts durations in buckets that grow with the duration. The zero value is empty.
type Histogram struct {
	Count  uint64
	Sum    time.Duration
	Max    time.Duration
	counts [numBuckets]uint64
}

func bucket(ms int64) int {
	if ms < 1<<subBits {
		return int(max(ms, 0))
	}
	shift := bits.Len64(uint64(ms)) - 1 - subBits
	return min((shift+1)<<subBits+int(ms>>shift)-1<<subBits, numBuckets-1)
}

// bound returns the upper bound of a bucket in milliseconds, which is not in it.
func bound(b int) int64 {
	if b < 1<<subBits {
		return int64(b) + 1
	}
	shift := b>>subBits - 1
	return int64(1<<subBits+b&(1<<subBits-1)+1) << shift
}

func (h *Histogram) observe(ms int64) {
	ms = max(ms, 0)
	h.counts[bucket(ms)]++
	h.Count++
	d := time.Duration(min(ms, 1<<40)) * time.Millisecond
	h.Sum += d
	h.Max = max(h.Max, d)
}

// Quantile returns a duration that a share q, from 0 to 1, of those counted does not exceed; it is at most 1/16,
// and 1 ms, too long. It is 0 when nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	want := uint64(q * float64(h.Count))
	var n uint64
	for b, c := range h.counts {
		if n += c; n > want || n == h.Count {
			return min(time.Duration(bound(b))*time.Millisecond, h.Max)
		}
	}
	return h.Max
}

// CountUpTo returns how many of the durations counted are surely not above d: those of the buckets that end at or
// before d.
func (h *Histogram) CountUpTo(d time.Duration) uint64 {
	var n uint64
	for b, c := range h.counts {
		if bound(b) > d.Milliseconds() {
			break
		}
		n += c
	}
	return n
}

// position is how far a partition was processed, and how far it went then.
type position struct{ next, end int64 }

// tally counts what a batch or a round came to.
type tally struct {
	rows, batches int
	written       map[string]int // to topics other than the application's own
	internal      int            // to repartition topics
	deadLetters   map[Kind]uint64
	dropped       map[Drop]uint64
	nodes         []task.NodeStats // by task.Node.ID
	timestamps    []int64
	position      map[place]position
	outcomes      []outcome // by intake; none in that of a round
}

func newTally() tally {
	return tally{written: map[string]int{}, deadLetters: map[Kind]uint64{}, dropped: map[Drop]uint64{}, position: map[place]position{}}
}

// empty tells whether nothing was done.
func (t *tally) empty() bool {
	worked := func(n task.NodeStats) bool { return n.Records > 0 }
	return t.rows+t.internal == 0 && len(t.written)+len(t.deadLetters)+len(t.dropped) == 0 && !slices.ContainsFunc(t.nodes, worked)
}

func (t *tally) reset() {
	t.rows, t.batches, t.internal, t.timestamps = 0, 0, 0, t.timestamps[:0]
	clear(t.written)
	clear(t.deadLetters)
	clear(t.dropped)
	clear(t.nodes)
	clear(t.position)
	for i := range t.outcomes {
		t.outcomes[i].next()
	}
}

// add counts what a task did in a round.
func (t *tally) add(b *tally) {
	t.rows += b.rows
	t.batches += b.batches
	t.internal += b.internal
	t.timestamps = append(t.timestamps, b.timestamps...)
	for topic, n := range b.written {
		t.written[topic] += n
	}
	for k, n := range b.deadLetters {
		t.deadLetters[k] += n
	}
	for d, n := range b.dropped {
		t.dropped[d] += n
	}
	if len(t.nodes) < len(b.nodes) {
		t.nodes = make([]task.NodeStats, len(b.nodes))
	}
	for i, n := range b.nodes {
		t.nodes[i].Records += n.Records
		t.nodes[i].Sampled += n.Sampled
		t.nodes[i].Time += n.Time
	}
}

// recorder collects the statistics. The loop, the monitor and the client's callbacks change it, one at a time;
// anyone may read the last copy.
type recorder struct {
	now  func() time.Time
	turn chan struct{} // holds a token when nobody changes anything
	last atomic.Pointer[Stats]

	stats     Stats
	assigned  map[place]struct{}
	positions map[place]position
}

func newRecorder(now func() time.Time, p *task.Program) *recorder {
	r := &recorder{
		now: now, turn: make(chan struct{}, 1), assigned: map[place]struct{}{}, positions: map[place]position{},
		stats: Stats{
			State: Starting, Since: now(), WrittenTo: map[string]uint64{}, DeadLetters: map[Kind]uint64{}, Dropped: map[Drop]uint64{}, Nodes: make([]task.NodeStats, len(p.Nodes)),
		},
	}
	r.turn <- struct{}{}
	r.change(func() {})
	return r
}

// change runs fn alone and publishes what it has changed.
func (r *recorder) change(fn func()) {
	<-r.turn
	fn()
	s := r.stats.clone()
	s.Lag = make(map[Partition]int64, len(r.assigned))
	for p := range r.assigned {
		if at, ok := r.positions[p]; ok {
			s.Lag[Partition{p.topic, p.partition}] = max(0, at.end-at.next)
		}
	}
	if s.Paused != "" && (s.State == Running || s.State == Stalled) {
		s.State, s.Since = Paused, s.PausedSince
	}
	r.last.Store(&s)
	r.turn <- struct{}{}
}

// clone returns a copy that shares nothing.
func (s *Stats) clone() Stats {
	c := *s
	c.WrittenTo, c.Held, c.Epochs = maps.Clone(s.WrittenTo), slices.Clone(s.Held), slices.Clone(s.Epochs)
	c.Lacks = slices.Clone(s.Lacks)
	c.UnderWay = slices.Clone(s.UnderWay)
	c.DeadLetters, c.Dropped, c.Lag, c.Nodes = maps.Clone(s.DeadLetters), maps.Clone(s.Dropped), maps.Clone(s.Lag), slices.Clone(s.Nodes)
	return c
}

// snapshot returns the last copy, which is the caller's.
func (r *recorder) snapshot() Stats { return r.last.Load().clone() }

func (r *recorder) commits() uint64 { return r.last.Load().Commits }

func (r *recorder) setState(s State) {
	if r.last.Load().State == s {
		return
	}
	r.change(func() { r.stats.State, r.stats.Since = s, r.now() })
}

// committed counts a round.
func (r *recorder) committed(t *tally) {
	r.change(func() {
		s := &r.stats
		now := r.now()
		s.Records += uint64(t.rows)
		for topic, n := range t.written {
			s.Written += uint64(n)
			s.WrittenTo[topic] += uint64(n)
		}
		s.Batches += uint64(t.batches)
		s.Commits++
		s.Progress = now
		if s.State == Stalled {
			s.State, s.Since = Running, now
		}
		for k, n := range t.deadLetters {
			s.DeadLetters[k] += n
		}
		for d, n := range t.dropped {
			s.Dropped[d] += n
		}
		for i, n := range t.nodes {
			s.Nodes[i].Records += n.Records
			s.Nodes[i].Sampled += n.Sampled
			s.Nodes[i].Time += n.Time
		}
		ms := now.UnixMilli()
		for _, ts := range t.timestamps {
			if ts >= 0 {
				s.Latency.observe(ms - ts)
			}
		}
		for p, at := range t.position {
			was := r.positions[p]
			r.positions[p] = position{next: max(at.next, was.next), end: max(at.end, was.end)}
		}
	})
}

func (r *recorder) aborted() { r.change(func() { r.stats.Aborts++ }) }

// each calls fn with every partition.
func each(ps kafka.Partitions, fn func(place)) {
	for topic, list := range ps {
		for _, p := range list {
			fn(place{topic, p})
		}
	}
}

// rebalanced notes partitions that came or went.
func (r *recorder) rebalanced(c kafka.Change) {
	r.change(func() {
		r.stats.Rebalances++
		each(c.Assigned, func(p place) { r.assigned[p] = struct{}{} })
		for _, gone := range []kafka.Partitions{c.Revoked, c.Lost} {
			each(gone, func(p place) {
				delete(r.assigned, p)
				delete(r.positions, p)
			})
		}
	})
}

// assign sets the partitions of this instance.
func (r *recorder) assign(ps kafka.Partitions) {
	r.change(func() {
		clear(r.assigned)
		clear(r.positions)
		r.stats.Held, r.stats.Lacks, r.stats.UnderWay = nil, nil, nil
		each(ps, func(p place) { r.assigned[p] = struct{}{} })
	})
}

// measured notes what the brokers say about a topic's partitions: where they end, and what the group has committed.
func (r *recorder) measured(topic string, end, start, committed kafka.Offsets) {
	r.change(func() {
		for p := range r.assigned {
			e, ok := end[p.partition]
			if p.topic != topic || !ok {
				continue
			}
			at := r.positions[p]
			r.positions[p] = position{next: max(at.next, committed[p.partition], start[p.partition]), end: max(at.end, e)}
		}
	})
}
