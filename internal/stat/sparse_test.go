package stat

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestSparse holds the sparse accumulators against the dense ones, bit for bit, on numbers of all sizes, in parts that
// are merged in any order, and taken off again.
func TestSparse(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		parts := make([]SparseSum, 1+r.IntN(4))
		moments := make([]SparseMoments, len(parts))
		var dense, first Sum
		var denseMoments Moments
		for range r.IntN(6000) {
			x := randomFloat(r, seed)
			k := r.IntN(len(parts))
			parts[k].Add(x)
			moments[k].Add(x)
			dense.Add(x)
			denseMoments.Add(x)
			if k == 0 {
				first.Add(x)
			}
		}
		var sum SparseSum
		var all SparseMoments
		for _, k := range r.Perm(len(parts)) {
			sum.Merge(&parts[k])
			all.Merge(&moments[k])
		}
		sameBits(t, seed, "sum", sum.Float64(), dense.Float64())
		sameBits(t, seed, "mean", all.Mean(), denseMoments.Mean())
		sameBits(t, seed, "deviation", all.Deviation(), denseMoments.Deviation())
		if all.N() != denseMoments.N() {
			t.Errorf("seed %d: %d numbers, want %d", seed, all.N(), denseMoments.N())
		}
		rest := sum.Clone()
		for k := range parts[1:] {
			rest.Remove(&parts[k+1])
		}
		sameBits(t, seed, "what is left", rest.Float64(), first.Float64())
		sameBits(t, seed, "the sum that was cloned", sum.Float64(), dense.Float64())
	}
}

// randomFloat draws numbers of one kind, or of all: also such as overflow on the way and cancel.
func randomFloat(r *rand.Rand, seed uint64) float64 {
	switch seed % 4 {
	case 0:
		return math.Round(r.NormFloat64()*1e4) / 100
	case 1:
		return []float64{math.MaxFloat64, -math.MaxFloat64, 1, 5e-324, -5e-324, 0, math.Copysign(0, -1), math.Inf(1), math.NaN()}[r.IntN(9)]
	case 2:
		return -r.Float64()
	default:
		return math.Float64frombits(r.Uint64())
	}
}

func sameBits(t *testing.T, seed uint64, what string, got, want float64) {
	t.Helper()
	if math.Float64bits(got) != math.Float64bits(want) && !(got != got && want != want) {
		t.Errorf("seed %d: %s: %v, want %v", seed, what, got, want)
	}
}

// TestSparseSize keeps the promise that its documentation makes.
func TestSparseSize(t *testing.T) {
	t.Parallel()
	var m SparseMoments
	for i := range 100_000 {
		m.Add(float64(i%977) * 1.25)
	}
	sum := int(unsafe.Sizeof(m.sum)) + 8*cap(m.sum.chunks.list)
	if all := int(unsafe.Sizeof(m)) + 8*cap(m.sum.chunks.list) + 8*cap(m.squares.list); sum > 100 || all > 270 {
		t.Errorf("%d bytes of a sum, %d of moments", sum, all)
	}
	m = SparseMoments{}
	for e := range uint64(2047) {
		m.Add(math.Float64frombits(e<<52 | 1))
	}
	if n := int(unsafe.Sizeof(m.sum)) + 8*len(m.sum.chunks.list); n > 700 {
		t.Errorf("%d bytes of a sum of all sizes", n)
	}
}

func BenchmarkSparseSum(b *testing.B) {
	var s SparseSum
	b.ReportAllocs()
	for i := range b.N {
		s.Add(float64(i) * 0.1)
	}
}
