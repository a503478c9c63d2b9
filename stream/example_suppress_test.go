package stream_test

import (
	"fmt"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// Failed logins are counted by minute, and each minute that had more than two is reported once, with the final count. The
// counts as they come could be used too.
func ExampleSuppressUntilWindowCloses() {
	app := stream.New("logins")
	failed := stream.From(app, "failed-logins", stream.String(), stream.String())
	perMinute := stream.WindowedBy(stream.GroupByKey(failed), stream.Tumbling(time.Minute).Grace(10*time.Second))
	counts := stream.CountWindows(perMinute, "failed-per-minute")
	many := counts.Filter(func(_ stream.Windowed[string], n int64) bool { return n > 2 })
	stream.SuppressUntilWindowCloses(many, "alerts", stream.MaxRecords(1_000_000)).ToStream().To("alerts")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "failed-logins", stream.String(), stream.String())
	for _, second := range []int{5, 20, 30, 62, 59, 69, 70, 71} { // 59 comes late, but within the grace
		in.Pipe("Ann", "wrong password", at(second))
	}
	for _, r := range streamtest.NewOutput(d, "alerts", stream.WindowedKey(stream.String()), stream.Int64()).ReadAll() {
		fmt.Println(r.Key.Key, time.UnixMilli(r.Key.Start).UTC().Format(time.TimeOnly), r.Value)
	}
	// Output:
	// Ann 12:00:00 4
}

// A position that changes all the time is sent on once every ten seconds.
func ExampleSuppressUntilTimeLimit() {
	app := stream.New("positions")
	positions := stream.TableFrom(app, "positions", "positions", stream.String(), stream.Float64())
	stream.SuppressUntilTimeLimit(positions, "now-and-then", 10*time.Second, stream.Unbounded()).ToStream().To("now-and-then")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "positions", stream.String(), stream.Float64())
	for second := range 25 {
		in.Pipe("bus", float64(second)/10, at(second))
	}
	for _, r := range streamtest.NewOutput(d, "now-and-then", stream.String(), stream.Float64()).ReadAll() {
		fmt.Println(r.Time().Format(time.TimeOnly), r.Value)
	}
	// Output:
	// 12:00:10 1
	// 12:00:21 2.1
}

// At most two keys wait: where there are more, the one that has waited longest is sent on early.
func ExampleMaxRecords() {
	app := stream.New("stock")
	stock := stream.TableFrom(app, "stock", "stock", stream.String(), stream.Int64())
	stream.SuppressUntilTimeLimit(stock, "hourly", time.Hour, stream.MaxRecords(2).EmitEarlyWhenFull()).ToStream().To("hourly")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "stock", stream.String(), stream.Int64())
	in.Pipe("shoes", 10, at(0))
	in.Pipe("boots", 20, at(1))
	in.Pipe("shoes", 9, at(2))
	in.Pipe("hats", 30, at(3))
	for _, r := range streamtest.NewOutput(d, "hourly", stream.String(), stream.Int64()).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// shoes 9
}
