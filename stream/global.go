package stream

import (
	"fmt"
	"maps"
	"sync"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// GlobalTable is a table of which every instance has all rows, so that it can be looked up by any key. It is read
// before anything else is processed, and follows its topic from then on, outside of the rounds of the application.
type GlobalTable[K comparable, V any] struct {
	n    *node
	name string
}

// GlobalTableFrom reads a topic as a global table, which is kept in memory.
func GlobalTableFrom[K comparable, V any](t *Topology, name, topic string, keys Codec[K], values Codec[V]) GlobalTable[K, V] {
	const op = "global-table"
	t.checkTopic(op, topic)
	needKey[K](t, op)
	if keys == nil || values == nil {
		t.fail(op, "topic %s: no codec of its keys or values", topic)
	}
	n := t.addStateful(op, name)
	n.topic = topic
	n.global = &task.Global{Name: name, Topic: topic, New: func() task.GlobalTable {
		return &globalRows[K, V]{keys: keys, values: values, rows: map[K]globalRow[V]{}, sizes: sizesOf[K, V]()}
	}}
	return GlobalTable[K, V]{n: n, name: name}
}

func (g GlobalTable[K, V]) globalNode() *node { return g.n }

// GlobalReader is a [Batch] of any type.
type GlobalReader interface {
	globalTable(name string) task.GlobalTable
}

func (b *Batch[K, V, V2]) globalTable(name string) task.GlobalTable { return b.global(name) }

// Get returns the row of a key, and whether there is one, to a function over batches whose options name the table among
// their Globals. It is safe for concurrent use; two calls for one batch may see different rows, since the table follows
// its topic.
func (g GlobalTable[K, V]) Get(in GlobalReader, k K) (V, bool) {
	rows, ok := in.globalTable(g.name).(*globalRows[K, V])
	if !ok {
		panic("stream: the global table " + g.name + " is of another type than the topology declares")
	}
	return rows.get(k)
}

// globalRows is the content of a global table.
type globalRows[K comparable, V any] struct {
	keys   Codec[K]
	values Codec[V]
	mu     sync.RWMutex
	rows   map[K]globalRow[V]
	sizes  rowSizes
	bytes  int64 // that the rows take, about
}

// globalRow is a row with what it takes.
type globalRow[V any] struct {
	value V
	bytes int64
}

// Apply takes over a record of the topic.
func (g *globalRows[K, V]) Apply(r *record.Raw) *record.Problem {
	if r.Key == nil && !isNullable(g.keys) {
		return &record.Problem{Stage: record.StageProcess, Class: classNullKey, Reason: "the record has no key"}
	}
	k, err := g.keys.Decode(r.Key)
	if err != nil {
		return undecodable("the key")
	}
	if r.Value == nil {
		g.mu.Lock()
		g.bytes -= g.rows[k].bytes
		delete(g.rows, k)
		g.mu.Unlock()
		return nil
	}
	v, err := g.values.Decode(r.Value)
	if err != nil {
		return undecodable("the value")
	}
	g.mu.Lock()
	n := g.sizes.entry + g.sizes.keys*int64(len(r.Key)) + g.sizes.values*int64(len(r.Value))
	g.bytes += n - g.rows[k].bytes
	g.rows[k] = globalRow[V]{v, n}
	g.mu.Unlock()
	return nil
}

// Bytes returns about how much memory the rows take.
func (g *globalRows[K, V]) Bytes() int64 { return g.bytes }

// Len returns the number of rows.
func (g *globalRows[K, V]) Len() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.rows)
}

// Each calls fn with each row.
func (g *globalRows[K, V]) Each(fn func(key, value any) bool) {
	g.mu.RLock()
	rows := maps.Clone(g.rows)
	g.mu.RUnlock()
	for k, v := range rows {
		if !fn(k, v.value) {
			return
		}
	}
}

func (g *globalRows[K, V]) get(k K) (V, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	r, ok := g.rows[k]
	return r.value, ok
}

type joinGlobal[K any, V any, G comparable, T, V2 any] struct {
	ctx    *task.Context
	n      *node
	rows   *globalRows[G, T]
	key    func(K, V) (G, bool)
	joiner func(V, T, bool) V2
	left   bool
	next   edge[K, V2]
	out    Record[K, V2]
}

func (j *joinGlobal[K, V, G, T, V2]) process(r *Record[K, V]) error {
	if r.NullValue {
		j.ctx.Drop(j.n.problem(record.StageProcess, classNullValue, "the record has no value to join"))
		return nil
	}
	var t T
	k, ok := j.key(r.Key, r.Value)
	if ok {
		t, ok = j.rows.get(k)
	} else if !j.left {
		j.ctx.Drop(j.n.problem(record.StageProcess, classNullKey, "the record gives no key to look up"))
		return nil
	}
	if !ok && !j.left {
		return nil
	}
	j.out = Record[K, V2]{Key: r.Key, Value: j.joiner(r.Value, t, ok), Timestamp: r.Timestamp, Headers: r.Headers, NullKey: r.NullKey}
	return j.next.send(&j.out)
}

// JoinGlobal looks a row up for each record, by a key that is computed from it. A record whose key has no row has no
// result, and does not count as dropped; one that gives no key, for which key returns false, is dropped.
func JoinGlobal[K, V any, G comparable, T, V2 any](s Stream[K, V], g GlobalTable[G, T], key func(K, V) (G, bool), joiner func(V, T) V2, opts ...Option) Stream[K, V2] {
	s.n.topology().needs("join-global", "joiner", joiner != nil)
	return addJoinGlobal(s, g, key, func(v V, t T, _ bool) V2 { return joiner(v, t) }, false, opts)
}

// LeftJoinGlobal looks a row up for each record. The joiner is told whether there is one.
func LeftJoinGlobal[K, V any, G comparable, T, V2 any](s Stream[K, V], g GlobalTable[G, T], key func(K, V) (G, bool), joiner func(v V, t T, ok bool) V2, opts ...Option) Stream[K, V2] {
	s.n.topology().needs("join-global", "joiner", joiner != nil)
	return addJoinGlobal(s, g, key, joiner, true, opts)
}

func addJoinGlobal[K, V any, G comparable, T, V2 any](s Stream[K, V], g GlobalTable[G, T], key func(K, V) (G, bool), joiner func(V, T, bool) V2, left bool, opts []Option) Stream[K, V2] {
	s.n.topology().needs("join-global", "key", key != nil)
	out := derive(s, "join-global", s.n.topology().nameIn("join-global", opts), func(b *builder, n *node, next edge[K, V2]) processor[K, V] {
		rows, ok := b.ctx.Global(g.name).(*globalRows[G, T])
		if !ok {
			panic(fmt.Sprintf("stream: the driver has no global table %q of these types", g.name))
		}
		return &joinGlobal[K, V, G, T, V2]{ctx: b.ctx, n: n, rows: rows, key: key, joiner: joiner, left: left, next: next}
	})
	out.n.reading("global table", g.n)
	return out
}
