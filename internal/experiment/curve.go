package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/detmath"
)

// curveBins is the number of bins of a [Curve], of 1/32 in the logarithm of the odds each.
const (
	curveBins  = 1024
	binsPerLog = 32
)

// Curve counts predicted probabilities by label, in bins, from which the area under the curve of an arm comes in bounded memory: 16 KiB. Scores
// of one bin count as equal: they differ by 3 % of their odds at most. The zero value is empty. Curves can be merged.
type Curve struct{ ones, zeros [curveBins]int64 }

// Add takes a prediction and its label in.
func (c *Curve) Add(prediction, label float64) error { return c.change(prediction, label, 1) }

// Remove takes out what was added. What was never added is an error where it can be told.
func (c *Curve) Remove(prediction, label float64) error { return c.change(prediction, label, -1) }

func (c *Curve) change(prediction, label float64, by int64) error {
	if err := classified(prediction, label); err != nil {
		return err
	}
	count := &c.zeros[binOf(prediction)]
	if label == 1 {
		count = &c.ones[binOf(prediction)]
	}
	if *count+by < 0 || *count+by > mostCount {
		return errors.New("experiment: a prediction was removed that was never added")
	}
	*count += by
	return nil
}

func binOf(p float64) int {
	switch {
	case p <= 0:
		return 0
	case p >= 1:
		return curveBins - 1
	default:
		at := math.Floor(float64(binsPerLog*detmath.Log(p/(1-p)))) + curveBins/2
		return int(min(max(at, 0), curveBins-1))
	}
}

// Merge takes in what o has, which stays as it is.
func (c *Curve) Merge(o *Curve) {
	for i := range c.ones {
		c.ones[i] += o.ones[i]
		c.zeros[i] += o.zeros[i]
	}
}

// AUC returns the area under the curve. It has no [AUC.Paired].
func (c *Curve) AUC() (*AUC, error) {
	var a AUC
	for i := range c.ones {
		a.Ones, a.Zeros = a.Ones+c.ones[i], a.Zeros+c.zeros[i]
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	n1, n0 := float64(a.Ones), float64(a.Zeros)
	// As in NewAUC: of each record the share of the other class that it is on the right side of, equals counting half.
	var below, under, sum1, square1, sum0, square0 float64
	for i := range c.ones {
		one, zero := float64(c.ones[i]), float64(c.zeros[i])
		x, y := (below+float64(zero/2))/n0, 1-(under+float64(one/2))/n1
		sum1, square1 = sum1+float64(one*x), square1+float64(one*float64(x*x))
		sum0, square0 = sum0+float64(zero*y), square0+float64(zero*float64(y*y))
		below, under = below+zero, under+one
	}
	a.Area = sum1 / n1
	spread := func(sum, square, n float64) float64 {
		return max(0, square-float64(sum*sum)/n) / (n - 1) / n
	}
	a.Variance = spread(sum1, square1, n1) + spread(sum0, square0, n0)
	return &a, nil
}

// MarshalJSON writes the bins that have counts: [[bin, of label 0, of label 1], ...].
func (c *Curve) MarshalJSON() ([]byte, error) {
	bins := [][3]int64{}
	for i := range c.ones {
		if c.ones[i] != 0 || c.zeros[i] != 0 {
			bins = append(bins, [3]int64{int64(i), c.zeros[i], c.ones[i]})
		}
	}
	return json.Marshal(bins)
}

// UnmarshalJSON reads what [Curve.MarshalJSON] wrote, and refuses anything else.
func (c *Curve) UnmarshalJSON(b []byte) error {
	var bins [][3]int64
	if err := json.Unmarshal(b, &bins); err != nil {
		return fmt.Errorf("experiment: counts of scores: %w", err)
	}
	var read Curve
	last, rest := int64(-1), int64(mostCount)
	for _, bin := range bins {
		if bin[0] <= last || bin[0] >= curveBins || min(bin[1], bin[2]) < 0 || max(bin[1], bin[2]) > rest/2 {
			return fmt.Errorf("experiment: counts of scores: %v is no bin, or out of order", bin)
		}
		last, rest = bin[0], rest-bin[1]-bin[2]
		read.zeros[last], read.ones[last] = bin[1], bin[2]
	}
	*c = read
	return nil
}
