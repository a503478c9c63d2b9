package gbm

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"millrace.dev/record"
)

// binning says how the values of one input become bin numbers: 0..n-1 for values, n for missing.
type binning struct {
	n         int
	cuts      []float64 // numeric: bin b holds cuts[b-1] < x <= cuts[b]; n-1 of them
	levelBins []uint16  // enum: the bin of each level
}

// binSample is the number of values from which the cuts of a numeric input are found. The error of a quantile
// is then about 0.1 % of the rows, a quarter of a bin.
const binSample = 200_000

// numericBins finds at most limit bins of about equal numbers of values; a value that fills a bin alone gets one.
func numericBins(values []float64, limit int, seed int64) binning {
	s := sampleValues(values, seed)
	slices.Sort(s)
	var counts []int
	distinct := s[:0]
	for i, v := range s {
		if i == 0 || v != distinct[len(distinct)-1] {
			distinct = append(distinct, v)
			counts = append(counts, 0)
		}
		counts[len(counts)-1]++
	}
	b := binning{n: min(1, len(distinct))}
	ends := groups(counts, limit)
	for _, e := range ends[:max(0, len(ends)-1)] {
		b.cuts = append(b.cuts, middle(distinct[e-1], distinct[e]))
		b.n++
	}
	return b
}

// sampleValues returns the values that are not missing: all of them, or one of each stretch of a long column.
func sampleValues(values []float64, seed int64) []float64 {
	s := make([]float64, 0, min(len(values), binSample))
	if len(values) <= binSample {
		for _, v := range values {
			if !math.IsNaN(v) {
				s = append(s, v)
			}
		}
		return s
	}
	rng := rand.New(stream(seed, drawBins, 0, 0))
	for k := range binSample {
		lo, hi := len(values)*k/binSample, len(values)*(k+1)/binSample
		if v := values[lo+rng.IntN(hi-lo)]; !math.IsNaN(v) {
			s = append(s, v)
		}
	}
	return s
}

// middle returns a threshold t with a <= t < b for a < b, half way where possible.
func middle(a, b float64) float64 {
	if t := float64(a/2) + float64(b/2); t >= a && t < b {
		return t
	}
	return a
}

// groups cuts a list of counts into at most limit runs and returns the end of each run. A count that is large
// enough for a run of its own gets one; the others are put together until they are as large. The size is the
// smallest that leads to at most limit runs.
func groups(counts []int, limit int) []int {
	total := 0
	for _, c := range counts {
		total += c
	}
	var best []int
	lo, hi := 1, total+1 // hi always leads to one run
	for lo < hi {
		size := (lo + hi) / 2
		if ends := runs(nil, counts, size, limit); ends != nil {
			best, hi = ends, size
		} else {
			lo = size + 1
		}
	}
	if best == nil && len(counts) > 0 {
		best = []int{len(counts)}
	}
	return best
}

// runs appends the ends of runs of at least the given size, or returns nil if there are more than limit.
func runs(ends, counts []int, size, limit int) []int {
	sum := 0
	for i, c := range counts {
		if sum > 0 && c >= size {
			ends, sum = append(ends, i), 0
		}
		if sum += c; sum >= size || i == len(counts)-1 {
			ends, sum = append(ends, i+1), 0
		}
		if len(ends) > limit {
			return nil
		}
	}
	return ends
}

// bin returns the bin of x: the number of cuts below it.
func (b *binning) bin(x float64) int {
	if math.IsNaN(x) {
		return b.n
	}
	lo, n := 0, len(b.cuts)
	for n > 0 {
		half := n >> 1
		if b.cuts[lo+half] < x {
			lo += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return lo
}

// enumBins gives every level that has rows a bin of its own, in byte order of the levels, or lets rare levels
// that are neighbours in that order share one if there are more than limit.
func enumBins(c *record.Column, limit int) binning {
	count := make([]int, len(c.Levels))
	for _, k := range c.Codes {
		if k >= 0 {
			count[k]++
		}
	}
	var present []int
	for l, n := range count {
		if n > 0 {
			present = append(present, l)
		}
	}
	slices.SortFunc(present, func(a, b int) int { return strings.Compare(c.Levels[a], c.Levels[b]) })
	counts := make([]int, len(present))
	for i, l := range present {
		counts[i] = count[l]
	}
	ends := groups(counts, limit)
	b := binning{n: len(ends), levelBins: make([]uint16, len(c.Levels))}
	for l := range b.levelBins {
		b.levelBins[l] = uint16(b.n) // levels without rows are missing
	}
	i := 0
	for g, e := range ends {
		for ; i < e; i++ {
			b.levelBins[present[i]] = uint16(g)
		}
	}
	return b
}

// levelBin returns the bin of a code.
func (b *binning) levelBin(code int32) int {
	if code < 0 {
		return b.n
	}
	return int(b.levelBins[code])
}
