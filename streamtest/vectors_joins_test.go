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
	case "table_table_join":
		errs = append(errs, lack("table-table joins"))
	case "foreign_key_join":
		errs = append(errs, lack("foreign-key joins"))
	case "stream_stream_join":
		errs = append(errs, lack("stream-stream joins"))
	case "stream_table_join", "stream_globaltable_join":
	default:
		errs = append(errs, errors.New("no such join"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	in, err := b.plain(l)
	if err != nil {
		return nil, err
	}
	if s.Op == "stream_globaltable_join" {
		return b.joinGlobal(s, in, r, joiner)
	}
	return b.joinTable(s, in, r, joiner)
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
	if s.Grace != nil {
		return nil, lack("stream-table joins with grace")
	}
	if s.Type == "left" {
		return stream.LeftJoinTable(in, t, b.name(s.Op), func(v, t value, _ bool) value { return joiner(v, t) }), nil
	}
	return stream.JoinTable(in, t, b.name(s.Op), joiner), nil
}
