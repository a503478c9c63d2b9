package stat

import (
	"math"
	"math/big"
	"math/bits"
)

// Moments counts numbers, and sums them and their squares exactly: the mean and the variance are rounded once, and
// neither large offsets (1e9+1, 1e9+2, 1e9+3) nor squares beyond the range of float64 spoil them. It takes 1.1 KiB.
// The zero value is empty; a copy has its own state.
type Moments struct {
	n        int64
	sum      Sum
	squares  squares
	min, max float64
}

// Add takes x in. It ignores infinities and NaN.
func (m *Moments) Add(x float64) {
	mantissa, e := decompose(x)
	if e == notFinite {
		return
	}
	if m.n == 0 || x <= m.min || x >= m.max { // rarely, and the built-in min and max take their time
		m.include(1, x, x)
	} else {
		m.n++
	}
	m.sum.Add(x)
	m.squares.add(mantissa, e)
}

// AddSlice takes every element of x in, as Add does. Whole numbers up to 2^31, which most columns are of, take a third of the time
// of others.
func (m *Moments) AddSlice(x []float64) {
	const most = 1 << 20 // whose sum fits an int64, and a float64
	for len(x) > 0 {
		n := min(len(x), most)
		m.addSlice(x[:n])
		x = x[n:]
	}
}

func (m *Moments) addSlice(x []float64) {
	const limit = 1 << 31
	var sum, n int64
	var high, low, carry uint64 // of the squares
	least, largest := math.Inf(1), math.Inf(-1)
	for _, v := range x {
		k := int64(v)
		if float64(k) != v || uint64(k+limit) > 2*limit || math.Float64bits(v) == signBit {
			m.Add(v)
			continue
		}
		n++
		sum += k
		low, carry = bits.Add64(low, uint64(k*k), 0)
		high += carry
		if v < least {
			least = v
		}
		if v > largest {
			largest = v
		}
	}
	if n == 0 {
		return
	}
	m.include(n, least, largest)
	m.sum.Add(float64(sum))
	m.squares.addWhole(high, low)
}

// Merge takes in what o has.
func (m *Moments) Merge(o *Moments) {
	if o.n == 0 {
		return
	}
	m.include(o.n, o.min, o.max)
	m.sum.Merge(&o.sum)
	m.squares.merge(&o.squares)
}

// include counts n more numbers, which lie between low and high.
func (m *Moments) include(n int64, low, high float64) {
	if m.n == 0 {
		m.min, m.max = low, high
	}
	m.n, m.min, m.max = m.n+n, min(m.min, low), max(m.max, high)
}

// N returns how many numbers there are.
func (m *Moments) N() int64 { return m.n }

// Sum returns their sum, rounded once; 0 for none.
func (m *Moments) Sum() float64 { return m.sum.Float64() }

// Min returns the smallest number, -0 being below 0; NaN for none.
func (m *Moments) Min() float64 { return m.known(m.min) }

// Max returns the largest number; NaN for none.
func (m *Moments) Max() float64 { return m.known(m.max) }

func (m *Moments) known(x float64) float64 {
	if m.n == 0 {
		return math.NaN()
	}
	return x
}

// Mean returns the mean, rounded once; NaN for no number.
func (m *Moments) Mean() float64 {
	if m.n == 0 {
		return math.NaN()
	}
	v, _ := quotient(m.sum.units(), big.NewInt(m.n), sumUnit).Float64()
	return v
}

// Variance returns the mean square distance from the mean (the population's variance), rounded once; NaN for no
// number, +Inf if it is beyond the range.
func (m *Moments) Variance() float64 { return m.variance(m.n) }

// SampleVariance returns the sum of the square distances from the mean divided by n-1, which estimates the variance of
// what the numbers were drawn from; rounded once. It is NaN for fewer than two numbers.
func (m *Moments) SampleVariance() float64 { return m.variance(m.n - 1) }

// Deviation returns the square root of [Moments.Variance]. It lies within the range even where the variance does not.
func (m *Moments) Deviation() float64 { return m.deviation(m.n) }

// SampleDeviation returns the square root of [Moments.SampleVariance].
func (m *Moments) SampleDeviation() float64 { return m.deviation(m.n - 1) }

func (m *Moments) variance(divisor int64) float64 {
	if divisor <= 0 {
		return math.NaN()
	}
	v, _ := m.spread(divisor).Float64()
	return v
}

func (m *Moments) deviation(divisor int64) float64 {
	return deviation(m.n, divisor, m.sum.units(), m.squares.units())
}

func (m *Moments) spread(divisor int64) *big.Float {
	return spread(m.n, divisor, m.sum.units(), m.squares.units())
}

// deviation returns the square root of the spread; NaN for no divisor.
func deviation(n, divisor int64, sum, squares *big.Int) float64 {
	if divisor <= 0 {
		return math.NaN()
	}
	v, _ := new(big.Float).SetPrec(128).Sqrt(spread(n, divisor, sum, squares)).Float64()
	return v
}

// spread returns (n*sum(x^2) - sum(x)^2) / (n*divisor), of sums in their units, which it changes.
func spread(count, divisor int64, sum, squares *big.Int) *big.Float {
	n := big.NewInt(count)
	squares.Mul(squares, n)
	squares.Lsh(squares, squareUnit-2*sumUnit) // to the unit of sum^2
	squares.Sub(squares, sum.Mul(sum, sum))
	return quotient(squares, n.Mul(n, big.NewInt(divisor)), 2*sumUnit)
}

// quotient returns a/b * 2^exp, for b > 0, as a number that rounds to the same float64 as the exact one.
func quotient(a, b *big.Int, exp int) *big.Float {
	shift := max(0, 66+b.BitLen()-a.BitLen()) // more bits than a float64 has
	q, rest := new(big.Int).Lsh(a, uint(shift)), new(big.Int)
	q.QuoRem(q, b, rest)
	q.Lsh(q, 1)
	if sign := rest.Sign(); sign != 0 { // a last bit that says that there is more
		q.Add(q, big.NewInt(int64(sign)))
	}
	f := new(big.Float).SetInt(q)
	return f.SetMantExp(f, exp-shift-1)
}

// squares is the exact sum of squares of float64: a fixed-point number of 4,288 bits, which holds 2^63 squares of any
// size. The product of two mantissas is a whole number of 106 bits: no rounding, and no need of a fused instruction.
type squares struct{ limbs [squareLimbs]uint64 }

const (
	squareLimbs = 67
	squareUnit  = -2148 // log2 of the unit of the first limb: the square of the smallest number
)

// add adds the square of m * 2^(e-1075).
func (q *squares) add(m uint64, e uint) {
	high, low := bits.Mul64(m, m)
	at := 2 * (e - 1)
	i, shift := at>>6, at&63
	var c uint64
	q.limbs[i], c = bits.Add64(q.limbs[i], low<<shift, 0)
	q.limbs[i+1], c = bits.Add64(q.limbs[i+1], high<<shift|low>>(64-shift), c)
	q.limbs[i+2], c = bits.Add64(q.limbs[i+2], high>>(64-shift), c)
	for i += 3; c != 0; i++ {
		q.limbs[i], c = bits.Add64(q.limbs[i], 0, c)
	}
}

// addWhole adds a whole number of 128 bits.
func (q *squares) addWhole(high, low uint64) {
	const i, shift = -squareUnit >> 6, -squareUnit & 63
	var c uint64
	q.limbs[i], c = bits.Add64(q.limbs[i], low<<shift, 0)
	q.limbs[i+1], c = bits.Add64(q.limbs[i+1], high<<shift|low>>(64-shift), c)
	q.limbs[i+2], c = bits.Add64(q.limbs[i+2], high>>(64-shift), c)
	for k := i + 3; c != 0; k++ {
		q.limbs[k], c = bits.Add64(q.limbs[k], 0, c)
	}
}

func (q *squares) merge(o *squares) {
	var c uint64
	for i := range q.limbs {
		q.limbs[i], c = bits.Add64(q.limbs[i], o.limbs[i], c)
	}
}

// units returns the sum in units of 2^squareUnit.
func (q *squares) units() *big.Int {
	total, limb := new(big.Int), new(big.Int)
	for i := squareLimbs - 1; i >= 0; i-- {
		total.Lsh(total, 64).Or(total, limb.SetUint64(q.limbs[i]))
	}
	return total
}
