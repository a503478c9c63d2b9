package stream

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// TestExtremeTimes gives operators the first and the last times that there are, and times that are far apart. What they do must not
// depend on how much time lies between.
func TestExtremeTimes(t *testing.T) {
	t.Parallel()
	const far = math.MaxInt64 / 4
	count := func(w Windows, opts ...WindowOption) func(Grouped[string, int64]) Table[Windowed[string], int64] {
		return func(g Grouped[string, int64]) Table[Windowed[string], int64] {
			return CountWindows(WindowedBy(g, w), "counts", append(opts, CacheRows(1))...)
		}
	}
	sessions := func(w SessionWindows, opts ...WindowOption) func(Grouped[string, int64]) Table[Windowed[string], int64] {
		return func(g Grouped[string, int64]) Table[Windowed[string], int64] {
			return CountSessions(WindowedBySessions(g, w), "counts", append(opts, CacheRows(1))...)
		}
	}
	suppressed := func(of func(Grouped[string, int64]) Table[Windowed[string], int64]) func(Grouped[string, int64]) Table[Windowed[string], int64] {
		return func(g Grouped[string, int64]) Table[Windowed[string], int64] {
			return SuppressUntilWindowCloses(of(g), "final", Unbounded())
		}
	}
	for name, of := range map[string]func(Grouped[string, int64]) Table[Windowed[string], int64]{
		"tumbling":            count(Tumbling(time.Minute)),
		"tumbling, on close":  count(Tumbling(time.Minute), EmitOnClose()),
		"longest":             count(Tumbling(longest).Grace(longest), EmitOnClose()),
		"hopping":             count(Hopping(time.Minute, time.Second), EmitOnClose()),
		"sliding":             count(Sliding(time.Minute)),
		"sliding, on close":   count(Sliding(time.Minute), EmitOnClose()),
		"sliding, longest":    count(Sliding(longestSliding).Grace(longestSliding), EmitOnClose()),
		"sessions":            sessions(Sessions(time.Minute)),
		"sessions, on close":  sessions(Sessions(time.Minute), EmitOnClose()),
		"sessions, longest":   sessions(Sessions(longest).Grace(longest), EmitOnClose()),
		"sessions, kept":      sessions(Sessions(time.Minute), EmitOnClose(), Retention(2*longest)),
		"sessions, on commit": sessions(Sessions(time.Minute), EmitOnCommit()),
		"suppressed":          suppressed(count(Tumbling(time.Minute))),
		"suppressed sliding":  suppressed(count(Sliding(time.Minute))),
		"suppressed sessions": suppressed(sessions(Sessions(time.Minute))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			last := map[string]int64{}
			top := New("extreme")
			of(GroupByKey(From(top, "in", String(), Int64()))).ToStream().Foreach(func(r *Record[Windowed[string], int64]) {
				last[r.Key.Key] = max(last[r.Key.Key], r.Value)
			})
			d := drive(t, top)
			send := func(key string, at int64) {
				noError(t, first[string, int64](d).send(&Record[string, int64]{Key: key, Value: 1, Timestamp: at}))
			}
			for i := range 20 { // keys of which the cache has one
				send(fmt.Sprint("old", i), 0)
				send(fmt.Sprint("old", i), int64(i))
			}
			d.commit()
			for _, at := range []int64{-1, math.MinInt64, math.MaxInt64, math.MaxInt64 - 1} {
				send("never", at)
			}
			if d.output.drops != 4 {
				t.Errorf("%d records are dropped", d.output.drops)
			}
			send("new", far)
			send("new", far)
			send("old0", 1)
			if d.output.drops == 4 {
				t.Error("a record that is much too late is not dropped")
			}
			d.commit()
			d = resume(t, top, d.output.logs)
			send("newest", 2*far)
			send("newest", 2*far)
			send("end", 3*far)
			d.commit()
			for i := range 20 {
				if n := last[fmt.Sprint("old", i)]; n != 2 {
					t.Errorf("a window of old%d has %d records", i, n)
				}
			}
			if last["new"] != 2 || last["newest"] != 2 || last["never"] != 0 {
				t.Errorf("got %v", last)
			}
		})
	}
}
