package experiment

import (
	"fmt"
	"math"
	"slices"
)

// Step is a value and how often it was seen: of single values, or of the bins of a histogram, which must be the same for both sides.
type Step struct {
	Value float64
	Count int64
}

// QuantileP returns the p-value, at any time, of two sides having the same q-quantile: of latencies, say. It takes for each value that the
// quantile may have the evidence of both sides against it, by two-sided beta-binomial mixtures, which are tuned for so many values
// of a side; the p-value is that of the value with the least evidence (Howard and Ramdas, Sequential estimation of quantiles with applications
// to A/B testing and best-arm identification, Bernoulli 28, 2022). Steps are sorted by value. It assumes nothing of the distributions.
func QuantileP(a, b []Step, q, horizon float64) (float64, error) {
	if !(q > 0 && q < 1) {
		return 0, fmt.Errorf("experiment: a quantile is above 0 and below 1, not %g", q)
	}
	if !(horizon >= 1 && horizon <= mostCount) {
		return 0, fmt.Errorf("experiment: a horizon is a number of values from 1, not %g", horizon)
	}
	left, err := newRanked(a, q, horizon)
	if err != nil {
		return 0, err
	}
	right, err := newRanked(b, q, horizon)
	if err != nil {
		return 0, err
	}
	if left.n == 0 || right.n == 0 {
		return 1, nil
	}
	least := math.Inf(1)
	for i, j := 0, 0; i < len(a) || j < len(b); {
		x := math.Inf(1)
		if i < len(a) {
			x = a[i].Value
		}
		if j < len(b) {
			x = min(x, b[j].Value)
		}
		least = min(least, left.evidence(&i, x)+right.evidence(&j, x))
	}
	return min(1, math.Exp(-least)), nil
}

// ranked is one side.
type ranked struct {
	steps      []Step
	n, below   float64 // below: values that were passed
	q          float64
	mixture    binary
	likeliest  float64 // the number of values below the quantile that the mixture finds the most likely
	likeliestL float64
}

func newRanked(steps []Step, q, horizon float64) (*ranked, error) {
	r := &ranked{steps: steps, q: q, mixture: tunedBinary(horizon, defaultAlpha, false)}
	for i, s := range steps {
		if s.Count < 0 || s.Count > mostCount || math.IsNaN(s.Value) || i > 0 && !(s.Value > steps[i-1].Value) {
			return nil, fmt.Errorf("experiment: step %d, %g seen %d times, is no number, or not above the one before", i, s.Value, s.Count)
		}
		r.n += float64(s.Count)
	}
	if r.n > 0 {
		r.likeliest = r.flattest()
		r.likeliestL = r.log(r.likeliest)
	}
	return r, nil
}

func (r *ranked) log(below float64) float64 { return r.mixture.log(below, r.n, r.q) }

// flattest returns where the mixture, which is convex, is least: by the golden section.
func (r *ranked) flattest() float64 {
	const golden = 0.6180339887498949
	low, high := 0.0, r.n
	for range 100 {
		width := float64(golden * (high - low))
		a, b := high-width, low+width
		if r.log(a) < r.log(b) {
			high = b
		} else {
			low = a
		}
	}
	return low
}

// evidence returns the least evidence against the quantile being x, over what may be below it: from the values below x to those up to x. It
// moves *i beyond x.
func (r *ranked) evidence(i *int, x float64) float64 {
	under := r.below
	if *i < len(r.steps) && r.steps[*i].Value == x {
		r.below += float64(r.steps[*i].Count)
		*i++
	}
	switch {
	case r.likeliest < under:
		return r.log(under)
	case r.likeliest > r.below:
		return r.log(r.below)
	default:
		return r.likeliestL
	}
}

// Ordered returns steps of values, in their order; values that are no numbers are left out.
func Ordered(values []float64) []Step {
	sorted := slices.Sorted(slices.Values(values))
	var out []Step
	for _, v := range sorted {
		switch last := len(out) - 1; {
		case math.IsNaN(v):
		case last >= 0 && out[last].Value == v:
			out[last].Count++
		default:
			out = append(out, Step{v, 1})
		}
	}
	return out
}
