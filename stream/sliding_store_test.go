package stream

import (
	"testing"
	"time"

	"millrace.dev/internal/store"
)

// slidingCounts is a topology that counts in sliding windows of a minute.
func slidingCounts(opts ...WindowOption) *Topology {
	top := New("sliding")
	in := From(top, "in", String(), Int64())
	CountWindows(WindowedBy(GroupByKey(in), Sliding(time.Minute)), "counts", opts...).ToStream().Foreach(func(*Record[Windowed[string], int64]) {})
	return top
}

// slidingEntries returns how many rows, and entries of those that wait, are in the store.
func slidingEntries(d *driven) (rows, waiting int) {
	d.tb.Helper()
	a, ok := first[string, int64](d).to.(*aggregateSliding[string, int64, int64])
	if !ok {
		d.tb.Fatal("the operator is not the aggregation")
	}
	noError(d.tb, a.segments.store.Scan(nil, nil, func(k, _ []byte) (bool, error) {
		switch k[0] {
		case prefixRow:
			rows++
		case prefixWaiting:
			waiting++
		}
		return true, nil
	}))
	if a.rows > a.most+8 || a.waiting != 0 {
		d.tb.Errorf("%d rows in a cache of %d, %d wait", a.rows, a.most, a.waiting)
	}
	return rows, waiting
}

// TestSlidingWindowsExpire looks at what is in the store after many records, and after a restart.
func TestSlidingWindowsExpire(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]WindowOption{{CacheRows(2)}, {CacheRows(2), EmitOnClose()}} {
		top := slidingCounts(opts...)
		d := drive(t, top)
		for minute := range int64(1000) {
			at(d, minute*60_000)
			d.commit()
		}
		rows, waiting := slidingEntries(d)
		if rows < 3 || rows > 10 || waiting > 2 {
			t.Errorf("%d rows, %d of them wait", rows, waiting)
		}
		d = resume(t, top, d.output.logs)
		at(d, 1_000*60_000)
		d.commit()
		if rows, waiting = slidingEntries(d); rows > 10 || waiting > 2 {
			t.Errorf("after a restart: %d rows, %d of them wait", rows, waiting)
		}
	}
}

// TestDamagedSlidingWindows looks at stores that cannot be what the operator has written.
func TestDamagedSlidingWindows(t *testing.T) {
	t.Parallel()
	top := slidingCounts(EmitOnClose())
	d := drive(t, top)
	at(d, 1_000_000)
	d.commit()
	damage := func(prefix byte, do func(e *store.Entry)) map[string][]store.Entry {
		var log []store.Entry
		for _, e := range d.output.logs["counts"] {
			if e.Key[0] == prefix {
				do(&e)
			}
			log = append(log, e)
		}
		return map[string][]store.Entry{"counts": log}
	}
	for name, logs := range map[string]map[string][]store.Entry{
		"no time":   damage(prefixRow, func(e *store.Entry) { e.Value = []byte{1} }),
		"no number": damage(prefixRow, func(e *store.Entry) { e.Value = append(make([]byte, timestampBytes+1), 7) }),
		"no start":  damage(prefixWaiting, func(e *store.Entry) { e.Key = e.Key[:5] }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := resume(t, top, logs)
			if err := first[string, int64](d).send(&Record[string, int64]{Key: "k", Timestamp: 2_000_000}); err == nil {
				t.Error("no error")
			}
		})
	}
	row := slidingRow(10)
	for _, key := range []string{"", "\x00o", "\x02key"} {
		if _, ok, err := row([]byte(key), nil); ok || err != nil {
			t.Errorf("%q: %v, %v", key, ok, err)
		}
	}
	if _, _, err := row([]byte{prefixRow}, make([]byte, 20)); err == nil {
		t.Error("a short key was read")
	}
	if _, _, err := row([]byte{prefixRow}, nil); err == nil {
		t.Error("a short value was read")
	}
}
