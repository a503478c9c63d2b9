package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// TestExpiringRowsInJoinsOfTables has rows of a side go that the other side still updates, and adds the results of a join up: what a
// result is said to have been before is what was sent on last, so that nothing is left when all rows have gone.
func TestExpiringRowsInJoinsOfTables(t *testing.T) {
	t.Parallel()
	type table = stream.Table[string, int64]
	add := func(l, r int64) int64 { return l + 100*r }
	optional := func(s stream.Sides[int64, int64]) int64 { return s.Left + 100*s.Right }
	for name, join := range map[string]func(rows, other table) table{
		"left":  func(rows, other table) table { return stream.JoinTables(rows, other, add) },
		"right": func(rows, other table) table { return stream.JoinTables(other, rows, add) },
		"outer": func(rows, other table) table { return stream.OuterJoinTables(rows, other, optional) },
		"filtered": func(rows, other table) table {
			return stream.JoinTables(rows.Filter(func(string, int64) bool { return true }), other, add)
		},
		"itself": func(rows, _ table) table {
			return stream.JoinTables(rows, stream.MapTable(rows, func(_ string, v int64) int64 { return -v }), add)
		},
		"suppressed": func(rows, other table) table {
			return stream.JoinTables(stream.SuppressUntilTimeLimit(rows, "later", 0, stream.Unbounded()), other, add)
		},
		"foreign": func(rows, other table) table {
			return stream.JoinForeignKey(rows, other, "foreign", func(k string, _ int64) (string, bool) { return k, true }, add)
		},
		"foreign right": func(rows, other table) table {
			return stream.JoinForeignKey(other, rows, "foreign", func(k string, _ int64) (string, bool) { return k, true }, add)
		},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", late), func(t *testing.T) {
				t.Parallel()
				num := stream.Int64()
				top := stream.New("expiring")
				opts := []stream.TableOption{stream.TTL(160 * time.Millisecond)}
				if late {
					opts = append(opts, stream.EmitOnCommit())
				}
				rows := stream.TableFrom(top, "rows", "rows", stream.String(), num, opts...)
				other := stream.TableFrom(top, "other", "other", stream.String(), num)
				group := stream.GroupTable(join(rows, other), stream.String(), num, func(_ string, v int64) (string, int64) { return "all", v })
				sum := func(sign int64) func(string, int64, int64) int64 {
					return func(_ string, v, a int64) int64 { return a + sign*v }
				}
				stream.AggregateTable(group, "sums", num, func() int64 { return 0 }, sum(1), sum(-1)).ToStream().To("sums")
				d := streamtest.New(t, top)
				in, others := streamtest.NewInput(d, "rows", stream.String(), num), streamtest.NewInput(d, "other", stream.String(), num)
				in.Pipe("k", 1, 5)
				others.Pipe("k", 2, 5)
				others.Pipe("l", 5, 5)
				in.Pipe("x", 1, 166)     // k is too old, and its segment is not over
				others.Pipe("k", 3, 166) // which that side does not know
				in.Pipe("l", 4, 170)
				in.Pipe("end", 0, 1_000_000)
				others.PipeRecord(stream.Record[string, int64]{Key: "k", NullValue: true, Timestamp: 1_000_000})
				others.PipeRecord(stream.Record[string, int64]{Key: "l", NullValue: true, Timestamp: 1_000_000})
				d.Commit()
				d.Crash()
				d.Commit()
				left := int64(0) // what is there of "end"
				out := streamtest.NewOutput(d, "sums", stream.String(), num).ReadValues()
				if len(out) == 0 || out[len(out)-1] != left {
					t.Errorf("the sums are %v", out)
				}
			})
		}
	}
}

// TestForeignResultsHaveTimes joins a left row of which a newer one waits already.
func TestForeignResultsHaveTimes(t *testing.T) {
	t.Parallel()
	str := stream.String()
	top := stream.New("times")
	left := stream.SuppressUntilTimeLimit(stream.TableFrom(top, "left", "left", str, str), "later", 10*time.Millisecond, stream.Unbounded())
	right := stream.TableFrom(top, "right", "right", str, str)
	stream.LeftJoinForeignKey(left, right, "join", func(_, v string) (string, bool) { return v, true }, func(l, r string, ok bool) string { return fmt.Sprint(l, r, ok) }).
		ToStream().Values(str).To("out")
	d := streamtest.New(t, top)
	in := streamtest.NewInput(d, "left", str, str)
	in.PipeAll(
		stream.Record[string, string]{Key: "k", Value: "f", Timestamp: 5},
		stream.Record[string, string]{Key: "l", Value: "g", Timestamp: 20},
		stream.Record[string, string]{Key: "k", Value: "h", Timestamp: 21},
	)
	want(t, "results", "k=ffalse@5", strings.Join(resultsOf(streamtest.NewOutput(d, "out", str, str)), " "))
}

// TestJoinsOfExpiringTablesAddUp adds the rows of joins up by their updates, and compares that with the rows themselves: whatever comes
// when, no update says of a row that it was what it was not.
func TestJoinsOfExpiringTablesAddUp(t *testing.T) {
	t.Parallel()
	str, num := stream.String(), stream.Int64()
	rapid.Check(t, func(rt *rapid.T) {
		top := stream.New("sums")
		table := func(name string) stream.Table[string, int64] {
			var opts []stream.TableOption
			if ttl := rapid.SampledFrom([]int64{0, 20, 1600}).Draw(rt, "ttl of "+name); ttl > 0 {
				opts = append(opts, stream.TTL(ms(ttl)))
			}
			if rapid.IntRange(0, 3).Draw(rt, name+" emits on commit") == 0 {
				opts = append(opts, stream.EmitOnCommit())
			}
			return stream.TableFrom(top, name, name, str, num, opts...)
		}
		one, two := table("one"), table("two")
		right := map[string]func() stream.Table[string, int64]{
			"two": func() stream.Table[string, int64] { return two },
			"one": func() stream.Table[string, int64] {
				return stream.MapTable(one, func(_ string, v int64) int64 { return 3 * v })
			},
			"both": func() stream.Table[string, int64] {
				return stream.JoinTables(two, one, func(l, r int64) int64 { return 7*l + r })
			},
			"suppressed": func() stream.Table[string, int64] {
				return stream.SuppressUntilTimeLimit(two, "later", ms(5), stream.MaxRecords(2))
			},
		}[rapid.SampledFrom([]string{"two", "one", "both", "suppressed"}).Draw(rt, "right")]()
		add := func(s stream.Sides[int64, int64]) int64 { return s.Left + 1000*s.Right }
		var joined stream.Table[string, int64]
		switch rapid.SampledFrom([]string{"inner", "left", "outer", "foreign"}).Draw(rt, "join") {
		case "inner":
			joined = stream.JoinTables(one, right, func(l, r int64) int64 { return l + 1000*r })
		case "left":
			joined = stream.LeftJoinTables(one, right, func(l, r int64, _ bool) int64 { return l + 1000*r })
		case "outer":
			joined = stream.OuterJoinTables(one, right, add)
		case "foreign":
			joined = stream.LeftJoinForeignKey(one, right, "foreign", func(_ string, v int64) (string, bool) { return string("abc"[v%3]), v%5 > 0 }, func(l, r int64, _ bool) int64 { return l + 1000*r })
		}
		joined.ToStream().Values(num).To("rows")
		group := stream.GroupTable(joined, str, num, func(_ string, v int64) (string, int64) { return "all", v })
		sum := func(sign int64) func(string, int64, int64) int64 {
			return func(_ string, v, a int64) int64 { return a + sign*v }
		}
		stream.AggregateTable(group, "sums", num, func() int64 { return 0 }, sum(1), sum(-1)).ToStream().To("sums")
		var opts []streamtest.Option
		if rapid.Bool().Draw(rt, "by hand") {
			opts = append(opts, streamtest.CommitByHand())
		}
		d := streamtest.New(t, top, opts...)
		now := int64(0)
		for i := range rapid.IntRange(1, 50).Draw(rt, "records") {
			now += rapid.SampledFrom([]int64{0, 0, 0, 1, 5, 21, 50, 1600, 4000}).Draw(rt, "step")
			r := stream.Record[string, int64]{Key: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key"), Value: int64(i + 1), Timestamp: now}
			r.NullValue = rapid.IntRange(0, 6).Draw(rt, "delete") == 0
			streamtest.NewInput(d, rapid.SampledFrom([]string{"one", "two"}).Draw(rt, "topic"), str, num).PipeRecord(r)
			switch rapid.IntRange(0, 9).Draw(rt, "then") {
			case 0:
				d.Crash()
			case 1, 2:
				d.Commit()
			}
		}
		d.Commit()
		wanted := int64(0)
		for _, v := range streamtest.ReadTable(streamtest.NewOutput(d, "rows", str, num)) {
			wanted += v
		}
		got := streamtest.ReadTable(streamtest.NewOutput(d, "sums", str, num))["all"]
		if got != wanted {
			rt.Fatalf("the rows add up to %d, the updates to %d", wanted, got)
		}
	})
}
