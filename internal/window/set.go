package window

import (
	"math"
	"math/bits"
	"slices"
)

const (
	// maxHashes is how many different values a tile tells apart exactly.
	maxHashes = 64
	// registerBits is the binary logarithm of the number of registers of a HyperLogLog. Packed, they take fewer bytes
	// than the hashes that they replace.
	registerBits = 9
	registers    = 1 << registerBits
	// maxRank is the highest value of a register: no bit is set behind those that choose it.
	maxRank = 64 - registerBits + 1
)

// set is the different values of one argument in a tile: up to maxHashes hashes in ascending order, or else, where
// dense, the registers of a HyperLogLog. Which of the two, and what it holds, does not depend on the order.
type set struct {
	hashes []uint64
	regs   []uint8 // empty unless dense
}

// dense tells whether the set is a HyperLogLog.
func (s *set) dense() bool { return len(s.regs) > 0 }

// reset removes all values and keeps the memory.
func (s *set) reset() { s.hashes, s.regs = s.hashes[:0], s.regs[:0] }

// add adds a value.
func (s *set) add(hash uint64) {
	if s.dense() {
		raise(s.regs, hash)
		return
	}
	i, ok := slices.BinarySearch(s.hashes, hash)
	switch {
	case ok:
	case len(s.hashes) < maxHashes:
		s.hashes = slices.Insert(s.hashes, i, hash)
	default:
		s.regs = cleared(s.regs)
		for _, h := range s.hashes {
			raise(s.regs, h)
		}
		raise(s.regs, hash)
		s.hashes = s.hashes[:0]
	}
}

// cleared returns registers that are all zero, in the memory of regs if it has any.
func cleared(regs []uint8) []uint8 {
	regs = slices.Grow(regs[:0], registers)[:registers]
	clear(regs)
	return regs
}

// raise adds a value to registers: its first bits choose one, which holds the highest position of the first bit that
// is set among the others.
func raise(regs []uint8, hash uint64) {
	at := hash >> (64 - registerBits)
	rank := uint8(min(bits.LeadingZeros64(hash<<registerBits)+1, maxRank))
	if regs[at] < rank {
		regs[at] = rank
	}
}

// union has regs be the registers of both.
func union(regs, other []uint8) {
	for i, r := range other[:len(regs)] {
		if regs[i] < r {
			regs[i] = r
		}
	}
}

// estimate returns how many different values registers hold: Ertl, "New cardinality estimation algorithms for
// HyperLogLog sketches" (2017), algorithm 6, which needs neither a correction of bias nor a change of method.
func estimate(regs []uint8) float64 {
	const m = float64(registers)
	var have [maxRank + 1]int
	for _, r := range regs {
		have[r]++
	}
	z := float64(m * tau(1-float64(have[maxRank])/m))
	for k := maxRank - 1; k >= 1; k-- {
		z = float64(0.5 * (z + float64(have[k])))
	}
	z += float64(m * sigma(float64(have[0])/m))
	return math.Floor(float64(m*m)/(2*math.Ln2)/z + 0.5)
}

func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x = float64(x * x)
		was := z
		z += float64(x * y)
		y += y
		if z == was {
			return z
		}
	}
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		was := z
		y *= 0.5
		z -= float64(float64((1-x)*(1-x)) * y)
		if z == was {
			return z / 3
		}
	}
}

// merged is the union of the sets of several tiles. It holds both forms, each if it is asked for.
type merged struct {
	hashes []uint64 // ascending, of the sets that are not dense
	regs   []uint8  // of all sets; empty unless made
	dense  bool     // a set is dense
}

// of has m be the union of the sets of one argument, k, in the tiles in positions from up to but not including to.
func (m *merged) of(sets []set, stride, from, to, k int) {
	m.hashes, m.regs, m.dense = m.hashes[:0], m.regs[:0], false
	for i := from; i < to; i++ {
		s := &sets[i*stride+k]
		m.hashes = append(m.hashes, s.hashes...)
		m.dense = m.dense || s.dense()
	}
	slices.Sort(m.hashes)
	m.hashes = slices.Compact(m.hashes)
	if !m.dense {
		return
	}
	m.register()
	for i := from; i < to; i++ {
		if s := &sets[i*stride+k]; s.dense() {
			union(m.regs, s.regs)
		}
	}
}

// register makes the registers of the hashes.
func (m *merged) register() {
	m.regs = cleared(m.regs)
	for _, h := range m.hashes {
		raise(m.regs, h)
	}
}

// distinct returns how many different values of n are in m and the set of a later tile.
func (m *merged) distinct(later *set, n int64) float64 {
	if !m.dense && !later.dense() {
		more := 0
		for _, h := range later.hashes {
			if _, ok := slices.BinarySearch(m.hashes, h); !ok {
				more++
			}
		}
		return float64(len(m.hashes) + more)
	}
	if len(m.regs) == 0 {
		m.register()
	}
	var both [registers]uint8
	copy(both[:], m.regs)
	if later.dense() {
		union(both[:], later.regs)
	}
	for _, h := range later.hashes {
		raise(both[:], h)
	}
	return max(maxHashes+1, min(estimate(both[:]), float64(n)))
}
