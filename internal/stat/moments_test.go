package stat

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestMoments(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name                                        string
		x                                           []float64
		mean, variance, sample, deviation, min, max float64
	}{
		{"none", nil, nan, nan, nan, nan, nan, nan},
		{"ignored", []float64{nan, inf, -inf}, nan, nan, nan, nan, nan, nan},
		{"one", []float64{7}, 7, 0, nan, 0, 7, 7},
		{"offset", []float64{1e9 + 1, 1e9 + 2, 1e9 + 3}, 1e9 + 2, 2.0 / 3, 1, math.Sqrt(2.0 / 3), 1e9 + 1, 1e9 + 3},
		{"constant", []float64{0.1, 0.1, 0.1}, 0.1, 0, 0, 0, 0.1, 0.1},
		{"huge", []float64{1e308, 1e308, -1e308, -1e308}, 0, inf, inf, 1e308, -1e308, 1e308},
		{"tiny", []float64{5e-324, -5e-324}, 0, 0, 0, 5e-324, -5e-324, 5e-324},
		{"zeros", []float64{0, math.Copysign(0, -1)}, 0, 0, 0, 0, math.Copysign(0, -1), 0},
		{"half", []float64{1, 2}, 1.5, 0.25, 0.5, 0.5, 1, 2},
	} {
		var m Moments
		m.AddSlice(c.x)
		got := [...]float64{m.Mean(), m.Variance(), m.SampleVariance(), m.Deviation(), m.Min(), m.Max()}
		for i, want := range [...]float64{c.mean, c.variance, c.sample, c.deviation, c.min, c.max} {
			if !equalBits(got[i], want) {
				t.Errorf("%s: %d is %v, want %v", c.name, i, got[i], want)
			}
		}
	}
}

func TestMomentsAreExactAndMerge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := numbers().Draw(t, "x")
		var one Moments
		one.AddSlice(x)
		m := parts(t, x, func() *Moments { return &Moments{} }, (*Moments).Add, (*Moments).Merge)
		m.sum.carry()
		if one.sum.carry(); math.Float64bits(one.min) != math.Float64bits(m.min) || *m != one {
			t.Fatal("merging gives another state")
		}
		if m.N() != int64(len(x)) {
			t.Fatalf("n is %d, want %d", m.N(), len(x))
		}
		if len(x) < 2 {
			return
		}
		n := new(big.Float).SetPrec(5000).SetInt64(m.n)
		mean := exact(x, same)
		mean.Quo(mean, n)
		spread := exact(x, func(v *big.Float) *big.Float { return square(v.Sub(v, mean)) })
		for _, c := range []struct {
			name string
			got  float64
			want *big.Float
		}{
			{"mean", m.Mean(), mean},
			{"variance", m.Variance(), new(big.Float).SetPrec(5000).Quo(spread, n)},
			{"sample variance", m.SampleVariance(), new(big.Float).SetPrec(5000).Quo(spread, n.Sub(n, big.NewFloat(1)))},
		} {
			// 5,000 bits are not always enough to cancel to 0: what is below the smallest number is 0.
			if w, _ := c.want.Float64(); c.got != w {
				t.Fatalf("%s of %v: %v, want %v", c.name, x, c.got, w)
			}
		}
	})
}

func BenchmarkMoments(b *testing.B) {
	x := normal(1 << 14)
	var m Moments
	for b.Loop() {
		m.AddSlice(x)
	}
	perValue(b, len(x))
}
