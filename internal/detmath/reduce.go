package detmath

import (
	"math"
	"math/bits"
)

// reduce returns n and r+tail: x is n quarters of a turn, a multiple of 4 aside, and r+tail radians. It is the method of
// Payne and Hanek, "Radian reduction for trigonometric functions" (1983), for all x beyond π/4: of the product of x and
// 2/π only the bits from 2 to 2^-137 are computed, in integers. Relative to its size no float64 is closer to a multiple of
// π/2 than about 2^-61, so that r and tail together have more than 70 bits.
func reduce(x float64) (n int, r, tail float64) {
	switch a := math.Abs(x); {
	case a <= math.Pi/4:
		return 0, x, math.Copysign(0, x)
	case a-a != 0:
		return 0, math.NaN(), 0
	}
	b := math.Float64bits(x)
	high, middle, low := timesTwoOverPi(b&(1<<52-1)|1<<52, int(b>>52&0x7ff)-1075)
	n = int(high >> 62)
	high, middle, low = high<<2|middle>>62, middle<<2|low>>62, low<<2
	negative := x < 0
	if negative {
		n = -n
	}
	if high>>63 == 1 { // beyond half a quarter: count back from the next one
		var c uint64
		low, c = bits.Add64(^low, 1, 0)
		middle, c = bits.Add64(^middle, 0, c)
		high = ^high + c
		if n++; negative {
			n -= 2
		}
		negative = !negative
	}
	r, tail = quarterRadians(high, middle, low)
	if negative {
		return n, -r, -tail
	}
	return n, r, tail
}

// timesTwoOverPi returns m * 2^k * 2/π modulo 4, in 192 bits, of which the first is worth 2; k is from -53 to 971.
func timesTwoOverPi(m uint64, k int) (high, middle, low uint64) {
	// The bits of 2/π after the point, to as many as the largest float64 needs, behind 8 bytes of zeros.
	const twoOverPi = "\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\xa2\xf9\x83\x6e\x4e\x44\x15\x29\xfc\x27\x57\xd1\xf5\x34\xdd\xc0\xdb\x62\x95\x99\x3c\x43\x90\x41" +
		"\xfe\x51\x63\xab\xde\xbb\xc5\x61\xb7\x24\x6e\x3a\x42\x4d\xd2\xe0\x06\x49\x2e\xea\x09\xd1\x92\x1c" +
		"\xfe\x1d\xeb\x1c\xb1\x29\xa7\x3e\xe8\x82\x35\xf5\x2e\xbb\x44\x84\xe9\x9c\x70\x26\xb4\x5f\x7e\x41" +
		"\x39\x91\xd6\x39\x83\x53\x39\xf4\x9c\x84\x5f\x8b\xbd\xf9\x28\x3b\x1f\xf8\x97\xff\xde\x05\x98\x0f" +
		"\xef\x2f\x11\x8b\x5a\x0a\x6d\x1f\x6d\x36\x7e\xcf\x27\xcb\x09\xb7\x4f\x46\x3f\x66\x9e\x5f\xea\x2d" +
		"\x75\x27\xba\xc7\xeb\xe5\xf1\x7b\x3d\x07\x39\xf7\x8a\x52\x92\xea\x6b\xfb\x5f\xb1\x1f\x8d\x5d\x08" +
		"\x56\x03\x30\x46\xfc\x7b\x6b\xab"
	first := uint(64 + k - 2) // the bit that times 2^k is worth 2; those before it give multiples of 4
	s, shift := twoOverPi[first>>3:], first&7
	var w [3]uint64
	for i := range w {
		w[i] = bigEndian(s[8*i:])<<shift | uint64(s[8*i+8])>>(8-shift)
	}
	carry, low := bits.Mul64(m, w[2])
	next, middle := bits.Mul64(m, w[1])
	middle, c := bits.Add64(middle, carry, 0)
	return m*w[0] + next + c, middle, low
}

func bigEndian(s string) uint64 {
	_ = s[7]
	return uint64(s[7]) | uint64(s[6])<<8 | uint64(s[5])<<16 | uint64(s[4])<<24 |
		uint64(s[3])<<32 | uint64(s[2])<<40 | uint64(s[1])<<48 | uint64(s[0])<<56
}

// quarterRadians returns π/2 times a fraction of 192 bits, of which the first is worth 1/2, as r and the rest.
func quarterRadians(high, middle, low uint64) (r, tail float64) {
	const piHigh, piLow = 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1 // π/2 * 2^127
	zeros := uint(bits.LeadingZeros64(high))
	if high == 0 { // no float64 comes here, but nothing would be wrong with one
		high, middle, low = middle, low, 0
		zeros += uint(bits.LeadingZeros64(high))
	}
	shift := zeros & 63
	a, b := high<<shift|middle>>(64-shift), middle<<shift|low>>(64-shift)
	p, q := bits.Mul64(a, piHigh)
	s, _ := bits.Mul64(a, piLow)
	t, _ := bits.Mul64(b, piHigh)
	var c uint64
	q, c = bits.Add64(q, s, 0)
	p += c
	q, c = bits.Add64(q, t, 0)
	p += c
	unit := math.Float64frombits(uint64(1023-63-zeros) << 52) // of p: it has 63 bits or 64
	r = float64(float64(p&^0x7ff) * unit)
	tail = float64(float64(p&0x7ff<<52|q>>12) * float64(unit*0x1p-52)) // the bits that r does not have
	return r, tail
}
