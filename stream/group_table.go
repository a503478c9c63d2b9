package stream

// GroupedTable is a table whose rows are to be aggregated in groups.
type GroupedTable[K, V any] struct{ changes Stream[K, Change[V]] }

// GroupTable groups the rows of a table. f makes of a row the key of its group and the value that counts there; it has to
// give the same for the same, since a row is taken out of its group with what it was put in with. To have a row in no
// group filter the table before; nor has one a group for which f returns a value that is null by a [Nullable] codec.
//
// Windows expire without an update, and stay in their groups: where the groups go by time give the aggregation a [TTL], or groups are kept
// for ever.
//
// The aggregation that follows is of the rows as they are, not of their updates: what a row was is subtracted when it
// changes or is deleted, and what it is is added. Updates go there through the topic <application>-<name>-repartition,
// named after the aggregation: one record with the old and the new value if the row stays in its group, else one for the
// old group and one for the new. The record's value is a byte, 1 for the old value alone, 2 for the new one alone, 3 for
// both; then the value, or of both the length of the old one as a uvarint, it, and the new one. Two aggregations of one
// group write two topics.
//
// An update of a [Versioned] table that comes out of order changes no group.
func GroupTable[K comparable, V any, K2 comparable, V2 any](t Table[K, V], keys Codec[K2], values Codec[V2], f func(K, V) (K2, V2), opts ...Option) GroupedTable[K2, V2] {
	const kind = "group-table"
	t.n.topology().needs(kind, "f", f != nil)
	needKey[K2](t.n.topology(), kind)
	if keys == nil || values == nil {
		t.n.topology().fail(kind, "no codec of the groups' keys, which are %T, or of their values, which are %T", *new(K2), *new(V2))
		return GroupedTable[K2, V2]{Stream[K2, Change[V2]]{n: t.n}}
	}
	n := t.n.topology().add(kind, t.n.topology().nameIn(kind, opts), t.n)
	n.build = func(b *builder) []any {
		return []any{&groupTable[K, V, K2, V2]{f: f, isNull: nullOf(values), next: next[K2, Change[V2]](b, n)}}
	}
	return GroupedTable[K2, V2]{Stream[K2, Change[V2]]{n: n, keys: keys, values: changeCodec[V2]{values}, rekeyed: true}}
}

// groupTable sends updates of rows to their groups.
type groupTable[K comparable, V any, K2 comparable, V2 any] struct {
	f      func(K, V) (K2, V2)
	isNull func(V2) bool // nil: no value is null
	next   edge[K2, Change[V2]]
	out    Record[K2, Change[V2]]
}

func (g *groupTable[K, V, K2, V2]) process(r *Record[K, Change[V]]) error {
	if r.Value.Stale {
		return nil
	}
	oldKey, old, hasOld := g.group(r.Key, r.Value.Old, r.Value.HasOld)
	newKey, now, hasNew := g.group(r.Key, r.Value.New, r.Value.HasNew)
	g.out.Timestamp, g.out.Headers = r.Timestamp, r.Headers
	if hasOld && hasNew && oldKey == newKey {
		g.out.Key, g.out.Value = oldKey, Change[V2]{Old: old, New: now, HasOld: true, HasNew: true}
		return g.next.send(&g.out)
	}
	if hasOld {
		g.out.Key, g.out.Value = oldKey, Change[V2]{Old: old, HasOld: true}
		if err := g.next.send(&g.out); err != nil {
			return err
		}
	}
	if !hasNew {
		return nil
	}
	g.out.Key, g.out.Value = newKey, Change[V2]{New: now, HasNew: true}
	return g.next.send(&g.out)
}

// group returns the group and the value of a row, if it has one.
func (g *groupTable[K, V, K2, V2]) group(k K, v V, exists bool) (key K2, value V2, ok bool) {
	if !exists {
		return key, value, false
	}
	key, value = g.f(k, v)
	return key, value, g.isNull == nil || !g.isNull(value)
}

// regrouping keeps aggregates of rows.
type regrouping[K, V, A any] struct {
	folding[K, V, A]
	subtract func(K, V, A) A
}

// change returns the aggregate old with the update of a row in it.
func (f *regrouping[K, V, A]) change(r *Record[K, Change[V]], old *row[A]) row[A] {
	now := *old
	if now.timestamp = r.Timestamp; old.exists {
		now.timestamp = max(r.Timestamp, old.timestamp)
		if r.Value.HasOld {
			now.value = f.subtract(r.Key, r.Value.Old, old.value)
			now.exists = f.isNull == nil || !f.isNull(now.value)
		}
	}
	if r.Value.HasNew {
		added := Record[K, V]{Key: r.Key, Value: r.Value.New, Timestamp: now.timestamp}
		return f.fold(&added, &now)
	}
	if !now.exists {
		return row[A]{timestamp: now.timestamp}
	}
	return now
}

// aggregateTable keeps a value for each group.
type aggregateTable[K comparable, V, A any] struct {
	keeper[K, A]
	f regrouping[K, V, A]
}

func (a *aggregateTable[K, V, A]) process(r *Record[K, Change[V]]) error {
	if a.incomplete(r.NullKey, r.NullValue) {
		return nil
	}
	c, err := a.rows.at(r.Key)
	if err != nil {
		return err
	}
	return a.set(c, a.f.change(r, &c.row), r.Headers)
}

func addAggregateTable[K comparable, V, A any](g GroupedTable[K, V], kind, name string, values Codec[A], opts []StoreOption, f regrouping[K, V, A]) Table[K, A] {
	t := g.changes.n.topology()
	if values == nil {
		t.fail(kind, "no codec of the aggregates, which are %T", *new(A))
	}
	f.isNull = nullOf(values)
	s := g.changes.copartitioned(kind, name, false)
	return addRows(kind, name, s.keys, values, opts, []*node{s.n}, func(b *builder, n *node, rows *kvStore[K, A], next edge[K, Change[A]]) []rowPort {
		return []rowPort{&aggregateTable[K, V, A]{keeper[K, A]{ctx: b.ctx, n: n, rows: rows, next: next}, f}}
	})
}

// amends says that an update that is older than a TTL counts where its group is there: what was put in is to be taken out.
func (a *aggregateTable[K, V, A]) amends() {}

func (a *aggregateTable[K, V, A]) port(b *builder) any {
	return withTTL(b, a.n, a, a.rows, &a.next, &a.out)
}

// CountTable counts the rows of each group. A group that has had rows and has none left counts 0.
//
// The name is that of the store, of its changelog <application>-<name>-changelog, and of the topic
// <application>-<name>-repartition; so it is for [ReduceTable] and [AggregateTable]. An update has the time of the newest
// update that is in it, and the headers of the last; it is sent on for each, unless [EmitOnCommit] says otherwise: two
// for a row that goes from one group to another, and one for a row that changes in its group.
//
// With a [TTL] a group of which no row has changed for that long is forgotten, with the rows in it: it is for groups that are over some
// time. Rows that change later begin it anew, without those that do not.
func CountTable[K comparable, V any](g GroupedTable[K, V], name string, opts ...StoreOption) Table[K, int64] {
	f := regrouping[K, V, int64]{folding: counting[K, V](), subtract: func(_ K, _ V, n int64) int64 { return n - 1 }}
	return addAggregateTable(g, "count-table", name, Int64(), opts, f)
}

// ReduceTable combines the values of the rows of each group: the first is the aggregate, add adds each that comes and
// subtract takes each out that goes. Neither may change the aggregate it is given, which is also the old one of the update: they
// return a new one. What is left of the aggregate when the last row has gone is kept. For names and times see [CountTable].
//
// With a [Nullable] codec an aggregate that is nil deletes the row of the group; the next value is the first again.
func ReduceTable[K comparable, V any](g GroupedTable[K, V], name string, add, subtract func(aggregate, value V) V, opts ...StoreOption) Table[K, V] {
	const kind = "reduce-table"
	t := g.changes.n.topology()
	t.needs(kind, "add", add != nil)
	t.needs(kind, "subtract", subtract != nil)
	f := regrouping[K, V, V]{folding: reducing[K](add), subtract: func(_ K, v, a V) V { return subtract(a, v) }}
	var values Codec[V]
	if c, ok := g.changes.values.(changeCodec[V]); ok {
		values = c.of
	}
	return addAggregateTable(g, kind, name, values, opts, f)
}

// AggregateTable keeps an aggregate of the rows of each group, which begins as initial returns it: add adds the value of
// a row that comes, subtract takes the value of one that goes out of it. Neither may change the aggregate it is
// given, which is also the old one of the update: they return a new one. What is left of the aggregate when the last row has gone is kept.
// For names and times see [CountTable].
//
// With a [Nullable] codec an aggregate that is nil deletes the row of the group; the next value is added to the initial
// one again.
func AggregateTable[K comparable, V, A any](g GroupedTable[K, V], name string, values Codec[A], initial func() A, add, subtract func(key K, value V, aggregate A) A, opts ...StoreOption) Table[K, A] {
	const kind = "aggregate-table"
	t := g.changes.n.topology()
	t.needs(kind, "initial", initial != nil)
	t.needs(kind, "add", add != nil)
	t.needs(kind, "subtract", subtract != nil)
	f := regrouping[K, V, A]{folding: folding[K, V, A]{initial: initial, add: add}, subtract: subtract}
	return addAggregateTable(g, kind, name, values, opts, f)
}
