package stream

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// TestRedeclared goes on with the state of a program that has declared an operator otherwise.
func TestRedeclared(t *testing.T) {
	t.Parallel()
	const msec = time.Millisecond
	type declare func(g Grouped[string, int64], opts ...WindowOption) Table[Windowed[string], int64]
	windows := func(w Windows) declare {
		return func(g Grouped[string, int64], opts ...WindowOption) Table[Windowed[string], int64] {
			return CountWindows(WindowedBy(g, w), "counts", opts...)
		}
	}
	sessions := func(w SessionWindows) declare {
		return func(g Grouped[string, int64], opts ...WindowOption) Table[Windowed[string], int64] {
			return CountSessions(WindowedBySessions(g, w), "counts", opts...)
		}
	}
	with := func(of declare, with ...WindowOption) declare {
		return func(g Grouped[string, int64], opts ...WindowOption) Table[Windowed[string], int64] {
			return of(g, append(opts, with...)...)
		}
	}
	sliding, tumbling, session := windows(Sliding(10*msec)), windows(Tumbling(10*msec)), sessions(Sessions(10*msec))
	for _, c := range []struct {
		name      string
		was, is   declare
		first     []int64 // times of records of k
		forgotten bool    // the changelog has lost what was written when the task began
		then      string  // key@time
		want      string
	}{
		{"sliding, on close", sliding, with(sliding, EmitOnClose()), []int64{100, 105}, false, "x@200", "k[95,105]=2 k[101,111]=1"},
		{"tumbling, on close", tumbling, with(tumbling, EmitOnClose()), []int64{100, 105}, false, "x@200", "k[100,110]=2"},
		{"session, on close", session, with(session, EmitOnClose()), []int64{100, 105}, false, "x@200", "k[100,105]=2"},
		{"sliding, no longer on close", with(sliding, EmitOnClose()), sliding, []int64{100, 105}, false, "k@106", "k[96,106]=3 k[101,111]=2 k[106,116]=1"},
		{"tumbling, no longer on close", with(tumbling, EmitOnClose()), tumbling, []int64{100, 105}, false, "k@106", "k[100,110]=3"},
		{"session, no longer on close", with(session, EmitOnClose()), session, []int64{100, 105}, false, "k@106", "k[100,105]=null k[100,106]=3"},
		{"sliding, on commit", sliding, with(sliding, EmitOnCommit()), []int64{100, 105}, false, "k@105", "k[95,105]=3 k[101,111]=2"},
		{"session, on commit", session, with(session, EmitOnCommit()), []int64{100, 105}, false, "k@106", "k[100,105]=null k[100,106]=3"},
		{"session, longer gap", session, sessions(Sessions(time.Minute)), []int64{100, 120, 140}, false, "k@150", "k[140,140]=null k[140,150]=2"},
		{"session, longer grace", session, sessions(Sessions(10 * msec).Grace(time.Minute)), []int64{100, 105}, false, "k@106", "k[100,105]=null k[100,106]=3"},
		{"session, shorter gap", sessions(Sessions(time.Minute)), sessions(Sessions(msec)), []int64{100, 200}, false, "k@200", "k[100,200]=null k[100,200]=3"},
		{"session, another retention", session, with(session, Retention(time.Hour)), []int64{9_999_990, 10_000_000}, true, "k@10000001", "k[9999990,10000000]=null k[9999990,10000001]=3"},
		{"sliding, another retention", sliding, with(sliding, Retention(time.Hour)), []int64{9_999_999, 10_000_000}, true, "k@10000000", "k[9999990,10000000]=3 k[10000000,10000010]=2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out []string
			program := func(of declare) *Topology {
				top := New("redeclared")
				of(GroupByKey(From(top, "in", String(), Int64()))).ToStream().Foreach(func(r *Record[Windowed[string], int64]) {
					v := strconv.FormatInt(r.Value, 10)
					if r.NullValue {
						v = "null"
					}
					if r.Key.Key == "k" {
						out = append(out, fmt.Sprintf("k[%d,%d]=%s", r.Key.Start, r.Key.End, v))
					}
				})
				return top
			}
			d := drive(t, program(c.was))
			for _, at := range c.first {
				noError(t, first[string, int64](d).send(&Record[string, int64]{Key: "k", Timestamp: at}))
			}
			d.commit()
			out = nil
			logs := d.output.logs
			if c.forgotten {
				logs["counts"] = slices.DeleteFunc(logs["counts"], func(e store.Entry) bool { return string(e.Key) == string([]byte{prefixMeta, metaSegments}) })
			}
			d = resume(t, program(c.is), logs)
			if strings.Contains(c.name, "no longer") {
				noError(t, d.task.Store("counts").Scan([]byte{prefixWaiting}, []byte{prefixWaiting + 1}, func(k, _ []byte) (bool, error) {
					t.Errorf("an entry is left: %x", k)
					return true, nil
				}))
			}
			r := Record[string, int64]{}
			_, err := fmt.Sscanf(strings.Replace(c.then, "@", " ", 1), "%s %d", &r.Key, &r.Timestamp)
			noError(t, err)
			noError(t, first[string, int64](d).send(&r))
			d.commit()
			if got := strings.Join(out, " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestSmallerBuffer goes on with rows that wait, of which the buffer has no room for any more, or which wait too long now.
func TestSmallerBuffer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		buffer Buffer
		wait   time.Duration
		want   string
		stops  bool
	}{
		{"emit", MaxRecords(2), time.Hour, "a b c d", false},
		{"emit bytes", MaxBytes(18), time.Hour, "a b c d", false},
		{"none", MaxRecords(0), time.Hour, "a b c d e f", false},
		{"stop", MaxRecords(2).ShutDownWhenFull(), time.Hour, "", true},
		{"stop, with most of them due", MaxRecords(2).ShutDownWhenFull(), 3 * time.Millisecond, "a b c d", false},
		{"shorter wait", Unbounded(), 3 * time.Millisecond, "a b c d", false},
		{"longer wait", Unbounded(), 2 * time.Hour, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out []string
			program := func(wait time.Duration, buffer Buffer) *Topology {
				top := New("smaller")
				rows := TableFrom(top, "rows", "in", String(), Int64())
				SuppressUntilTimeLimit(rows, "waiting", wait, buffer).ToStream().Foreach(func(r *Record[string, int64]) { out = append(out, r.Key) })
				return top
			}
			send := func(d *driven, key string, at int64) error {
				d.task.Add(0, &raws{[]record.Raw{{Topic: "in", Key: []byte(key), Value: make([]byte, 8), Timestamp: at}}})
				_, err := d.task.Process(10)
				return err
			}
			d := drive(t, program(time.Hour, Unbounded()))
			for i, key := range []string{"a", "b", "c", "d", "e"} {
				noError(t, send(d, key, int64(i)))
			}
			d.commit()
			logs := d.output.logs
			for range 2 { // what has ended ends again
				d, out = resume(t, program(c.wait, c.buffer), logs), nil
				d.commit()
				if len(out) > 0 {
					t.Errorf("%v is sent on before there is a record", out)
				}
				err := send(d, "f", 6)
				if got := strings.Join(out, " "); got != c.want || (err != nil) != c.stops {
					t.Errorf("got %s, %v, want %s", got, err, c.want)
				}
				if err != nil && !strings.Contains(err.Error(), "6 rows of 54 bytes wait, and its limit is 2 rows. Raise that with WithMaxRecords") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

// TestOtherWindowsAreRefused goes on with rows of windows that are declared otherwise, also long after the first one was written.
func TestOtherWindowsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		was, is Windows
		want    string
	}{
		{"size", Tumbling(time.Minute), Tumbling(time.Hour), "counts: the windows in its store take 1m0s and begin every 1m0s, those declared take 1h0m0s and begin every 1h0m0s: give the aggregation another name"},
		{"advance", Hopping(time.Minute, time.Second), Tumbling(time.Minute), "begin every 1s, those declared take 1m0s and begin every 1m0s"},
		{"difference", Sliding(time.Minute), Sliding(time.Second), "take 1m0s and begin every 1ms, those declared take 1s"},
		{"kind", Tumbling(time.Minute), Sliding(time.Minute), "begin every 1m0s, those declared take 1m0s and begin every 1ms"},
		{"grace", Sliding(time.Minute), Sliding(time.Minute).Grace(time.Hour), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program := func(w Windows) *Topology {
				top := New("others")
				CountWindows(WindowedBy(GroupByKey(From(top, "in", String(), Int64())), w), "counts")
				return top
			}
			d := drive(t, program(c.was))
			half := 0
			for i := range int64(20) {
				at(d, i*60_000)
				if d.commit(); i == 9 {
					half = len(d.output.logs["counts"])
				}
			}
			d.output.logs["counts"] = d.output.logs["counts"][half:] // the changelog has forgotten the first
			err := restarts(t, program(c.is), d.output.logs)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// restarts returns the error with which the task of a topology starts that has the state of changelogs.
func restarts(t *testing.T, top *Topology, logs map[string][]store.Entry) error {
	t.Helper()
	p, err := top.Program()
	noError(t, err)
	db, err := store.Open("", store.Options{})
	noError(t, err)
	state, err := db.Task("0_0")
	noError(t, err)
	x, err := task.New(p, task.ID{}, task.Env{Context: t.Context(), Output: nowhere{}, State: state, Now: time.Now, Log: slog.New(slog.DiscardHandler), Wake: func() {}})
	noError(t, err)
	for name, log := range logs {
		noError(t, state.Restore(name, log, int64(len(log))))
	}
	err = x.Start()
	x.Close()
	noError(t, state.Close())
	noError(t, db.Close())
	return err
}
