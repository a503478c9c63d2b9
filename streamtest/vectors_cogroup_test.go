package streamtest_test

import (
	"errors"
	"fmt"

	"millrace.dev/stream"
)

// cogroup makes a table of several groups.
func (b *build) cogroup(s *spec) (any, error) {
	var c stream.Cogrouped[value, value]
	f := aggregator{init: s.Init}
	if s.Init == nil || len(s.Groups) == 0 {
		return nil, errors.New("a cogroup without init or groups")
	}
	for _, g := range s.Groups {
		x, err := b.make(g.Of)
		add, err2 := adderOf(g.Add)
		if err := errors.Join(err, err2); err != nil {
			return nil, err
		}
		of, ok := x.(grouping)
		if !ok {
			return nil, fmt.Errorf("%T is not grouped", x)
		}
		in, err := b.grouped(of)
		if err != nil {
			return nil, err
		}
		c = stream.CogroupWith(c, in, func(_, v, a value) value { return add(a, v) })
	}
	name := b.name(s.Op)
	if s.Window == "" {
		return stream.AggregateCogroup(c, name, values(), f.initial), nil
	}
	if s.Emit != "on_window_update" || s.Grace == nil {
		return nil, fmt.Errorf("emit %q, or no grace", s.Emit)
	}
	if s.Window != "session" {
		w, _ := windowsOf(s)
		return stream.AggregateCogroupWindows(c, w, name, values(), f.initial), nil
	}
	merge, err := adderOf(s.Merge)
	w := stream.Sessions(milliseconds(s.Gap)).Grace(milliseconds(*s.Grace))
	return stream.AggregateCogroupSessions(c, w, name, values(), f.initial, func(_, a, b value) value { return merge(a, b) }), err
}
