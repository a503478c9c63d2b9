package experiment

import (
	"errors"
	"fmt"
	"math"
)

// Arm is what an arm has seen.
type Arm struct {
	Units   int64   `json:"units"`
	Records int64   `json:"records"`
	Mean    float64 `json:"mean"` // loss per record; 0 for none
}

// Comparison is the difference between the mean losses per record of two arms, treatment minus control.
type Comparison struct {
	Test      Test    `json:"test"`
	Alpha     float64 `json:"alpha"`
	Control   Arm     `json:"control"`
	Treatment Arm     `json:"treatment"`
	// Difference is in the unit of the loss, Relative a share of the control's mean loss; unknown where that is 0.
	Difference Interval `json:"difference"`
	Relative   Interval `json:"relative"`
	// P is the p-value of no difference; for a sequence it holds at any time.
	P float64 `json:"p"`
	// Adjusted tells that the baseline's loss was taken into account (CUPED), with the factor Theta; Saved is the share of the variance of
	// the difference that this took away.
	Adjusted bool    `json:"adjusted"`
	Theta    float64 `json:"theta,omitempty"`
	Saved    float64 `json:"saved,omitempty"`
	// Enough tells whether there are units enough for a decision on the side that the difference is on: without, P is 1, and the interval has no
	// bound there.
	Enough bool `json:"enough"`
	// Needed is how many units of both arms it takes for that, about.
	Needed int64 `json:"needed"`
}

// Significant tells whether the difference is one at the error rate.
func (c *Comparison) Significant() bool { return c.Enough && c.P <= c.Alpha }

// Compare compares a treatment with the control.
//
// Means are ratios of sums over units, whose variance is that of the delta method (Deng, Knoblich and Lu, Applying the delta method in
// metric analytics, KDD 2018): records of one unit need not be independent. They are adjusted by the baseline's loss on the same
// records (Deng, Xu, Kohavi and Walker, Improving the sensitivity of online controlled experiments by utilizing pre-experiment data, WSDM
// 2013), with one factor for both arms: no treatment has an effect on what the control's model would have predicted. The tests
// are Welch's and the asymptotic confidence sequence of Waudby-Smith et al. It is an error if the sums or the options are none.
func Compare(control, treatment *Cross, options Options) (*Comparison, error) {
	o, err := options.complete()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(control.Validate(), treatment.Validate()); err != nil {
		return nil, fmt.Errorf("experiment: compare: %w", err)
	}
	c := &Comparison{
		Test: o.Test, Alpha: o.Alpha, Control: control.arm(), Treatment: treatment.arm(), Difference: unknown(), Relative: unknown(), P: 1,
	}
	if control.Units == 0 || treatment.Units == 0 {
		return c, nil
	}
	theta := 0.0
	if !o.Plain {
		theta = pooledTheta(control, treatment)
	}
	a, b := control.adjusted(theta), treatment.adjusted(theta)
	plain := absolute(control.adjusted(0), treatment.adjusted(0))
	d := absolute(a, b)
	if theta != 0 && plain.se > 0 {
		c.Adjusted, c.Theta = true, theta
		share := d.se / plain.se
		c.Saved = 1 - float64(share*share)
	}
	least := min(control.Units, treatment.Units)
	c.Needed = int64(max(d.needed(), d.n*float64(o.Least)/float64(least)))
	c.Enough = least >= o.Least && d.normal()
	c.Difference, c.P = o.judge(d, least >= o.Least)
	if c.Control.Mean != 0 {
		known := math.Sqrt(control.adjusted(0).variance/float64(control.Units)) <= mostVague*math.Abs(c.Control.Mean)
		c.Relative, _ = o.judge(relativeAdjusted(control, treatment, theta), known && least >= o.Least)
	}
	return c, nil
}

// judge returns the interval and the p-value of a contrast, which are those of no data where there are too few, or on a side where they cannot be believed.
// Where nothing varies, a sequence believes it only from the horizon on: it may be that the rare units have not come yet that the arms
// differ in.
func (o *Options) judge(c contrast, enough bool) (Interval, float64) {
	switch {
	case !enough || c.se == 0 && o.Test == Sequential && c.n < o.Horizon:
		return Interval{c.value, math.Inf(-1), math.Inf(1)}, 1
	case c.se == 0 && c.value == 0:
		return Interval{}, 1
	case c.se == 0:
		return Interval{c.value, c.value, c.value}, 0
	case o.Test == Fixed:
		return c.guarded(c.student(o.Level, twoSided), c.studentP(twoSided))
	default:
		return c.guarded(c.sequence(o.Alpha, o.Level, o.Horizon, twoSided))
	}
}

// arm returns what an arm has seen.
func (c *Cross) arm() Arm {
	a := Arm{Units: c.Units, Records: int64(c.D.High)}
	if c.Units > 0 {
		a.Mean = c.perRecord(c.Y)
	}
	return a
}

func (c *Cross) perRecord(t Total) float64 { return t.High / c.D.High }

// linear returns the weights that give a unit's contribution to the mean loss per record, and to that of the baseline: the loss less what the
// unit's records would have at the mean, per record of a mean unit.
func (c *Cross) linear() (y, x weights) {
	size := c.D.High / float64(c.Units)
	return weights{1 / size, 0, -c.perRecord(c.Y) / size}, weights{0, 1 / size, -c.perRecord(c.X) / size}
}

// less returns a - factor*b.
func (a weights) less(factor float64, b weights) weights {
	return weights{a.y - float64(factor*b.y), a.x - float64(factor*b.x), a.d - float64(factor*b.d)}
}

// adjusted returns the mean loss per record less theta times that of the baseline.
func (c *Cross) adjusted(theta float64) sample {
	y, x := c.linear()
	w := y.less(theta, x)
	return sample{float64(c.Units), c.perRecord(c.Y) - float64(theta*c.perRecord(c.X)), c.variance(w), c.third(w)}
}

// pooledTheta returns the regression of the loss on that of the baseline, over the units of both arms; 0 where the baseline does not vary.
func pooledTheta(control, treatment *Cross) float64 {
	both := *control
	both.Merge(treatment)
	y, x := both.linear()
	variance := both.variance(x)
	if variance == 0 {
		return 0
	}
	return both.covariance(y, x) / variance
}

// relativeAdjusted returns the adjusted difference as a share of the control's mean loss, by the delta method: the control is in the
// numerator and in the denominator.
func relativeAdjusted(control, treatment *Cross, theta float64) contrast {
	a, b := control.adjusted(theta), treatment.adjusted(theta)
	c := absolute(a, b) // for the freedom, and the units
	mean := control.perRecord(control.Y)
	size := math.Abs(mean)
	c.value /= size
	y, x := control.linear()
	slope := weights{}.less(-treatment.perRecord(treatment.Y)/mean, y).less(theta, x) // times the mean, and as GrowthBook has it
	a.variance, a.third = control.variance(slope), control.third(slope)
	c.se = math.Sqrt(a.variance/a.n+b.variance/b.n) / size
	return c.skewed(a, b, -1)
}

// mostVague is the standard error of the control's mean, as a share of it, up to which a difference may be divided by it: beyond, the delta method does not
// hold.
const mostVague = 0.1
