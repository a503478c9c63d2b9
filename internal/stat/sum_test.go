package stat

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// hard returns numbers that sums go wrong with.
func hard() []float64 {
	return []float64{
		0, math.Copysign(0, -1), 1, -1, 1e308, -1e308, 1e-308, -1e-308, math.MaxFloat64, -math.MaxFloat64, 5e-324, -5e-324,
		0x1p-1022, -0x1p-1022, 0x1.fffffffffffffp-1023, 0x1p53, 0x1p53 + 2, -0x1p53, 0.1, 1e16, -1e16, 1e9 + 1, 1e9 + 2, 0x1p31, 0x1p32, 0x1p-32,
	}
}

// numbers draws lists of any finite numbers, hard ones among them.
func numbers() *rapid.Generator[[]float64] {
	finite := rapid.Custom(func(t *rapid.T) float64 {
		for {
			x := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
			if !math.IsNaN(x) && !math.IsInf(x, 0) {
				return x
			}
		}
	})
	return rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(hard()), finite, rapid.Float64Range(-1000, 1000)), 0, 60)
}

// parts cuts x into parts at random, each filled by add, and merges them in random order and grouping.
func parts[T, E any](t *rapid.T, x []E, empty func() *T, add func(*T, E), merge func(a, b *T)) *T {
	all := make([]*T, rapid.IntRange(1, 6).Draw(t, "parts"))
	for i := range all {
		all[i] = empty()
	}
	for _, i := range rapid.Permutation(indexes(len(x))).Draw(t, "order") {
		add(all[rapid.IntRange(0, len(all)-1).Draw(t, "part")], x[i])
	}
	for len(all) > 1 {
		i := rapid.IntRange(0, len(all)-2).Draw(t, "into")
		if rapid.Bool().Draw(t, "swapped") {
			all[i], all[i+1] = all[i+1], all[i]
		}
		merge(all[i], all[i+1])
		all = append(all[:i+1], all[i+2:]...)
	}
	return all[0]
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// exact returns the sum of f(x), with all bits.
func exact(x []float64, f func(v *big.Float) *big.Float) *big.Float {
	sum := new(big.Float).SetPrec(5000)
	for _, v := range x {
		sum.Add(sum, f(new(big.Float).SetPrec(5000).SetFloat64(v)))
	}
	return sum
}

func same(v *big.Float) *big.Float   { return v }
func square(v *big.Float) *big.Float { return new(big.Float).SetPrec(5000).Mul(v, v) }

func equalBits(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}

func TestSum(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		x    []float64
		want float64
	}{
		{nil, 0},
		{[]float64{math.Copysign(0, -1)}, 0},
		{[]float64{1e308, 1e308, -1e308, -1e308, 1e-308}, 1e-308},
		{[]float64{1e308, 1e308}, math.Inf(1)},
		{[]float64{-1e308, -1e308}, math.Inf(-1)},
		{[]float64{math.MaxFloat64, 0x1p969}, math.MaxFloat64},
		{[]float64{math.MaxFloat64, 0x1p970}, math.Inf(1)},
		{[]float64{5e-324, 5e-324, -1e-323, 5e-324}, 5e-324},
		{[]float64{1, 0x1p-53}, 1}, // half way: to even
		{[]float64{1, 0x1p-53, 5e-324}, 1 + 0x1p-52},
		{[]float64{1 + 0x1p-52, 0x1p-53}, 1 + 0x1p-51},
		{[]float64{-1, -0x1p-53, -5e-324}, -1 - 0x1p-52},
		{[]float64{1e16, 1, -1e16}, 1},
		{[]float64{0.1, 0.2, 0.3}, 0.6}, // one rounding; adding gives 0.6000000000000001
		{[]float64{math.NaN(), math.Inf(1), 2, math.Inf(-1)}, 2},
	} {
		var s Sum
		s.AddSlice(c.x)
		if got := s.Float64(); !equalBits(got, c.want) {
			t.Errorf("%v: %v, want %v", c.x, got, c.want)
		}
	}
}

func TestSumIsExactAndMerges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := numbers().Draw(t, "x")
		want, _ := exact(x, same).Float64()
		var one, slice Sum
		for _, v := range x {
			one.Add(v)
		}
		slice.AddSlice(x)
		merged := parts(t, x, func() *Sum { return &Sum{} }, (*Sum).Add, (*Sum).Merge)
		for _, s := range []*Sum{&one, &slice, merged} {
			if got := s.Float64(); !equalBits(got, want+0) { // the sum of nothing but -0 is +0 here
				t.Fatalf("%v: %v, want %v", x, got, want)
			}
			if s.carry(); s.chunks != one.chunks {
				t.Fatal("the chunks differ")
			}
		}
	})
}

// TestSumCarries adds more than fits between two carries, at the ends of the range.
func TestSumCarries(t *testing.T) {
	t.Parallel()
	const n = 5*sumAdds + 4 // odd
	for _, x := range []float64{math.MaxFloat64, -math.MaxFloat64, 5e-324, -5e-324, 0x1.fffffffffffffp+30, 0x1.fffffffffffffp-1, -3} {
		list := make([]float64, n)
		for i := range list {
			list[i] = x
		}
		var s, half Sum
		s.AddSlice(list)
		half.AddSlice(list[:n/2])
		half.Merge(&half)
		half.Add(list[0])
		want := new(big.Float).SetPrec(200).SetFloat64(x)
		want.Mul(want, big.NewFloat(n))
		if w, _ := want.Float64(); s.Float64() != w || half.Float64() != w {
			t.Errorf("%d times %v: %v and %v, want %v", n, x, s.Float64(), half.Float64(), w)
		}
	}
}

func TestSumOfManyAtRandom(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float64, 20_000)
	for i := range x {
		x[i] = math.Ldexp(r.NormFloat64(), r.IntN(2000)-1000)
	}
	want, _ := exact(x, same).Float64()
	var s Sum
	s.AddSlice(x)
	if s.Float64() != want {
		t.Errorf("%v, want %v", s.Float64(), want)
	}
}

func BenchmarkSum(b *testing.B) {
	x := normal(1 << 14)
	b.Run("slice", func(b *testing.B) {
		var s Sum
		for b.Loop() {
			s.AddSlice(x)
		}
		perValue(b, len(x))
	})
	b.Run("one", func(b *testing.B) {
		var s Sum
		for b.Loop() {
			for _, v := range x {
				s.Add(v)
			}
		}
		perValue(b, len(x))
	})
	b.Run("result", func(b *testing.B) {
		var s Sum
		s.AddSlice(x)
		for b.Loop() {
			s.Float64()
		}
	})
}

func normal(n int) []float64 {
	r, x := rand.New(rand.NewPCG(3, 4)), make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64() * 1000
	}
	return x
}

func perValue(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/value")
}
