package stat

import (
	"math"

	"millrace.dev/internal/detmath"
)

// BetaShare returns the regularised incomplete beta function I_x(a, b), the probability that a beta variable is at most x, for a and
// b above 0; y is 1-x, which is known more exactly than from x where x is near 1. It has ten digits or more for a and b up to 1e9.
// It is the continued fraction by Lentz's method (Numerical Recipes, 6.4).
func BetaShare(a, b, x, y float64) float64 {
	switch {
	case math.IsNaN(x) || math.IsNaN(y):
		return math.NaN()
	case x <= 0:
		return 0
	case y <= 0:
		return 1
	}
	front := detmath.Exp(betaFront(a, b, x, y))
	if x < (a+1)/(a+b+2) {
		return min(1, float64(front*betaFraction(a, b, x))/a)
	}
	return max(0, 1-float64(front*betaFraction(b, a, y))/b)
}

// betaFront returns the logarithm of x^a y^b / B(a, b).
func betaFront(a, b, x, y float64) float64 {
	n := a + b
	logs := float64(0.5 * detmath.Log(float64(a/n)*(b/(2*math.Pi))))
	return logs - Deviance(a, float64(n*x)) - Deviance(b, float64(n*y)) + StirlingRest(n) - StirlingRest(a) - StirlingRest(b)
}

func betaFraction(a, b, x float64) float64 {
	const tiny = 1e-300
	lift := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/lift(1-float64((a+b)*x)/(a+1))
	h := d
	for m := 1.0; m < 1e6; m++ {
		even := float64(float64(m*(b-m))*x) / float64((a+2*m-1)*(a+2*m))
		d, c = 1/lift(1+float64(even*d)), lift(1+even/c)
		h = float64(h * float64(d*c))
		odd := -float64(float64((a+m)*(a+b+m))*x) / float64((a+2*m)*(a+2*m+1))
		d, c = 1/lift(1+float64(odd*d)), lift(1+odd/c)
		step := float64(d * c)
		h = float64(h * step)
		if math.Abs(step-1) < 1e-15 {
			break
		}
	}
	return h
}
