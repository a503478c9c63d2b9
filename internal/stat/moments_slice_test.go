package stat

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestAddSliceIsAdd holds the short cut for whole numbers to the bits of the long way.
func TestAddSliceIsAdd(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	special := []float64{
		0, math.Copysign(0, -1), 1 << 31, -(1 << 31), 1<<31 + 1, 1 << 53, 1 << 62, 1 << 63, -(1 << 63), math.MaxFloat64, 5e-324, 0.5, math.Inf(1), math.Inf(-1), math.NaN(),
	}
	for range 200 {
		x := make([]float64, rng.IntN(50))
		for i := range x {
			switch rng.IntN(4) {
			case 0:
				x[i] = special[rng.IntN(len(special))]
			case 1:
				x[i] = rng.NormFloat64() * 1e5
			default:
				x[i] = float64(rng.IntN(1<<33) - 1<<32)
			}
		}
		var one, all Moments
		for _, v := range x {
			one.Add(v)
		}
		all.AddSlice(x)
		a, _ := one.AppendBinary(nil) // it never fails
		b, _ := all.AppendBinary(nil) // as above
		if string(a) != string(b) {
			t.Fatalf("seed %d: %v: other moments", seed, x)
		}
	}
}
