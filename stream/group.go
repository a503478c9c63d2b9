package stream

import (
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Grouped is a stream whose records are to be aggregated by key.
type Grouped[K comparable, V any] struct{ s Stream[K, V] }

// GroupByKey groups a stream by its keys.
func GroupByKey[K comparable, V any](s Stream[K, V]) Grouped[K, V] { return Grouped[K, V]{s} }

// GroupBy groups a stream by a key that is computed from each record. The records go through a repartition topic.
func GroupBy[K, V any, K2 comparable](s Stream[K, V], keys Codec[K2], key func(K, V) K2, opts ...Option) Grouped[K2, V] {
	return Grouped[K2, V]{SelectKey(s, key, opts...).Keys(keys)}
}

// aggregate keeps a value for each key.
type aggregate[K comparable, V, A any] struct {
	ctx          *task.Context
	n            *node
	rows         *kvStore[K, A]
	initial      func() A  // nil: the first value is the aggregate
	first        func(V) A // where initial is nil
	add          func(K, V, A) A
	emitOnCommit bool
	next         edge[K, Change[A]]
	out          Record[K, Change[A]]
}

func (a *aggregate[K, V, A]) process(r *Record[K, V]) error {
	if r.NullKey {
		dropNullKey(a.ctx, a.n)
		return nil
	}
	if r.NullValue {
		a.ctx.Drop(a.n.problem(record.StageProcess, classNullValue, "the record has no value to aggregate"))
		return nil
	}
	c, err := a.rows.at(r.Key)
	if err != nil {
		return err
	}
	old := c.row
	now := row[A]{timestamp: r.Timestamp, exists: true}
	switch {
	case old.exists:
		now.timestamp = max(now.timestamp, old.timestamp)
		now.value = a.add(r.Key, r.Value, old.value)
	case a.initial != nil:
		now.value = a.add(r.Key, r.Value, a.initial())
	default:
		now.value = a.first(r.Value)
	}
	c.row = now
	a.rows.mark(c)
	if a.emitOnCommit {
		return nil
	}
	a.out.Headers = r.Headers
	return sendChange(&a.next, &a.out, r.Key, old, now, now.timestamp)
}

// Flush writes the updates to the store, and sends them on if that has waited for the commit.
func (a *aggregate[K, V, A]) Flush() error {
	if !a.emitOnCommit {
		return a.rows.flush(nil)
	}
	return a.rows.flush(func(c *cached[K, A]) error {
		a.out.Headers = nil
		return sendChange(&a.next, &a.out, c.key, c.sent, c.row, c.row.timestamp)
	})
}

func addAggregate[K comparable, V, A any](g Grouped[K, V], kind, name string, values Codec[A], opts []StoreOption, make func() *aggregate[K, V, A]) Table[K, A] {
	g.s.needCodecs(kind)
	if values == nil {
		g.s.n.t.fail(kind, "no codec of the aggregates, which are %T", *new(A))
	}
	s := g.s.copartitioned(kind, name, false)
	o := storeOptionsOf(opts)
	n := s.n.t.addStateful(kind, name, s.n)
	n.store(o.spec(name))
	n.build = func(b *builder) []any {
		a := make()
		a.ctx, a.n, a.rows, a.emitOnCommit = b.ctx, n, kvOf(b, n, s.keys, values, o), o.emitOnCommit
		a.next = next[K, Change[A]](b, n)
		b.lives(n, a)
		return []any{a}
	}
	return stored(n, s.keys, values, o)
}

// Count counts the records of each key.
func Count[K comparable, V any](g Grouped[K, V], name string, opts ...StoreOption) Table[K, int64] {
	return addAggregate(g, "count", name, Int64(), opts, func() *aggregate[K, V, int64] {
		return &aggregate[K, V, int64]{initial: func() int64 { return 0 }, add: func(_ K, _ V, n int64) int64 { return n + 1 }}
	})
}

// Reduce combines the values of each key: the first is the aggregate, and f adds each that follows.
func Reduce[K comparable, V any](g Grouped[K, V], name string, f func(aggregate, value V) V, opts ...StoreOption) Table[K, V] {
	return addAggregate(g, "reduce", name, g.s.values, opts, func() *aggregate[K, V, V] {
		return &aggregate[K, V, V]{first: func(v V) V { return v }, add: func(_ K, v, a V) V { return f(a, v) }}
	})
}

// Aggregate adds the values of each key to an aggregate that begins as initial returns it. add may change the aggregate
// it is given only if what it returns does not share memory with it.
func Aggregate[K comparable, V, A any](g Grouped[K, V], name string, values Codec[A], initial func() A, add func(key K, value V, aggregate A) A, opts ...StoreOption) Table[K, A] {
	return addAggregate(g, "aggregate", name, values, opts, func() *aggregate[K, V, A] {
		return &aggregate[K, V, A]{initial: initial, add: add}
	})
}
