package streamtest_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"millrace.dev/stream"
	"millrace.dev/streamtest"
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
	if s.onCommit {
		opts = append(opts, stream.EmitOnCommit())
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

// sameCached tells whether a case gives the results of Kafka Streams where updates wait for a commit after the last input.
// Some cases are tests of a processor alone with a cache before its store, that was flushed at the end: it has collapsed
// the updates of a session, and hidden one that came and went. Here that is EmitOnCommit, and nothing else is.
func sameCached(t *testing.T, c *testCase, s *spec) bool {
	t.Helper()
	if !noted(c, "write cache") || s.Window != "session" {
		return false
	}
	cached := new(spec)
	if err := json.Unmarshal(c.Spec, cached); err != nil {
		t.Fatal(err)
	}
	cached.onCommit = true
	b, err := topology(cached, "out", false)
	if err != nil {
		return false
	}
	d := streamtest.New(t, b.top, streamtest.KeepErrors(), streamtest.CommitByHand())
	got, err := feed(d, b.outputs, c.Inputs)
	if err != nil || len(got) > 0 {
		return false
	}
	d.Commit()
	for to, windowed := range b.outputs {
		got = slices.Concat(got, results(d, to, windowed))
	}
	for i := range got {
		got[i].Input = len(c.Inputs) - 1
	}
	return d.Err() == nil && compare(c, got, 1) == nil
}
