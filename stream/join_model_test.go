package stream_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// event is a record of a test: an update of a left or right side, named by its value.
type event struct {
	left      bool
	key       string // "" is null
	value     string // "" is null
	at        int64
	partition int32
}

func (e event) record() stream.Record[string, string] {
	return stream.Record[string, string]{Key: e.key, Value: e.value, Timestamp: e.at, NullKey: e.key == "", NullValue: e.value == ""}
}

// eventsOf draws records that come somewhat out of order, in units of time of so many milliseconds. The value tells the
// side by its first letter, and is different for each record.
func eventsOf(t *rapid.T, n int, unit int64, partitions int32) []event {
	events := make([]event, n)
	clock := int64(0)
	for i := range events {
		clock += rapid.Int64Range(0, 4).Draw(t, "step") * unit
		if rapid.IntRange(0, 20).Draw(t, "jump") == 0 {
			clock += rapid.SampledFrom([]int64{100 * unit, 25 * 3600_000}).Draw(t, "far")
		}
		e := event{left: rapid.Bool().Draw(t, "left"), at: max(0, clock-rapid.SampledFrom([]int64{0, 0, 0, 1, 3, 9, 25, 60}).Draw(t, "late")*unit)}
		k := rapid.IntRange(0, 5).Draw(t, "key")
		e.partition = int32(k) % partitions
		if k < 5 {
			e.key = string(rune('a' + k))
		}
		if e.value = fmt.Sprintf("r%d", i); e.left {
			e.value = fmt.Sprintf("l%d", i)
		}
		events[i] = e
	}
	return events
}

func side(prefix string) func(string, string) bool {
	return func(_, v string) bool { return strings.HasPrefix(v, prefix) }
}

// result is an output of a test.
type result struct {
	Key, Value string
	Time       int64
}

func (r result) String() string { return fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Time) }

func resultsOf(out *streamtest.Output[string, string]) (list []string) {
	for _, r := range out.ReadAll() {
		k := r.Key
		if r.NullKey {
			k = "-"
		}
		list = append(list, result{k, r.Value, r.Timestamp}.String())
	}
	return list
}

// joinModel is a join of two streams, recomputed from everything that was ever seen on one partition.
type joinModel struct {
	before, after, grace int64
	left, right, early   bool
	seen                 []modelRow
	observed             [2]int64 // right, left
	streamTime, minTime  int64
	out                  []string
	late                 int
}

type modelRow struct {
	event
	seq     int
	kept    bool
	waiting bool
}

func newJoinModel(w stream.JoinWindow, kind string) *joinModel {
	return &joinModel{
		before: w.Before.Milliseconds(), after: w.After.Milliseconds(), grace: w.Grace.Milliseconds(), early: w.EarlyUnmatched,
		left: kind != "inner", right: kind == "outer", streamTime: math.MinInt64, minTime: math.MaxInt64,
		observed: [2]int64{math.MinInt64, math.MinInt64},
	}
}

func index(left bool) int {
	if left {
		return 1
	}
	return 0
}

func pairOf(a, b string, aLeft bool) string {
	if aLeft {
		return a + "+" + b
	}
	return b + "+" + a
}

func (m *joinModel) emit(e event, value string, at int64) {
	m.out = append(m.out, result{cmp.Or(e.key, "-"), value, at}.String())
}

func (m *joinModel) look(left bool) int64 {
	if left {
		return m.after
	}
	return m.before
}

func (m *joinModel) process(e event) {
	outer := e.left && m.left || !e.left && m.right
	m.streamTime = max(m.streamTime, e.at)
	if e.key == "" {
		if outer {
			m.emit(e, pairOf(e.value, "-", e.left), e.at)
		}
		return
	}
	if e.at == m.streamTime && m.minTime != math.MaxInt64 && m.minTime+m.look(e.left)+m.grace < m.streamTime {
		m.close()
	}
	before, after := m.look(!e.left), m.look(e.left)
	lo, hi := max(0, e.at-before), max(0, e.at+after)
	const slack = 24 * 3600_000 // by which one side may be behind the other
	retention := max(0, m.before) + max(0, m.after) + m.grace
	var found []*modelRow
	for i := range m.seen {
		o := &m.seen[i]
		if o.left != e.left && o.kept && o.key == e.key && o.at >= lo && o.at <= hi && o.at+retention > m.observed[index(o.left)] &&
			o.at+retention+slack > m.streamTime {
			found = append(found, o)
		}
	}
	slices.SortStableFunc(found, func(a, b *modelRow) int { return cmp.Compare(a.at, b.at) })
	for _, o := range found {
		o.waiting = false
		m.emit(e, pairOf(e.value, o.value, e.left), max(e.at, o.at))
	}
	r := modelRow{event: e, seq: len(m.seen)}
	if outer && len(found) == 0 {
		end := hi
		if !m.early {
			end += m.grace
		}
		if r.waiting = end >= m.streamTime; r.waiting {
			m.minTime = min(m.minTime, e.at)
		} else {
			m.emit(e, pairOf(e.value, "-", e.left), e.at)
		}
	}
	m.observed[index(e.left)] = max(m.observed[index(e.left)], e.at)
	r.kept = e.at+retention > m.observed[index(e.left)] && e.at+retention+slack > m.streamTime
	if !r.kept && !outer && len(found) == 0 {
		m.late++
	}
	m.seen = append(m.seen, r)
}

// close looks at what waits, as Kafka Streams does.
func (m *joinModel) close() {
	var waiting []*modelRow
	for i := range m.seen {
		if m.seen[i].waiting {
			waiting = append(waiting, &m.seen[i])
		}
	}
	slices.SortStableFunc(waiting, func(a, b *modelRow) int {
		return cmp.Or(cmp.Compare(a.at, b.at), index(a.left)-index(b.left), cmp.Compare(a.key, b.key), a.seq-b.seq)
	})
	m.minTime = math.MaxInt64
	var open [2]bool
	for _, r := range waiting {
		m.minTime = r.at
		if open[0] && open[1] {
			return
		}
		if r.at+m.look(r.left)+m.grace >= m.streamTime {
			open[index(r.left)] = true
			continue
		}
		r.waiting = false
		m.emit(r.event, pairOf(r.value, "-", r.left), r.at)
	}
}

// joinTopology joins two streams, and writes pairs of values, with - for none, to the topic out.
func joinTopology(left, right stream.Stream[string, string], kind string, w stream.JoinWindow) {
	value := func(v string, ok bool) string {
		if !ok {
			return "-"
		}
		return v
	}
	switch kind {
	case "inner":
		stream.JoinStream(left, right, "pairs", w, func(l, r string) string { return l + "+" + r }).To("out")
	case "left":
		stream.LeftJoinStream(left, right, "pairs", w, func(l, r string, ok bool) string { return l + "+" + value(r, ok) }).To("out")
	default:
		stream.OuterJoinStream(left, right, "pairs", w, func(s stream.Sides[string, string]) string {
			return value(s.Left, s.HasLeft) + "+" + value(s.Right, s.HasRight)
		}).To("out")
	}
}

func drawWindow(t *rapid.T, unit int64) stream.JoinWindow {
	d := func(name string, from, to int64) time.Duration {
		return time.Duration(rapid.Int64Range(from, to).Draw(t, name)*unit) * time.Millisecond
	}
	w := stream.JoinWindow{Before: d("before", -3, 20), Grace: d("grace", 0, 12), EarlyUnmatched: rapid.Bool().Draw(t, "early")}
	if w.After = d("after", -3, 20); w.Before+w.After < 0 {
		w.After = -w.Before
	}
	return w
}

// faults draws when the application commits, crashes, loses its state and moves.
type faults struct {
	t          *rapid.T
	d          *streamtest.Driver
	partitions int32
}

func (f *faults) maybe() {
	switch rapid.IntRange(0, 30).Draw(f.t, "fault") {
	case 0:
		f.d.Crash()
	case 1:
		f.d.Rebalance(0, rapid.Int32Range(0, f.partitions-1).Draw(f.t, "moved"))
	case 2:
		f.d.LoseState()
	case 3:
		f.d.Abort()
	case 4, 5, 6, 7:
		f.d.Commit()
	}
}

// byPartition sorts results by the partition of the events that led to them; of each partition they are in order.
func byPartition(results []string, events []event) [][]string {
	of := map[string]int32{}
	n := int32(1)
	for _, e := range events {
		of[e.value] = e.partition
		n = max(n, e.partition+1)
	}
	list := make([][]string, n)
	for _, r := range results {
		_, value, _ := strings.Cut(r, "=")
		value, _, _ = strings.Cut(value, "@")
		l, right, _ := strings.Cut(value, "+")
		p, ok := of[l]
		if !ok {
			p = of[right]
		}
		list[p] = append(list[p], r)
	}
	return list
}

// runWithFaults runs events through an application that fails, and returns what it has written for good.
func runWithFaults(rt *rapid.T, t *testing.T, top *stream.Topology, events []event, partitions int32) ([]string, *streamtest.Driver) {
	opts := []streamtest.Option{streamtest.Partitions(int(partitions)), streamtest.CommitByHand()}
	if rapid.IntRange(0, 19).Draw(rt, "on disk") == 0 {
		opts = append(opts, streamtest.OnDisk())
	}
	d := streamtest.New(t, top, opts...)
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	f := faults{rt, d, partitions}
	for _, e := range events {
		in.PipeTo(e.partition, e.record())
		f.maybe()
	}
	d.Commit()
	return resultsOf(streamtest.NewOutput(d, "out", stream.String(), stream.String())), d
}
