package stream

import (
	"fmt"
	"testing"
	"time"
)

// pairOfStreams is two streams of one topic, by the sign of the value: all that is not a join costs nearly nothing.
func pairOfStreams(top *Topology) (left, right Stream[string, int64]) {
	in := From(top, "in", String(), Int64())
	left = in.Filter(func(_ string, v int64) bool { return v > 0 })
	right = in.Filter(func(_ string, v int64) bool { return v < 0 })
	return left, right
}

func versionedJoin(opts ...JoinOption) func(s Stream[string, int64]) {
	return func(s Stream[string, int64]) {
		rows := ToTable(s, "rows", Versioned(time.Hour))
		JoinTable(s, rows, "join", func(v, t int64) int64 { return v + t }, opts...).Foreach(func(*Record[string, int64]) {})
	}
}

// TestJoinTableDoesNotAllocate joins records with rows that are in the cache.
func TestJoinTableDoesNotAllocate(t *testing.T) {
	p := hotPath{"JoinVersioned", versionedJoin()}
	in, rs := p.start(t), hotRecords(100)
	send := func() {
		for i := range rs {
			noError(t, in.send(&rs[i]))
		}
	}
	send()
	if n := testing.AllocsPerRun(20, send); n != 0 {
		t.Errorf("%v allocations for %d records", n, len(rs))
	}
}

// BenchmarkJoinVersioned takes the time of an update of a versioned table, at the time of the row it replaces, and of a
// join with it.
func BenchmarkJoinVersioned(b *testing.B) {
	in, rs := hotPath{"", versionedJoin()}.start(b), hotRecords(5_000)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		noError(b, in.send(&rs[i]))
		i = (i + 1) % len(rs)
	}
}

// BenchmarkJoinStream takes the time of a record, with a commit for each ten thousand: of a left stream whose right one
// has nothing to match, and of a left record that is matched by a right one with the same key.
func BenchmarkJoinStream(b *testing.B) {
	for _, kind := range []string{"inner", "left"} {
		for _, matched := range []bool{false, true} {
			for _, filter := range []bool{true, false} {
				name := fmt.Sprintf("%s/matched=%v/filter=%v", kind, matched, filter)
				if matched && !filter {
					continue
				}
				b.Run(name, func(b *testing.B) { benchmarkJoinStream(b, kind, matched, filter) })
			}
		}
	}
}

func benchmarkJoinStream(b *testing.B, kind string, matched, filter bool) {
	top := New("joins")
	left, right := pairOfStreams(top)
	w := JoinWindow{Before: 10 * time.Second, After: 10 * time.Second, Grace: time.Second}
	results := 0
	count := func(*Record[string, int64]) { results++ }
	if kind == "inner" {
		JoinStream(left, right, "pairs", w, func(l, r int64) int64 { return l + r }).Foreach(count)
	} else {
		LeftJoinStream(left, right, "pairs", w, func(l, r int64, _ bool) int64 { return l + r }).Foreach(count)
	}
	d := driveIn(b, top, b.TempDir(), nil)
	in := first[string, int64](d)
	if !filter {
		blind(b, d)
	}
	r := Record[string, int64]{Timestamp: 1_000_000}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		r.Key, r.Value = fmt.Sprintf("customer-%d", i), 1
		if matched {
			r.Key, r.Value = fmt.Sprintf("customer-%d", i/2), int64(1-2*(i%2))
		} else if i%100 == 0 {
			r.Key, r.Value = "nobody", -1 // the other side is not empty
		}
		r.Timestamp += int64(i % 2)
		noError(b, in.send(&r))
		if i++; i%10_000 == 0 {
			d.commit()
		}
	}
	b.ReportMetric(float64(results)/float64(i), "results/op")
}

// blind has the left side of a join know nothing of what the right one has.
func blind(b *testing.B, d *driven) {
	b.Helper()
	j, ok := d.nodes[0].(*joinStream[string, int64])
	if !ok {
		b.Fatalf("the first node is %T", d.nodes[0])
	}
	side, ok := j.sides[tagLeft].(*joinSide[string, int64, int64, int64])
	if !ok {
		b.Fatalf("the side is %T", j.sides[tagLeft])
	}
	for n := range int64(100_000) {
		side.other.live[n] = &segment{unknown: true}
	}
}
