package gbm

import (
	"encoding/binary"
	"slices"
	"sync"

	"millrace.dev/gbm/internal/bitplane"
	"millrace.dev/record"
)

// planes is a forest compiled for scoring many rows at a time, with a bit for each row: see package bitplane. It
// evaluates every split of a tree, not only those on the way to a row's leaf, so it is for trees that are not large
// and for batches that are not small; [program] is for the others.
type planes struct {
	kernel  bitplane.Kernel
	chunks  []chunk
	least   int // rows for which a block is faster than to walk
	scratch sync.Pool
}

// chunk is a run of trees that have few enough different splits for their planes to stay in a second-level cache.
type chunk struct {
	numbers []numberSplits
	enums   []enumSplits
	cuts    int // planes: one for each split, and some that belong to none
	tables  int // planes after those: the tables of one enum at a time
	trees   []*bitplane.Tree
}

// numberSplits are the splits of a numeric input.
type numberSplits struct {
	input int32
	ranks bitplane.Ranks
	first int   // of their planes, as [bitplane.Ranks.Fill] fills them: missing goes left
	high  []int // of those that have missing on the right too, the planes at first; their own come after those
}

// enumSplits are the splits of an enum.
type enumSplits struct {
	input  int32
	levels int
	first  int // of their planes
	splits int
	picks  []uint16   // tables, as many for each split
	sets   [][]uint64 // by split, if there are too many levels for tables
}

const (
	// chunkCuts is the number of different splits that make a chunk full: 256 KB of planes.
	chunkCuts = 4096 - bitplane.MaxLeaves
	// tableLevels is the largest number of levels for which an enum gets tables: 64 KB of them.
	tableLevels = 255
)

// takes returns how many rows are faster with planes, if a forest has them: all but those of a last block with
// few rows.
func (p *planes) takes(rows int) int {
	if p == nil {
		return 0
	}
	if last := rows % bitplane.Rows; last < p.least {
		return rows - last
	}
	return rows
}

// leastRows returns how many rows have to walk until a block costs as much; it costs nearly the same however few rows it has. The
// costs count instructions. Those of planes follow one another in memory, and those of a walk wait for loads: measured, a
// block takes about an eighth of what the costs say beside a walk.
func leastRows(block, walk int) int {
	const faster = 8
	return min(max(8, int(int64(bitplane.Rows)*int64(block)/max(1, int64(walk))/faster)), 48)
}

// planeRows is the scratch memory for one block of rows.
type planeRows struct {
	scratch bitplane.Scratch // first, for its alignment
	sums    [bitplane.Rows]float64
	cuts    []bitplane.Plane // of a chunk, and tables
}

// newPlanes compiles trees, or returns nil if it is better to walk them.
func newPlanes(inputs []record.Column, trees [][]node, kernel bitplane.Kernel) *planes {
	p, gain := compilePlanes(inputs, trees, kernel)
	if gain <= 0 {
		return nil
	}
	return p
}

// compilePlanes compiles trees, or returns nil if one of them is too large. The gain is what a block of rows costs
// less than if the trees were walked, see the costs.
func compilePlanes(inputs []record.Column, trees [][]node, kernel bitplane.Kernel) (p *planes, gain int) {
	p = &planes{kernel: kernel}
	walk := 0
	for len(trees) > 0 {
		s := newSplitter(inputs)
		n := 0
		for ; n < len(trees) && len(s.found) < chunkCuts; n++ {
			if len(trees[n]) >= 2*bitplane.MaxLeaves {
				return nil, 0
			}
			s.collect(trees[n])
			walk += walkCost(trees[n])
		}
		gain -= s.layOut()
		for _, t := range trees[:n] {
			compiled, ok := bitplane.Compile(s.nodes(t))
			if !ok {
				return nil, 0
			}
			s.chunk.trees = append(s.chunk.trees, compiled)
			gain -= costLeaf + costStep*len(t)/2
		}
		trees = trees[n:]
		p.chunks = append(p.chunks, s.chunk)
	}
	p.scratch.New = func() any { return p.rows() }
	p.least = leastRows(-gain, walk)
	return p, gain + walk
}

// rows returns memory for all chunks.
func (p *planes) rows() *planeRows {
	n := 0
	for i := range p.chunks {
		n = max(n, p.chunks[i].cuts+p.chunks[i].tables)
	}
	return &planeRows{cuts: make([]bitplane.Plane, n)}
}

// The costs of scoring, roughly: instructions for a block of rows.
const (
	costNumber = bitplane.Rows * 45 // to find a number's rank
	costLevel  = bitplane.Rows * 8  // to enter a level into tables
	costTest   = bitplane.Rows * 5  // to look a level up in a set
	costTable  = 40
	costPick   = 20
	costCut    = 30 // of a number
	costStep   = 80
	costLeaf   = bitplane.Rows * 10 // to look up a leaf and add its value
	costWalk   = bitplane.Rows * 10 // a level of a tree that is walked
)

func walkCost(t []node) int {
	depth := 0
	var pending []int // depths of right children
	for i, d := 0, 0; i < len(t); i++ {
		depth = max(depth, d)
		if d++; t[i].input != leaf {
			pending = append(pending, d)
		} else if n := len(pending) - 1; n >= 0 {
			d, pending = pending[n], pending[:n]
		}
	}
	return costWalk*depth + costLeaf/2
}

// cut is a split of an input. Splits that send the same values to the right are equal.
type cut struct {
	input   int32
	key     uint64 // of a number: of the threshold
	missing bool   // of a number: missing goes right
	set     string // of an enum: the words of its set
}

// splitter makes a chunk.
type splitter struct {
	inputs []record.Column
	found  map[cut]uint16 // to their planes
	lists  map[int32][]cut
	used   []int32 // inputs
	chunk  chunk
}

func newSplitter(inputs []record.Column) *splitter {
	return &splitter{inputs: inputs, found: make(map[cut]uint16), lists: make(map[int32][]cut)}
}

// cut returns the split of a node.
func (s *splitter) cut(n *node) cut {
	if s.inputs[n.input].Type != record.Enum {
		return cut{input: n.input, key: bitplane.Key(n.value), missing: !n.missingLeft}
	}
	var b []byte
	for _, w := range n.rightSet(len(s.inputs[n.input].Levels)) {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return cut{input: n.input, set: string(b)}
}

// words returns the set of an enum's split.
func (c *cut) words() []uint64 {
	set := make([]uint64, len(c.set)/8)
	for i := range set {
		set[i] = binary.LittleEndian.Uint64([]byte(c.set[8*i:]))
	}
	return set
}

// collect adds the splits of a tree.
func (s *splitter) collect(t []node) {
	for i := range t {
		n := &t[i]
		if n.input == leaf {
			continue
		}
		c := s.cut(n)
		if _, ok := s.found[c]; ok {
			continue
		}
		s.found[c] = 0
		if s.lists[c.input] == nil {
			s.used = append(s.used, c.input)
		}
		s.lists[c.input] = append(s.lists[c.input], c)
	}
}

// layOut gives each split its plane, and returns what it costs to fill them.
func (s *splitter) layOut() (cost int) {
	for _, input := range s.used {
		if s.inputs[input].Type == record.Enum {
			cost += s.enum(input, s.lists[input])
		} else {
			cost += s.number(input, s.lists[input])
		}
	}
	return cost
}

func (s *splitter) number(input int32, cuts []cut) (cost int) {
	var keys []uint64
	for _, c := range cuts {
		keys = append(keys, c.key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	n := numberSplits{input: input, ranks: bitplane.NewRanks(keys), first: s.chunk.cuts}
	s.chunk.cuts += n.ranks.Planes()
	for _, c := range cuts {
		at, _ := slices.BinarySearch(keys, c.key)
		at += n.first + 1
		if c.missing {
			n.high = append(n.high, at)
			at = s.chunk.cuts
			s.chunk.cuts++
		}
		s.found[c] = uint16(at)
	}
	s.chunk.numbers = append(s.chunk.numbers, n)
	return costNumber + costCut*(len(keys)+len(n.high))
}

func (s *splitter) enum(input int32, cuts []cut) (cost int) {
	e := enumSplits{input: input, levels: len(s.inputs[input].Levels), first: s.chunk.cuts, splits: len(cuts)}
	s.chunk.cuts += len(cuts)
	tables := bitplane.Tables(e.levels)
	if e.levels <= tableLevels {
		s.chunk.tables = max(s.chunk.tables, tables)
		cost += costLevel + costTable*tables
	}
	for i, c := range cuts {
		s.found[c] = uint16(e.first + i)
		if set := c.words(); e.levels <= tableLevels {
			e.picks = bitplane.Picks(e.picks, set, e.levels)
		} else {
			e.sets = append(e.sets, set)
			cost += costTest
		}
	}
	s.chunk.enums = append(s.chunk.enums, e)
	return cost + costPick*len(e.picks)
}

// nodes returns a tree in the form that is compiled.
func (s *splitter) nodes(t []node) []bitplane.Node {
	out := make([]bitplane.Node, len(t))
	for i := range t {
		if n := &t[i]; n.input == leaf {
			out[i].Value = n.value
		} else {
			out[i] = bitplane.Node{Right: int(n.right), Cut: s.found[s.cut(n)]}
		}
	}
	return out
}

// add adds the leaf values of the trees, in order, for the first rows to out.
func (p *planes) add(cols []record.Column, out []float64) {
	r, ok := p.scratch.Get().(*planeRows)
	if !ok {
		panic("gbm: the pool of planes holds something else")
	}
	for first := 0; first < len(out); first += bitplane.Rows {
		rows := out[first:min(len(out), first+bitplane.Rows)]
		copy(r.sums[:], rows)
		for i := range p.chunks {
			p.chunks[i].add(r, cols, first, len(rows), &p.kernel)
		}
		copy(rows, r.sums[:])
	}
	p.scratch.Put(r)
}

// add adds the leaf values of the chunk's trees to the sums of r, for n rows from first on.
func (c *chunk) add(r *planeRows, cols []record.Column, first, n int, kernel *bitplane.Kernel) {
	for i := range c.numbers {
		s := &c.numbers[i]
		own := s.first + s.ranks.Planes()
		s.ranks.Fill(r.cuts[s.first:own], cols[s.input].Numbers[first:first+n])
		missing := &r.cuts[own-1]
		for k, low := range s.high {
			r.cuts[own+k].Or(&r.cuts[low], missing)
		}
	}
	for i := range c.enums {
		s := &c.enums[i]
		codes := cols[s.input].Codes[first : first+n]
		if len(s.picks) > 0 {
			tables := r.cuts[c.cuts:][:bitplane.Tables(s.levels)]
			bitplane.FillTables(tables, codes, s.levels)
			kernel.Union(r.cuts[s.first:s.first+s.splits], tables, s.picks, n)
		}
		for k, set := range s.sets {
			bitplane.FillSet(&r.cuts[s.first+k], set, codes, s.levels)
		}
	}
	for _, t := range c.trees {
		kernel.Add(t, r.cuts, &r.scratch, &r.sums, n)
	}
}
