package streamtest_test

import (
	"fmt"

	"millrace.dev/stream"
)

// source makes a table of a topic.
func (b *build) source(s *spec) (any, error) {
	var opts []stream.TableOption
	if s.History != nil {
		opts = append(opts, stream.Versioned(milliseconds(*s.History)))
	}
	return stream.TableFrom(b.top, b.name("table"), s.Topic, values(), values(), opts...), nil
}

// stateless makes the operators that need no state.
func (b *build) stateless(s *spec) (any, error) {
	x, err := b.operand(s)
	if err != nil {
		return nil, err
	}
	switch t := x.(type) {
	case table:
		return tableOperator(s, t, func(k value) value { return k })
	case windowTable:
		return tableOperator(s, t, func(k stream.Windowed[value]) value { return k.Key.in(k.Start, k.End) })
	}
	in, err := b.see(x)
	if err != nil {
		return nil, err
	}
	switch s.Op {
	case "filter", "filter_not":
		f, err := predicateOf(s.Predicate)
		keep := func(k value, v *value) bool { return f(k, deref(v)) }
		if s.Op == "filter" {
			return in.Filter(keep), err
		}
		return in.FilterNot(keep), err
	case "peek":
		return in.Peek(func(*stream.Record[value, *value]) {}), nil
	case "split", "branch":
		return nil, b.split(s, in)
	}
	return b.mapping(s, in)
}

// tableOperator makes a filter or a map of the values of a table.
func tableOperator[K comparable](s *spec, t stream.Table[K, value], key func(K) value) (any, error) {
	switch s.Op {
	case "filter", "filter_not":
		f, err := predicateOf(s.Predicate)
		keep := func(k K, v value) bool { return f(key(k), v) }
		if s.Op == "filter" {
			return t.Filter(keep), err
		}
		return t.FilterNot(keep), err
	case "map_values":
		f, err := mapValuesOf(s.Fn)
		return stream.MapTable(t, func(k K, v value) value { return f(key(k), v) }).Values(values()), err
	}
	return nil, fmt.Errorf("no such operator on a table, which is a %T", t)
}

// mapping makes the operators that change records.
func (b *build) mapping(s *spec, in nulls) (any, error) {
	switch s.Op {
	case "map":
		f, err := mapOf(s.Fn)
		return typed(stream.Map(in, func(k value, v *value) (value, *value) {
			k, x := f(k, deref(v))
			return k, ref(x)
		})), err
	case "select_key":
		f, err := selectKeyOf(s.Fn)
		return typed(stream.SelectKey(in, func(k value, v *value) value { return f(k, deref(v)) })), err
	case "map_values":
		f, err := mapValuesOf(s.Fn)
		if s.Fn == "len_plus_key" { // needs the key
			return typed(stream.Map(in, func(k value, v *value) (value, *value) { return k, ref(f(k, deref(v))) })), err
		}
		return typed(stream.MapValues(in, func(v *value) *value { return ref(f(value{}, deref(v))) })), err
	case "flat_map":
		f, err := flatMapOf(s.Fn)
		return typed(stream.FlatMap(in, func(k value, v *value) (out []stream.KeyValue[value, *value]) {
			for _, p := range f(k, deref(v)) {
				out = append(out, stream.KV(p.key, ref(p.value)))
			}
			return out
		})), err
	case "flat_map_values":
		f, err := flatMapValuesOf(s.Fn)
		if s.Fn == "v_k" { // needs the key
			return typed(stream.FlatMap(in, func(k value, v *value) (out []stream.KeyValue[value, *value]) {
				for _, x := range f(k, deref(v)) {
					out = append(out, stream.KV(k, ref(x)))
				}
				return out
			})), err
		}
		return typed(stream.FlatMapValues(in, func(v *value) (out []*value) {
			for _, x := range f(value{}, deref(v)) {
				out = append(out, ref(x))
			}
			return out
		})), err
	}
	return nil, fmt.Errorf("the operator %q is not known", s.Op)
}

func typed(s nulls) nulls { return s.Keys(values()).Values(stream.Nullable(values())) }

// split writes each branch to its topic. What no branch wants goes to the default one.
func (b *build) split(s *spec, in nulls) error {
	var branches []stream.Branch[value, *value]
	for _, br := range s.Branches {
		f, err := predicateOf(br.Predicate)
		if err != nil {
			return err
		}
		branches = append(branches, stream.Branch[value, *value]{When: func(k value, v *value) bool { return f(k, deref(v)) }})
	}
	for i, out := range in.Split(b.name("split"), branches...) {
		to := s.Default
		if i < len(s.Branches) {
			to = s.Branches[i].To
		}
		if to != nil {
			typed(out).To(*to)
			b.outputs[*to] = false
		}
	}
	return nil
}
