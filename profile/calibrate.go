package profile

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"millrace.dev/internal/detmath"
	"millrace.dev/internal/stat"
)

const (
	seed       = 0x6d696c6c72616365 // of what is drawn: the same windows for every checker
	replicates = 4000               // windows that are drawn without drift, for each size
	mostRows   = 1024               // of a window that is drawn: from here on statistics only shrink with the rows
	exactRows  = 64                 // up to here each number of rows is a size of its own
	sizesPer   = 4                  // sizes in which the rows double, beyond
	knots      = 48                 // of the distribution of a statistic
	topShare   = 0.02               // of what was drawn: beyond, a gamma distribution goes on
)

// drawn is what a statistic is of windows without drift, of one size.
//
// A statistic is scaled so that its distribution hardly depends on the rows. Up to the top 2 % its probabilities are those
// of the windows drawn; beyond, where few were, those of the gamma distribution with their mean and variance go on: sums of
// squares of nearly normal deviations, which all the statistics are, have nearly that.
type drawn struct {
	x, logP      []float64 // ascending values, and the logarithms of how likely at least they are
	shape, scale float64
}

// newDrawn sorts values.
func newDrawn(values []float64) *drawn {
	slices.Sort(values)
	n := float64(len(values))
	d := &drawn{}
	mean, squares := 0.0, 0.0
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		squares += (v - mean) * (v - mean) / n
	}
	if !(squares > 1e-18*mean*mean) || !(mean > 0) {
		return nil // always the same: nothing can be told from it
	}
	d.shape, d.scale = mean*mean/squares, squares/mean
	step := logOf(topShare) / knots
	for k := range knots + 1 {
		at := len(values) - int(math.Ceil(n*detmath.Exp(float64(k)*step)))
		v := values[max(at, 0)]
		if len(d.x) > 0 && v <= d.x[len(d.x)-1] {
			continue
		}
		first, _ := slices.BinarySearch(values, v)
		d.x, d.logP = append(d.x, v), append(d.logP, logOf((n-float64(first)+1)/(n+1)))
	}
	return d
}

// tail returns how likely a value of at least v is.
func (d *drawn) tail(v float64) float64 {
	if math.IsInf(v, 1) {
		return 0
	}
	v -= float64(1e-9 * math.Abs(v)) // rounding is no difference
	last := len(d.x) - 1
	i, _ := slices.BinarySearch(d.x, v)
	switch {
	case i == 0:
		return detmath.Exp(d.logP[0])
	case i <= last:
		part := (v - d.x[i-1]) / (d.x[i] - d.x[i-1])
		return detmath.Exp(d.logP[i-1] + float64(part*(d.logP[i]-d.logP[i-1])))
	}
	top := detmath.Exp(d.logP[last])
	at := d.gammaTail(d.x[last])
	if !(at > 1e-280) {
		return top * detmath.Exp((d.x[last]-v)/d.scale)
	}
	return top * d.gammaTail(v) / at
}

// gammaTail is the tail of the gamma distribution that goes on from the top share.
func (d *drawn) gammaTail(v float64) float64 {
	_, upper := stat.GammaShares(d.shape, v/d.scale)
	return upper
}

// value is the inverse of tail.
func (d *drawn) value(p float64) float64 {
	low, high := 0.0, d.x[len(d.x)-1]+d.scale
	for d.tail(high) > p && high < 1e300 {
		high *= 2
	}
	for range 60 {
		if mid := (low + high) / 2; d.tail(mid) > p {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// family is the tests that are calibrated together: on what they are done, and what they give of windows without drift.
type family struct {
	tests  []*test
	rows   int      // of the sample
	width  int      // columns of the sample that are counted
	codes  []uint32 // of the sample, row by row: places in tally
	tally  []uint32 // counts of a window that is drawn: of each column its cells, and then the missing values
	cells  int      // the most that a column has
	alarms float64  // the declared share of windows without drift that alarm
	sizes  map[int]*size
}

// test is a calibrated test of a column: of its distribution or, with no metric, of its rate of missing values.
type test struct {
	column int // of the profile
	metric Metric
	axis   *axis     // nil of the rate of missing values
	rate   float64   // of the sample: of missing values or, where there are two cells, of the last
	p      []float64 // shares of the sample
	still  bool      // in the sample it is always the same: windows that are drawn tell nothing
	first  int       // place of the column's first cell in tally
	n      int       // the column's cells
}

// ofRate tells whether the test is of a rate, whose probabilities are known exactly.
func (x *test) ofRate() bool { return x.axis == nil || x.axis.n == 2 }

// size is what the family gives of windows of one size.
type size struct {
	of    []*drawn // by test; nil of rates, and of what is always the same
	limit float64  // of the least of p/1, p/2, .. in ascending order of p
}

// rowsOf returns the size of windows that stand for those of that many rows.
func rowsOf(rows float64) int {
	if rows <= exactRows {
		return max(int(math.Round(rows)), 1)
	}
	step := math.Round(sizesPer * math.Log2(rows))
	return min(int(math.Round(math.Exp2(step/sizesPer))), mostRows)
}

// size draws windows of a size, once.
func (f *family) size(rows float64) *size {
	n := rowsOf(rows)
	if s := f.sizes[n]; s != nil {
		return s
	}
	s := f.draw(n)
	f.sizes[n] = s
	return s
}

func (f *family) draw(rows int) *size {
	values := make([][]float64, len(f.tests))
	for t := range values {
		values[t] = make([]float64, replicates)
	}
	f.replicate(rows, values)
	s := &size{of: make([]*drawn, len(f.tests))}
	for t, x := range f.tests {
		if !x.ofRate() && !x.still {
			s.of[t] = newDrawn(slices.Clone(values[t]))
		}
	}
	least, p := make([]float64, replicates), make([]float64, len(f.tests))
	for r := range least {
		for t := range f.tests {
			switch d := s.of[t]; {
			case d != nil:
				p[t] = d.tail(values[t][r])
			case f.tests[t].ofRate() && !f.tests[t].still:
				p[t] = values[t][r]
			default:
				p[t] = 1
			}
		}
		least[r] = leastStep(p)
	}
	s.limit = limitOf(least, f.alarms, len(f.tests))
	return s
}

// leastStep returns the least of the i-th smallest probability divided by i. It sorts them. Benjamini and Hochberg reject
// something at a level if it is at most the level divided by the number of tests.
func leastStep(p []float64) float64 {
	slices.Sort(p)
	least := 1.0
	for i, x := range p {
		least = min(least, x/float64(i+1))
	}
	return least
}

// limitOf returns what that share of the values is not above. Of few values, it goes to 0 in proportion. Where more than
// that share has the least value, as it does where no test has anything to say of the windows drawn, the limit is below
// it, by more than rounding: at most what is right for any number of tests (Bonferroni).
func limitOf(values []float64, share float64, tests int) float64 {
	const few = 10
	slices.Sort(values)
	want := share * float64(len(values))
	k := min(int(max(want, few)), len(values)-1)
	limit := math.Sqrt(values[k-1] * values[k])
	for k > 0 && values[k-1] == values[k] {
		if k--; k > 0 {
			limit = values[k-1]
		}
	}
	if k == 0 {
		return min(share/float64(tests), values[0]*(1-1e-9))
	}
	return min(share, limit*min(1, want/few))
}

// replicate draws windows and fills in, for each test, the statistic of each; of rates, the probability.
func (f *family) replicate(rows int, values [][]float64) {
	source := rand.NewPCG(seed, uint64(rows)) //nolint:gosec // positive
	c := &cells{m: math.Inf(1)}
	share := make([]float64, f.cells)
	rates := map[[3]uint32]float64{}
	for r := range replicates {
		clear(f.tally)
		for range rows {
			i, _ := bits.Mul64(source.Uint64(), uint64(f.rows)) //nolint:gosec // positive
			at := int(i) * f.width                              //nolint:gosec // below rows
			for _, code := range f.codes[at : at+f.width] {
				f.tally[code]++
			}
		}
		for t, x := range f.tests {
			switch counts := f.tally[x.first : x.first+x.n]; {
			case x.still:
			case x.axis == nil:
				values[t][r] = x.rateOf(f.tally[x.first+x.n], uint32(rows), uint32(t), rates) //nolint:gosec // few
			case x.ofRate():
				values[t][r] = x.rateOf(counts[1], counts[0]+counts[1], uint32(t), rates) //nolint:gosec // few
			default:
				c.q = share[:x.n]
				values[t][r] = x.statistic(c, counts)
			}
		}
	}
}

// statistic returns the scaled metric of counts from the sample.
func (x *test) statistic(c *cells, counts []uint32) float64 {
	n := uint32(0)
	for _, k := range counts {
		n += k
	}
	if n == 0 {
		return 0
	}
	c.p, c.n, c.x, c.sd = x.p, float64(n), x.axis.x, x.axis.sd
	for i, k := range counts {
		c.q[i] = float64(k) / c.n
	}
	return x.scaled(x.metric.value(c), c.n)
}

// scaled makes the distribution of a metric independent of the rows, as nearly as it is.
func (x *test) scaled(value, rows float64) float64 {
	switch x.metric.power {
	case 1:
		return value * value * rows
	case 2:
		return value * rows
	default:
		return value
	}
}

// unscaled is the inverse of scaled.
func (x *test) unscaled(statistic, rows float64) float64 {
	switch x.metric.power {
	case 1:
		return math.Sqrt(statistic / rows)
	case 2:
		return statistic / rows
	default:
		return statistic
	}
}

// rateOf returns the probability of k of n rows in a test of a rate. Few numbers come again and again: they are kept.
func (x *test) rateOf(k, n, t uint32, known map[[3]uint32]float64) float64 {
	key := [3]uint32{t, k, n}
	p, ok := known[key]
	if !ok {
		p = binomialTail(float64(k), float64(n), x.rate)
		known[key] = p
	}
	return p
}
