package stat

import "math"

// StudentTail returns the probability that a variable of Student's distribution with freedom above 0 is at least t,
// to ten digits. Freedom need not be whole.
func StudentTail(t, freedom float64) float64 {
	switch {
	case math.IsNaN(t) || !(freedom > 0):
		return math.NaN()
	case math.IsInf(t, 1):
		return 0
	case math.IsInf(t, -1):
		return 1
	case freedom > 1e9: // where it is the normal one (Wallace, Bounds on normal approximations to Student's, 1959)
		return NormalTail(math.Copysign(math.Sqrt(float64(freedom*math.Log1p(float64(float64(t/freedom)*t)))), t))
	}
	// Abramowitz and Stegun, 26.7.1: both tails together are the incomplete beta function at n/(n+t²).
	var near, far float64
	if square := float64(t * t); square <= freedom {
		far = square / (freedom + square)
		near = freedom / (freedom + square)
	} else { // also where the square is beyond the range
		ratio := float64(freedom/t) / t
		near, far = ratio/(1+ratio), 1/(1+ratio)
	}
	half := float64(BetaShare(freedom/2, 0.5, near, far) / 2)
	if t < 0 {
		return 1 - half
	}
	return half
}

// StudentQuantile returns the t at which [StudentTail] is tail, which is above 0 and below 1; NaN for another.
func StudentQuantile(tail, freedom float64) float64 {
	switch {
	case !(tail > 0 && tail < 1) || !(freedom > 0):
		return math.NaN()
	case tail > 0.5:
		return -StudentQuantile(1-tail, freedom)
	}
	low, high := 0.0, 1.0
	for StudentTail(high, freedom) > tail && !math.IsInf(high, 1) {
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

// StudentShiftedTail returns the probability that a variable of the noncentral Student distribution is at least t: of (Z+shift)/S, where Z
// is standard normal and S² a chi-square variable with freedom from 1 on, divided by freedom. It is the power of a t-test.
//
// It is the integral of the normal tail over the density of ln S, which is smooth and falls off at both ends faster than
// exponentially: there the trapezoid rule with a step of a fraction of its width is exact to 1e-14 (Trefethen and Weideman, The
// exponentially convergent trapezoidal rule, 2014).
func StudentShiftedTail(t, freedom, shift float64) float64 {
	if math.IsNaN(t) || math.IsNaN(shift) || !(freedom >= 1) {
		return math.NaN()
	}
	width := 1 / math.Sqrt(2*freedom) // of ln S, about; its density is in proportion to exp(n u - n exp(2u)/2)
	step := width / 4
	var sum, whole float64
	for _, sign := range [...]float64{1, -1} {
		u := 0.0
		if sign < 0 {
			u = -step
		}
		for {
			log := -float64(freedom * float64((math.Expm1(2*u)-2*u)/2))
			if log < -45 {
				break
			}
			weight := math.Exp(log)
			whole += weight
			sum += float64(weight * NormalTail(float64(t*math.Exp(u))-shift))
			u += float64(sign * step)
		}
	}
	return sum / whole
}
