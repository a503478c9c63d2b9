package stream

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/store"
	"pgregory.net/rapid"
)

// countedSessions is a topology that counts in sessions of 10 ms, and the results that it sends on.
func countedSessions(grace time.Duration, opts ...WindowOption) (*Topology, *strings.Builder) {
	top, out := New("sessions"), &strings.Builder{}
	in := From(top, "in", String(), Int64())
	counts := CountSessions(WindowedBySessions(GroupByKey(in), Sessions(10*time.Millisecond).Grace(grace)), "counts", opts...)
	counts.ToStream().Foreach(func(r *Record[Windowed[string], int64]) {
		fmt.Fprintf(out, "%s[%d,%d]=%d ", r.Key.Key, r.Key.Start, r.Key.End, r.Value)
	})
	return top, out
}

// sessions returns the rows of the operator after the source.
func (d *driven) sessions() *sessionRows[string, int64] {
	d.tb.Helper()
	a, ok := first[string, int64](d).to.(*aggregateSessions[string, int64, int64])
	if !ok {
		d.tb.Fatal("the operator is not the aggregation")
	}
	return a.sessionRows
}

// storedSessions returns the sessions that are in the store, as they are seen from outside.
func storedSessions(d *driven) string {
	d.tb.Helper()
	var out strings.Builder
	noError(d.tb, d.sessions().segments.store.Scan(nil, nil, func(k, v []byte) (bool, error) {
		out.WriteString(shownSession(d.tb, k, v))
		return true, nil
	}))
	return out.String()
}

func shownSession(tb testing.TB, key, value []byte) string {
	tb.Helper()
	r, ok, err := sessionRow(key, value)
	noError(tb, err)
	if !ok {
		return ""
	}
	k, err := WindowedKey(String()).Decode(r.Key)
	noError(tb, err)
	if r.Timestamp != k.End {
		tb.Errorf("a row of %v has the time %d", k, r.Timestamp)
	}
	n := int64(0)
	if value != nil {
		n, err = Int64().Decode(r.Value)
		noError(tb, err)
	}
	return fmt.Sprintf("%s[%d,%d]=%d ", k.Key, k.Start, k.End, n)
}

// TestSessionsInTheStore looks at what is in the store and in its changelog.
func TestSessionsInTheStore(t *testing.T) {
	t.Parallel()
	minute := int64(60_000)
	tests := []struct {
		name   string
		opts   []WindowOption
		stored string // after 0, 5, 100, and 10 minutes
		logged string // the rows of the changelog; a deletion is 0
		times  []int64
	}{
		{
			"on update", nil,
			"k[600000,600000]=1 ",
			"k[0,0]=1 k[0,0]=0 k[0,5]=2 k[100,100]=1 k[600000,600000]=1 ",
			[]int64{0, 5, 100, 10 * minute},
		},
		{
			"with retention",
			[]WindowOption{Retention(time.Hour)},
			"k[0,5]=2 k[100,100]=1 k[600000,600000]=1 ",
			"k[0,0]=1 k[0,0]=0 k[0,5]=2 k[100,100]=1 k[600000,600000]=1 ",
			[]int64{0, 5, 100, 10 * minute},
		},
		{
			"on close",
			[]WindowOption{EmitOnClose()},
			"k[600000,600000]=1 ",
			"k[0,0]=1 k[0,0]=0 k[0,5]=2 k[0,5]=0 k[100,100]=1 k[100,100]=0 k[600000,600000]=1 ",
			[]int64{0, 5, 100, 10 * minute},
		},
		{
			"on close with retention",
			[]WindowOption{EmitOnClose(), Retention(time.Hour)},
			"k[0,5]=2 k[100,100]=1 k[600000,600000]=1 ",
			"k[0,0]=1 k[0,0]=0 k[0,5]=2 k[100,100]=1 k[600000,600000]=1 ",
			[]int64{0, 5, 100, 10 * minute},
		},
		{
			"on close after retention",
			[]WindowOption{EmitOnClose(), Retention(time.Minute)},
			"k[600000,600000]=1 ",
			"k[0,0]=1 k[0,0]=0 k[0,5]=2 k[0,5]=0 k[600000,600000]=1 ",
			[]int64{0, 5, 10 * minute},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			top, _ := countedSessions(0, test.opts...)
			d := drive(t, top)
			for _, x := range test.times {
				at(d, x)
				d.commit()
			}
			compare(t, "in the store", test.stored, storedSessions(d))
			var logged strings.Builder
			for _, e := range d.output.logs["counts"] {
				logged.WriteString(shownSession(t, e.Key, e.Value))
			}
			compare(t, "in the changelog", test.logged, logged.String())
			if n := d.sessions().Uncommitted(); n != 0 {
				t.Errorf("%d sessions wait", n)
			}
			d = resume(t, top, d.output.logs)
			at(d, 10*minute+1)
			d.commit()
			if got := storedSessions(d); !strings.HasSuffix(got, "k[600000,600001]=2 ") {
				t.Errorf("after a restart there is %s", got)
			}
		})
	}
}

// TestSessionsOfOneRound looks whether rows that come and go between two commits are written at all.
func TestSessionsOfOneRound(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]WindowOption{nil, {EmitOnClose()}} {
		top, _ := countedSessions(0, opts...)
		d := drive(t, top)
		for start := int64(0); start < 20_000; start += 20 {
			at(d, start, start+1)
		}
		d.commit()
		compare(t, "in the store", "k[19980,19981]=2 ", storedSessions(d))
		rows := 0
		for _, e := range d.output.logs["counts"] {
			if e.Key[0] == prefixRow {
				rows++
			}
		}
		if rows != 1 {
			t.Errorf("%d rows in the changelog", rows)
		}
	}
}

// TestSessionsAreLookedUp asks for rows in memory, changed since the flush, in the store, and gone.
func TestSessionsAreLookedUp(t *testing.T) {
	t.Parallel()
	for _, cached := range []int{1, 100} {
		top, _ := countedSessions(0, CacheRows(cached), Retention(100*time.Millisecond))
		d := drive(t, top)
		looked := func(start, end int64) int64 {
			t.Helper()
			r, err := d.sessions().get(Windowed[string]{"k", start, end})
			noError(t, err)
			if r.exists && r.timestamp != end {
				t.Errorf("[%d,%d] has the time %d", start, end, r.timestamp)
			}
			return r.value
		}
		other := func(at int64) {
			t.Helper()
			noError(t, first[string, int64](d).send(&Record[string, int64]{Key: "other", Timestamp: at}))
		}
		at(d, 0)
		compare(t, "begun", 1, looked(0, 0))
		d.commit()
		at(d, 5)
		compare(t, "grown", 2, looked(0, 5))
		compare(t, "as it was", 0, looked(0, 0))
		d.commit()
		other(6)
		compare(t, "in the store", 2, looked(0, 5))
		other(105)
		compare(t, "within the retention", 2, looked(0, 5))
		other(106)
		compare(t, "after it", 0, looked(0, 5))
	}
}

// TestSessionsChangeTheirEmission has sessions emitted on close that were begun without it, and the other way round.
func TestSessionsChangeTheirEmission(t *testing.T) {
	t.Parallel()
	update, _ := countedSessions(0)
	d := drive(t, update)
	at(d, 1, 5)
	d.commit()
	onClose, out := countedSessions(0, EmitOnClose())
	d = resume(t, onClose, d.output.logs)
	d.commit()
	logs := d.output.logs
	at(d, 17)
	compare(t, "on close", "k[1,5]=2 ", out.String())
	at(d, 100)
	compare(t, "on close", "k[1,5]=2 k[17,17]=1 ", out.String())
	d.commit()
	update, _ = countedSessions(0)
	d = resume(t, update, logs)
	d.commit()
	noError(t, d.sessions().segments.store.Scan([]byte{prefixClosing}, nil, func(k, _ []byte) (bool, error) {
		t.Errorf("the index still has %x", k)
		return true, nil
	}))
}

// TestSessionsStayClosed resumes with more grace than before.
func TestSessionsStayClosed(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]WindowOption{nil, {EmitOnClose()}} {
		top, _ := countedSessions(0, opts...)
		d := drive(t, top)
		at(d, 5, 30)
		d.commit()
		top, out := countedSessions(time.Second, opts...)
		d = resume(t, top, d.output.logs)
		at(d, 6, 31)
		if d.output.drops != 1 {
			t.Errorf("%d drops, want that of the record in the closed session", d.output.drops)
		}
		at(d, 1100)
		if got, again := out.String(), "k[5,"; strings.Contains(got, again) {
			t.Errorf("emitted again: %s", got)
		}
	}
}

// TestTimesThatNoSessionHolds looks at the ends of time, which no source lets pass.
func TestTimesThatNoSessionHolds(t *testing.T) {
	t.Parallel()
	top, out := countedSessions(0)
	d := drive(t, top)
	at(d, -1, math.MinInt64, math.MaxInt64, 0)
	compare(t, "output", "k[0,0]=1 ", out.String())
	if d.output.drops != 3 {
		t.Errorf("%d drops", d.output.drops)
	}
}

// TestDamagedSessions looks at stores that cannot be what the operator has written.
func TestDamagedSessions(t *testing.T) {
	t.Parallel()
	top, _ := countedSessions(0, EmitOnClose())
	good := drive(t, top)
	at(good, 0)
	good.commit()
	damaged := func(prefix byte, change func(e *store.Entry)) map[string][]store.Entry {
		var log []store.Entry
		for _, e := range good.output.logs["counts"] {
			if e = (store.Entry{Key: bytes.Clone(e.Key), Value: bytes.Clone(e.Value)}); e.Key[0] == prefix {
				change(&e)
			}
			log = append(log, e)
		}
		return map[string][]store.Entry{"counts": log}
	}
	for name, logs := range map[string]map[string][]store.Entry{
		"no number": damaged(prefixRow, func(e *store.Entry) { e.Value = []byte{7} }),
		"no time":   damaged(prefixClosing, func(e *store.Entry) { e.Key = e.Key[:3] }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := resume(t, top, logs)
			err := first[string, int64](d).send(&Record[string, int64]{Key: "k", Timestamp: 1})
			if err == nil {
				err = first[string, int64](d).send(&Record[string, int64]{Key: "other", Timestamp: 1000})
			}
			if err == nil {
				t.Error("no error")
			}
		})
	}
	for _, key := range [][]byte{{prefixRow}, append(make([]byte, 40), 0xff)} {
		if key[0] = prefixRow; len(key) > 1 {
			key[1+timeBytes] = 0xff
		}
		if _, ok, err := sessionRow(key, nil); ok || err == nil {
			t.Errorf("a row of %x was read", key)
		}
	}
}

// TestGrowingSessionsDoNotAllocate goes on with sessions, the common case.
func TestGrowingSessionsDoNotAllocate(t *testing.T) {
	for _, opts := range [][]WindowOption{nil, {EmitOnCommit()}, {EmitOnClose()}} {
		top := New("hot")
		growing(top, opts...)
		in, rs := first[string, int64](drive(t, top)), hotRecords(100)
		send := func() {
			for i := range rs {
				rs[i].Timestamp += 100
				noError(t, in.send(&rs[i]))
			}
		}
		send() // fill the cache
		if n := testing.AllocsPerRun(20, send); n != 0 {
			t.Errorf("%v allocations for %d records", n, len(rs))
		}
	}
}

func growing(top *Topology, opts ...WindowOption) {
	in := From(top, "in", String(), Int64())
	w := Sessions(time.Minute).Grace(time.Minute)
	CountSessions(WindowedBySessions(GroupByKey(in), w), "counts", opts...).ToStream().Foreach(func(*Record[Windowed[string], int64]) {})
}

// BenchmarkSessions takes the time of a record in sessions of 20 records, with commits every 1,000 or 50,000 records. Keys are
// in the cache, or one in ten is.
func BenchmarkSessions(b *testing.B) {
	for _, bench := range []struct {
		name         string
		keys, commit int
		opts         []WindowOption
	}{
		{"Cached", 5_000, 50_000, nil},
		{"CachedOnClose", 5_000, 50_000, []WindowOption{EmitOnClose()}},
		{"CachedManyCommits", 5_000, 1_000, nil},
		{"Missed", 100_000, 50_000, nil},
		{"MissedOnClose", 100_000, 50_000, []WindowOption{EmitOnClose()}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			top := New("sessions")
			growing(top, bench.opts...)
			d := drive(b, top)
			in, rs := first[string, int64](d), hotRecords(bench.keys)
			b.ReportAllocs()
			at := 0 // a key has a record every 40 s, and after 20 of them none for 120 s
			for i := 0; b.Loop(); i++ {
				if at++; (at/len(rs)+at)%23 >= 20 {
					at += 3
				}
				r := &rs[at%len(rs)]
				r.Timestamp = 60_000_000 + int64(at)*40_000/int64(len(rs))
				if err := in.send(r); err != nil {
					b.Fatal(err)
				}
				if i%bench.commit == bench.commit-1 {
					d.output.logs = map[string][]store.Entry{}
					d.commit()
				}
			}
		})
	}
}

// BenchmarkManySessions takes the time of a record of a key with 50,000 sessions: of one that begins the next, and of one that comes
// late to any of them, with a commit at the end.
func BenchmarkManySessions(b *testing.B) {
	const n = 50_000
	top := New("many")
	w := Sessions(time.Millisecond).Grace(longest)
	ReduceSessions(WindowedBySessions(GroupByKey(From(top, "in", String(), String())), w), "values", func(_, v string) string { return v })
	for name, shift := range map[string]int64{"next": 0, "late": 1} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				d := drive(b, top)
				send := func(at int64) {
					noError(b, first[string, string](d).send(&Record[string, string]{Key: "k", Value: "v", Timestamp: at}))
				}
				for i := range n * shift {
					send(10 * i)
				}
				d.commit()
				b.StartTimer()
				for i := range int64(n) {
					send(10*i + shift)
				}
				d.commit()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
		})
	}
}

// TestSessionsAreCounted compares what sessions are said to take with what is in memory, and looks at their order.
func TestSessionsAreCounted(t *testing.T) {
	t.Parallel()
	options := [][]WindowOption{nil, {EmitOnClose()}, {EmitOnClose(), Retention(time.Second)}, {EmitOnCommit()}, {CacheRows(1)}}
	rapid.Check(t, func(rt *rapid.T) {
		top := New("counted")
		w := Sessions(10 * time.Millisecond).Grace(time.Duration(rapid.SampledFrom([]int{0, 50, 500}).Draw(rt, "grace")) * time.Millisecond)
		g := GroupByKey(From(top, "in", String(), String()))
		ReduceSessions(WindowedBySessions(g, w), "values", func(a, v string) string { return a + v }, rapid.SampledFrom(options).Draw(rt, "options")...)
		d := drive(t, top)
		a, ok := first[string, string](d).to.(*aggregateSessions[string, string, string])
		if !ok {
			t.Fatal("the operator is not the aggregation")
		}
		now := int64(0)
		for range rapid.IntRange(1, 60).Draw(rt, "records") {
			now += rapid.Int64Range(0, 40).Draw(rt, "step")
			at := max(0, now-rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 300)).Draw(rt, "delay"))
			r := Record[string, string]{Key: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key"), Value: "value", Timestamp: at}
			noError(t, first[string, string](d).send(&r))
			if rapid.IntRange(0, 9).Draw(rt, "commit") == 0 {
				d.commit()
			}
			a.rows.measure()
			bytes := a.rows.kept
			for _, c := range a.rows.rows {
				of, sum := &c.row.value, 0
				for _, list := range [][]session[string]{of.open, of.was} {
					for i := range list {
						sum += a.outside(&list[i])
						if k, ok := placeOf(list, &list[i]); !ok || k != i {
							rt.Fatalf("session %d of %v is looked for at %d", i, list, k)
						}
					}
				}
				if sum != of.values {
					rt.Fatalf("the values of %s are said to take %d of %d bytes", c.key, of.values, sum)
				}
				bytes += a.rows.sizes.of(c.size)
				if now := a.bytes(of); c.dirty && int(c.size.value) != now {
					rt.Fatalf("%s has %d bytes, and counts with %d", c.key, now, c.size.value)
				}
			}
			if bytes != a.rows.account.Bytes() {
				rt.Fatalf("%d bytes are counted as %d", bytes, a.rows.account.Bytes())
			}
		}
	})
}
