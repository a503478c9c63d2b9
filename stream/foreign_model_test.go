package stream_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// foreignCase is a join by foreign key.
type foreignCase struct {
	outer           bool
	leftPast        bool // the left table is versioned
	rightPast       bool
	late            bool // the tables emit on commit
	leftOf, rightOf int  // partitions
}

// foreignOf takes the foreign key of a left value, l7|f1: that after the bar, if there is any.
func foreignOf(_, v string) (string, bool) {
	_, f, _ := strings.Cut(v, "|")
	return f, f != ""
}

func foreignPair(l, r string, ok bool) string {
	if !ok {
		return l + "+-"
	}
	return l + "+" + r
}

// topology joins the topics left and right and writes the updates of the result to out, the rows that records of probe find to found, and
// all rows that there are by what is told of their changes to rows.
func (c *foreignCase) topology() *stream.Topology {
	top, text := stream.New("foreign"), stream.String()
	table := func(name string, past bool, opts ...stream.TableOption) stream.Table[string, string] {
		if past {
			opts = append(opts, stream.Versioned(time.Hour))
		} else if c.late {
			opts = append(opts, stream.EmitOnCommit())
		}
		return stream.TableFrom(top, name, name, text, text, opts...)
	}
	left, right := table("left", c.leftPast), table("right", c.rightPast, stream.CacheRows(2))
	var result stream.Table[string, string]
	if c.outer {
		result = stream.LeftJoinForeignKey(left, right, "join", foreignOf, foreignPair, stream.CacheRows(2))
	} else {
		result = stream.JoinForeignKey(left, right, "join", foreignOf, func(l, r string) string { return foreignPair(l, r, true) }, stream.CacheRows(2))
	}
	result.ToStream().To("out")
	all := stream.GroupTable(result, text, text, func(k, v string) (string, string) { return "all", k + "=" + v })
	stream.AggregateTable(all, "rows", text, func() string { return "" }, func(_, v, rows string) string {
		return joinRows(append(cutRows(rows), v))
	}, func(_, v, rows string) string {
		list := cutRows(rows)
		i := slices.Index(list, v)
		if i < 0 {
			return joinRows(append(list, "no "+v))
		}
		return joinRows(slices.Delete(list, i, i+1))
	}).ToStream().To("rows")
	probe := stream.From(top, "probe", text, text)
	stream.LeftJoinTable(probe, result, "find", func(_, row string, ok bool) string { return fmt.Sprintf("%s %t", row, ok) }).To("found")
	return top
}

func cutRows(rows string) []string {
	if rows == "" {
		return nil
	}
	return strings.Split(rows, ",")
}

func joinRows(list []string) string {
	slices.Sort(list)
	return strings.Join(list, ",")
}

// foreignModel is the rows of the two tables.
type foreignModel struct {
	c     *foreignCase
	left  map[string]event
	right map[string]event
}

func (m *foreignModel) apply(e event) {
	rows, past := m.right, m.c.rightPast
	if e.left {
		rows, past = m.left, m.c.leftPast
	}
	if old, ok := rows[e.key]; past && ok && old.at > e.at {
		return
	}
	rows[e.key] = e
}

// result joins each left row with each right row.
func (m *foreignModel) result() map[string]string {
	rows := map[string]string{}
	for k, l := range m.left {
		if l.value == "" {
			continue
		}
		if m.c.outer {
			rows[k] = foreignPair(l.value, "", false)
		}
		f, ok := foreignOf(k, l.value)
		if r := m.right[f]; ok && r.value != "" {
			rows[k] = foreignPair(l.value, r.value, true)
		}
	}
	return rows
}

// TestForeignKeyJoinAsModel runs random updates of both sides through an application that crashes, loses its state and moves, and holds
// what it has written for good against the model whenever all is processed.
func TestForeignKeyJoinAsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := &foreignCase{
			outer: rapid.Bool().Draw(rt, "outer"), leftPast: rapid.IntRange(0, 3).Draw(rt, "left versioned") == 0,
			rightPast: rapid.IntRange(0, 3).Draw(rt, "right versioned") == 0, late: rapid.IntRange(0, 3).Draw(rt, "late") == 0,
			leftOf: rapid.IntRange(1, 3).Draw(rt, "left partitions"), rightOf: rapid.IntRange(1, 3).Draw(rt, "right partitions"),
		}
		opts := []streamtest.Option{
			streamtest.Partitions(c.leftOf), streamtest.Partitions(c.rightOf, "right"), streamtest.CommitByHand(),
		}
		if rapid.IntRange(0, 19).Draw(rt, "on disk") == 0 {
			opts = append(opts, streamtest.OnDisk())
		}
		r := newForeignRun(t, rt, c, opts)
		for i := range rapid.IntRange(1, 60).Draw(rt, "events") {
			r.step(i)
			r.fault()
		}
		r.check()
	})
}

// foreignRun is a run of an application beside the model.
type foreignRun struct {
	t                *rapid.T
	d                *streamtest.Driver
	c                *foreignCase
	m                *foreignModel
	in               map[bool]*streamtest.Input[string, string] // by left
	probe            *streamtest.Input[string, string]
	out, rows, found *streamtest.Output[string, string]
	result           map[string]string
	last             map[string]int // by key, the number of the left row that the last result was made of
	told             string
	clock            int64
}

func newForeignRun(t *testing.T, rt *rapid.T, c *foreignCase, opts []streamtest.Option) *foreignRun {
	t.Helper()
	text := stream.String()
	d := streamtest.New(t, c.topology(), opts...)
	return &foreignRun{
		t: rt, d: d, c: c, m: &foreignModel{c, map[string]event{}, map[string]event{}},
		in:    map[bool]*streamtest.Input[string, string]{true: streamtest.NewInput(d, "left", text, text), false: streamtest.NewInput(d, "right", text, text)},
		probe: streamtest.NewInput(d, "probe", text, text),
		out:   streamtest.NewOutput(d, "out", text, text), rows: streamtest.NewOutput(d, "rows", text, text), found: streamtest.NewOutput(d, "found", text, text),
		result: map[string]string{}, last: map[string]int{},
	}
}

// step sends an update.
func (r *foreignRun) step(i int) {
	r.clock += rapid.Int64Range(0, 3).Draw(r.t, "step")
	e := event{left: rapid.IntRange(0, 2).Draw(r.t, "side") > 0, at: max(0, r.clock-rapid.SampledFrom([]int64{0, 0, 0, 2, 9}).Draw(r.t, "late"))}
	if e.left {
		e.key = fmt.Sprintf("k%d", rapid.IntRange(0, 4).Draw(r.t, "key"))
	} else {
		e.key = fmt.Sprintf("f%d", rapid.IntRange(0, 2).Draw(r.t, "foreign"))
	}
	switch n := rapid.IntRange(0, 9).Draw(r.t, "value"); {
	case n == 0: // a deletion
	case !e.left:
		e.value = fmt.Sprintf("r%d", i)
	case n == 1:
		e.value = fmt.Sprintf("l%d", i)
	default:
		e.value = fmt.Sprintf("l%d|f%d", i, rapid.IntRange(0, 2).Draw(r.t, "refers to"))
	}
	r.m.apply(e)
	r.in[e.left].PipeRecord(e.record())
}

// fault has the application commit, crash, lose its state or move, or nothing.
func (r *foreignRun) fault() {
	switch rapid.IntRange(0, 30).Draw(r.t, "fault") {
	case 0:
		r.d.Crash()
	case 1:
		id := rapid.SampledFrom(r.d.Tasks()).Draw(r.t, "moved")
		sub, partition, _ := strings.Cut(id, "_")
		s, _ := strconv.Atoi(sub)
		p, _ := strconv.Atoi(partition)
		r.d.Rebalance(s, int32(p))
	case 2:
		r.d.LoseState()
	case 3:
		r.d.Abort()
	case 4, 5:
		r.d.CrashAt(streamtest.CrashPoint(rapid.IntRange(0, int(streamtest.AfterCommit)).Draw(r.t, "point")), rapid.IntRange(0, 4).Draw(r.t, "after"))
	case 6, 7, 8:
		r.check()
	}
}

// check has everything processed, and compares.
func (r *foreignRun) check() {
	r.d.Commit()
	for _, x := range r.out.ReadAll() {
		left, _, _ := strings.Cut(x.Value, "+")
		number, _ := strconv.Atoi(strings.TrimPrefix(strings.Split(left, "|")[0], "l"))
		if !x.NullValue && number < r.last[x.Key] {
			r.t.Fatalf("%s: a result of the left row %d after one of %d", x.Key, number, r.last[x.Key])
		}
		if old, ok := r.result[x.Key]; ok && !x.NullValue && old == x.Value && !strings.HasSuffix(old, "+-") { // a deletion of no row is an update, too
			r.t.Fatalf("%s: the result %s twice", x.Key, x.Value)
		}
		if r.last[x.Key] = max(r.last[x.Key], number); x.NullValue {
			delete(r.result, x.Key)
		} else {
			r.result[x.Key] = x.Value
		}
	}
	want := r.m.result()
	if diff := cmp.Diff(want, r.result); diff != "" {
		r.t.Fatalf("the result (-model +join):\n%s", diff)
	}
	for _, x := range r.rows.ReadAll() {
		r.told = x.Value
	}
	var list []string
	for k, v := range want {
		list = append(list, k+"="+v)
	}
	if diff := cmp.Diff(joinRows(list), r.told); diff != "" {
		r.t.Fatalf("the rows that changes tell of (-model +join):\n%s", diff)
	}
	for _, k := range slices.Sorted(maps.Keys(r.m.left)) {
		r.probe.Pipe(k, "?", r.clock)
	}
	r.d.Commit()
	for _, x := range r.found.ReadAll() {
		v, ok := want[x.Key]
		if x.Value != fmt.Sprintf("%s %t", v, ok) {
			r.t.Fatalf("a look-up of %s has found %s: want %s", x.Key, x.Value, v)
		}
	}
}
