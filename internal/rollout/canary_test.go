package rollout

import (
	"errors"
	"math"
	"testing"

	"millrace.dev/internal/assign"
)

func canarySplit() *Split {
	return &Split{
		Experiment: "canary-2-1", By: ByKey, Salt: "x", Canary: &Canary{Steps: []float64{0.1, 1}, Lease: 1000, Since: map[string][]int64{"out": {1, 2}}, Records: 7},
		Arms: []Arm{
			{Name: "champion", Model: "m@1", Digest: digest, Slots: []assign.Range{{From: 0, To: 9000}}},
			{Name: "canary", Model: "m@2", Digest: digest, Slots: []assign.Range{{From: 9000, To: assign.Slots}}},
		},
	}
}

func TestCanary(t *testing.T) {
	t.Parallel()
	if err := canarySplit().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Split){
		"three arms": func(s *Split) {
			s.Arms = append(s.Arms, Arm{Name: "other", Model: "m@3", Digest: digest})
		},
		"a lease":    func(s *Split) { s.Canary.Lease = -1 },
		"records":    func(s *Split) { s.Canary.Records = -1 },
		"many steps": func(s *Split) { s.Canary.Steps = make([]float64, mostSteps+1) },
		"many topics": func(s *Split) {
			s.Canary.Since = map[string][]int64{"a": nil, "b": nil, "c": nil, "d": nil, "e": nil}
		},
	} {
		s := canarySplit()
		change(s)
		if err := s.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRatios counts each ratio in the bucket that it lies in.
func TestRatios(t *testing.T) {
	t.Parallel()
	for b := range RatioBuckets {
		low, high := RatioFrom(b), math.Inf(1)
		if b+1 < RatioBuckets {
			high = RatioFrom(b + 1)
		}
		if !(low < high) {
			t.Fatalf("bucket %d is from %v to %v", b, low, high)
		}
		for _, x := range []float64{low + (min(high, 100)-low)/2, low*1.0001 + 1e-9} {
			if got := RatioBucket(x); got != b {
				t.Errorf("%v is in bucket %d, want %d, from %v to %v", x, got, b, low, high)
			}
		}
	}
	if RatioFrom(RatioBuckets-1) != 32 || RatioFrom(1) != 0.25 {
		t.Error(RatioFrom(1), RatioFrom(RatioBuckets-1))
	}
	for _, x := range []float64{0, math.Inf(1), 1e300, 1e-300} {
		if b := RatioBucket(x); b < 0 || b >= RatioBuckets {
			t.Errorf("%v is in bucket %d", x, b)
		}
	}
}
