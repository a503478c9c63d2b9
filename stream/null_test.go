package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

type text = stream.Stream[string, string]

// TestNulls sends a record, one without a key and one without a value through each operator.
func TestNulls(t *testing.T) {
	t.Parallel()
	str := stream.String()
	passes := []string{"k=V", "null=V", "k=null"}
	table := func(top *stream.Topology) stream.Table[string, string] {
		return stream.TableFrom(top, "rows", "rows", str, str)
	}
	global := func(top *stream.Topology) stream.GlobalTable[string, string] {
		return stream.GlobalTableFrom(top, "rows", "rows", str, str)
	}
	upper := strings.ToUpper
	both := func(a, b string) string { return upper(a) + b }
	left := func(a, b string, ok bool) string { return fmt.Sprint(upper(a), b, " ", ok) }
	change := func(_, v string) (string, string) { return "k", upper(v) }
	never := func(k, v string) string {
		if v == "" {
			t.Errorf("a function has seen no value, with key %q", k)
		}
		return "k"
	}
	byKey := stream.GroupByKey[string, string]
	window := stream.Symmetric(time.Millisecond)
	for name, c := range map[string]struct {
		build   func(top *stream.Topology, s text) text
		want    []string
		dropped string // class, of how many
	}{
		"Filter": {func(_ *stream.Topology, s text) text {
			return s.Filter(func(_, v string) bool { return never("", v) != "" })
		}, []string{"k=v", "null=v", "k=null"}, ""},
		"FilterNot": {func(_ *stream.Topology, s text) text {
			return s.FilterNot(func(_, v string) bool { return never("", v) == "" })
		}, []string{"k=v", "null=v", "k=null"}, ""},
		"Peek":      {func(_ *stream.Topology, s text) text { return s.Peek(func(*stream.Record[string, string]) {}) }, []string{"k=v", "null=v", "k=null"}, ""},
		"MapValues": {func(_ *stream.Topology, s text) text { return stream.MapValues(s, upper) }, passes, ""},
		"MapValuesWithKey": {func(_ *stream.Topology, s text) text {
			return stream.MapValuesWithKey(s, func(k, v string) string { return k + upper(v) })
		}, []string{"k=kV", "null=V", "k=null"}, ""},
		"FlatMapValues": {func(_ *stream.Topology, s text) text {
			return stream.FlatMapValues(s, func(v string) []string { return []string{upper(v)} })
		}, passes, ""},
		"FlatMapValuesWithKey": {func(_ *stream.Topology, s text) text {
			return stream.FlatMapValuesWithKey(s, func(k, v string) []string { return []string{k, upper(v)} })
		}, []string{"k=k", "k=V", "null=", "null=V", "k=null"}, ""},
		"TryMapValues": {func(_ *stream.Topology, s text) text {
			return stream.TryMapValues(s, func(_ context.Context, v string) (string, error) { return upper(v), nil })
		}, passes, ""},
		"TryMapValuesWithKey": {func(_ *stream.Topology, s text) text {
			return stream.TryMapValuesWithKey(s, func(_ context.Context, k, v string) (string, error) { return k + upper(v), nil })
		}, []string{"k=kV", "null=V", "k=null"}, ""},
		"Merge": {func(_ *stream.Topology, s text) text {
			return s.Merge(s.Filter(func(_, _ string) bool { return false }))
		}, []string{"k=v", "null=v", "k=null", "k=null"}, ""},
		"Map":       {func(_ *stream.Topology, s text) text { return stream.Map(s, change) }, []string{"k=V", "k=V"}, "null_value 1"},
		"SelectKey": {func(_ *stream.Topology, s text) text { return stream.SelectKey(s, never) }, []string{"k=v", "k=v"}, "null_value 1"},
		"FlatMap": {func(_ *stream.Topology, s text) text {
			return stream.FlatMap(s, func(k, v string) []stream.KeyValue[string, string] {
				return []stream.KeyValue[string, string]{stream.KV(never(k, v), v)}
			})
		}, []string{"k=v", "k=v"}, "null_value 1"},
		"Split": {func(_ *stream.Topology, s text) text {
			return s.Split("split", stream.Branch[string, string]{When: func(k, v string) bool { return never(k, v) != "" }})[0]
		}, []string{"k=v", "null=v"}, "null_value 1"},
		"Repartition":                {func(_ *stream.Topology, s text) text { return s.Repartition("again") }, []string{"k=v", "k=null"}, "null_key 1"},
		"Repartition with null keys": {func(_ *stream.Topology, s text) text { return s.Repartition("again", stream.KeepNullKeys()) }, []string{"k=v", "null=v", "k=null"}, ""},
		"MapBatch": {func(_ *stream.Topology, s text) text {
			return stream.MapBatch(s, "batch", func(_ context.Context, b *stream.Batch[string, string, string]) error {
				for i := range b.In {
					b.Out[i].Value, b.Out[i].Null = fmt.Sprint(b.In[i].NullKey, b.In[i].NullValue), b.In[i].NullKey
				}
				return nil
			}, stream.BatchOptions{})
		}, []string{"k=false false", "null=null", "k=false true"}, ""},
		"Process": {
			func(_ *stream.Topology, s text) text {
				return stream.Process(s, "forward", func() stream.Processor[string, string, string, string] { return &passOn{} })
			},
			[]string{"k=v", "null=v", "k=null"},
			"",
		},
		"JoinTable":     {func(top *stream.Topology, s text) text { return stream.JoinTable(s, table(top), "join", both) }, []string{"k=Vrow"}, "null_key 1 null_value 1"},
		"LeftJoinTable": {func(top *stream.Topology, s text) text { return stream.LeftJoinTable(s, table(top), "join", left) }, []string{"k=Vrow true", "null=V false"}, "null_value 1"},
		"JoinGlobal": {func(top *stream.Topology, s text) text {
			return stream.JoinGlobal(s, global(top), func(k, _ string) (string, bool) { return k, k != "" }, both)
		}, []string{"k=Vrow"}, "null_key 1 null_value 1"},
		"LeftJoinGlobal": {func(top *stream.Topology, s text) text {
			return stream.LeftJoinGlobal(s, global(top), func(k, _ string) (string, bool) { return k, k != "" }, left)
		}, []string{"k=Vrow true", "null=V false"}, "null_value 1"},
		"JoinStream": {func(_ *stream.Topology, s text) text { return stream.JoinStream(s, s, "join", window, both) }, []string{"k=Vv"}, "null_key 1 null_value 1"},
		"ToTable":    {func(_ *stream.Topology, s text) text { return stream.ToTable(s, "t").ToStream() }, []string{"k=v", "k=null"}, "null_key 1"},
		"versioned ToTable": {
			func(_ *stream.Topology, s text) text {
				return stream.ToTable(s, "t", stream.Versioned(time.Hour)).ToStream()
			},
			[]string{"k=v", "k=null"},
			"null_key 1",
		},
		"JoinTables": {func(top *stream.Topology, s text) text {
			return stream.JoinTables(stream.ToTable(s, "t"), table(top), both).ToStream()
		}, []string{"k=Vrow", "k=null"}, "null_key 1"},
		"CountTable": {func(_ *stream.Topology, s text) text {
			groups := stream.GroupTable(stream.ToTable(s, "t"), str, str, func(k, v string) (string, string) { return never(k, v), v })
			return shown(stream.CountTable(groups, "counts").ToStream())
		}, []string{"k=1", "k=0"}, "null_key 1"},
		"GroupBy": {func(_ *stream.Topology, s text) text {
			return shown(stream.Count(stream.GroupBy(s, str, never), "counts").ToStream())
		}, []string{"k=1", "k=2"}, "null_value 1"},
		"Count":  {func(_ *stream.Topology, s text) text { return shown(stream.Count(byKey(s), "counts").ToStream()) }, []string{"k=1"}, "null_key 1 null_value 1"},
		"Reduce": {func(_ *stream.Topology, s text) text { return stream.Reduce(byKey(s), "all", both).ToStream() }, []string{"k=v"}, "null_key 1 null_value 1"},
		"Aggregate": {func(_ *stream.Topology, s text) text {
			return stream.Aggregate(byKey(s), "all", str, func() string { return "" }, func(_, v, a string) string { return a + v }).ToStream()
		}, []string{"k=v"}, "null_key 1 null_value 1"},
		"AggregateCogroup": {func(_ *stream.Topology, s text) text {
			c := stream.Cogroup(byKey(s), func(_, v, a string) string { return a + v })
			return stream.AggregateCogroup(c, "all", str, func() string { return "" }).ToStream()
		}, []string{"k=v"}, "null_key 1 null_value 1"},
		"AggregateCogroupWindows": {func(_ *stream.Topology, s text) text {
			c := stream.Cogroup(byKey(s), func(_, v, a string) string { return a + v })
			return unwindowed(stream.AggregateCogroupWindows(c, stream.Tumbling(time.Second), "all", str, func() string { return "" }).ToStream())
		}, []string{"k=v"}, "null_key 1 null_value 1"},
		"SuppressUntilTimeLimit": {func(_ *stream.Topology, s text) text {
			return stream.SuppressUntilTimeLimit(stream.ToTable(s, "t"), "wait", 0, stream.Unbounded()).ToStream()
		}, []string{"k=v", "k=null"}, "null_key 1"},
		"CountWindows": {func(_ *stream.Topology, s text) text {
			return unwindowed(shown(stream.CountWindows(stream.WindowedBy(byKey(s), stream.Tumbling(time.Second)), "counts").ToStream()))
		}, []string{"k=1", "k=2"}, "null_key 1"},
		"CountWindows, sliding": {func(_ *stream.Topology, s text) text {
			return unwindowed(shown(stream.CountWindows(stream.WindowedBy(byKey(s), stream.Sliding(time.Second)), "counts").ToStream()))
		}, []string{"k=1"}, "null_key 1 null_value 1"},
		"SuppressUntilWindowCloses": {func(_ *stream.Topology, s text) text {
			counts := stream.CountWindows(stream.WindowedBy(byKey(s), stream.Tumbling(time.Millisecond)), "counts")
			return unwindowed(shown(stream.SuppressUntilWindowCloses(counts, "wait", stream.Unbounded()).ToStream()))
		}, []string{"k=1"}, "null_key 1"},
		"AggregateCogroupSessions": {func(_ *stream.Topology, s text) text {
			c := stream.Cogroup(byKey(s), func(_, v, a string) string { return a + v })
			merge := func(_, a, b string) string { return a + b }
			return unwindowed(stream.AggregateCogroupSessions(c, stream.Sessions(time.Second), "all", str, func() string { return "" }, merge).ToStream())
		}, []string{"k=v"}, "null_key 1 null_value 1"},
		"JoinForeignKey": {func(top *stream.Topology, s text) text {
			return stream.JoinForeignKey(stream.ToTable(s, "t"), table(top), "join", func(k, v string) (string, bool) { return never(k, v), true }, both).ToStream()
		}, []string{"k=Vrow", "k=null"}, "null_key 1"},
		"CountSessions": {func(_ *stream.Topology, s text) text {
			return unwindowed(shown(stream.CountSessions(stream.WindowedBySessions(byKey(s), stream.Sessions(time.Millisecond)), "counts").ToStream()))
		}, []string{"k=1", "k=1"}, "null_key 1"},
		"ReduceSessions": {func(_ *stream.Topology, s text) text {
			return unwindowed(stream.ReduceSessions(stream.WindowedBySessions(byKey(s), stream.Sessions(time.Second)), "all", both).ToStream())
		}, []string{"k=v"}, "null_key 1 null_value 1"},
		"ReduceWindows": {func(_ *stream.Topology, s text) text {
			return unwindowed(stream.ReduceWindows(stream.WindowedBy(byKey(s), stream.Tumbling(time.Second)), "all", both).ToStream())
		}, []string{"k=v"}, "null_key 1 null_value 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("nulls")
			c.build(top, stream.From(top, "in", str, str)).Keys(str).Values(str).To("out")
			d := streamtest.New(t, top)
			if slices.Contains(d.Topics(), "rows") {
				streamtest.NewInput(d, "rows", str, str).Pipe("k", "row", 1)
			}
			in := streamtest.NewInput(d, "in", str, str)
			in.Pipe("k", "v", 1)
			in.PipeRecord(stream.Record[string, string]{NullKey: true, Value: "v", Timestamp: 2})
			in.PipeRecord(stream.Record[string, string]{Key: "k", NullValue: true, Timestamp: 3})
			if diff := cmp.Diff(c.want, shownRecords(streamtest.NewOutput(d, "out", str, str))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got := classes(d); got != c.dropped {
				t.Errorf("dropped %q, want %q", got, c.dropped)
			}
		})
	}
}

// passOn sends everything on.
type passOn struct {
	c *stream.ProcessorContext[string, string]
}

func (f *passOn) Init(c *stream.ProcessorContext[string, string]) error {
	f.c = c
	return nil
}

func (f *passOn) Process(r *stream.Record[string, string]) error { return f.c.Forward(r) }

func shown[K any](s stream.Stream[K, int64]) stream.Stream[K, string] {
	return stream.MapValues(s, func(n int64) string { return strconv.FormatInt(n, 10) })
}

func unwindowed(s stream.Stream[stream.Windowed[string], string]) text {
	return stream.SelectKey(s, func(w stream.Windowed[string], _ string) string { return w.Key })
}

// shownRecords returns what is in a topic as key=value.
func shownRecords(out *streamtest.Output[string, string]) []string {
	var all []string
	for _, r := range out.ReadAll() {
		k, v := r.Key, r.Value
		if r.NullKey {
			k = "null"
		}
		if r.NullValue {
			v = "null"
		}
		all = append(all, k+"="+v)
	}
	return all
}

// classes returns how many records were dropped, by class.
func classes(d *streamtest.Driver) string {
	n := map[string]int{}
	for _, x := range d.Drops() {
		n[x.Problem.Class] += x.Count
	}
	var parts []string
	for _, class := range []string{"null_key", "null_value"} {
		if n[class] > 0 {
			parts = append(parts, fmt.Sprint(class, " ", n[class]))
		}
		delete(n, class)
	}
	for class := range n {
		parts = append(parts, "also "+class)
	}
	return strings.Join(parts, " ")
}

// TestNullableSeesNulls has functions see nulls, by the codec of a topic.
func TestNullableSeesNulls(t *testing.T) {
	t.Parallel()
	str, null := stream.String(), stream.Nullable(stream.String())
	top := stream.New("nulls")
	s := stream.From(top, "in", str, null)
	stream.MapValues(s, func(v *string) string { return strconv.FormatBool(v == nil) }).To("seen")
	stream.ToTable(s, "rows").ToStream().To("rows")
	stream.ToTable(s, "dated", stream.Versioned(time.Hour)).ToStream().To("dated")
	d := streamtest.New(t, top)
	in := streamtest.NewInput(d, "in", str, null)
	v := "v"
	in.Pipe("k", &v, 1)
	in.Pipe("k", nil, 2)
	for topic, want := range map[string][]string{"seen": {"k=false", "k=true"}, "rows": {"k=v", "k=null"}, "dated": {"k=v", "k=null"}} {
		if diff := cmp.Diff(want, shownRecords(streamtest.NewOutput(d, topic, str, str))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", topic, diff)
		}
	}
	for _, store := range []string{"rows", "dated"} {
		if n := len(streamtest.StateOf(d, store, str, null)); n != 0 {
			t.Errorf("%s has %d rows", store, n)
		}
	}
}

func TestNullableTableIsAFault(t *testing.T) {
	t.Parallel()
	top := stream.New("nulls")
	stream.TableFrom(top, "rows", "rows", stream.String(), stream.Nullable(stream.String()))
	e, ok := errors.AsType[*stream.BuildError](top.Err())
	if !ok || e.Op != "table" || !strings.Contains(e.At, "null_test.go") || !strings.Contains(e.Msg, "Nullable") {
		t.Errorf("got %v", top.Err())
	}
}
