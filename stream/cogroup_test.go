package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// cogrouped declares an aggregation of texts by their keys, of numbers by theirs, and of texts by their values.
func cogrouped(top *stream.Topology) stream.Cogrouped[string, string] {
	str := stream.String()
	texts := stream.From(top, "in", str, str)
	numbers := stream.From(top, "numbers", str, stream.Int64())
	c := stream.Cogroup(stream.GroupByKey(texts), func(_, v, a string) string { return a + "+" + v })
	c = stream.CogroupWith(c, stream.GroupByKey(numbers), func(_ string, v int64, a string) string { return fmt.Sprint(a, "#", v) })
	byValue := stream.GroupBy(texts, str, func(_, v string) string { return v })
	return stream.CogroupWith(c, byValue, func(_, _, a string) string { return a + "*" })
}

func start() string { return "" }

func TestCogroup(t *testing.T) {
	t.Parallel()
	for _, commit := range []bool{false, true} {
		top := stream.New("app")
		var opts []stream.StoreOption
		if commit {
			opts = append(opts, stream.EmitOnCommit())
		}
		stream.AggregateCogroup(cogrouped(top), "all", stream.String(), start, opts...).ToStream().To("out")
		d := streamtest.New(t, top, streamtest.Partitions(3))
		if topics := strings.Join(d.Topics(), " "); !strings.Contains(topics, "app-all-2-repartition") {
			t.Errorf("topics are %s", topics)
		}
		in := streamtest.NewInput(d, "in", stream.String(), stream.String())
		numbers := streamtest.NewInput(d, "numbers", stream.String(), stream.Int64())
		in.Pipe("a", "b", 5)
		numbers.Pipe("b", 7, 3)
		d.LoseState()
		numbers.Pipe("a", 8, 9)
		in.PipeRecord(stream.Record[string, string]{Key: "a", NullValue: true, Timestamp: 10})
		in.PipeRecord(stream.Record[string, string]{NullKey: true, Value: "a", Timestamp: 11})
		var got []string
		for _, r := range streamtest.NewOutput(d, "out", stream.String(), stream.String()).ReadAll() {
			got = append(got, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Timestamp))
		}
		want(t, "aggregates", "a=+b@5 b=*@5 b=*#7@5 a=+b#8@9 a=+b#8*@11", strings.Join(got, " "))
		want(t, "dropped", "select-key-2:null_value*1 all:null_value*1 all:null_key*1", dropped(d))
	}
}

func TestCogroupInWindows(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]stream.WindowOption{nil, {stream.EmitOnClose()}} {
		top := stream.New("app")
		w := stream.Tumbling(ms(10)).Grace(ms(5))
		stream.AggregateCogroupWindows(cogrouped(top), w, "all", stream.String(), start, opts...).ToStream().To("out")
		d := drive(t, top)
		numbers := streamtest.NewInput(d.Driver, "numbers", stream.String(), stream.Int64())
		d.in.Pipe("a", "b", 5)
		numbers.Pipe("a", 7, 14)
		d.Crash()
		numbers.Pipe("a", 8, 9)
		numbers.Pipe("a", 9, 15) // closes the window for all groups
		d.in.Pipe("a", "late", 6)
		if opts == nil {
			want(t, "updates", "a[0,10)=+b@5 b[0,10)=*@5 a[10,20)=#7@14 a[0,10)=+b#8@9 a[10,20)=#7#9@15", d.read())
		} else {
			want(t, "on close", "a[0,10)=+b#8@9 b[0,10)=*@5", d.read())
		}
		want(t, "dropped", "all:late*1 all:late*1", dropped(d.Driver))
	}
}

func TestFaultsOfCogroup(t *testing.T) {
	t.Parallel()
	add := func(_, v, a string) string { return a + v }
	one := func(in texts) stream.Cogrouped[string, string] { return stream.Cogroup(stream.GroupByKey(in), add) }
	expectFaults(t, []faulty{
		{"no add", func(_ *stream.Topology, in texts) {
			stream.Cogroup[string, string, string](stream.GroupByKey(in), nil)
		}, "add is nil"},
		{"no initial", func(_ *stream.Topology, in texts) {
			stream.AggregateCogroup(one(in), "all", stream.String(), nil)
		}, "initial is nil"},
		{"no name", func(_ *stream.Topology, in texts) {
			stream.AggregateCogroup(one(in), "", stream.String(), start)
		}, "no name"},
		{"no codec", func(_ *stream.Topology, in texts) {
			stream.AggregateCogroup(one(in), "all", nil, start)
		}, "no codec of the aggregates"},
		{"another topology", func(_ *stream.Topology, in texts) {
			other := stream.From(stream.New("other"), "in", stream.String(), stream.String())
			stream.AggregateCogroup(stream.CogroupWith(one(in), stream.GroupByKey(other), add), "all", stream.String(), start)
		}, "belongs to another topology"},
		{"no windows", func(_ *stream.Topology, in texts) {
			stream.AggregateCogroupWindows(one(in), nil, "all", stream.String(), start)
		}, "no windows"},
		{"windows without a size", func(_ *stream.Topology, in texts) {
			stream.AggregateCogroupWindows(one(in), stream.Tumbling(0), "all", stream.String(), start)
		}, "is not positive"},
		{"a short retention", func(_ *stream.Topology, in texts) {
			stream.AggregateCogroupWindows(one(in), stream.Tumbling(time.Second), "all", stream.String(), start, stream.Retention(1))
		}, "too short"},
	})
}

// TestCogroupOfNothing: groups that were never declared belong to no topology, which could tell of the fault.
func TestCogroupOfNothing(t *testing.T) {
	t.Parallel()
	none := stream.Cogrouped[string, string]{}
	merge := func(_, a, b string) string { return a + b }
	for name, aggregate := range map[string]func(){
		"by key":     func() { stream.AggregateCogroup(none, "all", stream.String(), start) },
		"in windows": func() { stream.AggregateCogroupWindows(none, stream.Tumbling(ms(10)), "all", stream.String(), start) },
		"in sessions": func() {
			stream.AggregateCogroupSessions(none, stream.Sessions(ms(10)), "all", stream.String(), start, merge)
		},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, "begin it with Cogroup") {
					t.Errorf("%s: %s", name, got)
				}
			}()
			aggregate()
		}()
	}
}

// TestCogroupOfOneStreamTwice adds each record by both functions, the first group's first.
func TestCogroupOfOneStreamTwice(t *testing.T) {
	t.Parallel()
	top := stream.New("app")
	g := stream.GroupByKey(stream.From(top, "in", stream.String(), stream.String()))
	c := stream.Cogroup(g, func(_, v, a string) string { return a + "+" + v })
	c = stream.CogroupWith(c, g, func(_, v, a string) string { return a + "*" + v })
	stream.AggregateCogroup(c, "all", stream.String(), start).ToStream().To("out")
	d := streamtest.New(t, top)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("k", "a", 5)
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	want(t, "updates", "+a +a*a", strings.Join(out.ReadValues(), " "))
}
