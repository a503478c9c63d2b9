package stream_test

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// tableModel is a join with a versioned table, recomputed from all updates.
type tableModel struct {
	history, grace int64
	left           bool
	updates        []event // those that were not late
	observed       int64   // of the table
	joined         int64   // the stream time of the stream
	waiting        []event
	late           int
	latest         []string // the updates that the table has sent on
	out            []string
}

func newTableModel(history, grace int64, left bool) *tableModel {
	return &tableModel{history: history, grace: grace, left: left, observed: math.MinInt64, joined: math.MinInt64}
}

func (m *tableModel) update(e event) {
	if e.key == "" {
		return
	}
	if m.observed != math.MinInt64 && e.at < m.observed-m.history {
		m.late++
		return
	}
	m.observed = max(m.observed, e.at)
	last, ok := m.asOf(e.key, math.MaxInt64)
	if m.updates = append(m.updates, e); !ok || last.at <= e.at {
		m.latest = append(m.latest, result{e.key, e.value, e.at}.String())
	}
}

// asOf returns the update that was the last one at a time.
func (m *tableModel) asOf(key string, t int64) (last event, ok bool) {
	for _, u := range m.updates {
		if u.key == key && u.at <= t && (!ok || u.at >= last.at) {
			last, ok = u, true
		}
	}
	return last, ok
}

func (m *tableModel) join(e event) {
	u, ok := m.asOf(e.key, e.at)
	if e.at < m.observed-m.history { // only the latest value is older than the history
		last, _ := m.asOf(e.key, math.MaxInt64)
		ok = ok && last == u
	}
	switch {
	case ok && u.value != "" && e.key != "":
		m.out = append(m.out, result{e.key, e.value + "+" + u.value, e.at}.String())
	case m.left:
		m.out = append(m.out, result{cmp.Or(e.key, "-"), e.value + "+-", e.at}.String())
	}
}

func (m *tableModel) process(e event) {
	switch {
	case e.key == "":
		if m.left {
			m.join(e)
		}
	case m.joined != math.MinInt64 && e.at < m.joined-m.grace:
		m.join(e)
	default:
		m.joined = max(m.joined, e.at)
		m.waiting = append(m.waiting, e)
		slices.SortStableFunc(m.waiting, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.key, b.key)) })
		for len(m.waiting) > 0 && m.waiting[0].at <= m.joined-m.grace {
			m.join(m.waiting[0])
			m.waiting = m.waiting[1:]
		}
	}
}

// declareTableJoin joins the records of the topic in whose values begin with l with a versioned table of those that
// begin with r; one without a value deletes.
func declareTableJoin(history, grace int64, left, derived bool) *stream.Topology {
	top := stream.New("joins")
	in := stream.From(top, "in", stream.String(), stream.String())
	rows := stream.ToTable(in.Filter(side("r")), "rows", stream.Versioned(ms(history)))
	rows.ToStream().To("latest")
	if derived {
		upper := stream.MapTable(rows, func(_, v string) string { return strings.ToUpper(v) }).Values(stream.String())
		kept := upper.Filter(func(_, v string) bool { return !strings.HasSuffix(v, "x") })
		rows = stream.MapTable(kept, func(_, v string) string { return strings.ToLower(v) }).Values(stream.String())
	}
	var opts []stream.JoinOption
	if grace >= 0 {
		opts = append(opts, stream.Grace(ms(grace)))
	}
	join := func(l, r string, ok bool) string {
		if !ok {
			r = "-"
		}
		return l + "+" + r
	}
	if left {
		stream.LeftJoinTable(in.Filter(side("l")), rows, "joined", join, opts...).To("out")
	} else {
		stream.JoinTable(in.Filter(side("l")), rows, "joined", func(l, r string) string { return join(l, r, true) }, opts...).To("out")
	}
	return top
}

// TestJoinTableAsRecomputed holds joins with versioned tables, with and without grace, which crash, move and lose their
// state at random, against a recomputation from all updates.
func TestJoinTableAsRecomputed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		unit := units().Draw(rt, "unit")
		history := rapid.Int64Range(1, 40).Draw(rt, "history") * unit
		grace := min(history, rapid.Int64Range(-1, 20).Draw(rt, "grace")*unit)
		left, derived := rapid.Bool().Draw(rt, "left"), rapid.Bool().Draw(rt, "derived")
		events := eventsOf(rt, rapid.IntRange(1, 80).Draw(rt, "events"), unit, 1)
		for i := range events {
			if !events[i].left && rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
				events[i].value = ""
			}
		}
		got, d := runWithFaults(rt, t, declareTableJoin(history, grace, left, derived), events, 1)
		m := newTableModel(history, max(0, grace), left)
		for _, e := range events {
			switch {
			case !e.left:
				m.update(e)
			case grace < 0 && (e.key != "" || left):
				m.join(e)
			default:
				m.process(e)
			}
		}
		if diff := gocmp.Diff(m.out, got); diff != "" {
			rt.Fatalf("history %d, grace %d, events %v:\n%s", history, grace, events, diff)
		}
		if diff := gocmp.Diff(m.latest, resultsOf(streamtest.NewOutput(d, "latest", stream.String(), stream.String()))); diff != "" {
			rt.Fatalf("history %d, events %v: updates sent on:\n%s", history, events, diff)
		}
		if n := d.Dropped()["rows/late"]; n != m.late {
			rt.Fatalf("%d late updates dropped, want %d", n, m.late)
		}
	})
}

// TestGraceWaits follows records through a grace of 10 ms: those in time wait for updates that come late, those later
// than that do not, and a record without a key has nothing to wait for.
func TestGraceWaits(t *testing.T) {
	t.Parallel()
	top := stream.New("joins", stream.IdleTimeout(ms(1000)))
	in := stream.From(top, "in", stream.String(), stream.String())
	rows := stream.TableFrom(top, "rows", "rows", stream.String(), stream.String(), stream.Versioned(ms(100)))
	stream.LeftJoinTable(in, rows, "joined", func(v, r string, ok bool) string {
		if !ok {
			r = "-"
		}
		return v + "+" + r
	}, stream.Grace(ms(10)), stream.InMemory()).To("out", stream.Provenance())
	d := streamtest.New(t, top)
	src := streamtest.NewInput(d, "in", stream.String(), stream.String())
	updates := streamtest.NewInput(d, "rows", stream.String(), stream.String())
	out := streamtest.NewOutput(d, "out", stream.String(), stream.String())
	start := d.Now().UnixMilli()
	step := func(do func(), want ...string) {
		t.Helper()
		do()
		var got []string
		for _, r := range out.ReadAll() {
			got = append(got, result{r.Key, r.Value, r.Timestamp - start}.String())
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	pipe := func(k, v string, at int64) func() { return func() { src.Pipe(k, v, start+at) } }
	update := func(k, v string, at int64) func() { return func() { updates.Pipe(k, v, start+at) } }
	step(update("k", "old", 0))
	step(pipe("k", "b", 20))
	step(pipe("k", "a", 12))
	step(pipe("k", "too late", 9), "k=too late+old@9")
	step(update("k", "new", 15))
	step(d.Crash)
	step(d.LoseState)
	step(pipe("k", "c", 29), "k=a+old@12")
	step(pipe("z", "d", 30), "k=b+new@20")
	step(func() {
		src.PipeRecord(stream.Record[string, string]{NullKey: true, Value: "keyless", Timestamp: start + 31})
	}, "=keyless+-@31")
	step(func() { d.Advance(ms(1038)) })
	step(func() { d.Advance(ms(300)) }, "k=c+new@29", "z=d+-@30") // the clock is a second and 10 ms past them
	step(pipe("k", "after the clock", 35), "k=after the clock+new@35")
	var sources []string
	for _, r := range d.Raw("out", 0) {
		for _, h := range r.Headers {
			sources = append(sources, string(h.Value))
		}
	}
	if diff := gocmp.Diff([]string{"in/0/2", "in/0/1", "in/0/0", "in/0/5", "in/0/3", "in/0/4", "in/0/6"}, sources); diff != "" {
		t.Errorf("sources: %s", diff)
	}
}

func TestJoinDeclarations(t *testing.T) {
	t.Parallel()
	type parts struct {
		top          *stream.Topology
		left, right  stream.Stream[string, string]
		plain, dated stream.Table[string, string]
	}
	pair := func(a, b string) string { return a + b }
	second := stream.Symmetric(ms(1000))
	for name, test := range map[string]struct {
		declare func(p parts)
		want    string // "" is no fault
	}{
		"join":           {func(p parts) { stream.JoinStream(p.left, p.right, "j", second, pair) }, ""},
		"in memory":      {func(p parts) { stream.JoinStream(p.left, p.right, "j", second, pair, stream.InMemory()) }, ""},
		"no name":        {func(p parts) { stream.JoinStream(p.left, p.right, "", second, pair) }, "no name"},
		"emit on commit": {func(p parts) { stream.JoinStream(p.left, p.right, "j", second, pair, stream.EmitOnCommit()) }, "EmitOnCommit"},
		"negative grace": {func(p parts) { stream.JoinStream(p.left, p.right, "j", stream.JoinWindow{Grace: ms(-1)}, pair) }, "grace is negative"},
		"ends before": {func(p parts) {
			stream.JoinStream(p.left, p.right, "j", stream.JoinWindow{Before: ms(5), After: ms(-6)}, pair)
		}, "ends before it begins"},
		"one sided": {func(p parts) {
			stream.JoinStream(p.left, p.right, "j", stream.JoinWindow{Before: ms(-5), After: ms(6)}, pair)
		}, ""},
		"too long":  {func(p parts) { stream.JoinStream(p.left, p.right, "j", stream.Symmetric(ms(1<<43)), pair) }, "longer than 90 years"},
		"not whole": {func(p parts) { stream.JoinStream(p.left, p.right, "j", stream.Symmetric(1), pair) }, "whole milliseconds"},
		"no codec": {func(p parts) {
			stream.JoinStream(stream.MapValues(p.left, func(s string) int { return len(s) }), p.right, "j", second, func(int, string) string { return "" })
		}, "no codec of the values"},
		"same name": {func(p parts) {
			stream.JoinStream(p.left, p.right, "j", second, pair)
			stream.JoinStream(p.left, p.right, "j", second, pair)
		}, "is taken"},
		"history":            {func(p parts) { stream.ToTable(p.left, "t", stream.Versioned(0)) }, "history"},
		"history on commit":  {func(p parts) { stream.ToTable(p.left, "t", stream.Versioned(ms(1)), stream.EmitOnCommit()) }, "EmitOnCommit"},
		"source option":      {func(p parts) { stream.ToTable(p.left, "t", stream.StartLatest()) }, "option of a source"},
		"grace":              {func(p parts) { stream.JoinTable(p.left, p.dated, "j", pair, stream.Grace(ms(100))) }, ""},
		"grace of none":      {func(p parts) { stream.JoinTable(p.left, p.dated, "", pair, stream.Grace(0)) }, ""},
		"grace without name": {func(p parts) { stream.JoinTable(p.left, p.dated, "", pair, stream.Grace(ms(1))) }, "no name"},
		"grace, plain table": {func(p parts) { stream.JoinTable(p.left, p.plain, "j", pair, stream.Grace(ms(1))) }, "Versioned"},
		"grace over history": {func(p parts) { stream.JoinTable(p.left, p.dated, "j", pair, stream.Grace(ms(101))) }, "longer than the table's history"},
		"grace, mapped table": {func(p parts) {
			stream.JoinTable(p.left, p.dated.Filter(func(string, string) bool { return true }), "j", pair, stream.Grace(ms(1)))
		}, ""},
		"grace below zero":    {func(p parts) { stream.JoinTable(p.left, p.dated, "j", pair, stream.Grace(ms(-1))) }, "negative"},
		"store without grace": {func(p parts) { stream.JoinTable(p.left, p.plain, "j", pair, stream.InMemory()) }, "no Grace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := stream.New("joins")
			test.declare(parts{
				top:   top,
				left:  stream.From(top, "left", stream.String(), stream.String()),
				right: stream.From(top, "right", stream.String(), stream.String()),
				plain: stream.TableFrom(top, "plain", "plain", stream.String(), stream.String(), stream.InMemory(), stream.StartLatest()),
				dated: stream.TableFrom(top, "dated", "dated", stream.String(), stream.String(), stream.Versioned(ms(100))),
			})
			switch err := top.Err(); {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want a fault with %q", err, test.want)
			case err != nil && !strings.Contains(err.Error(), "join_table_test.go:"):
				t.Errorf("not where it was declared: %v", err)
			}
		})
	}
}
