package stream_test

import (
	"fmt"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// profile is what is known of a customer.
type profile struct {
	Clicks int
	Spent  float64
}

func click(_ string, _ string, p profile) profile { return profile{p.Clicks + 1, p.Spent} }

func spend(_ string, v float64, p profile) profile { return profile{p.Clicks, p.Spent + v} }

// Clicks and payments make one profile of each customer.
func ExampleAggregateCogroup() {
	app := stream.New("profiles")
	clicks := stream.From(app, "clicks", stream.String(), stream.String())
	payments := stream.From(app, "payments", stream.String(), stream.Float64())
	c := stream.Cogroup(stream.GroupByKey(clicks), click)
	c = stream.CogroupWith(c, stream.GroupByKey(payments), spend)
	profiles := stream.AggregateCogroup(c, "profiles", stream.JSON[profile](), func() profile { return profile{} })
	profiles.ToStream().To("profiles")

	d := streamtest.New(example{}, app)
	clicked := streamtest.NewInput(d, "clicks", stream.String(), stream.String())
	paid := streamtest.NewInput(d, "payments", stream.String(), stream.Float64())
	clicked.Pipe("Ann", "shoes", at(0))
	clicked.Pipe("Ann", "boots", at(5))
	paid.Pipe("Ann", 79.9, at(60))
	for _, p := range streamtest.NewOutput(d, "profiles", stream.String(), stream.JSON[profile]()).ReadValues() {
		fmt.Printf("%+v\n", p)
	}
	// Output:
	// {Clicks:1 Spent:0}
	// {Clicks:2 Spent:0}
	// {Clicks:2 Spent:79.9}
}

// The same by hour: each hour of a customer is sent on when it is over.
func ExampleAggregateCogroupWindows() {
	app := stream.New("profiles")
	clicks := stream.From(app, "clicks", stream.String(), stream.String())
	payments := stream.From(app, "payments", stream.String(), stream.Float64())
	c := stream.CogroupWith(stream.Cogroup(stream.GroupByKey(clicks), click), stream.GroupByKey(payments), spend)
	hours := stream.AggregateCogroupWindows(c, stream.Tumbling(time.Hour), "hours", stream.JSON[profile](),
		func() profile { return profile{} }, stream.EmitOnClose())
	hours.ToStream().To("hours")

	d := streamtest.New(example{}, app)
	clicked := streamtest.NewInput(d, "clicks", stream.String(), stream.String())
	paid := streamtest.NewInput(d, "payments", stream.String(), stream.Float64())
	clicked.Pipe("Ann", "shoes", at(0))
	paid.Pipe("Ann", 79.9, at(60))
	clicked.Pipe("Ann", "boots", at(3600))
	for _, r := range streamtest.NewOutput(d, "hours", stream.WindowedKey(stream.String()), stream.JSON[profile]()).ReadAll() {
		fmt.Printf("%s %s %+v\n", r.Key.Key, time.UnixMilli(r.Key.Start).UTC().Format(time.TimeOnly), r.Value)
	}
	// Output:
	// Ann 12:00:00 {Clicks:1 Spent:79.9}
}

// The same by visit: a visit is over after half an hour without a click or a payment.
func ExampleAggregateCogroupSessions() {
	app := stream.New("profiles")
	clicks := stream.From(app, "clicks", stream.String(), stream.String())
	payments := stream.From(app, "payments", stream.String(), stream.Float64())
	c := stream.CogroupWith(stream.Cogroup(stream.GroupByKey(clicks), click), stream.GroupByKey(payments), spend)
	merge := func(_ string, a, b profile) profile { return profile{a.Clicks + b.Clicks, a.Spent + b.Spent} }
	visits := stream.AggregateCogroupSessions(c, stream.Sessions(30*time.Minute), "visits", stream.JSON[profile](),
		func() profile { return profile{} }, merge, stream.EmitOnClose())
	visits.ToStream().To("visits")

	d := streamtest.New(example{}, app)
	clicked := streamtest.NewInput(d, "clicks", stream.String(), stream.String())
	paid := streamtest.NewInput(d, "payments", stream.String(), stream.Float64())
	clicked.Pipe("Ann", "shoes", at(0))
	paid.Pipe("Ann", 79.9, at(60))
	clicked.Pipe("Ann", "boots", at(3600))
	for _, r := range streamtest.NewOutput(d, "visits", stream.WindowedKey(stream.String()), stream.JSON[profile]()).ReadAll() {
		fmt.Printf("%s %v %+v\n", r.Key.Key, time.Duration(r.Key.End-r.Key.Start)*time.Millisecond, r.Value)
	}
	// Output:
	// Ann 1m0s {Clicks:1 Spent:79.9}
}
