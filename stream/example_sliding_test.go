package stream_test

import (
	"fmt"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// Logins that failed are counted in each ten minutes that begin or end with one, so that three that are close are found
// wherever they are. Each count is sent on once, when no more can come.
func ExampleSliding() {
	app := stream.New("logins")
	failed := stream.From(app, "failed", stream.String(), stream.String())
	near := stream.WindowedBy(stream.GroupByKey(failed), stream.Sliding(10*time.Minute).Grace(time.Minute))
	counts := stream.CountWindows(near, "failed-in-ten-minutes", stream.EmitOnClose())
	counts.ToStream().Filter(func(_ stream.Windowed[string], n int64) bool { return n >= 3 }).To("alerts")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "failed", stream.String(), stream.String())
	start := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, minute := range []int{0, 8, 13, 18, 60} {
		in.Pipe("ada", "wrong password", start.Add(time.Duration(minute)*time.Minute).UnixMilli())
	}
	for _, r := range streamtest.NewOutput(d, "alerts", stream.WindowedKey(stream.String()), stream.Int64()).ReadAll() {
		from, to := time.UnixMilli(r.Key.Start).UTC(), time.UnixMilli(r.Key.End).UTC()
		fmt.Println(r.Key.Key, from.Format(time.TimeOnly), to.Format(time.TimeOnly), r.Value)
	}
	// Output:
	// ada 12:08:00 12:18:00 3
}
