package stream

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/store"
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
					v := fmt.Sprint(r.Value)
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
