package stream_test

import (
	"fmt"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// What is known of a device is forgotten when nothing came of it for a day: its row is deleted, and whoever follows the
// table is told.
func ExampleTTL() {
	app := stream.New("devices")
	readings := stream.From(app, "readings", stream.String(), stream.Int64())
	stream.Count(stream.GroupByKey(readings), "readings-per-device", stream.TTL(24*time.Hour)).ToStream().To("counts")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "readings", stream.String(), stream.Int64())
	out := streamtest.NewOutput(d, "counts", stream.String(), stream.Int64())
	start := time.Date(2029, 12, 30, 12, 0, 0, 0, time.UTC)
	in.Pipe("left", 20, start.UnixMilli())
	in.Pipe("right", 21, start.Add(time.Hour).UnixMilli())
	in.Pipe("right", 22, start.Add(24*time.Hour).UnixMilli())
	in.Pipe("right", 22, start.Add(36*time.Hour).UnixMilli())
	for _, r := range out.ReadAll() {
		if r.NullValue {
			fmt.Println(r.Key, "was forgotten")
			continue
		}
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// left 1
	// right 1
	// right 2
	// left was forgotten
	// right 3
}
