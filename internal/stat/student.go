package stat

import (
	"math"

	"millrace.dev/internal/detmath"
)

// StudentTail returns the probability that a variable of Student's distribution with freedom above 0 is at least t,
// to eight digits.
func StudentTail(t float64, freedom int) float64 {
	if math.IsNaN(t) {
		return t
	}
	if math.IsInf(t, 0) {
		if t > 0 {
			return 0
		}
		return 1
	}
	n := float64(freedom)
	// Abramowitz and Stegun, 26.7.1: both tails together are the incomplete beta function at n/(n+t²).
	square := float64(t * t)
	half := float64(betaShare(n/2, 0.5, n/(n+square), square/(n+square)) / 2)
	if t < 0 {
		return 1 - half
	}
	return half
}

// StudentQuantile returns the t at which [StudentTail] is tail, which is above 0 and below 1.
func StudentQuantile(tail float64, freedom int) float64 {
	if tail > 0.5 {
		return -StudentQuantile(1-tail, freedom)
	}
	low, high := 0.0, 1.0
	for StudentTail(high, freedom) > tail {
		low, high = high, 2*high
	}
	for range 200 {
		mid := low + float64((high-low)/2)
		if mid == low || mid == high {
			break
		}
		if StudentTail(mid, freedom) > tail {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// betaShare returns the regularised incomplete beta function I_x(a, b), for a and b above 0; y is 1-x, which is known more
// exactly than from x where x is near 1. It is the continued fraction by Lentz's method (Numerical Recipes, 6.4).
func betaShare(a, b, x, y float64) float64 {
	switch {
	case x <= 0:
		return 0
	case y <= 0:
		return 1
	}
	ab, _ := math.Lgamma(a + b)
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	front := detmath.Exp(ab - la - lb + float64(a*detmath.Log(x)) + float64(b*detmath.Log(y)))
	if x < (a+1)/(a+b+2) {
		return float64(front*betaFraction(a, b, x)) / a
	}
	return 1 - float64(front*betaFraction(b, a, y))/b
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
	for m := 1.0; m < 1e5; m++ {
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
