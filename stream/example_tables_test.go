package stream_test

import (
	"fmt"
	"slices"
	"strings"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// printUpdates prints what is new in a topic of texts; a deletion is a dash.
func printUpdates(d *streamtest.Driver, topic string) {
	for _, r := range streamtest.NewOutput(d, topic, stream.String(), stream.String()).ReadAll() {
		if r.NullValue {
			r.Value = "-"
		}
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
}

// A customer's name and address are two tables. Letters go to those who have both.
func ExampleJoinTables() {
	app := stream.New("letters")
	names := stream.TableFrom(app, "names", "names", stream.String(), stream.String())
	addresses := stream.TableFrom(app, "addresses", "addresses", stream.String(), stream.String())
	stream.JoinTables(names, addresses, func(name, address string) string {
		return name + ", " + address
	}).ToStream().To("letters")

	d := streamtest.New(example{}, app)
	name := streamtest.NewInput(d, "names", stream.String(), stream.String())
	address := streamtest.NewInput(d, "addresses", stream.String(), stream.String())
	name.Pipe("c-1", "Ada", 1)
	address.Pipe("c-1", "12 St James's Square", 2)
	name.Pipe("c-1", "Ada Lovelace", 3)
	address.PipeRecord(stream.Record[string, string]{Key: "c-1", NullValue: true, Timestamp: 4})
	printUpdates(d, "letters")
	// Output:
	// c-1: Ada, 12 St James's Square
	// c-1: Ada Lovelace, 12 St James's Square
	// c-1: -
}

// Every customer is in the profiles, with a segment or without.
func ExampleLeftJoinTables() {
	app := stream.New("profiles")
	names := stream.TableFrom(app, "names", "names", stream.String(), stream.String())
	segments := stream.TableFrom(app, "segments", "segments", stream.String(), stream.String())
	stream.LeftJoinTables(names, segments, func(name, segment string, ok bool) string {
		if !ok {
			segment = "unknown"
		}
		return name + " (" + segment + ")"
	}).ToStream().To("profiles")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "names", stream.String(), stream.String()).Pipe("c-1", "Ada", 1)
	segment := streamtest.NewInput(d, "segments", stream.String(), stream.String())
	segment.Pipe("c-1", "gold", 2)
	segment.Pipe("c-2", "silver", 3) // a customer that nobody knows
	printUpdates(d, "profiles")
	// Output:
	// c-1: Ada (unknown)
	// c-1: Ada (gold)
}

// What two systems say of an account is compared, and so is what only one of them knows.
func ExampleOuterJoinTables() {
	app := stream.New("reconcile")
	ledger := stream.TableFrom(app, "ledger", "ledger", stream.String(), stream.Int64())
	bank := stream.TableFrom(app, "bank", "bank", stream.String(), stream.Int64())
	stream.OuterJoinTables(ledger, bank, func(s stream.Sides[int64, int64]) string {
		switch {
		case !s.HasLeft:
			return "not in the ledger"
		case !s.HasRight:
			return "not at the bank"
		default:
			return fmt.Sprintf("differs by %d", s.Right-s.Left)
		}
	}).ToStream().To("differences")

	d := streamtest.New(example{}, app)
	streamtest.NewInput(d, "ledger", stream.String(), stream.Int64()).Pipe("a-1", 500, 1)
	statement := streamtest.NewInput(d, "bank", stream.String(), stream.Int64())
	statement.Pipe("a-1", 520, 2)
	statement.Pipe("a-2", 70, 3)
	printUpdates(d, "differences")
	// Output:
	// a-1: not at the bank
	// a-1: differs by 20
	// a-2: not in the ledger
}

// Orders are counted by their state. One that goes on from state to state leaves the one before.
func ExampleCountTable() {
	app := stream.New("orders")
	orders := stream.TableFrom(app, "orders", "orders", stream.String(), stream.String())
	byState := stream.GroupTable(orders, stream.String(), stream.String(), func(order, state string) (string, string) {
		return state, order
	})
	stream.CountTable(byState, "count").ToStream().Values(stream.Decimal()).To("counts")

	d := streamtest.New(example{}, app)
	order := streamtest.NewInput(d, "orders", stream.String(), stream.String())
	order.Pipe("o-1", "open", 1)
	order.Pipe("o-2", "open", 2)
	order.Pipe("o-1", "paid", 3)
	printUpdates(d, "counts")
	// Output:
	// open: 1
	// open: 2
	// open: 1
	// paid: 1
}

// The stock of each warehouse is the sum of its shelves. A shelf that is counted again is one update.
func ExampleReduceTable() {
	app := stream.New("stock")
	shelves := stream.TableFrom(app, "shelves", "shelves", stream.String(), stream.Int64())
	byWarehouse := stream.GroupTable(shelves, stream.String(), stream.Int64(), func(shelf string, n int64) (string, int64) {
		warehouse, _, _ := strings.Cut(shelf, "/")
		return warehouse, n
	})
	add := func(sum, n int64) int64 { return sum + n }
	subtract := func(sum, n int64) int64 { return sum - n }
	stream.ReduceTable(byWarehouse, "sums", add, subtract).ToStream().Values(stream.Decimal()).To("stock")

	d := streamtest.New(example{}, app)
	shelf := streamtest.NewInput(d, "shelves", stream.String(), stream.Int64())
	shelf.Pipe("north/1", 40, 1)
	shelf.Pipe("north/2", 2, 2)
	shelf.Pipe("north/1", 30, 3)
	printUpdates(d, "stock")
	// Output:
	// north: 40
	// north: 42
	// north: 32
}

// Who works in a department is kept as a list. Who moves is taken out of one and put into the other.
func ExampleAggregateTable() {
	app := stream.New("staff")
	departments := stream.TableFrom(app, "departments", "departments", stream.String(), stream.String())
	groups := stream.GroupTable(departments, stream.String(), stream.String(), func(name, department string) (string, string) {
		return department, name
	})
	list := stream.AggregateTable(groups, "lists", stream.JSON[[]string](), func() []string { return nil },
		func(_, name string, list []string) []string { return append(slices.Clone(list), name) },
		func(_, name string, list []string) []string {
			return slices.DeleteFunc(slices.Clone(list), func(n string) bool { return n == name })
		})
	stream.MapTable(list, func(_ string, list []string) string { return strings.Join(list, ", ") }).ToStream().To("lists")

	d := streamtest.New(example{}, app)
	person := streamtest.NewInput(d, "departments", stream.String(), stream.String())
	person.Pipe("Ada", "engines", 1)
	person.Pipe("Grace", "engines", 2)
	person.Pipe("Ada", "mathematics", 3)
	printUpdates(d, "lists")
	// Output:
	// engines: Ada
	// engines: Ada, Grace
	// engines: Grace
	// mathematics: Ada
}
