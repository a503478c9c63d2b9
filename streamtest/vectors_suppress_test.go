package streamtest_test

import (
	"errors"
	"fmt"
	"time"

	"millrace.dev/stream"
)

// suppress makes a table whose updates wait.
func (b *build) suppress(s *spec) (any, error) {
	x, err := b.operand(s)
	if err := errors.Join(s.Rule.check(), err); err != nil {
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
