package stream_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// TestSuppressedWindowsSurviveFaults compares windows that are suppressed until they close with a recomputation, while the
// application crashes, rounds are undone and tasks move: each is sent on once, as it was when it closed, and none is
// forgotten. What is filtered out when its window closes is not sent on.
func TestSuppressedWindowsSurviveFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := drawWindowCase(rt)
		c.emit = "close"
		modulus := rapid.IntRange(1, 3).Draw(rt, "modulus")
		keep := func(v string) bool { return modulus == 1 || strings.Count(v, "+")%modulus != 0 }
		opts := []stream.WindowOption{stream.CacheRows(3)}
		if rapid.Bool().Draw(rt, "emit on commit") {
			opts = append(opts, stream.EmitOnCommit())
		}
		top := stream.New("windows")
		in := stream.From(top, "in", stream.String(), stream.String())
		rows := join(stream.GroupByKey(in), stream.Hopping(ms(c.size), ms(c.advance)).Grace(ms(c.grace)), opts...)
		kept := rows.Filter(func(_ stream.Windowed[string], v string) bool { return keep(v) })
		stream.SuppressUntilWindowCloses(kept, "final", stream.Unbounded()).ToStream().To("out")

		commits := []streamtest.Option{streamtest.Partitions(windowPartitions)}
		if rapid.Bool().Draw(rt, "by hand") {
			commits = append(commits, streamtest.CommitByHand())
		}
		d := drive(t, top, commits...)
		for _, r := range c.records {
			disturb(rt, d.Driver)
			d.in.PipeTo(r.partition, stream.Record[string, string]{Key: r.key, Value: r.value, Timestamp: r.at})
		}
		d.Commit()
		d.Crash()
		d.Commit()
		var got [windowPartitions][]string
		for _, r := range d.out.ReadAll() {
			p := r.Key.Key[0] - '0'
			got[p] = append(got[p], show(r))
		}
		wanted, _ := c.expect()
		for p, list := range wanted {
			list = slices.DeleteFunc(list, func(s string) bool { return !keep(s) })
			if diff := gocmp.Diff(slices.Concat(list), slices.Concat(got[p])); diff != "" { // nil where they are empty
				rt.Fatalf("partition %d (-want +got):\n%s", p, diff)
			}
		}
	})
}

// waitingRow is a row that waits, in the model.
type waitingRow struct {
	key, value  string // an empty value is a deletion
	since, last int64  // the times of its first and last update
}

// limitCase is a random table whose updates wait, with its input.
type limitCase struct {
	wait, records, bytes int64
	updates              []windowRecord
}

func drawLimitCase(t *rapid.T) limitCase {
	none := rapid.Just(int64(-1))
	c := limitCase{wait: rapid.Int64Range(0, 12).Draw(t, "wait")}
	c.records = rapid.OneOf(none, rapid.Int64Range(0, 3)).Draw(t, "max records")
	c.bytes = rapid.OneOf(none, rapid.Int64Range(0, 12)).Draw(t, "max bytes")
	var now [windowPartitions]int64
	for range rapid.IntRange(1, 40).Draw(t, "updates") {
		r := windowRecord{partition: rapid.Int32Range(0, windowPartitions-1).Draw(t, "partition")}
		r.key = fmt.Sprintf("%d%s", r.partition, rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key"))
		if rapid.IntRange(0, 4).Draw(t, "deleted") != 0 {
			r.value = strconv.Itoa(rapid.IntRange(1, 1200).Draw(t, "value"))
		}
		now[r.partition] += rapid.Int64Range(0, 5).Draw(t, "step")
		r.at = max(0, now[r.partition]-rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 9)).Draw(t, "delay"))
		c.updates = append(c.updates, r)
	}
	return c
}

func (c *limitCase) buffer() stream.Buffer {
	b := stream.Unbounded()
	if c.records >= 0 {
		b = b.WithMaxRecords(c.records)
	}
	if c.bytes >= 0 {
		b = b.WithMaxBytes(c.bytes)
	}
	return b
}

// topology has the sent rows be written, looked up by each update, and summed up.
func (c *limitCase) topology() *stream.Topology {
	str := stream.String()
	top := stream.New("limit")
	in := stream.From(top, "in", str, str)
	rows := stream.SuppressUntilTimeLimit(stream.ToTable(in, "rows", stream.CacheRows(2)), "waiting", ms(c.wait), c.buffer())
	rows.ToStream().To("out")
	stream.LeftJoinTable(in, rows, "seen", func(_, sent string, ok bool) string { return fmt.Sprint(sent, ok) }).To("seen")
	sum := func(sign int64) func(string, int64, int64) int64 {
		return func(_ string, v, a int64) int64 { return a + sign*v }
	}
	grouped := stream.GroupTable(rows, str, stream.Int64(), func(_, v string) (string, int64) {
		n, _ := strconv.ParseInt(v, 10, 64)
		return "all", n
	})
	stream.AggregateTable(grouped, "sums", stream.Int64(), func() int64 { return 0 }, sum(1), sum(-1)).ToStream().To("sums")
	return top
}

// over tells whether rows are too many.
func (c *limitCase) over(rows []waitingRow) bool {
	n := int64(0)
	for _, r := range rows {
		n += int64(len(r.key) + len(r.value))
	}
	return c.records >= 0 && int64(len(rows)) > c.records || c.bytes >= 0 && n > c.bytes
}

// expect recomputes what is sent on from each partition, what each update sees, and the sum of all rows at the end.
func (c *limitCase) expect() (out, seen [windowPartitions][]string, sum int64) {
	for p := range out {
		var rows []waitingRow
		sent, streamTime := map[string]string{}, int64(0)
		for _, u := range c.updates {
			if int(u.partition) != p {
				continue
			}
			streamTime = max(streamTime, u.at)
			i := slices.IndexFunc(rows, func(r waitingRow) bool { return r.key == u.key })
			if i < 0 {
				i = len(rows)
				rows = append(rows, waitingRow{key: u.key, since: u.at})
			}
			rows[i].value, rows[i].last = u.value, u.at
			slices.SortFunc(rows, func(a, b waitingRow) int {
				return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.key, b.key))
			})
			for len(rows) > 0 && (rows[0].since <= streamTime-c.wait || c.over(rows)) {
				r := rows[0]
				rows, sent[r.key] = rows[1:], r.value
				out[p] = append(out[p], fmt.Sprintf("%s=%s@%d", r.key, r.value, r.last))
			}
			if u.value != "" {
				seen[p] = append(seen[p], fmt.Sprintf("%s=%s%t@%d", u.key, sent[u.key], sent[u.key] != "", u.at))
			}
		}
		for _, v := range sent {
			n, _ := strconv.ParseInt(v, 10, 64)
			sum += n
		}
	}
	return out, seen, sum
}

// TestSuppressedRowsSurviveFaults compares a table whose updates wait for a time with a recomputation: what is sent on and
// when, also early where the buffer is full, what a join sees, and what a grouping adds and subtracts.
func TestSuppressedRowsSurviveFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := drawLimitCase(rt)
		commits := []streamtest.Option{streamtest.Partitions(windowPartitions)}
		if rapid.Bool().Draw(rt, "by hand") {
			commits = append(commits, streamtest.CommitByHand())
		}
		d := drive(t, c.topology(), commits...)
		for _, u := range c.updates {
			disturb(rt, d.Driver)
			d.in.PipeTo(u.partition, stream.Record[string, string]{Key: u.key, Value: u.value, NullValue: u.value == "", Timestamp: u.at})
		}
		for range 3 {
			d.Commit()
			d.Crash()
		}
		out, seen, sum := c.expect()
		if diff := gocmp.Diff(out, writtenTo(d, "out")); diff != "" {
			rt.Fatalf("sent on (-want +got):\n%s", diff)
		}
		if diff := gocmp.Diff(seen, writtenTo(d, "seen")); diff != "" {
			rt.Fatalf("seen by a join (-want +got):\n%s", diff)
		}
		got := int64(0)
		for _, r := range streamtest.NewOutput(d.Driver, "sums", stream.String(), stream.Int64()).ReadAll() {
			got = r.Value
		}
		if got != sum {
			rt.Fatalf("the sum of all rows is %d, want %d", got, sum)
		}
	})
}

func writtenTo(d *windows, topic string) (list [windowPartitions][]string) {
	for _, r := range streamtest.NewOutput(d.Driver, topic, stream.String(), stream.String()).ReadAll() {
		p := r.Key[0] - '0'
		list[p] = append(list[p], fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Timestamp))
	}
	return list
}
