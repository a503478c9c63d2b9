package canary

import (
	"math"
	"math/rand/v2"
	"testing"

	"millrace.dev/internal/experiment"
)

// TestWealthIsFair bets on what has just the probability that is claimed: no bet wins anything on average, whatever was before.
func TestWealthIsFair(t *testing.T) {
	t.Parallel()
	for _, m := range []float64{1e-4, 0.005, 0.1, 0.5, 0.99} {
		for _, n := range []int64{0, 1, 10, 1000} {
			for _, k := range []int64{0, n / 100, n / 2, n} {
				now := math.Exp(logWealth(k, n, m))
				next := float64(m*math.Exp(logWealth(k+1, n+1, m))) + float64((1-m)*math.Exp(logWealth(k, n+1, m)))
				if math.Abs(next-now) > 1e-9*now {
					t.Errorf("m=%v, %d of %d: %v becomes %v on average", m, k, n, now, next)
				}
			}
		}
	}
	if w := logWealth(0, 0, 0.1); math.Abs(w) > 1e-12 {
		t.Errorf("one begins with %v", math.Exp(w))
	}
}

func TestShareAtLeast(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ k, n int64 }{{0, 0}, {0, 1000}, {1, 1}, {5, 10}, {10, 10}, {30, 1000}, {1e6, 1e9}, {1e9, 1e9}} {
		low := shareAtLeast(tc.k, tc.n, 0.05)
		if share := float64(tc.k) / max(1, float64(tc.n)); !(low >= 0 && low <= share) {
			t.Errorf("%d of %d: at least %v", tc.k, tc.n, low)
		}
		if surer := shareAtLeast(tc.k, tc.n, 0.001); surer > low {
			t.Errorf("%d of %d: at least %v, and for sure %v", tc.k, tc.n, low, surer)
		}
	}
	if low := shareAtLeast(30, 1000, 0.0125); low < 0.014 || low > 0.025 {
		t.Errorf("3 %% of 1000 are at least %v", low)
	}
}

// TestRatioAtLeast has bounds that do not depend on the unit of losses, and that get closer to the ratio with more units.
func TestRatioAtLeast(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var c, scaled experiment.Cross
	before := 0.0
	for i := range 20_000 {
		x := r.ExpFloat64()
		y := x*1.3 + 0.1*r.ExpFloat64()
		if c.Add(y, x, 1) != nil || scaled.Add(1e10*y, 1e10*x, 1) != nil {
			t.Fatal("not added")
		}
		switch i + 1 {
		case 50:
			if value, low := ratioAtLeast(&c, 0.05, 100); value < 1.3 || low != 0 {
				t.Error(value, low)
			}
		case 200, 2000, 20_000:
			value, low := ratioAtLeast(&c, 0.05, 100)
			if !(low > before && low < value && value-low < 10/math.Sqrt(float64(i+1))) {
				t.Error(i, value, low)
			}
			before = low
			if _, same := ratioAtLeast(&scaled, 0.05, 100); math.Abs(same-low) > 1e-9 {
				t.Error(same, low)
			}
		}
	}
	for name, c := range map[string]func(*experiment.Cross) error{
		"nothing":    func(*experiment.Cross) error { return nil },
		"no control": func(c *experiment.Cross) error { return c.Add(1, 0, 1) },
	} {
		var of experiment.Cross
		if err := c(&of); err != nil {
			t.Fatal(err)
		}
		if value, low := ratioAtLeast(&of, 0.05, 1); value != 0 || low != 0 {
			t.Error(name, value, low)
		}
	}
}
