package experiment

import (
	"math"

	"millrace.dev/internal/stat"
)

// side says which differences count.
type side int

const (
	twoSided side = iota
	greater       // the treatment is above the control
	lesser
)

// contrast is an estimate of a difference.
type contrast struct {
	value   float64
	se      float64 // its standard error
	freedom float64 // of Student's distribution
	n       float64 // units of both arms
	// skew is the skewness of the estimate, which goes to 0 as it becomes normal, and together what it would be if both arms were as skewed as they are
	// together: in a small arm the rare large losses may not have come yet that the other one has seen.
	skew, together float64
}

// mostSkew is the skewness of an estimate up to which it is taken for normal: Cochran's rule, that a mean needs 25 times the squared skewness of
// what it is of (Sampling Techniques, 1977, section 2.15). Where a few large losses make up all, it asks for about 25 of them.
//
// It counts to the side that would be believed too soon: t is too often large if the skewness is negative, since the large negative values that
// are still to come are lacking in the mean and in the deviation, and too seldom if it is positive (Hall, On the removal of skewness by transformation,
// JRSS B 54, 1992, has the expansion).
const mostSkew = 0.2

// honest tells whether the estimate may be believed to be above what it is compared with (greater), or below (lesser).
func (c contrast) honest(s side) bool {
	if s == greater {
		return min(c.skew, c.together) >= -mostSkew
	}
	return max(c.skew, c.together) <= mostSkew
}

// normal tells whether the estimate can be taken for normal on the side of 0 that it is on.
func (c contrast) normal() bool {
	return (c.value < 0 || c.honest(greater)) && (c.value > 0 || c.honest(lesser))
}

// guarded returns an interval and a p-value without what cannot be believed yet.
func (c contrast) guarded(i Interval, p float64) (Interval, float64) {
	if !c.honest(greater) {
		i.Low = math.Inf(-1)
	}
	if !c.honest(lesser) {
		i.High = math.Inf(1)
	}
	if !c.normal() {
		p = 1
	}
	return i, p
}

// needed returns how many units it takes until the estimate can be taken for normal on the side that it is on, if they go on as they are: those that
// there are, or more.
func (c contrast) needed() float64 {
	if c.normal() {
		return c.n
	}
	return c.settled()
}

// settled is needed for both sides.
func (c contrast) settled() float64 {
	share := max(math.Abs(c.skew), math.Abs(c.together)) / mostSkew
	return float64(c.n * max(1, float64(share*share)))
}

// sample is an arm as tests of means see it: n units of some mean, variance and third central moment.
type sample struct{ n, mean, variance, third float64 }

// absolute returns the difference of means, b - a, with Welch's freedom (The generalization of Student's problem, Biometrika 34, 1947).
func absolute(a, b sample) contrast {
	va, vb := a.variance/a.n, b.variance/b.n
	c := contrast{value: b.mean - a.mean, se: math.Sqrt(va + vb), freedom: welchFreedom(a, b), n: a.n + b.n}
	return c.skewed(a, b, -1)
}

// skewed returns the contrast b - factor*a of arms with its skewness.
func (c contrast) skewed(a, b sample, factor float64) contrast {
	c.skew = skewness(a, b, factor)
	both := (float64(a.n*a.third) + float64(b.n*b.third)) / (a.n + b.n)
	a.third, b.third = both, both
	c.together = skewness(a, b, factor)
	return c
}

// skewness returns that of the mean of b and factor times the mean of a.
func skewness(a, b sample, factor float64) float64 {
	variance := float64(float64(factor*factor)*a.variance)/a.n + b.variance/b.n
	if !(variance > 0) {
		return 0
	}
	// Shares of the deviation, whose cubes stay within the range.
	deviation := math.Sqrt(variance)
	share := func(s sample) float64 { return s.third / s.n / s.n / deviation / deviation / deviation }
	return share(b) + float64(float64(factor*float64(factor*factor))*share(a))
}

// relative returns the difference as a share of the control's mean, by the delta method.
func relative(a, b sample) contrast {
	ratio := b.mean / a.mean
	va, vb := a.variance/a.n, b.variance/b.n
	se := math.Sqrt(vb+float64(float64(ratio*ratio)*va)) / math.Abs(a.mean)
	c := contrast{value: (b.mean - a.mean) / math.Abs(a.mean), se: se, freedom: welchFreedom(a, b), n: a.n + b.n}
	return c.skewed(a, b, -ratio)
}

// welchFreedom returns the degrees of freedom of the difference of means, by Welch and Satterthwaite.
func welchFreedom(a, b sample) float64 {
	va, vb := a.variance/a.n, b.variance/b.n
	sum := va + vb
	if !(sum > 0) {
		return a.n + b.n - 2
	}
	sa, sb := va/sum, vb/sum // shares, whose squares stay within the range
	return 1 / (float64(sa*sa)/(a.n-1) + float64(sb*sb)/(b.n-1))
}

// student returns the interval of a t-test.
func (c contrast) student(alpha float64, s side) Interval {
	if s == twoSided {
		alpha /= 2
	}
	return c.around(float64(c.se*stat.StudentQuantile(alpha, c.freedom)), s)
}

// studentP returns the p-value of a t-test.
func (c contrast) studentP(s side) float64 {
	switch t := c.value / c.se; s {
	case greater:
		return stat.StudentTail(t, c.freedom)
	case lesser:
		return stat.StudentTail(-t, c.freedom)
	default:
		return min(1, 2*stat.StudentTail(math.Abs(t), c.freedom))
	}
}

// sequence returns the interval and the p-value of an asymptotic confidence sequence, which hold at all times at once: normal mixtures
// over the sum of the units' contributions, with the variance as it was estimated (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
// Time-uniform central limit theory and asymptotic confidence sequences, arXiv:2103.06476). The mixture is tuned for alpha at the horizon, and
// the interval is one for level.
func (c contrast) sequence(alpha, level, horizon float64, s side) (Interval, float64) {
	m := tuned(horizon, alpha, s != twoSided)
	unit := float64(c.se * math.Sqrt(c.n)) // the deviation of one unit's contribution
	half := float64(unit*m.bound(c.n, level)) / c.n
	z := c.value / c.se
	if s == lesser {
		z = -z
	}
	// In units of the deviation the sum is n value/unit, and its variance n.
	p := math.Exp(-m.log(float64(z*math.Sqrt(c.n)), c.n))
	return c.around(half, s), min(1, p)
}

func (c contrast) around(half float64, s side) Interval {
	i := Interval{c.value, c.value - half, c.value + half}
	switch s {
	case greater:
		i.High = math.Inf(1)
	case lesser:
		i.Low = math.Inf(-1)
	default:
	}
	return i
}
