package feature

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func concat(dst, a, b []text, mem *arena) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		x, y := a[i], b[i]
		switch {
		case !x.ok || !y.ok || len(x.s)+len(y.s) > maxText:
			dst[i] = text{}
		case y.s == "":
			dst[i] = x
		case x.s == "":
			dst[i] = y
		default:
			dst[i] = mem.keep(append(append(mem.grow(len(x.s)+len(y.s)), x.s...), y.s...))
		}
	}
}

func lower(dst, a []text, mem *arena) {
	for i, x := range a[:len(dst)] {
		dst[i] = mapRunes(x, 'A', 'Z', unicode.ToLower, mem)
	}
}

func upper(dst, a []text, mem *arena) {
	for i, x := range a[:len(dst)] {
		dst[i] = mapRunes(x, 'a', 'z', unicode.ToUpper, mem)
	}
}

// mapRunes returns x with f applied to each code point. Of the ASCII letters f changes those from first to
// last. Bytes that are not UTF-8 stay.
func mapRunes(x text, first, last byte, f func(rune) rune, mem *arena) text {
	if !x.ok || len(x.s) > maxText {
		return text{}
	}
	same := true
	for i := range len(x.s) {
		c := x.s[i]
		same = same && c < utf8.RuneSelf && (c < first || c > last)
	}
	if same {
		return x
	}
	out := mem.grow(utf8.UTFMax * len(x.s)) // the most that a change of case can need
	for i := 0; i < len(x.s); {
		c := x.s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(x.s[i:])
			if r == utf8.RuneError && n == 1 {
				out = append(out, c)
			} else {
				out = utf8.AppendRune(out, f(r))
			}
			i += n
			continue
		case c >= first && c <= last:
			c ^= 'a' - 'A'
		}
		out = append(out, c)
		i++
	}
	if len(out) > maxText {
		return text{}
	}
	return mem.keep(out)
}

func trim(dst, a []text) {
	for i, x := range a[:len(dst)] {
		dst[i] = text{strings.TrimSpace(x.s), x.ok}
	}
}

// replace puts b for every a that does not overlap an earlier one. An empty a occurs nowhere.
func replace(dst, s, a, b []text, mem *arena) {
	s, a, b = s[:len(dst)], a[:len(dst)], b[:len(dst)]
	for i := range dst {
		if !s[i].ok || !a[i].ok || !b[i].ok {
			dst[i] = text{}
			continue
		}
		dst[i] = replaceOne(s[i], a[i].s, b[i].s, mem)
	}
}

func replaceOne(x text, old, with string, mem *arena) text {
	count := 0
	if old != "" {
		count = strings.Count(x.s, old)
	}
	n := len(x.s) + count*(len(with)-len(old))
	switch {
	case n > maxText:
		return text{}
	case count == 0:
		return x
	}
	out, rest := mem.grow(n), x.s
	for {
		before, after, found := strings.Cut(rest, old)
		out = append(out, before...)
		if !found {
			return mem.keep(out)
		}
		out, rest = append(out, with...), after
	}
}

// length counts code points.
func length(dst []float64, a []text) {
	for i, x := range a[:len(dst)] {
		dst[i] = nan()
		if x.ok {
			dst[i] = float64(utf8.RuneCountInString(x.s))
		}
	}
}

func sliceFrom(dst, a []text, from []float64) {
	a, from = a[:len(dst)], from[:len(dst)]
	for i := range dst {
		dst[i] = part(a[i], from[i], math.MaxInt32)
	}
}

func slice(dst, a []text, from, to []float64) {
	a, from, to = a[:len(dst)], from[:len(dst)], to[:len(dst)]
	for i := range dst {
		dst[i] = part(a[i], from[i], to[i])
	}
}

// part returns the code points of x from from up to to. An end below 0 counts from the end of x; what lies outside
// x is not there; an end that is not a whole number gives a missing text.
func part(x text, from, to float64) text {
	if !x.ok || math.Trunc(from) != from || math.Trunc(to) != to {
		return text{}
	}
	if from < 0 || to < 0 {
		n := float64(utf8.RuneCountInString(x.s))
		if from < 0 {
			from = max(from+n, 0)
		}
		if to < 0 {
			to = max(to+n, 0)
		}
	}
	if from >= to {
		return text{ok: true}
	}
	size := float64(len(x.s)) // no text has more code points than bytes
	low, high := int(min(from, size)), int(min(to, size))
	start := byteIndex(x.s, low)
	return text{x.s[start : start+byteIndex(x.s[start:], high-low)], true}
}

// byteIndex returns where in s code point n begins, or len(s). A byte that is not UTF-8 counts as one.
func byteIndex(s string, n int) int {
	if n > len(s) {
		n = len(s)
	}
	ascii := 0
	for ascii < n && s[ascii] < utf8.RuneSelf {
		ascii++
	}
	at := ascii
	for n -= ascii; n > 0 && at < len(s); n-- {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return at
}

func extract(dst, a []text, p extraction) {
	for i, x := range a[:len(dst)] {
		dst[i] = text{}
		if x.ok {
			dst[i] = p.find(x.s)
		}
	}
}

// find returns the group of the first match, which is missing where there is none or the group has no part
// in it.
func (p extraction) find(s string) text {
	if p.group == 0 { // this way allocates nothing
		m := p.re.FindString(s)
		return text{m, m != "" || p.re.MatchString(s)}
	}
	if at := p.re.FindStringSubmatchIndex(s); at != nil && at[2*p.group] >= 0 {
		return text{s[at[2*p.group]:at[2*p.group+1]], true}
	}
	return text{}
}

func coalesceText(dst, a, b []text) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		if dst[i] = a[i]; !a[i].ok {
			dst[i] = b[i]
		}
	}
}

func textBool(dst []text, a []uint8) {
	values := [4]text{no: {"false", true}, yes: {"true", true}}
	for i, x := range a[:len(dst)] {
		dst[i] = values[x&3]
	}
}

// textNumber writes the shortest text that reads back to the same number, without an exponent from 1e-6 up to
// 1e21, as JSON writers do.
func textNumber(dst []text, a []float64, mem *arena) {
	for i, x := range a[:len(dst)] {
		if x != x {
			dst[i] = text{}
			continue
		}
		format := byte('f')
		if m := math.Abs(x); m != 0 && (m < 1e-6 || m >= 1e21) {
			format = 'e'
		}
		dst[i] = mem.keep(strconv.AppendFloat(mem.grow(32), x+0, format, -1, 64)) // -0 is written 0
	}
}

func numberText(dst []float64, a []text) {
	for i, x := range a[:len(dst)] {
		dst[i] = nan()
		if x.ok {
			dst[i] = parseNumber(x.s)
		}
	}
}

// parseNumber reads a decimal number: digits with an optional sign, fraction and exponent, white space around it.
// It is NaN for everything else, and for a number beyond the range.
func parseNumber(s string) float64 {
	s = strings.TrimSpace(s)
	if !isDecimal(s) {
		return nan()
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nan()
	}
	return v
}

func isDecimal(s string) bool {
	i := skipSign(s, 0)
	whole := skipDigits(s, i)
	digits := whole - i
	i = whole
	if i < len(s) && s[i] == '.' {
		end := skipDigits(s, i+1)
		digits += end - i - 1
		i = end
	}
	if digits == 0 {
		return false
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		start := skipSign(s, i+1)
		if i = skipDigits(s, start); i == start {
			return false
		}
	}
	return i == len(s)
}

func skipSign(s string, i int) int {
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	return i
}

func skipDigits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}
