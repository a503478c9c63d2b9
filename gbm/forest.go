package gbm

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"millrace.dev/gbm/internal/bitplane"
	"millrace.dev/internal/detmath"
	"millrace.dev/record"
)

// Forest is a sum of regression trees. It is immutable and safe for concurrent use.
//
// A tree is a list of nodes in preorder: a node's left child comes next after it, and children always come after
// their parents. A numeric node sends x <= threshold to the left; the threshold may be infinite, and is never
// NaN. An enum node has a set of levels that go left. Either has a side for missing values, which an enum takes
// for unseen levels too. The prediction is link(initial + the leaf values, added in the order of the trees); it
// is always finite.
type Forest struct {
	inputs  []record.Column // names, types and levels, without data
	link    Link
	initial float64
	single  bool // sums and predictions are rounded to float32
	trees   [][]node
	gain    []float64 // by input: the sum of the gains of its splits; all 0 if not known
	program *program  // for a few rows
	planes  *planes   // for many rows; may be nil
}

// leaf is the input of a leaf node.
const leaf = -1

// node is a node of a tree.
type node struct {
	input       int32 // position of the input, or leaf
	right       int32 // position of the right child in the tree; the left child is the next node
	missingLeft bool
	zeroMissing bool    // numeric: zeros are missing
	value       float64 // numeric: the threshold; leaf: the contribution
	set         bitSet  // enum: the levels that go left
}

// Link is the function that turns a sum of leaf values into a prediction.
type Link uint8

// The links.
const (
	LinkIdentity Link = iota
	LinkExp           // e**x, at most the largest finite number
	LinkLogistic      // 1/(1+e**-x)
)

func (l Link) apply(x float64) float64 {
	switch l {
	case LinkExp:
		return min(detmath.Exp(x), math.MaxFloat64)
	case LinkLogistic:
		return 1 / (1 + detmath.Exp(-x))
	case LinkIdentity:
	}
	return x
}

// linked turns a sum into a prediction.
func (f *Forest) linked(x float64) float64 {
	if !f.single {
		return f.link.apply(x)
	}
	switch f.link { // each step is rounded, as a program that computes in single precision does it
	case LinkExp:
		return float64(min(float32(detmath.Exp(x)), math.MaxFloat32))
	case LinkLogistic:
		return float64(1 / (1 + float32(detmath.Exp(-x))))
	case LinkIdentity:
	}
	return x
}

// The limits of a forest.
const (
	maxInputs    = 1 << 16
	maxTreeDepth = 1 << 10
)

// Inputs returns the columns that the forest was trained on, in order: names, types and levels, without data.
func (f *Forest) Inputs() []record.Column {
	out := slices.Clone(f.inputs)
	for i := range out {
		out[i].Levels = slices.Clone(out[i].Levels)
	}
	return out
}

// Baseline returns what the forest would predict without its trees, on the label's scale: the mean of the labels, or e to
// the mean of their logarithms. A forest of another system may have a baseline of 0, with the mean in its first tree.
func (f *Forest) Baseline() float64 { return f.linked(f.initial) }

// Linked returns what the forest predicts where the initial value and the leaf values add up to sum: the link of it.
func (f *Forest) Linked(sum float64) float64 { return f.linked(sum) }

// Additive tells whether predictions are sums of leaf values: the link is the identity.
func (f *Forest) Additive() bool { return f.link == LinkIdentity }

// Trees returns the number of trees.
func (f *Forest) Trees() int { return len(f.trees) }

// Importance returns, for each input, its share of the improvement of the squared error over all splits. The
// shares add up to 1; they are all 0 if there is no split or the gains are not known.
func (f *Forest) Importance() []float64 {
	out := slices.Clone(f.gain)
	var sum float64
	for _, g := range out {
		sum += g
	}
	if sum > 0 {
		for i := range out {
			out[i] /= sum
		}
	}
	return out
}

// Match returns an error unless cols has the names, types and levels of the forest's inputs, in their order:
// then a frame of such columns can be scored.
func (f *Forest) Match(cols []record.Column) error {
	if err := sameColumns(f.inputs, cols); err != nil {
		return fmt.Errorf("gbm: the columns are not the model's inputs: %w", err)
	}
	return nil
}

// Score writes the prediction of each row of fr, on the label's scale, to out, which must have fr.Rows elements.
// The columns of fr must be those of [Forest.Inputs]; Score panics if their number, types or lengths differ, and
// does not look at their names: see [Forest.Match]. A code that is not one of the levels is missing. A row's
// prediction does not depend on the other rows. Score does not allocate.
func (f *Forest) Score(fr *record.Frame, out []float64) {
	f.mustFit(fr, out)
	for i := range out {
		out[i] = f.initial
	}
	n := f.planes.takes(fr.Rows)
	if n > 0 {
		f.planes.add(fr.Columns, out[:n])
	}
	if n < fr.Rows {
		f.program.add(fr.Columns, n, out[n:])
	}
	if f.link == LinkIdentity {
		return
	}
	for i, x := range out {
		out[i] = f.linked(x)
	}
}

func (f *Forest) mustFit(fr *record.Frame, out []float64) {
	if len(fr.Columns) != len(f.inputs) || len(out) != fr.Rows {
		panic("gbm: Score: the frame does not have the inputs of the forest, or out not the length of the frame")
	}
	for i := range fr.Columns {
		c := &fr.Columns[i]
		n := len(c.Numbers)
		if c.Type == record.Enum {
			n = len(c.Codes)
		}
		if c.Type != f.inputs[i].Type || n < fr.Rows {
			panic("gbm: Score: input " + c.Name + " does not have the type or the rows that the forest needs")
		}
	}
}

// finish checks the forest and prepares it for scoring.
func (f *Forest) finish() error {
	if err := errors.Join(checkColumns(f.inputs)...); err != nil {
		return err
	}
	if len(f.gain) != len(f.inputs) {
		return fmt.Errorf("%d gains for %d inputs", len(f.gain), len(f.inputs))
	}
	var total float64
	for _, g := range f.gain {
		if !(g >= 0) {
			return errors.New("a gain is negative or not a number")
		}
		total += g
	}
	limit := math.MaxFloat64
	if f.single {
		limit = math.MaxFloat32
		if float64(float32(f.initial)) != f.initial {
			return errors.New("the initial value is not one of single precision")
		}
	}
	bound := math.Abs(f.initial)
	for i, tree := range f.trees {
		largest, err := f.checkTree(tree)
		if err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
		bound += largest
	}
	// No partial sum is then infinite: rounding cannot lead past the bound by more than its own rounding.
	if !(bound <= limit/2) || !(total <= math.MaxFloat64) {
		return errors.New("the leaf values or the gains are too large, or not numbers")
	}
	f.program = newProgram(f.inputs, f.trees)
	f.program.single = f.single
	if !f.walksOnly() {
		f.planes = newPlanes(f.inputs, f.trees, bitplane.Kernels()[0])
	}
	return nil
}

// walksOnly tells whether the forest has what planes do not know: no training makes such a one.
func (f *Forest) walksOnly() bool {
	return f.single || slices.ContainsFunc(f.trees, func(t []node) bool {
		return slices.ContainsFunc(t, func(n node) bool { return n.zeroMissing })
	})
}

// checkTree checks that the nodes are one tree in preorder with valid splits, and returns the largest magnitude
// of a leaf.
func (f *Forest) checkTree(tree []node) (largest float64, err error) {
	var pending []int32 // the right children still to come, innermost last
	for i := range tree {
		n := &tree[i]
		if n.input != leaf {
			if err := checkNode(n, f.inputs); err != nil {
				return 0, fmt.Errorf("node %d: %w", i, err)
			}
			if len(pending) >= maxTreeDepth {
				return 0, fmt.Errorf("it is deeper than %d", maxTreeDepth)
			}
			pending = append(pending, n.right)
			continue
		}
		if !(math.Abs(n.value) <= math.MaxFloat64) {
			return 0, fmt.Errorf("node %d: the leaf is not a finite number", i)
		}
		if f.single && float64(float32(n.value)) != n.value {
			return 0, fmt.Errorf("node %d: the leaf is not a number of single precision", i)
		}
		largest = max(largest, math.Abs(n.value))
		if len(pending) == 0 {
			if i != len(tree)-1 {
				return 0, fmt.Errorf("%d nodes past its end", len(tree)-1-i)
			}
			return largest, nil
		}
		if pending[len(pending)-1] != int32(i+1) {
			return 0, fmt.Errorf("node %d: the right child is not where the left subtree ends", i)
		}
		pending = pending[:len(pending)-1]
	}
	return 0, errors.New("it has no end")
}

func checkNode(n *node, inputs []record.Column) error {
	if n.input < 0 || int(n.input) >= len(inputs) {
		return errors.New("no such input")
	}
	c := &inputs[n.input]
	if c.Type == record.Numeric {
		if math.IsNaN(n.value) || n.set != nil {
			return errors.New("a numeric split needs a threshold, and only that")
		}
		return nil
	}
	if len(n.set) != setWords(len(c.Levels)) || n.value != 0 || n.zeroMissing {
		return errors.New("an enum split needs a set over its levels, and only that")
	}
	if rest := len(c.Levels) % 64; rest > 0 && bits.Len64(n.set[len(n.set)-1]) > rest {
		return errors.New("a set has a level that does not exist")
	}
	return nil
}

// bitSet is a set of small numbers.
type bitSet []uint64

// setWords is the number of words of a set of numbers below n.
func setWords(n int) int { return (n + 63) / 64 }

func newBitSet(n int) bitSet { return make(bitSet, setWords(n)) }

func (s bitSet) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s bitSet) has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }
