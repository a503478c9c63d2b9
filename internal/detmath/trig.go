package detmath

import "math"

// Sin returns the sine of x radians, within 0.8 units in the last place for every x, however large. It is NaN for
// infinities and NaN, and -0 for -0.
func Sin(x float64) float64 {
	n, r, tail := reduce(x)
	return quadrant(n, r, tail)
}

// Cos returns the cosine of x radians, as accurately as [Sin]. It is NaN for infinities and NaN.
func Cos(x float64) float64 {
	n, r, tail := reduce(x)
	return quadrant(n+1, r, tail)
}

// SinTurns returns the sine of t full turns, sin(2πt), within 0.8 units in the last place, and exactly 0 or ±1 at
// quarters of a turn. It is NaN for infinities and NaN, and -0 for -0.
func SinTurns(t float64) float64 {
	n, r, tail := reduceTurns(t)
	return quadrant(n, r, tail)
}

// CosTurns returns the cosine of t full turns, cos(2πt), as [SinTurns] does the sine.
func CosTurns(t float64) float64 {
	n, r, tail := reduceTurns(t)
	return quadrant(n+1, r, tail)
}

// quadrant returns the sine of n quarters of a turn and x+tail radians, where |x| is at most about π/4 and tail is less
// than a unit in its last place.
func quadrant(n int, x, tail float64) float64 {
	switch n & 3 {
	case 0:
		return sinSmall(x, tail)
	case 1:
		return cosSmall(x, tail)
	case 2:
		return -sinSmall(x, tail)
	default:
		return -cosSmall(x, tail)
	}
}

// sinSmall is Taylor's series up to the 17th power: what follows is below 2^-62.
func sinSmall(x, tail float64) float64 {
	const (
		f3, f5, f7, f9     = -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880
		f11, f13, f15, f17 = -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000
	)
	if -0x1p-27 < x && x < 0x1p-27 {
		return x + tail
	}
	z := float64(x * x)
	s := f15 + float64(z*f17)
	s = f13 + float64(z*s)
	s = f11 + float64(z*s)
	s = f9 + float64(z*s)
	s = f7 + float64(z*s)
	s = f5 + float64(z*s)
	s = f3 + float64(z*s)
	return x + (float64(float64(x*z)*s) + float64(tail*(1-float64(0.5*z))))
}

// cosSmall is Taylor's series up to the 16th power.
func cosSmall(x, tail float64) float64 {
	const (
		f4, f6, f8, f10 = 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800
		f12, f14, f16   = 1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000
	)
	z := float64(x * x)
	s := f14 + float64(z*f16)
	s = f12 + float64(z*s)
	s = f10 + float64(z*s)
	s = f8 + float64(z*s)
	s = f6 + float64(z*s)
	s = f4 + float64(z*s)
	half := float64(0.5 * z)
	w := 1 - half
	// (1-w)-half is what w was rounded by.
	return w + (((1 - w) - half) + (float64(float64(z*z)*s) - float64(x*tail)))
}

// reduceTurns returns n and r+tail: t turns are n quarters of a turn, a multiple of 4 aside, and r+tail radians.
func reduceTurns(t float64) (n int, r, tail float64) {
	switch {
	case t-t != 0:
		return 0, math.NaN(), 0
	case t == 0:
		return 0, t, t
	}
	t -= math.Trunc(t) // exact, as the next steps are
	t = float64(4 * t)
	quarters := math.RoundToEven(t)
	rest := t - quarters
	r, tail = twoProduct(rest, math.Pi/2)
	return int(quarters), r, tail + float64(rest*halfPiTail)
}

// twoProduct returns a*b, rounded, and what it was rounded by (Dekker, "A floating-point technique for extending the
// available precision", 1971). Neither may be so large or so small that a part of the product leaves the range.
func twoProduct(a, b float64) (p, rest float64) {
	a1, a2 := halves(a)
	b1, b2 := halves(b)
	p = float64(a * b)
	rest = float64(a1*b1) - p
	rest += float64(a1 * b2)
	rest += float64(a2 * b1)
	return p, rest + float64(a2*b2)
}

// halves returns a as a sum of two numbers of 26 bits.
func halves(a float64) (high, low float64) {
	c := float64((1<<27 + 1) * a)
	high = c - (c - a)
	return high, a - high
}
