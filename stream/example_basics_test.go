package stream_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// pipeTexts makes the test of an application that reads the topic "in" and writes the topic "out", both of texts, and prints what it
// has written.
func pipeTexts(app *stream.Topology, records ...stream.KeyValue[string, string]) *streamtest.Driver {
	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	for i, r := range records {
		in.Pipe(r.Key, r.Value, int64(i))
	}
	printUpdates(d, "out")
	return d
}

func ExampleMapValues() {
	app := stream.New("shout")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.MapValues(in, strings.ToUpper).To("out")

	pipeTexts(app, stream.KV("k", "hear, hear"))
	// Output: k: HEAR, HEAR
}

// The sensor is a part of the key, and so is its room. One becomes the key, the other goes to the value.
func ExampleMap() {
	app := stream.New("rooms")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.Map(in, func(key, value string) (room, reading string) {
		room, sensor, _ := strings.Cut(key, "/")
		return room, sensor + " " + value
	}).To("out")

	pipeTexts(app, stream.KV("kitchen/s-1", "21.5"))
	// Output: kitchen: s-1 21.5
}

// A line of readings becomes a record for each, with the sensor as the key.
func ExampleFlatMap() {
	app := stream.New("readings")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.FlatMap(in, func(_, line string) (list []stream.KeyValue[string, string]) {
		for reading := range strings.FieldsSeq(line) {
			sensor, value, _ := strings.Cut(reading, "=")
			list = append(list, stream.KV(sensor, value))
		}
		return list
	}).To("out")

	pipeTexts(app, stream.KV("kitchen", "s-1=21.5 s-2=22.0"))
	// Output:
	// s-1: 21.5
	// s-2: 22.0
}

// A sentence becomes a record for each word. The key stays, so that what follows needs no repartition topic.
func ExampleFlatMapValues() {
	app := stream.New("words")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.FlatMapValues(in, strings.Fields).To("out")

	pipeTexts(app, stream.KV("k", "to be"))
	// Output:
	// k: to
	// k: be
}

func ExampleSelectKey() {
	app := stream.New("by-customer")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.SelectKey(in, func(_, order string) string {
		customer, _, _ := strings.Cut(order, " ")
		return customer
	}).To("out")

	pipeTexts(app, stream.KV("o-1", "ada 12.50"))
	// Output: ada: ada 12.50
}

// What a function refuses is left out, and counted by operator and class.
func ExampleTryMapValues() {
	app := stream.New("lengths")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.TryMapValues(in, func(_ context.Context, v string) (string, error) {
		if v == "" {
			return "", &stream.Rejection{Class: "empty", Reason: "there is no text"}
		}
		return strconv.Itoa(len(v)), nil
	}, stream.Named("length"), stream.OnError(stream.Skip)).To("out")

	d := pipeTexts(app, stream.KV("a", "text"), stream.KV("b", ""))
	fmt.Println(d.Dropped())
	// Output:
	// a: 4
	// map[length/empty:1]
}

func ExampleStream_Filter() {
	app := stream.New("large")
	in := stream.From(app, "in", stream.String(), stream.String())
	in.Filter(func(_, v string) bool { return len(v) > 3 }).To("out")

	pipeTexts(app, stream.KV("a", "two"), stream.KV("b", "three"))
	// Output: b: three
}

// Each record goes to the first branch that wants it, and else to the last one that is returned.
func ExampleStream_Split() {
	app := stream.New("triage")
	in := stream.From(app, "in", stream.String(), stream.String())
	branches := in.Split("severity",
		stream.Branch[string, string]{Name: "errors", When: func(_, v string) bool { return strings.HasPrefix(v, "error") }},
		stream.Branch[string, string]{Name: "warnings", When: func(_, v string) bool { return strings.HasPrefix(v, "warning") }},
	)
	branches[0].To("pager")
	branches[1].To("mail")
	branches[2].To("out")

	d := pipeTexts(app, stream.KV("web", "error: disk full"), stream.KV("web", "info: started"))
	printUpdates(d, "pager")
	// Output:
	// web: info: started
	// web: error: disk full
}

func ExampleStream_Merge() {
	app := stream.New("all-regions")
	north := stream.From(app, "in", stream.String(), stream.String())
	south := stream.From(app, "south", stream.String(), stream.String())
	north.Merge(south).To("out")

	d := pipeTexts(app, stream.KV("n", "from the north"))
	streamtest.NewInput(d, "south", stream.String(), stream.String()).Pipe("s", "from the south", 5)
	printUpdates(d, "out")
	// Output:
	// n: from the north
	// s: from the south
}

// Two aggregations by the same new key share one topic, in which the records of a key are in one partition.
func ExampleStream_Repartition() {
	app := stream.New("traffic")
	in := stream.From(app, "in", stream.String(), stream.String())
	byPage := stream.SelectKey(in, func(_, page string) string { return page }).Repartition("by-page")
	stream.Count(stream.GroupByKey(byPage), "views").ToStream().Values(stream.Decimal()).To("out")
	stream.Count(stream.GroupByKey(byPage.Filter(func(user, _ string) bool { return user != "" })), "known").ToStream().Values(stream.Decimal()).To("known")

	d := pipeTexts(app, stream.KV("ada", "/home"), stream.KV("eve", "/home"))
	fmt.Println(len(d.Raw("traffic-by-page-repartition", 0)))
	// Output:
	// /home: 1
	// /home: 2
	// 2
}

// A processor of one's own sends on what differs from the last value of its key.
func ExampleProcess() {
	app := stream.New("changes")
	in := stream.From(app, "in", stream.String(), stream.String())
	last := stream.NewStore("last", stream.String(), stream.String())
	stream.Process(in, "changes", func() stream.Processor[string, string, string, string] { return &changes{store: last} }, last).To("out")

	pipeTexts(app, stream.KV("door", "open"), stream.KV("door", "open"), stream.KV("door", "shut"))
	// Output:
	// door: open
	// door: shut
}

type changes struct {
	store *stream.Store[string, string]
	last  *stream.State[string, string]
	ctx   *stream.ProcessorContext[string, string]
}

func (c *changes) Init(ctx *stream.ProcessorContext[string, string]) error {
	c.ctx, c.last = ctx, stream.Open(ctx, c.store)
	return nil
}

func (c *changes) Process(r *stream.Record[string, string]) error {
	was, ok, err := c.last.Get(r.Key)
	if err != nil || ok && was == r.Value {
		return err
	}
	if err := c.last.Put(r.Key, r.Value); err != nil {
		return err
	}
	return c.ctx.Forward(r)
}

func ExampleCount() {
	app := stream.New("words")
	in := stream.From(app, "in", stream.String(), stream.String())
	byWord := stream.GroupBy(in, stream.String(), func(_, word string) string { return word })
	stream.Count(byWord, "counts").ToStream().Values(stream.Decimal()).To("out")

	pipeTexts(app, stream.KV("a", "to"), stream.KV("b", "be"), stream.KV("c", "to"))
	// Output:
	// to: 1
	// be: 1
	// to: 2
}

func ExampleReduce() {
	app := stream.New("longest")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.Reduce(stream.GroupByKey(in), "longest", func(longest, v string) string {
		if len(v) > len(longest) {
			return v
		}
		return longest
	}).ToStream().To("out")

	pipeTexts(app, stream.KV("k", "pear"), stream.KV("k", "fig"), stream.KV("k", "cherry"))
	// Output:
	// k: pear
	// k: pear
	// k: cherry
}

// EmitOnCommit sends the row of a key on once for each commit, and not for each record.
func ExampleEmitOnCommit() {
	app := stream.New("counts")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.Count(stream.GroupByKey(in), "counts", stream.EmitOnCommit()).ToStream().Values(stream.Decimal()).To("out")

	d := streamtest.New(example{}, app, streamtest.CommitByHand())
	records := streamtest.NewInput(d, "in", stream.String(), stream.String())
	for i := range int64(3) {
		records.Pipe("k", "v", i)
	}
	d.Commit()
	printUpdates(d, "out")
	// Output: k: 3
}

// The value of an aggregate may have another type than those of the records.
func ExampleAggregate() {
	app := stream.New("baskets")
	in := stream.From(app, "in", stream.String(), stream.String())
	type basket struct{ Items []string }
	baskets := stream.Aggregate(stream.GroupByKey(in), "baskets", stream.JSON[basket](),
		func() basket { return basket{} },
		func(_, item string, b basket) basket {
			return basket{append(slices.Clip(b.Items), item)}
		})
	baskets.ToStream().To("out")

	pipeTexts(app, stream.KV("ada", "tea"), stream.KV("ada", "milk"))
	// Output:
	// ada: {"Items":["tea"]}
	// ada: {"Items":["tea","milk"]}
}

// ReduceWindows keeps the last word of each key for every ten seconds of event time.
func ExampleReduceWindows() {
	app := stream.New("last")
	in := stream.From(app, "in", stream.String(), stream.String())
	windows := stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(10*time.Second))
	last := stream.ReduceWindows(windows, "last", func(_, v string) string { return v }).ToStream()
	stream.Map(last, func(w stream.Windowed[string], v string) (string, string) {
		return fmt.Sprintf("%s at %d", w.Key, w.Start), v
	}).To("out")

	d := pipeTexts(app, stream.KV("k", "one"), stream.KV("k", "two"))
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("k", "three", 12_000)
	printUpdates(d, "out")
	// Output:
	// k at 0: one
	// k at 0: two
	// k at 10000: three
}

func ExampleLeftJoinTable() {
	app := stream.New("greetings")
	names := stream.TableFrom(app, "names", "names", stream.String(), stream.String())
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.LeftJoinTable(in, names, "named", func(greeting, name string, ok bool) string {
		if !ok {
			name = "stranger"
		}
		return greeting + ", " + name
	}).To("out")

	d := pipeTexts(app, stream.KV("c-1", "hello"))
	streamtest.NewInput(d, "names", stream.String(), stream.String()).Pipe("c-1", "Ada", 1)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("c-1", "welcome back", 2)
	printUpdates(d, "out")
	// Output:
	// c-1: hello, stranger
	// c-1: welcome back, Ada
}

// Every instance has the whole of a global table: a stream is joined with it by any part of its records.
func ExampleJoinGlobal() {
	app := stream.New("countries")
	countries := stream.GlobalTableFrom(app, "countries", "countries", stream.String(), stream.String())
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.JoinGlobal(in, countries, func(_, code string) (string, bool) { return code, code != "" }, func(code, name string) string {
		return code + " is " + name
	}).To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "countries", stream.String(), stream.String()).Pipe("IS", "Iceland", 1)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("order", "IS", 2)
	printUpdates(d, "out")
	// Output: order: IS is Iceland
}

// A stream that tells how things stand becomes a table, which other streams can be joined with.
func ExampleToTable() {
	app := stream.New("status")
	in := stream.From(app, "in", stream.String(), stream.String())
	status := stream.ToTable(stream.MapValues(in, strings.ToLower), "status")
	requests := stream.From(app, "requests", stream.String(), stream.String())
	stream.JoinTable(requests, status, "answers", func(_, status string) string { return status }).To("out")

	d := pipeTexts(app, stream.KV("o-1", "OPEN"), stream.KV("o-1", "PAID"))
	streamtest.NewInput(d, "requests", stream.String(), stream.String()).Pipe("o-1", "?", 5)
	printUpdates(d, "out")
	// Output: o-1: paid
}

func ExampleMapTable() {
	app := stream.New("initials")
	names := stream.TableFrom(app, "names", "in", stream.String(), stream.String())
	stream.MapTable(names, func(_, name string) string { return name[:1] }).ToStream().To("out")

	pipeTexts(app, stream.KV("c-1", "Ada"), stream.KV("c-1", "Grace"))
	// Output:
	// c-1: A
	// c-1: G
}

// A row that does not pass any more is deleted from the table that is filtered.
func ExampleTable_Filter() {
	app := stream.New("open")
	orders := stream.TableFrom(app, "orders", "in", stream.String(), stream.String())
	orders.Filter(func(_, state string) bool { return state == "open" }).ToStream().To("out")

	pipeTexts(app, stream.KV("o-1", "open"), stream.KV("o-1", "paid"))
	// Output:
	// o-1: open
	// o-1: -
}

// What two applications say of the same records is brought together. What waits for the other one waits in its topic.
func ExampleInStep() {
	app := stream.New("compare")
	a := stream.From(app, "in", stream.String(), stream.String())
	b := stream.From(app, "other", stream.String(), stream.String())
	stream.InStep([]stream.Stream[string, string]{a, b}, "compare", func(s *stream.Step[string, string, string]) error {
		for i, r := range s.In {
			if r == nil {
				return fmt.Errorf("application %d has no result", i)
			}
		}
		s.Of = 0
		s.Out = stream.Record[string, string]{Key: s.In[0].Key, Value: s.In[0].Value + " and " + s.In[1].Value}
		return nil
	}, stream.OnError(stream.Skip)).To("out")

	d := pipeTexts(app, stream.KV("k", "0.71"))
	streamtest.NewInput(d, "other", stream.String(), stream.String()).Pipe("k", "0.69", 0)
	printUpdates(d, "out")
	// Output: k: 0.71 and 0.69
}
