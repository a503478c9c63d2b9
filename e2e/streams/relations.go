//go:build unix

package streams

import (
	"fmt"
	"slices"
	"strconv"

	"millrace.dev/e2e/streams/topology"
)

// Order is an update of an order.
type Order struct {
	ID       string
	Customer string
	Version  int
	Number   int64
	Time     int64
	Gone     bool // the order is deleted
}

// Value returns the value of the record, unless the order is gone.
func (o *Order) Value() string {
	return o.Customer + "," + strconv.Itoa(o.Version) + "," + strconv.FormatInt(o.Number, 10) + "," + strconv.FormatInt(o.Time, 10)
}

// Customer is an update of a customer.
type Customer struct {
	ID, Region string
	Version    int
}

// Value returns the value of the record.
func (c *Customer) Value() string { return c.Region + "," + strconv.Itoa(c.Version) }

// Row is a committed update of a table. It has no value where the row was deleted.
type Row struct {
	Key, Value string
	Gone       bool
}

// Span is a session of a region.
type Span struct {
	Region     string
	Start, End int64
}

// Sitting is a committed update of a session.
type Sitting struct {
	Span
	topology.Total

	Gone bool
}

// RelationOutputs are what the second application has written, in the order of each partition.
type RelationOutputs struct {
	Results  []Row
	Sessions []Sitting
	// State is what the changelog of the sessions holds.
	State map[Span]topology.Total
}

// JudgeRelations compares what the second application has written with what follows from the updates alone, which are in the
// order in which they were sent. It returns every kind of violation, with an example and their number.
//
// Which intermediate results there are depends on how the application has read the two tables beside one another. Whatever it
// was, a version of an order meets a version of a customer once at most, neither goes back, and the last ones of both meet
// just once: what was asked for before the customer's last version has its result when that comes, what was asked for later when
// it asks. So sessions of these alone do not depend on it, while a question, an answer or a result that was lost, doubled or late
// is missing in them, or is too much. An order does not come back to a customer that it has left, for which a result may
// come twice.
func JudgeRelations(orders []Order, customers []Customer, out *RelationOutputs) []string {
	j := &judge{count: map[string]int{}, example: map[string]string{}}
	want := expect(orders, customers)
	j.results(want, out)
	j.sessions(want, out)
	return j.list()
}

// expected is what follows from the updates.
type expected struct {
	rows     map[string]bool   // values of the topic of orders by ID=VALUE, and of customers
	final    map[string]string // the last value of [topology.Results] by order
	sessions map[Span]topology.Total
}

func expect(orders []Order, customers []Customer) expected {
	x := expected{rows: map[string]bool{}, final: map[string]string{}, sessions: map[Span]topology.Total{}}
	lastOrder, lastCustomer := map[string]Order{}, map[string]Customer{}
	for _, c := range customers {
		lastCustomer[c.ID] = c
		x.rows[c.ID+"="+c.Value()] = true
	}
	for _, o := range orders {
		lastOrder[o.ID] = o
		x.rows[o.ID+"="+o.Value()] = true
	}
	times := map[string][]Order{} // by region
	for id, o := range lastOrder {
		c, ok := lastCustomer[o.Customer]
		if o.Gone || !ok {
			continue
		}
		x.final[id] = o.Value() + ";" + c.Value()
		if o.Version == topology.LastVersion && c.Version == topology.LastVersion {
			times[c.Region] = append(times[c.Region], o)
		}
	}
	for region, list := range times {
		slices.SortFunc(list, func(a, b Order) int { return int(a.Time - b.Time) })
		var span Span
		for i, o := range list {
			total := topology.Total{Count: 1, Sum: o.Number}
			if i > 0 && o.Time-span.End <= topology.SessionGap.Milliseconds() {
				total = total.Plus(x.sessions[span])
				delete(x.sessions, span)
			} else {
				span = Span{Region: region, Start: o.Time}
			}
			span.End = o.Time
			x.sessions[span] = total
		}
	}
	return x
}

// results checks the updates of the join.
func (j *judge) results(want expected, out *RelationOutputs) {
	last, have := map[string]topology.Result{}, map[string]string{}
	for _, r := range out.Results {
		if r.Gone {
			delete(have, r.Key)
			continue
		}
		v, err := topology.ParseResult(r.Value)
		if err != nil || !want.rows[r.Key+"="+v.OrderValue] || !want.rows[v.Customer+"="+v.CustomerValue] {
			j.violation("a result of no order or customer", "%s=%q", r.Key, r.Value)
			continue
		}
		switch before, ok := last[r.Key]; {
		case !ok:
		case v == before:
			j.violation("a result twice", "%s=%q", r.Key, r.Value)
		case v.OrderVersion < before.OrderVersion, v.Customer == before.Customer && v.CustomerVersion < before.CustomerVersion:
			j.violation("a result that goes back", "%s: %q after %q", r.Key, r.Value, before.OrderValue+";"+before.CustomerValue)
		}
		last[r.Key], have[r.Key] = v, r.Value
	}
	for id, value := range want.final {
		if have[id] != value {
			j.violation("a last result", "%s is %q, want %q", id, have[id], value)
		}
	}
	for id, value := range have {
		if _, ok := want.final[id]; !ok {
			j.violation("a last result", "%s is %q, want none", id, value)
		}
	}
}

// sessions checks that the sessions of each region went up by one with each update, and what is there in the end.
func (j *judge) sessions(want expected, out *RelationOutputs) {
	have := map[Span]topology.Total{}
	now, before := map[string]int64{}, map[string]int64{} // counts of regions: as they are, and after the update before
	for _, s := range out.Sessions {
		now[s.Region] -= have[s.Span].Count
		if s.Gone {
			if _, ok := have[s.Span]; !ok {
				j.violation("a session deleted that was not there", "%v", s.Span)
			}
			delete(have, s.Span)
			continue
		}
		have[s.Span] = s.Total
		now[s.Region] += s.Count
		if now[s.Region] != before[s.Region]+1 {
			j.violation("sessions did not go up by one", "those of %s from %d to %d, with %v", s.Region, before[s.Region], now[s.Region], s.Span)
		}
		before[s.Region] = now[s.Region]
	}
	j.spans("a session", want.sessions, have)
	j.spans("a session in the state", want.sessions, out.State)
}

func (j *judge) spans(kind string, want, have map[Span]topology.Total) {
	for s, total := range want {
		if have[s] != total {
			j.violation(kind, "%v is %v, want %v", s, have[s], total)
		}
	}
	for s, total := range have {
		if _, ok := want[s]; !ok {
			j.violation(kind, "%v is %v, want none", s, total)
		}
	}
}

// String tells of a session in one line.
func (s Span) String() string { return fmt.Sprintf("%s@%d-%d", s.Region, s.Start, s.End) }
