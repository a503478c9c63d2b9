package topology

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"millrace.dev/stream"
)

// The second application: orders are joined with their customers by a foreign key, and what comes of it is put together to
// sessions of regions. Rows have versions, and each row comes to its last one.
const (
	Relations = "relations"
	Orders    = "orders"    // key: the order; value: CUSTOMER,VERSION,NUMBER,TIME
	Customers = "customers" // key: the customer; value: REGION,VERSION
	Results   = "results"   // the updates of the join: CUSTOMER,VERSION,NUMBER,TIME;REGION,VERSION
	Sessions  = "sessions"  // the updates of the sessions: COUNT,SUM of numbers
)

// Of sessions.
const (
	SessionGap   = time.Second
	SessionGrace = 24 * time.Hour // nothing is late
)

// LastVersion is the version in which a row stays.
const LastVersion = 3

// Result is what a value of [Results] says.
type Result struct {
	Customer, Region              string
	OrderVersion, CustomerVersion int
	Number, Time                  int64
	OrderValue, CustomerValue     string
}

// ParseResult reads a value of [Results].
func ParseResult(v string) (r Result, err error) {
	order, customer, ok := strings.Cut(v, ";")
	o, c := strings.Split(order, ","), strings.Split(customer, ",")
	if !ok || len(o) != 4 || len(c) != 2 {
		return r, fmt.Errorf("%q is no result", v)
	}
	r = Result{Customer: o[0], Region: c[0], OrderValue: order, CustomerValue: customer}
	for _, f := range []struct {
		into *int64
		text string
	}{{&r.Number, o[2]}, {&r.Time, o[3]}} {
		if *f.into, err = strconv.ParseInt(f.text, 10, 64); err != nil {
			return r, err
		}
	}
	if r.OrderVersion, err = strconv.Atoi(o[1]); err != nil {
		return r, err
	}
	r.CustomerVersion, err = strconv.Atoi(c[1])
	return r, err
}

// last forwards results whose order and customer are in their last versions, with the time of the order. All others, and how
// many of them there are, depend on which of the two tables was read first, as the time of any result does.
type last struct {
	next *stream.ProcessorContext[string, string]
}

func (l *last) Init(c *stream.ProcessorContext[string, string]) error {
	l.next = c
	return nil
}

func (l *last) Process(r *stream.Record[string, string]) error {
	if r.NullValue {
		return nil
	}
	v, err := ParseResult(r.Value)
	if err != nil || v.OrderVersion != LastVersion || v.CustomerVersion != LastVersion {
		return err
	}
	out := *r
	out.Timestamp = v.Time
	return l.next.Forward(&out)
}

// Total is what a session holds.
type Total struct{ Count, Sum int64 }

// String returns the value of [Sessions].
func (t Total) String() string {
	return strconv.FormatInt(t.Count, 10) + "," + strconv.FormatInt(t.Sum, 10)
}

// ParseTotal reads a value of [Sessions].
func ParseTotal(v string) (t Total, err error) {
	count, sum, _ := strings.Cut(v, ",")
	if t.Count, err = strconv.ParseInt(count, 10, 64); err != nil {
		return t, err
	}
	t.Sum, err = strconv.ParseInt(sum, 10, 64)
	return t, err
}

// Plus returns the sum of two totals.
func (t Total) Plus(o Total) Total { return Total{t.Count + o.Count, t.Sum + o.Sum} }

// totals is the codec of totals.
type totals struct{ text stream.Codec[string] }

func (c totals) Append(dst []byte, t Total) ([]byte, error) { return c.text.Append(dst, t.String()) }

func (c totals) Decode(b []byte) (Total, error) { return ParseTotal(string(b)) }

func byRegion(r *stream.Record[stream.Windowed[string], Total], partitions int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.Key.Key))          // never fails
	return int(h.Sum32() % uint32(partitions)) //nolint:gosec // there are few
}

// NewRelations declares the second application.
func NewRelations() *stream.Topology {
	t := stream.New(Relations)
	orders := stream.TableFrom(t, "orders", Orders, stream.String(), stream.String())
	customers := stream.TableFrom(t, "customers", Customers, stream.String(), stream.String())
	customer := func(_, order string) (string, bool) {
		c, _, ok := strings.Cut(order, ",")
		return c, ok
	}
	joined := stream.JoinForeignKey(orders, customers, "join", customer, func(o, c string) string { return o + ";" + c })
	results := joined.ToStream().Values(stream.String())
	results.To(Results)
	finals := stream.Process(results, "last", func() stream.Processor[string, string, string, string] { return &last{} }).Keys(stream.String()).Values(stream.String())
	regions := stream.GroupBy(finals, stream.String(), func(_, v string) string {
		r, err := ParseResult(v)
		if err != nil {
			return ""
		}
		return r.Region
	})
	add := func(_, v string, t Total) Total {
		r, err := ParseResult(v)
		if err != nil {
			return t
		}
		return t.Plus(Total{1, r.Number})
	}
	sessions := stream.WindowedBySessions(regions, stream.Sessions(SessionGap).Grace(SessionGrace))
	table := stream.AggregateSessions(sessions, "sessions", totals{stream.String()}, func() Total { return Total{} }, add,
		func(_ string, a, b Total) Total { return a.Plus(b) })
	table.ToStream().To(Sessions, stream.PartitionBy(byRegion)) // so that the updates of a region have an order
	return t
}
