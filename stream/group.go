package stream

import (
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Grouped is a stream whose records are to be aggregated by key.
type Grouped[K comparable, V any] struct{ s Stream[K, V] }

// GroupByKey groups a stream by its keys. It goes through a repartition topic only if keys have changed on the way here.
// An aggregation of it drops records without a key.
func GroupByKey[K comparable, V any](s Stream[K, V]) Grouped[K, V] { return Grouped[K, V]{s} }

// GroupBy groups a stream by a key that is computed from each record. The records go through a repartition topic, which
// has its name from the aggregation that follows: <application>-<name>-repartition. Two aggregations of one group write two:
// to write one call [SelectKey], [Stream.Repartition] and [GroupByKey]. A record without a value is dropped.
func GroupBy[K, V any, K2 comparable](s Stream[K, V], keys Codec[K2], key func(K, V) K2, opts ...Option) Grouped[K2, V] {
	return Grouped[K2, V]{SelectKey(s, key, opts...).Keys(keys)}
}

// folding adds values to aggregates.
type folding[K, V, A any] struct {
	initial func() A  // nil: the first value is the aggregate
	first   func(V) A // where initial is nil
	add     func(K, V, A) A
	// isNull tells whether an aggregate is null, which deletes it. nil: none is
	isNull func(A) bool
}

// fold returns the aggregate old with a record added.
func (f *folding[K, V, A]) fold(r *Record[K, V], old *row[A]) row[A] {
	now := row[A]{timestamp: r.Timestamp, exists: true}
	switch {
	case old.exists:
		now.timestamp = max(now.timestamp, old.timestamp)
		now.value = f.add(r.Key, r.Value, old.value)
	case f.initial != nil:
		now.value = f.add(r.Key, r.Value, f.initial())
	default:
		now.value = f.first(r.Value)
	}
	if f.isNull != nil && f.isNull(now.value) {
		now = row[A]{timestamp: now.timestamp}
	}
	return now
}

func counting[K, V any]() folding[K, V, int64] {
	return folding[K, V, int64]{initial: func() int64 { return 0 }, add: func(_ K, _ V, n int64) int64 { return n + 1 }}
}

func reducing[K, V any](f func(aggregate, value V) V) folding[K, V, V] {
	return folding[K, V, V]{first: func(v V) V { return v }, add: func(_ K, v, a V) V { return f(a, v) }}
}

// nullOf returns how to tell that a value is null, where its codec has that.
func nullOf[A any](c Codec[A]) func(A) bool {
	if n, ok := c.(interface{ isNull(A) bool }); ok {
		return n.isNull
	}
	return nil
}

// keeper is the rows of an operator, and where their updates go.
type keeper[K comparable, A any] struct {
	ctx  *task.Context
	n    *node
	rows *kvStore[K, A]
	next edge[K, Change[A]]
	out  Record[K, Change[A]]
}

// set sets a row that rows.at has found, and sends the update on unless that waits for the commit.
func (k *keeper[K, A]) set(c *cached[K, A], now row[A], headers []Header) error {
	k.rows.mark(c)
	old := c.row
	if c.row = now; k.rows.hold {
		return nil
	}
	k.out.Headers = headers
	return k.rows.send(&k.next, &k.out, c.key, old, now, now.timestamp)
}

// incomplete drops the present record if it has no key or no value.
func (k *keeper[K, A]) incomplete(nullKey, nullValue bool) bool {
	switch {
	case nullKey:
		dropNullKey(k.ctx, k.n)
	case nullValue:
		dropNullValue(k.ctx, k.n)
	}
	return nullKey || nullValue
}

// Flush writes the updates to the store, and sends them on if that has waited for the commit.
func (k *keeper[K, A]) Flush() error { return flushRows(k.rows, &k.next, &k.out) }

// Uncommitted returns how many rows wait for Flush.
func (k *keeper[K, A]) Uncommitted() int { return k.rows.uncommitted() }

// aggregate keeps a value for each key.
type aggregate[K comparable, V, A any] struct {
	keeper[K, A]
	f folding[K, V, A]
}

func (a *aggregate[K, V, A]) process(r *Record[K, V]) error {
	if a.incomplete(r.NullKey, r.NullValue) {
		return nil
	}
	c, err := a.rows.at(r.Key)
	if err != nil {
		return err
	}
	return a.set(c, a.f.fold(r, &c.row), r.Headers)
}

// dropNullValue drops the present record for its lack of a value.
func dropNullValue(ctx *task.Context, n *node) {
	ctx.Drop(n.problem(record.StageProcess, classNullValue, "the record has no value to aggregate"))
}

func addAggregate[K comparable, V, A any](g Grouped[K, V], kind, name string, values Codec[A], opts []StoreOption, f folding[K, V, A]) Table[K, A] {
	needAggregateCodecs(g, kind, values)
	f.isNull = nullOf(values)
	s := g.s.copartitioned(kind, name, false)
	return addRows(kind, name, s.keys, values, opts, []*node{s.n}, func(b *builder, n *node, rows *kvStore[K, A], next edge[K, Change[A]]) []rowPort {
		return []rowPort{&aggregate[K, V, A]{keeper[K, A]{ctx: b.ctx, n: n, rows: rows, next: next}, f}}
	})
}

// rowPort is a processor that adds records to aggregates.
type rowPort interface {
	// port returns what gets the records of its group: itself, or what has rows expire before.
	port(b *builder) any
}

func (a *aggregate[K, V, A]) port(b *builder) any {
	return withTTL(b, a.n, a, a.rows, &a.next, &a.out)
}

// addRows declares an aggregation. ports makes its processors, one for each parent; the first takes part in the life of the
// task.
func addRows[K comparable, A any](kind, name string, keys Codec[K], values Codec[A], opts []StoreOption, parents []*node,
	ports func(b *builder, n *node, rows *kvStore[K, A], next edge[K, Change[A]]) []rowPort,
) Table[K, A] {
	o := storeOptionsOf(opts)
	n := parents[0].t.addStateful(kind, name, parents...)
	n.expires = true
	n.store(lookedUp(o.table(name), keys, values))
	n.build = func(b *builder) []any {
		ps := ports(b, n, kvOf(b, n, keys, values, o), next[K, Change[A]](b, n))
		b.lives(n, ps[0])
		to := make([]any, len(ps))
		for i, p := range ps {
			to[i] = p.port(b)
		}
		return to
	}
	return stored(n, keys, values, o)
}

// needAggregateCodecs notes a fault if a codec that op needs is not known.
func needAggregateCodecs[K comparable, V, A any](g Grouped[K, V], op string, values Codec[A]) {
	needKey[K](g.s.n.topology(), op)
	g.s.needCodecs(op)
	if values == nil {
		g.s.n.topology().fail(op, "no codec of the aggregates, which are %T", *new(A))
	}
}

// Count counts the records of each key. A record without key or value is dropped.
//
// The name is that of the store, of its changelog <application>-<name>-changelog, and of the repartition topic, should
// one be needed; so it is for [Reduce] and [Aggregate]. An update has the time of the newest record that is in it. Each
// record gives an update, unless [EmitOnCommit] says otherwise.
func Count[K comparable, V any](g Grouped[K, V], name string, opts ...StoreOption) Table[K, int64] {
	return addAggregate(g, "count", name, Int64(), opts, counting[K, V]())
}

// Reduce combines the values of each key: the first is the aggregate, and f adds each that follows. A record without
// key or value is dropped. For names and times see [Count].
func Reduce[K comparable, V any](g Grouped[K, V], name string, f func(aggregate, value V) V, opts ...StoreOption) Table[K, V] {
	g.s.n.topology().needs("reduce", "f", f != nil)
	return addAggregate(g, "reduce", name, g.s.values, opts, reducing[K](f))
}

// Aggregate adds the values of each key to an aggregate that begins as initial returns it. add must not change the
// aggregate it is given, which is also the old one of the update: it returns a new one. A record without key or value is dropped. For names and
// times see [Count].
//
// With a [Nullable] codec an aggregate that is nil deletes the row.
func Aggregate[K comparable, V, A any](g Grouped[K, V], name string, values Codec[A], initial func() A, add func(key K, value V, aggregate A) A, opts ...StoreOption) Table[K, A] {
	g.s.n.topology().needs("aggregate", "initial", initial != nil)
	g.s.n.topology().needs("aggregate", "add", add != nil)
	return addAggregate(g, "aggregate", name, values, opts, folding[K, V, A]{initial: initial, add: add})
}
