package stream

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/record"
)

// hotPath is a topology whose hits in the cache, and stateless operators, have to cost no allocation a record.
type hotPath struct {
	name    string
	declare func(Stream[string, int64]) // ends the stream
}

func hotPaths() []hotPath {
	nothing := func(*Record[string, int64]) {}
	window := func(g Grouped[string, int64], w TimeWindows, opts ...WindowOption) {
		CountWindows(WindowedBy(g, w), "counts", opts...).ToStream().Foreach(func(*Record[Windowed[string], int64]) {})
	}
	return []hotPath{
		{"Chain", func(s Stream[string, int64]) {
			odd := s.Filter(func(_ string, v int64) bool { return v%2 == 1 })
			swapped := Map(odd, func(k string, v int64) (int64, string) { return v, k })
			lengths := MapValues(swapped, func(k string) int { return len(k) })
			MapValuesWithKey(lengths, func(v int64, n int) int { return int(v) + n }).Foreach(func(*Record[int64, int]) {})
		}},
		{"Count", func(s Stream[string, int64]) { Count(GroupByKey(s), "counts").ToStream().Foreach(nothing) }},
		{"CountOnCommit", func(s Stream[string, int64]) {
			Count(GroupByKey(s), "counts", EmitOnCommit()).ToStream().Foreach(nothing)
		}},
		{"Reduce", func(s Stream[string, int64]) {
			Reduce(GroupByKey(s), "sums", func(a, v int64) int64 { return a + v }).ToStream().Foreach(nothing)
		}},
		{"Table", func(s Stream[string, int64]) { ToTable(s, "rows").ToStream().Foreach(nothing) }},
		{"Join", func(s Stream[string, int64]) {
			rows := ToTable(s, "rows")
			JoinTable(s, rows, "join", func(v, t int64) int64 { return v + t }).Foreach(nothing)
		}},
		{"JoinTables", func(s Stream[string, int64]) {
			rows := ToTable(s, "rows")
			sums := Reduce(GroupByKey(s), "sums", func(a, v int64) int64 { return a + v })
			JoinTables(rows, sums, func(l, r int64) int64 { return l + r }).ToStream().Foreach(nothing)
		}},
		{"JoinTablesOfOne", func(s Stream[string, int64]) { // one update is of both sides
			rows := ToTable(s, "rows")
			JoinTables(rows, MapTable(rows, func(_ string, v int64) int64 { return -v }), func(l, r int64) int64 { return l + r }).ToStream().Foreach(nothing)
		}},
		{"GroupTable", func(s Stream[string, int64]) {
			CountTable(GroupTable(ToTable(s, "rows"), Int64(), Int64(), func(_ string, v int64) (int64, int64) { return v, v }), "counts").ToStream().Foreach(func(*Record[int64, int64]) {})
		}},
		{"Tumbling", func(s Stream[string, int64]) { window(GroupByKey(s), Tumbling(time.Minute)) }},
		{"TumblingOnClose", func(s Stream[string, int64]) {
			window(GroupByKey(s), Tumbling(time.Minute), EmitOnClose())
		}},
		{"Sessions", func(s Stream[string, int64]) {
			CountSessions(WindowedBySessions(GroupByKey(s), Sessions(time.Minute)), "counts").ToStream().Foreach(func(*Record[Windowed[string], int64]) {})
		}},
		{"Hopping4", func(s Stream[string, int64]) { // four windows a record
			window(GroupByKey(s), Hopping(time.Minute, 15*time.Second).Grace(time.Minute), CacheRows(100_000))
		}},
	}
}

// start returns the first operator of a path in a task.
func (p hotPath) start(tb testing.TB) *edge[string, int64] {
	tb.Helper()
	top := New("hot")
	p.declare(From(top, "in", String(), Int64()))
	return first[string, int64](drive(tb, top))
}

// hotRecords returns records of keys in one minute, all of which a filter for odd values lets pass.
func hotRecords(keys int) []Record[string, int64] {
	rs := make([]Record[string, int64], keys)
	for i := range rs {
		rs[i] = Record[string, int64]{Key: fmt.Sprintf("customer-%07d", i), Value: 1, Timestamp: 60_000_000 + int64(i)%60_000}
	}
	return rs
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	for _, p := range hotPaths() {
		t.Run(p.name, func(t *testing.T) {
			in, rs := p.start(t), hotRecords(100)
			send := func() {
				for i := range rs {
					noError(t, in.send(&rs[i]))
				}
			}
			send() // fill the cache
			if n := testing.AllocsPerRun(20, send); n != 0 {
				t.Errorf("%v allocations for %d records", n, len(rs))
			}
		})
	}
}

// TestTaskDoesNotAllocate drives the chain through a whole task, from bytes.
func TestTaskDoesNotAllocate(t *testing.T) {
	d := drive(t, chain())
	run := rawRecords(1000)
	process := func() {
		d.task.Add(0, run)
		if n, err := d.task.Process(len(run.list) + 1); n != len(run.list) || err != nil {
			t.Fatal(n, err)
		}
	}
	process()
	if n := testing.AllocsPerRun(20, process); n > 2 { // for the run
		t.Errorf("%v allocations for %d records", n, len(run.list))
	}
}

// chain is Filter, Map and MapValues from one topic into another.
func chain() *Topology {
	top := New("chain")
	odd := From(top, "in", Int64(), Int64()).Filter(func(_, v int64) bool { return v%2 == 1 })
	swapped := Map(odd, func(k, v int64) (int64, int64) { return v, k })
	MapValues(swapped, func(v int64) float64 { return float64(v) / 2 }).To("out")
	return top
}

func rawRecords(n int) *raws {
	run := &raws{}
	for i := range n {
		run.list = append(run.list, record.Raw{
			Topic: "in", Offset: int64(i), Timestamp: int64(i),
			Key: binary.BigEndian.AppendUint64(nil, uint64(i)), Value: binary.BigEndian.AppendUint64(nil, uint64(2*i+1)),
		})
	}
	return run
}

// BenchmarkHotPaths takes the time of a record through an operator whose rows are in the cache. Commits are left out:
// they encode each changed row once.
func BenchmarkHotPaths(b *testing.B) {
	for _, p := range hotPaths() {
		b.Run(p.name, func(b *testing.B) {
			in, rs := p.start(b), hotRecords(5_000)
			for i := range rs {
				noError(b, in.send(&rs[i]))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := in.send(&rs[i]); err != nil {
					b.Fatal(err)
				}
				if i++; i == len(rs) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkTypedChain takes the time of a record from bytes to bytes through Filter, Map and MapValues in a task.
func BenchmarkTypedChain(b *testing.B) {
	d := drive(b, chain())
	run := rawRecords(1000)
	b.ReportAllocs()
	left := 0
	for b.Loop() {
		if left--; left < 0 {
			d.task.Add(0, run)
			if _, err := d.task.Process(len(run.list) + 1); err != nil {
				b.Fatal(err)
			}
			left = len(run.list) - 1
		}
	}
}

// BenchmarkMisses takes the time of a record whose row is not in the cache but in the store, with the updates written.
func BenchmarkMisses(b *testing.B) {
	top := New("misses")
	Count(GroupByKey(From(top, "in", String(), Int64())), "counts", CacheRows(1_000)).ToStream().Foreach(func(*Record[string, int64]) {})
	in, rs := first[string, int64](drive(b, top)), hotRecords(10_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := in.send(&rs[i]); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(rs) {
			i = 0
		}
	}
}

// BenchmarkClose takes the time of a window that is made, emitted when it closes, and deleted, one record in each.
func BenchmarkClose(b *testing.B) {
	top := New("close")
	in := From(top, "in", String(), Int64())
	CountWindows(WindowedBy(GroupByKey(in), Tumbling(time.Minute)), "counts", EmitOnClose()).ToStream().Foreach(func(*Record[Windowed[string], int64]) {})
	d := drive(b, top)
	next, rs := first[string, int64](d), hotRecords(1_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := next.send(&rs[i]); err != nil {
			b.Fatal(err)
		}
		rs[i].Timestamp += time.Minute.Milliseconds()
		if i++; i == len(rs) {
			i = 0
			d.output.logs = map[string][]store.Entry{}
			d.commit()
		}
	}
}
