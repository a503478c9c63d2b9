package profile

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/detmath"
	"millrace.dev/internal/stat"
)

// Test is the outcome of a test of whether two sets of data come of one distribution.
type Test struct {
	Statistic float64
	Freedom   int     // degrees of freedom, of tests that have some
	P         float64 // how likely a statistic at least as large is without a difference
}

// untested is the outcome where there is nothing that could differ.
func untested() Test { return Test{P: 1} }

// ChiSquareTest tests counts of the same cells by Pearson's statistic of the table of cells by side. Cells without a count
// on either side do not matter. Where counts are small the chi-square distribution is only near the truth; see
// [FitTestGrouped].
func ChiSquareTest(reference, window []uint64) (Test, error) {
	return contingency(reference, window, chiSquare)
}

// GTest is to the ratio of likelihoods what [ChiSquareTest] is to Pearson's statistic.
func GTest(reference, window []uint64) (Test, error) {
	return contingency(reference, window, gStatistic)
}

func contingency(reference, window []uint64, statistic func(*cells) float64) (Test, error) {
	c, err := sides(reference, window)
	if err != nil || c == nil {
		return untested(), err
	}
	used := 0
	for i := range c.p {
		if c.p[i] > 0 || c.q[i] > 0 {
			used++
		}
	}
	if used < 2 {
		return untested(), nil
	}
	s := statistic(c)
	return Test{s, used - 1, stat.ChiSquareTail(s, float64(used-1))}, nil
}

// sides returns counts as shares; nil if there is none on either side.
func sides(reference, window []uint64) (*cells, error) {
	if len(reference) != len(window) {
		return nil, fmt.Errorf("%d counts and %d counts are not of the same bins", len(reference), len(window))
	}
	c := ownCells(len(reference)).cells(reference, window)
	switch {
	case c.m == 0 && c.n == 0:
		return nil, nil //nolint:nilnil // nothing to compare, and nothing wrong
	case c.m == 0 || c.n == 0:
		return nil, ErrNoValues
	}
	return c, nil
}

// FitTest tests whether a window fits the reference's shares, taking these as known without error: the reference is to
// have many more rows than the window. A count in a cell that the reference lacks is impossible: the statistic is then
// +Inf, and P 0.
func FitTest(reference, window []uint64) (Test, error) {
	c, err := sides(reference, window)
	if err != nil || c == nil {
		return untested(), err
	}
	expected, observed := make([]float64, 0, len(c.p)), make([]float64, 0, len(c.p))
	for i, p := range c.p {
		if p > 0 || c.q[i] > 0 {
			expected, observed = append(expected, p*c.n), append(observed, c.q[i]*c.n)
		}
	}
	return fit(expected, observed), nil
}

func fit(expected, observed []float64) Test {
	if len(expected) < 2 {
		return untested()
	}
	s := 0.0
	for i, e := range expected {
		d := observed[i] - e
		if d != 0 {
			s += float64(d*d) / e
		}
	}
	return Test{s, len(expected) - 1, stat.ChiSquareTail(s, float64(len(expected)-1))}
}

// FitTestGrouped is [FitTest] after cells of which few rows are expected were put together, the smallest first, until no
// more than a fifth of the cells expect fewer than 5 rows (Yates), or, of two cells, both expect 10 (Cochran). Cells that
// the reference lacks are with the smallest ones. Deequ does so too, but leaves out cells that the reference lacks.
func FitTestGrouped(reference, window []uint64) (Test, error) {
	c, err := sides(reference, window)
	if err != nil || c == nil {
		return untested(), err
	}
	type cell struct{ expected, observed float64 }
	var list []cell
	for i, p := range c.p {
		if p > 0 || c.q[i] > 0 {
			list = append(list, cell{p * c.n, c.q[i] * c.n})
		}
	}
	byExpected := func(a, b cell) int { return cmp.Compare(a.expected, b.expected) }
	slices.SortStableFunc(list, byExpected)
	enough := func() bool {
		small := 0
		for _, x := range list {
			if x.expected < 5 {
				small++
			}
		}
		if len(list) == 2 {
			return list[0].expected >= 10
		}
		return list[0].expected > 0 && 5*small <= len(list)
	}
	for len(list) > 1 && !enough() {
		list[1].expected += list[0].expected
		list[1].observed += list[0].observed
		list = list[1:]
		slices.SortStableFunc(list, byExpected)
	}
	var expected, observed []float64
	for _, x := range list {
		expected, observed = append(expected, x.expected), append(observed, x.observed)
	}
	return fit(expected, observed), nil
}

// KSTest tests ordered counts by the Kolmogorov-Smirnov statistic. P takes values as continuous: of values that share
// bins it is too large, never too small.
func KSTest(reference, window []uint64) (Test, error) {
	c, err := sides(reference, window)
	if err != nil || c == nil {
		return untested(), err
	}
	d := ks(c)
	return Test{Statistic: d, P: ksTail(d, c.m, c.n)}, nil
}

// MannWhitneyTest tests whether the values of one side tend to be larger than those of the other: two-sided, by the
// normal approximation with a correction for ties and for continuity. The statistic is U, the number of pairs of which the
// reference's value is the larger, pairs of equals counting half.
func MannWhitneyTest(reference, window []uint64) (Test, error) {
	c, err := sides(reference, window)
	if err != nil || c == nil {
		return untested(), err
	}
	u, ties, below := 0.0, 0.0, 0.0
	for i, n := range window {
		a, b := float64(reference[i]), float64(n)
		u += a * (below + b/2)
		below += b
		t := a + b
		ties += t * (float64(t*t) - 1)
	}
	total := c.m + c.n
	variance := c.m * c.n / 12 * (total + 1 - ties/(total*(total-1)))
	if !(variance > 0) {
		return Test{Statistic: u, P: 1}, nil
	}
	z := max(0, math.Abs(u-c.m*c.n/2)-0.5) / math.Sqrt(variance)
	return Test{Statistic: u, P: math.Erfc(z / math.Sqrt2)}, nil
}

// FisherExact returns how likely, without a difference between two rates, a table is that is no more likely than this one:
// a of n rows have a property in one set of data, b of m in the other. It is 1 if a or b is more than its rows, or if there
// is no row. It is exact, two-sided; above 100,000 rows with the property, or without, it is by the chi-square distribution.
func FisherExact(a, n, b, m uint64) float64 {
	if n == 0 || m == 0 || a > n || b > m {
		return 1
	}
	const most = 100_000
	k, rows := float64(a)+float64(b), float64(n)+float64(m)
	if rows-k < k { // the rarer of having it and not
		a, b = n-a, m-b
		k = float64(a) + float64(b)
	}
	if k > most {
		c := &cells{p: []float64{float64(b) / float64(m), 1 - float64(b)/float64(m)}, q: []float64{float64(a) / float64(n), 1 - float64(a)/float64(n)}, m: float64(m), n: float64(n)}
		return stat.ChiSquareTail(chiSquare(c), 1)
	}
	low, high := max(0, k-float64(m)), min(k, float64(n))
	logs := func(x float64) float64 { // of the number of tables with x
		return logChoose(float64(n), x) + logChoose(float64(m), k-x)
	}
	whole, bound := logChoose(rows, k), logs(float64(a))+1e-7
	mode := min(max(math.Floor((k+1)*(float64(n)+1)/(rows+2)), low), high)
	if logs(mode) <= bound {
		return 1
	}
	p := 0.0
	for _, step := range []float64{-1, 1} { // tables grow less likely to both ends: from the first that counts, as far as anything adds up
		none, some := 0.0, mode-low+1 // steps from the mode: the one does not count, the other does, or is beyond the end
		if step > 0 {
			some = high - mode + 1
		}
		for some-none > 1 {
			if half := math.Floor((none + some) / 2); logs(mode+float64(step*half)) <= bound {
				some = half
			} else {
				none = half
			}
		}
		for x := mode + float64(step*some); x >= low && x <= high; x += step {
			l := logs(x)
			if p += detmath.Exp(l - whole); l < bound-45 {
				break
			}
		}
	}
	return min(p, 1)
}

// binomialTail returns how likely a number of n rows with a property is, each of which has it with probability rate, that
// is no more likely than k.
func binomialTail(k, n, rate float64) float64 {
	switch {
	case rate <= 0 || rate >= 1:
		if k == n*min(max(rate, 0), 1) {
			return 1
		}
		return 0
	case n*rate*(1-rate) > 10_000:
		z := math.Abs(k-float64(n*rate)) / math.Sqrt(n*rate*(1-rate))
		return math.Erfc(z / math.Sqrt2)
	}
	a, b := logOf(rate), math.Log1p(-rate)
	logs := func(x float64) float64 { return logChoose(n, x) + float64(x*a) + float64((n-x)*b) }
	bound := logs(k) + 1e-7
	mode := math.Floor((n + 1) * rate)
	p := 0.0
	for _, step := range []float64{-1, 1} { // from the middle to both ends, as far as anything adds up
		x := mode
		if step > 0 {
			x++
		}
		for ; x >= 0 && x <= n; x += step {
			l := logs(x)
			if l <= bound {
				p += detmath.Exp(l)
			}
			if l < -745 || l <= bound && l < bound-40 {
				break
			}
		}
	}
	return min(p, 1)
}
