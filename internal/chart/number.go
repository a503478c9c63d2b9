package chart

import (
	"math"
	"strconv"
	"strings"
)

// Number writes a number for people: whole, with a comma between groups of three digits, from a thousand on; with six
// digits below; with an exponent where it is very large or small. NaN is a hyphen.
func Number(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "-"
	case a >= 1e15:
		return strconv.FormatFloat(x, 'g', 4, 64)
	case a < 1000:
		return strconv.FormatFloat(x, 'g', 6, 64)
	}
	return Grouped(int64(math.Round(x)))
}

// Grouped writes n with a comma between groups of three digits.
func Grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// Short writes a number in few characters: 1.23M, 250k, 2014, 0.0312, 1e-300. NaN is a hyphen.
func Short(x float64) string {
	a := math.Abs(x)
	switch {
	case math.IsNaN(x):
		return "-"
	case x == 0:
		return "0"
	case a < 1e-3 || a >= 1e15:
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	div, suffix := scaleOf(a)
	if div == 1 {
		return strconv.FormatFloat(x, 'g', 4, 64)
	}
	return strconv.FormatFloat(round(x/div, 3), 'f', -1, 64) + suffix
}

// round returns x with n significant digits.
func round(x float64, n int) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(x, 'e', n-1, 64), 64)
	if err != nil {
		return x
	}
	return y
}

// scaleOf returns the unit in which numbers up to a are written, with its suffix. Thousands begin at 10,000, so that years
// are written as such.
func scaleOf(a float64) (div float64, suffix string) {
	switch {
	case a >= 9.995e11:
		return 1e12, "T"
	case a >= 9.995e8:
		return 1e9, "G"
	case a >= 9.995e5:
		return 1e6, "M"
	case a >= 1e4:
		return 1e3, "k"
	default:
		return 1, ""
	}
}
