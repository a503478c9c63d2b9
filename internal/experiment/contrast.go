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
}

// sample is an arm as tests of means see it: n units of some mean and variance.
type sample struct{ n, mean, variance float64 }

// absolute returns the difference of means, b - a, with Welch's freedom (The generalization of Student's problem, Biometrika 34, 1947).
func absolute(a, b sample) contrast {
	va, vb := a.variance/a.n, b.variance/b.n
	return contrast{b.mean - a.mean, math.Sqrt(va + vb), welchFreedom(a, b), a.n + b.n}
}

// relative returns the difference as a share of the control's mean, by the delta method.
func relative(a, b sample) contrast {
	ratio := b.mean / a.mean
	va, vb := a.variance/a.n, b.variance/b.n
	se := math.Sqrt(vb+float64(float64(ratio*ratio)*va)) / math.Abs(a.mean)
	return contrast{(b.mean - a.mean) / math.Abs(a.mean), se, welchFreedom(a, b), a.n + b.n}
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

// student returns the interval and the p-value of a t-test.
func (c contrast) student(alpha float64, s side) (Interval, float64) {
	t := c.value / c.se
	switch s {
	case greater:
		return c.around(float64(c.se*stat.StudentQuantile(alpha, c.freedom)), s), stat.StudentTail(t, c.freedom)
	case lesser:
		return c.around(float64(c.se*stat.StudentQuantile(alpha, c.freedom)), s), stat.StudentTail(-t, c.freedom)
	default:
		return c.around(float64(c.se*stat.StudentQuantile(alpha/2, c.freedom)), s), min(1, 2*stat.StudentTail(math.Abs(t), c.freedom))
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
