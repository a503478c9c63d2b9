package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
)

// decimal is a JSON number: mant times ten to the power of exp, and a little more where dropped.
type decimal struct {
	mant    uint64 // the first 19 significant digits
	exp     int64
	neg     bool
	integer bool // written without fraction and exponent
	plain   bool // written without exponent
	dropped bool // digits other than 0 came after those of mant
}

// scanDecimal reads the JSON number that starts at data[i]. It returns the offset after it, and false with the
// offset of the fault if there is no number.
func scanDecimal(data []byte, i int) (n decimal, end int, ok bool) {
	n.integer, n.plain = true, true
	if i < len(data) && data[i] == '-' {
		n.neg = true
		i++
	}
	first := i
	i = n.digits(data, i, 0)
	if i == first {
		return n, i, false
	}
	if data[first] == '0' && i > first+1 {
		return n, first + 1, false
	}
	if i < len(data) && data[i] == '.' {
		n.integer = false
		first = i + 1
		i = n.digits(data, first, -1)
		if i == first {
			return n, i, false
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		n.integer, n.plain = false, false
		return n.exponent(data, i+1)
	}
	return n, i, true
}

// digits reads a run of digits; perDigit is what each of them adds to the exponent: -1 behind the point.
func (n *decimal) digits(data []byte, i int, perDigit int64) int {
	for i < len(data) {
		c := data[i] - '0'
		if c > 9 {
			break
		}
		if n.mant < 1e18 { // one more digit gives at most 19
			n.mant = n.mant*10 + uint64(c)
			n.exp += perDigit
		} else {
			n.dropped = n.dropped || c != 0
			n.exp += perDigit + 1
		}
		i++
	}
	return i
}

func (n decimal) exponent(data []byte, i int) (decimal, int, bool) {
	neg := false
	if i < len(data) && (data[i] == '+' || data[i] == '-') {
		neg = data[i] == '-'
		i++
	}
	first, e := i, int64(0)
	for i < len(data) {
		c := data[i] - '0'
		if c > 9 {
			break
		}
		if e < largestMaxBytes { // beyond, no number of digits can make up for it
			e = e*10 + int64(c)
		}
		i++
	}
	if neg {
		e = -e
	}
	n.exp += e
	return n, i, i > first
}

// scanNumber returns the offset after the JSON number that starts at data[i]. If there is none, it returns
// false and the offset of the fault.
func scanNumber(data []byte, i int) (end int, ok bool) {
	if i < len(data) && data[i] == '-' {
		i++
	}
	first := i
	i = skipDigits(data, i)
	if i == first {
		return i, false
	}
	if data[first] == '0' && i > first+1 {
		return first + 1, false
	}
	if i < len(data) && data[i] == '.' {
		first = i + 1
		if i = skipDigits(data, first); i == first {
			return i, false
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		first = i
		if i = skipDigits(data, first); i == first {
			return i, false
		}
	}
	return i, true
}

func skipDigits(data []byte, i int) int {
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	return i
}

// notDigits sets the high bit of the first byte of w that is no digit. Those of later bytes are right as long as the
// ones before are ASCII.
func notDigits(w uint64) uint64 {
	w ^= '0' * eachByte // a digit becomes its value
	return (w + (0x80-10)*eachByte | w) & highBits
}

// eightDigits returns the number that eight digits are, the first in the lowest byte. Zeros may stand for '0'.
func eightDigits(w uint64) uint64 {
	w &= 0x0F * eachByte
	w = w*10 + w>>8 // pairs, in every second byte
	const pair = 0x000000FF000000FF
	return (w&pair*(100+1_000_000<<32) + w>>16&pair*(1+10_000<<32)) >> 32
}

// fastNumber reads the JSON number that starts at data[i] if it has at most 15 digits and no exponent: then
// digits and power of ten are exact in a float64, and so one division gives the nearest float64 (Clinger,
// "How to read floating point numbers accurately", 1990). Otherwise end is 0, also when there is no number.
//
// How many digits a number has is hard to predict: there are no jumps on it where a number and the byte after it fit
// into a word, as they mostly do.
func fastNumber(data []byte, i int) (v float64, end int) {
	if len(data)-i < 8 {
		return longNumber(data, i)
	}
	w := binary.LittleEndian.Uint64(data[i:])
	others := notDigits(w)
	n := bits.TrailingZeros64(others) &^ 7 // the bits of the digits
	if n == 0 || n == 64 || n > 8 && byte(w) == '0' {
		return longNumber(data, i)
	}
	if c := byte(w >> (n & 63)); c != '.' {
		if c|0x20 == 'e' {
			return 0, 0
		}
		return float64(int64(eightDigits(w << (-n & 63)))), i + n>>3
	}
	m := bits.TrailingZeros64(others&(others-1)) &^ 7 // those of the point and the fraction too
	if m == 64 || m == n+8 || byte(w>>(m&63))|0x20 == 'e' {
		return longNumber(data, i)
	}
	whole := uint64(1)<<(n&63) - 1
	w = w&whole | w>>8&^whole
	return float64(int64(eightDigits(w<<((8-m)&63)))) / powersOfTen[((m-n)>>3-1)&31], i + m>>3
}

// shortInteger returns the offset after the integer that starts at data[i], if it has at most seven digits, no sign,
// and neither fraction nor exponent. Otherwise it is 0, also when there is no number.
func shortInteger(data []byte, i int) (end int) {
	if len(data)-i < 8 {
		return 0
	}
	w := binary.LittleEndian.Uint64(data[i:])
	n := bits.TrailingZeros64(notDigits(w)) &^ 7
	if n == 0 || n == 64 || n > 8 && byte(w) == '0' {
		return 0
	}
	if c := byte(w >> (n & 63)); c == '.' || c|0x20 == 'e' {
		return 0
	}
	return i + n>>3
}

// longNumber is fastNumber for any number.
func longNumber(data []byte, i int) (v float64, end int) {
	neg := i < len(data) && data[i] == '-'
	if neg {
		i++
	}
	first, m := i, int64(0)
	for i < len(data) && data[i]-'0' <= 9 {
		m = m*10 + int64(data[i]-'0')
		i++
	}
	n := i - first
	if n == 0 || n > 15 || n > 1 && data[first] == '0' {
		return 0, 0
	}
	v = float64(m)
	if i < len(data) && data[i] == '.' {
		i++
		first = i
		for i < len(data) && data[i]-'0' <= 9 {
			m = m*10 + int64(data[i]-'0')
			i++
		}
		fraction := i - first
		if fraction == 0 || n+fraction > 15 {
			return 0, 0
		}
		v = float64(m) / powersOfTen[fraction&31]
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		return 0, 0
	}
	if neg {
		v = -v
	}
	return v, i
}

// powersOfTen are those that a float64 holds exactly; the rest makes the length a power of two.
var powersOfTen = [32]float64{ //nolint:gochecknoglobals // a table that nothing changes
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// float returns the float64 nearest to n, whose text is literal, bit for bit what [strconv.ParseFloat] gives.
// It allocates only for a literal of more than 32 bytes that lies next to the middle between two float64.
// It returns false if the value is too large, or an integer that no float64 equals.
func (n decimal) float(literal []byte) (float64, bool) {
	if n.mant <= 1<<53 && !n.dropped && n.exp >= -22 && n.exp <= 22 {
		v := float64(n.mant)
		if n.exp < 0 {
			v /= powersOfTen[-n.exp]
		} else {
			v *= powersOfTen[n.exp]
		}
		if n.neg {
			v = -v
		}
		return v, !n.integer || n.exact(v, literal)
	}
	v, err := n.parse(literal)
	if err != nil {
		return 0, false
	}
	return v, !n.integer || n.exact(v, literal)
}

// exact tells whether v equals the integer n.
func (n decimal) exact(v float64, literal []byte) bool {
	v = math.Abs(v)
	if n.exp == 0 && !n.dropped {
		return uint64(v) == n.mant // 19 digits are below 1<<64
	}
	if n.neg {
		literal = literal[1:]
	}
	var buf [310]byte
	return string(strconv.AppendFloat(buf[:0], v, 'f', 0, 64)) == string(literal)
}

// parse gives the value by way of strconv. Texts of at most 32 bytes become strings on the stack.
func (n decimal) parse(literal []byte) (float64, error) {
	const onStack = 32
	if len(literal) <= onStack {
		return strconv.ParseFloat(string(literal), 64)
	}
	var buf [onStack]byte
	low, err := strconv.ParseFloat(string(n.short(buf[:0], n.mant)), 64)
	if err != nil || !n.dropped {
		return low, err
	}
	// Rounding keeps order: when both bounds round to one value, so does the number between them.
	high, err := strconv.ParseFloat(string(n.short(buf[:0], n.mant+1)), 64)
	if err == nil && low == high {
		return low, nil
	}
	return strconv.ParseFloat(string(literal), 64)
}

// short appends n's sign and exponent with the given digits.
func (n decimal) short(dst []byte, mant uint64) []byte {
	if n.neg {
		dst = append(dst, '-')
	}
	dst = append(strconv.AppendUint(dst, mant, 10), 'e')
	return strconv.AppendInt(dst, n.exp, 10)
}

// scaled returns n times ten to the power of shift, rounded down; false if an int64 cannot hold it.
func (n decimal) scaled(shift int) (int64, bool) {
	m, e, rest := n.mant, n.exp+int64(shift), n.dropped
	for ; e > 0 && m > 0; e-- {
		if m > math.MaxUint64/10 {
			return 0, false
		}
		m *= 10
	}
	for ; e < 0 && m > 0; e++ {
		rest = rest || m%10 != 0
		m /= 10
	}
	if m > math.MaxInt64 {
		return 0, false
	}
	v := int64(m)
	if n.neg {
		v = -v
		if rest {
			v--
		}
	}
	return v, true
}

// whole tells whether n is an integer, however it is written. Of one that 64 bits do not hold it may say no.
func (n decimal) whole() bool {
	m, e := n.mant, n.exp
	for ; e < 0 && m > 0; e++ {
		if m%10 != 0 {
			return false
		}
		m /= 10
	}
	return !n.dropped
}

// canonicalLevel drops what does not change the value of an integer: a fraction of zeros, and the sign of
// zero. Any other text stays as it is.
func canonicalLevel(text []byte) []byte {
	i := 0
	if len(text) > 0 && text[0] == '-' {
		i = 1
	}
	first := i
	i = skipDigits(text, i)
	if i == first || text[first] == '0' && i > first+1 {
		return text
	}
	end := i
	if i < len(text) {
		if text[i] != '.' || i+1 == len(text) {
			return text
		}
		for i++; i < len(text); i++ {
			if text[i] != '0' {
				return text
			}
		}
	}
	if first == 1 && text[1] == '0' {
		return text[1:2]
	}
	return text[:end]
}
