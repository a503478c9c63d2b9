package gbm

import (
	"math/rand/v2"
	"slices"
)

// The purposes for which random numbers are drawn; each has streams of its own.
const (
	drawRows = iota
	drawColumns
	drawBins
)

// stream returns the generator of one purpose, tree and chunk. Streams do not depend on one another or on the
// order in which they are used, so threads cannot change a result.
func stream(seed int64, purpose, tree, chunk uint64) *rand.PCG {
	a := mix(uint64(seed) ^ mix(purpose))
	b := mix(a ^ mix(tree))
	return rand.NewPCG(mix(b^mix(chunk)), mix(a+b))
}

// mix is the output function of SplitMix64 (Steele, Lea and Flood 2014): it spreads the difference of two
// neighbouring numbers over all bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sampleRows appends to dst the rows of lo..hi-1 that are drawn, each with probability rate.
func sampleRows(dst []uint32, src *rand.PCG, lo, hi int, rate float64) []uint32 {
	limit := uint64(rate * (1 << 53))
	for r := lo; r < hi; r++ {
		if src.Uint64()>>11 < limit {
			dst = append(dst, uint32(r))
		}
	}
	return dst
}

// sampleColumns returns the given share of cols, at least one, in ascending order of position. It shuffles cols.
func sampleColumns(cols []int, src *rand.PCG, rate float64) []int {
	if rate >= 1 || len(cols) == 0 {
		return cols
	}
	k := max(1, int(float64(rate*float64(len(cols)))+0.5))
	rng := rand.New(src)
	for i := range k {
		j := i + rng.IntN(len(cols)-i)
		cols[i], cols[j] = cols[j], cols[i]
	}
	slices.Sort(cols[:k])
	return cols[:k]
}
