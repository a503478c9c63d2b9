package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"millrace.dev/stream"
)

type texts = stream.Stream[string, string]

// faulty is a declaration with a fault.
type faulty struct {
	name    string
	declare func(top *stream.Topology, in texts)
	want    string
}

// expectFaults checks that each declaration has the fault that is wanted and no other, told with the line of the call.
func expectFaults(t *testing.T, list []faulty) {
	t.Helper()
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("app")
			c.declare(top, stream.From(top, "in", stream.String(), stream.String()))
			_, err := top.Program()
			e, ok := errors.AsType[*stream.BuildError](err)
			switch {
			case !ok || !strings.Contains(err.Error(), c.want):
				t.Errorf("got %v, want %q", err, c.want)
			case strings.Contains(err.Error(), "\n"):
				t.Errorf("more than one fault: %v", err)
			case !strings.HasPrefix(e.At, "fault_test.go:"):
				t.Errorf("at %s", e.At)
			}
		})
	}
}

// TestNilFunctions: what a function is missing from is told before anything runs.
func TestNilFunctions(t *testing.T) {
	t.Parallel()
	text := stream.String()
	table := func(top *stream.Topology) stream.Table[string, string] {
		return stream.TableFrom(top, "rows", "rows", text, text)
	}
	table2 := func(top *stream.Topology) stream.Table[string, string] {
		return stream.TableFrom(top, "rows2", "rows2", text, text)
	}
	windows := func(in texts) stream.WindowedGroup[string, string] {
		return stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(time.Second))
	}
	initial := func() string { return "" }
	global := func(top *stream.Topology) stream.GlobalTable[string, string] {
		return stream.GlobalTableFrom(top, "all", "all", text, text)
	}
	ofKey := func(k, _ string) (string, bool) { return k, true }
	expectFaults(t, []faulty{
		{"filter", func(_ *stream.Topology, in texts) { in.Filter(nil) }, "filter: keep is nil"},
		{"foreign key", func(top *stream.Topology, _ texts) {
			stream.JoinForeignKey(table(top), table2(top), "join", nil, func(l, _ string) string { return l })
		}, "join-foreign-key: foreignKey is nil"},
		{"joiner by foreign key", func(top *stream.Topology, _ texts) {
			stream.JoinForeignKey[string, string, string, string, string](table(top), table2(top), "join", ofKey, nil)
		}, "join-foreign-key: joiner is nil"},
		{"left joiner by foreign key", func(top *stream.Topology, _ texts) {
			stream.LeftJoinForeignKey[string, string, string, string, string](table(top), table2(top), "join", ofKey, nil)
		}, "join-foreign-key: joiner is nil"},
		{"filter not", func(_ *stream.Topology, in texts) { in.FilterNot(nil) }, "filter-not: drop is nil"},
		{"peek", func(_ *stream.Topology, in texts) { in.Peek(nil) }, "peek: look is nil"},
		{"foreach", func(_ *stream.Topology, in texts) { in.Foreach(nil) }, "foreach: do is nil"},
		{"split", func(_ *stream.Topology, in texts) { in.Split("way", stream.Branch[string, string]{}) }, "split: When of branch way-0 is nil"},
		{"map values", func(_ *stream.Topology, in texts) { stream.MapValues[string, string, string](in, nil) }, "map-values: f is nil"},
		{"map values with key", func(_ *stream.Topology, in texts) { stream.MapValuesWithKey[string, string, string](in, nil) }, "map-values: f is nil"},
		{"map", func(_ *stream.Topology, in texts) { stream.Map[string, string, string, string](in, nil) }, "map: f is nil"},
		{"select key", func(_ *stream.Topology, in texts) { stream.SelectKey[string, string, string](in, nil) }, "select-key: f is nil"},
		{"flat map", func(_ *stream.Topology, in texts) { stream.FlatMap[string, string, string, string](in, nil) }, "flat-map: f is nil"},
		{"flat map values", func(_ *stream.Topology, in texts) { stream.FlatMapValues[string, string, string](in, nil) }, "flat-map-values: f is nil"},
		{"flat map values with key", func(_ *stream.Topology, in texts) {
			stream.FlatMapValuesWithKey[string, string, string](in, nil)
		}, "flat-map-values: f is nil"},
		{"try map values", func(_ *stream.Topology, in texts) { stream.TryMapValues[string, string, string](in, nil) }, "try-map-values: f is nil"},
		{"try map values with key", func(_ *stream.Topology, in texts) {
			stream.TryMapValuesWithKey[string, string, string](in, nil)
		}, "try-map-values: f is nil"},
		{"map batch", func(_ *stream.Topology, in texts) {
			stream.MapBatch[string, string, string](in, "batch", nil, stream.BatchOptions{})
		}, "map-batch: f is nil"},
		{"process", func(_ *stream.Topology, in texts) { stream.Process[string, string, string, string](in, "own", nil) }, "process: supplier is nil"},
		{"group by", func(_ *stream.Topology, in texts) { stream.Count(stream.GroupBy[string, string](in, text, nil), "n") }, "select-key: f is nil"},
		{"reduce", func(_ *stream.Topology, in texts) { stream.Reduce(stream.GroupByKey(in), "all", nil) }, "reduce: f is nil"},
		{"aggregate from nothing", func(_ *stream.Topology, in texts) {
			stream.Aggregate(stream.GroupByKey(in), "all", text, nil, func(_, _, a string) string { return a })
		}, "aggregate: initial is nil"},
		{"aggregate", func(_ *stream.Topology, in texts) {
			stream.Aggregate(stream.GroupByKey(in), "all", text, initial, nil)
		}, "aggregate: add is nil"},
		{"reduce windows", func(_ *stream.Topology, in texts) { stream.ReduceWindows(windows(in), "all", nil) }, "reduce-windows: f is nil"},
		{"aggregate windows", func(_ *stream.Topology, in texts) {
			stream.AggregateWindows(windows(in), "all", text, initial, nil)
		}, "aggregate-windows: add is nil"},
		{"aggregate windows from nothing", func(_ *stream.Topology, in texts) {
			stream.AggregateWindows(windows(in), "all", text, nil, func(_, _, a string) string { return a })
		}, "aggregate-windows: initial is nil"},
		{"filter a table", func(top *stream.Topology, _ texts) { table(top).Filter(nil) }, "filter: the function is nil"},
		{"map a table", func(top *stream.Topology, _ texts) { stream.MapTable[string, string, string](table(top), nil) }, "map-values: f is nil"},
		{"join with a table", func(top *stream.Topology, in texts) {
			stream.JoinTable[string, string, string, string](in, table(top), "both", nil)
		}, "join-table: joiner is nil"},
		{"left join with a table", func(top *stream.Topology, in texts) {
			stream.LeftJoinTable[string, string, string, string](in, table(top), "both", nil)
		}, "join-table: joiner is nil"},
		{"join with a global table", func(top *stream.Topology, in texts) {
			stream.JoinGlobal[string, string, string, string, string](in, global(top), ofKey, nil)
		}, "join-global: joiner is nil"},
		{"left join with a global table, without a key", func(top *stream.Topology, in texts) {
			stream.LeftJoinGlobal(in, global(top), nil, func(v, _ string, _ bool) string { return v })
		}, "join-global: key is nil"},
		{"join streams", func(top *stream.Topology, in texts) {
			stream.JoinStream[string, string, string, string](in, stream.From(top, "right", text, text), "both", stream.Symmetric(1e9), nil)
		}, "join-stream: joiner is nil"},
		{"outer join of streams", func(top *stream.Topology, in texts) {
			stream.OuterJoinStream[string, string, string, string](in, stream.From(top, "right", text, text), "both", stream.Symmetric(1e9), nil)
		}, "outer-join-stream: joiner is nil"},
		{"join tables", func(top *stream.Topology, _ texts) {
			rows := table(top)
			stream.JoinTables[string, string, string, string](rows, rows, nil)
		}, "join-tables: joiner is nil"},
		{"left join of tables", func(top *stream.Topology, _ texts) {
			rows := table(top)
			stream.LeftJoinTables[string, string, string, string](rows, rows, nil)
		}, "left-join-tables: joiner is nil"},
		{"outer join of tables", func(top *stream.Topology, _ texts) {
			rows := table(top)
			stream.OuterJoinTables[string, string, string, string](rows, rows, nil)
		}, "outer-join-tables: joiner is nil"},
		{"group a table", func(top *stream.Topology, _ texts) {
			stream.GroupTable[string, string, string, string](table(top), text, text, nil)
		}, "group-table: f is nil"},
		{"group a table without codecs", func(top *stream.Topology, _ texts) {
			stream.GroupTable(table(top), nil, text, groupOfRow)
		}, "group-table: no codec of the groups' keys"},
		{"reduce a table", func(top *stream.Topology, _ texts) {
			stream.ReduceTable(stream.GroupTable(table(top), text, text, groupOfRow), "all", func(a, _ string) string { return a }, nil)
		}, "reduce-table: subtract is nil"},
		{"aggregate a table", func(top *stream.Topology, _ texts) {
			stream.AggregateTable(stream.GroupTable(table(top), text, text, groupOfRow), "all", text, initial, nil, func(_, _, a string) string { return a })
		}, "aggregate-table: add is nil"},
		{"event time", func(top *stream.Topology, _ texts) {
			stream.From(top, "timed", text, text, stream.EventTime[string, string](nil))
		}, "stream: the function of EventTime is nil"},
		{"partition", func(_ *stream.Topology, in texts) { in.To("out", stream.PartitionBy[string, string](nil)) }, "to: the function of PartitionBy is nil"},
		{"topic", func(_ *stream.Topology, in texts) { in.ToChosen("way", []string{"a"}, nil) }, "to: choose is nil"},
	})
}

// TestOtherTopologies: what was declared for another topology, or not at all, is no part of this one.
func TestOtherTopologies(t *testing.T) {
	t.Parallel()
	text := stream.String()
	first := func(v, _ string) string { return v }
	ofKey := func(k, _ string) (string, bool) { return k, true }
	batch := func(context.Context, *stream.Batch[string, string, string]) error { return nil }
	const another = `belongs to another topology, "other"`
	expectFaults(t, []faulty{
		{"merge", func(_ *stream.Topology, in texts) {
			in.Merge(stream.From(stream.New("other"), "more", text, text))
		}, "merge: the stream declared at fault_test.go:"},
		{"merge with nothing", func(_ *stream.Topology, in texts) { in.Merge(texts{}) }, "merge: the stream was not declared"},
		{"join with a table", func(_ *stream.Topology, in texts) {
			stream.JoinTable(in, stream.TableFrom(stream.New("other"), "rows", "rows", text, text), "both", first)
		}, another},
		{"join with no table", func(_ *stream.Topology, in texts) {
			stream.JoinTable(in, stream.Table[string, string]{}, "both", first)
		}, "join-table: the table was not declared"},
		{"join with a global table", func(_ *stream.Topology, in texts) {
			stream.JoinGlobal(in, stream.GlobalTableFrom(stream.New("other"), "rows", "rows", text, text), ofKey, first)
		}, another},
		{"join with no global table", func(_ *stream.Topology, in texts) {
			stream.JoinGlobal(in, stream.GlobalTable[string, string]{}, ofKey, first)
		}, "join-global: the global table was not declared"},
		{"look up in a global table", func(_ *stream.Topology, in texts) {
			rows := stream.GlobalTableFrom(stream.New("other"), "rows", "rows", text, text)
			stream.MapBatch(in, "batch", batch, stream.BatchOptions{Globals: []stream.GlobalRef{rows}})
		}, another},
		{"look up in nothing", func(_ *stream.Topology, in texts) {
			stream.MapBatch(in, "batch", batch, stream.BatchOptions{Globals: []stream.GlobalRef{nil}})
		}, "map-batch: a global table is nil"},
		{"join streams", func(_ *stream.Topology, in texts) {
			stream.JoinStream(in, stream.From(stream.New("other"), "more", text, text), "both", stream.Symmetric(1e9), first)
		}, another},
		{"join tables", func(top *stream.Topology, _ texts) {
			stream.JoinTables(stream.TableFrom(top, "rows", "rows", text, text), stream.TableFrom(stream.New("other"), "rows", "rows", text, text), first)
		}, another},
		{"join a table with nothing", func(top *stream.Topology, _ texts) {
			stream.JoinTables(stream.TableFrom(top, "rows", "rows", text, text), stream.Table[string, string]{}, first)
		}, "join-tables: the table was not declared"},
	})
}

// TestTopicReadTwice: the second declaration of a source has no effect, so that it must not ask for anything else.
func TestTopicReadTwice(t *testing.T) {
	t.Parallel()
	text := stream.String()
	expectFaults(t, []faulty{
		{"types", func(top *stream.Topology, _ texts) { stream.From(top, "in", text, stream.Int64()) }, "topic in is read already, as string, string at fault_test.go:"},
		{"codecs", func(top *stream.Topology, _ texts) { stream.From(top, "in", text, stream.JSON[string]()) }, "topic in is read already, with codecs stream.stringCodec, stream.stringCodec at fault_test.go:"},
		{"options", func(top *stream.Topology, _ texts) { stream.From(top, "in", text, text, stream.StartLatest()) }, "topic in is read already, with other options, at fault_test.go:"},
		{"options of a table", func(top *stream.Topology, _ texts) {
			stream.TableFrom(top, "rows", "in", text, text, stream.UseClock())
		}, "with other options"},
	})
	top := stream.New("app")
	at := stream.EventTime(func(r *stream.Record[string, string]) time.Time { return r.Time() })
	stream.From(top, "in", text, text, at, stream.StartLatest()).To("a")
	stream.From(top, "in", text, text, stream.StartLatest(), at).To("b")
	stream.TableFrom(top, "rows", "in", text, text)
	if err := top.Err(); err != nil {
		t.Error(err)
	}
}

// TestTopics: a topic that no broker can have, or that must not be used so, is told before anything runs.
func TestTopics(t *testing.T) {
	t.Parallel()
	text := stream.String()
	const names = "want letters, digits, '.', '_' and '-', at most 249"
	choose := func(_, _ string) string { return "a" }
	expectFaults(t, []faulty{
		{"no topic", func(top *stream.Topology, _ texts) { stream.From(top, "", text, text) }, "stream: no topic"},
		{"read", func(top *stream.Topology, _ texts) { stream.From(top, "my topic", text, text) }, `stream: topic "my topic": ` + names},
		{"table", func(top *stream.Topology, _ texts) { stream.TableFrom(top, "rows", "a/b", text, text) }, `table: topic "a/b": ` + names},
		{"global table", func(top *stream.Topology, _ texts) { stream.GlobalTableFrom(top, "rows", "..", text, text) }, `global-table: topic "..": ` + names},
		{"no topic of a global table", func(top *stream.Topology, _ texts) { stream.GlobalTableFrom(top, "rows", "", text, text) }, "global-table: no topic"},
		{"no codec of a global table", func(top *stream.Topology, _ texts) {
			stream.GlobalTableFrom[string, string](top, "rows", "all", nil, text)
		}, "topic all: no codec"},
		{"written", func(_ *stream.Topology, in texts) { in.To(strings.Repeat("x", 250)) }, names},
		{"chosen", func(_ *stream.Topology, in texts) { in.ToChosen("way", []string{"a", ""}, choose) }, "to: no topic"},
		{"written global table", func(top *stream.Topology, in texts) {
			in.ToChosen("way", []string{"a", "all"}, choose)
			stream.GlobalTableFrom(top, "rows", "all", text, text)
		}, "sink: topic all is read as a global table at fault_test.go:"},
	})
	for _, c := range []struct {
		letters string
		declare func(top *stream.Topology)
		want    string
	}{
		{"dead letters", func(top *stream.Topology) { stream.From(top, "in", text, text) }, `dead letters: topic "dead letters": ` + names},
		{"in", func(top *stream.Topology) { stream.From(top, "in", text, text) }, "source: topic in is that of the dead letters"},
		{"in", func(top *stream.Topology) {
			stream.From(top, "other", text, text)
			stream.GlobalTableFrom(top, "rows", "in", text, text)
		}, "global-table: topic in is that of the dead letters"},
		{"out", func(top *stream.Topology) { stream.From(top, "in", text, text).To("out") }, "sink: topic out is that of the dead letters"},
		{"out", func(top *stream.Topology) { stream.GlobalTableFrom(top, "rows", "in", text, text) }, "new topology: app reads no topic"},
	} {
		top := stream.New("app", stream.DeadLetters(c.letters))
		c.declare(top)
		_, err := top.Program()
		e, ok := errors.AsType[*stream.BuildError](err)
		if !ok || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(e.At, "fault_test.go:") {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

type idle struct{}

func (idle) Init(*stream.ProcessorContext[string, string]) error { return nil }
func (idle) Process(*stream.Record[string, string]) error        { return nil }

func TestStoreFaults(t *testing.T) {
	t.Parallel()
	text := stream.String()
	process := func(in texts, name string, stores ...stream.StoreRef) {
		stream.Process(in, name, func() stream.Processor[string, string, string, string] { return idle{} }, stores...)
	}
	expectFaults(t, []faulty{
		{"no name", func(_ *stream.Topology, in texts) { process(in, "own", stream.NewStore("", text, text)) }, `store: name ""`},
		{"name", func(_ *stream.Topology, in texts) { process(in, "own", stream.NewStore("a/b", text, text)) }, `store: name "a/b": want letters`},
		{"no codec", func(_ *stream.Topology, in texts) {
			process(in, "own", stream.NewStore[string, string]("rows", text, nil))
		}, `the store "rows" has no codec`},
		{"nil", func(_ *stream.Topology, in texts) { process(in, "own", nil) }, "process: a store is nil"},
		{"of two operators", func(_ *stream.Topology, in texts) {
			rows := stream.NewStore("rows", text, text)
			process(in, "one", rows)
			process(in, "two", rows)
		}, `the store "rows" belongs to the operator at fault_test.go:`},
		{"held back", func(_ *stream.Topology, in texts) {
			process(in, "own", stream.NewStore("rows", text, text, stream.EmitOnCommit()))
		}, "EmitOnCommit is for tables"},
	})
}

// TestPolicyOfFunctionsThatCannotFail: it would be taken for a way to live with panics.
func TestPolicyOfFunctionsThatCannotFail(t *testing.T) {
	t.Parallel()
	keep := func(_, _ string) bool { return true }
	skip := stream.OnError(stream.Skip)
	expectFaults(t, []faulty{
		{"filter", func(_ *stream.Topology, in texts) { in.Filter(keep, skip) }, "filter: an error policy has no meaning here"},
		{"map values", func(_ *stream.Topology, in texts) { stream.MapValues(in, strings.ToUpper, skip) }, "map-values: an error policy"},
		{"merge", func(_ *stream.Topology, in texts) { in.Merge(in, skip) }, "merge: an error policy"},
		{"table", func(_ *stream.Topology, in texts) { stream.ToTable(in, "rows").ToStream(skip) }, "to-stream: an error policy"},
		{"retries", func(_ *stream.Topology, in texts) {
			stream.TryMapValues(in, func(_ context.Context, v string) (string, error) { return v, nil }, stream.ErrorPolicy{Retries: -1})
		}, "try-map-values: retries are negative"},
		{"action", func(_ *stream.Topology, in texts) {
			stream.TryMapValues(in, func(_ context.Context, v string) (string, error) { return v, nil }, stream.OnError(7))
		}, "try-map-values: action 7: want Fail, Skip or DeadLetter"},
	})
}
