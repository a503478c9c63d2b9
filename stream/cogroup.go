package stream

import (
	"fmt"
	"slices"
)

// Cogrouped is groups of records with the same type of keys, which are aggregated together: each adds its values, of a type
// of its own, by a function of its own.
type Cogrouped[K comparable, A any] struct{ members []member[K, A] }

// member is one of the groups, whatever the type of its values is.
type member[K comparable, A any] interface {
	topology() *Topology
	needs(op string, values Codec[A])
	// copartitioned returns the group with all records of a key in one partition, and the node that they come from.
	copartitioned(op, name string) (member[K, A], *node)
	keys() Codec[K]
	plain(p *port[K, A]) rowPort
	windows(b *builder, d *windowState[K, A], initial func() A) any
	sessions(b *builder, d *sessionState[K, A], initial func() A) any
}

// port is what the processors of all groups share.
type port[K comparable, A any] struct {
	b       *builder
	n       *node
	rows    *kvStore[K, A]
	next    edge[K, Change[A]]
	initial func() A
	isNull  func(A) bool
}

// memberOf is a group with values of a type.
type memberOf[K comparable, V, A any] struct {
	g   Grouped[K, V]
	add func(K, V, A) A
}

func (m memberOf[K, V, A]) topology() *Topology { return m.g.s.n.topology() }

func (m memberOf[K, V, A]) keys() Codec[K] { return m.g.s.keys }

func (m memberOf[K, V, A]) needs(op string, values Codec[A]) { needAggregateCodecs(m.g, op, values) }

func (m memberOf[K, V, A]) copartitioned(op, name string) (member[K, A], *node) {
	m.g.s = m.g.s.copartitioned(op, name, false)
	return m, m.g.s.n
}

func (m memberOf[K, V, A]) folding(initial func() A, isNull func(A) bool) folding[K, V, A] {
	return folding[K, V, A]{initial: initial, add: m.add, isNull: isNull}
}

func (m memberOf[K, V, A]) plain(p *port[K, A]) rowPort {
	return &aggregate[K, V, A]{keeper[K, A]{ctx: p.b.ctx, n: p.n, rows: p.rows, next: p.next}, m.folding(p.initial, p.isNull)}
}

func (m memberOf[K, V, A]) windows(b *builder, d *windowState[K, A], initial func() A) any {
	return aggregatorOf(b, d, m.folding(initial, nullOf(d.values)), false)
}

func (m memberOf[K, V, A]) sessions(b *builder, d *sessionState[K, A], initial func() A) any {
	return sessionAggregatorOf(b, d, m.folding(initial, nullOf(d.values)), false)
}

// Cogroup begins an aggregation of several groups with one: [CogroupWith] gives it more, and [AggregateCogroup] makes a
// table of it, [AggregateCogroupWindows] and [AggregateCogroupSessions] one of windows. add adds a value of this group to
// the aggregate of its key; it must not change the aggregate it is given, which is also the old one of the update: it returns a new one.
func Cogroup[K comparable, V, A any](g Grouped[K, V], add func(key K, value V, aggregate A) A) Cogrouped[K, A] {
	return CogroupWith(Cogrouped[K, A]{}, g, add)
}

// CogroupWith returns the groups of c and one more, whose values add adds.
func CogroupWith[K comparable, V, A any](c Cogrouped[K, A], g Grouped[K, V], add func(key K, value V, aggregate A) A) Cogrouped[K, A] {
	g.s.n.topology().needs("cogroup", "add", add != nil)
	return Cogrouped[K, A]{append(slices.Clip(c.members), memberOf[K, V, A]{g, add})}
}

const kindCogroup = "cogroup"

// AggregateCogroup adds the values of all groups of a key to one aggregate, which begins as initial returns it, in the order
// in which the records come. A record without key or value is dropped.
//
// The name is that of the store, and of its changelog <application>-<name>-changelog. A group whose keys have changed goes
// through the topic <application>-<name>-<i>-repartition, where i is its number, from 0. All groups need as many partitions,
// and keys in the same bytes. For times see [Count]. With a [Nullable] codec an aggregate that is nil deletes the row.
func AggregateCogroup[K comparable, A any](c Cogrouped[K, A], name string, values Codec[A], initial func() A, opts ...StoreOption) Table[K, A] {
	members, nodes := c.declare(name, values, initial)
	return addRows(kindCogroup, name, c.keys(), values, opts, nodes, func(b *builder, n *node, rows *kvStore[K, A], next edge[K, Change[A]]) []rowPort {
		p := &port[K, A]{b: b, n: n, rows: rows, next: next, initial: initial, isNull: nullOf(values)}
		return ports(members, func(m member[K, A]) rowPort { return m.plain(p) })
	})
}

// AggregateCogroupWindows adds the values of all groups of a key and window to one aggregate, as [AggregateCogroup] does without
// windows and [AggregateWindows] for one group. Stream time is the highest of the records of all groups.
func AggregateCogroupWindows[K comparable, A any](c Cogrouped[K, A], w Windows, name string, values Codec[A], initial func() A, opts ...WindowOption) Table[Windowed[K], A] {
	t := c.topology()
	w = checkWindows(t, kindCogroup, w)
	members, nodes := c.declare(name, values, initial)
	n := t.addStateful(kindCogroup, name, nodes...)
	d := declareWindows(n, name, w, c.keys(), values, opts)
	n.build = func(b *builder) []any {
		ps := ports(members, func(m member[K, A]) any { return m.windows(b, d, initial) })
		b.lives(n, ps[0])
		return ps
	}
	return d.table()
}

// AggregateCogroupSessions adds the values of all groups of a key and session to one aggregate, as [AggregateCogroup] does
// without sessions and [AggregateSessions] for one group: a session is of the records of all groups. merge makes one
// aggregate of two where a record joins sessions.
func AggregateCogroupSessions[K comparable, A any](c Cogrouped[K, A], w SessionWindows, name string, values Codec[A], initial func() A, merge func(key K, a, b A) A, opts ...WindowOption) Table[Windowed[K], A] {
	t := c.topology()
	t.needs(kindCogroup, "merge", merge != nil)
	w.check(t, kindCogroup)
	members, nodes := c.declare(name, values, initial)
	n := t.addStateful(kindCogroup, name, nodes...)
	d := declareSessions(n, name, w, c.keys(), values, merge, opts)
	n.build = func(b *builder) []any {
		ps := ports(members, func(m member[K, A]) any { return m.sessions(b, d, initial) })
		b.lives(n, ps[0])
		return ps
	}
	return d.table()
}

// topology returns the topology of the groups.
func (c Cogrouped[K, A]) topology() *Topology {
	if len(c.members) == 0 {
		panic("stream: " + caller() + ": a cogroup without groups, which belongs to no topology: begin it with Cogroup")
	}
	return c.members[0].topology()
}

func (c Cogrouped[K, A]) keys() Codec[K] { return c.members[0].keys() }

// declare brings all records of a key to one partition.
func (c Cogrouped[K, A]) declare(name string, values Codec[A], initial func() A) (members []member[K, A], nodes []*node) {
	t := c.topology()
	t.needs(kindCogroup, "initial", initial != nil)
	for i, m := range c.members {
		m.needs(kindCogroup, values)
		sameKeys(t, kindCogroup, "first group", c.keys(), fmt.Sprintf("group %d", i+1), m.keys())
		m, n := m.copartitioned(kindCogroup, fmt.Sprintf("%s-%d", name, i))
		members, nodes = append(members, m), append(nodes, n)
	}
	return members, nodes
}

// ports makes the processors of the groups.
func ports[K comparable, A, P any](members []member[K, A], of func(member[K, A]) P) (ps []P) {
	for _, m := range members {
		ps = append(ps, of(m))
	}
	return ps
}
