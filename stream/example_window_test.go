package stream_test

import (
	"fmt"
	"testing"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// example stands in for the *testing.T that a test has and an example has not.
type example struct{ testing.TB }

func (example) Helper()                           {}
func (example) Cleanup(func())                    {}
func (example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (example) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Payments of a card are counted by minute. Each update is sent on, as a row of a table.
func ExampleCountWindows() {
	app := stream.New("payments")
	payments := stream.From(app, "payments", stream.String(), stream.Float64())
	perMinute := stream.WindowedBy(stream.GroupByKey(payments), stream.Tumbling(time.Minute).Grace(10*time.Second))
	stream.CountWindows(perMinute, "payments-per-minute").ToStream().To("counts")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "payments", stream.String(), stream.Float64())
	out := streamtest.NewOutput(d, "counts", stream.WindowedKey(stream.String()), stream.Int64())
	start := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, second := range []int{5, 50, 65, 55, 75, 58} { // the last is late: stream time is beyond 12:01:00 and the grace
		in.Pipe("card", 9.99, start.Add(time.Duration(second)*time.Second).UnixMilli())
	}
	for _, r := range out.ReadAll() {
		fmt.Println(r.Key.Key, time.UnixMilli(r.Key.Start).UTC().Format(time.TimeOnly), r.Value)
	}
	for _, drop := range d.Drops() {
		fmt.Println(drop.Node, drop.Problem.Class)
	}
	// Output:
	// card 12:00:00 1
	// card 12:00:00 2
	// card 12:01:00 1
	// card 12:00:00 3
	// card 12:01:00 2
	// payments-per-minute late
}

// The highest reading of ten minutes, every five minutes, is sent on once: when the window has closed.
func ExampleEmitOnClose() {
	app := stream.New("sensors")
	readings := stream.From(app, "readings", stream.String(), stream.Float64())
	windows := stream.WindowedBy(stream.GroupByKey(readings), stream.Hopping(10*time.Minute, 5*time.Minute))
	highest := stream.ReduceWindows(windows, "highest", func(a, v float64) float64 { return max(a, v) }, stream.EmitOnClose())
	highest.ToStream().To("highest")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "readings", stream.String(), stream.Float64())
	out := streamtest.NewOutput(d, "highest", stream.WindowedKey(stream.String()), stream.Float64())
	start := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, r := range []struct {
		at    time.Duration
		value float64
	}{{0, 17.5}, {4 * time.Minute, 21}, {7 * time.Minute, 19.5}, {12 * time.Minute, 18}, {20 * time.Minute, 16}} {
		in.Pipe("roof", r.value, start.Add(r.at).UnixMilli())
	}
	for _, r := range out.ReadAll() {
		fmt.Println(r.Key.Key, time.UnixMilli(r.Key.Start).UTC().Format(time.TimeOnly), r.Value)
	}
	// Output:
	// roof 11:55:00 21
	// roof 12:00:00 21
	// roof 12:05:00 19.5
	// roof 12:10:00 18
}

// An aggregate can be of any type that has a codec.
func ExampleAggregateWindows() {
	type mean struct {
		N   int
		Sum float64
	}
	app := stream.New("means")
	values := stream.From(app, "values", stream.String(), stream.Float64())
	means := stream.AggregateWindows(stream.WindowedBy(stream.GroupByKey(values), stream.Tumbling(time.Hour)), "mean", stream.JSON[mean](),
		func() mean { return mean{} },
		func(_ string, v float64, m mean) mean { return mean{m.N + 1, m.Sum + v} })
	stream.MapValues(means.ToStream(), func(m mean) float64 { return m.Sum / float64(m.N) }).To("means")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "values", stream.String(), stream.Float64())
	in.Pipe("a", 1, 0)
	in.Pipe("a", 2, 1000)
	for _, v := range streamtest.NewOutput(d, "means", stream.WindowedKey(stream.String()), stream.Float64()).ReadValues() {
		fmt.Println(v)
	}
	// Output:
	// 1
	// 1.5
}

// After a minute without records stream time follows the clock, and the window closes all the same.
func ExampleIdleTimeout() {
	app := stream.New("idle", stream.IdleTimeout(time.Minute))
	clicks := stream.From(app, "clicks", stream.String(), stream.String())
	perHour := stream.WindowedBy(stream.GroupByKey(clicks), stream.Tumbling(time.Hour))
	stream.CountWindows(perHour, "clicks-per-hour", stream.EmitOnClose()).ToStream().To("counts")

	start := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	d := streamtest.New(example{}, app, streamtest.StartAt(start))
	in := streamtest.NewInput(d, "clicks", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "counts", stream.WindowedKey(stream.String()), stream.Int64())
	in.Pipe("home", "click", start.UnixMilli())
	d.Advance(59 * time.Minute)
	fmt.Println(out.Len())
	d.Advance(3 * time.Minute)
	fmt.Println(out.ReadValues())
	// Output:
	// 0
	// [1]
}
