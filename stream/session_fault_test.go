package stream_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// sessionCase is a random aggregation in sessions with its input.
type sessionCase struct {
	gap, grace int64
	emit       string
	retention  int64 // beyond gap and grace; -1 is none
	cached     int
	records    []windowRecord
}

func drawSessionCase(t *rapid.T) sessionCase {
	// With the longer unit times are in many segments of the store.
	unit := rapid.SampledFrom([]int64{1, 20_000}).Draw(t, "unit")
	c := sessionCase{gap: unit * rapid.Int64Range(1, 8).Draw(t, "gap"), grace: unit * rapid.Int64Range(0, 12).Draw(t, "grace")}
	c.emit = rapid.SampledFrom([]string{"update", "commit", "close"}).Draw(t, "emit")
	c.retention = unit * rapid.SampledFrom([]int64{-1, 0, 10, 100}).Draw(t, "retention")
	c.cached = rapid.SampledFrom([]int{1, 2, 100}).Draw(t, "cached")
	var now [windowPartitions]int64
	for i := range rapid.IntRange(1, 50).Draw(t, "records") {
		r := windowRecord{partition: rapid.Int32Range(0, windowPartitions-1).Draw(t, "partition"), value: strconv.Itoa(i)}
		r.key = fmt.Sprintf("%d%s", r.partition, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"))
		now[r.partition] += unit * rapid.OneOf(rapid.Int64Range(0, 4), rapid.Just(int64(60))).Draw(t, "step")
		r.at = max(0, now[r.partition]-unit*rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 30)).Draw(t, "delay"))
		c.records = append(c.records, r)
	}
	return c
}

func (c *sessionCase) topology() *stream.Topology {
	opts := []stream.WindowOption{stream.CacheRows(c.cached)}
	switch c.emit {
	case "commit":
		opts = append(opts, stream.EmitOnCommit())
	case "close":
		opts = append(opts, stream.EmitOnClose())
	}
	if c.retention >= 0 {
		opts = append(opts, stream.Retention(ms(c.gap+c.grace+c.retention)))
	}
	return sessions(stream.Sessions(ms(c.gap)).Grace(ms(c.grace)), opts...)
}

// sessions declares a topology that joins the values of sessions by "+", and sessions by "/", and writes them to out.
func sessions(w stream.SessionWindows, opts ...stream.WindowOption) *stream.Topology {
	top := stream.New("sessions")
	sessionsOf(stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String())), w, opts...).ToStream().To("out")
	return top
}

func sessionsOf(g stream.Grouped[string, string], w stream.SessionWindows, opts ...stream.WindowOption) stream.Table[stream.Windowed[string], string] {
	return stream.AggregateSessions(stream.WindowedBySessions(g, w), "joined", stream.String(),
		func() string { return "" },
		func(_, v, a string) string { return a + "+" + v },
		func(_, a, b string) string { return a + "/" + b }, opts...)
}

// modelSession is a session as a model has it, in a list of all that there ever were.
type modelSession struct {
	key        string
	start, end int64
	value      string
	emitted    bool
}

func (s *modelSession) show(null bool) string {
	r := stream.Record[stream.Windowed[string], string]{
		Key: stream.Windowed[string]{Key: s.key, Start: s.start, End: s.end}, Value: s.value, Timestamp: s.end, NullValue: null,
	}
	return show(r)
}

// expect goes over the records with lists, and returns the output of each partition and the number of drops.
func (c *sessionCase) expect() (out [windowPartitions][]string, late int) {
	for p := range out {
		var all []modelSession
		streamTime := int64(-1)
		for _, r := range c.records {
			if int(r.partition) != p {
				continue
			}
			before := streamTime
			streamTime = max(streamTime, r.at)
			isJoined := func(s modelSession) bool {
				return s.key == r.key && s.start-c.gap <= r.at && r.at <= s.end+c.gap && (s.end > before-c.gap-c.grace || before < 0)
			}
			now := modelSession{key: r.key, start: r.at, end: r.at}
			var lines []string
			for _, s := range all {
				if isJoined(s) {
					now.start, now.end, now.value = min(now.start, s.start), max(now.end, s.end), now.value+"/"+s.value
					lines = append(lines, s.show(true))
				}
			}
			if now.end < streamTime-c.gap-c.grace {
				late++
			} else {
				now.value += "+" + r.value
				if now.start == now.end { // the same row
					lines = nil
				}
				all = slices.DeleteFunc(all, func(s modelSession) bool {
					return isJoined(s) || s.key == now.key && s.start == now.start && s.end == now.end
				})
				all = append(all, now)
				slices.SortFunc(all, func(a, b modelSession) int {
					return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.key, b.key), cmp.Compare(a.start, b.start))
				})
				if lines = append(lines, now.show(false)); c.emit != "close" {
					out[p] = append(out[p], lines...)
				}
			}
			for i := range all {
				if s := &all[i]; c.emit == "close" && !s.emitted && s.end < streamTime-c.gap-c.grace {
					s.emitted = true
					out[p] = append(out[p], s.show(false))
				}
			}
		}
	}
	return out, late
}

// TestSessionsSurviveFaults compares sessions with those of a slow model, while the application crashes, rounds are undone
// and tasks move.
func TestSessionsSurviveFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := drawSessionCase(rt)
		opts := []streamtest.Option{streamtest.Partitions(windowPartitions)}
		if rapid.Bool().Draw(rt, "by hand") {
			opts = append(opts, streamtest.CommitByHand())
		}
		d := drive(t, c.topology(), opts...)
		for _, r := range c.records {
			disturb(rt, d.Driver)
			d.in.PipeTo(r.partition, stream.Record[string, string]{Key: r.key, Value: r.value, Timestamp: r.at})
		}
		d.Commit()
		d.Crash()
		d.Commit()
		wanted, late := c.expect()
		compareWindows(rt, d, c.emit == "commit", wanted, late)
	})
}

// TestSessionsOfIdleTasks closes sessions when no records come, also after a restart in which none came either.
func TestSessionsOfIdleTasks(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return start.Add(d).UnixMilli() }
	for _, fault := range []string{"", "crash", "rebalance", "lose state"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			top := stream.New("idle", stream.IdleTimeout(time.Minute))
			in := stream.From(top, "in", stream.String(), stream.String())
			sessionsOf(stream.GroupByKey(in), stream.Sessions(time.Minute).Grace(10*time.Second), stream.EmitOnClose()).ToStream().To("out")
			d := drive(t, top, streamtest.StartAt(start))
			d.in.Pipe("k", "a", at(0))
			d.in.Pipe("k", "b", at(time.Second))
			d.Advance(30 * time.Second)
			switch fault {
			case "crash":
				d.Crash()
			case "rebalance":
				d.Rebalance(0, 0)
			case "lose state":
				d.LoseState()
			}
			d.Advance(90 * time.Second)
			want(t, "before stream time has passed the grace", "", d.read())
			d.Advance(time.Minute)
			want(t, "after it", fmt.Sprintf("k[%d,%d)=/+a+b@%d", at(0), at(time.Second), at(time.Second)), d.read())
			d.Rebalance(0, 0)
			d.in.Pipe("k", "late", at(2*time.Second))
			d.in.Pipe("k", "c", at(90*time.Second))
			d.Advance(10 * time.Minute)
			want(t, "then", fmt.Sprintf("k[%d,%d)=+c@%d", at(90*time.Second), at(90*time.Second), at(90*time.Second)), d.read())
			want(t, "dropped", "joined:late*1", dropped(d.Driver))
		})
	}
}
