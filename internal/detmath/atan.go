package detmath

import "math"

// What math.Pi and its half are rounded by.
const (
	piTail     = 1.2246467991473532e-16
	halfPiTail = 6.123233995736766e-17
)

// Atan2 returns the angle of the point (x, y) in radians, from -π to π, within a unit in the last place. It treats
// zeros and infinities as math.Atan2 does, and is NaN if x or y is.
func Atan2(y, x float64) float64 {
	if x != x || y != y {
		return math.NaN()
	}
	ax, ay := math.Abs(x), math.Abs(y)
	steep := ay > ax
	if steep {
		ax, ay = ay, ax
	}
	q := 0.0 // of the origin, too
	switch {
	case math.IsInf(ay, 1):
		q = 1
	case ax > 0:
		q = ay / ax
	}
	angle, tail := arc(q)
	if steep {
		angle, tail = less(math.Pi/2, halfPiTail, angle, tail)
	}
	if math.Signbit(x) {
		angle, tail = less(math.Pi, piTail, angle, tail)
	}
	return math.Copysign(angle+tail, y)
}

// less returns a+aTail - (b+bTail), where a is at least b and the tails are small.
func less(a, aTail, b, bTail float64) (d, tail float64) {
	d = a - b
	return d, ((a - d) - b) + (aTail - bTail)
}

// arc returns the arctangent of q, which is from 0 to 1, and what it is rounded by: that of the nearest eighth, and
// Taylor's series for the rest.
func arc(q float64) (angle, tail float64) {
	if q < 0.125 {
		return q, arcSeries(q)
	}
	k := math.Floor(float64(8*q) + 0.5)
	c := float64(k * 0.125)
	t := (q - c) / (1 + float64(q*c))
	base, baseTail := arcOfEighths(int(k))
	angle = base + t
	return angle, ((base - angle) + t) + (baseTail + arcSeries(t))
}

// arcSeries returns atan(t) - t, for |t| up to 1/8, up to the 17th power.
func arcSeries(t float64) float64 {
	z := float64(t * t)
	s := -1.0/15 + float64(z*(1.0/17))
	s = 1.0/13 + float64(z*s)
	s = -1.0/11 + float64(z*s)
	s = 1.0/9 + float64(z*s)
	s = -1.0/7 + float64(z*s)
	s = 1.0/5 + float64(z*s)
	s = -1.0/3 + float64(z*s)
	return float64(float64(t*z) * s)
}

// arcOfEighths returns the arctangent of k/8, and what it is rounded by.
func arcOfEighths(k int) (angle, tail float64) {
	switch k {
	case 1:
		return 0.12435499454676144, -3.1253241424539383e-18
	case 2:
		return 0.24497866312686414, 1.0698755618734451e-17
	case 3:
		return 0.35877067027057225, -2.4623815582638635e-17
	case 4:
		return 0.4636476090008061, 2.2698777452961687e-17
	case 5:
		return 0.5585993153435624, -5.4556305485916264e-18
	case 6:
		return 0.6435011087932844, 1.5834785051444286e-17
	case 7:
		return 0.7188299996216245, -2.1478388444456983e-17
	default:
		return math.Pi / 4, 3.061616997868383e-17
	}
}
