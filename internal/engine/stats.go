package engine

import (
	"maps"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
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
	Stopping         State = "stopping"
	Stopped          State = "stopped"
	Failed           State = "failed"
)

// Kind is the kind of a dead letter.
type Kind struct{ Stage, Class string }

// Stats is what an engine has done. Records, predictions and dead letters count when they are committed, so that
// each counts once however often it was processed.
type Stats struct {
	State       State
	Since       time.Time // of the state
	Records     uint64
	Predictions uint64
	DeadLetters map[Kind]uint64
	Batches     uint64
	Commits     uint64    // rounds, which are transactions under exactly-once
	Aborts      uint64    // rounds that were undone, and processed again
	Rebalances  uint64    // changes of this instance's partitions
	Skipped     uint64    // offsets that the source topic did not keep until they were read
	Progress    time.Time // of the last commit; zero before the first
	// Lag counts, for each partition that this instance has, the offsets after the last one that is committed;
	// the partition is absent until that is known. The markers of transactions are offsets too.
	Lag     map[int32]int64
	Latency Histogram // from a record's timestamp to its commit
}

// TotalLag returns the sum of Lag.
func (s *Stats) TotalLag() int64 {
	var n int64
	for _, v := range s.Lag {
		n += v
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
	predictions   int
	deadLetters   map[Kind]uint64
	timestamps    []int64
	position      map[int32]position
}

func newTally() tally {
	return tally{deadLetters: map[Kind]uint64{}, position: map[int32]position{}}
}

func (t *tally) reset() {
	t.rows, t.batches, t.predictions, t.timestamps = 0, 0, 0, t.timestamps[:0]
	clear(t.deadLetters)
	clear(t.position)
}

// add counts a batch in a round.
func (t *tally) add(b *tally) {
	t.rows += b.rows
	t.batches++
	t.predictions += b.predictions
	t.timestamps = append(t.timestamps, b.timestamps...)
	for k, n := range b.deadLetters {
		t.deadLetters[k] += n
	}
	maps.Copy(t.position, b.position)
}

// recorder collects the statistics. The loop, the monitor and the client's callbacks change it, one at a time;
// anyone may read the last copy.
type recorder struct {
	now  func() time.Time
	turn chan struct{} // holds a token when nobody changes anything
	last atomic.Pointer[Stats]

	stats     Stats
	assigned  map[int32]struct{}
	positions map[int32]position
}

func newRecorder(now func() time.Time) *recorder {
	r := &recorder{
		now: now, turn: make(chan struct{}, 1), assigned: map[int32]struct{}{}, positions: map[int32]position{},
		stats: Stats{State: Starting, Since: now(), DeadLetters: map[Kind]uint64{}},
	}
	r.turn <- struct{}{}
	r.change(func() {})
	return r
}

// change runs fn alone and publishes what it has changed.
func (r *recorder) change(fn func()) {
	<-r.turn
	fn()
	s := r.stats
	s.DeadLetters = maps.Clone(r.stats.DeadLetters)
	s.Lag = make(map[int32]int64, len(r.assigned))
	for p := range r.assigned {
		if at, ok := r.positions[p]; ok {
			s.Lag[p] = max(0, at.end-at.next)
		}
	}
	r.last.Store(&s)
	r.turn <- struct{}{}
}

// snapshot returns the last copy, whose maps are the caller's.
func (r *recorder) snapshot() Stats {
	s := *r.last.Load()
	s.DeadLetters, s.Lag = maps.Clone(s.DeadLetters), maps.Clone(s.Lag)
	return s
}

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
		s.Predictions += uint64(t.predictions)
		s.Batches += uint64(t.batches)
		s.Commits++
		s.Progress = now
		if s.State == Stalled {
			s.State, s.Since = Running, now
		}
		for k, n := range t.deadLetters {
			s.DeadLetters[k] += n
		}
		ms := now.UnixMilli()
		for _, ts := range t.timestamps {
			if ts >= 0 {
				s.Latency.observe(ms - ts)
			}
		}
		for p, at := range t.position {
			at.end = max(at.end, r.positions[p].end)
			r.positions[p] = at
		}
	})
}

func (r *recorder) aborted() { r.change(func() { r.stats.Aborts++ }) }

// rebalanced notes partitions that came or went.
func (r *recorder) rebalanced(assigned, revoked, lost []int32) {
	r.change(func() {
		r.stats.Rebalances++
		for _, p := range assigned {
			r.assigned[p] = struct{}{}
		}
		for _, p := range slices.Concat(revoked, lost) {
			delete(r.assigned, p)
			delete(r.positions, p)
		}
	})
}

// assign sets the partitions of this instance.
func (r *recorder) assign(ps []int32) {
	r.change(func() {
		clear(r.assigned)
		clear(r.positions)
		for _, p := range ps {
			r.assigned[p] = struct{}{}
		}
	})
}

// measured notes what the brokers say about the partitions: where they end, and what the group has committed.
func (r *recorder) measured(end, start, committed kafka.Offsets) {
	r.change(func() {
		for p := range r.assigned {
			e, ok := end[p]
			if !ok {
				continue
			}
			at := r.positions[p]
			r.positions[p] = position{next: max(at.next, committed[p], start[p]), end: max(at.end, e)}
		}
	})
}
