package stream

import (
	"fmt"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Stream is an unbounded sequence of keyed records.
type Stream[K, V any] struct {
	n      *node
	keys   Codec[K] // nil if not known
	values Codec[V]
	// rekeyed means that a record may be in another partition than its key asks for: what needs all records of a key
	// in one partition has to repartition first.
	rekeyed bool
}

// Keys sets the codec of the keys, for what follows: of a stream whose keys have not changed since its topic one that gives them the same
// bytes, since joins take it that their partitions go by them. Default: that of the source; after a function that can change the
// type, also where it has not, the standard one of string, []byte, int64 and float64, and none of others.
func (s Stream[K, V]) Keys(c Codec[K]) Stream[K, V] {
	s.keys = c
	return s
}

// Values sets the codec of the values, for what follows. Default: as with [Stream.Keys].
func (s Stream[K, V]) Values(c Codec[V]) Stream[K, V] {
	s.values = c
	return s
}

// needCodecs notes a fault if a codec that op needs is not known.
func (s Stream[K, V]) needCodecs(op string) {
	if s.keys == nil {
		s.n.topology().fail(op, "no codec of the keys, which are %T: call Keys before", *new(K))
	}
	if s.values == nil {
		s.n.topology().fail(op, "no codec of the values, which are %T: call Values before", *new(V))
	}
}

// same declares a node that keeps the types.
func (s Stream[K, V]) same(kind string, opts []Option, build func(b *builder, n *node, next edge[K, V]) processor[K, V]) Stream[K, V] {
	n := s.n.topology().add(kind, s.n.topology().nameIn(kind, opts), s.n)
	n.build = func(b *builder) []any { return []any{build(b, n, next[K, V](b, n))} }
	s.n = n
	return s
}

type filter[K, V any] struct {
	keep func(K, V) bool
	want bool
	next edge[K, V]
}

func (f *filter[K, V]) process(r *Record[K, V]) error {
	if r.NullValue || f.keep(r.Key, r.Value) == f.want {
		return f.next.send(r)
	}
	return nil
}

// Filter keeps the records for which keep is true, and those without a value.
func (s Stream[K, V]) Filter(keep func(K, V) bool, opts ...Option) Stream[K, V] {
	s.n.topology().needs("filter", "keep", keep != nil)
	return s.same("filter", opts, func(_ *builder, _ *node, next edge[K, V]) processor[K, V] {
		return &filter[K, V]{keep, true, next}
	})
}

// FilterNot keeps the records for which drop is false, and those without a value.
func (s Stream[K, V]) FilterNot(drop func(K, V) bool, opts ...Option) Stream[K, V] {
	s.n.topology().needs("filter-not", "drop", drop != nil)
	return s.same("filter-not", opts, func(_ *builder, _ *node, next edge[K, V]) processor[K, V] {
		return &filter[K, V]{drop, false, next}
	})
}

type peek[K, V any] struct {
	look func(*Record[K, V])
	next edge[K, V]
}

func (p *peek[K, V]) process(r *Record[K, V]) error {
	p.look(r)
	return p.next.send(r)
}

// Peek shows every record to look, which must not change it, and passes it on.
func (s Stream[K, V]) Peek(look func(*Record[K, V]), opts ...Option) Stream[K, V] {
	s.n.topology().needs("peek", "look", look != nil)
	return s.same("peek", opts, func(_ *builder, _ *node, next edge[K, V]) processor[K, V] { return &peek[K, V]{look, next} })
}

// Foreach shows every record to do, and ends the stream. What do has done when a round is undone, it does again.
func (s Stream[K, V]) Foreach(do func(*Record[K, V]), opts ...Option) {
	s.n.topology().needs("foreach", "do", do != nil)
	s.same("foreach", opts, func(_ *builder, _ *node, next edge[K, V]) processor[K, V] { return &peek[K, V]{do, next} })
}

type merge[K, V any] struct{ next edge[K, V] }

func (m *merge[K, V]) process(r *Record[K, V]) error { return m.next.send(r) }

// Merge returns the records of both streams. Order is kept within each. Where the codecs of their keys differ, that of the first holds for
// what follows, and what needs all records of a key in one partition repartitions them before.
func (s Stream[K, V]) Merge(other Stream[K, V], opts ...Option) Stream[K, V] {
	n := s.n.topology().add(task.KindMerge, s.n.topology().nameIn(task.KindMerge, opts), s.n, other.n)
	n.build = func(b *builder) []any {
		m := &merge[K, V]{next[K, V](b, n)}
		return []any{m, m}
	}
	// Keys that are not encoded alike are not in the same partitions either.
	s.n, s.rekeyed = n, s.rekeyed || other.rekeyed || !alike(s.keys, other.keys)
	if s.keys == nil {
		s.keys = other.keys
	}
	if s.values == nil {
		s.values = other.values
	}
	return s
}

// Branch is one of the ways that [Stream.Split] can send a record.
type Branch[K, V any] struct {
	Name string // of the node; Default: the split's name and the number
	When func(K, V) bool
}

type split[K, V any] struct {
	ctx      *task.Context
	n        *node
	branches []func(K, V) bool
	to       []edge[K, V] // one more than branches: what no branch wants
}

func (s *split[K, V]) process(r *Record[K, V]) error {
	if r.NullValue {
		s.ctx.Drop(s.n.problem(record.StageProcess, classNullValue, "the record has no value to choose a branch by"))
		return nil
	}
	for i, when := range s.branches {
		if when(r.Key, r.Value) {
			return s.to[i].send(r)
		}
	}
	return s.to[len(s.branches)].send(r)
}

// Split sends each record to the first branch that wants it. It returns the branches, and last the stream of those
// that none wants. A record without a value is dropped.
func (s Stream[K, V]) Split(name string, branches ...Branch[K, V]) []Stream[K, V] {
	t := s.n.topology()
	n := t.add("split", name, s.n)
	out := make([]Stream[K, V], len(branches)+1)
	var nodes []*node
	for i := range out {
		branch := fmt.Sprintf("%s-%d", n.name, i)
		if i == len(branches) {
			branch = n.name + "-default"
		} else if branches[i].Name != "" {
			branch = branches[i].Name
			t.checkName("split", branch)
		}
		if i < len(branches) {
			t.needs("split", "When of branch "+branch, branches[i].When != nil)
		}
		bn := t.addDerived("branch", branch)
		bn.build = func(b *builder) []any { return []any{&merge[K, V]{next[K, V](b, bn)}} }
		nodes = append(nodes, bn)
		out[i] = Stream[K, V]{n: bn, keys: s.keys, values: s.values, rekeyed: s.rekeyed}
	}
	n.outs = nodes
	n.build = func(b *builder) []any {
		sp := &split[K, V]{ctx: b.ctx, n: n}
		for i, bn := range nodes {
			sp.to = append(sp.to, edgeTo[K, V](b, bn, 0))
			if i < len(branches) {
				sp.branches = append(sp.branches, branches[i].When)
			}
		}
		return []any{sp}
	}
	return out
}
