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
	skew    float64 // the skewness of the estimate, which goes to 0 as it becomes normal
}

// mostSkew is the skewness of an estimate up to which it is taken for normal: Cochran's rule, that a mean needs 25 times the squared skewness of
// what it is of (Sampling Techniques, 1977, section 2.15). Where a few large losses make up all, it asks for about 25 of them.
const mostSkew = 0.2

// normal tells whether the estimate can be taken for normal.
func (c contrast) normal() bool { return math.Abs(c.skew) <= mostSkew }

// needed returns how many units it takes until the estimate is normal, if they go on as they are: those that there are, or more.
func (c contrast) needed() float64 {
	share := c.skew / mostSkew
	return c.n * max(1, float64(share*share))
}

// sample is an arm as tests of means see it: n units of some mean, variance and third central moment.
type sample struct{ n, mean, variance, third float64 }

// absolute returns the difference of means, b - a, with Welch's freedom (The generalization of Student's problem, Biometrika 34, 1947).
func absolute(a, b sample) contrast {
	va, vb := a.variance/a.n, b.variance/b.n
	return contrast{b.mean - a.mean, math.Sqrt(va + vb), welchFreedom(a, b), a.n + b.n, cautious(a, b, -1)}
}

// cautious returns the larger one of the skewness of the difference b - factor*a as the arms have it, and as it would be if both were as skewed as
// they are together: in a small arm the rare large losses may not have come yet that the other one has seen.
func cautious(a, b sample, factor float64) float64 {
	own := skewness(a, b, factor)
	both := (float64(a.n*a.third) + float64(b.n*b.third)) / (a.n + b.n)
	a.third, b.third = both, both
	if together := skewness(a, b, factor); math.Abs(together) > math.Abs(own) {
		return together
	}
	return own
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
	return contrast{(b.mean - a.mean) / math.Abs(a.mean), se, welchFreedom(a, b), a.n + b.n, cautious(a, b, -ratio)}
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
