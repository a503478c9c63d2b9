package experiment

import (
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/stat"
)

// Design is what an experiment of two arms is planned from.
type Design struct {
	// Deviation is the standard deviation of the loss of a unit (per record of a mean unit, where units have several), in the unit of the
	// loss: from outcomes of the past.
	Deviation float64
	// Effect is the difference of mean losses that must be found, above 0, in the same unit.
	Effect float64
	// Correlation is that of the treatment's loss with the baseline's loss on the same records, from -1 to 1: a shadow run tells it. 0 plans
	// without the adjustment by the baseline.
	Correlation float64
	// Weights are those of the control and of the treatment, in any unit. Default: 1 to 1.
	Weights [2]float64
	// Test is [Sequential] by default.
	Test Test
	// Alpha is the error rate, two-sided. Default: 0.05.
	Alpha float64
	// Power is the probability with which the effect is found, above Alpha and below 1. Default: 0.8.
	Power float64
	// Comparisons is how many metrics and arms are tested together: each at Alpha/Comparisons (Bonferroni). Default: 1.
	Comparisons int
	// PerDay is how many new units there are in a day, in both arms; 0 if that is not known.
	PerDay float64
}

// Plan is how large an experiment has to be.
type Plan struct {
	Control   int64 `json:"control"` // units
	Treatment int64 `json:"treatment"`
	// Days is how long it takes until there are so many; 0 where the rate is not known.
	Days float64 `json:"days,omitempty"`
	// Effect is the difference that is found with the power that was asked for, or more.
	Effect float64 `json:"effect"`
	Power  float64 `json:"power"`
	// Ratio is how many times the units of the fixed test a sequential one needs at most: if the effect is no larger than planned. With a
	// larger one it ends earlier, and with none it goes on.
	Ratio float64 `json:"ratio"`
	// Horizon is what to set [Options.Horizon] to.
	Horizon float64 `json:"horizon"`
	// Best are the weights of the control and of the treatment with which the fewest units are needed, at least a tenth for each: those in
	// proportion to the deviations of the adjusted losses (Neyman, On the two different aspects of the representative method, JRSS 97, 1934).
	Best [2]float64 `json:"best"`
}

// leastShare is the smallest share of an arm that a plan proposes.
const leastShare = 0.1

func (d Design) complete() (Design, error) {
	if d.Weights == [2]float64{} {
		d.Weights = [2]float64{1, 1}
	}
	if d.Power == 0 {
		d.Power = 0.8
	}
	if d.Comparisons == 0 {
		d.Comparisons = 1
	}
	o, err := Options{Test: d.Test, Alpha: d.Alpha}.complete()
	if err != nil {
		return d, err
	}
	d.Test, d.Alpha = o.Test, o.Alpha
	a, b := d.Weights[0], d.Weights[1]
	switch {
	case !(d.Deviation > 0 && d.Deviation <= MostLoss):
		return d, fmt.Errorf("experiment: a plan needs the standard deviation of a unit's loss, above 0, not %g", d.Deviation)
	case !(d.Correlation >= -1 && d.Correlation <= 1):
		return d, fmt.Errorf("experiment: a correlation is from -1 to 1, not %g", d.Correlation)
	case !(a > 0 && b > 0 && a/b > 1e-9 && b/a > 1e-9):
		return d, fmt.Errorf("experiment: weights are above 0 and within 1 to 1e9, not %g and %g", a, b)
	case !(d.Power > d.Alpha && d.Power < 1):
		return d, fmt.Errorf("experiment: a power is above the error rate and below 1, not %g", d.Power)
	case d.Comparisons < 1:
		return d, errors.New("experiment: at least one comparison is planned")
	case !(d.PerDay >= 0) || math.IsInf(d.PerDay, 1):
		return d, fmt.Errorf("experiment: %g units a day", d.PerDay)
	}
	d.Weights = [2]float64{a / (a + b), b / (a + b)}
	d.Alpha /= float64(d.Comparisons)
	return d, nil
}

// Plan returns the units that it takes to find the effect.
//
// For the fixed test the power is that of the t-test, by the noncentral Student distribution. For the sequential one it is the probability to
// be beyond the boundary at the last look, with the horizon there: having been beyond it before only adds to it, so the plan is on
// the safe side.
func (d Design) Plan() (*Plan, error) {
	d, err := d.complete()
	if err != nil {
		return nil, err
	}
	if !(d.Effect > 0 && d.Effect <= MostLoss) {
		return nil, fmt.Errorf("experiment: a plan needs the difference that must be found, above 0, not %g", d.Effect)
	}
	n := d.units(d.Test)
	if n > mostCount {
		return nil, errors.New("experiment: no number of units is enough: plan for a larger difference")
	}
	p := &Plan{Control: atLeast(float64(n * d.Weights[0])), Treatment: atLeast(float64(n * d.Weights[1])), Effect: d.Effect, Ratio: d.units(Sequential) / d.units(Fixed)}
	p.finish(&d)
	return p, nil
}

// Detectable returns the plan whose effect is the smallest one that so many units find, of both arms together.
func (d Design) Detectable(units int64) (*Plan, error) {
	d, err := d.complete()
	if err != nil {
		return nil, err
	}
	p := &Plan{Control: int64(float64(units) * d.Weights[0])}
	p.Treatment = units - p.Control
	if p.Control < 2 || p.Treatment < 2 || units > mostCount {
		return nil, fmt.Errorf("experiment: %d units give an arm fewer than 2, or are too many", units)
	}
	enough := func(effect float64) float64 {
		with := d
		with.Effect = effect
		return with.power(float64(units), d.Test) - d.Power
	}
	p.Effect = rootOf(0, firstAbove(d.Deviation/math.Sqrt(float64(units)), enough), enough)
	d.Effect = p.Effect
	p.Ratio = d.units(Sequential) / d.units(Fixed)
	p.finish(&d)
	return p, nil
}

func (p *Plan) finish(d *Design) {
	n := float64(p.Control + p.Treatment)
	p.Power, p.Horizon = d.power(n, d.Test), n
	if d.PerDay > 0 {
		p.Days = n / d.PerDay
	}
	a, b := d.variances()
	best := Floor([]float64{math.Sqrt(a), math.Sqrt(b)}, leastShare)
	p.Best = [2]float64{best[0], best[1]}
}

// atLeast rounds up, but for rounding errors; an arm has two units.
func atLeast(n float64) int64 { return int64(max(2, math.Ceil(n-float64(1e-9*n)))) }

// variances returns those of a unit's adjusted loss in the control and in the treatment. In the control the baseline is the arm itself,
// so what the adjustment leaves there is its factor's distance from 1.
func (d *Design) variances() (control, treatment float64) {
	square := float64(d.Deviation * d.Deviation)
	if d.Correlation == 0 {
		return square, square
	}
	theta := d.Weights[0] + float64(d.Weights[1]*d.Correlation)
	left := 1 - theta
	return float64(square * float64(left*left)), max(0, float64(square*(1-float64(2*theta*d.Correlation)+float64(theta*theta))))
}

// power returns the probability to find the effect with n units of both arms.
func (d *Design) power(n float64, test Test) float64 {
	va, vb := d.variances()
	na, nb := n*d.Weights[0], n*d.Weights[1]
	se := math.Sqrt(va/na + vb/nb)
	shift := d.Effect / se
	if test == Fixed {
		if freedom := n - 2; freedom >= 1 { // below, the distribution has next to no tail that ends
			limit := stat.StudentQuantile(d.Alpha/2, freedom)
			return stat.StudentShiftedTail(limit, freedom, shift) + stat.StudentShiftedTail(limit, freedom, -shift)
		}
		return 0
	}
	limit := tuned(n, d.Alpha, false).bound(n, d.Alpha) / math.Sqrt(n)
	return normalPower(limit, shift)
}

// normalPower returns the probability that a normal variable around shift is beyond limit on either side.
func normalPower(limit, shift float64) float64 {
	return stat.NormalTail(limit-shift) + stat.NormalTail(limit+shift)
}

// units returns the number of units, of both arms, at which the power is reached.
func (d *Design) units(test Test) float64 {
	enough := func(n float64) float64 { return d.power(n, test) - d.Power }
	start := 2 / min(d.Weights[0], d.Weights[1])
	return rootOf(start/2, firstAbove(start, enough), enough)
}

// Floor returns shares in proportion to p, of which none is below floor, or below what is there for each: floor + (1 - n floor) p/sum(p).
// So no arm is left without units, whatever p says. Where p has no sum they are equal.
func Floor(p []float64, floor float64) []float64 {
	n, sum := float64(len(p)), 0.0
	for _, x := range p {
		sum += max(0, x)
	}
	floor = min(max(0, floor), 1/n)
	out := make([]float64, len(p))
	for i, x := range p {
		share := 1 / n
		if sum > 0 && !math.IsInf(sum, 1) {
			share = max(0, x) / sum
		}
		out[i] = floor + float64((1-float64(n*floor))*share)
	}
	return out
}
