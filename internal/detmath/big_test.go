package detmath

import "math/big"

// The functions of this file are as precise as bigPrec, for the tests to compare with.
const bigPrec = 1400

func newBig(x float64) *big.Float { return new(big.Float).SetPrec(bigPrec).SetFloat64(x) }

func bigInt(n int) *big.Float { return new(big.Float).SetPrec(bigPrec).SetInt64(int64(n)) }

// series sums the terms of the recurrence term(k) = term(k-1) * x / divisor(k), from term(0) = first on, until they vanish.
func series(first, x *big.Float, divisor func(k int) *big.Float) *big.Float {
	sum, term := new(big.Float).Copy(first), new(big.Float).Copy(first)
	for k := 1; term.Sign() != 0 && term.MantExp(nil) > sum.MantExp(nil)-bigPrec; k++ {
		term.Quo(term.Mul(term, x), divisor(k))
		sum.Add(sum, term)
	}
	return sum
}

// bigPi is Machin's 16 atan(1/5) - 4 atan(1/239).
func bigPi() *big.Float {
	arc := func(n int) *big.Float {
		sum, power := bigInt(0), new(big.Float).Quo(bigInt(1), bigInt(n))
		for k := 1; power.MantExp(nil) > -bigPrec; k += 2 {
			term := new(big.Float).Quo(power, bigInt(k))
			if k%4 == 3 {
				term.Neg(term)
			}
			sum.Add(sum, term)
			power.Quo(power, bigInt(n*n))
		}
		return sum
	}
	a := arc(5)
	return a.Sub(a.Mul(a, bigInt(16)), new(big.Float).Mul(arc(239), bigInt(4)))
}

// bigSin returns the sine of x quarters of a turn, where pi is π.
func bigSin(quarters, pi *big.Float) *big.Float {
	nearest, _ := new(big.Float).Add(quarters, newBig(0.5)).Int(nil)
	if nearest.Sign() < 0 || quarters.Sign() < 0 { // Int truncates
		nearest, _ = new(big.Float).Sub(quarters, newBig(0.5)).Int(nil)
	}
	r := new(big.Float).Sub(quarters, new(big.Float).SetPrec(bigPrec).SetInt(nearest))
	r.Quo(r.Mul(r, pi), bigInt(2))
	square := new(big.Float).Mul(r, r)
	square.Neg(square)
	n := new(big.Int).And(nearest, big.NewInt(3)).Int64()
	var v *big.Float
	if n%2 == 0 {
		v = series(r, square, func(k int) *big.Float { return bigInt(2 * k * (2*k + 1)) })
	} else {
		v = series(bigInt(1), square, func(k int) *big.Float { return bigInt(2 * k * (2*k - 1)) })
	}
	if n >= 2 {
		v.Neg(v)
	}
	return v
}

// bigAtan returns the arctangent of x, halved eight times, by Euler's series.
func bigAtan(x *big.Float) *big.Float {
	const times = 8
	x = new(big.Float).Copy(x)
	for range times {
		root := new(big.Float).Mul(x, x)
		root.Sqrt(root.Add(root, bigInt(1)))
		x.Quo(x, root.Add(root, bigInt(1)))
	}
	square := new(big.Float).Mul(x, x)
	one := new(big.Float).Add(square, bigInt(1))
	ratio := new(big.Float).Quo(square, one)
	sum, term := bigInt(0), new(big.Float).Quo(x, one)
	for k := 1; term.Sign() != 0 && term.MantExp(nil) > sum.MantExp(nil)-bigPrec; k++ {
		sum.Add(sum, term)
		term.Mul(term, ratio)
		term.Quo(term.Mul(term, bigInt(2*k)), bigInt(2*k+1))
	}
	return sum.SetMantExp(sum, times)
}

// bigI0Scaled returns exp(-x) I0(x).
func bigI0Scaled(x float64) *big.Float {
	y := newBig(x)
	y.Quo(y.Mul(y, y), bigInt(4))
	sum := series(bigInt(1), y, func(k int) *big.Float { return bigInt(k * k) })
	e := series(bigInt(1), newBig(x), bigInt)
	return sum.Quo(sum, e)
}
