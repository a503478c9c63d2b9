package experiment

import (
	"errors"
	"fmt"
)

// Test is how an experiment is judged.
type Test string

// The tests.
const (
	// Sequential may be looked at as often as one likes, and be stopped at any time: the error rate holds over all looks together.
	Sequential Test = "sequential"
	// Fixed is a t-test at the one size that was planned beforehand: looked at before, its error rate does not hold.
	Fixed Test = "fixed"
)

// Options say how arms are compared. The zero value has the defaults.
type Options struct {
	// Test is [Sequential] by default.
	Test Test
	// Alpha is the error rate, above 0 and below 0.5. Default: 0.05.
	Alpha float64
	// Level is the error rate of the intervals, where it is another than that of the test: see [Correction.Level]. Default: Alpha.
	Level float64
	// Horizon is the number of units, of both arms together or of pairs, at which a sequence is the tightest: about as many as are
	// expected. It must be chosen before the data are seen. Default: 5,000, as GrowthBook has it.
	Horizon float64
	// Least is the number of units in each arm, or of pairs, below which nothing is decided: sequences and t-tests hold as means become
	// normal. Default: 100.
	Least int64
	// Plain leaves the baseline out of account: no adjustment (CUPED).
	Plain bool
}

// Defaults of [Options].
const (
	defaultAlpha   = 0.05
	defaultHorizon = 5000
	defaultLeast   = 100
)

// complete returns the options with their defaults, or what is wrong with them.
func (o Options) complete() (Options, error) {
	if o.Test == "" {
		o.Test = Sequential
	}
	if o.Alpha == 0 {
		o.Alpha = defaultAlpha
	}
	if o.Level == 0 {
		o.Level = o.Alpha
	}
	if o.Horizon == 0 {
		o.Horizon = defaultHorizon
	}
	if o.Least == 0 {
		o.Least = defaultLeast
	}
	if o.Test != Sequential && o.Test != Fixed {
		return o, fmt.Errorf("experiment: a test is %q or %q, not %q", Sequential, Fixed, o.Test)
	}
	if err := checkAlpha(o.Alpha); err != nil {
		return o, err
	}
	if err := checkAlpha(o.Level); err != nil {
		return o, err
	}
	if !(o.Horizon >= 1 && o.Horizon <= mostCount) {
		return o, fmt.Errorf("experiment: a horizon is a number of units from 1, not %g", o.Horizon)
	}
	if o.Least < 2 {
		return o, errors.New("experiment: at least 2 units are needed")
	}
	return o, nil
}

// checkAlpha tells what is wrong with an error rate.
func checkAlpha(alpha float64) error {
	if !(alpha > 0 && alpha < 0.5) {
		return fmt.Errorf("experiment: an error rate is above 0 and below 0.5, not %g", alpha)
	}
	return nil
}
