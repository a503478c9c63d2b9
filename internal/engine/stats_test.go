package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
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
	r := newRecorder(func() time.Time { return now })
	r.rebalanced([]int32{1, 2, 3}, nil, nil)
	r.rebalanced(nil, []int32{2}, []int32{3})
	round := newTally()
	round.rows, round.batches, round.predictions, round.timestamps = 3, 1, 2, []int64{400, 990, -1}
	round.deadLetters[Kind{"decode", "x"}] = 1
	round.position[1] = position{next: 40, end: 50}
	r.committed(&round)
	s := r.snapshot()
	if s.Records != 3 || s.Predictions != 2 || s.TotalDeadLetters() != 1 || s.TotalLag() != 10 || s.Latency.Count != 2 || s.Latency.Max != 600*time.Millisecond || s.Rebalances != 2 {
		t.Errorf("%+v", s)
	}
	s.DeadLetters[Kind{}], s.Lag[9] = 1, 1 // the caller's
	r.measured(kafka.Offsets{1: 60, 2: 70}, kafka.Offsets{1: 5}, kafka.Offsets{1: 30})
	if s = r.snapshot(); s.TotalLag() != 20 || len(s.Lag) != 1 || len(s.DeadLetters) != 1 {
		t.Errorf("%+v", s)
	}
}

// batchOf returns a processed batch of n rows and its worker.
func batchOf(tb testing.TB, n int) (*fake, *record.Batch) {
	tb.Helper()
	w := newFake(tb)
	b := w.NewBatch()
	for i := range n {
		b.Append(record.Raw{Key: []byte("key"), Value: fmt.Appendf(nil, "value %d", i), Topic: source, Partition: 3, Offset: int64(i), Timestamp: time.Now().UnixMilli()})
	}
	w.Process(b)
	return w, b
}

func TestAllocs(t *testing.T) { // not parallel: it counts allocations
	world := newWorld(t, 1)
	defer world.close()
	s, err := world.client.Join(t.Context(), kafka.SessionConfig{Group: group, Topics: []kafka.SourceTopic{{Name: source}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	e := &Engine{options: Options{Sink: sink, DeadLetter: letters, Group: group, Now: time.Now}}
	x := newWriter(e, map[string]kafka.Limits{sink: kafka.DefaultLimits(), letters: kafka.DefaultLimits()})
	w, b := batchOf(t, 1000)
	counts := newTally()
	least := math.Inf(1) // the client and the cluster allocate too, beside us and at times of their own
	for range 50 {
		least = min(least, testing.AllocsPerRun(1, func() {
			out := s.Outbox()
			x.batch(w, b, out, &counts)
			counts.reset()
			out.Discard()
		}))
	}
	if least > 20 {
		t.Errorf("%g allocations for a batch of 1000", least)
	}
}

func BenchmarkWriteBatch(b *testing.B) {
	cl, err := kafka.New(kafka.Config{Brokers: []string{"localhost:1"}})
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	s, err := cl.Join(b.Context(), kafka.SessionConfig{Group: group, Topics: []kafka.SourceTopic{{Name: source}}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(b.Context())
	e := &Engine{options: Options{Sink: sink, DeadLetter: letters, Group: group, Now: time.Now}}
	x := newWriter(e, map[string]kafka.Limits{sink: kafka.DefaultLimits(), letters: kafka.DefaultLimits()})
	w, batch := batchOf(b, 1000)
	counts := newTally()
	b.ReportAllocs()
	for b.Loop() {
		out := s.Outbox()
		x.batch(w, batch, out, &counts)
		counts.reset()
		out.Discard()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1000), "ns/rec")
}
