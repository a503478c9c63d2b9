package stream

import (
	"time"

	"millrace.dev/record"
)

// Table is the latest value of each key. It is kept in a store where it is made of a topic, a stream or an
// aggregation, and computed from that where it is filtered or mapped.
type Table[K comparable, V any] struct {
	n      *node
	keys   Codec[K]
	values Codec[V]
	// getter returns how an operator of the same task looks a row up.
	getter func(b *builder) getter[K, V]
	from   []*node // the nodes whose stores the getter reads
	// past does so as of a time, in a versioned table. In others it is nil.
	past    func(b *builder) historian[K, V]
	history time.Duration // how long look-ups go back
	// grace is how long after their end windows take records, if the rows are windows; else nil.
	grace *time.Duration
	final bool // each of them is sent on once, when it closes
}

// getter looks rows up.
type getter[K comparable, V any] interface {
	get(k K) (row[V], error)
}

// historian looks up the rows that were valid at a time.
type historian[K comparable, V any] interface {
	getAsOf(k K, t int64) (row[V], error)
}

// TableFrom reads a topic as a table: a record sets the row of its key, one without a value deletes it, one without a key
// is dropped. The rows are kept in a store of that name, and its changelog <application>-<name>-changelog. An update that
// comes out of order overwrites the row, unless the table is [Versioned].
//
// A [Nullable] codec of the values is a fault: a table has no row where the value is null.
func TableFrom[K comparable, V any](t *Topology, name, topic string, keys Codec[K], values Codec[V], opts ...TableOption) Table[K, V] {
	sources, stores, history, versioned := tableOptions(opts)
	needKey[K](t, "table")
	if isNullable(values) {
		t.fail("table", "the codec of the values is Nullable: a record without a value deletes the row. Read the topic without it, or as a stream and call ToTable")
	}
	src := addSource(t, "table", topic, keys, values, sources)
	rows := Stream[K, V]{n: src, keys: keys, values: values}
	if versioned {
		return versionedTable(rows, "table", name, stores, history)
	}
	return toTable(rows, "table", name, stores)
}

// ToTable takes a stream for the updates of a table: a record sets the row of its key, one without a value, or with one
// that is null by a [Nullable] codec, deletes it; one without a key is dropped. The rows are kept in a store of that
// name, and its changelog. A stream whose keys have changed goes through the topic <application>-<name>-repartition
// first. A [SourceOption] has no meaning here, and is a fault.
func ToTable[K comparable, V any](s Stream[K, V], name string, opts ...TableOption) Table[K, V] {
	const kind = "to-table"
	s.needCodecs(kind)
	needKey[K](s.n.topology(), kind)
	sources, stores, history, versioned := tableOptions(opts)
	if len(sources) > 0 {
		s.n.topology().fail(kind, "an option of a source: give it to the source of the stream")
	}
	s = s.copartitioned(kind, name, false)
	if versioned {
		return versionedTable(s, kind, name, stores, history)
	}
	return toTable(s, kind, name, stores)
}

func toTable[K comparable, V any](s Stream[K, V], kind, name string, opts []StoreOption) Table[K, V] {
	o := storeOptionsOf(opts)
	n := s.n.topology().addStateful(kind, name, s.n)
	n.expires = true
	n.store(lookedUp(o.table(name), s.keys, s.values))
	n.build = func(b *builder) []any {
		p := &tableNode[K, V]{keeper[K, V]{ctx: b.ctx, n: n, rows: kvOf(b, n, s.keys, s.values, o), next: next[K, Change[V]](b, n)}, nullOf(s.values)}
		b.lives(n, p)
		return []any{withTTL(b, n, p, p.rows, &p.next, &p.out)}
	}
	return stored(n, s.keys, s.values, o)
}

// stored makes the table of a node that has a [kvStore].
func stored[K comparable, V any](n *node, keys Codec[K], values Codec[V], o storeOptions) Table[K, V] {
	return Table[K, V]{
		n: n, keys: keys, values: values, from: []*node{n},
		getter: func(b *builder) getter[K, V] { return kvOf(b, n, keys, values, o) },
	}
}

// kvOf returns the store of a node in a task.
func kvOf[K comparable, V any](b *builder, n *node, keys Codec[K], values Codec[V], o storeOptions) *kvStore[K, V] {
	key := storeKey{n, n.stores[0].Name}
	if kv, ok := b.stores[key].(*kvStore[K, V]); ok {
		return kv
	}
	kv := newKVStore(key.name, b.ctx.Store(key.name), keys, values, o.cached)
	kv.hold = o.emitOnCommit
	kv.ages(b, n, o)
	b.stores[key] = kv
	return kv
}

// tableNode keeps the rows of a table that is made of a stream.
type tableNode[K comparable, V any] struct {
	keeper[K, V]
	isNull func(V) bool // nil: no value is null
}

func (t *tableNode[K, V]) process(r *Record[K, V]) error {
	if r.NullKey {
		dropNullKey(t.ctx, t.n)
		return nil
	}
	c, err := t.rows.at(r.Key)
	if err != nil {
		return err
	}
	return t.set(c, rowOf(r, t.isNull), r.Headers)
}

// rowOf returns the row that a record sets. isNull tells whether a value is null; nil: none is.
func rowOf[K, V any](r *Record[K, V], isNull func(V) bool) row[V] {
	if r.NullValue || isNull != nil && isNull(r.Value) {
		return row[V]{timestamp: r.Timestamp}
	}
	return row[V]{value: r.Value, timestamp: r.Timestamp, exists: true}
}

// sendChange sends the update of a row on.
func sendChange[K, V any](next *edge[K, Change[V]], out *Record[K, Change[V]], k K, old, now row[V], timestamp int64) error {
	out.Key, out.Timestamp = k, timestamp
	out.Value = Change[V]{HasOld: old.exists, HasNew: now.exists}
	if old.exists {
		out.Value.Old = old.value
	}
	if now.exists {
		out.Value.New = now.value
	}
	return next.send(out)
}

// flushRows writes updates to the store, and sends on those that it has held back.
func flushRows[K comparable, V any](rows *kvStore[K, V], next *edge[K, Change[V]], out *Record[K, Change[V]]) error {
	if !rows.hold {
		return rows.flush(nil)
	}
	out.Headers = nil
	return rows.flush(func(c *cached[K, V], sent row[V]) error {
		return rows.send(next, out, c.key, sent, c.row, c.row.timestamp)
	})
}

// filterTable is a table's filter.
type filterTable[K comparable, V any] struct {
	keep func(K, V) bool
	want bool
	of   getter[K, V]
	past historian[K, V] // nil if the table is not versioned
	next edge[K, Change[V]]
	out  Record[K, Change[V]]
}

func (f *filterTable[K, V]) process(r *Record[K, Change[V]]) error {
	f.out = *r
	c := &f.out.Value
	if c.HasOld && f.keep(r.Key, c.Old) != f.want {
		c.HasOld, c.Old = false, *new(V)
	}
	if c.HasNew && f.keep(r.Key, c.New) != f.want {
		c.HasNew, c.New = false, *new(V)
	}
	return f.next.send(&f.out)
}

func (f *filterTable[K, V]) get(k K) (row[V], error) {
	r, err := f.of.get(k)
	return f.kept(k, r), err
}

// kept returns a row, or none if the filter does not keep it.
func (f *filterTable[K, V]) kept(k K, r row[V]) row[V] {
	if r.exists && f.keep(k, r.value) != f.want {
		r = row[V]{timestamp: r.timestamp}
	}
	return r
}

// Filter keeps the rows for which keep is true. A row that was updated and is not kept is a deletion for what follows.
func (t Table[K, V]) Filter(keep func(K, V) bool, opts ...Option) Table[K, V] {
	return t.filter("filter", keep, true, opts)
}

// FilterNot keeps the rows for which drop is false, as [Table.Filter] does.
func (t Table[K, V]) FilterNot(drop func(K, V) bool, opts ...Option) Table[K, V] {
	return t.filter("filter-not", drop, false, opts)
}

func (t Table[K, V]) filter(kind string, keep func(K, V) bool, want bool, opts []Option) Table[K, V] {
	t.n.topology().needs(kind, "the function", keep != nil)
	return derivedTable(t, kind, opts, t.values, func(b *builder) *filterTable[K, V] {
		return &filterTable[K, V]{keep: keep, want: want, of: t.getter(b), past: t.pastOf(b)}
	}, func(f *filterTable[K, V], next edge[K, Change[V]]) { f.next = next })
}

// mapTable changes the values of a table.
type mapTable[K comparable, V, V2 any] struct {
	f    func(K, V) V2
	of   getter[K, V]
	past historian[K, V] // nil if the table is not versioned
	next edge[K, Change[V2]]
	out  Record[K, Change[V2]]
}

func (m *mapTable[K, V, V2]) process(r *Record[K, Change[V]]) error {
	m.out.Key, m.out.Timestamp, m.out.Headers = r.Key, r.Timestamp, r.Headers
	c := Change[V2]{HasOld: r.Value.HasOld, HasNew: r.Value.HasNew, Stale: r.Value.Stale}
	if c.HasOld {
		c.Old = m.f(r.Key, r.Value.Old)
	}
	if c.HasNew {
		c.New = m.f(r.Key, r.Value.New)
	}
	m.out.Value = c
	return m.next.send(&m.out)
}

func (m *mapTable[K, V, V2]) get(k K) (row[V2], error) {
	r, err := m.of.get(k)
	return m.mapped(k, r), err
}

func (m *mapTable[K, V, V2]) mapped(k K, r row[V]) row[V2] {
	out := row[V2]{timestamp: r.timestamp, exists: r.exists}
	if r.exists {
		out.value = m.f(k, r.value)
	}
	return out
}

// MapTable changes the value of each row. f is called whenever the row is looked at, and has to give the same for the
// same.
func MapTable[K comparable, V, V2 any](t Table[K, V], f func(K, V) V2, opts ...Option) Table[K, V2] {
	t.n.topology().needs("map-values", "f", f != nil)
	return derivedTable(t, "map-values", opts, kept[V2](t.values), func(b *builder) *mapTable[K, V, V2] {
		return &mapTable[K, V, V2]{f: f, of: t.getter(b), past: t.pastOf(b)}
	}, func(m *mapTable[K, V, V2], next edge[K, Change[V2]]) { m.next = next })
}

// Values sets the codec of the values, for what follows.
func (t Table[K, V]) Values(c Codec[V]) Table[K, V] {
	t.values = c
	return t
}

// derivedTable declares a table that is computed from another. A look-up has its own instance: it may be made before
// the nodes are.
func derivedTable[K comparable, V, V2 any, P interface {
	processor[K, Change[V]]
	getter[K, V2]
	historian[K, V2]
}](t Table[K, V], kind string, opts []Option, values Codec[V2], instance func(*builder) P, wire func(P, edge[K, Change[V2]]),
) Table[K, V2] {
	n := t.n.topology().add(kind, t.n.topology().nameIn(kind, opts), t.n)
	n.build = func(b *builder) []any {
		p := instance(b)
		wire(p, next[K, Change[V2]](b, n))
		return []any{p}
	}
	out := Table[K, V2]{
		n: n, keys: t.keys, values: values, from: t.from, history: t.history, grace: t.grace, final: t.final,
		getter: func(b *builder) getter[K, V2] { return instance(b) },
	}
	if t.past != nil {
		out.past = func(b *builder) historian[K, V2] { return instance(b) }
	}
	return out
}

// pastOf returns how rows of the past are looked up in a task, nil if they are not.
func (t Table[K, V]) pastOf(b *builder) historian[K, V] {
	if t.past == nil {
		return nil
	}
	return t.past(b)
}

type toStream[K comparable, V any] struct {
	next edge[K, V]
	out  Record[K, V]
}

func (t *toStream[K, V]) process(r *Record[K, Change[V]]) error {
	if r.Value.Stale {
		return nil
	}
	t.out = Record[K, V]{Key: r.Key, Value: r.Value.New, Timestamp: r.Timestamp, Headers: r.Headers, NullValue: !r.Value.HasNew}
	return t.next.send(&t.out)
}

// ToStream returns the updates of the table: a record for each, without a value where the row was deleted.
func (t Table[K, V]) ToStream(opts ...Option) Stream[K, V] {
	n := t.n.topology().add("to-stream", t.n.topology().nameIn("to-stream", opts), t.n)
	n.newOnly = true
	n.build = func(b *builder) []any { return []any{&toStream[K, V]{next: next[K, V](b, n)}} }
	return Stream[K, V]{n: n, keys: t.keys, values: t.values}
}

// undecodable is why a record of a table's topic is dropped.
func undecodable(what string) *record.Problem {
	return &record.Problem{Stage: record.StageDecode, Class: classUndecodable, Reason: what + " cannot be decoded"}
}
