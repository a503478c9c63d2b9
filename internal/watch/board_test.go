package watch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/watch"
	"millrace.dev/profile"
	"millrace.dev/record"
)

func start() time.Time { return time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC) }

// fixture is a column of numbers, and the profile of some.
type fixture struct {
	t         *testing.T
	schema    *record.Schema
	layout    profile.Layout
	reference *profile.Profile
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	s, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, schema: s, layout: profile.NewLayout(s, nil, "")}
	survey := profile.NewSurvey(f.layout)
	survey.Add(0, f.rows(100, func(i int) float64 { return float64(i) }))
	f.reference = survey.Profile()
	return f
}

func (f *fixture) rows(n int, x func(int) float64) *profile.Rows {
	b := record.NewBatch(f.schema, nil)
	for i := range n {
		b.Append(record.Raw{})
		b.Numbers(0)[i] = x(i)
	}
	return &profile.Rows{Batch: b}
}

func (f *fixture) options(every watch.Every, grace time.Duration) watch.Options {
	return watch.Options{Every: every, Grace: grace, By: "m", Reference: f.reference, Layout: f.layout}
}

func (f *fixture) tally(every watch.Every) *watch.Tally {
	t, err := watch.NewTally(every, f.reference, f.layout)
	if err != nil {
		f.t.Fatal(err)
	}
	return t
}

func (f *fixture) board(o watch.Options, now time.Time) *watch.Board {
	b, err := watch.NewBoard(o, now)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// send takes the parts of a tally to a board, as bytes.
func (f *fixture) send(t *watch.Tally, of watch.Part, b *watch.Board, now time.Time) {
	err := t.Parts(of, func(p *watch.Part) error {
		bytes, err := p.AppendBinary(nil)
		if err != nil {
			return err
		}
		var back watch.Part
		if err := back.UnmarshalBinary(bytes); err != nil {
			return err
		}
		return b.Take(&back, now)
	})
	if err != nil {
		f.t.Fatal(err)
	}
	t.Reset()
}

// again writes a board down and makes another of that, as after a restart.
func (f *fixture) again(b *watch.Board, o watch.Options, stored map[string][]byte, now time.Time) *watch.Board {
	err := b.Changes(func(key string, value []byte) error {
		if stored[key] = value; value == nil {
			delete(stored, key)
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	next := f.board(o, now)
	for key, value := range stored {
		if err := next.Restore(key, value, now); err != nil {
			f.t.Fatal(err)
		}
	}
	return next
}

// TestWindowsOfParts holds windows to the same counts however their records are dealt out to batches, partitions and
// instances, whatever restarts there are, as long as none is late.
func TestWindowsOfParts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	every := watch.Every{Time: time.Minute}
	const n = 4000
	times, values := make([]int64, n), make([]float64, n)
	for i := range times {
		times[i] = start().Add(time.Duration(i) * 100 * time.Millisecond).Add(-time.Duration(rng.IntN(20)) * time.Second).UnixMicro()
		values[i] = 200*rng.Float64() - 50
	}
	var want []string
	for turn := range 6 {
		o := f.options(every, 30*time.Second)
		now := start()
		board, stored := f.board(o, now), map[string][]byte{}
		tallies := []*watch.Tally{f.tally(every), f.tally(every), f.tally(every)}
		latest := []int64{watch.Unknown, watch.Unknown, watch.Unknown}
		var got []string
		take := func(list []watch.Closed) {
			for _, c := range list {
				text, err := json.Marshal(c.Profile)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(c.Window, c.From, c.To, string(text)))
			}
		}
		for from := 0; from < n; {
			size := min(1+rng.IntN(50), n-from)
			now = start().Add(time.Duration(from) * 100 * time.Millisecond)
			p := rng.IntN(1 + turn%3)
			tallies[p].Add(f.rows(size, func(i int) float64 { return values[from+i] }), times[from:from+size], now.UnixMicro())
			for _, at := range times[from : from+size] {
				latest[p] = max(latest[p], at)
			}
			from += size
			if rng.IntN(3) == 0 {
				for k, tally := range tallies {
					if !tally.Empty() {
						f.send(tally, watch.Part{By: "m", Partition: int32(k), Latest: latest[k]}, board, now)
					}
				}
				take(board.Close(now))
			}
			if rng.IntN(20) == 0 {
				board = f.again(board, o, stored, now)
			}
		}
		for k, tally := range tallies {
			f.send(tally, watch.Part{By: "m", Partition: int32(k), Latest: latest[k]}, board, now)
		}
		take(board.Close(now.Add(5 * time.Minute)))
		if board.Open() != 0 || board.Totals() != (watch.Totals{}) {
			t.Fatalf("seed %d: %d windows are open, %+v", seed, board.Open(), board.Totals())
		}
		if turn == 0 {
			want = got
			if len(want) < 6 {
				t.Fatalf("%d windows", len(want))
			}
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d, turn %d: %s", seed, turn, diff)
		}
	}
}

func TestWhenWindowsAreOver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	every := watch.Every{Time: time.Minute}
	o := f.options(every, 10*time.Second)
	at := func(s float64) int64 { return start().Add(time.Duration(s * float64(time.Second))).UnixMicro() }
	clock := func(s int) time.Time { return start().Add(time.Duration(s) * time.Second) }
	send := func(b *watch.Board, partition int32, latest float64, window float64, now int) {
		t.Helper()
		tally := f.tally(every)
		tally.Add(f.rows(1, func(int) float64 { return 1 }), []int64{at(window)}, clock(now).UnixMicro())
		f.send(tally, watch.Part{By: "m", Partition: partition, Latest: at(latest)}, b, clock(now))
	}
	closed := func(b *watch.Board, now int) int { t.Helper(); return len(b.Close(clock(now))) }

	b := f.board(o, clock(0))
	send(b, 0, 5, 5, 5)
	send(b, 1, 30, 30, 30)
	send(b, 0, 75, 75, 75)
	if n := closed(b, 75); n != 1 {
		t.Errorf("partition 1 is silent for 45 s, and does not hold up the first window: %d are over", n)
	}
	send(b, 1, 50, 50, 76)
	if late := b.Totals().Late; late != 1 {
		t.Errorf("a record of a window that is over: %d late", late)
	}
	send(b, 0, 140, 140, 140)
	send(b, 1, 100, 100, 140)
	if n := closed(b, 140); n != 0 {
		t.Errorf("partition 1 is within the second window: %d are over", n)
	}
	send(b, 1, 129, 129, 141)
	if n := closed(b, 141); n != 0 {
		t.Errorf("the grace is not over: %d are over", n)
	}
	send(b, 1, 130, 129, 141)
	if n := closed(b, 141); n != 1 {
		t.Errorf("both are beyond the second window: %d are over", n)
	}
	if n := closed(b, 152); n != 0 {
		t.Errorf("all are silent, the clock is within the third: %d are over", n)
	}
	if n := closed(b, 190); n != 1 || b.Open() != 0 {
		t.Errorf("all are silent, the clock is beyond the third: %d are over", n)
	}

	b = f.board(o, clock(0))
	send(b, 0, 500, 5, 1)
	if n := closed(b, 9); n != 0 {
		t.Errorf("a board that has begun only now waits for other partitions: %d are over", n)
	}
	if n := closed(b, 10); n != 0 {
		t.Errorf("no partition is beyond the clock: %d are over", n)
	}

	b = f.board(o, clock(0))
	tally := f.tally(every)
	tally.Add(f.rows(3, func(int) float64 { return 1 }), []int64{record.MissingTime, at(0) + 48*3600e6, at(-90)}, at(1))
	f.send(tally, watch.Part{By: "m", Latest: watch.Unknown}, b, clock(1))
	f.send(f.tally(every), watch.Part{By: "other"}, b, clock(1))
	if got, want := b.Totals(), (watch.Totals{Untimed: 2, Foreign: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	list := b.Close(clock(30))
	if len(list) != 1 || list[0].Profile.Rows != 1 || list[0].From != at(-120) || list[0].To != at(-60) {
		t.Errorf("%+v", list)
	}
}

func TestWindowsOfRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	every := watch.Every{Records: 100}
	b := f.board(f.options(every, 0), start())
	tally, over := f.tally(every), []uint64{}
	for range 25 {
		tally.Add(f.rows(30, func(int) float64 { return 1 }), make([]int64, 30), 0)
		f.send(tally, watch.Part{By: "m", Latest: watch.Unknown}, b, start())
		for _, c := range b.Close(start()) {
			over = append(over, c.Profile.Rows)
		}
	}
	if diff := cmp.Diff([]uint64{120, 120, 120, 120, 120, 120}, over); diff != "" || b.Open() != 1 {
		t.Error(diff, b.Open())
	}
	if rest := b.CloseAll(); len(rest) != 1 || rest[0].Profile.Rows != 30 {
		t.Errorf("the rest: %+v", rest)
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.options(watch.Every{Time: time.Minute}, 0)
	b := f.board(o, start())
	for key, value := range map[string]string{"marks": "\x01m\xff", "window/1": "\x01mxyz", "window/x": "\x01m\x01", "": "", "mark": "\x7f"} {
		if err := b.Restore(key, []byte(value), start()); err == nil || errors.Is(err, watch.ErrForeign) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if err := b.Restore("marks", []byte("\x01n\x00"), start()); !errors.Is(err, watch.ErrForeign) {
		t.Error(err)
	}
	if err := b.Take(&watch.Part{By: "m", Counts: []byte{9}}, start()); !errors.Is(err, profile.ErrCounter) {
		t.Error(err)
	}
}

func FuzzPart(f *testing.F) {
	b, _ := (&watch.Part{By: "sha256:00", Partition: 3, Latest: 5, Untimed: 2, Window: -7, Counts: []byte("x")}).AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, back watch.Part
		if p.UnmarshalBinary(b) != nil {
			return
		}
		out, _ := p.AppendBinary(nil) // it never fails
		if err := back.UnmarshalBinary(out); err != nil || !cmp.Equal(p, back) {
			t.Errorf("%v %+v %+v", err, p, back)
		}
	})
}
