package streamtest_test

import (
	"slices"
	"testing"
	"time"

	"millrace.dev/stream"
)

// windowsOf returns the windows of a spec, and how long Kafka Streams keeps them.
func windowsOf(s *spec) (w stream.Windows, retention time.Duration) {
	var grace time.Duration
	if s.Grace != nil {
		grace = milliseconds(*s.Grace)
	}
	size := milliseconds(s.Size)
	switch {
	case s.Window == "sliding":
		d := milliseconds(s.TimeDifference)
		return stream.Sliding(d).Grace(grace), 2*d + grace
	case s.Advance > 0 && s.Advance != s.Size:
		return stream.Hopping(size, milliseconds(s.Advance)).Grace(grace), size + grace
	default:
		return stream.Tumbling(size).Grace(grace), size + grace
	}
}

// sentOnce checks the results where each is sent once, however often Kafka Streams sends it.
func sentOnce(_ *testing.T, c *testCase, _ *spec, got []result) error {
	once := *c
	once.Expect = nil
	for _, r := range c.Expect {
		if !slices.Contains(once.Expect, r) {
			once.Expect = append(once.Expect, r)
		}
	}
	return compare(&once, got, 1)
}
