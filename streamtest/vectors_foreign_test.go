package streamtest_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

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

// lostRows checks the results of an inner join by foreign key in which rows have none at times. Kafka Streams leaves the result of a row
// that loses its foreign key as it was, and does not join one that gets its first: from then on until the row changes again it gives no
// result for it. What is given here in the meantime is held against a model, and the rest against Kafka Streams.
func lostRows(_ *testing.T, c *testCase, s *spec, got []result) error {
	foreign, err := foreignKeyOf(s.Of[0].ForeignKey)
	if err != nil {
		return err
	}
	joiner, err := joinerOf(s.Of[0].Joiner)
	if err != nil {
		return err
	}
	m := &foreignModel{foreign: foreign, joiner: joiner, left: map[value]input{}, right: map[value]input{}, results: map[value]int64{}}
	lost := map[value]bool{} // left rows that Kafka Streams gives no result for
	expect := *c
	expect.Expect = slices.Clone(c.Expect)
	for i, in := range c.Inputs {
		skipped := map[value]bool{}
		if in.Topic == s.Of[0].Left.Topic {
			was, now := m.left[in.Key].Value.value, in.Value.value
			had, has := was != value{} && foreign(was) != value{}, now != value{} && foreign(now) != value{}
			lost[in.Key] = now != value{} && (!has || was != value{} && !had)
			skipped[in.Key] = lost[in.Key]
		} else {
			skipped = maps.Clone(lost)
		}
		for _, r := range m.apply(in, in.Topic == s.Of[0].Left.Topic) {
			if skipped[r.Key] {
				r.Input, r.To = i, c.Expect[0].To
				expect.Expect = append(expect.Expect, r)
			}
		}
	}
	return compare(&expect, got, 1)
}

// foreignModel is an inner join by foreign key, each change of which is looked at from both sides.
type foreignModel struct {
	foreign     func(value) value
	joiner      func(l, r value) value
	left, right map[value]input
	results     map[value]int64 // the left rows that have one, with the time of the right row
}

// apply takes a record, and returns the results of the rows that it is about.
func (m *foreignModel) apply(in input, left bool) (list []result) {
	side := m.right
	if left {
		side = m.left
	}
	if side[in.Key] = in; in.Value.value == (value{}) {
		delete(side, in.Key)
	}
	for k, l := range m.left {
		if left && k == in.Key || !left && m.foreign(l.Value.value) == in.Key {
			r := result{Key: k, Timestamp: in.Timestamp}
			at, had := m.results[k]
			right, ok := m.right[m.foreign(l.Value.value)]
			if delete(m.results, k); ok {
				r.Value.value, at = m.joiner(l.Value.value, right.Value.value), right.Timestamp
				m.results[k] = at
			}
			if left {
				r.Timestamp = max(r.Timestamp, at)
			}
			if ok || had || !left {
				list = append(list, r)
			}
		}
	}
	if left && in.Value.value == (value{}) {
		delete(m.results, in.Key)
	}
	return list
}
