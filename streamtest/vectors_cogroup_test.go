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
	switch s.Window {
	case "":
		return stream.AggregateCogroup(c, name, values(), f.initial), nil
	case "session":
		return nil, lack("session windows")
	}
	w, err := cogroupWindows(s)
	if err != nil {
		return nil, err
	}
	return stream.AggregateCogroupWindows(c, w, name, values(), f.initial), nil
}

func cogroupWindows(s *spec) (stream.Windows, error) {
	if s.Emit != "on_window_update" || s.Grace == nil {
		return nil, fmt.Errorf("emit %q, or no grace", s.Emit)
	}
	grace := milliseconds(*s.Grace)
	switch s.Window {
	case "tumbling":
		return stream.Tumbling(milliseconds(s.Size)).Grace(grace), nil
	case "hopping":
		return stream.Hopping(milliseconds(s.Size), milliseconds(s.Advance)).Grace(grace), nil
	case "sliding":
		return stream.Sliding(milliseconds(s.TimeDifference)).Grace(grace), nil
	}
	return nil, fmt.Errorf("window %q", s.Window)
}
