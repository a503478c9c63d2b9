package streamtest_test

import (
	"errors"
	"fmt"
	"time"

	"millrace.dev/stream"
)

// suppress makes a table whose updates wait.
func (b *build) suppress(s *spec) (any, error) {
	if err := s.Rule.check(); err != nil {
		return nil, err
	}
	x, err := b.suppressed(s)
	if err != nil {
		return nil, err
	}
	buffer, name := bufferOf(s.Rule), b.name(s.Op)
	final := s.Rule.Until == "window_close"
	switch x := x.(type) {
	case table:
		if final {
			return nil, errors.New("until a window closes that is none")
		}
		return stream.SuppressUntilTimeLimit(x, name, limitOf(s.Rule), buffer), nil
	case windowTable:
		if final {
			return stream.SuppressUntilWindowCloses(x, name, buffer), nil
		}
		return stream.SuppressUntilTimeLimit(x, name, limitOf(s.Rule), buffer), nil
	}
	return nil, fmt.Errorf("%T is not a table", x)
}

// suppressed makes the table whose updates wait.
func (b *build) suppressed(s *spec) (any, error) {
	if len(s.Of) == 1 && s.Of[0].Op == "change_stream" && s.Rule.Until == "window_close" {
		return b.windowChanges(s.Of[0].Topic, s.Rule)
	}
	return b.operand(s)
}

func bufferOf(r *rule) stream.Buffer {
	buffer := stream.Unbounded()
	if r.MaxRecords != nil {
		buffer = buffer.WithMaxRecords(*r.MaxRecords)
	}
	if r.MaxBytes != nil {
		buffer = buffer.WithMaxBytes(*r.MaxBytes)
	}
	switch r.WhenFull {
	case "emit_early":
		return buffer.EmitEarlyWhenFull()
	case "shutdown":
		return buffer.ShutDownWhenFull()
	}
	return buffer
}

// limitOf returns how long updates wait: where Kafka Streams is told for ever, for as long as can be said.
func limitOf(r *rule) time.Duration {
	const longest = 90 * 365 * 24 * time.Hour
	if *r.Limit > longest.Milliseconds() {
		return longest
	}
	return milliseconds(*r.Limit)
}

// windowChanges makes a table of the updates of windows that a topic has. What a row was before is not given to it: that
// does not show in what comes out. The rows are joined with windows of which there are none, to say how long they stay open.
func (b *build) windowChanges(topic string, r *rule) (any, error) {
	if r.Grace == nil {
		return nil, errors.New("updates of windows without a grace")
	}
	rows := stream.TableFrom(b.top, b.name("changes"), topic, windowKeys{}, values())
	none := stream.GroupByKey(stream.From(b.top, "none", values(), values()))
	open := stream.CountWindows(stream.WindowedBy(none, stream.Tumbling(time.Hour).Grace(milliseconds(*r.Grace))), b.name("none"))
	return stream.LeftJoinTables(rows, open, func(v value, _ int64, _ bool) value { return v }).Values(values()), nil
}

// windowKeys is the codec of values that are keys of windows.
type windowKeys struct{}

func (windowKeys) Append(dst []byte, k stream.Windowed[value]) ([]byte, error) {
	return values().Append(dst, k.Key.in(k.Start, k.End))
}

// PlacedBy says that the codec knows where keys are: the tests have one partition.
func (windowKeys) PlacedBy(b []byte) []byte { return b }

func (windowKeys) Decode(b []byte) (k stream.Windowed[value], err error) {
	v, err := values().Decode(b)
	k = stream.Windowed[value]{Start: v.start, End: v.end}
	v.window, v.start, v.end = false, 0, 0
	k.Key = v
	return k, err
}
