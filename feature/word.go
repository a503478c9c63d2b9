package feature

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

func title(dst, a []text, mem *arena) {
	for i, x := range a[:len(dst)] {
		dst[i] = titleOne(x, mem)
	}
}

// titleOne maps the first letter of each word to title case, and its others to lower case. A word goes on over letters,
// digits, marks and apostrophes. Bytes that are not UTF-8 stay.
func titleOne(x text, mem *arena) text {
	if !x.ok || len(x.s) > maxText {
		return text{}
	}
	out, inside := mem.grow(utf8.UTFMax*len(x.s)), false
	for i := 0; i < len(x.s); {
		r, n := utf8.DecodeRuneInString(x.s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out, inside = append(out, x.s[i]), false
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if inside {
				r = unicode.ToLower(r)
			} else {
				r = unicode.ToTitle(r)
			}
			out, inside = utf8.AppendRune(out, r), true
		default:
			out = utf8.AppendRune(out, r)
			inside = inside && (unicode.IsMark(r) || r == '\'' || r == '’')
		}
		i += n
	}
	switch {
	case len(out) > maxText:
		return text{}
	case string(out) == x.s:
		return x
	}
	return mem.keep(out)
}

// wordCount counts what white space separates.
func wordCount(dst []float64, a []text) {
	for i, x := range a[:len(dst)] {
		dst[i] = nan()
		if !x.ok {
			continue
		}
		n, inside := 0, false
		for _, r := range x.s {
			space := unicode.IsSpace(r)
			if !space && !inside {
				n++
			}
			inside = !space
		}
		dst[i] = float64(n)
	}
}

// digits keeps the digits from 0 to 9.
func digits(dst, a []text, mem *arena) {
	for i, x := range a[:len(dst)] {
		dst[i] = digitsOne(x, mem)
	}
}

func digitsOne(x text, mem *arena) text {
	switch n := skipDigits(x.s, 0); {
	case !x.ok || n == len(x.s):
		return x
	case len(x.s) > maxText:
		return text{}
	}
	out := mem.grow(len(x.s))
	for i := range len(x.s) {
		if c := x.s[i]; c >= '0' && c <= '9' {
			out = append(out, c)
		}
	}
	return mem.keep(out)
}

func splitPart(dst, a, sep []text, n []float64) {
	a, sep, n = a[:len(dst)], sep[:len(dst)], n[:len(dst)]
	for i := range dst {
		dst[i] = splitOne(a[i], sep[i], n[i])
	}
}

// splitOne is part n of x, counted from 1, or from -1 at the end. An empty sep separates nothing. A part that is not there
// is missing.
func splitOne(x, sep text, n float64) text {
	if !x.ok || !sep.ok || math.Trunc(n) != n {
		return text{}
	}
	parts := 1.0
	if sep.s != "" {
		parts += float64(strings.Count(x.s, sep.s))
	}
	if n < 0 {
		n += parts + 1
	}
	if !(n >= 1 && n <= parts) {
		return text{}
	}
	part, rest := x.s, x.s
	for ; n > 0; n-- {
		if sep.s == "" {
			break
		}
		part, rest, _ = strings.Cut(rest, sep.s)
	}
	return text{part, true}
}

func padLeft(dst, a []text, width []float64, pad []text, mem *arena) {
	a, width, pad = a[:len(dst)], width[:len(dst)], pad[:len(dst)]
	for i := range dst {
		dst[i] = padOne(a[i], width[i], pad[i], mem)
	}
}

// padOne puts as many code points of pad, again and again, before x as x lacks of width. A width that is no whole number,
// an empty pad and a result that is too long are missing.
func padOne(x text, width float64, pad text, mem *arena) text {
	if !x.ok || !pad.ok || pad.s == "" || math.Trunc(width) != width {
		return text{}
	}
	lack := width - float64(utf8.RuneCountInString(x.s))
	if lack <= 0 {
		return x
	}
	whole := utf8.RuneCountInString(pad.s)
	if lack > maxText || len(x.s) > maxText {
		return text{}
	}
	times, rest := int(lack)/whole, byteIndex(pad.s, int(lack)%whole)
	n := times*len(pad.s) + rest + len(x.s)
	if n > maxText {
		return text{}
	}
	out := mem.grow(n)
	for range times {
		out = append(out, pad.s...)
	}
	return mem.keep(append(append(out, pad.s[:rest]...), x.s...))
}

// hashBuckets is the bucket of each text among n, which is a whole number from 1 to 2^31-1.
func hashBuckets(dst []float64, a []text, n []float64) {
	a, n = a[:len(dst)], n[:len(dst)]
	for i := range dst {
		dst[i] = nan()
		if a[i].ok && n[i] >= 1 && n[i] <= math.MaxInt32 && math.Trunc(n[i]) == n[i] {
			dst[i] = float64(hashBucket(a[i].s, int(n[i])))
		}
	}
}
