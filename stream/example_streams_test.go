package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// A topic is read with the codecs of its keys and values. The event time of a reading is in it, not in the record's timestamp; where a
// sensor has no clock it is that of the application.
func ExampleFrom() {
	app := stream.New("readings")
	taken := stream.EventTime(func(r *stream.Record[string, string]) time.Time {
		seconds, _, _ := strings.Cut(r.Value, " ")
		n, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return time.Time{} // none
		}
		return time.Unix(n, 0)
	})
	in := stream.From(app, "in", stream.String(), stream.String(), taken, stream.UseClock())
	in.Peek(func(r *stream.Record[string, string]) {
		fmt.Println(r.Value, "at", time.UnixMilli(r.Timestamp).UTC().Format(time.DateTime))
	}).To("out")

	d := streamtest.New(example{}, app)
	sensor := streamtest.NewInput(d, "in", stream.String(), stream.String())
	sensor.Pipe("s-1", "1893499200 21.5", 7)
	sensor.Pipe("s-2", "? 22.0", 7)
	// Output:
	// 1893499200 21.5 at 2030-01-01 12:00:00
	// ? 22.0 at 2030-01-01 00:00:00
}

// An application that has committed nothing yet begins with what is written from now on.
func ExampleStartLatest() {
	app := stream.New("alerts")
	stream.From(app, "in", stream.String(), stream.String(), stream.StartLatest()).To("out")

	pipeTexts(app, stream.KV("door", "open"))
	// Output: door: open
}

// With a Nullable codec functions see deletions.
func ExampleNullable() {
	app := stream.New("deletions")
	in := stream.From(app, "in", stream.String(), stream.Nullable(stream.String()))
	stream.MapValues(in, func(v *string) string {
		if v == nil {
			return "is gone"
		}
		return "is " + *v
	}).To("out")

	d := streamtest.New(example{}, app)
	rows := streamtest.NewInput(d, "in", stream.String(), stream.String())
	rows.Pipe("door", "open", 1)
	rows.PipeRecord(stream.Record[string, string]{Key: "door", NullValue: true, Timestamp: 2})
	printUpdates(d, "out")
	// Output:
	// door: is open
	// door: is gone
}

func ExampleMapValuesWithKey() {
	app := stream.New("greet")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.MapValuesWithKey(in, func(name, greeting string) string { return greeting + ", " + name }).To("out")

	pipeTexts(app, stream.KV("Ada", "good morning"))
	// Output: Ada: good morning, Ada
}

func ExampleFlatMapValuesWithKey() {
	app := stream.New("words")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.FlatMapValuesWithKey(in, func(page, text string) (list []string) {
		for i, word := range strings.Fields(text) {
			list = append(list, fmt.Sprintf("%s is word %d of %s", word, i+1, page))
		}
		return list
	}).To("out")

	pipeTexts(app, stream.KV("p-1", "to be"))
	// Output:
	// p-1: to is word 1 of p-1
	// p-1: be is word 2 of p-1
}

// A function that can fail is tried three times, and what it cannot do goes to the dead letters.
func ExampleTryMapValuesWithKey() {
	app := stream.New("parse", stream.DeadLetters("dead"))
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.TryMapValuesWithKey(in, func(_ context.Context, sensor, reading string) (string, error) {
		v, err := strconv.ParseFloat(reading, 64)
		if err != nil {
			return "", errors.New("no number")
		}
		return fmt.Sprintf("%s: %.1f F", sensor, v*9/5+32), nil
	}, stream.ErrorPolicy{Retries: 2, Then: stream.DeadLetter}, stream.Named("parse")).To("out")

	d := pipeTexts(app, stream.KV("s-1", "20"), stream.KV("s-2", "warm"))
	fmt.Println(d.Dropped(), len(d.Raw("dead", 0)))
	// Output:
	// s-1: s-1: 68.0 F
	// map[parse/function_failed:1] 1
}

// What is dropped goes to a topic, as it came, with the operator, a class and a reason in its headers.
func ExampleDeadLetters() {
	app := stream.New("numbers", stream.DeadLetters("dead"))
	stream.From(app, "in", stream.String(), stream.Decimal()).To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("k", "seven", 1)
	for _, letter := range d.Raw("dead", 0) {
		fmt.Printf("%s=%s\n", letter.Key, letter.Value)
	}
	fmt.Println(d.Dropped())
	// Output:
	// k=seven
	// map[in/undecodable:1]
}

// A record from next year does not make all others late.
func ExampleMaxAhead() {
	app := stream.New("clocks", stream.MaxAhead(time.Hour))
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.CountWindows(stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(time.Minute)), "counts").ToStream().To("counts")

	d := streamtest.New(example{}, app, streamtest.StartAt(time.UnixMilli(at(0))))
	sensor := streamtest.NewInput(d, "in", stream.String(), stream.String())
	sensor.Pipe("s-1", "", at(0)+365*24*time.Hour.Milliseconds())
	sensor.Pipe("s-1", "", at(1))
	fmt.Println(d.Dropped(), len(streamtest.NewOutput(d, "counts", stream.WindowedKey(stream.String()), stream.Int64()).ReadAll()))
	// Output: map[in/future_timestamp:1] 1
}

func ExampleStream_FilterNot() {
	app := stream.New("people")
	in := stream.From(app, "in", stream.String(), stream.String())
	in.FilterNot(func(_, agent string) bool { return strings.Contains(agent, "bot") }).To("out")

	pipeTexts(app, stream.KV("a", "a bot"), stream.KV("b", "a browser"))
	// Output: b: a browser
}

func ExampleStream_Peek() {
	app := stream.New("look")
	in := stream.From(app, "in", stream.String(), stream.String())
	in.Peek(func(r *stream.Record[string, string]) { fmt.Println("seen:", r.Key) }, stream.Named("look")).To("out")

	pipeTexts(app, stream.KV("a", "1"))
	// Output:
	// seen: a
	// a: 1
}

func ExampleStream_Foreach() {
	app := stream.New("print")
	stream.From(app, "in", stream.String(), stream.String()).Foreach(func(r *stream.Record[string, string]) { fmt.Println(r.Key, r.Value) })

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("a", "1", 1)
	// Output: a 1
}

// A number becomes the key. It is encoded as text, so that it comes to the partition where the table has it, and is found.
func ExampleStream_Keys() {
	app := stream.New("orders")
	customers := stream.TableFrom(app, "customers", "customers", stream.Decimal(), stream.String())
	orders := stream.From(app, "in", stream.String(), stream.String())
	byCustomer := stream.SelectKey(orders, func(_, order string) int64 {
		n, _ := strconv.ParseInt(order, 10, 64) // 0 is nobody
		return n
	}).Keys(stream.Decimal())
	stream.JoinTable(byCustomer, customers, "with-name", func(_, name string) string { return "order of " + name }).To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "customers", stream.Decimal(), stream.String()).Pipe(12, "Ada", 1)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("o-1", "12", 2)
	printUpdates(d, "out")
	// Output: 12: order of Ada
}

// Records go to the partition that the first letter of the key says, and say what they come of.
func ExampleStream_To() {
	app := stream.New("shelves")
	in := stream.From(app, "in", stream.String(), stream.String())
	in.To("out", stream.Provenance(), stream.PartitionBy(func(r *stream.Record[string, string], partitions int) int {
		return int(r.Key[0]-'a') % partitions
	}))

	d := streamtest.New(example{}, app, streamtest.Partitions(3))
	books := streamtest.NewInput(d, "in", stream.String(), stream.String())
	books.Pipe("ant", "1", 1)
	books.Pipe("cat", "2", 1)
	for _, partition := range []int32{0, 2} {
		for _, r := range d.Raw("out", partition) {
			fmt.Printf("%d: %s %s\n", partition, r.Key, r.Headers[0].Key)
		}
	}
	// Output:
	// 0: ant millrace.source
	// 2: cat millrace.source
}

// Errors go to one topic, and all else to another.
func ExampleStream_ToChosen() {
	app := stream.New("logs")
	in := stream.From(app, "in", stream.String(), stream.String())
	in.ToChosen("by-level", []string{"errors", "others"}, func(_, line string) string {
		if strings.HasPrefix(line, "error") {
			return "errors"
		}
		return "others"
	})

	d := streamtest.New(example{}, app)
	lines := streamtest.NewInput(d, "in", stream.String(), stream.String())
	lines.Pipe("a", "error: no disk", 1)
	lines.Pipe("b", "ok", 2)
	printUpdates(d, "errors")
	// Output: a: error: no disk
}

// What a topology is made of, for reviews and pictures.
func ExampleTopology_Describe() {
	app := stream.New("words")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.Count(stream.GroupByKey(in), "counts").ToStream().To("out")
	text, err := app.Describe()
	fmt.Println(text, err)
	// Output:
	// Application words
	//
	// Sub-topology 0
	//   source in (topic: in)
	//     --> counts
	//   count counts (store: counts)
	//     --> to-stream-2
	//     <-- in
	//   to-stream-2
	//     --> sink-3
	//     <-- counts
	//   sink-3 (topic: out)
	//     <-- to-stream-2
	//
	// Stores
	//   counts: on disk, changelog words-counts-changelog
	//  <nil>
}
