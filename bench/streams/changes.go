//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The tables that change: rows, which are those of the table and then changes of them in the time of the stream, and
// orders, whose customers are such rows. These too are functions of their numbers.

// rows is a changelog: the row of each key, all older than the stream, and then a change of one of them for every so many
// records of the stream.
type rows struct{ every int }

// How many records of the stream or of orders go with one change of a row. A change of a customer changes all its orders.
const (
	recordsPerRow      = 10
	recordsPerCustomer = 100
)

// count returns how many records the changelog has beside n of the stream.
func (r rows) count(n int) int { return keys + n/r.every }

// of returns the key, as a number, and the event time, in ms, of record i.
func (r rows) of(i int) (key int, at int64) {
	if i < keys {
		return i, tableTime + int64(i)
	}
	i -= keys
	d := rand.NewPCG(2, uint64(i)) //nolint:gosec // i is not negative
	return int(d.Uint64() >> 32 * keys >> 32), epoch + int64(i*r.every)*step.Milliseconds()
}

// value returns the value of record i: a row, and i.
func (r rows) value(i int) []byte {
	key, _ := r.of(i)
	return fmt.Appendf(rowOf(key), ";v%0*d", versionDigits, i)
}

const versionDigits = 8

// version returns the number of the record whose value ends so.
func (r rows) version(value []byte, n int) (i int, ok bool) {
	i, err := strconv.Atoi(string(value[max(0, len(value)-versionDigits):]))
	return i, err == nil && i >= 0 && i < r.count(n)
}

func (r rows) fill(i int, out *kgo.Record) {
	key, at := r.of(i)
	out.Key, out.Value, out.Timestamp = keyOf(key), r.value(i), time.UnixMilli(at)
}

// updates is a changelog that is joined with rows: the stream itself, whose rows are those of the same key, or orders, which
// name the key of their row.
type updates interface {
	// of returns the key, that of the row it is joined with, both as numbers, and the event time, in ms, of record i.
	of(i int) (key, row int, at int64)
	keyOf(key int) []byte
	keyNumber(key []byte) (int, error)
	appendValue(b []byte, i int) []byte
}

// stream takes the records of the stream for updates.
type stream struct{}

func (stream) of(i int) (key, row int, at int64) {
	key, at = eventOf(i)
	return key, key, at
}

func (stream) keyOf(key int) []byte               { return keyOf(key) }
func (stream) keyNumber(key []byte) (int, error)  { return keyNumber(key) }
func (stream) appendValue(b []byte, i int) []byte { return appendValue(b, i) }

// orders are n updates of a fourth as many orders. An order has its customer from its own number, but one update in moves
// names another one: the order is moved there, and back by its next update.
type orders struct{ n int }

const (
	updatesPerOrder = 4
	moves           = 16
)

func (o orders) of(i int) (key, row int, at int64) {
	d := rand.NewPCG(3, uint64(i)) //nolint:gosec // i is not negative
	count := uint64(o.n / updatesPerOrder)
	key = int(d.Uint64() >> 32 * count >> 32) //nolint:gosec // below count
	_, at = eventOf(i)
	customer := rand.NewPCG(4, uint64(key)) //nolint:gosec // it is not negative
	if d.Uint64()%moves == 0 {
		customer = d
	}
	return key, int(customer.Uint64() >> 32 * keys >> 32), at
}

func (orders) keyOf(order int) []byte { return fmt.Appendf(nil, "order-%07d", order) }

func (o orders) keyNumber(key []byte) (int, error) {
	digits, ok := bytes.CutPrefix(key, []byte("order-"))
	n, err := strconv.Atoi(string(digits))
	if !ok || err != nil || n < 0 || n >= o.n/updatesPerOrder {
		return 0, fmt.Errorf("%q is not the key of an order", key)
	}
	return n, nil
}

// appendValue appends the value of update i: that of record i of the stream, with the customer behind the number.
func (o orders) appendValue(b []byte, i int) []byte {
	const numbered = 11 // bytes: a number and a semicolon
	at := len(b)
	b = appendValue(b, i)
	_, customer, _ := o.of(i)
	copy(b[at+numbered:], append(keyOf(customer), ';'))
	return b
}

func (o orders) fill(i int, out *kgo.Record) {
	key, _, at := o.of(i)
	out.Key, out.Value, out.Timestamp = o.keyOf(key), o.appendValue(make([]byte, 0, valueSize), i), time.UnixMilli(at)
}
