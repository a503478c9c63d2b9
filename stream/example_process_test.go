package stream_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// A processor keeps the open orders in a store, and once a minute of event time sends those on, and forgets them, that begin with a or b.
func ExampleNewStore() {
	app := stream.New("orders")
	in := stream.From(app, "in", stream.String(), stream.String())
	open := stream.NewStore("open", stream.String(), stream.String())
	stream.Process(in, "parcels", func() stream.Processor[string, string, string, string] { return &parcels{store: open} }, open).To("out")

	d := streamtest.New(example{}, app)
	orders := streamtest.NewInput(d, "in", stream.String(), stream.String())
	orders.Pipe("b-2", "hats", at(0))
	orders.Pipe("a-1", "shoes", at(20))
	orders.Pipe("c-3", "boots", at(30))
	fmt.Println(streamtest.StateOf(d, "open", stream.String(), stream.String()))
	orders.Pipe("c-4", "gloves", at(61))
	printUpdates(d, "out")
	// Output:
	// map[a-1:shoes b-2:hats c-3:boots]
	// a-1: shoes
	// b-2: hats
}

type parcels struct {
	store *stream.Store[string, string]
	open  *stream.State[string, string]
}

func (l *parcels) Init(ctx *stream.ProcessorContext[string, string]) error {
	l.open = stream.Open(ctx, l.store)
	first := true
	ctx.OnStreamTime(time.Minute, func(timestamp int64) error {
		if first { // it is called with the first record, too
			first = false
			return nil
		}
		return l.open.Range("a", "c", func(k, v string) (bool, error) { // without c
			if err := ctx.Forward(&stream.Record[string, string]{Key: k, Value: v, Timestamp: timestamp}); err != nil {
				return false, err
			}
			return true, l.open.Delete(k)
		})
	})
	return nil
}

func (l *parcels) Process(r *stream.Record[string, string]) error { return l.open.Put(r.Key, r.Value) }

// A processor tells every ten seconds of the clock how many doors are open, whether or not there are records; and drops what is no
// state of a door.
func ExampleProcessorContext() {
	app := stream.New("doors")
	in := stream.From(app, "in", stream.String(), stream.String())
	doors := stream.NewStore("doors", stream.String(), stream.String(), stream.InMemory(), stream.CacheRows(100))
	stream.Process(in, "count", func() stream.Processor[string, string, string, string] { return &counter{store: doors} }, doors).To("out")

	d := streamtest.New(example{}, app)
	in2 := streamtest.NewInput(d, "in", stream.String(), stream.String())
	in2.Pipe("front", "open", at(0))
	in2.Pipe("back", "open", at(1))
	in2.Pipe("side", "red", at(2))
	d.Advance(10 * time.Second)
	printUpdates(d, "out")
	fmt.Println(d.Dropped())
	// Output:
	// open: 2
	// map[count/no_state:1]
}

type counter struct {
	store *stream.Store[string, string]
	doors *stream.State[string, string]
	ctx   *stream.ProcessorContext[string, string]
}

func (c *counter) Init(ctx *stream.ProcessorContext[string, string]) error {
	c.ctx, c.doors = ctx, stream.Open(ctx, c.store)
	ctx.OnWallClock(10*time.Second, func(timestamp int64) error {
		n := 0
		err := c.doors.All(func(_, state string) (bool, error) {
			if state == "open" {
				n++
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		return ctx.Forward(&stream.Record[string, string]{Key: "open", Value: strconv.Itoa(n), Timestamp: timestamp})
	})
	return nil
}

func (c *counter) Process(r *stream.Record[string, string]) error {
	if r.Value != "open" && r.Value != "shut" {
		c.ctx.Drop(stream.Rejection{Stage: record.StageProcess, Class: "no_state", Reason: "a door is open or shut"})
		return nil
	}
	return c.doors.Put(r.Key, r.Value)
}

// A processor sends one record on for all that come between two commits, and needs no store for it.
func ExampleFlusher() {
	app := stream.New("batches")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.Process(in, "sum", func() stream.Processor[string, string, string, string] { return &sum{} }).To("out")

	d := streamtest.New(example{}, app, streamtest.CommitByHand())
	numbers := streamtest.NewInput(d, "in", stream.String(), stream.String())
	for _, v := range []string{"1", "2", "3"} {
		numbers.Pipe("n", v, at(0))
	}
	d.Commit()
	printUpdates(d, "out")
	// Output: sum: 6
}

type sum struct {
	n   int
	ctx *stream.ProcessorContext[string, string]
}

func (s *sum) Init(ctx *stream.ProcessorContext[string, string]) error {
	s.ctx = ctx
	return nil
}

func (s *sum) Process(r *stream.Record[string, string]) error {
	n, err := strconv.Atoi(r.Value)
	s.n += n
	return err
}

func (s *sum) Flush() error {
	if s.n == 0 {
		return nil
	}
	out := stream.Record[string, string]{Key: "sum", Value: strconv.Itoa(s.n), Timestamp: at(0)}
	s.n = 0
	return s.ctx.Forward(&out)
}

// A structure of one's own is made of a topic, in every instance: here the prefixes of telephone numbers, for a function that looks for
// the longest that fits.
func ExampleGlobalStoreFrom() {
	app := stream.New("calls")
	prefixes := stream.GlobalStoreFrom(app, "prefixes", "prefixes", func() *prefixTree { return &prefixTree{country: map[string]string{}} })
	calls := stream.From(app, "in", stream.String(), stream.String())
	stream.MapBatch(calls, "country", func(_ context.Context, b *stream.Batch[string, string, string]) error {
		tree := prefixes.In(b)
		for i := range b.In {
			b.Out[i].Value = tree.longest(b.In[i].Value)
		}
		return nil
	}, stream.BatchOptions{Globals: []stream.GlobalRef{prefixes}}).Values(stream.String()).To("out")

	d := streamtest.New(example{}, app)
	known := streamtest.NewInput(d, "prefixes", stream.String(), stream.String())
	known.Pipe("4", "Europe", 1)
	known.Pipe("47", "Norway", 1)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("call-1", "4722", 2)
	printUpdates(d, "out")
	// Output: call-1: Norway
}

// prefixTree is safe here since the topic is read before the calls, and does not change; else it would have a lock.
type prefixTree struct{ country map[string]string }

func (t *prefixTree) Apply(r *record.Raw) *stream.Rejection {
	t.country[string(r.Key)] = string(r.Value)
	return nil
}

func (t *prefixTree) Len() int { return len(t.country) }

func (t *prefixTree) longest(number string) string {
	for n := len(number); n > 0; n-- {
		if c, ok := t.country[number[:n]]; ok {
			return c
		}
	}
	return "unknown"
}
