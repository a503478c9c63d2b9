package house

import (
	"math"
	"testing"
)

// moments returns the mean and the variance of n values.
func moments(n int, value func() float64) (mean, variance float64) {
	var s1, s2 float64
	for range n {
		x := value()
		s1, s2 = s1+x, s2+x*x
	}
	mean = s1 / float64(n)
	return mean, s2/float64(n) - mean*mean
}

func TestDistributions(t *testing.T) {
	t.Parallel()
	const n = 400_000
	r := newRNG(11, 0)
	for _, c := range []struct {
		name           string
		value          func() float64
		mean, variance float64
	}{
		{"uniform", r.uniform, 0.5, 1.0 / 12},
		{"normal", r.normal, 0, 1},
		{"student6", r.student6, 0, 1.5},
		{"below 5", func() float64 { return float64(r.below(5)) }, 2, 2},
		{"pick", func() float64 { return float64(r.pick([]float64{0.5, 0.5, 0.75, 1})) }, 1.25, 1.6875},
		{"quantile", func() float64 { return r.quantile([]float64{0, 0.5, 1}, []float64{0, 1, 3}) }, 1.25, 0.7708333},
		{"chance", func() float64 {
			if r.chance(0.25) {
				return 1
			}
			return 0
		}, 0.25, 0.1875},
	} {
		mean, variance := moments(n, c.value)
		if math.Abs(mean-c.mean) > 5*math.Sqrt(c.variance/n) || math.Abs(variance/c.variance-1) > 0.03 {
			t.Errorf("%s: mean %.4f, variance %.4f, want %v and %v", c.name, mean, variance, c.mean, c.variance)
		}
	}
	// By tables of t with 6 degrees of freedom, |t| is above 3.707 in 1 case of 100.
	tails := 0
	for range n {
		if math.Abs(r.student6()) > 3.707 {
			tails++
		}
	}
	if share := float64(tails) / n; math.Abs(share-0.01) > 0.001 {
		t.Errorf("student6 is above 3.707 in %.4f of the cases, want 0.01", share)
	}
}

func TestExtremes(t *testing.T) {
	t.Parallel()
	r := newRNG(12, 0)
	for range 10_000 {
		if u := r.uniform(); u < 0 || u >= 1 {
			t.Fatalf("uniform: %v", u)
		}
		if i := r.below(3); i < 0 || i > 2 {
			t.Fatalf("below: %d", i)
		}
		if x := r.quantile([]float64{0, 0.3, 1}, []float64{-1, 0, 2}); x < -1 || x > 2 {
			t.Fatalf("quantile: %v", x)
		}
		if i := r.pick([]float64{0, 0.999999999}); i != 1 { // the last entry takes what rounding leaves
			t.Fatalf("pick: %d", i)
		}
	}
	if logistic(0) != 0.5 || logistic(800) != 1 || logistic(-800) != 0 {
		t.Error("logistic")
	}
}

// TestStreamsAreUnrelated looks for a correlation of the first draws of neighbouring sales and seeds.
func TestStreamsAreUnrelated(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for name, stream := range map[string]func(i uint64) rng{
		"sales": func(i uint64) rng { return newRNG(0, i) },
		"seeds": func(i uint64) rng { return newRNG(i, 0) },
		"both":  func(i uint64) rng { return newRNG(i, i) },
	} {
		first := make([]float64, n)
		for i := range first {
			r := stream(uint64(i))
			first[i] = r.uniform() - 0.5
		}
		for lag := 1; lag <= 4; lag++ {
			sum := 0.0
			for i := lag; i < n; i++ {
				sum += first[i] * first[i-lag]
			}
			if c := 12 * sum / n; math.Abs(c) > 5/math.Sqrt(n) {
				t.Errorf("%s: correlation %.4f at distance %d", name, c, lag)
			}
		}
	}
}
