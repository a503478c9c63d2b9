package experiment

import (
	"fmt"
	"math"
)

// Spread is what the losses of an arm's units are like: what a [Design] is made from.
type Spread struct {
	Units   int64 `json:"units"`
	Records int64 `json:"records"`
	// Mean is the loss per record; 0 for none.
	Mean float64 `json:"mean"`
	// Deviation is the standard deviation of a unit's loss, per record of a mean unit.
	Deviation float64 `json:"deviation"`
	// Correlation is that of the loss with the baseline's on the same records; 0 where one of them does not vary.
	Correlation float64 `json:"correlation"`
	// Size is how many records the unit of a mean record has: the sum of the squares of units' records over the sum of them. Records of
	// one unit may all have the same fate, so counts of records vary by that factor more than those of units; 1 for no unit.
	Size float64 `json:"size"`
}

// Spread returns what the units are like.
func (c *Cross) Spread() Spread {
	s := Spread{Units: c.Units, Records: int64(c.D.High), Size: 1}
	if c.Units == 0 {
		return s
	}
	s.Mean, s.Size = c.perRecord(c.Y), max(1, c.DD.High/c.D.High)
	y, x := c.linear()
	vy, vx := c.variance(y), c.variance(x)
	s.Deviation = math.Sqrt(vy)
	if vy > 0 && vx > 0 {
		s.Correlation = min(1, max(-1, c.covariance(y, x)/math.Sqrt(vy)/math.Sqrt(vx)))
	}
	return s
}

// Beside returns by which share the arm's sum of losses is above the baseline's on the same records, with its interval: by the delta method,
// as one ratio of sums over units. It is unknown without units, and where the baseline's sum is 0.
func (c *Cross) Beside(options Options) (Interval, error) {
	o, err := options.complete()
	if err != nil {
		return unknown(), err
	}
	if err := c.Validate(); err != nil {
		return unknown(), fmt.Errorf("experiment: beside the baseline: %w", err)
	}
	if c.Units == 0 || c.X.High == 0 {
		return unknown(), nil
	}
	n, ratio, size := float64(c.Units), c.Y.High/c.X.High, c.X.High/float64(c.Units)
	w := weights{y: 1 / size, x: -ratio / size}
	d := contrast{value: ratio - 1, se: math.Sqrt(c.variance(w) / n), freedom: n - 1, n: n}
	if d.se > 0 {
		d.skew = c.third(w) / n / n / d.se / d.se / d.se
	}
	i, _ := o.judge(d, c.Units >= o.Least)
	return i, nil
}

// Alike compares the baseline's losses of two arms. It is one model on records that were assigned by chance, so that there is no
// difference but by chance: where there is one, the records of the arms are not alike, and no comparison of the arms can be believed.
func Alike(control, treatment *Cross, options Options) (*Comparison, error) {
	o, err := options.complete()
	if err != nil {
		return nil, err
	}
	for _, c := range []*Cross{control, treatment} {
		if err := c.Validate(); err != nil {
			return nil, fmt.Errorf("experiment: compare baselines: %w", err)
		}
	}
	c := &Comparison{
		Test: o.Test, Alpha: o.Alpha, Control: control.baselineArm(), Treatment: treatment.baselineArm(), Difference: unknown(), Relative: unknown(), P: 1,
	}
	if control.Units == 0 || treatment.Units == 0 {
		return c, nil
	}
	a, b := control.baselineSample(), treatment.baselineSample()
	d, least := absolute(a, b), min(control.Units, treatment.Units)
	c.Enough, c.Needed = least >= o.Least && d.normal(), int64(max(d.needed(), d.n*float64(o.Least)/float64(least)))
	c.Difference, c.P = o.judge(d, least >= o.Least)
	if a.mean != 0 {
		c.Relative, _ = o.judge(relative(a, b), least >= o.Least)
	}
	return c, nil
}

// baselineArm is what the baseline has seen of an arm's records.
func (c *Cross) baselineArm() Arm {
	a := Arm{Units: c.Units, Records: int64(c.D.High)}
	if c.Units > 0 {
		a.Mean = c.perRecord(c.X)
	}
	return a
}

func (c *Cross) baselineSample() sample {
	_, x := c.linear()
	return sample{n: float64(c.Units), mean: c.perRecord(c.X), variance: c.variance(x), third: c.third(x)}
}
