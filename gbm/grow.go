package gbm

import (
	"math"
	"math/bits"
)

// cell is a node under construction: a run of the row order with its sums.
type cell struct {
	lo, hi int // rows order[lo:hi]
	depth  int
	packed int64
	square u128
	hist   *histogram // nil if the cell cannot be split
}

// leafRun is the rows of a leaf and its value.
type leafRun struct {
	lo, hi int
	value  float64
}

// u128 is a sum of squared quantised residuals; it is exact, so it does not depend on the order of the rows.
type u128 struct{ hi, lo uint64 }

func (a u128) addSquare(q int64) u128 {
	x := uint64(max(q, -q))
	hi, lo := bits.Mul64(x, x)
	var c uint64
	a.lo, c = bits.Add64(a.lo, lo, 0)
	a.hi, _ = bits.Add64(a.hi, hi, c)
	return a
}

func (a u128) add(b u128) u128 {
	var c uint64
	a.lo, c = bits.Add64(a.lo, b.lo, 0)
	a.hi, _ = bits.Add64(a.hi, b.hi, c)
	return a
}

func (a u128) sub(b u128) u128 {
	var c uint64
	a.lo, c = bits.Sub64(a.lo, b.lo, 0)
	a.hi, _ = bits.Sub64(a.hi, b.hi, c)
	return a
}

func (a u128) float() float64 { return float64(float64(a.hi)*0x1p64) + float64(a.lo) }

// grow builds a tree over the rows in t.order, whose values are in the units of the target. It returns the
// nodes in preorder, and leaves the rows of each leaf in t.leaves.
func (t *trainer) grow(columns []int) []node {
	t.leaves = t.leaves[:0]
	t.columns = columns
	t.nodes, t.nodeGains = nil, nil
	root := cell{lo: 0, hi: len(t.order)}
	root.hist = t.takeHistogram()
	root.packed, root.square = t.build(root.hist, 0, len(t.order))
	t.split(root)
	return t.nodes
}

// split appends the cell's subtree. It gives the cell's histogram back.
func (t *trainer) split(c cell) {
	at := len(t.nodes)
	s := t.bestSplit(c)
	if s.gain == 0 {
		v := t.leafValue(c.packed)
		t.nodes = append(t.nodes, node{input: leaf, value: v})
		t.nodeGains = append(t.nodeGains, 0)
		t.leaves = append(t.leaves, leafRun{c.lo, c.hi, v})
		t.giveHistogram(c.hist)
		return
	}
	in := &t.m.inputs[s.input]
	t.nodes = append(t.nodes, t.node(in, &s))
	t.nodeGains = append(t.nodeGains, math.Ldexp(s.gain, -2*t.quantum))
	left, right := t.children(c, &s)
	t.split(left)
	t.nodes[at].right = int32(len(t.nodes))
	t.split(right)
}

// splittable tells whether a cell of the given depth and sums can be split at all.
func (t *trainer) splittable(depth int, packed int64) bool {
	return depth < t.p.MaxDepth && t.unpack(packed).rows >= 2*float64(t.p.MinRows)
}

// bestSplit returns the best split of a cell, or one with gain 0 if none is good enough.
func (t *trainer) bestSplit(c cell) split {
	if c.hist == nil || !t.splittable(c.depth, c.packed) {
		return split{}
	}
	inputs := t.columns
	if t.p.ColSampleRate < 1 {
		t.drawn = append(t.drawn[:0], inputs...)
		inputs = sampleColumns(t.drawn, t.columnStream, t.p.ColSampleRate)
	}
	s := t.find(inputs, c.packed, c.hist)
	n, sq := t.unpack(c.packed), c.square.float()
	spread := sq - float64(n.residual*n.residual)/n.rows
	// The second bound is the rounding error of the sums: no split is better than it.
	if s.gain <= max(float64(t.p.MinSplitImprovement*spread), float64(0x1p-40*sq)) {
		return split{}
	}
	return s
}

// leafValue returns the contribution of a leaf: the mean residual of its rows, times the learn rate.
func (t *trainer) leafValue(packed int64) float64 {
	s := t.unpack(packed)
	if s.rows == 0 {
		return 0
	}
	return math.Ldexp(float64(t.p.LearnRate*(s.residual/s.rows)), -t.quantum)
}

// node returns the node of a split, its right child not yet set.
func (t *trainer) node(in *input, s *split) node {
	n := node{input: int32(in.column), missingLeft: s.missingLeft}
	switch {
	case in.enum:
		n.set = newBitSet(len(in.levelBins))
		for l, b := range in.levelBins {
			if s.set.has(int(b)) {
				n.set.add(l)
			}
		}
	case s.cut < len(in.cuts):
		n.value = in.cuts[s.cut]
	default:
		n.value = math.Inf(1) // every value against missing
	}
	return n
}

// children partitions the rows of a cell and returns its sides, with histograms if they can be split: the one
// of the smaller side is built, the other is what remains of the cell's.
func (t *trainer) children(c cell, s *split) (left, right cell) {
	mid := t.partition(c.lo, c.hi, s)
	left = cell{lo: c.lo, hi: mid, depth: c.depth + 1, packed: s.left}
	right = cell{lo: mid, hi: c.hi, depth: c.depth + 1, packed: c.packed - s.left}
	if !t.splittable(left.depth, left.packed) && !t.splittable(right.depth, right.packed) {
		t.giveHistogram(c.hist)
		return left, right
	}
	small, large := &left, &right
	if right.hi-right.lo < left.hi-left.lo {
		small, large = large, small
	}
	small.hist = t.takeHistogram()
	_, small.square = t.build(small.hist, small.lo, small.hi)
	large.hist, large.square = c.hist, c.square.sub(small.square)
	large.hist.subtract(small.hist)
	return left, right
}

func (t *trainer) takeHistogram() *histogram {
	if n := len(t.free); n > 0 {
		h := t.free[n-1]
		t.free = t.free[:n-1]
		return h
	}
	return t.m.newHistogram()
}

func (t *trainer) giveHistogram(h *histogram) {
	if h != nil {
		t.free = append(t.free, h)
	}
}

// parallelCells is the number of values (rows times inputs) from which a step is worth sharing.
const parallelCells = 1 << 16

// build sets h to the histograms of the rows order[lo:hi] and returns their sums. Few inputs are shared out by
// rows, each worker with a histogram of its own; many by inputs.
func (t *trainer) build(h *histogram, lo, hi int) (packed int64, square u128) {
	workers := t.pool.n
	if (hi-lo)*len(t.m.inputs) < parallelCells {
		workers = 1
	}
	byInputs := workers > 1 && t.m.parts() >= 2*workers
	for !byInputs && len(t.private) < workers-1 {
		t.private = append(t.private, t.m.newHistogram())
	}
	t.pool.run(workers, func(w int) {
		rows := t.order[lo+(hi-lo)*w/workers : lo+(hi-lo)*(w+1)/workers]
		t.partial[w] = t.squares(rows)
		if byInputs {
			return
		}
		own := h
		if w > 0 {
			own = t.private[w-1]
		}
		for part := range t.m.parts() {
			t.m.fillPart(own, part, rows, t.packed)
		}
	})
	if byInputs {
		t.pool.each(t.m.parts(), 1, func(part, _, _ int) { t.m.fillPart(h, part, t.order[lo:hi], t.packed) })
	}
	for w := range workers {
		packed += t.partial[w].packed
		square = square.add(t.partial[w].square)
		if w > 0 && !byInputs {
			h.add(t.private[w-1])
		}
	}
	return packed, square
}

// partialSums is the sums of one worker's rows.
type partialSums struct {
	packed int64
	square u128
	_      [40]byte // keeps workers off each other's cache line
}

func (t *trainer) squares(rows []uint32) partialSums {
	var s partialSums
	for _, r := range rows {
		v := t.packed[r]
		s.packed += v
		s.square = s.square.addSquare(v >> t.countBits)
	}
	return s
}

// partition moves the rows of order[lo:hi] that go left to the front, keeps their order on both sides, and
// returns where the right side starts.
func (t *trainer) partition(lo, hi int, s *split) int {
	in := &t.m.inputs[s.input]
	goesRight := t.side(in, s)
	n, workers := hi-lo, t.pool.n
	if n < parallelCells {
		workers = 1
	}
	at := func(w int) int { return lo + n*w/workers }
	t.pool.run(workers, func(w int) {
		a, b := at(w), at(w+1)
		if in.wide() {
			t.lefts[w] = divide(t.order[a:b], t.spare[a:b], in.words, goesRight)
		} else {
			t.lefts[w] = divide(t.order[a:b], t.spare[a:b], in.bytes, goesRight)
		}
	})
	end := lo
	for w := range workers {
		end += copy(t.order[end:], t.order[at(w):at(w)+t.lefts[w]])
	}
	mid := end
	for w := range workers {
		end += copy(t.order[end:], t.spare[at(w):at(w+1)-t.lefts[w]])
	}
	return mid
}

// side returns a table that says for each bin of an input whether it goes right: 0 or 1.
func (t *trainer) side(in *input, s *split) []uint8 {
	if cap(t.sides) < in.n+1 {
		t.sides = make([]uint8, max(in.n+1, maxBins+1))
	}
	goesRight := t.sides[:in.n+1]
	for b := range goesRight {
		left := b <= s.cut
		switch {
		case b == in.n:
			left = s.missingLeft
		case in.enum:
			left = s.set.has(b)
		}
		goesRight[b] = 1
		if left {
			goesRight[b] = 0
		}
	}
	return goesRight
}

// divide moves the rows that go left to the front of rows and those that go right to spare; it returns the
// number of the former. It writes every row to both and only then moves on in one, so that no jump depends on
// the data.
func divide[T uint8 | uint16](rows, spare []uint32, bins []T, goesRight []uint8) int {
	left, right := 0, 0
	for _, r := range rows {
		g := int(goesRight[bins[r]])
		rows[left] = r
		spare[right] = r
		left += 1 - g
		right += g
	}
	return left
}
