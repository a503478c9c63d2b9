package streamtest_test

import (
	"errors"
	"fmt"

	"millrace.dev/stream"
)

// join makes the joins.
func (b *build) join(s *spec) (any, error) {
	joiner, err := joinerOf(s.Joiner)
	l, err2 := b.make(s.Left)
	r, err3 := b.make(s.Right)
	errs := []error{err, err2, err3}
	if s.Type != "inner" && s.Type != "left" && s.Type != "outer" {
		errs = append(errs, fmt.Errorf("type %q", s.Type))
	}
	switch s.Op {
	case "table_table_join", "foreign_key_join", "stream_stream_join", "stream_table_join", "stream_globaltable_join":
	default:
		errs = append(errs, errors.New("no such join"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	switch s.Op {
	case "foreign_key_join":
		return b.joinForeign(s, l, r, joiner)
	case "table_table_join":
		return joinTables(s, l, r, joiner)
	}
	in, err := b.plain(l)
	if err != nil {
		return nil, err
	}
	switch s.Op {
	case "stream_stream_join":
		return b.joinStream(s, in, r, joiner)
	case "stream_globaltable_join":
		return b.joinGlobal(s, in, r, joiner)
	default:
		return b.joinTable(s, in, r, joiner)
	}
}

func (b *build) joinStream(s *spec, left plain, right any, joiner func(l, r value) value) (any, error) {
	other, err := b.plain(right)
	if err != nil {
		return nil, err
	}
	w := stream.JoinWindow{Before: milliseconds(s.Before), After: milliseconds(s.After), EarlyUnmatched: b.early}
	if s.Grace != nil {
		w.Grace = milliseconds(*s.Grace)
	}
	name := b.name(s.Op)
	var out plain
	switch s.Type {
	case "left":
		out = stream.LeftJoinStream(left, other, name, w, func(l, r value, _ bool) value { return joiner(l, r) })
	case "outer":
		out = stream.OuterJoinStream(left, other, name, w, func(s stream.Sides[value, value]) value { return joiner(s.Left, s.Right) })
	default:
		out = stream.JoinStream(left, other, name, w, joiner)
	}
	return out.Values(values()), nil
}

func (b *build) joinGlobal(s *spec, in plain, right any, joiner func(l, r value) value) (any, error) {
	f, err := lookupOf(s.KeySelector)
	g, ok := right.(global)
	if !ok || err != nil {
		return nil, errors.Join(err, fmt.Errorf("%T is not a global table", right))
	}
	key := func(k, v value) (value, bool) {
		k = f(k, v)
		return k, k != value{}
	}
	if s.Type == "left" {
		return stream.LeftJoinGlobal(in, g, key, func(v, t value, _ bool) value { return joiner(v, t) }), nil
	}
	return stream.JoinGlobal(in, g, key, joiner), nil
}

func (b *build) joinTable(s *spec, in plain, right any, joiner func(l, r value) value) (any, error) {
	t, ok := right.(table)
	if !ok {
		return nil, fmt.Errorf("%T is not a table", right)
	}
	var opts []stream.JoinOption
	if s.Grace != nil {
		opts = append(opts, stream.Grace(milliseconds(*s.Grace)))
	}
	if s.Type == "left" {
		return stream.LeftJoinTable(in, t, b.name(s.Op), func(v, t value, _ bool) value { return joiner(v, t) }, opts...), nil
	}
	return stream.JoinTable(in, t, b.name(s.Op), joiner, opts...), nil
}
