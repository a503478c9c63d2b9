package streamtest_test

import (
	"errors"
	"fmt"
	"strings"

	"millrace.dev/stream"
)

// joinForeign makes a join by foreign key.
func (b *build) joinForeign(s *spec, left, right any, joiner func(l, r value) value) (any, error) {
	f, err := foreignKeyOf(s.ForeignKey)
	l, ok := left.(table)
	r, ok2 := right.(table)
	if !ok || !ok2 {
		err = errors.Join(err, fmt.Errorf("%T and %T: want tables", left, right))
	}
	if s.Type == "outer" {
		err = errors.Join(err, errors.New("no outer join by foreign key"))
	}
	if err != nil {
		return nil, err
	}
	key := func(_, v value) (value, bool) {
		k := f(v)
		return k, k != value{}
	}
	if s.Type == "left" {
		return stream.LeftJoinForeignKey(l, r, b.name(s.Op), key, func(l, r value, _ bool) value { return joiner(l, r) }).Values(values()), nil
	}
	return stream.JoinForeignKey(l, r, b.name(s.Op), key, joiner).Values(values()), nil
}

// foreignKeyOf returns the function that takes the foreign key from a value; null is none.
func foreignKeyOf(code string) (func(v value) value, error) {
	afterPipe := func(v value) value {
		_, key, _ := strings.Cut(v.String(), "|")
		return textOf(key)
	}
	switch code {
	case "null":
		return func(value) value { return value{} }, nil
	case "after_pipe":
		return afterPipe, nil
	case "after_pipe_or_null":
		return func(v value) value {
			if k := afterPipe(v); k != textOf("returnNull") {
				return k
			}
			return value{}
		}, nil
	}
	return nil, fmt.Errorf("foreign_key %q", code)
}
