package streamtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// shop has a count, a window, two joins and a repartition: what can go wrong after a fault.
func shop() *stream.Topology {
	top := stream.New("shop", stream.DeadLetters("dead"))
	orders := stream.From(top, "orders", stream.String(), stream.String())
	customers := stream.TableFrom(top, "customers", "customers", stream.String(), stream.String())
	payments := stream.From(top, "payments", stream.String(), stream.String())
	known := stream.LeftJoinTable(orders, customers, "with-customer", func(o, c string, ok bool) string {
		if !ok {
			return o + "/?"
		}
		return o + "/" + c
	})
	known.To("known")
	paid := stream.OuterJoinStream(orders, payments, "paid", stream.JoinWindow{Before: 5 * time.Millisecond, After: 5 * time.Millisecond, Grace: 2 * time.Millisecond},
		func(s stream.Sides[string, string]) string { return s.Left + "+" + s.Right })
	paid.To("paid")
	byWord := stream.GroupBy(known, stream.String(), func(_, v string) string { return v[:1] })
	stream.Count(byWord, "counts").ToStream().To("counts")
	stream.CountWindows(stream.WindowedBy(byWordOnce(known), stream.Tumbling(10*time.Millisecond).Grace(5*time.Millisecond)), "windows", stream.EmitOnClose()).
		ToStream().To("windows")
	return top
}

func byWordOnce(s stream.Stream[string, string]) stream.Grouped[string, string] {
	return stream.GroupBy(s, stream.String(), func(_, v string) string { return "w" + v[:1] })
}

// trade gives the shop some records, and returns what is in its topics and stores in the end.
func trade(t *testing.T, fault func(d *streamtest.Driver, i int), opts ...streamtest.Option) string {
	t.Helper()
	d := streamtest.New(t, shop(), append(opts, streamtest.Partitions(3))...)
	orders := streamtest.NewInput(d, "orders", stream.String(), stream.String())
	payments := streamtest.NewInput(d, "payments", stream.String(), stream.String())
	customers := streamtest.NewInput(d, "customers", stream.String(), stream.String())
	for i := range int64(24) {
		key := fmt.Sprintf("k%d", i%5)
		fault(d, int(i))
		switch i % 4 {
		case 0:
			customers.Pipe(key, fmt.Sprintf("c%d", i), i)
		case 1:
			payments.Pipe(key, fmt.Sprintf("p%d", i), i*2-3)
		default:
			var batch []stream.Record[string, string]
			for j := range int64(3) {
				batch = append(batch, stream.Record[string, string]{
					Key: fmt.Sprintf("k%d", (i+j)%5), Value: fmt.Sprintf("%c%d", 'a'+(i+j)%3, 10*i+j), Timestamp: max(0, 2*i+j-9*(i%2)),
					Headers: []stream.Header{{Key: "n", Value: []byte{byte(i)}}},
				})
			}
			batch = append(batch, stream.Record[string, string]{NullKey: true, Value: "x", Timestamp: i})
			orders.PipeAll(batch...)
		}
	}
	if d.Pending() {
		t.Error("the crash has not come")
	}
	var all []string
	for _, topic := range []string{"known", "paid", "counts", "windows", "dead"} {
		for p := range int32(3) {
			for _, r := range d.Raw(topic, p) {
				all = append(all, fmt.Sprintf("%s/%d %q %q %d %v", topic, p, r.Key, r.Value, r.Timestamp, r.Headers))
			}
		}
	}
	for k, v := range streamtest.StateOf(d, "counts", stream.String(), stream.Int64()) {
		all = append(all, fmt.Sprintf("count of %s: %d", k, v))
	}
	for k, v := range streamtest.StateOf(d, "customers", stream.String(), stream.String()) {
		all = append(all, fmt.Sprintf("customer %s: %s", k, v))
	}
	slices.Sort(all) // faults may change in which order partitions are processed
	return strings.Join(all, "\n")
}

// TestFaults holds runs with a fault against one without: each record has the same results, once.
func TestFaults(t *testing.T) {
	t.Parallel()
	want := trade(t, func(*streamtest.Driver, int) {})
	if n := strings.Count(want, "\n"); n < 60 {
		t.Fatalf("only %d results:\n%s", n, want)
	}
	points := []streamtest.CrashPoint{streamtest.WhileProcessing, streamtest.BeforeFlush, streamtest.BeforeCommit, streamtest.AfterCommit}
	for _, disk := range []bool{false, true} {
		var opts []streamtest.Option
		if disk {
			opts = append(opts, streamtest.OnDisk())
		}
		for _, point := range points {
			for at := 0; at < 24; at += 5 {
				for skip := range 2 {
					t.Run(fmt.Sprintf("crash at point %d of record %d after %d, disk %t", point, at, skip, disk), func(t *testing.T) {
						t.Parallel()
						got := trade(t, func(d *streamtest.Driver, i int) {
							if i == at {
								d.CrashAt(point, skip)
							}
						}, opts...)
						if diff := cmp.Diff(want, got); diff != "" {
							t.Error(diff)
						}
					})
				}
			}
		}
		for name, fault := range map[string]func(d *streamtest.Driver, i int){
			"crash": func(d *streamtest.Driver, _ int) { d.Crash() },
			"abort": func(d *streamtest.Driver, _ int) { d.Abort() },
			"lose":  func(d *streamtest.Driver, _ int) { d.LoseState() },
			"move":  func(d *streamtest.Driver, i int) { d.Rebalance(i%2, int32(i%3)) },
		} {
			t.Run(fmt.Sprintf("%s before each record, disk %t", name, disk), func(t *testing.T) {
				t.Parallel()
				if diff := cmp.Diff(want, trade(t, fault, opts...)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestUncommitted shows that a crash undoes what is not committed, and that it is done again.
func TestUncommitted(t *testing.T) {
	t.Parallel()
	top := stream.New("counts")
	in := stream.From(top, "in", stream.String(), stream.String())
	stream.Count(stream.GroupByKey(in), "counts").ToStream().To("out")
	d := streamtest.New(t, top, streamtest.CommitByHand())
	src := streamtest.NewInput(d, "in", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "out", stream.String(), stream.Int64())
	src.Pipe("a", "x", 1)
	d.Commit()
	src.Pipe("a", "x", 2)
	if n := out.Len(); n != 1 {
		t.Errorf("%d records before the commit, want 1", n)
	}
	for _, fault := range []func(){d.Crash, d.Abort, d.LoseState, func() { d.Rebalance(0, 0) }} {
		fault()
		if got := streamtest.StateOf(d, "counts", stream.String(), stream.Int64())["a"]; got != 1 {
			t.Errorf("the committed count is %d, want 1", got)
		}
	}
	d.Commit()
	if diff := cmp.Diff([]int64{1, 2}, out.ReadValues()); diff != "" {
		t.Error(diff)
	}
}
