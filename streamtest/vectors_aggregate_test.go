package streamtest_test

import (
	"errors"
	"fmt"
	"time"

	"millrace.dev/stream"
)

// grouping is what an aggregation is made of.
type grouping struct {
	of   any                    // a stream or a table
	key  func(k, v value) value // nil: as it is
	pair func(k, v value) pair  // the same, and what counts of a row
}

// group makes what an aggregation is made of.
func (b *build) group(s *spec) (any, error) {
	x, err := b.operand(s)
	if err != nil || s.Op == "group_by_key" {
		return grouping{of: x}, err
	}
	f, err := groupOf(s.Fn)
	return grouping{x, func(k, v value) value { return f(k, v).key }, f}, err
}

// grouped makes the operand of an aggregation.
func (b *build) grouping(s *spec) (grouping, error) {
	x, err := b.operand(s)
	if err != nil {
		return grouping{}, err
	}
	g, ok := x.(grouping)
	if !ok {
		return g, fmt.Errorf("%T is not grouped", x)
	}
	return g, nil
}

// plain groups a stream whose nulls are flags.
func (b *build) grouped(g grouping) (stream.Grouped[value, value], error) {
	if x, ok := g.of.(plain); ok {
		if g.key == nil {
			return stream.GroupByKey(x), nil
		}
		return stream.GroupBy(x, values(), g.key), nil
	}
	in, err := b.rekeyed(g)
	if err != nil {
		return stream.Grouped[value, value]{}, err
	}
	p, err := b.plain(in)
	return stream.GroupByKey(p), err
}

// rekeyed returns the stream of a grouping, with its key; its functions see nulls.
func (b *build) rekeyed(g grouping) (nulls, error) {
	in, err := b.see(g.of)
	if err != nil || g.key == nil {
		return in, err
	}
	return typed(stream.SelectKey(in, func(k value, v *value) value { return g.key(k, deref(v)) })), nil
}

// aggregate makes a table of all records of a key.
func (b *build) aggregate(s *spec) (any, error) {
	g, err := b.grouping(s)
	if err != nil {
		return nil, err
	}
	f, err := aggregatorOf(s)
	if err != nil {
		return nil, err
	}
	if t, ok := g.of.(table); ok {
		return b.regrouped(s, t, g, f)
	}
	in, err := b.grouped(g)
	if err != nil {
		return nil, err
	}
	name := b.name(s.Op)
	switch {
	case f.count:
		return counted(stream.Count(in, name)), nil
	case f.init == nil:
		return stream.Reduce(in, name, f.add), nil
	default:
		return stream.Aggregate(in, name, values(), f.initial, func(_, v, a value) value { return f.add(a, v) }), nil
	}
}

// aggregator is the functions of an aggregation.
type aggregator struct {
	count bool
	init  *value // nil: the first value is the aggregate
	add   func(aggregate, v value) value
	merge func(a, b value) value // of sessions
}

func (a *aggregator) initial() value { return *a.init }

func aggregatorOf(s *spec) (a aggregator, err error) {
	kind := s.Fn
	if kind == "" {
		kind = s.Op
	}
	add := s.Add
	switch {
	case kind == "count" || kind == "table_count":
		return aggregator{count: true}, nil
	case kind == "reduce" || kind == "table_reduce":
		if s.Reduce != "" {
			add = s.Reduce
		}
	case s.Init == nil:
		return a, errors.New("an aggregation without init")
	default:
		a.init = s.Init
	}
	if a.add, err = adderOf(add); err == nil && s.Merge != "" {
		a.merge, err = adderOf(s.Merge)
	}
	return a, err
}

// counted makes values of counts.
func counted[K comparable](t stream.Table[K, int64]) stream.Table[K, value] {
	return stream.MapTable(t, func(_ K, n int64) value { return wholeOf(n) }).Values(values())
}

// windowed makes a table of windows.
func (b *build) windowed(s *spec) (any, error) {
	g, err := b.grouping(s)
	f, err2 := aggregatorOf(s)
	errs := []error{err, err2}
	switch s.Window {
	case "tumbling", "hopping", "session":
	case "sliding":
		errs = append(errs, lack("sliding windows"))
	default:
		errs = append(errs, fmt.Errorf("window %q", s.Window))
	}
	if s.Emit != "on_window_update" && s.Emit != "on_window_close" {
		errs = append(errs, fmt.Errorf("emit %q", s.Emit))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if s.Window == "session" {
		return b.sessions(s, g, f)
	}
	return b.timeWindows(s, g, f)
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// timeWindows makes a table of tumbling or hopping windows.
func (b *build) timeWindows(s *spec, g grouping, f aggregator) (any, error) {
	w := stream.Tumbling(milliseconds(s.Size))
	if s.Advance > 0 && s.Advance != s.Size {
		w = stream.Hopping(milliseconds(s.Size), milliseconds(s.Advance))
	}
	var grace time.Duration
	if s.Grace != nil {
		grace = milliseconds(*s.Grace)
	}
	w = w.Grace(grace)
	var opts []stream.WindowOption
	if s.Emit == "on_window_close" {
		// Kafka Streams' retention, which decides what it forgets unless it is asked to keep more.
		opts = append(opts, stream.EmitOnClose(), stream.Retention(milliseconds(s.Size)+grace))
	}
	name := b.name(s.Window)
	if f.init != nil { // Kafka Streams gives the aggregator null values
		in, err := b.rekeyed(g)
		add := func(_ value, v *value, a value) value { return f.add(a, deref(v)) }
		return stream.AggregateWindows(stream.WindowedBy(stream.GroupByKey(in), w), name, values(), f.initial, add, opts...), err
	}
	in, err := b.grouped(g)
	if err != nil {
		return nil, err
	}
	if f.count {
		return counted(stream.CountWindows(stream.WindowedBy(in, w), name, opts...)), nil
	}
	return stream.ReduceWindows(stream.WindowedBy(in, w), name, f.add, opts...), nil
}

func (b *build) cogroup(s *spec) error {
	errs := []error{lack("cogroup")}
	for _, g := range s.Groups {
		_, err := b.make(g.Of)
		_, err2 := adderOf(g.Add)
		errs = append(errs, err, err2)
	}
	return errors.Join(errs...)
}
