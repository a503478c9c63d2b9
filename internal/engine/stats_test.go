package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	for b := range numBuckets - 1 {
		low := int64(0)
		if b > 0 {
			low = bound(b - 1)
		}
		if high := bound(b); high <= low || bucket(low) != b || bucket(high-1) != b || bucket(high) != b+1 || low >= 1<<subBits && (high-low)*16 > low {
			t.Fatalf("bucket %d: from %d to %d, in buckets %d and %d", b, low, high, bucket(low), bucket(high-1))
		}
	}
	if bucket(1<<62) != numBuckets-1 || bucket(-1) != 0 {
		t.Error("the ends")
	}
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	rng := rand.New(rand.NewPCG(1, 1))
	ms := make([]int64, 10000)
	for i := range ms {
		ms[i] = rng.Int64N(1 << rng.IntN(20))
		h.observe(ms[i])
	}
	slices.Sort(ms)
	for _, q := range []float64{0, 0.01, 0.5, 0.99, 0.999, 1} {
		want := time.Duration(ms[min(int(q*float64(len(ms))), len(ms)-1)]) * time.Millisecond
		if got := h.Quantile(q); got < want || got > want+want/16+time.Millisecond {
			t.Errorf("quantile %g is %s, want %s", q, got, want)
		}
	}
	if h.Count != 10000 || h.Max != time.Duration(ms[9999])*time.Millisecond || h.CountUpTo(1<<40) != h.Count || h.CountUpTo(0) != 0 {
		t.Errorf("count %d, max %s", h.Count, h.Max)
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1000)
	r := newRecorder(func() time.Time { return now }, &task.Program{Nodes: make([]task.Node, 2)})
	r.rebalanced(kafka.Change{Assigned: kafka.Partitions{"a": {1, 2, 3}, "b": {1}}})
	r.rebalanced(kafka.Change{Revoked: kafka.Partitions{"a": {2}}, Lost: kafka.Partitions{"a": {3}}})
	round, part := newTally(), newTally()
	part.rows, part.batches, part.written, part.timestamps = 3, 1, map[string]int{"out": 2}, []int64{400, 990, -1}
	part.deadLetters[Kind{"decode", "x"}] = 1
	part.dropped[Drop{"n", "decode", "x"}] = 1
	part.nodes = []task.NodeStats{{}, {Records: 3, Sampled: 1, Time: time.Second}}
	round.add(&part)
	round.add(&part)
	round.position[place{"a", 1}] = position{next: 40, end: 50}
	round.position[place{"b", 1}] = position{next: 7, end: 8}
	r.committed(&round)
	s := r.snapshot()
	if s.Records != 6 || s.Written != 4 || s.TotalDeadLetters() != 2 || s.Dropped[Drop{"n", "decode", "x"}] != 2 || s.TotalLag() != 11 || s.Latency.Count != 4 ||
		s.Latency.Max != 600*time.Millisecond || s.Rebalances != 2 || s.Nodes[1] != (task.NodeStats{Records: 6, Sampled: 2, Time: 2 * time.Second}) {
		t.Errorf("%+v", s)
	}
	s.DeadLetters[Kind{}], s.Lag[Partition{"a", 9}], s.Nodes[0].Records = 1, 1, 1 // the caller's
	r.measured("a", kafka.Offsets{1: 60, 2: 70}, kafka.Offsets{1: 5}, kafka.Offsets{1: 30})
	if s = r.snapshot(); s.TotalLag() != 21 || len(s.Lag) != 2 || len(s.DeadLetters) != 1 || s.Nodes[0].Records != 0 {
		t.Errorf("%+v", s)
	}
}

// raws are records in memory.
type raws []record.Raw

func (r raws) Len() int                    { return len(r) }
func (r raws) Read(i int, raw *record.Raw) { *raw = r[i] }
func (r raws) CaughtUp() bool              { return true }

// alone is a task with its writer, and a session that nothing is sent to.
func alone(tb testing.TB, c *kafka.Client, topology func(*setup) *stream.Topology) *running {
	tb.Helper()
	s, err := c.Join(tb.Context(), kafka.SessionConfig{Group: group, Topics: []kafka.SourceTopic{{Name: source}}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close(context.Background()) })
	e, err := New(options(tb, c, func(s *setup) { s.topology = topology(s) }))
	if err != nil {
		tb.Fatal(err)
	}
	if err := e.openState(); err != nil {
		tb.Fatal(err)
	}
	l := newLoop(e, s, &plan{limits: map[string]kafka.Limits{sink: kafka.DefaultLimits(), letters: kafka.DefaultLimits()}}, &globals{})
	l.env = task.Env{Context: tb.Context(), Now: time.Now, Log: e.options.Log}
	l.pool = newPool(0, nil, func() {})
	r := &running{loop: l, lock: newLock(), tally: newTally(), restore: &restore{cancel: func() {}, done: make(chan struct{})}}
	close(r.restore.done)
	r.out = newWriter(l, r)
	if err := r.openState(); err != nil {
		tb.Fatal(err)
	}
	if err := r.task.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(r.close(), e.closeState()); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// round has a task process records, and forgets what it has written.
func (r *running) round(tb testing.TB, rs task.Records) {
	tb.Helper()
	r.task.Add(0, rs)
	r.out.begin(&r.tally)
	n, err := r.task.Process(rs.Len())
	if err == nil {
		err = r.task.Flush()
	}
	if err != nil || n != rs.Len() {
		tb.Fatal(n, err)
	}
	r.out.discard()
	r.loop.outlet.discard()
	r.task.Positions(func(int, int64) {})
	r.countNodes()
	r.tally.reset()
}

// someRaws returns n records.
func someRaws(n int) raws {
	rs := make(raws, n)
	for i := range rs {
		rs[i] = record.Raw{Key: []byte("key"), Value: fmt.Appendf(nil, "value %d", i), Topic: source, Partition: 3, Offset: int64(i), Timestamp: time.Now().UnixMilli()}
	}
	return rs
}

// plainTopology copies without batches.
func plainTopology(s *setup) *stream.Topology {
	t := stream.New(group, stream.DeadLetters(s.letters))
	stream.From(t, s.source, stream.Bytes(), stream.Bytes()).To(s.sink, stream.Provenance())
	return t
}

func TestAllocs(t *testing.T) { // not parallel: it counts allocations
	for name, topology := range map[string]func(*setup) *stream.Topology{"batches": copyTopology, "records": plainTopology} {
		t.Run(name, func(t *testing.T) {
			world := newWorld(t, 1)
			defer world.close()
			r, rs := alone(t, world.client, topology), someRaws(1000)
			least := math.Inf(1) // the client and the cluster allocate too, beside us and at times of their own
			for range 50 {
				least = min(least, testing.AllocsPerRun(1, func() { r.round(t, rs) }))
			}
			if least > 50 { // a few for each of ten batches
				t.Errorf("%g allocations for 1000 records", least)
			}
		})
	}
}

func BenchmarkTask(b *testing.B) {
	cl, err := kafka.New(kafka.Config{Brokers: []string{"localhost:1"}})
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for name, topology := range map[string]func(*setup) *stream.Topology{"batches": copyTopology, "records": plainTopology} {
		b.Run(name, func(b *testing.B) {
			r, rs := alone(b, cl, topology), someRaws(1000)
			b.ReportAllocs()
			for b.Loop() {
				r.round(b, rs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1000), "ns/rec")
		})
	}
}
