package gbm

import (
	"math"
	"sync"

	"millrace.dev/record"
)

// program is a forest compiled for scoring: a walk that takes lanes rows through a tree at the same time, each
// step of which loads a node, compares, and adds the answer to the position of the left child. A leaf is a node
// that leads to itself, so that all rows take as many steps as the tree is deep and no jump depends on the data.
//
// Rows are first copied from columns into groups of lanes rows, slot by slot, which hold every input in the form in
// which nodes compare it: missing as +Inf where it goes right and as -Inf where it goes left, so that nodes need not
// ask for NaN; and numbers as integers of the same order, since the codes of enums are integers and a step serves both.
// The rows of a group are interleaved so that one address serves all of them: with one for each row the processor
// runs out of registers.
type program struct {
	slots   []slot
	nodes   []step
	values  []float64 // of leaves, by node
	trees   []compiledTree
	sets    []uint64 // bits of levels that go right; the bit after the last level is missing
	rows    int      // rows of a block
	single  bool     // sums are of single precision
	scratch sync.Pool
}

// step is a compiled node. Its right child comes after its left child.
type step struct {
	threshold int64 // what is more goes right: the key of a number; for an enum the largest integer
	left      uint32
	slot      uint32 // position in the group of rows
	set       uint32 // enum: the first word of its set; otherwise 0, a word without bits
	mask      uint32 // enum: all ones, which leaves the code of what the slot holds; otherwise 0
}

type compiledTree struct {
	root  uint32
	depth int32
	enums bool // it has a split of an enum
}

// vector holds a slot of lanes rows.
type vector [lanes]int64

// key returns an integer for a number that is not NaN, so that keys have the order of their numbers. 0 and -0 have
// the same key.
func key(x float64) int64 {
	b := int64(math.Float64bits(x + 0)) // -0 + 0 is 0
	return b ^ int64(uint64(b>>63)>>1)
}

// slot is a number that is made of a row.
type slot struct {
	input  int32
	form   slotForm
	zero   bool   // of a number: zeros are missing
	levels uint32 // of an enum
}

// slotForm is the form of an input in a slot.
type slotForm uint8

const (
	missingHigh slotForm = iota // the value, or +Inf if it is missing
	missingLow                  // the value, or -Inf
	missingOnly                 // 1 if it is missing, else 0
	enumCode                    // the code; the number of levels stands for missing
)

// lanes is the number of rows that walk a tree at the same time: enough to hide the latency of loads.
const lanes = 8

// blockBytes is the size of the slots of a block of rows: half of a small first-level cache.
const blockBytes = 16 << 10

// newProgram compiles trees over the given inputs. The trees are valid: see checkTree.
func newProgram(inputs []record.Column, trees [][]node) *program {
	c := &compiler{inputs: inputs, index: make(map[slot]uint32), p: &program{sets: make([]uint64, 1)}}
	for _, t := range trees {
		c.tree(t)
	}
	p := c.p
	p.rows = max(lanes, blockBytes/8/max(1, len(p.slots))/lanes*lanes)
	size := p.rows / lanes * len(p.slots)
	p.scratch.New = func() any {
		x := make([]vector, max(1, size))
		return &x
	}
	return p
}

type compiler struct {
	inputs []record.Column
	index  map[slot]uint32
	p      *program
}

// tree compiles a tree level by level, so that siblings lie side by side.
func (c *compiler) tree(t []node) {
	type item struct {
		from int32  // node of t
		to   uint32 // node of the program
	}
	p := c.p
	ct := compiledTree{root: uint32(len(p.nodes))}
	c.grow(1)
	level := []item{{0, ct.root}}
	for {
		var next []item
		for _, it := range level {
			n := &t[it.from]
			if n.input == leaf {
				p.nodes[it.to] = step{threshold: math.MaxInt64, left: it.to}
				p.values[it.to] = n.value
				continue
			}
			left := c.grow(2)
			s := c.step(n)
			s.left = left
			p.nodes[it.to] = s
			ct.enums = ct.enums || s.mask != 0
			next = append(next, item{it.from + 1, left}, item{n.right, left + 1})
		}
		if len(next) == 0 {
			break
		}
		ct.depth++
		level = next
	}
	p.trees = append(p.trees, ct)
}

// grow adds n nodes and returns the first.
func (c *compiler) grow(n int) uint32 {
	first := uint32(len(c.p.nodes))
	c.p.nodes = append(c.p.nodes, make([]step, n)...)
	c.p.values = append(c.p.values, make([]float64, n)...)
	return first
}

// step compiles a split, without its children.
func (c *compiler) step(n *node) step {
	if c.inputs[n.input].Type == record.Enum {
		at := len(c.p.sets)
		levels := len(c.inputs[n.input].Levels)
		c.p.sets = append(c.p.sets, n.rightSet(levels)...)
		return step{threshold: math.MaxInt64, slot: c.slot(n, enumCode), set: uint32(at), mask: math.MaxUint32}
	}
	switch {
	case n.missingLeft:
		return step{threshold: key(n.value), slot: c.slot(n, missingLow)}
	case math.IsInf(n.value, 1): // +Inf > +Inf is false: a missing value would go left
		return step{threshold: key(0.5), slot: c.slot(n, missingOnly)}
	default:
		return step{threshold: key(n.value), slot: c.slot(n, missingHigh)}
	}
}

// rightSet returns the levels that an enum split sends to the right; missing counts as one level more.
func (n *node) rightSet(levels int) bitSet {
	set := newBitSet(levels + 1)
	for i, w := range n.set {
		set[i] = ^w
	}
	set[levels/64] &= 1<<(levels%64) - 1
	if !n.missingLeft {
		set.add(levels)
	}
	return set
}

func (c *compiler) slot(n *node, form slotForm) uint32 {
	s := slot{input: n.input, form: form, zero: n.zeroMissing, levels: uint32(len(c.inputs[n.input].Levels))}
	i, ok := c.index[s]
	if !ok {
		i = uint32(len(c.p.slots))
		c.index[s] = i
		c.p.slots = append(c.p.slots, s)
	}
	return i
}

// add adds the leaf values of the trees, in order, for the rows from first on to out.
func (p *program) add(cols []record.Column, first int, out []float64) {
	scratch, ok := p.scratch.Get().(*[]vector)
	if !ok {
		panic("gbm: the pool of blocks holds something else")
	}
	width := len(p.slots)
	for lo := 0; lo < len(out); lo += p.rows {
		block := out[lo:min(len(out), lo+p.rows)]
		x := *scratch
		for i, s := range p.slots {
			s.fill(x[i:], width, &cols[s.input], first+lo, len(block))
		}
		even := len(block) / lanes * lanes
		if p.single {
			even = 0
		}
		for i := range p.trees {
			if t := &p.trees[i]; t.enums {
				p.mixed(t, x, block[:even])
			} else {
				p.numeric(t, x, block[:even])
			}
		}
		for i := even; i < len(block); i++ {
			if p.single {
				block[i] = p.singleRow(x[i/lanes*width:], i%lanes, float32(block[i]))
			} else {
				block[i] = p.row(x[even/lanes*width:], i%lanes, block[i])
			}
		}
	}
	p.scratch.Put(scratch)
}

// fill writes n rows of a column, from first on, to every width-th vector of x.
func (s slot) fill(x []vector, width int, c *record.Column, first, n int) {
	if s.form == enumCode {
		for i, k := range c.Codes[first : first+n] {
			x[i/lanes*width][i%lanes] = int64(min(uint32(k), s.levels)) // -1 is a large number
		}
		return
	}
	missing := math.Inf(1)
	if s.form == missingLow {
		missing = math.Inf(-1)
	}
	for i, v := range c.Numbers[first : first+n] {
		isMissing := math.IsNaN(v) || s.zero && isZero(v)
		switch {
		case s.form == missingOnly:
			v = 0
			if isMissing {
				v = 1
			}
		case isMissing:
			v = missing
		}
		x[i/lanes*width][i%lanes] = key(v)
	}
}

// numeric walks a tree without enum splits.
func (p *program) numeric(t *compiledTree, x []vector, out []float64) {
	nodes, values, width := p.nodes, p.values, len(p.slots)
	for len(out) >= lanes {
		a, b, c, d := t.root, t.root, t.root, t.root
		e, f, g, h := a, a, a, a
		for range t.depth {
			a = nodes[a].next(x, 0)
			b = nodes[b].next(x, 1)
			c = nodes[c].next(x, 2)
			d = nodes[d].next(x, 3)
			e = nodes[e].next(x, 4)
			f = nodes[f].next(x, 5)
			g = nodes[g].next(x, 6)
			h = nodes[h].next(x, 7)
		}
		o := (*[lanes]float64)(out)
		o[0] += values[a]
		o[1] += values[b]
		o[2] += values[c]
		o[3] += values[d]
		o[4] += values[e]
		o[5] += values[f]
		o[6] += values[g]
		o[7] += values[h]
		x, out = x[width:], out[lanes:]
	}
}

func (s *step) next(x []vector, lane int) uint32 {
	var right uint32
	if x[s.slot][lane] > s.threshold {
		right = 1
	}
	return s.left + right
}

// mixed walks a tree that has enum splits.
func (p *program) mixed(t *compiledTree, x []vector, out []float64) {
	nodes, values, sets, width := p.nodes, p.values, p.sets, len(p.slots)
	for len(out) >= lanes {
		a, b, c, d := t.root, t.root, t.root, t.root
		e, f, g, h := a, a, a, a
		for range t.depth {
			a = nodes[a].nextMixed(x, 0, sets)
			b = nodes[b].nextMixed(x, 1, sets)
			c = nodes[c].nextMixed(x, 2, sets)
			d = nodes[d].nextMixed(x, 3, sets)
			e = nodes[e].nextMixed(x, 4, sets)
			f = nodes[f].nextMixed(x, 5, sets)
			g = nodes[g].nextMixed(x, 6, sets)
			h = nodes[h].nextMixed(x, 7, sets)
		}
		o := (*[lanes]float64)(out)
		o[0] += values[a]
		o[1] += values[b]
		o[2] += values[c]
		o[3] += values[d]
		o[4] += values[e]
		o[5] += values[f]
		o[6] += values[g]
		o[7] += values[h]
		x, out = x[width:], out[lanes:]
	}
}

func (s *step) nextMixed(x []vector, lane int, sets []uint64) uint32 {
	v := x[s.slot][lane]
	var right, member uint32
	if v > s.threshold {
		right = 1
	}
	code := uint32(v) & s.mask
	if sets[s.set+code/64]&(1<<(code%64)) != 0 {
		member = 1
	}
	return s.left + (right | member)
}

// row returns sum plus the leaf values of the row in one lane: it walks lanes trees at the same time.
func (p *program) row(x []vector, lane int, sum float64) float64 {
	nodes, values, sets := p.nodes, p.values, p.sets
	trees := p.trees
	lane &= lanes - 1 // so that the compiler knows
	for len(trees) >= lanes {
		t := (*[lanes]compiledTree)(trees)
		a, b, c, d := t[0].root, t[1].root, t[2].root, t[3].root
		e, f, g, h := t[4].root, t[5].root, t[6].root, t[7].root
		depth := max(t[0].depth, t[1].depth, t[2].depth, t[3].depth, t[4].depth, t[5].depth, t[6].depth, t[7].depth)
		for range depth {
			a = nodes[a].nextMixed(x, lane, sets)
			b = nodes[b].nextMixed(x, lane, sets)
			c = nodes[c].nextMixed(x, lane, sets)
			d = nodes[d].nextMixed(x, lane, sets)
			e = nodes[e].nextMixed(x, lane, sets)
			f = nodes[f].nextMixed(x, lane, sets)
			g = nodes[g].nextMixed(x, lane, sets)
			h = nodes[h].nextMixed(x, lane, sets)
		}
		sum = sum + values[a] + values[b] + values[c] + values[d] + values[e] + values[f] + values[g] + values[h]
		trees = trees[lanes:]
	}
	for i := range trees {
		a := trees[i].root
		for range trees[i].depth {
			a = nodes[a].nextMixed(x, lane, sets)
		}
		sum += values[a]
	}
	return sum
}

// singleRow is row, with a sum that is rounded to single precision after each tree. It walks one tree after the other.
func (p *program) singleRow(x []vector, lane int, sum float32) float64 {
	lane &= lanes - 1
	for i := range p.trees {
		a := p.trees[i].root
		for range p.trees[i].depth {
			a = p.nodes[a].nextMixed(x, lane, p.sets)
		}
		sum += float32(p.values[a])
	}
	return float64(sum)
}
