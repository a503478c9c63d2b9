package feature

import (
	"math/bits"
	"regexp"
	"slices"
	"strings"
)

// A truth value is two bits: the high one says that it is certainly true, the low one that it is not certainly
// false. So "and" and "or" of three-valued (Kleene) logic are the bitwise ones.
const (
	no      uint8 = 0
	unknown uint8 = 1
	yes     uint8 = 3
)

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// truth returns yes or no, or unknown where the operands are not both there.
func truth(holds, there bool) uint8 { return bit(holds && there)<<1 | bit(holds || !there) }

func and(dst, a, b []uint8) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] & b[i]
	}
}

func or(dst, a, b []uint8) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] | b[i]
	}
}

// not swaps and inverts the two bits.
func not(dst, a []uint8) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = bits.Reverse8(^a[i]) >> 6
	}
}

func coalesceBool(dst, a, b []uint8) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		v := a[i]
		if v == unknown {
			v = b[i]
		}
		dst[i] = v
	}
}

func equalBool(dst, a, b []uint8) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i] == b[i], a[i] != unknown && b[i] != unknown)
	}
}

func missingBool(dst, a []uint8) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = 3 * bit(a[i] == unknown)
	}
}

// selectValue is a where cond holds, b where it does not, and missing where that is unknown.
func selectValue[T any](dst []T, cond []uint8, a, b []T, missing T) {
	cond, a, b = cond[:len(dst)], a[:len(dst)], b[:len(dst)]
	for i, c := range cond {
		switch c {
		case yes:
			dst[i] = a[i]
		case no:
			dst[i] = b[i]
		default:
			dst[i] = missing
		}
	}
}

// The comparisons of numbers take no branch: with a NaN every comparison is false, so !(a >= b) holds where
// a < b is true or unknown.

func lessNumber(dst []uint8, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = bit(a[i] < b[i])<<1 | bit(!(a[i] >= b[i]))
	}
}

func atMostNumber(dst []uint8, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = bit(a[i] <= b[i])<<1 | bit(!(a[i] > b[i]))
	}
}

func equalNumber(dst []uint8, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = bit(a[i] == b[i])<<1 | (1 ^ bit(a[i] < b[i]) ^ bit(a[i] > b[i]))
	}
}

func missingNumber(dst []uint8, a []float64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = 3 * bit(a[i] != a[i])
	}
}

func inNumber(dst []uint8, a, list []float64) {
	for i, x := range a[:len(dst)] {
		_, found := slices.BinarySearch(list, x)
		dst[i] = truth(found, x == x)
	}
}

func lessTime(dst []uint8, a, b []int64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i] < b[i], a[i] != missingTime && b[i] != missingTime)
	}
}

func atMostTime(dst []uint8, a, b []int64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i] <= b[i], a[i] != missingTime && b[i] != missingTime)
	}
}

func equalTime(dst []uint8, a, b []int64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i] == b[i], a[i] != missingTime && b[i] != missingTime)
	}
}

func isMissingTime(dst []uint8, a []int64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = 3 * bit(a[i] == missingTime)
	}
}

func inTime(dst []uint8, a, list []int64) {
	for i, x := range a[:len(dst)] {
		_, found := slices.BinarySearch(list, x)
		dst[i] = truth(found, x != missingTime)
	}
}

func lessText(dst []uint8, a, b []text) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i].s < b[i].s, a[i].ok && b[i].ok)
	}
}

func atMostText(dst []uint8, a, b []text) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i].s <= b[i].s, a[i].ok && b[i].ok)
	}
}

func equalText(dst []uint8, a, b []text) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(a[i].s == b[i].s, a[i].ok && b[i].ok)
	}
}

func startsWith(dst []uint8, a, b []text) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(strings.HasPrefix(a[i].s, b[i].s), a[i].ok && b[i].ok)
	}
}

func endsWith(dst []uint8, a, b []text) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(strings.HasSuffix(a[i].s, b[i].s), a[i].ok && b[i].ok)
	}
}

func contains(dst []uint8, a, b []text) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = truth(strings.Contains(a[i].s, b[i].s), a[i].ok && b[i].ok)
	}
}

func inText(dst []uint8, a []text, list map[string]struct{}) {
	for i, x := range a[:len(dst)] {
		_, found := list[x.s]
		dst[i] = truth(found, x.ok)
	}
}

func missingText(dst []uint8, a []text) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = 3 * bit(!a[i].ok)
	}
}

func matches(dst []uint8, a []text, re *regexp.Regexp) {
	for i, x := range a[:len(dst)] {
		dst[i] = unknown
		if x.ok {
			dst[i] = 3 * bit(re.MatchString(x.s))
		}
	}
}
