package bitplane

import (
	"math"
	"math/bits"
)

// Ranks finds out how many of a sorted list of thresholds a number is above.
//
// Numbers are put into cells; the thresholds below a cell are known, and those in a cell are searched. All searches of a
// column take the same steps, without a jump that depends on the number: none would be predicted.
type Ranks struct {
	n     int
	keys  []uint64 // of the thresholds and of +Inf, and then MaxKey, so that a search never goes past the end
	cells cells
	below []uint16 // by cell: the number of keys in the cells before
	step  int      // the first of a search
}

// cells cut the numbers into intervals: by the bits of a float64, after something has been added to the number. So they
// are wider for large numbers, by as much as the sum's exponent says: what is added decides how many exponents there
// are.
type cells struct {
	add   float64
	base  int64 // the bits at which the second cell starts to the left
	shift uint  // the logarithm of a cell's width
	last  uint64
}

// NewRanks returns the Ranks of thresholds given by their keys, in ascending order. At most 1<<16-2 are allowed.
func NewRanks(keys []uint64) Ranks {
	r := Ranks{n: len(keys), keys: append(append([]uint64(nil), keys...), Key(math.Inf(1)))}
	thresholds := make([]float64, len(r.keys))
	low, high := math.Inf(1), math.Inf(-1)
	for i, k := range r.keys {
		v := number(k)
		thresholds[i] = v
		if !math.IsInf(v, 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	best := len(r.keys) + 1
	for _, part := range []float64{1, 0x1p-4, 0x1p-8, 0x1p-16, 0x1p-32} {
		c := newCells(low, high, part, uint64(2*len(r.keys)))
		counts, largest := make([]int, c.last+1), 0
		for _, v := range thresholds {
			k := c.of(v)
			counts[k]++
			largest = max(largest, counts[k])
		}
		if largest >= best {
			continue
		}
		best, r.cells, r.below = largest, c, make([]uint16, len(counts))
		sum := 0
		for i, n := range counts {
			r.below[i] = uint16(sum)
			sum += n
		}
	}
	r.step = 1 << bits.Len(uint(best)) >> 1
	for range 2 * r.step {
		r.keys = append(r.keys, MaxKey)
	}
	return r
}

// newCells returns cells for numbers from low to high, at least n of them and fewer than four times as many. What is
// added makes the numbers positive, with a part of their range between them and 0.
func newCells(low, high, part float64, n uint64) cells {
	c := cells{last: 1<<bits.Len64(n) - 1}
	if spare := float64((high - low) * part); spare > 0 && !math.IsInf(spare-low, 0) {
		c.add = spare - low
		c.base = int64(math.Float64bits(low + c.add))
		width := int64(math.Float64bits(high+c.add)) - c.base
		c.shift = uint(max(0, bits.Len64(uint64(width))-bits.Len64(c.last)))
	}
	return c
}

// of returns the cell of a number: one that is larger has the same or a later one. The last is that of +Inf.
func (c *cells) of(v float64) uint64 {
	b := int64(math.Float64bits(v + c.add)) // negative for a number that is
	return min(uint64(max(b, c.base)-c.base)>>(c.shift%64), c.last)
}

// Planes returns how many planes [Ranks.Fill] fills.
func (r *Ranks) Planes() int { return r.n + 2 }

// Fill sets dst[i+1] to the rows with values above threshold i, and the last plane of dst to the rows where the value
// is missing: NaN. dst[0] then means nothing.
func (r *Ranks) Fill(dst []Plane, values []float64) {
	clear(dst)
	var ranks [64]uint32
	for w := 0; len(values) > 0; w++ {
		n := min(64, len(values))
		r.find(&ranks, values[:n])
		h, k, bit := w/halfWords%halves, w%halfWords, uint64(1)
		for _, rank := range ranks[:n] {
			dst[rank][h][k] |= bit
			bit <<= 1
		}
		values = values[n:]
	}
	for h := range halves {
		accumulate(dst[1:r.n+1], h)
	}
}

// accumulate adds to each plane those after it.
func accumulate(planes []Plane, h int) {
	h &= halves - 1 // so that the compiler knows
	var a, b, c, d uint64
	for i := len(planes) - 1; i >= 0; i-- {
		p := &planes[i][h]
		a |= p[0]
		b |= p[1]
		c |= p[2]
		d |= p[3]
		p[0], p[1], p[2], p[3] = a, b, c, d
	}
}

// find returns for each of at most 64 values how many keys of r are below its key: for one that is missing, all. The
// searches go side by side, a step of all of them at a time.
func (r *Ranks) find(ranks *[64]uint32, values []float64) {
	var wanted [64]uint64
	cells, below := r.cells, r.below
	for i, v := range values {
		key, cell := Key(v), cells.of(v)
		if v != v {
			key, cell = MaxKey, cells.last
		}
		wanted[i%64] = key
		ranks[i%64] = uint32(below[cell])
	}
	n := min(len(values), 64)
	for step := r.step; step > 0; step >>= 1 {
		keys := r.keys[step-1:]
		for i, key := range wanted[:n] {
			_, less := bits.Sub64(keys[ranks[i]], key, 0)
			ranks[i] += uint32(step) & -uint32(less)
		}
	}
}

// The tables of an enum hold, for each group of four levels, the rows of each of the 16 sets of these levels.
const (
	groupLevels = 4
	groupTables = 1 << groupLevels
)

// Tables returns how many tables [FillTables] fills for an enum with so many levels; what is missing is one level
// more.
func Tables(levels int) int { return (levels + groupLevels) / groupLevels * groupTables }

// FillTables fills the tables of an enum.
func FillTables(tables []Plane, codes []int32, levels int) {
	clear(tables)
	for w := 0; len(codes) > 0; w++ {
		n, bit := min(64, len(codes)), uint64(1)
		h, k := w/halfWords%halves, w%halfWords
		for _, c := range codes[:n] {
			level := min(uint32(c), uint32(levels)) // -1 is a large number
			tables[level/groupLevels*groupTables+1<<(level%groupLevels)][h][k] |= bit
			bit <<= 1
		}
		codes = codes[n:]
	}
	for ; len(tables) >= groupTables; tables = tables[groupTables:] {
		for k := 3; k < groupTables; k++ {
			if one := k & -k; k != one {
				tables[k].Or(&tables[k-one], &tables[one])
			}
		}
	}
}

// Picks appends the tables whose union is the rows with a level of a set: as many for each set of an enum, an even
// number.
func Picks(picks []uint16, set []uint64, levels int) []uint16 {
	groups := (levels + groupLevels) / groupLevels
	for g := range groups {
		k := set[g*groupLevels/64] >> (g * groupLevels % 64) % groupTables
		picks = append(picks, uint16(g*groupTables)+uint16(k))
	}
	if groups%2 != 0 {
		picks = append(picks, 0) // the table of the empty set
	}
	return picks
}

// FillSet sets dst to the rows with a level of a set: for enums with so many levels that tables would be too large.
func FillSet(dst *Plane, set []uint64, codes []int32, levels int) {
	for w := 0; len(codes) > 0; w++ {
		n := min(64, len(codes))
		var word uint64
		for i, c := range codes[:n] {
			level := min(uint32(c), uint32(levels))
			word |= set[level/64] >> (level % 64) & 1 << (i % 64)
		}
		dst[w/halfWords%halves][w%halfWords] = word
		codes = codes[n:]
	}
}
