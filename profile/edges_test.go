package profile

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

func TestBins(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	draw := map[string]func() float64{
		"normal":        rng.NormFloat64,
		"few":           func() float64 { return float64(rng.IntN(5)) - 2 },
		"mostly zero":   func() float64 { return max(0, rng.NormFloat64()) },
		"heavy inside":  func() float64 { return []float64{3, rng.NormFloat64() * 5}[rng.IntN(2)] },
		"epoch seconds": func() float64 { return 1.4e9 + math.Floor(1e7*rng.Float64()) },
		"wide":          func() float64 { return math.Exp(600 * rng.NormFloat64() / 4) },
	}
	for name, next := range draw {
		for _, n := range []int{1, 2, 126, 127, 128, 1000, 20_000} {
			values := make([]float64, n)
			for i := range values {
				values[i] = next()
			}
			slices.Sort(values)
			e := edges(values)
			if len(e) > Bins || !slices.IsSorted(e) || len(slices.Compact(slices.Clone(e))) != len(e) || e[0] != values[0] || e[len(e)-1] != values[n-1] {
				t.Fatalf("%s, %d values, seed %d: edges %v", name, n, seed, e)
			}
			b := newBinner(e)
			for _, x := range append([]float64{math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1e308, -1e308, 5e-324}, values...) {
				if got, want := b.bin(x), sort.SearchFloat64s(e, x); got != want {
					t.Fatalf("%s, %d values, seed %d: %v is in bin %d, want %d", name, n, seed, x, got, want)
				}
			}
			counts := counted(values, e)
			if heavy := slices.Max(counts); n == 20_000 && name != "few" && name != "mostly zero" && name != "heavy inside" && heavy > 4*20_000/Bins {
				t.Errorf("%s, seed %d: a bin holds %d of 20,000 values", name, seed, heavy)
			}
			if i := slices.Index(e, 3); name == "heavy inside" && n == 20_000 && (i < 1 || counts[i] > 10_300) {
				t.Errorf("%s, seed %d: the value 3 has no bin to itself: %v", name, seed, counts)
			}
		}
	}
	none := newBinner(edges(nil))
	if none.bin(4) != 0 {
		t.Error("no edges: want one bin")
	}
}

func TestScaled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		counts []uint64
		total  uint64
	}{{[]uint64{1, 1, 1}, 10}, {[]uint64{5, 0, 3}, 8}, {[]uint64{7, 11, 13, 17}, 1_000_003}, {[]uint64{0, 0}, 0}, {[]uint64{3, 1}, 1}} {
		got := scaled(c.counts, c.total)
		var sum, of uint64
		for i, n := range got {
			sum, of = sum+n, of+c.counts[i]
		}
		if sum != c.total {
			t.Errorf("%v to %d: %v", c.counts, c.total, got)
		}
		for i, n := range got {
			if of > 0 && math.Abs(float64(n)-float64(c.counts[i])/float64(of)*float64(c.total)) > 1 {
				t.Errorf("%v to %d: %v", c.counts, c.total, got)
			}
		}
	}
}
