package stat

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
)

// SparseSum is a [Sum] for where there are many of them: it has room for the magnitudes that came alone, about 90 bytes
// for numbers of one kind, and never more than 700. The zero value is an empty sum. A copy shares memory: see
// [SparseSum.Clone].
type SparseSum struct {
	chunks sparse // in units of 2^(32i-1075)
	adds   int    // since carries were last propagated
}

// Add adds x. It ignores infinities and NaN.
func (s *SparseSum) Add(x float64) {
	m, e := decompose(x)
	if e == notFinite || m == 0 {
		return
	}
	if s.adds == sumAdds {
		s.carry()
	}
	s.adds++
	sign := int64(math.Float64bits(x)) >> 63
	i, shift := e>>5, e&31
	s.chunks.add(i, (int64(m<<shift&low32)^sign)-sign)
	s.chunks.add(i+1, (int64(m>>(32-shift))^sign)-sign)
}

// Merge adds what o has summed up.
func (s *SparseSum) Merge(o *SparseSum) { s.merge(o, 1) }

// Remove takes off what o has summed up: what is left is exact, as if the numbers of o had never come.
func (s *SparseSum) Remove(o *SparseSum) { s.merge(o, -1) }

func (s *SparseSum) merge(o *SparseSum, sign int64) {
	other := o.Clone()
	other.carry()
	s.carry()
	s.chunks.merge(&other.chunks, sign)
	s.carry()
}

func (s *SparseSum) carry() {
	s.chunks.carry()
	s.adds = 0
}

// Clone returns a sum of its own.
func (s *SparseSum) Clone() SparseSum {
	c := *s
	c.chunks.list = slices.Clone(s.chunks.list)
	return c
}

// Float64 returns the sum, rounded once, as [Sum.Float64] does.
func (s *SparseSum) Float64() float64 { return scaled(s.chunks.units(), sumUnit) }

// Mean returns the sum divided by n, which is above 0, rounded once.
func (s *SparseSum) Mean(n int64) float64 {
	v, _ := quotient(s.chunks.units(), big.NewInt(n), sumUnit).Float64()
	return v
}

// SparseMoments counts numbers and sums them and their squares exactly, as [Moments] does, for where there are many of
// them: it takes about 250 bytes for numbers of one kind. The zero value is empty. A copy shares memory.
type SparseMoments struct {
	n       int64
	sum     SparseSum
	squares sparse // in units of 2^(32i-2148)
}

// Add takes x in. It ignores infinities and NaN.
func (m *SparseMoments) Add(x float64) {
	mantissa, e := decompose(x)
	if e == notFinite {
		return
	}
	if m.sum.adds == sumAdds {
		m.squares.carry()
	}
	m.n++
	m.sum.Add(x)
	if mantissa == 0 {
		return
	}
	high, low := bits.Mul64(mantissa, mantissa)
	at := 2 * (e - 1)
	i, shift := at>>5, at&31
	for _, part := range [...]uint64{
		low << shift & low32, low >> (32 - shift) & low32, (low>>(64-shift) | high<<shift) & low32, high >> (32 - shift) & low32, high >> (64 - shift),
	} {
		m.squares.add(i, int64(part))
		i++
	}
}

// Merge takes in what o has.
func (m *SparseMoments) Merge(o *SparseMoments) {
	m.n += o.n
	m.sum.Merge(&o.sum)
	squares := o.squares.clone()
	squares.carry()
	m.squares.carry()
	m.squares.merge(&squares, 1)
	m.squares.carry()
}

// N returns how many numbers there are.
func (m *SparseMoments) N() int64 { return m.n }

// Mean returns the mean, rounded once; NaN for no number.
func (m *SparseMoments) Mean() float64 {
	if m.n == 0 {
		return math.NaN()
	}
	return m.sum.Mean(m.n)
}

// Deviation returns the population's standard deviation, as [Moments.Deviation] does; NaN for no number.
func (m *SparseMoments) Deviation() float64 {
	return deviation(m.n, m.n, m.sum.chunks.units(), m.squares.units())
}

// sparse is a fixed-point number in chunks of 32 bits that overlap, of which only those that are used are there.
type sparse struct {
	mask [3]uint64 // which there are
	list []int64   // those, ascending
}

// add adds v to chunk i.
func (s *sparse) add(i uint, v int64) {
	if v == 0 {
		return
	}
	at, bit := 0, uint64(1)<<(i&63)
	for _, m := range s.mask[:i>>6] {
		at += bits.OnesCount64(m)
	}
	m := &s.mask[i>>6]
	at += bits.OnesCount64(*m & (bit - 1))
	if *m&bit == 0 {
		*m |= bit
		s.list = slices.Insert(s.list, at, 0)
	}
	s.list[at] += v
}

// carry brings every chunk between -2^32 and 2^32: towards 0, so that a sum below 0 needs no more chunks than another.
func (s *sparse) carry() {
	at := 0
	for w := range s.mask {
		for bit := 0; bit < 64; bit++ {
			rest := s.mask[w] >> bit // as it is now: a carry can have added a chunk
			if rest == 0 {
				break
			}
			bit += bits.TrailingZeros64(rest)
			over := s.list[at] / (1 << 32)
			s.list[at] -= over << 32
			s.add(uint(w*64+bit+1), over)
			at++
		}
	}
}

func (s *sparse) merge(o *sparse, sign int64) {
	at := 0
	for w, m := range o.mask {
		for ; m != 0; m &= m - 1 {
			s.add(uint(w*64+bits.TrailingZeros64(m)), sign*o.list[at])
			at++
		}
	}
}

func (s *sparse) clone() sparse { return sparse{s.mask, slices.Clone(s.list)} }

// units returns the number in units of chunk 0.
func (s *sparse) units() *big.Int {
	total, chunk := new(big.Int), new(big.Int)
	at, above := len(s.list), 0 // the position of the chunk that total was last shifted to
	for w := len(s.mask) - 1; w >= 0; w-- {
		for m := s.mask[w]; m != 0; {
			bit := bits.Len64(m) - 1
			m &^= 1 << bit
			i := w*64 + bit
			at--
			total.Lsh(total, uint(32*max(above-i, 0))).Add(total, chunk.SetInt64(s.list[at]))
			above = i
		}
	}
	return total.Lsh(total, uint(32*above))
}
