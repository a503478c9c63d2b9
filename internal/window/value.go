package window

import (
	"fmt"
	"math"
)

// Kind is the kind of an argument's values.
type Kind uint8

// The kinds.
const (
	// Numbers are float64.
	Numbers Kind = iota
	// Texts are texts, of which a window sees a hash.
	Texts
)

// String returns the name of k, in the singular.
func (k Kind) String() string {
	switch k {
	case Numbers:
		return "number"
	case Texts:
		return "text"
	default:
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
}

// Value is the value of one argument in one record: a number, the hash of a text, or, as the zero Value, missing.
type Value struct {
	bits    uint64 // of the number; the hash of the text
	kind    Kind
	present bool
}

// Number returns x as a value. NaN and the infinities are missing; -0 is 0.
func Number(x float64) Value {
	if !finite(x) {
		return Value{}
	}
	if x == 0 {
		x = 0 // not -0
	}
	return Value{math.Float64bits(x), Numbers, true}
}

// Text returns text as a value. It keeps no reference to text. A caller that has few different texts can keep the
// values.
//
// The hash is part of encoded states, and never changes: FNV-1a with 64 bits (offset basis cbf29ce484222325, prime
// 100000001b3) over the bytes, followed by the finalizer of MurmurHash3: h ^= h>>33, h *= ff51afd7ed558ccd,
// h ^= h>>33, h *= c4ceb9fe1a85ec53, h ^= h>>33. Numbers are told apart by that finalizer over the bits of the
// float64 plus 9e3779b97f4a7c15. A million different texts have all different hashes with probability 1 - 3e-8, if
// nobody chose them to collide.
func Text[T string | []byte](text T) Value {
	h := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	return Value{scramble(h), Texts, true}
}

// Missing tells whether there is no value.
func (v Value) Missing() bool { return !v.present }

// must panics unless v, the value of an argument, is missing or of its kind.
func (v Value) must(arg int, kind Kind) {
	if v.present && v.kind != kind {
		panic(fmt.Sprintf("window: argument %d is declared a %s and given a %s", arg, kind, v.kind))
	}
}

// number returns the number that a value of kind Numbers holds.
func (v Value) number() float64 { return math.Float64frombits(v.bits) }

// hash returns the hash of a value of either kind.
func (v Value) hash() uint64 {
	if v.kind == Texts {
		return v.bits
	}
	return scramble(v.bits + 0x9e3779b97f4a7c15)
}

// scramble is the finalizer of MurmurHash3, a bijection.
func scramble(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// finite tells whether x is neither infinite nor NaN.
func finite(x float64) bool { return x-x == 0 }

// settle returns x, or where it is not finite the one NaN that all machines have in a state.
func settle(x float64) float64 {
	if finite(x) {
		return x
	}
	return math.NaN()
}
