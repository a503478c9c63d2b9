package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOrder has orders compare as the floats do, and lead back to them.
func TestOrder(t *testing.T) {
	t.Parallel()
	floats := []float64{-math.MaxFloat64, -1e9, -1, -math.SmallestNonzeroFloat64, 0, math.SmallestNonzeroFloat64, 1, math.Nextafter(1, 2), 1e9, math.MaxFloat64}
	for i, x := range floats {
		if unorder(order(x)) != x {
			t.Errorf("%v becomes %v", x, unorder(order(x)))
		}
		if i > 0 && order(floats[i-1]) >= order(x) {
			t.Errorf("%v is not below %v", floats[i-1], x)
		}
	}
	for _, key := range []uint64{0, math.MaxUint64, order(math.MaxFloat64) + 1, order(-math.MaxFloat64) - 1} {
		if x := unorder(key); math.Abs(x) != math.MaxFloat64 {
			t.Errorf("%x becomes %v", key, x)
		}
	}
}

// TestSketchError holds percentiles of many values in a tile against the documented bounds.
func TestSketchError(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	spread := func(x []float64) float64 { return slices.Max(x) - slices.Min(x) }
	for name, c := range map[string]struct {
		draw  func() float64
		bound func(values []float64, exact float64) float64
	}{
		"an hour of epoch seconds": {
			func() float64 { return 1.7e9 + r.Float64()*3600 },
			func(x []float64, _ float64) float64 { return spread(x) / 32 },
		},
		"within a factor of 2, over a power of 2": {
			func() float64 { return 700 + r.Float64()*650 },
			func(x []float64, _ float64) float64 { return spread(x) / 32 },
		},
		"amounts": {
			func() float64 { return math.Exp(r.NormFloat64() * 2) },
			func(x []float64, exact float64) float64 {
				return exact * math.Log2(slices.Max(x)/slices.Min(x)) / 64 * 1.1
			},
		},
		"both signs": {
			func() float64 { return r.NormFloat64() },
			func(_ []float64, exact float64) float64 { return math.Abs(exact)*0.5 + 0.01 },
		},
		"few different": {
			func() float64 { return math.Floor(r.Float64() * 60) },
			func([]float64, float64) float64 { return 0 },
		},
	} {
		for _, n := range []int{64, 65, 200, 5000} {
			values := make([]float64, n)
			var s, back sketch
			for i := range values {
				values[i] = c.draw()
				s.add(values[i])
			}
			for i := range values {
				back.add(values[n-1-i])
			}
			if s.drop != back.drop || !slices.Equal(s.cells, back.cells) {
				t.Errorf("%s, %d values: the order changes what is kept", name, n)
			}
			slices.Sort(values)
			var all, none ranked
			all.of([]sketch{s}, 1, 0, 1, 0)
			worst := 0.0
			for p := 0.0; p <= 1; p += 0.01 {
				got := all.percentile(&none, int64(n), p)
				exact := values[max(0, int(math.Ceil(p*float64(n)-1e-9))-1)]
				bound := 0.0
				if n > 64 {
					bound = c.bound(values, exact)
				}
				worst = max(worst, math.Abs(got-exact))
				if !(math.Abs(got-exact) <= bound) {
					t.Errorf("%s, %d values: percentile(%v) is %v, exactly %v, off by more than %v", name, n, p, got, exact, bound)
				}
			}
			t.Logf("%s, %d values: off by at most %.4g", name, n, worst)
		}
	}
}

// TestDistinctError measures the error of the estimate.
func TestDistinctError(t *testing.T) {
	t.Parallel()
	for _, n := range []int{65, 200, 500, 1000, 3000, 30_000, 300_000} {
		squares, rounds, worst := 0.0, 100, 0.0
		if n > 10_000 {
			rounds = 10
		}
		if testing.Short() { // one goroutine computes a rate: the race detector only makes it slow
			rounds /= 10
		}
		for round := range rounds {
			var s set
			for i := range n {
				s.add(Text(fmt.Sprintf("%d/%d", round, i)).hash())
			}
			var none merged
			none.of(nil, 1, 0, 0, 0)
			e := none.distinct(&s, math.MaxInt64)/float64(n) - 1
			squares += e * e
			worst = max(worst, math.Abs(e))
		}
		deviation := math.Sqrt(squares / float64(rounds))
		t.Logf("%d values: standard error %.2f %%, worst %.2f %%", n, deviation*100, worst*100)
		if deviation > 0.07 {
			t.Errorf("%d values: the standard error is %.2f %%", n, deviation*100)
		}
	}
}

// TestHash pins hashes, which are part of states that are kept for ever.
func TestHash(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"": 0xefd01f60ba992926, "a": 0x82a2a958a9bece5b, "millrace": 0xa9306921407e029c, "Zürich": 0x24b22821293c05d0} {
		if got := Text(text).hash(); got != want {
			t.Errorf("the hash of %q is %#x, want %#x", text, got, want)
		}
		if Text(text) != Text([]byte(text)) {
			t.Errorf("the bytes of %q have another hash", text)
		}
	}
	for x, want := range map[float64]uint64{0: 0x9ca066f1a4ab2eea, 1: 0x1d903ebd23d13a55, -0.1: 0x178d9ec66f1a98df} {
		if got := Number(x).hash(); got != want {
			t.Errorf("the hash of %v is %#x, want %#x", x, got, want)
		}
	}
	if Number(math.Copysign(0, -1)) != Number(0) || !Number(math.NaN()).Missing() || !Number(math.Inf(-1)).Missing() || Number(0).Missing() {
		t.Error("zero has a sign, or what is no number is a value")
	}
}
