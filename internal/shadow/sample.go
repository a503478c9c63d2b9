package shadow

import (
	"cmp"
	"math"
	"slices"

	"millrace.dev/internal/drift"
	"millrace.dev/internal/stat"
)

// SampleSize is how many pairs a sample holds.
const SampleSize = 1 << 16

// item is a pair of the sample: production's and the candidate's prediction, and the record's time.
type item struct {
	hash uint64
	a, b float64
	at   int64
}

func (i *item) diff() float64 { return i.b - i.a }

// sample is a uniform sample of pairs: those whose records' numbers hash lowest, so that it does not depend on their order.
type sample struct {
	size  int
	n     int64
	bound uint64
	items []item
}

func newSample(size int) sample { return sample{size: size, bound: math.MaxUint64} }

// add takes a pair in whose difference is a number.
func (s *sample) add(i item, row uint64) {
	if d := i.diff(); d-d != 0 {
		return
	}
	s.n++
	if i.hash = stat.RowHash(row, 1); i.hash > s.bound {
		return
	}
	if s.items = append(s.items, i); len(s.items) >= 2*s.size {
		s.compact()
	}
}

// compact keeps the lowest, in the order of their hashes.
func (s *sample) compact() {
	slices.SortFunc(s.items, func(a, b item) int { return cmp.Compare(a.hash, b.hash) })
	if len(s.items) > s.size {
		s.items = s.items[:s.size]
		s.bound = s.items[s.size-1].hash
	}
}

// The parts of the report that are made of a sample.
const (
	mostBins   = 41
	mostGroups = 10
	mostTimes  = 30
	gridEdges  = 19
)

// into writes what the sample says into a report.
func (s *sample) into(r *Report) {
	s.compact()
	if int64(len(s.items)) < s.n {
		r.Sampled = len(s.items)
	}
	diffs, sizes := make([]float64, len(s.items)), make([]float64, len(s.items))
	for i := range s.items {
		diffs[i] = s.items[i].diff()
		sizes[i] = math.Abs(diffs[i])
	}
	slices.Sort(diffs)
	slices.Sort(sizes)
	for _, p := range []float64{0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99} {
		r.Difference.Quantiles = append(r.Difference.Quantiles, Quantile{p, drift.Number(stat.Interpolate(diffs, p))})
	}
	for _, p := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
		r.Difference.Sizes = append(r.Difference.Sizes, Quantile{p, drift.Number(stat.Interpolate(sizes, p))})
	}
	r.Agreement.Ranks = drift.Number(s.ranks())
	r.Bins = bins(diffs)
	r.Groups = s.groups(mostGroups, func(i *item) (float64, bool) { return i.a, true })
	r.Times = s.times()
	s.grid(r)
}

// Size returns a quantile of the magnitudes of the differences in the sample; NaN for none.
func (t *Tally) Size(p float64) float64 {
	t.sample.compact()
	sizes := make([]float64, len(t.sample.items))
	for i := range sizes {
		sizes[i] = math.Abs(t.sample.items[i].diff())
	}
	slices.Sort(sizes)
	return stat.Interpolate(sizes, p)
}

// ranks returns Spearman's correlation: Pearson's of the ranks, those of equal values being their mean.
func (s *sample) ranks() float64 {
	n := len(s.items)
	ranksOf := func(value func(*item) float64) []float64 {
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int { return cmp.Compare(value(&s.items[i]), value(&s.items[j])) })
		ranks := make([]float64, n)
		for from := 0; from < n; {
			to := from + 1
			for to < n && value(&s.items[order[to]]) == value(&s.items[order[from]]) {
				to++
			}
			for k := from; k < to; k++ {
				ranks[order[k]] = float64(from+to-1) / 2
			}
			from = to
		}
		return ranks
	}
	a, b := ranksOf(func(i *item) float64 { return i.a }), ranksOf(func(i *item) float64 { return i.b })
	var j joint
	for i := range a {
		j.add(a[i], b[i])
	}
	return j.correlation()
}

// bins makes a histogram of sorted differences. One percent on either side is drawn into the outermost bins, so that a few large ones
// do not make all others one bar; a bin is centred on 0.
func bins(sorted []float64) []Bin {
	if len(sorted) == 0 {
		return nil
	}
	low, high := stat.Interpolate(sorted, 0.005), stat.Interpolate(sorted, 0.995)
	width := stepAbove((high - low) / (mostBins - 1))
	if width == 0 || math.IsInf(width, 0) {
		return []Bin{{Low: low, High: high, Pairs: len(sorted)}}
	}
	first, last := math.Round(low/width), math.Round(high/width)
	out := make([]Bin, int(last-first)+1)
	for i := range out {
		at := float64((first + float64(i)) * width)
		out[i].Low, out[i].High = at-float64(width/2), at+float64(width/2)
	}
	for _, d := range sorted {
		i := int(min(max(math.Round(d/width), first), last) - first)
		out[i].Pairs++
	}
	return out
}

// stepAbove returns 1, 2 or 5 times a power of ten that is not below x; 0 for 0.
func stepAbove(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 0) {
		return 0
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5, 10} {
		if step := m * power; step >= x {
			return step
		}
	}
	return 10 * power
}

// groups cuts the pairs into groups of the same size by a value, ascending; equal values stay together.
func (s *sample) groups(n int, value func(*item) (float64, bool)) []Group {
	type valued struct {
		by, diff float64
	}
	var list []valued
	for i := range s.items {
		if v, ok := value(&s.items[i]); ok {
			list = append(list, valued{v, s.items[i].diff()})
		}
	}
	slices.SortFunc(list, func(x, y valued) int { return cmp.Or(cmp.Compare(x.by, y.by), cmp.Compare(x.diff, y.diff)) })
	var out []Group
	for from, k := 0, 1; from < len(list); k++ {
		to := max(len(list)*k/n, from+1)
		for to < len(list) && list[to].by == list[to-1].by {
			to++
		}
		var diffs []float64
		for _, v := range list[from:to] {
			diffs = append(diffs, v.diff)
		}
		out = append(out, groupOf(list[to-1].by, diffs))
		from = to
	}
	return out
}

func groupOf(upper float64, diffs []float64) Group {
	slices.Sort(diffs)
	var sum stat.Moments
	sum.AddSlice(diffs)
	return Group{
		Upper: drift.Number(upper), Pairs: len(diffs), Low: drift.Number(stat.Interpolate(diffs, 0.1)), Median: drift.Number(stat.Interpolate(diffs, 0.5)),
		High: drift.Number(stat.Interpolate(diffs, 0.9)), Mean: drift.Number(sum.Mean()),
	}
}

// times cuts the pairs by the times of their records.
func (s *sample) times() []Group {
	groups := s.groups(mostTimes, func(i *item) (float64, bool) { return float64(i.at) / 1000, i.at >= 0 })
	if len(groups) < 2 {
		return nil
	}
	return groups
}

// grid counts how the two predictions go together.
func (s *sample) grid(r *Report) {
	if len(s.items) == 0 {
		return
	}
	all := make([]float64, 0, 2*len(s.items))
	for i := range s.items {
		all = append(all, s.items[i].a, s.items[i].b)
	}
	slices.Sort(all)
	low, high := stat.Interpolate(all, 0.005), stat.Interpolate(all, 0.98)
	if !(high > low) || math.IsInf(high-low, 0) {
		return
	}
	for k := range gridEdges {
		r.Edges = append(r.Edges, low+float64(float64(k)*(high-low)/(gridEdges-1)))
	}
	n := gridEdges + 1
	r.Grid = make([]int, n*n)
	cell := func(x float64) int {
		i, _ := slices.BinarySearch(r.Edges, x)
		return i
	}
	for i := range s.items {
		r.Grid[cell(s.items[i].b)*n+cell(s.items[i].a)]++
	}
}
