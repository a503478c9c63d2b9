package bitplane

import "math/bits"

// Node is a node of a tree in preorder: the left child of a split is the next node.
type Node struct {
	Right int     // position of the right child; 0 for a leaf
	Cut   uint16  // of a split: the plane of the rows that go right
	Value float64 // of a leaf
}

// Compile compiles a tree. It returns false if the tree needs more than MaxLeaves numbers for its leaves: one of at
// most 8 levels never does.
func Compile(nodes []Node) (*Tree, bool) {
	c := compiler{nodes: nodes, size: make([]int, len(nodes)), move: make([]int, len(nodes))}
	c.number()
	if c.size[0] > MaxLeaves {
		return nil, false
	}
	t := &Tree{planes: bits.Len(uint(c.size[0] - 1))}
	t.values = make([]float64, minValues)
	if 1<<t.planes > minValues {
		t.values = make([]float64, MaxLeaves)
	}
	c.tree = t
	c.steps()
	return t, true
}

type compiler struct {
	nodes []Node
	size  []int // by node: the leaves below it have numbers below this one
	move  []int // by node: what is added to the numbers of the leaves below it
	tree  *Tree
}

// number gives each leaf a number: the sum of what is added to it and the nodes above it. A split adds to one of its
// sides the least number that has no bits in common with those of the side, and keeps them apart from the other
// side's: so planes can be made from the root down. It is the side with the shorter numbers, or the right one.
func (c *compiler) number() {
	for i := len(c.nodes) - 1; i >= 0; i-- {
		left, right := i+1, c.nodes[i].Right
		if right == 0 {
			c.size[i] = 1
			continue
		}
		stays, moves := left, right
		if bits.Len(uint(c.size[right]-1)) > bits.Len(uint(c.size[left]-1)) {
			stays, moves = right, left
		}
		unit := 1 << bits.Len(uint(c.size[moves]-1))
		c.move[moves] = (c.size[stays] + unit - 1) / unit * unit
		c.size[i] = min(c.move[moves]+c.size[moves], 2*MaxLeaves) // no tree is so deep that it overflows then
	}
}

// steps makes the steps of a tree level by level.
func (c *compiler) steps() {
	type item struct {
		node   int
		number int    // what has been added to the numbers of the leaves below it
		set    uint16 // the rows that reach it
	}
	t := c.tree
	sets := uint16(1)
	for level := []item{{}}; len(level) > 0; {
		var next []item
		for _, it := range level {
			n := &c.nodes[it.node]
			if n.Right == 0 {
				t.values[it.number] = n.Value
				continue
			}
			left, right := it.node+1, n.Right
			if c.nodes[left].Right == 0 && c.nodes[right].Right == 0 { // the right one is moved by 1
				t.bottom = append(t.bottom, bottomStep{cut: n.Cut, from: it.set})
				t.values[it.number] = c.nodes[left].Value
				t.values[it.number+1] = c.nodes[right].Value
				continue
			}
			step := innerStep{cut: n.Cut, from: it.set, plane: noPlane}
			rest := c.move[right]
			if rest > 0 {
				step.plane = uint16(bits.TrailingZeros(uint(rest)))
				rest &= rest - 1
			}
			t.inner = append(t.inner, step)
			t.number(sets, c.move[left])
			t.number(sets+1, rest)
			next = append(next, item{left, it.number + c.move[left], sets}, item{right, it.number + c.move[right], sets + 1})
			sets += 2
		}
		level = next
	}
}

// number adds steps that give bits to the numbers of leaves that a set of rows ends in.
func (t *Tree) number(set uint16, number int) {
	for ; number > 0; number &= number - 1 {
		t.extra = append(t.extra, extraStep{from: set, plane: uint16(bits.TrailingZeros(uint(number)))})
	}
}
