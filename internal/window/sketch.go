package window

import (
	"math"
	"math/bits"
	"slices"
)

// maxCells is how many different values a tile keeps for percentiles.
const maxCells = 64

// cell is some equal values. Its key is an order, see there, or the leading bits of one.
type cell struct {
	key uint64
	n   int64
}

// sketch is the values of one argument in a tile, for percentiles: the leading bits of their orders, and how often
// each comes. drop is how many of the last bits are not kept, the fewest that leave at most maxCells keys. So what it
// holds does not depend on the order in which values came: keys that are equal stay equal as more bits are dropped.
type sketch struct {
	cells []cell // by key, ascending
	drop  uint8
}

// order returns a number for x so that numbers compare as the floats do. x is not NaN.
func order(x float64) uint64 {
	b := math.Float64bits(x)
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

// unorder returns the float of an order; an infinity, which a middle of a cell can be, is the float next to it.
func unorder(key uint64) float64 {
	b := key &^ (1 << 63)
	if key>>63 == 0 {
		b = ^key
	}
	return max(-math.MaxFloat64, min(math.Float64frombits(b), math.MaxFloat64))
}

// reset removes all values and keeps the memory.
func (s *sketch) reset() { s.cells, s.drop = s.cells[:0], 0 }

// add adds a value.
func (s *sketch) add(x float64) {
	key := order(x) >> s.drop
	i, ok := slices.BinarySearchFunc(s.cells, key, compareKey)
	if ok {
		s.cells[i].n++
		return
	}
	s.cells = slices.Insert(s.cells, i, cell{key, 1})
	if len(s.cells) > maxCells {
		s.shrink()
	}
}

func compareKey(c cell, key uint64) int {
	switch {
	case c.key < key:
		return -1
	case c.key > key:
		return 1
	default:
		return 0
	}
}

// shrink drops the fewest bits that have two cells become one.
func (s *sketch) shrink() {
	more := 64
	for i := range s.cells[1:] {
		more = min(more, bits.Len64(s.cells[i].key^s.cells[i+1].key))
	}
	s.drop += uint8(more)
	kept := s.cells[:0]
	for _, c := range s.cells {
		c.key >>= more
		if n := len(kept); n > 0 && kept[n-1].key == c.key {
			kept[n-1].n += c.n
		} else {
			kept = append(kept, c)
		}
	}
	s.cells = kept
}

// spread appends the cells with whole orders as keys: the middles of the cells, where bits were dropped.
func (s *sketch) spread(dst []cell) []cell {
	var middle uint64
	if s.drop > 0 {
		middle = 1 << (s.drop - 1)
	}
	for _, c := range s.cells {
		dst = append(dst, cell{c.key<<s.drop | middle, c.n})
	}
	return dst
}

// ranked is the values of several tiles in ascending order. The number of a cell is that of the values up to and
// including it.
type ranked struct {
	cells []cell
	spare []cell
	ends  []int // of runs of cells in ascending order
}

// of has r be the values of one argument, k, in the tiles in positions from up to but not including to.
func (r *ranked) of(sketches []sketch, stride, from, to, k int) {
	r.cells, r.ends = r.cells[:0], r.ends[:0]
	for i := from; i < to; i++ {
		r.cells = sketches[i*stride+k].spread(r.cells)
		r.ends = append(r.ends, len(r.cells))
	}
	r.sort()
	var n int64
	for i := range r.cells {
		n += r.cells[i].n
		r.cells[i].n = n
	}
}

// sort merges the runs, neighbours by neighbours, until there is one.
func (r *ranked) sort() {
	for len(r.ends) > 1 {
		r.spare = r.spare[:0]
		ends, from := r.ends[:0], 0
		for i := 0; i < len(r.ends); i += 2 {
			end := r.ends[min(i+1, len(r.ends)-1)]
			r.spare = mergeRuns(r.spare, r.cells[from:r.ends[i]], r.cells[r.ends[i]:end])
			ends, from = append(ends, end), end
		}
		r.ends = ends
		r.cells, r.spare = r.spare, r.cells
	}
}

func mergeRuns(dst, a, b []cell) []cell {
	for len(a) > 0 && len(b) > 0 {
		if b[0].key < a[0].key {
			dst, b = append(dst, b[0]), b[1:]
		} else {
			dst, a = append(dst, a[0]), a[1:]
		}
	}
	return append(append(dst, a...), b...)
}

// upTo returns how many values have a key up to and including key.
func (r *ranked) upTo(key uint64) int64 {
	low, high := 0, len(r.cells)
	for low < high {
		if mid := (low + high) / 2; r.cells[mid].key <= key {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return 0
	}
	return r.cells[low-1].n
}

// reach returns the lowest key of r with at least rank values of both up to it, and the highest key of all if there
// is none.
func (r *ranked) reach(other *ranked, rank int64) uint64 {
	low, high := 0, len(r.cells)
	for low < high {
		if mid := (low + high) / 2; r.cells[mid].n+other.upTo(r.cells[mid].key) < rank {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == len(r.cells) {
		return math.MaxUint64
	}
	return r.cells[low].key
}

// percentile returns the value of rank ceil(p*n) among the n values of both, of which there is one. What p*n is above
// a whole number by less than 1e-9 is rounding.
func (r *ranked) percentile(later *ranked, n int64, p float64) float64 {
	rank := int64(max(1, math.Ceil(float64(p*float64(n))-1e-9)))
	rank = min(rank, n)
	return unorder(min(r.reach(later, rank), later.reach(r, rank)))
}
