package stream_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
	"pgregory.net/rapid"
)

// textTable is a table, as it is declared and as a model has it.
type textTable = stream.Table[string, string]

// shape is a table made of two others.
type shape struct {
	name    string
	left    []stream.TableOption
	right   []stream.TableOption
	declare func(l, r textTable) textTable
	// model returns the rows. updates is how often the left table was given a value, by key.
	model func(l, r map[string]string, updates map[string]int) map[string]string
}

// shapes are joins of all kinds, and of tables that hang together.
func shapes() []shape {
	inner := func(l, r textTable) textTable {
		return stream.JoinTables(l, r, func(l, r string) string { return l + "+" + r }).Values(stream.String())
	}
	left := func(l, r textTable) textTable {
		return stream.LeftJoinTables(l, r, func(l, r string, ok bool) string {
			if ok != (r != "") {
				panic("a row of the right table that is empty")
			}
			return l + "+" + r
		}).Values(stream.String())
	}
	outer := func(l, r textTable) textTable {
		return stream.OuterJoinTables(l, r, func(s stream.Sides[string, string]) string {
			if s.HasLeft != (s.Left != "") || s.HasRight != (s.Right != "") {
				panic("a row that is empty")
			}
			return s.Left + "+" + s.Right
		}).Values(stream.String())
	}
	joined := func(needLeft, needRight bool) func(l, r map[string]string) map[string]string {
		return func(l, r map[string]string) map[string]string {
			out := map[string]string{}
			for _, k := range slices.Concat(slices.Collect(maps.Keys(l)), slices.Collect(maps.Keys(r))) {
				if (l[k] != "" || !needLeft) && (r[k] != "" || !needRight) {
					out[k] = l[k] + "+" + r[k]
				}
			}
			return out
		}
	}
	type rows = map[string]string
	mInner, mLeft, mOuter := joined(true, true), joined(true, false), joined(false, false)
	short := func(_, v string) bool { return len(v)%2 == 0 }
	shortOf := func(of rows) rows {
		of = maps.Clone(of)
		maps.DeleteFunc(of, func(k, v string) bool { return !short(k, v) })
		return of
	}
	longer := func(k, v string) string { return k + v }
	count := func(of textTable, name string, opts ...stream.StoreOption) textTable {
		n := stream.Count(stream.GroupByKey(of.ToStream()), name, opts...)
		return stream.MapTable(n, func(_ string, n int64) string { return strconv.FormatInt(n, 10) })
	}
	counts := func(updates map[string]int) rows {
		out := rows{}
		for k, n := range updates {
			out[k] = strconv.Itoa(n)
		}
		return out
	}
	onCommit := []stream.TableOption{stream.EmitOnCommit()}
	small := []stream.TableOption{stream.CacheRows(1)}
	versioned := []stream.TableOption{stream.Versioned(ms(1 << 40))}
	list := []shape{
		{"inner", nil, nil, inner, func(l, r rows, _ map[string]int) rows { return mInner(l, r) }},
		{"left", small, small, left, func(l, r rows, _ map[string]int) rows { return mLeft(l, r) }},
		{"outer", nil, small, outer, func(l, r rows, _ map[string]int) rows { return mOuter(l, r) }},
		{"late left", onCommit, nil, outer, func(l, r rows, _ map[string]int) rows { return mOuter(l, r) }},
		{"late right", nil, onCommit, left, func(l, r rows, _ map[string]int) rows { return mLeft(l, r) }},
		{"late both", onCommit, onCommit, inner, func(l, r rows, _ map[string]int) rows { return mInner(l, r) }},
		{"versioned", versioned, versioned, outer, func(l, r rows, _ map[string]int) rows { return mOuter(l, r) }},
		{"with itself", nil, nil, func(l, _ textTable) textTable { return inner(l, l) }, func(l, _ rows, _ map[string]int) rows { return mInner(l, l) }},
		{"with itself, filtered", small, nil, func(l, _ textTable) textTable { return outer(l, l.Filter(short)) }, func(l, _ rows, _ map[string]int) rows { return mOuter(l, shortOf(l)) }},
		{"filtered and mapped", nil, nil, func(l, r textTable) textTable {
			return stream.MapTable(outer(stream.MapTable(l, longer), r.Filter(short)), longer).Filter(short)
		}, func(l, r rows, _ map[string]int) rows {
			long := func(of rows) rows {
				out := rows{}
				for k, v := range of {
					out[k] = longer(k, v)
				}
				return out
			}
			return shortOf(long(mOuter(long(l), shortOf(r))))
		}},
		{"beside its count", nil, nil, func(l, r textTable) textTable { return left(outer(l, r), count(l, "n")) }, func(l, r rows, n map[string]int) rows { return mLeft(mOuter(l, r), counts(n)) }},
		{"after its count", nil, nil, func(l, r textTable) textTable {
			n := count(l, "n")
			return outer(n, outer(l, r))
		}, func(l, r rows, n map[string]int) rows { return mOuter(counts(n), mOuter(l, r)) }},
		{"beside its late count", nil, onCommit, func(l, r textTable) textTable { return outer(outer(l, r), count(l, "n", stream.EmitOnCommit())) }, func(l, r rows, n map[string]int) rows {
			return mOuter(mOuter(l, r), counts(n))
		}},
	}
	// The table on the right is used twice.
	kinds := []struct {
		name  string
		join  func(l, r textTable) textTable
		model func(l, r map[string]string) map[string]string
	}{{"inner", inner, mInner}, {"left", left, mLeft}, {"outer", outer, mOuter}}
	for _, a := range kinds {
		for _, b := range kinds {
			list = append(list,
				shape{a.name + " " + b.name, nil, nil, func(l, r textTable) textTable { return b.join(a.join(l, r), r) }, func(l, r rows, _ map[string]int) rows { return b.model(a.model(l, r), r) }},
				shape{a.name + " " + b.name + " late", nil, onCommit, func(l, r textTable) textTable { return b.join(r, a.join(l, r)) }, func(l, r rows, _ map[string]int) rows { return b.model(r, a.model(l, r)) }})
		}
	}
	// The rows of both sides of these are made of one left table, at once or when an answer has come.
	for _, late := range [][]stream.TableOption{nil, onCommit} {
		add := func(name string, declare func(l, r textTable) textTable, model func(l, r rows) rows) {
			for _, right := range [][]stream.TableOption{nil, onCommit} {
				list = append(list, shape{fmt.Sprint(name, late != nil, right != nil), late, right, declare, func(l, r rows, _ map[string]int) rows { return model(l, r) }})
			}
		}
		add("two foreign keys", func(l, r textTable) textTable {
			return inner(foreignTable(l, r, "one", 5, false), foreignTable(l, r, "two", 3, false))
		}, func(l, r rows) rows { return mInner(foreignModelOf(l, r, 5, false), foreignModelOf(l, r, 3, false)) })
		add("two foreign keys, left", func(l, r textTable) textTable {
			return outer(foreignTable(l, r, "one", 5, true), foreignTable(l, r, "two", 3, false))
		}, func(l, r rows) rows { return mOuter(foreignModelOf(l, r, 5, true), foreignModelOf(l, r, 3, false)) })
		add("beside its foreign join", func(l, r textTable) textTable { return outer(l, foreignTable(l, r, "one", 5, false)) },
			func(l, r rows) rows { return mOuter(l, foreignModelOf(l, r, 5, false)) })
		add("after its foreign join", func(l, r textTable) textTable { return left(foreignTable(l, r, "one", 5, true), l) },
			func(l, r rows) rows { return mLeft(foreignModelOf(l, r, 5, true), l) })
		add("filtered beside its foreign join", func(l, r textTable) textTable {
			f := l.Filter(short)
			return outer(f, foreignTable(l, r, "one", 5, false))
		}, func(l, r rows) rows { return mOuter(shortOf(l), foreignModelOf(l, r, 5, false)) })
	}
	return list
}

// foreignAt returns one of the first n keys, by the number in a value.
func foreignAt(v string, n int) (string, bool) {
	i, err := strconv.Atoi(strings.TrimLeft(v, "lr"))
	return string(rune('a' + i%n)), err == nil
}

// foreignTable joins left rows with rows of the right table, which it brings to where their keys belong.
func foreignTable(l, r textTable, name string, n int, left bool) textTable {
	placed := stream.ToTable(r.ToStream().Repartition(name+"-placed"), name+"-right")
	key := func(_, v string) (string, bool) { return foreignAt(v, n) }
	if left {
		return stream.LeftJoinForeignKey(l, placed, name, key, func(l, r string, _ bool) string { return l + "*" + r }, stream.CacheRows(2)).Values(stream.String())
	}
	return stream.JoinForeignKey(l, placed, name, key, func(l, r string) string { return l + "*" + r }).Values(stream.String())
}

func foreignModelOf(l, r map[string]string, n int, left bool) map[string]string {
	out := map[string]string{}
	for k, v := range l {
		f, ok := foreignAt(v, n)
		if right := r[f]; ok && right != "" {
			out[k] = v + "*" + right
		} else if left {
			out[k] = v + "*"
		}
	}
	return out
}

// groupOfRow puts a row into a group that changes with its value.
func groupOfRow(_, v string) (string, string) { return fmt.Sprintf("g%d", len(v)%3), v }

// declareTables groups the rows of a shape, and aggregates them in each way that there is.
func declareTables(t *testing.T, s shape, opts ...stream.StoreOption) *stream.Topology {
	str := stream.String()
	top := stream.New("tables")
	l := stream.TableFrom(top, "l", "left", str, str, s.left...)
	r := stream.TableFrom(top, "r", "right", str, str, s.right...)
	rows := s.declare(l, r)
	rows.ToStream().Values(str).To("rows")
	groups := stream.GroupTable(rows, str, str, groupOfRow)
	stream.CountTable(groups, "count", opts...).ToStream().To("counts")
	sets := stream.JSON[map[string]int]()
	stream.AggregateTable(groups, "set", sets, func() map[string]int { return nil }, func(_, v string, set map[string]int) map[string]int {
		return with(set, v, 1)
	}, func(g, v string, set map[string]int) map[string]int {
		if set[v] == 0 {
			t.Errorf("%s: %q is taken out of group %s, and is not in it: %v", s.name, v, g, set)
		}
		return with(set, v, -1)
	}, opts...)
	length := stream.GroupTable(rows, str, stream.Int64(), func(k, v string) (string, int64) {
		g, _ := groupOfRow(k, v)
		return g, int64(len(v))
	})
	stream.ReduceTable(length, "sum", func(a, n int64) int64 { return a + n }, func(a, n int64) int64 { return a - n }, opts...)
	return top
}

// with returns a set in which n more are v.
func with(set map[string]int, v string, n int) map[string]int {
	out := maps.Clone(set)
	if out == nil {
		out = map[string]int{}
	}
	if out[v] += n; out[v] == 0 {
		delete(out, v)
	}
	return out
}

// TestTablesAsRecomputed groups the rows of joined tables, while rows come, change and go, and the application crashes,
// moves and loses its state. What the groups have in the end is compared with what the last updates give: so each
// change has to have told exactly what was there before. What is sent on is held against the same.
func TestTablesAsRecomputed(t *testing.T) {
	t.Parallel()
	all := shapes()
	rapid.Check(t, func(rt *rapid.T) {
		for range 3 {
			i := rapid.IntRange(0, len(all)-1).Draw(rt, "shape")
			rt.Logf("shape %d: %s", i, all[i].name)
			checkTables(rt, t, all[i])
		}
	})
}

func checkTables(rt *rapid.T, t *testing.T, s shape) {
	partitions := rapid.Int32Range(1, 3).Draw(rt, "partitions")
	var opts []stream.StoreOption
	if rapid.Bool().Draw(rt, "aggregates on commit") {
		opts = append(opts, stream.EmitOnCommit())
	}
	events := eventsOf(rt, rapid.IntRange(1, 60).Draw(rt, "events"), 1, partitions)
	d := streamtest.New(t, declareTables(t, s, opts...), streamtest.Partitions(int(partitions)), streamtest.CommitByHand())
	str := stream.String()
	inputs := map[bool]*streamtest.Input[string, string]{
		true: streamtest.NewInput(d, "left", str, str), false: streamtest.NewInput(d, "right", str, str),
	}
	f := faults{rt, d, partitions}
	tables := map[bool]map[string]event{true: {}, false: {}}
	updates := map[string]int{}
	for _, e := range events {
		if rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
			e.value = ""
		}
		inputs[e.left].PipeTo(e.partition, e.record())
		f.maybe()
		if rapid.IntRange(0, 20).Draw(rt, "move the groups") == 0 {
			d.Rebalance(1, 0)
		}
		if e.key == "" {
			continue
		}
		old, ok := tables[e.left][e.key]
		if s.name != "versioned" || !ok || old.at <= e.at {
			tables[e.left][e.key] = e
		}
		if e.left && e.value != "" {
			updates[e.key]++
		}
	}
	for range 7 { // what one has sent through a topic the next one reads
		d.Commit()
	}
	want := s.model(rowsOf(tables[true]), rowsOf(tables[false]), updates)
	sent := map[string]string{}
	for _, r := range streamtest.NewOutput(d, "rows", str, str).ReadAll() {
		if sent[r.Key] = r.Value; r.NullValue {
			delete(sent, r.Key)
		}
	}
	if diff := gocmp.Diff(want, sent); diff != "" {
		rt.Fatalf("%v: rows sent on (-want +got):\n%s", events, diff)
	}
	sets, counts, sums := map[string]map[string]int{}, map[string]int64{}, map[string]int64{}
	for k, v := range want {
		g, _ := groupOfRow(k, v)
		sets[g] = with(sets[g], v, 1)
		counts[g]++
		sums[g] += int64(len(v))
	}
	got := streamtest.StateOf(d, "set", str, stream.JSON[map[string]int]())
	maps.DeleteFunc(got, func(_ string, set map[string]int) bool { return len(set) == 0 })
	if diff := gocmp.Diff(sets, got); diff != "" {
		rt.Fatalf("%v: sets (-want +got):\n%s", events, diff)
	}
	zero := func(_ string, n int64) bool { return n == 0 }
	for store, want := range map[string]map[string]int64{"count": counts, "sum": sums} {
		got := streamtest.StateOf(d, store, str, stream.Int64())
		maps.DeleteFunc(got, zero)
		if diff := gocmp.Diff(want, got); diff != "" {
			rt.Fatalf("%v: %s (-want +got):\n%s", events, store, diff)
		}
	}
	last := map[string]int64{}
	for _, r := range streamtest.NewOutput(d, "counts", str, stream.Int64()).ReadAll() {
		last[r.Key] = r.Value
	}
	maps.DeleteFunc(last, zero)
	if diff := gocmp.Diff(counts, last); diff != "" {
		rt.Fatalf("%v: counts sent on (-want +got):\n%s", events, diff)
	}
	for what := range d.Dropped() {
		if what != "l/null_key" && what != "r/null_key" && what != "n/null_value" {
			rt.Fatalf("dropped: %v", d.Dropped())
		}
	}
}

func rowsOf(of map[string]event) map[string]string {
	out := map[string]string{}
	for k, e := range of {
		if e.value != "" {
			out[k] = e.value
		}
	}
	return out
}
