//go:build unix

package streams

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/streams/topology"
	"millrace.dev/internal/testenv"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// How large the second application's run is.
const (
	customers = 60
	regions   = 20
)

// TestRelations runs a join by a foreign key, and sessions of what comes of it, as TestFaults does. It takes a minute and
// more, and runs on request.
func TestRelations(t *testing.T) {
	testenv.Asked(t, "relations", "make relations")
	endureRuns(t, newRelationsPlay)
}

// relationsPlay is a join by a foreign key with sessions.
type relationsPlay struct {
	orders    []Order
	customers []Customer
}

func newRelationsPlay() play { return &relationsPlay{} }

func (*relationsPlay) about() about {
	return about{
		name: topology.Relations, table: topology.Customers,
		topics: []string{topology.Orders, topology.Customers, topology.Results, topology.Sessions},
		reads: []string{
			topology.Orders, topology.Customers, topology.Relations + "-join-subscription-repartition",
			topology.Relations + "-join-response-repartition", topology.Relations + "-sessions-repartition",
		},
		stores: []string{"orders", "customers", "join", "join-subscriptions", "sessions"},
	}
}

func customer(i int) string { return fmt.Sprintf("customer-%03d", i) }

// before writes the first versions of the customers. Those with the highest numbers never come.
func (p *relationsPlay) before(ctx context.Context, s *stage) {
	s.t.Helper()
	cl := s.client()
	for i := range customers * 9 / 10 {
		c := Customer{ID: customer(i), Region: fmt.Sprintf("region-%02d", s.rng.IntN(regions)), Version: 1}
		p.customers = append(p.customers, c)
		s.must(cl.ProduceSync(ctx, customerRecord(&c)).FirstErr())
	}
}

func customerRecord(c *Customer) *kgo.Record {
	return &kgo.Record{Topic: topology.Customers, Key: []byte(c.ID), Value: []byte(c.Value())}
}

// send writes the versions of the orders, and among them further versions of the customers.
func (p *relationsPlay) send(ctx context.Context, s *stage, rng *rand.Rand, n int) error {
	p.orders = makeOrders(rng, n, longAgo().UnixMilli())
	updates := makeCustomers(rng, p.customers)
	every := n / (len(updates) + 1)
	next, sent := 0, 0
	return s.feed(ctx, n+len(updates), func(i int) *kgo.Record {
		if i%every == every-1 && next < len(updates) || sent == n {
			c := updates[next]
			p.customers = append(p.customers, c)
			next++
			return customerRecord(&c)
		}
		o := &p.orders[sent]
		sent++
		r := &kgo.Record{Topic: topology.Orders, Key: []byte(o.ID), Timestamp: time.UnixMilli(o.Time)}
		if !o.Gone {
			r.Value = []byte(o.Value())
		}
		return r
	}, func(int, *kgo.Record) {})
}

// makeCustomers returns the second and third versions of customers, in the order in which they come.
func makeCustomers(rng *rand.Rand, first []Customer) []Customer {
	var all []Customer
	for _, c := range first {
		for v := 2; v <= topology.LastVersion; v++ {
			all = append(all, Customer{ID: c.ID, Region: fmt.Sprintf("region-%02d", rng.IntN(regions)), Version: v})
		}
	}
	rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	versions := map[string]int{}
	for i := range all {
		versions[all[i].ID]++
		all[i].Version = versions[all[i].ID] + 1
	}
	return all
}

// makeOrders returns n updates of orders with three versions each, in the order in which they come: those of a half of the
// orders follow one another at once. An order may be moved to another customer, never back; one of ten is deleted instead of its last
// version.
func makeOrders(rng *rand.Rand, n int, start int64) []Order {
	type placed struct {
		Order
		at float64
	}
	span := int64(n/topology.LastVersion/regions) * topology.SessionGap.Milliseconds() // so that gaps are about as long as one
	all := make([]placed, 0, n+topology.LastVersion)
	for id := 0; len(all) < n; id++ {
		at, step := rng.Float64(), 0.
		if id%2 == 0 {
			step = rng.Float64() / 10
		}
		order := Order{ID: fmt.Sprintf("order-%06d", id), Time: start + rng.Int64N(span)}
		theirs := rng.Perm(customers)
		for v := 1; v <= topology.LastVersion; v++ {
			if v == 1 || rng.IntN(3) == 0 {
				order.Customer, theirs = customer(theirs[0]), theirs[1:]
			}
			order.Version, order.Number = v, int64(len(all))
			order.Gone = v == topology.LastVersion && id%10 == 0
			all = append(all, placed{order, at + float64(v)*step})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	orders := make([]Order, len(all))
	for i := range all {
		orders[i] = all[i].Order
	}
	return orders[:n]
}

func (p *relationsPlay) judge(ctx context.Context, t *testing.T, bootstrap []string) []string {
	t.Helper()
	out := &RelationOutputs{State: map[Span]topology.Total{}}
	for _, topic := range []string{topology.Results, topology.Sessions, topology.Relations + "-sessions-changelog"} {
		for _, r := range committed(ctx, t, bootstrap, topic) {
			out.add(t, topic, r.Key, r.Value)
		}
	}
	return JudgeRelations(p.orders, p.customers, out)
}

// add reads a record of a topic.
func (out *RelationOutputs) add(t *testing.T, topic string, key, value []byte) {
	t.Helper()
	switch topic {
	case topology.Results:
		out.Results = append(out.Results, Row{Key: string(key), Value: string(value), Gone: value == nil})
	case topology.Sessions:
		s := Sitting{Span: Span{Region: string(key[16:]), Start: timeAt(key), End: timeAt(key[8:])}, Gone: value == nil}
		if !s.Gone {
			s.Total = total(t, value)
		}
		out.Sessions = append(out.Sessions, s)
	default: // the changelog; of a row: a segment, the length of the key and one, the key, the end and the start
		end := len(key) - 16
		if end < 9 || key[0] != rowPrefix {
			return
		}
		_, width := binary.Uvarint(key[9:])
		s := Span{Region: string(key[9+width : end]), Start: timeAt(key[end+8:]) ^ -1<<63, End: timeAt(key[end:]) ^ -1<<63}
		if value == nil {
			delete(out.State, s)
			return
		}
		out.State[s] = total(t, value)
	}
}

func timeAt(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

func total(t *testing.T, v []byte) topology.Total {
	t.Helper()
	total, err := topology.ParseTotal(string(v))
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// final returns a result that is the last of its order.
func final(list []Row) int {
	later := map[string]bool{}
	for i, r := range slices.Backward(list) {
		if !r.Gone && !later[r.Key] {
			return i
		}
		later[r.Key] = true
	}
	panic("no order has a result in the end")
}

// merged returns the first update by which a session took the place of another one, and after which its region has more.
func merged(list []Sitting) int {
	gone := map[string]bool{} // regions whose update before is a deletion
	for i, s := range list {
		more := slices.ContainsFunc(list[i+1:], func(o Sitting) bool { return !o.Gone && o.Region == s.Region })
		if !s.Gone && gone[s.Region] && more {
			return i
		}
		gone[s.Region] = s.Gone
	}
	panic("no session is merged")
}

// TestJudgeRelations has the oracle look at what the application writes in tests, as it is and changed.
func TestJudgeRelations(t *testing.T) {
	seed := newSeed(t)
	rng := rand.New(rand.NewPCG(seed, 5))
	p := &relationsPlay{}
	for i := range customers * 9 / 10 {
		p.customers = append(p.customers, Customer{ID: customer(i), Region: fmt.Sprintf("region-%02d", rng.IntN(regions)), Version: 1})
	}
	later := makeCustomers(rng, p.customers)
	p.customers = append(p.customers, later...)
	p.orders = makeOrders(rng, 600, 0)
	d := streamtest.New(t, topology.NewRelations(), streamtest.Partitions(partitions), streamtest.CommitByHand())
	inOrders := streamtest.NewInput(d, topology.Orders, stream.String(), stream.String())
	inCustomers := streamtest.NewInput(d, topology.Customers, stream.String(), stream.String())
	orders, changes := p.orders, p.customers
	for len(orders)+len(changes) > 0 { // in any order of the two
		if n := len(orders) + len(changes); rng.IntN(n) < len(orders) {
			o := &orders[0]
			inOrders.PipeRecord(stream.Record[string, string]{Key: o.ID, Value: o.Value(), Timestamp: o.Time, NullValue: o.Gone})
			orders = orders[1:]
		} else {
			inCustomers.Pipe(changes[0].ID, changes[0].Value(), rng.Int64N(100_000))
			changes = changes[1:]
		}
		if rng.IntN(50) == 0 {
			d.Commit()
		}
	}
	d.Commit()
	outputs := func() *RelationOutputs {
		out := &RelationOutputs{State: map[Span]topology.Total{}}
		for _, topic := range []string{topology.Results, topology.Sessions} {
			for i := range int32(partitions) {
				for _, r := range d.Raw(topic, i) {
					out.add(t, topic, r.Key, r.Value)
				}
			}
		}
		out.State = live(out.Sessions)
		return out
	}
	if list := JudgeRelations(p.orders, p.customers, outputs()); len(list) > 0 {
		t.Errorf("%s=%d: it finds %q", seedEnv, seed, list)
	}
	for name, c := range map[string]struct {
		change func(out *RelationOutputs)
		finds  string
	}{
		"a result is lost": {func(out *RelationOutputs) {
			i := final(out.Results)
			out.Results = slices.Delete(out.Results, i, i+1)
		}, "a last result"},
		"a result comes twice": {func(out *RelationOutputs) {
			i := slices.IndexFunc(out.Results, func(r Row) bool { return !r.Gone })
			out.Results = slices.Insert(out.Results, i, out.Results[i])
		}, "a result twice"},
		"an old result comes late": {func(out *RelationOutputs) { out.Results = append(out.Results, superseded(out.Results)) }, "a result that goes back"},
		"a result of nothing": {func(out *RelationOutputs) {
			out.Results = append(out.Results, Row{Key: "order-000000", Value: "c,1,2,3;r,1"})
		}, "a result of no order or customer"},
		"an update is lost": {func(out *RelationOutputs) {
			i := merged(out.Sessions)
			out.Sessions = slices.Delete(out.Sessions, i, i+1)
		}, "sessions did not go up by one"},
		"an update comes twice": {func(out *RelationOutputs) {
			i := slices.IndexFunc(out.Sessions, func(s Sitting) bool { return !s.Gone })
			out.Sessions = slices.Insert(out.Sessions, i, out.Sessions[i])
		}, "sessions did not go up by one"},
		"a session is not deleted": {func(out *RelationOutputs) {
			out.Sessions = slices.DeleteFunc(out.Sessions, func(s Sitting) bool { return s.Gone })
		}, "a session"},
		"another sum": {func(out *RelationOutputs) {
			for s := range live(out.Sessions) {
				i := slices.IndexFunc(out.Sessions, func(u Sitting) bool { return u.Span == s })
				out.Sessions[i].Sum++
			}
		}, "a session"},
		"the state lacks some":   {func(out *RelationOutputs) { delete(out.State, anyOf(out.State)) }, "a session in the state"},
		"the state has too much": {func(out *RelationOutputs) { out.State[Span{Region: "nowhere"}] = topology.Total{Count: 1} }, "a session in the state"},
	} {
		out := outputs()
		c.change(out)
		list := JudgeRelations(p.orders, p.customers, out)
		if !slices.ContainsFunc(list, func(v string) bool { return strings.HasPrefix(v, c.finds) }) {
			t.Errorf("%s=%d: %s: it finds %q, want %q", seedEnv, seed, name, list, c.finds)
		}
	}
}

// live returns the sessions that are there after updates.
func live(updates []Sitting) map[Span]topology.Total {
	all := map[Span]topology.Total{}
	for _, s := range updates {
		if all[s.Span] = s.Total; s.Gone {
			delete(all, s.Span)
		}
	}
	return all
}

// superseded returns the first result of an order that has another one.
func superseded(results []Row) Row {
	first := map[string]Row{}
	for _, r := range results {
		if before, ok := first[r.Key]; ok && !r.Gone {
			return before
		}
		if !r.Gone {
			first[r.Key] = r
		}
	}
	return Row{}
}

func anyOf(m map[Span]topology.Total) (s Span) {
	for s = range m {
		break
	}
	return s
}
