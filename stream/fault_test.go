package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
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
			case !strings.Contains(e.At, "_test.go:"):
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
		{"app-n-changelog", countByValue, "new topology: the topic of the dead letters, app-n-changelog, is the application's own, for what is declared at fault_test.go:"},
		{"out", func(top *stream.Topology) {
			countByValue(top)
			stream.From(top, "other", text, text).To("app-n-repartition")
		}, "sink: topic app-n-repartition is the application's own"},
		{"out", func(top *stream.Topology) {
			countByValue(top)
			stream.From(top, "other", text, text).To("app-n-changelog")
		}, "sink: topic app-n-changelog is the application's own"},
		{"out", func(top *stream.Topology) {
			countByValue(top)
			stream.From(top, "app-n-repartition", text, text).To("elsewhere")
		}, "source: topic app-n-repartition is the application's own"},
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

func countByValue(top *stream.Topology) {
	in := stream.From(top, "in", stream.String(), stream.String())
	stream.Count(stream.GroupBy(in, stream.String(), func(_, v string) string { return v }), "n")
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
	type day struct {
		Shop string
		At   [2]struct{ Time time.Time }
	}
	days, pointers, anything := stream.JSON[day](), stream.Nullable(text), stream.JSON[any]()
	expectFaults(t, []faulty{
		{"time as key", func(_ *stream.Topology, in texts) {
			stream.Count(stream.GroupBy(in, days, func(_, _ string) (d day) { return d }), "n")
		}, "count: keys are stream_test.day and hold a time.Time"},
		{"pointer as key", func(top *stream.Topology, _ texts) { stream.TableFrom(top, "rows", "rows", pointers, text) }, "table: keys are *string and hold a pointer"},
		{"anything as key", func(top *stream.Topology, _ texts) { stream.GlobalTableFrom(top, "rows", "all", anything, text) }, "global-table: keys are interface {} and hold an interface"},
		{"pointer as key of a store", func(_ *stream.Topology, in texts) { process(in, "own", stream.NewStore("rows", pointers, text)) }, "store: keys are *string and hold a pointer"},
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

// TestKeysOfJoins: sides whose keys are encoded differently would not meet.
func TestKeysOfJoins(t *testing.T) {
	t.Parallel()
	text, number, decimal := stream.String(), stream.Int64(), stream.Decimal()
	numbers := func(in texts) stream.Stream[int64, string] {
		return stream.SelectKey(in, func(string, string) int64 { return 1 }) // encoded by Int64
	}
	rows := func(top *stream.Topology, name string, c stream.Codec[int64]) stream.Table[int64, string] {
		return stream.TableFrom(top, name, name, c, text)
	}
	both := func(a, b string) string { return a + b }
	add := func(_ int64, v, a string) string { return a + v }
	windows := func(top *stream.Topology, name string, c stream.Codec[int64]) stream.Table[stream.Windowed[int64], int64] {
		s := stream.GroupByKey(stream.From(top, name, c, text))
		return stream.CountWindows(stream.WindowedBy(s, stream.Tumbling(time.Second)), name)
	}
	const want = "the same key may be in different partitions"
	expectFaults(t, []faulty{
		{"JoinTable", func(top *stream.Topology, in texts) {
			stream.JoinTable(numbers(in), rows(top, "rows", decimal), "join", both)
		}, "the keys of the stream are encoded by stream.int64Codec, those of the table by stream.decimalCodec: " + want},
		{"JoinTables", func(top *stream.Topology, _ texts) {
			stream.JoinTables(rows(top, "a", number), rows(top, "b", decimal), both)
		}, want},
		{"JoinTables of windows", func(top *stream.Topology, _ texts) {
			stream.JoinTables(windows(top, "a", number), windows(top, "b", decimal), func(a, b int64) int64 { return a + b })
		}, want},
		{"JoinStream", func(top *stream.Topology, in texts) {
			stream.JoinStream(numbers(in), stream.From(top, "b", decimal, text), "join", stream.Symmetric(time.Second), both)
		}, want},
		{"Cogroup", func(top *stream.Topology, in texts) {
			c := stream.CogroupWith(stream.Cogroup(stream.GroupByKey(numbers(in)), add), stream.GroupByKey(stream.From(top, "b", decimal, text)), add)
			stream.AggregateCogroup(c, "n", text, func() string { return "" })
		}, want},
	})
	top := stream.New("app")
	in := stream.From(top, "in", text, text)
	stream.JoinTable(numbers(in).Keys(decimal), rows(top, "rows", decimal), "join", both)
	stream.JoinTables(rows(top, "a", number), rows(top, "b", number), both)
	if err := top.Err(); err != nil {
		t.Error(err)
	}
}

// TestMergeOfCodecs: what is merged of streams whose keys are encoded differently is repartitioned before it is counted.
func TestMergeOfCodecs(t *testing.T) {
	t.Parallel()
	top, text := stream.New("app"), stream.String()
	all := stream.From(top, "a", stream.Int64(), text).Merge(stream.From(top, "b", stream.Decimal(), text))
	stream.Count(stream.GroupByKey(all), "n").ToStream().To("out")
	d := streamtest.New(t, top, streamtest.Partitions(5))
	a, b := streamtest.NewInput(d, "a", stream.Int64(), text), streamtest.NewInput(d, "b", stream.Decimal(), text)
	want := map[int64]int64{}
	for k := range int64(20) {
		a.Pipe(k, "", 1)
		b.Pipe(k, "", 2)
		want[k] = 2
	}
	if diff := cmp.Diff(want, streamtest.ReadTable(streamtest.NewOutput(d, "out", stream.Int64(), stream.Int64()))); diff != "" {
		t.Error(diff)
	}
}

// TestNames: what a user names may be as long as is said, whatever is made of it; and a name that is taken is told once.
func TestNames(t *testing.T) {
	t.Parallel()
	text, long := stream.String(), strings.Repeat("n", 100)
	foreign := func(top *stream.Topology, in texts, name string) {
		rows := stream.ToTable(in, "rows")
		stream.JoinForeignKey(rows, stream.TableFrom(top, "right", "right", text, text), name, func(_, v string) (string, bool) { return v, true }, func(l, r string) string { return l + r })
	}
	top := stream.New(long)
	in := stream.From(top, "in", text, text)
	foreign(top, in, long)
	in.Repartition(long[1:])
	in.Split(long[2:], stream.Branch[string, string]{When: func(string, string) bool { return true }})
	stream.JoinStream(stream.SelectKey(in, func(k, _ string) string { return k }), in, long[3:], stream.Symmetric(time.Second), func(a, b string) string { return a + b })
	if err := top.Err(); err != nil {
		t.Error(err)
	}
	expectFaults(t, []faulty{
		{"a foreign key's", func(top *stream.Topology, in texts) { foreign(top, in, long+"n") }, "at most 100"},
		{"a repartition's", func(_ *stream.Topology, in texts) { in.Repartition(long + "n") }, "at most 100"},
		{"a branch's", func(_ *stream.Topology, in texts) {
			in.Split("split", stream.Branch[string, string]{Name: long + "n", When: func(string, string) bool { return true }})
		}, "at most 100"},
		{"taken", func(top *stream.Topology, in texts) {
			stream.ToTable(in, "join")
			foreign(top, in, "join")
		}, "is taken by the to-table"},
		{"made of another", func(top *stream.Topology, in texts) {
			in.Peek(func(*stream.Record[string, string]) {}, stream.Named("join-subscribe"))
			foreign(top, in, "join")
		}, "is taken by the peek"},
	})
}

// TestDurations: what is not taken as it is given is a fault.
func TestDurations(t *testing.T) {
	t.Parallel()
	text, part := stream.String(), 3*time.Millisecond/2
	table := func(top *stream.Topology, history time.Duration) stream.Table[string, string] {
		return stream.TableFrom(top, "rows", "rows", text, text, stream.Versioned(history))
	}
	both := func(a, b string) string { return a + b }
	windows := func(in texts, opts ...stream.WindowOption) {
		stream.CountWindows(stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(time.Second)), "n", opts...)
	}
	expectFaults(t, []faulty{
		{"history", func(top *stream.Topology, _ texts) { table(top, part) }, "a history of 1.5ms: want whole milliseconds"},
		{"long history", func(top *stream.Topology, _ texts) { table(top, math.MaxInt64) }, "at most 90 years"},
		{"grace of a join", func(top *stream.Topology, in texts) {
			stream.JoinTable(in, table(top, time.Hour), "join", both, stream.Grace(part))
		}, "a grace of 1.5ms: want whole milliseconds"},
		{"negative grace of a join", func(top *stream.Topology, in texts) {
			stream.JoinTable(in, table(top, time.Hour), "join", both, stream.Grace(-1))
		}, "the grace, -1ns, is negative"},
		{"retention", func(_ *stream.Topology, in texts) { windows(in, stream.Retention(time.Hour+1)) }, "a retention of 1h0m0.000000001s: want whole milliseconds"},
		{"long window of a join", func(_ *stream.Topology, in texts) {
			stream.JoinStream(in, in, "join", stream.JoinWindow{Before: math.MaxInt64}, both)
		}, "longer than 90 years"},
		{"cache of a join with grace", func(top *stream.Topology, in texts) {
			stream.JoinTable(in, table(top, time.Hour), "join", both, stream.Grace(time.Second), stream.CacheRows(5))
		}, "CacheRows have no meaning here"},
		{"cache of a join of streams", func(_ *stream.Topology, in texts) {
			stream.JoinStream(in, in, "join", stream.Symmetric(time.Second), both, stream.CacheRows(5))
		}, "CacheRows has no meaning here"},
		{"cache of what waits", func(_ *stream.Topology, in texts) {
			stream.SuppressUntilTimeLimit(stream.ToTable(in, "rows"), "n", time.Second, stream.Unbounded(), stream.CacheRows(5))
		}, "CacheRows has no meaning here"},
		{"no bytes", func(_ *stream.Topology, in texts) {
			stream.SuppressUntilTimeLimit(stream.ToTable(in, "rows"), "n", time.Second, stream.MaxBytes(0).ShutDownWhenFull())
		}, "a buffer without room"},
	})
	for _, c := range []struct {
		o    stream.TopologyOption
		want string
	}{
		{stream.MaxIdle(-1), "MaxIdle of -1ns"}, {stream.IdleTimeout(-1), "IdleTimeout of -1ns"}, {stream.MaxAhead(0), "MaxAhead of 0s"},
	} {
		if err := stream.New("app", c.o).Err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// TestZeroValues: what was not declared, or is nil, is told with the line of the call.
func TestZeroValues(t *testing.T) {
	t.Parallel()
	text := stream.String()
	var (
		none  stream.Stream[string, string]
		rows  stream.Table[string, string]
		group stream.Grouped[string, string]
		wins  stream.Table[stream.Windowed[string], string]
	)
	top := stream.New("app")
	in := stream.From(top, "in", text, text)
	some := stream.ToTable(in, "rows")
	both := func(a, b string) string { return a + b }
	for name, declare := range map[string]func(){
		"Filter": func() { none.Filter(func(string, string) bool { return true }) },
		"To":     func() { none.To("out") },
		"Process": func() {
			stream.Process(none, "p", func() stream.Processor[string, string, string, string] { return nil })
		},
		"JoinTable":  func() { stream.JoinTable(none, some, "join", both) },
		"JoinTables": func() { stream.JoinTables(rows, some, both) },
		"JoinForeignKey": func() {
			stream.JoinForeignKey(rows, some, "join", func(k, _ string) (string, bool) { return k, true }, both)
		},
		"Count":                     func() { stream.Count(group, "n") },
		"WindowedBy":                func() { stream.WindowedBy(group, stream.Tumbling(time.Second)) },
		"WindowedBySessions":        func() { stream.WindowedBySessions(group, stream.Sessions(time.Second)) },
		"GroupTable":                func() { stream.GroupTable(rows, text, text, func(k, v string) (string, string) { return k, v }) },
		"SuppressUntilWindowCloses": func() { stream.SuppressUntilWindowCloses(wins, "n", stream.Unbounded()) },
		"AggregateCogroup": func() {
			stream.AggregateCogroup(stream.Cogrouped[string, string]{}, "n", text, func() string { return "" })
		},
		"InStep":                 func() { stream.InStep[string, string, string](nil, "n", nil, stream.ErrorPolicy{}) },
		"a topology's option":    func() { stream.New("app", nil) },
		"an option":              func() { in.Filter(func(string, string) bool { return true }, nil) },
		"a store's option":       func() { stream.Count(stream.GroupByKey(in), "n", nil) },
		"a window's option":      func() { stream.CountWindows(stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(1)), "n", nil) },
		"a join's option":        func() { stream.JoinTable(in, some, "join", both, nil) },
		"a source's option":      func() { stream.From(top, "in", text, text, nil) },
		"a table's option":       func() { stream.TableFrom(top, "t", "t", text, text, nil) },
		"a sink's option":        func() { in.To("out", nil) },
		"a repartition's option": func() { in.Repartition("r", nil) },
	} {
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, "fault_test.go:") {
					t.Errorf("%s: %s", name, p)
				}
			}()
			declare()
		}()
	}
	if stream.WindowedKey[string](nil) != nil || stream.Nullable[string](nil) != nil {
		t.Error("a codec is made of nil")
	}
	top = stream.New("app")
	var store *stream.Store[string, string]
	stream.Process(stream.From(top, "in", text, text), "p", func() stream.Processor[string, string, string, string] { return nil }, store)
	if err := top.Err(); err == nil || !strings.Contains(err.Error(), "a store is nil") {
		t.Errorf("a nil store: %v", err)
	}
}
