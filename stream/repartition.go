package stream

import (
	"slices"

	"millrace.dev/internal/task"
)

// RepartitionOption says how a repartition topic is made.
type RepartitionOption func(*task.Source)

// Partitions sets the number of partitions of a repartition topic. Default: that of the largest topic that flows into
// it.
func Partitions(n int) RepartitionOption { return func(s *task.Source) { s.Partitions = n } }

// CarryOrigin has each record carry the record of a topic that led to it through the repartition topic: what comes of it
// is then the result of that one, whose topic, partition and offset [Provenance] names, whose key, value and headers a
// dead letter has, and whose partition a result without a key goes to, as if there were no way round. It costs a header:
// of the origin's coordinates, and of what the repartition topic's record does not share with it. Default: what comes of
// a record is the result of the repartition topic's record.
func CarryOrigin() RepartitionOption { return func(s *task.Source) { s.CarriesOrigin = true } }

// KeepNullKeys has records without a key go through the repartition topic, too, to the partition with the number of that
// which they come from. Default: they are dropped, unless a left or outer join follows.
func KeepNullKeys() RepartitionOption { return func(s *task.Source) { s.NullKeys = true } }

// Repartition writes the stream to an internal topic and reads it from there, so that all records of a key are in one
// partition. Joins and groups do so by themselves where it is needed. A record without a key is dropped, unless a left
// or outer join follows, which may want it, or [KeepNullKeys] says otherwise.
func (s Stream[K, V]) Repartition(name string, opts ...RepartitionOption) Stream[K, V] {
	s.n.topology().checkName("repartition", name)
	return s.repartition("repartition", name, opts)
}

// repartition declares the two sides of a repartition topic.
func (s Stream[K, V]) repartition(op, name string, opts []RepartitionOption) Stream[K, V] {
	return s.through(op, name, opts, nil)
}

// follow is a repartition topic that has as many partitions as the topics that it is joined with, and leaves theirs as they are.
func (s Stream[K, V]) follow(op, name string, partition func(*Record[K, V], int) int) Stream[K, V] {
	return s.through(op, name, []RepartitionOption{func(s *task.Source) { s.Follows = true }}, partition)
}

// through declares the two sides of a topic of the application. partition chooses the partitions of records; nil is by the key.
func (s Stream[K, V]) through(op, name string, opts []RepartitionOption, partition func(*Record[K, V], int) int) Stream[K, V] {
	t := s.n.topology()
	s.needCodecs(op)
	topic := name + "-repartition"
	if name == "" {
		t.fail(op, "no name: the name of the repartition topic is made of it")
	}
	if other, ok := t.topics[topic]; ok {
		t.taken(op, "the repartition topic %q is there already, of the %s at %s", topic, other.kind, other.at)
	}
	in := t.addDerived(kindRepartition, topic+"-sink", s.n)
	in.topic, in.internal = topic, true
	t.topics[topic] = in
	out := t.addDerived(kindSource, topic+"-source")
	out.topic, out.internal, in.through = topic, true, out
	out.source = &task.Source{}
	each(opts, func(o RepartitionOption) { o(out.source) })
	if out.source.Partitions < 0 {
		t.fail(op, "a negative number of partitions")
	}
	in.build = func(b *builder) []any {
		m := task.Message{Topic: t.name + "-" + topic, Partition: task.AnyPartition, CarryOrigin: out.source.CarriesOrigin}
		sk := &sink[K, V]{ctx: b.ctx, n: in, partition: partition, keyed: !out.source.NullKeys && !in.wantsNullKeys(), keys: s.keys, values: s.values, message: m}
		return []any{sk.placing()}
	}
	out.build = func(b *builder) []any {
		return []any{&sourceNode[K, V]{
			ctx: b.ctx, n: out, stats: b.ctx.Stats(out.id), key: s.keys, value: s.values, keyNull: isNullable(s.keys), valueNull: isNullable(s.values),
			carries: out.source.CarriesOrigin, maxAhead: t.maxAhead, next: next[K, V](b, out),
		}}
	}
	s.n, s.rekeyed = out, false
	return s
}

// copartitioned returns the stream as an operator that needs all records of a key in one partition can use it. nullKeys
// says that the operator wants records without a key too.
func (s Stream[K, V]) copartitioned(op, name string, nullKeys bool) Stream[K, V] {
	if s.rekeyed {
		s = s.repartition(op, name, nil)
	}
	s.n.nullKeys = s.n.nullKeys || nullKeys
	return s
}

// wantsNullKeys tells whether records without a key matter to what follows a node.
func (n *node) wantsNullKeys() bool {
	if to := n.through; n.nullKeys || to != nil && !to.source.Follows && to.wantsNullKeys() { // one that follows may lead back here
		return true
	}
	return slices.ContainsFunc(n.children, func(c child) bool { return c.n.wantsNullKeys() }) ||
		slices.ContainsFunc(n.outs, (*node).wantsNullKeys)
}
