// Package bitplane scores decision trees for Rows rows at a time, with one bit a row.
//
// The answer of a split for all rows is a plane. A tree is scored without looking at single rows: the rows that
// reach a node are a plane, and those of its children are that plane with and without the answer of the node's
// split. Leaves have numbers, whose bits are gathered in planes too; only then each row looks up its leaf. So a split
// costs a few operations for all rows, and no load waits for the one before it, as it does where trees are walked.
//
// The loops that take the time are in a [Kernel]. Each kernel gives the same answers, bit for bit.
package bitplane

import "math"

// Rows is the number of rows of a plane, and Words the number of its words.
const (
	Rows  = 64 * Words
	Words = halves * halfWords

	halves    = 2
	halfWords = 4
	halfRows  = 64 * halfWords
)

// Plane holds one bit for each of Rows rows: that of row i is bit i%64 of word i/64, counted over both halves.
type Plane [halves]half

// half is what portable kernels take at a time: as many words as fit into registers.
type half [halfWords]uint64

// Has tells whether the bit of a row is set.
func (p *Plane) Has(row int) bool {
	return p[row/halfRows][row/64%halfWords]>>(row%64)&1 != 0
}

// Or sets p to the union of a and b.
func (p *Plane) Or(a, b *Plane) {
	for h := range p {
		x, y, z := &p[h], &a[h], &b[h]
		x[0] = y[0] | z[0]
		x[1] = y[1] | z[1]
		x[2] = y[2] | z[2]
		x[3] = y[3] | z[3]
	}
}

// The limits of a tree.
const (
	MaxPlanes = 8              // of the leaves' numbers
	MaxLeaves = 1 << MaxPlanes // so that a leaf's number fits a byte
	minValues = 32             // a tree has values for so many leaves, even if it has fewer
	noPlane   = MaxPlanes      // a plane that counts for nothing
)

// Tree is a tree for [Kernel.Add]. Its parts are as [Compile] makes them: kernels do not check them.
type Tree struct {
	inner  []innerStep
	bottom []bottomStep
	extra  []extraStep
	planes int       // of the leaves' numbers
	values []float64 // of leaves, by number
}

// innerStep is a split. The rows of set from that have a bit in plane cut go right, and their leaves' numbers have the
// bit plane. The step makes two sets, which are counted on from 1: the rows that go left, and those that go right.
type innerStep struct{ cut, from, plane uint16 }

// bottomStep is a split between two leaves. The bit is the lowest.
type bottomStep struct{ cut, from uint16 }

// extraStep gives the leaves' numbers of a set one bit more.
type extraStep struct{ from, plane uint16 }

// Scratch is the memory that a kernel works in. Its contents mean nothing between calls. Kernels are fastest if it
// starts at the start of a cache line, as it does where it comes first in a large object.
type Scratch struct {
	planes [2 * MaxPlanes]Plane // of the leaves' numbers, noPlane, and room for kernels
	reach  [2 * MaxLeaves]Plane // sets of rows; 0 is all of them
}

// Kernel is one implementation of the loops that take the time. Rows beyond the first rows of a plane, and their
// sums, hold nothing of meaning before and after.
type Kernel struct {
	// Name names the kernel.
	Name string
	// Union sets each plane of dst to the union of the tables that are picked for it: an even number, the same for
	// each. A pick is a position in tables. It is not checked.
	Union func(dst, tables []Plane, picks []uint16, rows int)
	// Add adds to the sum of each row the value of its leaf. The cuts are the answers of the splits.
	Add func(t *Tree, cuts []Plane, s *Scratch, sums *[Rows]float64, rows int)
}

// Key returns an integer for a number that is not NaN, so that keys have the order of their numbers. 0 and -0 have
// the same key. No key is 0 or as large as MaxKey.
func Key(x float64) uint64 {
	b := math.Float64bits(x + 0) // -0 + 0 is 0
	return b ^ (uint64(int64(b)>>63) | 1<<63)
}

// MaxKey is beyond the keys of all numbers.
const MaxKey = math.MaxUint64

// number returns the number that has a key, but for 0, which may be -0.
func number(key uint64) float64 {
	if key>>63 != 0 {
		return math.Float64frombits(key ^ 1<<63)
	}
	return math.Float64frombits(^key)
}
