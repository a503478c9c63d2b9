package feature

import (
	"math"

	"millrace.dev/internal/detmath"
)

// power returns x**y in pure Go, the same on every machine: y == 2 is x*x; a whole y is repeated squaring of the
// mantissa, with the exponent apart so that nothing overflows on the way; the rest of y, at most a half, is a
// square root or exp(rest * log(x)). It is NaN where the result is not real and infinite where it overflows.
func power(x, y float64) float64 {
	switch {
	case x != x || y != y:
		return math.NaN()
	case y == 0 || x == 1:
		return 1
	case y == 2:
		return float64(x * x)
	}
	whole, rest := math.Modf(math.Abs(y))
	odd := whole < 1<<53 && int64(whole)&1 == 1
	switch {
	case x < 0 && rest != 0:
		return math.NaN()
	case x < 0 && odd:
		return -power(-x, y)
	case x < 0:
		return power(-x, y)
	case x == 0 && y < 0:
		return math.Inf(1)
	case x == 0:
		return 0
	case whole >= 1<<62: // x is not 1, and its nearest neighbours are beyond the range long before
		if (x > 1) == (y > 0) {
			return math.Inf(1)
		}
		return 0
	}
	return positivePower(x, y < 0, int64(whole), rest)
}

// positivePower returns x**(whole+rest), or 1 over it, for x > 0.
func positivePower(x float64, inverse bool, whole int64, rest float64) float64 {
	m, e := 1.0, 0 // the result is m * 2**e
	if rest > 0.5 {
		whole, rest = whole+1, rest-1
	}
	switch rest {
	case 0:
	case 0.5:
		m, e = math.Frexp(math.Sqrt(x))
	default:
		m, e = math.Frexp(detmath.Exp(float64(rest * detmath.Log(x))))
	}
	base, exponent := math.Frexp(x)
	for ; whole > 0; whole >>= 1 {
		if whole&1 == 1 {
			f, k := math.Frexp(float64(m * base))
			m, e = f, e+exponent+k
		}
		if exponent < -1<<20 || exponent > 1<<20 { // out of range, and further with every bit that is left
			e += exponent
			break
		}
		f, k := math.Frexp(float64(base * base))
		base, exponent = f, 2*exponent+k
	}
	if inverse {
		m, e = 1/m, -e
	}
	return math.Ldexp(m, e)
}

// log1p returns log(1+x), exact to a few units in the last place also where x is small: the quotient undoes the
// rounding of 1+x (W. Kahan).
func log1p(x float64) float64 {
	u := 1 + x
	switch {
	case u == 1:
		return x
	case u <= 0 || math.IsInf(u, 1) || u != u:
		return detmath.Log(u)
	}
	return float64(detmath.Log(u)*x) / (u - 1)
}
