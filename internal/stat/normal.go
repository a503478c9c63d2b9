package stat

import "math"

// NormalTail returns the probability that a standard normal variable is at least z.
func NormalTail(z float64) float64 { return float64(math.Erfc(z/math.Sqrt2) / 2) }

// LogNormalTail returns the logarithm of [NormalTail], also where that is too small for a number.
func LogNormalTail(z float64) float64 {
	if z < 30 {
		return math.Log(NormalTail(z))
	}
	// Abramowitz and Stegun, 26.2.12.
	y := 1 / float64(z*z)
	return -float64(z*z/2) - math.Log(z*math.Sqrt(2*math.Pi)) + math.Log1p(-float64(y*(1-float64(3*y*(1-float64(5*y))))))
}

// NormalQuantile returns the z at which [NormalTail] is tail: +Inf for 0, -Inf for 1, and NaN for what is no probability.
func NormalQuantile(tail float64) float64 {
	switch {
	case !(tail >= 0 && tail <= 1):
		return math.NaN()
	case tail == 0:
		return math.Inf(1)
	case tail > 0.5:
		return -NormalQuantile(1 - tail)
	}
	// Newton's method for the logarithm of the tail, which is concave: from 0 all steps but the first go down to the root.
	want, z := math.Log(tail), 0.0
	for range 100 {
		at := LogNormalTail(z)
		density := -float64(z*z/2) - float64(math.Log(2*math.Pi)/2)
		next := z + float64((at-want)*math.Exp(at-density))
		if math.Abs(next-z) <= 1e-16*math.Abs(z) {
			break
		}
		z = next
	}
	return z
}
