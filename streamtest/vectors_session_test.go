package streamtest_test

import (
	"errors"

	"millrace.dev/stream"
)

// sessions makes a table of sessions.
func (b *build) sessions(s *spec, g grouping, f aggregator) (any, error) {
	w := stream.Sessions(milliseconds(s.Gap))
	if s.Grace != nil {
		w = w.Grace(milliseconds(*s.Grace))
	}
	var opts []stream.WindowOption
	if s.Emit == "on_window_close" {
		opts = append(opts, stream.EmitOnClose())
	}
	name := b.name(s.Window)
	if f.init != nil { // Kafka Streams gives the aggregator null values
		if f.merge == nil {
			return nil, errors.New("sessions without merge")
		}
		in, err := b.rekeyed(g)
		add := func(_ value, v *value, a value) value { return f.add(a, deref(v)) }
		merge := func(_, a, b value) value { return f.merge(a, b) }
		return stream.AggregateSessions(stream.WindowedBySessions(stream.GroupByKey(in), w), name, values(), f.initial, add, merge, opts...), err
	}
	in, err := b.grouped(g)
	if err != nil {
		return nil, err
	}
	if f.count {
		return counted(stream.CountSessions(stream.WindowedBySessions(in, w), name, opts...)), nil
	}
	return stream.ReduceSessions(stream.WindowedBySessions(in, w), name, f.add, opts...), nil
}
