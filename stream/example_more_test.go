package stream_test

import (
	"fmt"
	"strings"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// A topic of updates is read as a table, with the latest row of each key.
func ExampleTableFrom() {
	app := stream.New("prices")
	prices := stream.TableFrom(app, "prices", "in", stream.String(), stream.String())
	prices.ToStream().To("out")

	d := pipeTexts(app, stream.KV("apple", "3"), stream.KV("pear", "4"), stream.KV("apple", "5"))
	fmt.Println(streamtest.StateOf(d, "prices", stream.String(), stream.String()))
	// Output:
	// apple: 3
	// pear: 4
	// apple: 5
	// map[apple:5 pear:4]
}

// The price that an order is joined with is the one that was valid at its time, also when it comes after the next.
func ExampleVersioned() {
	app := stream.New("bills")
	prices := stream.TableFrom(app, "prices", "prices", stream.String(), stream.String(), stream.Versioned(time.Hour))
	orders := stream.From(app, "in", stream.String(), stream.String())
	stream.JoinTable(orders, prices, "bill", func(order, price string) string { return order + " for " + price }).To("out")

	d := streamtest.New(example{}, app)
	price := streamtest.NewInput(d, "prices", stream.String(), stream.String())
	price.Pipe("apple", "3", at(0))
	price.Pipe("apple", "5", at(30))
	order := streamtest.NewInput(d, "in", stream.String(), stream.String())
	order.Pipe("apple", "first", at(40))
	order.Pipe("apple", "late", at(20))
	printUpdates(d, "out")
	// Output:
	// apple: first for 5
	// apple: late for 3
}

// An update of a versioned table that comes late does not overwrite a newer one, and a join of tables is not told of it.
func ExampleJoinTables_versioned() {
	app := stream.New("shelves")
	prices := stream.TableFrom(app, "prices", "prices", stream.String(), stream.String(), stream.Versioned(time.Hour))
	stock := stream.TableFrom(app, "stock", "stock", stream.String(), stream.String())
	stream.JoinTables(stock, prices, func(stock, price string) string { return stock + " at " + price }).ToStream().Values(stream.String()).To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "stock", stream.String(), stream.String()).Pipe("apple", "ten", at(0))
	price := streamtest.NewInput(d, "prices", stream.String(), stream.String())
	price.Pipe("apple", "5", at(30))
	price.Pipe("apple", "3", at(20)) // late
	printUpdates(d, "out")
	// Output: apple: ten at 5
}

// The same for a join by a foreign key.
func ExampleJoinForeignKey_versioned() {
	app := stream.New("orders")
	orders := stream.TableFrom(app, "orders", "orders", stream.String(), stream.String())
	customers := stream.TableFrom(app, "customers", "customers", stream.String(), stream.String(), stream.Versioned(time.Hour))
	stream.JoinForeignKey(orders, customers, "with-customer", customerOf, func(order, customer string) string {
		return order + ", who lives in " + customer
	}).ToStream().Values(stream.String()).To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "orders", stream.String(), stream.String()).Pipe("order-1", "shoes for c1", at(0))
	customer := streamtest.NewInput(d, "customers", stream.String(), stream.String())
	customer.Pipe("c1", "Rome", at(30))
	customer.Pipe("c1", "Oslo", at(20)) // late
	printUpdates(d, "out")
	// Output: order-1: shoes for c1, who lives in Rome
}

func ExampleJoinTable() {
	app := stream.New("orders")
	customers := stream.TableFrom(app, "customers", "customers", stream.String(), stream.String())
	orders := stream.From(app, "in", stream.String(), stream.String())
	stream.JoinTable(orders, customers, "with-name", func(order, name string) string { return order + " for " + name }).To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "customers", stream.String(), stream.String()).Pipe("c-1", "Ada", 1)
	order := streamtest.NewInput(d, "in", stream.String(), stream.String())
	order.Pipe("c-1", "shoes", 2)
	order.Pipe("c-2", "boots", 3) // of nobody who is known
	printUpdates(d, "out")
	// Output: c-1: shoes for Ada
}

// Every instance has all rows of a global table, so that it can be looked up by any key: here by the country in the order.
func ExampleGlobalTableFrom() {
	app := stream.New("taxes")
	rates := stream.GlobalTableFrom(app, "rates", "rates", stream.String(), stream.String())
	orders := stream.From(app, "in", stream.String(), stream.String())
	country := func(_, order string) (string, bool) {
		_, country, ok := strings.Cut(order, " to ")
		return country, ok
	}
	stream.JoinGlobal(orders, rates, country, func(order, rate string) string { return order + ", " + rate }).To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "rates", stream.String(), stream.String()).Pipe("NO", "25 %", 1)
	streamtest.NewInput(d, "in", stream.String(), stream.String()).Pipe("o-1", "shoes to NO", 2)
	printUpdates(d, "out")
	// Output: o-1: shoes to NO, 25 %
}

func ExampleLeftJoinGlobal() {
	app := stream.New("taxes")
	rates := stream.GlobalTableFrom(app, "rates", "rates", stream.String(), stream.String())
	orders := stream.From(app, "in", stream.String(), stream.String())
	stream.LeftJoinGlobal(orders, rates, func(_, country string) (string, bool) { return country, true }, func(country, rate string, ok bool) string {
		if !ok {
			return country + " has no rate"
		}
		return country + " has " + rate
	}).To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "rates", stream.String(), stream.String()).Pipe("NO", "25 %", 1)
	order := streamtest.NewInput(d, "in", stream.String(), stream.String())
	order.Pipe("o-1", "NO", 2)
	order.Pipe("o-2", "XX", 3)
	printUpdates(d, "out")
	// Output:
	// o-1: NO has 25 %
	// o-2: XX has no rate
}

func ExampleTable_FilterNot() {
	app := stream.New("stock")
	stock := stream.TableFrom(app, "stock", "in", stream.String(), stream.String())
	stock.FilterNot(func(_, n string) bool { return n == "0" }).ToStream().To("out")

	pipeTexts(app, stream.KV("apple", "3"), stream.KV("apple", "0"))
	// Output:
	// apple: 3
	// apple: -
}

// The updates of a table are a stream: a record for each, without a value where the row was deleted.
func ExampleTable_ToStream() {
	app := stream.New("stock")
	stock := stream.TableFrom(app, "stock", "in", stream.String(), stream.String())
	stock.ToStream().To("out")

	d := streamtest.New(example{}, app)
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	in.Pipe("apple", "3", 1)
	in.PipeRecord(stream.Record[string, string]{Key: "apple", NullValue: true, Timestamp: 2})
	printUpdates(d, "out")
	// Output:
	// apple: 3
	// apple: -
}

// Keys have not changed since the topic, so that no repartition topic is needed.
func ExampleGroupByKey() {
	app := stream.New("sums")
	in := stream.From(app, "in", stream.String(), stream.String())
	stream.Reduce(stream.GroupByKey(in), "all", func(all, v string) string { return all + "+" + v }).ToStream().To("out")

	d := pipeTexts(app, stream.KV("a", "1"), stream.KV("a", "2"))
	fmt.Println(d.Topics())
	// Output:
	// a: 1
	// a: 1+2
	// [in out]
}

// Words are grouped by their first letter: the records go through a topic, so that those of a letter come together.
func ExampleGroupBy() {
	app := stream.New("letters")
	in := stream.From(app, "in", stream.String(), stream.String())
	byLetter := stream.GroupBy(in, stream.String(), func(_, word string) string { return word[:1] })
	stream.Reduce(byLetter, "words", func(all, word string) string { return all + " " + word }).ToStream().To("out")

	d := pipeTexts(app, stream.KV("1", "ant"), stream.KV("2", "bee"), stream.KV("3", "ape"))
	fmt.Println(d.Topics())
	// Output:
	// a: ant
	// b: bee
	// a: ant ape
	// [in letters-words-repartition out]
}

// Customers are counted by city: one who moves is taken out of one group and put into another.
func ExampleGroupTable() {
	app := stream.New("cities")
	customers := stream.TableFrom(app, "customers", "in", stream.String(), stream.String())
	byCity := stream.GroupTable(customers, stream.String(), stream.String(), func(name, city string) (string, string) { return city, name })
	stream.CountTable(byCity, "counts").ToStream().Values(stream.Decimal()).To("out")

	pipeTexts(app, stream.KV("Ada", "Oslo"), stream.KV("Bob", "Oslo"), stream.KV("Ada", "Rome"))
	// Output:
	// Oslo: 1
	// Oslo: 2
	// Oslo: 1
	// Rome: 1
}

// printWindows prints the updates of windows of texts in the topic out, by the seconds of their starts and ends.
func printWindows(d *streamtest.Driver) {
	second := func(t int64) int64 { return (t - at(0)) / 1000 }
	for _, r := range streamtest.NewOutput(d, "out", stream.WindowedKey(stream.String()), stream.String()).ReadAll() {
		if r.NullValue {
			r.Value = "-"
		}
		fmt.Printf("%s %d to %d: %s\n", r.Key.Key, second(r.Key.Start), second(r.Key.End), r.Value)
	}
}

// What comes of a windowed group is a table of windows: here of what was bought within a minute.
func ExampleWindowedBy() {
	app := stream.New("baskets")
	in := stream.From(app, "in", stream.String(), stream.String())
	perMinute := stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(time.Minute))
	stream.ReduceWindows(perMinute, "baskets", func(all, v string) string { return all + " " + v }).ToStream().To("out")

	d := streamtest.New(example{}, app)
	bought := streamtest.NewInput(d, "in", stream.String(), stream.String())
	bought.Pipe("Ada", "shoes", at(10))
	bought.Pipe("Ada", "hat", at(20))
	bought.Pipe("Ada", "boots", at(70))
	printWindows(d)
	// Output:
	// Ada 0 to 60: shoes
	// Ada 0 to 60: shoes hat
	// Ada 60 to 120: boots
}

// With a grace a window takes records that come out of order for a while.
func ExampleTumbling() {
	app := stream.New("baskets")
	in := stream.From(app, "in", stream.String(), stream.String())
	perMinute := stream.WindowedBy(stream.GroupByKey(in), stream.Tumbling(time.Minute).Grace(15*time.Second))
	all := stream.ReduceWindows(perMinute, "baskets", func(all, v string) string { return all + " " + v }, stream.EmitOnClose())
	all.ToStream().To("out")

	d := streamtest.New(example{}, app)
	bought := streamtest.NewInput(d, "in", stream.String(), stream.String())
	bought.Pipe("Ada", "shoes", at(10))
	bought.Pipe("Ada", "boots", at(70))
	bought.Pipe("Ada", "hat", at(20)) // out of order
	bought.Pipe("Ada", "gloves", at(80))
	bought.Pipe("Ada", "scarf", at(30)) // too late: the window has closed
	printWindows(d)
	fmt.Println(d.Dropped())
	// Output:
	// Ada 0 to 60: shoes hat
	// map[baskets/late:1]
}

// Windows of a minute begin every half a minute, so that each record is in two. Their rows are kept for an hour, for joins and queries.
func ExampleHopping() {
	app := stream.New("baskets")
	in := stream.From(app, "in", stream.String(), stream.String())
	windows := stream.WindowedBy(stream.GroupByKey(in), stream.Hopping(time.Minute, 30*time.Second))
	stream.ReduceWindows(windows, "baskets", func(all, v string) string { return all + " " + v }, stream.Retention(time.Hour)).ToStream().To("out")

	d := streamtest.New(example{}, app)
	bought := streamtest.NewInput(d, "in", stream.String(), stream.String())
	bought.Pipe("Ada", "shoes", at(40))
	bought.Pipe("Ada", "hat", at(70))
	printWindows(d)
	// Output:
	// Ada 0 to 60: shoes
	// Ada 30 to 90: shoes
	// Ada 30 to 90: shoes hat
	// Ada 60 to 120: hat
}

// A session ends when nothing has come for half a minute. A record that lies between two makes one of them.
func ExampleSessions() {
	app := stream.New("visits")
	in := stream.From(app, "in", stream.String(), stream.String())
	visits := stream.WindowedBySessions(stream.GroupByKey(in), stream.Sessions(30*time.Second).Grace(time.Minute))
	stream.ReduceSessions(visits, "visits", func(all, page string) string { return all + " " + page }).ToStream().To("out")

	d := streamtest.New(example{}, app)
	page := streamtest.NewInput(d, "in", stream.String(), stream.String())
	page.Pipe("Ada", "home", at(0))
	page.Pipe("Ada", "help", at(50))
	page.Pipe("Ada", "shop", at(25)) // out of order
	printWindows(d)
	// Output:
	// Ada 0 to 0: home
	// Ada 50 to 50: help
	// Ada 0 to 0: -
	// Ada 50 to 50: -
	// Ada 0 to 50: home help shop
}

// Sessions are of each key apart.
func ExampleWindowedBySessions() {
	app := stream.New("visits")
	in := stream.From(app, "in", stream.String(), stream.String())
	visits := stream.WindowedBySessions(stream.GroupByKey(in), stream.Sessions(30*time.Second))
	stream.ReduceSessions(visits, "visits", func(all, page string) string { return all + " " + page }, stream.EmitOnClose()).ToStream().To("out")

	d := streamtest.New(example{}, app)
	page := streamtest.NewInput(d, "in", stream.String(), stream.String())
	page.Pipe("Ada", "home", at(0))
	page.Pipe("Bob", "home", at(10))
	page.Pipe("Ada", "shop", at(20))
	page.Pipe("Bob", "help", at(55)) // Ada's has closed, Bob's first one too
	printWindows(d)
	// Output:
	// Bob 10 to 10: home
	// Ada 0 to 20: home shop
}

// Orders and payments of a customer go into one balance.
func ExampleCogroup() {
	app := stream.New("balances")
	orders := stream.From(app, "orders", stream.String(), stream.Decimal())
	payments := stream.From(app, "payments", stream.String(), stream.Decimal())
	both := stream.CogroupWith(
		stream.Cogroup(stream.GroupByKey(orders), func(_ string, cents, balance int64) int64 { return balance - cents }),
		stream.GroupByKey(payments), func(_ string, cents, balance int64) int64 { return balance + cents })
	stream.AggregateCogroup(both, "balances", stream.Decimal(), func() int64 { return 0 }).ToStream().To("out")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "orders", stream.String(), stream.Decimal()).Pipe("Ada", 500, 1)
	streamtest.NewInput(d, "payments", stream.String(), stream.Decimal()).Pipe("Ada", 300, 2)
	printUpdates(d, "out")
	// Output:
	// Ada: -500
	// Ada: -200
}

// A buffer with room for few bytes sends rows on early, and is never larger.
func ExampleMaxBytes() {
	app := stream.New("stock")
	stock := stream.TableFrom(app, "stock", "in", stream.String(), stream.String())
	buffer := stream.MaxBytes(20).WithMaxRecords(100).EmitEarlyWhenFull()
	stream.SuppressUntilTimeLimit(stock, "quiet", time.Hour, buffer).ToStream().To("out")

	pipeTexts(app, stream.KV("apple", "10000"), stream.KV("pear", "20000"), stream.KV("plum", "30000"))
	// Output: apple: 10000
}
