package stream_test

import (
	"fmt"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// at returns the event time of so many seconds after noon.
func at(seconds int) int64 { return time.Date(2030, 1, 1, 12, 0, seconds, 0, time.UTC).UnixMilli() }

// An advertisement that is shown may be clicked within ten minutes. Those that are not are wanted too: they are sent on
// when no click can come any more.
func ExampleLeftJoinStream() {
	app := stream.New("ads")
	shown := stream.From(app, "shown", stream.String(), stream.String())
	clicks := stream.From(app, "clicks", stream.String(), stream.String())
	w := stream.JoinWindow{After: 10 * time.Minute, Grace: time.Minute}
	stream.LeftJoinStream(shown, clicks, "clicked", w, func(ad, by string, ok bool) string {
		if !ok {
			return ad + " was not clicked"
		}
		return ad + " was clicked by " + by
	}).To("outcomes")

	d := streamtest.New(example{}, app)
	show := streamtest.NewInput(d, "shown", stream.String(), stream.String())
	click := streamtest.NewInput(d, "clicks", stream.String(), stream.String())
	show.Pipe("impression-1", "shoes", at(0))
	show.Pipe("impression-2", "boots", at(10))
	click.Pipe("impression-1", "Ann", at(45))
	show.Pipe("impression-3", "hats", at(700)) // ten minutes and the grace after the second
	for _, r := range streamtest.NewOutput(d, "outcomes", stream.String(), stream.String()).ReadAll() {
		fmt.Println(r.Time().Format(time.TimeOnly), r.Value)
	}
	// Output:
	// 12:00:45 shoes was clicked by Ann
	// 12:00:10 boots was not clicked
}

// Two models have scored the same requests. Their scores are compared; a request that only one of them has answered
// shows up as well.
func ExampleOuterJoinStream() {
	app := stream.New("shadow")
	live := stream.From(app, "live", stream.String(), stream.Float64())
	shadow := stream.From(app, "shadow", stream.String(), stream.Float64())
	pairs := stream.OuterJoinStream(live, shadow, "pairs", stream.Symmetric(time.Minute), func(s stream.Sides[float64, float64]) string {
		switch {
		case !s.HasLeft:
			return "the live model has no answer"
		case !s.HasRight:
			return "the shadow has no answer"
		default:
			return fmt.Sprintf("they differ by %.2f", s.Right-s.Left)
		}
	})
	pairs.To("pairs")

	d := streamtest.New(example{}, app)
	l := streamtest.NewInput(d, "live", stream.String(), stream.Float64())
	s := streamtest.NewInput(d, "shadow", stream.String(), stream.Float64())
	l.Pipe("request-1", 0.75, at(0))
	s.Pipe("request-1", 0.80, at(1))
	s.Pipe("request-2", 0.50, at(2))
	l.Pipe("request-3", 0.10, at(3))
	l.Pipe("request-4", 0.20, at(120))
	for _, r := range streamtest.NewOutput(d, "pairs", stream.String(), stream.String()).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// request-1 they differ by 0.05
	// request-2 the live model has no answer
	// request-3 the shadow has no answer
}

// A sale is joined with the price list that was valid when it was made, although both come out of order. Each sale
// waits half a minute for prices that come late.
func ExampleGrace() {
	app := stream.New("sales")
	sales := stream.From(app, "sales", stream.String(), stream.Int64())
	prices := stream.TableFrom(app, "prices", "prices", stream.String(), stream.Int64(), stream.Versioned(time.Hour))
	stream.JoinTable(sales, prices, "priced", func(pieces, price int64) int64 { return pieces * price },
		stream.Grace(30*time.Second)).To("priced")

	d := streamtest.New(example{}, app)
	sale := streamtest.NewInput(d, "sales", stream.String(), stream.Int64())
	price := streamtest.NewInput(d, "prices", stream.String(), stream.Int64())
	price.Pipe("apples", 10, at(0))
	price.Pipe("apples", 20, at(100))
	sale.Pipe("apples", 1, at(90))
	sale.Pipe("apples", 2, at(110))
	sale.Pipe("apples", 3, at(85))
	price.Pipe("apples", 15, at(88)) // comes late, and was valid for twelve seconds
	sale.Pipe("pears", 1, at(140))
	for _, r := range streamtest.NewOutput(d, "priced", stream.String(), stream.Int64()).ReadAll() {
		fmt.Println(r.Time().Format(time.TimeOnly), r.Value)
	}
	// Output:
	// 12:01:25 30
	// 12:01:30 15
	// 12:01:50 40
}

// Payments of a card from two places within five minutes are suspicious: the stream is joined with itself.
func ExampleJoinStream() {
	app := stream.New("cards")
	payments := stream.From(app, "payments", stream.String(), stream.String())
	moved := stream.JoinStream(payments, payments, "moved", stream.JoinWindow{After: 5 * time.Minute}, func(a, b string) string {
		return a + ", then " + b
	})
	moved.Filter(func(_, v string) bool { return v != "Oslo, then Oslo" && v != "Rome, then Rome" }).To("suspicious")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "payments", stream.String(), stream.String())
	in.Pipe("card-1", "Oslo", at(0))
	in.Pipe("card-2", "Rome", at(30))
	in.Pipe("card-1", "Rome", at(60))
	in.Pipe("card-2", "Oslo", at(900))
	for _, r := range streamtest.NewOutput(d, "suspicious", stream.String(), stream.String()).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// card-1 Oslo, then Rome
}
