package stat

import (
	"math/bits"
	"unicode/utf8"
)

// MurmurSeed is the seed of scala.util.hashing.MurmurHash3.stringHash.
const MurmurSeed = 0xf7ca7fd2

// MurmurString returns MurmurHash3 (32 bits) of s as Scala's MurmurHash3.stringHash(s, seed) computes it, which is the
// hash of Featran: over the pairs of UTF-16 code units of s, the first of a pair in the upper half. A byte that is not
// UTF-8 counts as U+FFFD. The result is part of trained models, and never changes. It allocates nothing.
func MurmurString(s string, seed uint32) int32 {
	h, i := seed, 0
	for ; i+1 < len(s) && (s[i]|s[i+1]) < utf8.RuneSelf; i += 2 {
		h = murmurPair(h, uint32(s[i]), uint32(s[i+1]))
	}
	units := uint32(i)
	var first uint32 // the code unit that waits for another, if units is odd
	unit := func(u uint32) {
		if units++; units&1 == 1 {
			first = u
			return
		}
		h = murmurPair(h, first, u)
	}
	for _, r := range s[i:] {
		if r < 0x10000 {
			unit(uint32(r))
		} else {
			unit(0xd800 + uint32(r-0x10000)>>10)
			unit(0xdc00 + uint32(r-0x10000)&0x3ff)
		}
	}
	if units&1 == 1 {
		h = murmurMix(h, first)
	}
	h ^= units
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return int32(h ^ h>>16)
}

func murmurPair(h, first, second uint32) uint32 {
	return bits.RotateLeft32(murmurMix(h, first<<16+second), 13)*5 + 0xe6546b64
}

func murmurMix(h, k uint32) uint32 { return h ^ bits.RotateLeft32(k*0xcc9e2d51, 15)*0x1b873593 }
