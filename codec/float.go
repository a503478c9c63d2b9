package codec

import (
	"math"
	"math/bits"
	"strconv"
)

// AppendFloat appends the shortest text that reads back to the same float64, which is a JSON number: decimal
// from 1e-6 up to 2^53, with an exponent beyond. Above 2^53 the shortest digits padded with zeros are an integer
// that no float64 equals, which decoders refuse. It is the one place where a prediction becomes text. NaN and
// the infinities have no such text and are written as null; a prediction must be finite, and whoever scores
// sees to that.
func AppendFloat(dst []byte, v float64) []byte {
	if digits, decimals, ok := shortest(v); ok {
		if v < 0 {
			dst = append(dst, '-')
		}
		return appendPoint(dst, digits, decimals)
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a > 1<<53) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, 64)
}

// shortest returns the shortest decimal that reads back to the magnitude of v, and of several the nearest: digits,
// divided by ten to the power of decimals. It does so where 128 bits are enough for exact arithmetic, from about 2^-8
// to 2^52, and returns false for other numbers and for powers of two, whose neighbours are not equally far away, and
// where two decimals are equally near.
//
// A number is m/2^s, and numbers within 1/2^(s+1) read back to it. With the least number of decimals for which
// 1/10^decimals is no more than 1/2^s, they hold at least one decimal, and at most one that ends in 0: that is
// the shortest if it is there.
func shortest(v float64) (digits uint64, decimals int, ok bool) {
	b := math.Float64bits(v)
	m, s := b&(1<<52-1), 1075-int(b>>52&0x7FF)
	if m == 0 || s < 1 || s > 60 {
		return 0, 0, false
	}
	s &= 63 // so that the compiler knows
	m |= 1 << 52
	decimals = s*78913>>18 + 1 // s*log10(2), rounded up
	power := wholePowers[decimals%len(wholePowers)]
	// In units of 1/10^decimals: the number is c + rest/2^s, and those within power/2/2^s read back to it.
	high, low := bits.Mul64(m, power)
	c, rest := high<<((64-s)&63)|low>>s, low&(1<<s-1)
	tens, ones := c/10, c%10
	above, limit := ones<<s+rest, power/2+(^m&1) // the borders read back to an even number
	switch {
	case above < limit:
		digits, decimals = withoutZeros(tens, decimals-1)
	case 10<<s-above < limit:
		digits, decimals = withoutZeros(tens+1, decimals-1)
	case rest == 1<<(s-1):
		return 0, 0, false
	default:
		digits = c + rest>>(s-1)
	}
	return digits, decimals, true
}

// withoutZeros drops zeros at the end of a decimal.
func withoutZeros(digits uint64, decimals int) (uint64, int) {
	for decimals > 0 && digits%10 == 0 {
		digits /= 10
		decimals--
	}
	return digits, decimals
}

// appendPoint appends digits with a point before the last of them: at most 19 decimals.
func appendPoint(dst []byte, digits uint64, decimals int) []byte {
	power := wholePowers[decimals%len(wholePowers)]
	whole := digits / power
	dst = strconv.AppendUint(dst, whole, 10)
	if decimals == 0 {
		return dst
	}
	rest := digits - whole*power
	var text [20]byte
	at := len(text)
	for n := decimals; n >= 2; n -= 2 {
		pair := rest % 100
		rest /= 100
		at -= 2
		text[at], text[at+1] = '0'+byte(pair/10), '0'+byte(pair%10)
	}
	if decimals%2 != 0 {
		at--
		text[at] = '0' + byte(rest)
	}
	at--
	text[at] = '.'
	return append(dst, text[at:]...)
}

// wholePowers are the powers of ten that 64 bits hold.
var wholePowers = [20]uint64{ //nolint:gochecknoglobals // a table that nothing changes
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}
