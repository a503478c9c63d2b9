package stream_test

import (
	"context"
	"errors"
	"fmt"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// Orders are joined with the table of customers. Those of customers that nobody knows are dropped.
func Example() {
	app := stream.New("orders")
	orders := stream.From(app, "orders", stream.String(), stream.Decimal())
	customers := stream.TableFrom(app, "customers", "customers", stream.String(), stream.String())
	stream.JoinTable(orders, customers, "with-name", func(cents int64, name string) string {
		return fmt.Sprintf("%s: %d.%02d", name, cents/100, cents%100)
	}).To("named")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "customers", stream.String(), stream.String()).Pipe("c-1", "Ada", 1)
	in := streamtest.NewInput(d, "orders", stream.String(), stream.Decimal())
	in.Pipe("c-1", 1250, 2)
	in.Pipe("c-2", 999, 3)
	fmt.Println(streamtest.NewOutput(d, "named", stream.String(), stream.String()).ReadValues())
	// Output: [Ada: 12.50]
}

// A function over batches: here it squares numbers, and has no answer for negative ones, which go to the dead letters.
func ExampleMapBatch() {
	app := stream.New("squares", stream.DeadLetters("dead"))
	numbers := stream.From(app, "numbers", stream.String(), stream.Int64())
	stream.MapBatch(numbers, "square", func(_ context.Context, b *stream.Batch[string, int64, int64]) error {
		for i := range b.In {
			if b.In[i].Value < 0 {
				b.Out[i].Err = errors.New("negative")
				continue
			}
			b.Out[i].Value = b.In[i].Value * b.In[i].Value
		}
		return nil
	}, stream.BatchOptions{MaxSize: 100, Concurrency: 4, OnError: stream.OnError(stream.DeadLetter)}).To("squares")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "numbers", stream.String(), stream.Int64())
	for _, n := range []int64{1, 2, -3, 4} {
		in.Pipe("n", n, 1)
	}
	fmt.Println(streamtest.NewOutput(d, "squares", stream.String(), stream.Int64()).ReadValues(), d.Dropped(), len(d.Raw("dead", 0)))
	// Output: [1 4 16] map[square/function_failed:1] 1
}
