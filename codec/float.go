package codec

import (
	"math"
	"strconv"
)

// AppendFloat appends the shortest text that reads back to the same float64, which is a JSON number: decimal
// from 1e-6 up to 2^53, with an exponent beyond. Above 2^53 the shortest digits padded with zeros are an integer
// that no float64 equals, which decoders refuse. It is the one place where a prediction becomes text. NaN and
// the infinities have no such text and are written as null; a prediction must be finite, and whoever scores
// sees to that.
func AppendFloat(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a > 1<<53) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, 64)
}
