package stat

import "math/bits"

// mix64 is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
// It maps the 64-bit numbers one to one.
func mix64(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// golden is 2^64 divided by the golden ratio, the step of SplitMix64.
const golden = 0x9e3779b97f4a7c15

// Mix returns the number that SplitMix64 gives for a state: a bijection whose output bits each depend on all input bits.
// What was drawn with it is part of trained models, so that it never changes.
func Mix(x uint64) uint64 { return mix64(x + golden) }

const (
	xxPrime1 = 11400714785074694791
	xxPrime2 = 14029467366897019727
	xxPrime3 = 1609587929392839161
	xxPrime4 = 9650029242287828579
	xxPrime5 = 2870177450012600261
)

// Hash64 returns XXH64 of the bytes of s with seed 0: the same on every machine and in every version. Its definition:
// github.com/Cyan4973/xxHash, doc/xxhash_spec.md.
func Hash64(s string) uint64 {
	h := uint64(xxPrime5)
	size := uint64(len(s))
	if len(s) >= 32 {
		h, s = hashStripes(s)
	}
	h += size
	for ; len(s) >= 8; s = s[8:] {
		h = bits.RotateLeft64(h^xxRound(0, load64(s)), 27)*xxPrime1 + xxPrime4
	}
	if len(s) >= 4 {
		h = bits.RotateLeft64(h^uint64(load32(s))*xxPrime1, 23)*xxPrime2 + xxPrime3
		s = s[4:]
	}
	for i := range len(s) {
		h = bits.RotateLeft64(h^uint64(s[i])*xxPrime5, 11) * xxPrime1
	}
	h = (h ^ h>>33) * xxPrime2
	h = (h ^ h>>29) * xxPrime3
	return h ^ h>>32
}

// hashStripes takes in the stripes of 32 bytes that s begins with, and returns what is left.
func hashStripes(s string) (h uint64, rest string) {
	a, b, c, d := uint64(xxPrime1), uint64(xxPrime2), uint64(0), uint64(0)
	a, d = a+b, d-a // modulo 2^64
	for ; len(s) >= 32; s = s[32:] {
		a, b = xxRound(a, load64(s)), xxRound(b, load64(s[8:]))
		c, d = xxRound(c, load64(s[16:])), xxRound(d, load64(s[24:]))
	}
	h = bits.RotateLeft64(a, 1) + bits.RotateLeft64(b, 7) + bits.RotateLeft64(c, 12) + bits.RotateLeft64(d, 18)
	for _, lane := range [...]uint64{a, b, c, d} {
		h = (h^xxRound(0, lane))*xxPrime1 + xxPrime4
	}
	return h, s
}

func xxRound(lane, x uint64) uint64 { return bits.RotateLeft64(lane+x*xxPrime2, 31) * xxPrime1 }

func load64(s string) uint64 { return uint64(load32(s)) | uint64(load32(s[4:]))<<32 }

func load32(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}
