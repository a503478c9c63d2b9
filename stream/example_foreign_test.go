package stream_test

import (
	"fmt"
	"strings"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// customerOf returns whose order it is: "shoes for c1".
func customerOf(_, order string) (string, bool) {
	_, customer, ok := strings.Cut(order, " for ")
	return customer, ok
}

// Orders name their customers by the key of another table. A result follows both sides.
func ExampleJoinForeignKey() {
	app := stream.New("orders")
	orders := stream.TableFrom(app, "orders", "orders", stream.String(), stream.String())
	customers := stream.TableFrom(app, "customers", "customers", stream.String(), stream.String())
	stream.JoinForeignKey(orders, customers, "with-customer", customerOf, func(order, customer string) string {
		return order + ", who lives in " + customer
	}).ToStream().To("known")

	d := streamtest.New(example{}, app)
	order := streamtest.NewInput(d, "orders", stream.String(), stream.String())
	customer := streamtest.NewInput(d, "customers", stream.String(), stream.String())
	customer.Pipe("c1", "Oslo", at(0))
	order.Pipe("order-1", "shoes for c1", at(1))
	order.Pipe("order-2", "boots for c1", at(2))
	order.Pipe("order-3", "hats for c2", at(3)) // there is no such customer
	customer.Pipe("c1", "Rome", at(4))
	for _, r := range streamtest.NewOutput(d, "known", stream.String(), stream.String()).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// order-1 shoes for c1, who lives in Oslo
	// order-2 boots for c1, who lives in Oslo
	// order-1 shoes for c1, who lives in Rome
	// order-2 boots for c1, who lives in Rome
}

// A left join has a row for each order, also while nothing is known of its customer.
func ExampleLeftJoinForeignKey() {
	app := stream.New("orders")
	orders := stream.TableFrom(app, "orders", "orders", stream.String(), stream.String())
	customers := stream.TableFrom(app, "customers", "customers", stream.String(), stream.String())
	stream.LeftJoinForeignKey(orders, customers, "with-customer", customerOf, func(order, customer string, ok bool) string {
		if !ok {
			return order + ", who is not known"
		}
		return order + ", who lives in " + customer
	}).ToStream().To("known")

	d := streamtest.New(example{}, app)
	order := streamtest.NewInput(d, "orders", stream.String(), stream.String())
	customer := streamtest.NewInput(d, "customers", stream.String(), stream.String())
	order.Pipe("order-1", "shoes for c1", at(0))
	customer.Pipe("c1", "Oslo", at(1))
	order.Pipe("order-1", "shoes for c2", at(2))
	for _, r := range streamtest.NewOutput(d, "known", stream.String(), stream.String()).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// order-1 shoes for c1, who is not known
	// order-1 shoes for c1, who lives in Oslo
	// order-1 shoes for c2, who is not known
}
