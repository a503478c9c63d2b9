package stream_test

import (
	"fmt"
	"strings"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// The clicks of a visitor are counted by visit, which ends when there is none for half an hour. The count of a visit is sent
// on once: when it has ended.
func ExampleCountSessions() {
	app := stream.New("visits")
	clicks := stream.From(app, "clicks", stream.String(), stream.String())
	visits := stream.WindowedBySessions(stream.GroupByKey(clicks), stream.Sessions(30*time.Minute))
	stream.CountSessions(visits, "clicks-per-visit", stream.EmitOnClose()).ToStream().To("counts")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "clicks", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "counts", stream.WindowedKey(stream.String()), stream.Int64())
	start := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, minute := range []int{0, 20, 45, 100, 140} {
		in.Pipe("ann", "click", start.Add(time.Duration(minute)*time.Minute).UnixMilli())
	}
	for _, r := range out.ReadAll() {
		from, to := time.UnixMilli(r.Key.Start).UTC(), time.UnixMilli(r.Key.End).UTC()
		fmt.Println(r.Key.Key, from.Format(time.TimeOnly), to.Format(time.TimeOnly), r.Value)
	}
	// Output:
	// ann 12:00:00 12:45:00 3
	// ann 13:40:00 13:40:00 1
}

// Without EmitOnClose each record updates its session. One that is between two sessions makes them one: their rows are
// deleted, and there is a new one.
func ExampleReduceSessions() {
	app := stream.New("amounts")
	amounts := stream.From(app, "amounts", stream.String(), stream.Int64())
	sessions := stream.WindowedBySessions(stream.GroupByKey(amounts), stream.Sessions(10*time.Second).Grace(time.Minute))
	stream.ReduceSessions(sessions, "sums", func(a, v int64) int64 { return a + v }).ToStream().To("sums")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "amounts", stream.String(), stream.Int64())
	out := streamtest.NewOutput(d, "sums", stream.WindowedKey(stream.String()), stream.Int64())
	in.Pipe("card", 5, 1_000)
	in.Pipe("card", 7, 20_000)
	in.Pipe("card", 1, 10_500)
	for _, r := range out.ReadAll() {
		if r.NullValue {
			fmt.Println(r.Key.Start, r.Key.End, "deleted")
		} else {
			fmt.Println(r.Key.Start, r.Key.End, r.Value)
		}
	}
	// Output:
	// 1000 1000 5
	// 20000 20000 7
	// 1000 1000 deleted
	// 20000 20000 deleted
	// 1000 20000 13
}

// An aggregate needs a function that makes one of two, for sessions that a record has joined.
func ExampleAggregateSessions() {
	app := stream.New("pages")
	views := stream.From(app, "views", stream.String(), stream.String())
	visits := stream.WindowedBySessions(stream.GroupByKey(views), stream.Sessions(time.Minute))
	paths := stream.AggregateSessions(visits, "paths", stream.JSON[[]string](),
		func() []string { return nil },
		func(_, page string, path []string) []string { return append(path[:len(path):len(path)], page) },
		func(_ string, a, b []string) []string { return append(a[:len(a):len(a)], b...) },
		stream.EmitOnClose())
	stream.MapValues(paths.ToStream(), func(path []string) string { return strings.Join(path, " > ") }).To("paths")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "views", stream.String(), stream.String())
	in.Pipe("ann", "home", 0)
	in.Pipe("ann", "search", 30_000)
	in.Pipe("ann", "basket", 50_000)
	in.Pipe("bob", "home", 200_000)
	for _, v := range streamtest.NewOutput(d, "paths", stream.WindowedKey(stream.String()), stream.String()).ReadValues() {
		fmt.Println(v)
	}
	// Output:
	// home > search > basket
}
