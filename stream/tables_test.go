package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// pairOfTables declares two tables and their join.
func pairOfTables() (top *stream.Topology, joined textTable) {
	str := stream.String()
	top = stream.New("tables")
	left := stream.TableFrom(top, "left-rows", "left", str, str)
	right := stream.TableFrom(top, "right-rows", "right", str, str)
	joined = stream.LeftJoinTables(left, right, func(l, r string, _ bool) string { return l + "+" + r }, stream.Named("both")).Values(str)
	return top, joined
}

// TestJoinTablesIsDescribed: a join of tables has no store, and reads those of both sides.
func TestJoinTablesIsDescribed(t *testing.T) {
	t.Parallel()
	top, joined := pairOfTables()
	groups := stream.GroupTable(joined, stream.String(), stream.String(), groupOfRow)
	stream.CountTable(groups, "count")
	in := stream.From(top, "in", stream.String(), stream.String())
	stream.JoinTable(in, joined, "looked-up", func(a, b string) string { return a + b }).To("out")
	d, err := top.Description()
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, e := range d.Edges {
		if e.Kind == stream.EdgeRows {
			rows = append(rows, d.Nodes[e.From].Name+" > "+d.Nodes[e.To].Name)
		}
	}
	slices.Sort(rows)
	if diff := gocmp.Diff([]string{"left-rows > both", "left-rows > looked-up", "right-rows > both", "right-rows > looked-up"}, rows); diff != "" {
		t.Error(diff)
	}
	var stores []string
	for _, s := range d.Stores {
		stores = append(stores, s.Name)
	}
	if diff := gocmp.Diff([]string{"count", "left-rows", "right-rows"}, stores); diff != "" {
		t.Error(diff)
	}
	if !slices.ContainsFunc(d.Topics, func(info stream.TopicInfo) bool { return info.Name == "tables-count-repartition" }) {
		t.Errorf("no repartition topic in %v", d.Topics)
	}
}

// TestJoinTablesNeedsEqualPartitions: rows of one key have to be in one task.
func TestJoinTablesNeedsEqualPartitions(t *testing.T) {
	t.Parallel()
	top, _ := pairOfTables()
	p, err := top.Program()
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Partitions(func(topic string) int { return len(topic) })
	if err == nil || !strings.Contains(err.Error(), "left-join-tables both at tables_test.go:") || !strings.Contains(err.Error(), "equally many partitions") {
		t.Error(err)
	}
}

// TestJoinTablesTimesAndHeaders: a result has the later time, and the headers of the record that led to it.
func TestJoinTablesTimesAndHeaders(t *testing.T) {
	t.Parallel()
	top, joined := pairOfTables()
	joined.ToStream().To("out")
	d := streamtest.New(t, top)
	inputs := map[string]*streamtest.Input[string, string]{}
	for _, topic := range []string{"left", "right"} {
		inputs[topic] = streamtest.NewInput(d, topic, stream.String(), stream.String())
	}
	pipe := func(topic, value string, at int64) {
		inputs[topic].PipeRecord(stream.Record[string, string]{
			Key: "k", Value: value, NullValue: value == "", Timestamp: at, Headers: []stream.Header{{Key: "from", Value: []byte(topic)}},
		})
	}
	pipe("right", "r1", 30) // nothing to join yet
	pipe("left", "l1", 20)
	pipe("left", "l2", 40)
	pipe("right", "r2", 10) // an older update is an update
	pipe("right", "", 5)
	pipe("left", "", 35)
	pipe("left", "", 50) // nothing was there
	var got []string
	for _, r := range streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadAll() {
		got = append(got, fmt.Sprintf("%s@%d from %s", r.Value, r.Timestamp, r.Headers[0].Value))
	}
	want := []string{"l1+r1@30 from left", "l2+r1@40 from left", "l2+r2@40 from right", "l2+@40 from right", "@35 from left"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestJoinWindowsOnClose joins windows that are emitted when they close with ones that are emitted with each record: they
// are joined as they were sent on, so that nothing is counted twice or taken out twice.
func TestJoinWindowsOnClose(t *testing.T) {
	t.Parallel()
	str := stream.String()
	top := stream.New("windows")
	in := stream.From(top, "in", str, str)
	windows := stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(ms(10)))
	closed := stream.CountWindows(windows, "closed", stream.EmitOnClose(), stream.Retention(ms(1000)))
	open := stream.CountWindows(windows, "open", stream.Retention(ms(1000)))
	both := stream.OuterJoinTables(closed, open, func(s stream.Sides[int64, int64]) int64 { return 100*s.Left + s.Right })
	groups := stream.GroupTable(both, str, stream.Int64(), func(w stream.Windowed[string], n int64) (string, int64) { return w.Key, n })
	add := func(a, n int64) int64 { return a + n }
	subtract := func(a, n int64) int64 { return a - n }
	stream.ReduceTable(groups, "sums", add, subtract).ToStream().To("out")
	d := streamtest.New(t, top)
	src := streamtest.NewInput(d, "in", str, str)
	for _, at := range []int64{1, 2, 11, 12, 13, 21, 22, 35} {
		src.Pipe("k", "v", at)
		if at == 12 {
			d.LoseState()
		}
	}
	want := []int64{1, 2, 202, 203, 204, 205, 505, 506, 507, 707, 708}
	got := streamtest.NewOutput(d, "out", str, stream.Int64()).ReadValues()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestGroupedWindows has windows expire, which their groups are not told of; and the groups expire by a TTL.
func TestGroupedWindows(t *testing.T) {
	t.Parallel()
	const n = 100
	groups := func(opts ...stream.StoreOption) (updates []int64, left int) {
		top, text := stream.New("groups"), stream.String()
		windows := stream.CountWindows(stream.WindowedBy(stream.GroupByKey(stream.From(top, "in", text, text)), stream.Tumbling(ms(10))), "windows")
		groups := stream.GroupTable(windows, stream.Int64(), stream.Int64(), func(w stream.Windowed[string], n int64) (int64, int64) { return w.Start, n })
		stream.CountTable(groups, "groups", opts...).ToStream().To("out")
		d := streamtest.New(t, top)
		in, out := streamtest.NewInput(d, "in", text, text), streamtest.NewOutput(d, "out", stream.Int64(), stream.Int64())
		rows := map[int64]bool{}
		for i := range int64(n) {
			in.Pipe("k", "", 1000*i)
		}
		for _, r := range out.ReadAll() {
			if rows[r.Key] = true; r.NullValue {
				delete(rows, r.Key)
				continue
			}
			updates = append(updates, r.Value)
		}
		return updates, len(rows)
	}
	for _, c := range []struct {
		name string
		opts []stream.StoreOption
		min  int
		max  int
	}{{"for ever", nil, n, n}, {"ten seconds", []stream.StoreOption{stream.TTL(10 * time.Second)}, 10, 12}} {
		updates, left := groups(c.opts...)
		if diff := gocmp.Diff(slices.Repeat([]int64{1}, n), updates); diff != "" {
			t.Errorf("%s: counts of the groups: %s", c.name, diff)
		}
		if left < c.min || left > c.max {
			t.Errorf("%s: %d groups are left: want %d to %d", c.name, left, c.min, c.max)
		}
	}
}

// TestGroupsWithTTL: an update that comes late is taken out of a group that is there, and in one that is gone it is dropped.
func TestGroupsWithTTL(t *testing.T) {
	t.Parallel()
	top, text := stream.New("groups"), stream.String()
	rows := stream.TableFrom(top, "rows", "in", text, text)
	groups := stream.GroupTable(rows, text, text, func(_, v string) (string, string) { return v, v })
	stream.CountTable(groups, "groups", stream.TTL(time.Minute)).ToStream().To("out")
	d := streamtest.New(t, top)
	in, out := streamtest.NewInput(d, "in", text, text), streamtest.NewOutput(d, "out", text, stream.Int64())
	counts := func() map[string]int64 { return streamtest.ReadTable(out) }
	const minute = 60_000
	in.Pipe("a", "x", 0)
	in.Pipe("b", "x", 5*minute) // the group of a is gone: it begins anew
	in.Pipe("c", "x", 5*minute)
	in.PipeRecord(stream.Record[string, string]{Key: "c", NullValue: true, Timestamp: minute}) // late, and its group is there
	in.PipeRecord(stream.Record[string, string]{Key: "a", NullValue: true, Timestamp: minute})
	if diff := gocmp.Diff(map[string]int64{"x": 0}, counts()); diff != "" {
		t.Error(diff)
	}
	in.Pipe("d", "y", minute) // late, and its group is not there
	if diff := gocmp.Diff(map[string]int{"groups/late": 1}, d.Dropped()); diff != "" {
		t.Error(diff)
	}
}
