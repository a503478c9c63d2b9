package pipeline

import (
	"math"
	"slices"
	"testing"

	"millrace.dev/record"
)

// TestEventTimesOfTimestamps holds that a timestamp that no clock tells makes no other time.
func TestEventTimesOfTimestamps(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	const last = math.MaxInt64 / 1000
	b, want := record.NewBatch(s, nil), []int64(nil)
	for at, micros := range map[int64]int64{
		0: 0, 5: 5000, last: last * 1000,
		-1: record.MissingTime, math.MinInt64: record.MissingTime, last + 1: record.MissingTime, math.MaxInt64: record.MissingTime,
	} {
		b.Append(record.Raw{Timestamp: at})
		want = append(want, micros)
	}
	if got := NewEventTimes(s, "").Append(nil, b); !slices.Equal(got, want) {
		t.Errorf("event times %v, want %v", got, want)
	}
}
