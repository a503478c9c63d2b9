package watch_test

import (
	"testing"
	"time"

	"millrace.dev/internal/watch"
)

// TestHostileTimes holds the windows of event times over decades to bounds, and every record to be counted once: in a window
// or as one that came too late.
func TestHostileTimes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	every := watch.Every{Time: time.Second}
	const most, rows = 500, 100
	now := start()
	b := f.board(f.options(every, time.Second), now)
	b.Narrow(most)
	total := f.tally(every)
	total.Narrow(50)
	var counted uint64
	closed := map[int64]bool{}
	take := func(list []watch.Closed) {
		t.Helper()
		for _, c := range list {
			if counted += c.Profile.Rows; closed[c.Window] {
				t.Fatalf("the window %d is closed twice", c.Window)
			}
			closed[c.Window] = true
		}
	}
	for batch := range 20 {
		times := make([]int64, rows)
		for i := range times {
			times[i] = now.Add(-time.Duration((batch*rows+i)*7919%20_000) * 24 * time.Hour).UnixMicro()
		}
		times[0] = now.UnixMicro()
		one := f.tally(every)
		one.Narrow(20 + batch%2*200)
		one.Add(f.rows(rows, func(i int) float64 { return float64(i % 100) }), times, now.UnixMicro())
		if total.Merge(one); !total.Full() {
			continue
		}
		f.send(total, watch.Part{By: "m", Latest: watch.Unknown}, b, now)
		if b.Crowded() != (b.Open() > most) {
			t.Errorf("%d windows are open, crowded: %t", b.Open(), b.Crowded())
		}
		take(b.Close(now))
		if total.Full() || b.Open() > most {
			t.Fatalf("%d windows are open", b.Open())
		}
	}
	f.send(total, watch.Part{By: "m", Latest: watch.Unknown}, b, now)
	take(b.Close(now))
	if closed[every.Window(now.UnixMicro())] {
		t.Error("the window of now is closed for those that are long over")
	}
	if b.Open() == 0 || b.Totals().Late == 0 {
		t.Errorf("%d windows open, %d records late: the case is none", b.Open(), b.Totals().Late)
	}
	take(b.CloseAll())
	if got := counted + b.Totals().Late; got != 20*rows {
		t.Errorf("%d records in windows and %d late, want %d", counted, b.Totals().Late, 20*rows)
	}
}

// TestWindowsAhead holds windows that have not begun to make room for those that have.
func TestWindowsAhead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	every := watch.Every{Time: time.Second}
	now := start()
	b := f.board(f.options(every, time.Second), now)
	b.Narrow(500)
	tell := func(ahead, n int) {
		times := make([]int64, n)
		for i := range times {
			times[i] = now.Add(time.Duration(ahead+i) * time.Second).UnixMicro()
		}
		tally := f.tally(every)
		tally.Add(f.rows(n, func(int) float64 { return 1 }), times, now.UnixMicro())
		f.send(tally, watch.Part{By: "m", Latest: now.UnixMicro()}, b, now)
	}
	tell(0, 1)
	for i := range 20 {
		tell(1+i*50, 50)
	}
	if got := len(b.Close(now)); got != 0 || b.Open() != 500 {
		t.Errorf("%d windows are over, %d are open", got, b.Open())
	}
	if got := b.Totals(); got != (watch.Totals{Untimed: 501}) {
		t.Errorf("%+v", got)
	}
}

// TestAwake holds a board that nobody has fed for hours not to take that for silence: what was told meanwhile comes yet.
func TestAwake(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	every := watch.Every{Time: time.Hour}
	b := f.board(f.options(every, 0), start())
	tally := f.tally(every)
	tally.Add(f.rows(5, func(int) float64 { return 1 }), []int64{0, 0, 0, 0, 0}, start().UnixMicro())
	f.send(tally, watch.Part{By: "m", Partition: 1, Latest: 1}, b, start())
	later := start().Add(3 * time.Hour)
	b.Awake(later)
	if n := len(b.Close(later.Add(9 * time.Second))); n != 0 {
		t.Errorf("%d windows are over, before any partition could tell", n)
	}
	f.send(f.tally(every), watch.Part{By: "m", Partition: 1, Latest: 2}, b, later.Add(10*time.Second))
	if n := len(b.Close(later.Add(19 * time.Second))); n != 0 {
		t.Errorf("%d windows are over, the partition is within the first", n)
	}
	if n := len(b.Close(later.Add(20 * time.Second))); n != 1 {
		t.Errorf("%d windows are over, the partition is silent", n)
	}
}
