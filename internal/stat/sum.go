package stat

import (
	"math"
	"math/big"
)

// Sum is an exact sum of float64. It can hold 2^63 values of any size, in 544 bytes. The zero value is an empty sum; a
// copy is a sum of its own.
//
// It is the small superaccumulator of Radford M. Neal, "Fast exact summation using small and large superaccumulators"
// (arXiv:1505.05571): a fixed-point number that covers the whole range of float64, in chunks of 32 bits that overlap,
// so that carries are propagated once for 2,047 values.
type Sum struct {
	chunks [sumChunks]int64 // chunk i counts units of 2^(32i-1075)
	adds   int              // since carries were last propagated
}

const (
	sumChunks = 67        // 2046/32 + 1 for the largest exponent, the rest for carries
	sumUnit   = -1075     // log2 of the unit of chunk 0
	sumAdds   = 1<<11 - 1 // an added part has at most 52 bits: so many stay below 2^63
	low32     = 1<<32 - 1 // what a chunk holds once carries are propagated
	fraction  = 1<<52 - 1 // of the bits of a float64
	implicit  = 1 << 52   // the leading bit, which a normal number does not store
	notFinite = 1<<11 - 1 // the exponent of infinities and NaN
	signBit   = uint64(1) << 63
)

// decompose returns x as a whole number m times 2^(e-1075), without its sign; e is notFinite if x is not finite.
func decompose(x float64) (m uint64, e uint) {
	b := math.Float64bits(x)
	m, e = b&fraction, uint(b>>52)&notFinite
	if e == 0 {
		return m, 1
	}
	return m | implicit, e
}

// Add adds x. It ignores infinities and NaN.
func (s *Sum) Add(x float64) {
	m, e := decompose(x)
	if e == notFinite {
		return
	}
	if s.adds == sumAdds {
		s.carry()
	}
	s.adds++
	s.put(m, e, int64(math.Float64bits(x))>>63)
}

// put adds m * 2^(e-1075), negated if sign is -1 and not if it is 0.
func (s *Sum) put(m uint64, e uint, sign int64) {
	i, shift := e>>5, e&31
	low, high := int64(m<<shift&low32), int64(m>>(32-shift))
	s.chunks[i] += (low ^ sign) - sign
	s.chunks[i+1] += (high ^ sign) - sign
}

// AddSlice adds every element of x, as Add does.
func (s *Sum) AddSlice(x []float64) {
	for len(x) > 0 {
		if s.adds == sumAdds {
			s.carry()
		}
		n := min(len(x), sumAdds-s.adds)
		for _, v := range x[:n] {
			if m, e := decompose(v); e != notFinite {
				s.put(m, e, int64(math.Float64bits(v))>>63)
			}
		}
		s.adds, x = s.adds+n, x[n:]
	}
}

// Merge adds what o has summed up.
func (s *Sum) Merge(o *Sum) {
	other := *o
	other.carry()
	s.carry()
	for i, c := range other.chunks {
		s.chunks[i] += c
	}
	s.carry()
}

// carry brings every chunk but the last into 0 to 2^32-1. There is only one such form of a sum.
func (s *Sum) carry() {
	for i := range sumChunks - 1 {
		s.chunks[i+1] += s.chunks[i] >> 32
		s.chunks[i] &= low32
	}
	s.adds = 0
}

// Float64 returns the sum, rounded once, to the nearest float64 and to the even one of two. It is infinite if the
// sum is beyond the range; what the values added up to in between does not matter. A sum of 0 is +0.
func (s *Sum) Float64() float64 { return scaled(s.units(), sumUnit) }

// units returns the sum in units of 2^-1075.
func (s *Sum) units() *big.Int {
	own := *s
	own.carry()
	total, chunk := new(big.Int), new(big.Int)
	for i := sumChunks - 1; i >= 0; i-- {
		total.Lsh(total, 32).Add(total, chunk.SetInt64(own.chunks[i]))
	}
	return total
}

// scaled returns x * 2^exp, rounded to the nearest even float64.
func scaled(x *big.Int, exp int) float64 {
	f := new(big.Float).SetInt(x) // with as many bits as x has
	v, _ := f.SetMantExp(f, exp).Float64()
	return v
}
