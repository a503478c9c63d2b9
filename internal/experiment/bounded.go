package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Bounded accumulates numbers that lie between two bounds: whether only one of two models is right (-1, 0, 1), differences of Brier's scores.
// What it says of their mean holds from the first number on, whatever their distribution. They must be added in the order in which they come: each is
// compared with the mean of those before it. Parts that were filled apart can be merged. The zero value has no bounds: see
// [NewBounded].
type Bounded struct {
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	N      int64   `json:"n"`
	Sum    Total   `json:"sum"`
	Spread Total   `json:"spread"` // the sum of squared distances from the mean of the numbers before
}

// NewBounded returns an accumulator of numbers from low to high.
func NewBounded(low, high float64) (*Bounded, error) {
	b := &Bounded{Low: low, High: high}
	return b, b.Validate()
}

// Add takes a number in.
func (b *Bounded) Add(x float64) error {
	if !(x >= b.Low && x <= b.High) {
		return fmt.Errorf("experiment: %g is not between %g and %g", x, b.Low, b.High)
	}
	if b.N == mostCount {
		return errors.New("experiment: too many numbers")
	}
	// The mean before, as if one number in the middle had come first.
	middle := b.Low + float64((b.High-b.Low)/2)
	d := x - (b.Sum.High+middle)/float64(b.N+1)
	b.N++
	b.Sum = b.Sum.plus(Total{x, 0})
	b.Spread = b.Spread.plus(product(d, d))
	return nil
}

// Merge takes in what o has, which stays as it is. Both must have the same bounds.
func (b *Bounded) Merge(o *Bounded) error {
	if b.Low != o.Low || b.High != o.High {
		return fmt.Errorf("experiment: numbers from %g to %g and from %g to %g", b.Low, b.High, o.Low, o.High)
	}
	b.N, b.Sum, b.Spread = b.N+o.N, b.Sum.plus(o.Sum), b.Spread.plus(o.Spread)
	return nil
}

// Validate tells whether numbers between the bounds can have such sums.
func (b *Bounded) Validate() error {
	width := b.High - b.Low
	if !(width >= 1/MostLoss) || !fits(b.Low) || !fits(b.High) {
		return fmt.Errorf("experiment: %g and %g are no bounds", b.Low, b.High)
	}
	n := float64(b.N)
	noise := float64(float64(slack*n) * max(math.Abs(b.Low), math.Abs(b.High)))
	switch {
	case b.N < 0 || b.N > mostCount:
		return fmt.Errorf("experiment: %d numbers", b.N)
	case !(b.Sum.High >= float64(n*b.Low)-noise && b.Sum.High <= float64(n*b.High)+noise):
		return errors.New("experiment: the sum of numbers does not fit their bounds")
	case !(b.Spread.High >= 0 && b.Spread.High <= float64(float64(n*width)*width)*(1+slack)):
		return errors.New("experiment: the sum of squares does not fit the bounds")
	default:
		return nil
	}
}

// UnmarshalJSON reads what the encoder wrote, and refuses what [Bounded.Validate] does.
func (b *Bounded) UnmarshalJSON(text []byte) error {
	type plain Bounded
	var read plain
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("experiment: sums of bounded numbers: %w", err)
	}
	if err := (*Bounded)(&read).Validate(); err != nil {
		return err
	}
	*b = Bounded(read)
	return nil
}

// guessedDeviation is the share of the width that the mixture takes for the numbers' deviation, to be the tightest for: rare events of
// differences have little.
const guessedDeviation = 1.0 / 8

// mixture returns the mixture of the empirical Bernstein inequality (Howard et al., theorem 4): the sum of numbers less their mean, with the
// squared distances from what could be predicted as the variance, has tails no heavier than an exponential one of the width.
func (b *Bounded) mixture(horizon, alpha float64) gammaExponential {
	width := b.High - b.Low
	unit := float64(width * guessedDeviation)
	return gammaExponential{tuning(float64(horizon*float64(unit*unit)), 2*alpha), width}
}

// interval returns the mean, between bounds each of which fails with a probability of alpha.
func (b *Bounded) interval(horizon, alpha float64) Interval {
	if b.N == 0 {
		return Interval{math.NaN(), b.Low, b.High}
	}
	n := float64(b.N)
	mean := b.Sum.High / n
	half := b.mixture(horizon, alpha).bound(b.Spread.High, alpha) / n
	return Interval{mean, max(b.Low, mean-half), min(b.High, mean+half)}
}

// exceeds returns the p-value, at any time, of the mean being limit or less.
func (b *Bounded) exceeds(limit, horizon, alpha float64) float64 {
	s := b.Sum.High - float64(float64(b.N)*limit)
	return min(1, math.Exp(-b.mixture(horizon, alpha).log(s, b.Spread.High)))
}
