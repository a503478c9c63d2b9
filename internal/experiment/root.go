package experiment

import "math"

// rootOf returns where f, which grows from below 0 at low to 0 or above at high, is 0: by Chandrupatla's method, which halves where inverse
// quadratic interpolation would not pay (A new hybrid quadratic/bisection algorithm for finding the zero of a nonlinear function,
// Advances in Engineering Software 28, 1997). It takes f for what was said without asking at the ends: where it is not so, the
// answer is that end, about.
func rootOf(low, high float64, f func(float64) float64) float64 {
	a, b := high, low
	fa, fb := 1.0, -1.0 // only their signs count before the first steps, which halve
	var c, fc float64   // the point before, from the first step on
	share := 0.5
	for step := range 300 {
		x := a + float64(share*(b-a))
		fx := f(x)
		if (fx < 0) == (fa < 0) {
			c, fc = a, fa
		} else {
			c, b, fc, fb = b, a, fb, fa
		}
		a, fa = x, fx
		best := a
		if math.Abs(fb) < math.Abs(fa) && step > 1 {
			best = b
		}
		limit := float64(1e-15*math.Abs(best)) + math.SmallestNonzeroFloat64
		if fx == 0 || math.Abs(b-a) <= 2*limit {
			return best
		}
		share = 0.5
		if step > 1 {
			share = interpolate(a, b, c, fa, fb, fc)
		}
		share = min(max(share, limit/math.Abs(b-a)), 1-limit/math.Abs(b-a))
	}
	return a
}

// interpolate returns how far the root is from a on the way to b; a half where the three points are on no steady curve.
func interpolate(a, b, c, fa, fb, fc float64) float64 {
	xi, phi := (a-b)/(c-b), (fa-fb)/(fc-fb)
	if !(float64(phi*phi) < xi && float64((1-phi)*(1-phi)) < 1-xi) { // also for infinities
		return 0.5
	}
	return float64(fa/(fb-fa)*(fc/(fb-fc))) + float64((c-a)/(b-a)*(fa/(fc-fa))*(fb/(fc-fb)))
}

// firstAbove returns a number from start on, doubled as often as it takes, at which f is above 0; +Inf if there is none.
func firstAbove(start float64, f func(float64) float64) float64 {
	if !(start > 0) {
		start = 1
	}
	for x := start; ; x *= 2 {
		if math.IsInf(x, 1) || f(x) > 0 {
			return x
		}
	}
}
