package streamtest_test

import (
	"errors"
	"fmt"

	"millrace.dev/stream"
)

// joinTables joins two tables of the same keys.
func joinTables(s *spec, left, right any, joiner func(l, r value) value) (any, error) {
	switch l := left.(type) {
	case table:
		if r, ok := right.(table); ok {
			return joined(s, l, r, joiner), nil
		}
	case windowTable:
		if r, ok := right.(windowTable); ok {
			return joined(s, l, r, joiner), nil
		}
	}
	return nil, fmt.Errorf("%T and %T are not tables of the same keys", left, right)
}

func joined[K comparable](s *spec, l, r stream.Table[K, value], joiner func(l, r value) value) stream.Table[K, value] {
	var out stream.Table[K, value]
	switch s.Type {
	case "left":
		out = stream.LeftJoinTables(l, r, func(l, r value, _ bool) value { return joiner(l, r) })
	case "outer":
		out = stream.OuterJoinTables(l, r, func(s stream.Sides[value, value]) value { return joiner(s.Left, s.Right) })
	default:
		out = stream.JoinTables(l, r, joiner)
	}
	return out.Values(values())
}

// regrouped makes an aggregation of the rows of a table.
func (b *build) regrouped(s *spec, t table, g grouping, f aggregator) (any, error) {
	if g.pair == nil {
		return nil, errors.New("a table that is grouped by its own key")
	}
	// A row has no group where the function gives no pair, or null in it.
	has := func(k, v value) bool {
		p := g.pair(k, v)
		return p.ok && p.key != value{} && p.value != value{}
	}
	in := stream.GroupTable(t.Filter(has), values(), values(), func(k, v value) (value, value) {
		p := g.pair(k, v)
		return p.key, p.value
	})
	name := b.name(s.Op)
	if f.count {
		return counted(stream.CountTable(in, name)), nil
	}
	subtract, err := adderOf(s.Remove)
	switch {
	case err != nil:
		return nil, err
	case f.init == nil:
		return stream.ReduceTable(in, name, f.add, subtract), nil
	default:
		add := func(_, v, a value) value { return f.add(a, v) }
		return stream.AggregateTable(in, name, values(), f.initial, add, func(_, v, a value) value { return subtract(a, v) }), nil
	}
}
