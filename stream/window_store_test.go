package stream

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/store"
	"pgregory.net/rapid"
)

func TestWindowsOrderByTime(t *testing.T) {
	t.Parallel()
	c := timeFirst[string]{String(), 10}
	window := rapid.Custom(func(t *rapid.T) Windowed[string] {
		start := rapid.Int64Range(-1000, 1000).Draw(t, "start")
		return Windowed[string]{rapid.StringN(0, 3, -1).Draw(t, "key"), start, start + 10}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := window.Draw(t, "a"), window.Draw(t, "b")
		x, err := c.Append(nil, a)
		checkRapid(t, err)
		y, err := c.Append(nil, b)
		checkRapid(t, err)
		if got, err := c.Decode(x); err != nil || got != a {
			t.Fatalf("%v comes back as %v, %v", a, got, err)
		}
		before := a.Start < b.Start || a.Start == b.Start && a.Key < b.Key
		if before != (bytes.Compare(x, y) < 0) {
			t.Fatalf("%v and %v do not order as their bytes", a, b)
		}
	})
	if _, err := c.Decode(make([]byte, timeBytes-1)); err == nil {
		t.Error("a key without a start was decoded")
	}
}

// countedWindows is a topology that counts in windows of 10 ms, and the results that it sends on.
func countedWindows(grace time.Duration, opts ...WindowOption) (*Topology, *strings.Builder) {
	top, out := New("windows"), &strings.Builder{}
	in := From(top, "in", String(), Int64())
	CountWindows(WindowedBy(GroupByKey(in), Tumbling(10*time.Millisecond).Grace(grace)), "counts", opts...).ToStream().Foreach(func(r *Record[Windowed[string], int64]) {
		fmt.Fprintf(out, "%s[%d)=%d ", r.Key.Key, r.Key.Start, r.Value)
	})
	return top, out
}

// at sends records of the key k.
func at(d *driven, times ...int64) {
	d.tb.Helper()
	for _, t := range times {
		noError(d.tb, first[string, int64](d).send(&Record[string, int64]{Key: "k", Timestamp: t}))
	}
}

// rowsOf returns the starts of the windows that are in the store.
func rowsOf(d *driven) (starts []int64) {
	d.tb.Helper()
	noError(d.tb, d.windows().rows.store.Scan([]byte{prefixRow}, nil, func(k, _ []byte) (bool, error) {
		starts = append(starts, timeOf(k[1:]))
		return true, nil
	}))
	return starts
}

// windows returns the rows of the operator after the source.
func (d *driven) windows() *windowRows[string, int64] {
	d.tb.Helper()
	a, ok := first[string, int64](d).to.(*aggregateWindows[string, int64, int64])
	if !ok {
		d.tb.Fatal("the operator is not the aggregation")
	}
	return a.windowRows
}

func compare[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestWindowsExpire looks at what is in the store and in its changelog.
func TestWindowsExpire(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		opts    []WindowOption
		stored  []int64 // after 0, 10, 20, 30 and 40
		logged  []int64 // the rows of the changelog
		without []int64 // those that it is told to delete
	}{
		{"on update", nil, []int64{30, 40}, []int64{0, 10, 20, 30, 40}, nil},
		{"with retention", []WindowOption{Retention(35 * time.Millisecond)}, []int64{10, 20, 30, 40}, []int64{0, 10, 20, 30, 40}, nil},
		{"on close", []WindowOption{EmitOnClose()}, []int64{20, 30, 40}, []int64{0, 10, 20, 30, 40}, []int64{0, 10}},
		{"on close with retention", []WindowOption{EmitOnClose(), Retention(20 * time.Millisecond)}, []int64{20, 30, 40}, []int64{0, 10, 20, 30, 40}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			top, _ := countedWindows(10*time.Millisecond, test.opts...)
			d := drive(t, top)
			for start := int64(0); start < 50; start += 10 {
				at(d, start)
				d.commit()
			}
			compare(t, "in the store", test.stored, rowsOf(d))
			var logged, without []int64
			for _, e := range d.output.logs["counts"] {
				switch {
				case e.Key[0] != prefixRow:
				case e.Value == nil:
					without = append(without, timeOf(e.Key[1:]))
				default:
					logged = append(logged, timeOf(e.Key[1:]))
				}
			}
			compare(t, "in the changelog", test.logged, logged)
			compare(t, "deleted in the changelog", test.without, without)
			if s := d.windows(); s.rows.uncommitted() != 0 || len(s.rows.rows) > 5 {
				t.Errorf("%d of %d rows wait", s.rows.uncommitted(), len(s.rows.rows))
			}
		})
	}
}

// TestWindowsOfOneRound looks whether rows that come and go between two commits are written at all.
func TestWindowsOfOneRound(t *testing.T) {
	t.Parallel()
	top, _ := countedWindows(0)
	d := drive(t, top)
	for start := int64(0); start < 1000; start += 10 {
		at(d, start)
	}
	d.commit()
	compare(t, "in the store", []int64{990}, rowsOf(d))
	if n := len(d.output.logs["counts"]); n != 3 { // the row, the times, and how long windows are
		t.Errorf("%d records in the changelog", n)
	}
}

// TestExpiredWindowsStayGone restores a changelog that Kafka has not cleaned yet.
func TestExpiredWindowsStayGone(t *testing.T) {
	t.Parallel()
	top, _ := countedWindows(0)
	d := drive(t, top)
	for start := int64(0); start < 50; start += 10 {
		at(d, start)
		d.commit()
	}
	d = resume(t, top, d.output.logs)
	compare(t, "restored", []int64{0, 10, 20, 30, 40}, rowsOf(d))
	for start := int64(0); start < 50; start += 10 {
		r, err := d.windows().get(Windowed[string]{"k", start, start + 10})
		noError(t, err)
		if r.exists != (start == 40) {
			t.Errorf("the window of %d is there: %v", start, r.exists)
		}
	}
	at(d, 41)
	d.commit()
	compare(t, "after a commit", []int64{40}, rowsOf(d))
}

// TestWindowsStayClosed resumes with more grace than before: windows that were closed stay so, since they were emitted, or
// their rows may be gone.
func TestWindowsStayClosed(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]WindowOption{nil, {EmitOnClose()}} {
		top, _ := countedWindows(0, opts...)
		d := drive(t, top)
		at(d, 5, 15)
		d.commit()
		top, out := countedWindows(time.Second, opts...)
		d = resume(t, top, d.output.logs)
		at(d, 6, 16, 25)
		if d.output.drops != 1 {
			t.Errorf("%d drops, want that of the record in the closed window", d.output.drops)
		}
		at(d, 1030)
		if got, again := out.String(), "k[0)"; strings.Contains(got, again) {
			t.Errorf("emitted again: %s", got)
		}
	}
}

// TestWindowsRememberTheirTimes loses all of a changelog that is older than the last commit with a row.
func TestWindowsRememberTheirTimes(t *testing.T) {
	t.Parallel()
	top, _ := countedWindows(0)
	d := drive(t, top)
	at(d, 15)
	d.commit()
	old := len(d.output.logs["counts"])
	at(d, 15) // stream time stays
	d.commit()
	d = resume(t, top, map[string][]store.Entry{"counts": d.output.logs["counts"][old:]})
	at(d, 5)
	if d.output.drops != 1 {
		t.Error("a late record was counted")
	}
}

// TestTimesThatNoWindowHolds looks at the ends of time, which no source lets pass.
func TestTimesThatNoWindowHolds(t *testing.T) {
	t.Parallel()
	top, out := countedWindows(0)
	d := drive(t, top)
	at(d, -1, math.MinInt64, math.MaxInt64, 0)
	compare(t, "output", "k[0)=1 ", out.String())
	if d.output.drops != 3 {
		t.Errorf("%d drops", d.output.drops)
	}
}

// TestDamagedWindows looks at stores that cannot be what the operator has written.
func TestDamagedWindows(t *testing.T) {
	t.Parallel()
	top, _ := countedWindows(0, EmitOnClose())
	row := func(key string, value []byte) map[string][]store.Entry {
		return map[string][]store.Entry{"counts": {{Key: append(startKey(0), key...), Value: value}}}
	}
	for name, logs := range map[string]map[string][]store.Entry{
		"no time":   row("k", []byte{1}),
		"no number": row("k", append(make([]byte, timestampBytes), 7)),
		"no start":  {"counts": {{Key: []byte{prefixRow, 0x80, 0, 0, 0, 0, 0, 1}, Value: make([]byte, 16)}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := resume(t, top, logs)
			if err := first[string, int64](d).send(&Record[string, int64]{Key: "other", Timestamp: 1000}); err == nil {
				t.Error("no error")
			}
		})
	}
}
