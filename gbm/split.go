package gbm

import (
	"cmp"
	"slices"
)

// sums is the packed sums of a set of rows: the residuals above, the number of rows below. See [trainer.packed].
type sums struct {
	residual float64 // in units of the tree's quantum
	rows     float64
}

func (t *trainer) unpack(v int64) sums {
	return sums{residual: float64(v >> t.countBits), rows: float64(v & (1<<t.countBits - 1))}
}

// split is the best split of a node found so far; gain 0 is none.
type split struct {
	gain        float64 // by how much the squared error falls
	input       int     // position in the matrix
	cut         int     // numeric: bins up to this one go left; the last one stands for every value
	missingLeft bool
	set         bitSet // enum: the bins that go left, and that of missing values
	left        int64  // packed sums of the left side
}

// finder looks for splits of one node. Each worker has its own.
type finder struct {
	t      *trainer
	total  sums
	mean   float64
	packed int64
	best   split
	levels []level // scratch
}

// level is a level, or the missing values, of an enum in a node.
type level struct {
	bin  int
	key  float64
	sums int64
}

func (f *finder) reset(t *trainer, packed int64) {
	f.t, f.packed, f.total = t, packed, t.unpack(packed)
	f.mean = f.total.residual / f.total.rows
	f.best = split{}
}

// gain returns by how much the squared error falls when the rows of left, and no others, go left: 0 if a side
// has too few rows. l2 rows of the node's mean are added to each side.
func (f *finder) gain(left sums, l2 float64) float64 {
	right := f.total.rows - left.rows
	least := float64(f.t.p.MinRows)
	if left.rows < least || right < least {
		return 0
	}
	d := left.residual - float64(f.mean*left.rows) // what the left side has above the node's mean
	return float64(d*d) * (f.total.rows + 2*l2) / float64((left.rows+l2)*(right+l2))
}

// numeric tries every cut of a numeric input, with missing values on either side.
func (f *finder) numeric(i int, in *input, hist []int64) {
	missing := hist[in.n]
	var left int64
	for b, v := range hist[:in.n] {
		if v == 0 {
			continue // the same rows as the cut before
		}
		left += v
		if left+missing == f.packed {
			b = in.n - 1 // every value, not only those of this node, against missing
		}
		f.try(split{input: i, cut: b, left: left}, 0)
		if missing != 0 {
			f.try(split{input: i, cut: b, left: left + missing, missingLeft: true}, 0)
		}
	}
}

func (f *finder) try(s split, l2 float64) bool {
	s.gain = f.gain(f.t.unpack(s.left), l2)
	if s.gain <= f.best.gain {
		return false
	}
	f.best = s
	return true
}

// enum sorts the levels that have rows by their mean, with missing values as one of them and all rare levels
// together as another, and tries every cut.
func (f *finder) enum(i int, in *input, hist []int64) {
	f.levels = f.levels[:0]
	var rare int64
	for b, v := range hist {
		switch {
		case v == 0:
		case f.rare(in, b, v):
			rare += v
		default:
			f.addLevel(b, v)
		}
	}
	if rare != 0 {
		f.addLevel(rareBins, rare)
	}
	slices.SortFunc(f.levels, func(a, b level) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.bin, b.bin))
	})
	var left int64
	cut := -1
	for k := range max(0, len(f.levels)-1) {
		left += f.levels[k].sums
		if f.try(split{input: i, left: left}, f.t.p.CatL2) {
			cut = k
		}
	}
	if cut >= 0 {
		f.best.set = f.set(in, hist, f.levels[:cut+1])
		f.best.missingLeft = f.best.set.has(in.n)
	}
}

// rareBins stands for all bins of rare levels.
const rareBins = -1

// rare tells whether bin b holds a level with too few rows to be looked at alone.
func (f *finder) rare(in *input, b int, v int64) bool {
	return b != in.n && f.t.unpack(v).rows < float64(f.t.p.CatMinRows)
}

// addLevel adds a level with its mean, drawn towards the node's.
func (f *finder) addLevel(b int, v int64) {
	s, smooth := f.t.unpack(v), f.t.p.CatSmooth
	key := (s.residual + float64(smooth*f.mean)) / (s.rows + smooth)
	f.levels = append(f.levels, level{bin: b, key: key, sums: v})
}

// set returns the bins of an enum that go left when the given levels do. Bins without rows in the node go where
// missing values go.
func (f *finder) set(in *input, hist []int64, left []level) bitSet {
	set := newBitSet(in.n + 1)
	rareLeft := false
	for _, l := range left {
		if l.bin == rareBins {
			rareLeft = true
		} else {
			set.add(l.bin)
		}
	}
	missingLeft := set.has(in.n)
	if hist[in.n] == 0 {
		missingLeft = f.majorityLeft()
	}
	for b, v := range hist {
		if v == 0 && missingLeft || v != 0 && rareLeft && f.rare(in, b, v) {
			set.add(b)
		}
	}
	return set
}

// majorityLeft tells whether most rows of the best split go left.
func (f *finder) majorityLeft() bool {
	return 2*f.t.unpack(f.best.left).rows >= f.total.rows
}

// input tries the splits of input i.
func (f *finder) input(i int, h *histogram) {
	in := &f.t.m.inputs[i]
	hist := h.of(in)
	if in.enum {
		f.enum(i, in, hist)
		return
	}
	before := f.best.gain
	f.numeric(i, in, hist)
	if f.best.gain > before && hist[in.n] == 0 {
		f.best.missingLeft = f.majorityLeft()
	}
}

// parallelBins is the number of bins from which a search is worth sharing.
const parallelBins = 1 << 15

// find returns the best split of a node among the given inputs, in ascending order. The first of equal ones
// wins, whatever the number of workers.
func (t *trainer) find(inputs []int, packed int64, h *histogram) split {
	bins := 0
	for _, i := range inputs {
		bins += t.m.inputs[i].n + 1
	}
	if bins < parallelBins || t.pool.n == 1 {
		f := &t.finders[0]
		f.reset(t, packed)
		for _, i := range inputs {
			f.input(i, h)
		}
		return f.best
	}
	n := len(t.finders)
	t.pool.run(n, func(w int) {
		f := &t.finders[w]
		f.reset(t, packed)
		for _, i := range inputs[len(inputs)*w/n : len(inputs)*(w+1)/n] {
			f.input(i, h)
		}
	})
	best := t.finders[0].best
	for w := 1; w < n; w++ {
		if s := t.finders[w].best; s.gain > best.gain {
			best = s
		}
	}
	return best
}
