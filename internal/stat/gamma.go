package stat

import (
	"math"

	"millrace.dev/internal/detmath"
)

// ChiSquareTail returns the probability that a chi-square variable with freedom above 0 is at least x.
func ChiSquareTail(x, freedom float64) float64 {
	_, upper := GammaShares(freedom/2, x/2)
	return upper
}

// GammaShares returns the regularised incomplete gamma functions P(a, x) and Q(a, x), the probabilities that a gamma variable of shape
// a > 0 is at most x and at least x. The smaller one keeps its digits: it is the series of the lower function where x is small, and else
// the continued fraction of the upper one by Lentz's method (Numerical Recipes, 6.2).
func GammaShares(a, x float64) (lower, upper float64) {
	switch {
	case math.IsNaN(x) || math.IsNaN(a):
		return math.NaN(), math.NaN()
	case x <= 0:
		return 0, 1
	case math.IsInf(x, 1):
		return 1, 0
	}
	// x^a e^-x / Γ(a)
	front := detmath.Exp(float64(0.5*detmath.Log(a/(2*math.Pi))) - Deviance(a, x) - StirlingRest(a))
	if x < a+1 {
		term := 1 / a
		total := term
		for i := a + 1; term > total*1e-17; i++ {
			term = float64(term * (x / i))
			total += term
		}
		lower = min(float64(front*total), 1)
		return lower, 1 - lower
	}
	upper = min(float64(front*gammaFraction(a, x)), 1)
	return 1 - upper, upper
}

func gammaFraction(a, x float64) float64 {
	const tiny = 1e-300
	b := x + 1 - a
	c, d := 1/tiny, 1/b
	h := d
	for i := 1.0; i < 1e6; i++ {
		an := -i * (i - a)
		b += 2
		d = float64(an*d) + b
		if math.Abs(d) < tiny {
			d = tiny
		}
		c = b + an/c
		if math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		step := float64(d * c)
		h = float64(h * step)
		if math.Abs(step-1) < 1e-15 {
			break
		}
	}
	return max(0, h)
}
