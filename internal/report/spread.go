package report

import (
	"cmp"
	"math"
	"slices"

	"millrace.dev/internal/chart"
	"millrace.dev/profile"
)

// How a distribution is drawn.
const (
	drawnBins   = 24 // of numbers that are not drawn value by value
	drawnLevels = 12
	drawnValues = 40 // steps from the smallest to the largest value, at most, to draw each value for itself
)

// segment has n values between low and high, or at low if the two are equal.
type segment struct{ low, high, n float64 }

// segments returns where the values of a column of numbers or times are. Within a bin they count as spread evenly, unless
// each bin is of a single value in the column, or in one that has the same bins.
func segments(c, like *profile.Column) []segment {
	var out []segment
	e, single := c.Edges, singles(c) || singles(like) && slices.Equal(c.Edges, like.Edges)
	for i, n := range c.Counts {
		if n == 0 || len(e) == 0 {
			continue
		}
		var s segment
		switch {
		case i == 0:
			s = segment{low: e[0], high: e[0]}
			if c.Min < e[0] {
				s.low = c.Min
			}
		case i < len(e) && single:
			s = segment{low: e[i], high: e[i]}
		case i < len(e):
			s = segment{low: e[i-1], high: e[i]}
		default:
			s = segment{low: e[i-1], high: e[i-1]}
			if c.Max > e[i-1] {
				s.high = c.Max
			}
		}
		s.n = float64(n)
		out = append(out, s)
	}
	return out
}

// singles tells whether each bin of a column is of one value. The number of different values is an estimate.
func singles(c *profile.Column) bool {
	n := uint64(len(c.Edges))
	return c.Distinct > 0 && c.Distinct <= n+n/50
}

// quantile returns about the p-quantile of segments; NaN for none.
func quantile(segs []segment, p float64) float64 {
	total := 0.0
	for _, s := range segs {
		total += s.n
	}
	left := total * p
	for _, s := range segs {
		if left <= s.n {
			return s.low + float64((s.high-s.low)*(left/s.n))
		}
		left -= s.n
	}
	if len(segs) == 0 {
		return math.NaN()
	}
	return segs[len(segs)-1].high
}

// spread says which bins a column is drawn in: each from low to high, of the values above low, the first with low itself. Where values are drawn one
// by one the bins are around them, with gaps.
type spread struct {
	like *profile.Column
	bins []chart.Bin // without counts
	// What lies outside of all bins, as a part of the values.
	below, above float64
}

// newSpread returns the bins of one or more columns that are drawn over one another, of which the first decides whether values are drawn
// one by one.
func newSpread(columns ...*profile.Column) spread {
	low, high := math.Inf(1), math.Inf(-1)
	s := spread{like: columns[0]}
	for _, c := range columns {
		segs := segments(c, s.like)
		if len(segs) == 0 {
			continue
		}
		least, most := segs[0].low, segs[len(segs)-1].high
		a, b := quantile(segs, 0.01), quantile(segs, 0.99)
		if b > a && a-least > b-a { // a long tail would press all others into a bin
			least = a
		}
		if b > a && most-b > b-a {
			most = b
		}
		low, high = min(low, least), max(high, most)
	}
	switch {
	case low > high:
		return s
	case low == high:
		half := max(math.Abs(low)/20, 0.5)
		s.bins = []chart.Bin{{Low: low - half, High: high + half}}
		return s
	}
	if s.bins = valueByValue(s.like, low, high); s.bins != nil {
		return s
	}
	if s.bins = groupedValues(s.like, low, high); s.bins != nil {
		return s
	}
	last := low
	for i := 1; i <= drawnBins; i++ {
		next := low + float64((high-low)*(float64(i)/drawnBins))
		if i == drawnBins {
			next = high
		}
		if next > last && !math.IsInf(next, 0) { // else the two are next to each other
			s.bins = append(s.bins, chart.Bin{Low: last, High: next})
			last = next
		}
	}
	return s
}

// gapOf returns the smallest distance of two values of a column of which each bin is of one value, and which begin with low and end with
// high; else infinity.
func gapOf(c *profile.Column, low, high float64) (gap float64, values []float64) {
	gap = math.Inf(1)
	for _, e := range c.Edges {
		if low <= e && e <= high {
			values = append(values, e)
		}
	}
	if !singles(c) || len(values) < 2 || values[0] != low || values[len(values)-1] != high {
		return gap, nil
	}
	for i := 1; i < len(values); i++ {
		gap = min(gap, values[i]-values[i-1])
	}
	return gap, values
}

// valueByValue returns a bin for each value of a column that has few, at about equal distances; else nil.
func valueByValue(c *profile.Column, low, high float64) []chart.Bin {
	gap, values := gapOf(c, low, high)
	if (high-low)/gap > drawnValues {
		return nil
	}
	var bins []chart.Bin
	for _, v := range values {
		side := float64(0.4 * gap)
		bins = append(bins, chart.Bin{Low: v - side, High: v + side})
	}
	return bins
}

// groupedValues returns bins of the same number of values each, such as five years or three days, for a column whose values are at about
// equal distances; else nil. Bins of another width would hold now more of them, now fewer.
func groupedValues(c *profile.Column, low, high float64) []chart.Bin {
	gap, values := gapOf(c, low, high)
	if steps := (high - low) / gap; values == nil || !(steps <= 1000) {
		return nil
	}
	wide := float64(gap * math.Ceil(((high-low)/gap+1)/drawnBins))
	var bins []chart.Bin
	for from := low - float64(gap/2); from < high; from += wide {
		bins = append(bins, chart.Bin{Low: from, High: from + wide})
	}
	return bins
}

// counts returns how many values of a column lie in each bin, and sets what lies outside.
func (s *spread) counts(c *profile.Column) []float64 {
	out := make([]float64, len(s.bins))
	if len(out) == 0 {
		return out
	}
	total, below, above := 0.0, 0.0, 0.0
	first, last := s.bins[0].Low, s.bins[len(s.bins)-1].High
	for _, g := range segments(c, s.like) {
		total += g.n
		whole := float64(g.high/2) - float64(g.low/2) // halves, so that it is finite
		if whole <= 0 {
			switch {
			case g.low < first:
				below += g.n
			case g.low > last:
				above += g.n
			default:
				i, _ := slices.BinarySearchFunc(s.bins, g.low, func(b chart.Bin, v float64) int { return cmp.Compare(b.High, v) })
				out[min(i, len(out)-1)] += g.n
			}
			continue
		}
		part := func(from, to float64) float64 {
			return float64(g.n * (max(0, float64(min(g.high, to)/2)-float64(max(g.low, from)/2)) / whole))
		}
		below += part(math.Inf(-1), first)
		above += part(last, math.Inf(1))
		from := first
		for i, b := range s.bins { // a gap between values goes to the one above it
			out[i] += part(from, b.High)
			from = b.High
		}
	}
	if total > 0 {
		s.below, s.above = max(s.below, below/total), max(s.above, above/total)
	}
	return out
}

// share makes parts of 1 of counts.
func share(counts []float64, of uint64) []float64 {
	out := make([]float64, len(counts))
	for i, n := range counts {
		if of > 0 {
			out[i] = n / float64(of)
		}
	}
	return out
}

// frequent is a level with how many values have it.
type frequent struct {
	name string
	n    uint64
}

// levels returns the levels of a column of levels or texts, the most frequent first, and of equal ones in their order.
func levels(c *profile.Column) []frequent {
	var out []frequent
	for i, l := range c.Levels {
		if i < len(c.Counts) {
			out = append(out, frequent{l, c.Counts[i]})
		}
	}
	if c.Kind == profile.Text {
		for _, t := range c.Top {
			out = append(out, frequent{t.Text, t.N})
		}
	}
	slices.SortStableFunc(out, func(a, b frequent) int { return cmp.Compare(b.n, a.n) })
	return out
}

// unknown returns how many values of a column of levels are none of its levels.
func unknown(c *profile.Column) uint64 {
	if len(c.Counts) != len(c.Levels)+1 || c.Kind != profile.Level {
		return 0
	}
	return c.Counts[len(c.Levels)]
}

// spark returns what a small picture of a column shows: its bins, or its levels from the most frequent on.
func spark(c *profile.Column) []float64 {
	if numeric(c) {
		s := newSpread(c)
		return s.counts(c)
	}
	var out []float64
	for _, l := range levels(c) {
		if len(out) == drawnBins {
			break
		}
		out = append(out, float64(l.n))
	}
	return out
}

// numeric tells whether a column has bins of numbers or times.
func numeric(c *profile.Column) bool { return c.Kind == profile.Number || c.Kind == profile.Time }
