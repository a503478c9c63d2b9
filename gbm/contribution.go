package gbm

import (
	"math"

	"millrace.dev/record"
)

// Contributions returns what the inputs of a row add to its score: exact Shapley values against the rows of a background, that is the
// mean over all orders, and over the rows of the background, of what the score changes by when the input goes from the
// background's value to the row's. The score is the sum of the initial value and the leaves, before the link: of a model of logarithms it
// is the logarithm of the prediction. base is the mean score of the background, and base plus all contributions is the score of the row,
// but for rounding. Frames are as [Forest.Score] wants them; the background has at least one row.
//
// For each tree and row of the background both rows are followed at once. Where they part ways at an input, the input has gone to
// the row's side or to the background's in each order, and a leaf that takes u inputs of the row and v of the background adds its value
// times the share of the orders that lead there (Lundberg et al., From local explanations to global understanding with explainable AI
// for trees, Nature Machine Intelligence 2, 2020, interventional).
func (f *Forest) Contributions(fr *record.Frame, row int, background *record.Frame) (base float64, by []float64) {
	c := contributor{f: f, x: fr, row: row, z: background, side: make([]int8, len(f.inputs)), by: make([]float64, len(f.inputs))}
	for c.other = range background.Rows {
		for _, tree := range f.trees {
			c.tree = tree
			c.walk(0)
		}
	}
	n := float64(background.Rows)
	for i := range c.by {
		c.by[i] /= n
	}
	return f.initial + c.base/n, c.by
}

// contributor walks a tree with two rows.
type contributor struct {
	f          *Forest
	x, z       *record.Frame
	row, other int
	tree       []node
	side       []int8 // by input: 1 where the path takes that of x, -1 where it takes that of z, 0 where they agreed so far
	path       []int32
	taken      int // of the path, from x
	base       float64
	by         []float64
}

func (c *contributor) walk(at int32) {
	n := &c.tree[at]
	if n.input == leaf {
		c.leaf(n.value)
		return
	}
	x, z := c.next(n, at, c.x, c.row), c.next(n, at, c.z, c.other)
	switch {
	case x == z || c.side[n.input] > 0:
		c.walk(x)
	case c.side[n.input] < 0:
		c.walk(z)
	default:
		c.path = append(c.path, n.input)
		c.side[n.input] = 1
		c.taken++
		c.walk(x)
		c.taken--
		c.side[n.input] = -1
		c.walk(z)
		c.side[n.input] = 0
		c.path = c.path[:len(c.path)-1]
	}
}

// leaf adds the value of a leaf to the inputs that lead to it.
func (c *contributor) leaf(value float64) {
	u, v := c.taken, len(c.path)-c.taken
	if u == 0 {
		c.base += value
	}
	for _, i := range c.path {
		if c.side[i] > 0 {
			c.by[i] += float64(value * orders(u-1, v))
		} else {
			c.by[i] -= float64(value * orders(u, v-1))
		}
	}
}

// orders returns a! b! / (a+b+1)!: the share of the orders of a+b+1 inputs in which one comes behind a of them and before b.
func orders(a, b int) float64 {
	share := 1 / float64(a+b+1)
	for k := 1; k <= min(a, b); k++ {
		share *= float64(k) / float64(max(a, b)+k)
	}
	return share
}

// next returns the child of a node to which a row goes.
func (c *contributor) next(n *node, at int32, fr *record.Frame, row int) int32 {
	col := &fr.Columns[n.input]
	left := n.missingLeft
	if col.Type == record.Enum {
		if code := col.Codes[row]; code >= 0 && int(code) < len(c.f.inputs[n.input].Levels) {
			left = n.set.has(int(code))
		}
	} else if v := col.Numbers[row]; !math.IsNaN(v) && !(n.zeroMissing && isZero(v)) {
		left = v <= n.value
	}
	if left {
		return at + 1
	}
	return n.right
}
