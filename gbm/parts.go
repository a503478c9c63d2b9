package gbm

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"millrace.dev/record"
)

// Parts say what a forest is that was not trained here, but read from another system's file: see [New].
type Parts struct {
	// Inputs are the columns that the forest is scored with: names, types and levels.
	Inputs []record.Column
	// Gain is, for each input, the sum of the gains of its splits, 0 or more. Default: nil, not known.
	Gain []float64
	// Link turns the sum into the prediction. Default: [LinkIdentity].
	Link Link
	// Initial is what the leaf values are added to.
	Initial float64
	// Single has the sum rounded to float32 after each tree, and the prediction too, as systems do that compute in single
	// precision. Initial and the leaf values have to be such numbers. Default: false, float64.
	Single bool
	// Trees are lists of nodes in preorder: a node, all of its left subtree, and all of its right subtree.
	Trees [][]Node
}

// Leaf is the Input of a leaf.
const Leaf = leaf

// Node is a node of a tree: a split of a numeric input, of an enum, or a leaf.
type Node struct {
	// Input is the position of the input, or [Leaf].
	Input int
	// Value is of a leaf what it adds, and of a split of a number the threshold: x <= Value goes left.
	Value float64
	// Left are the codes of the levels that go left, of a split of an enum.
	Left []int32
	// MissingLeft sends missing values, and levels that are not the input's, to the left. Default: to the right.
	MissingLeft bool
	// ZeroMissing counts zeros as missing, of a split of a number: what is at most 1e-35 in magnitude, rounded to float32.
	ZeroMissing bool
}

// zeroBound is the largest magnitude of what counts as zero where zeros are missing: that of LightGBM.
const zeroBound = float64(float32(1e-35))

func isZero(x float64) bool { return math.Abs(x) <= zeroBound }

// New makes a forest of its parts, of which it keeps nothing. It does not trust them: an error says what is wrong, and
// a forest that comes back can be scored without harm.
func New(p Parts) (*Forest, error) {
	f := &Forest{link: p.Link, initial: p.Initial, single: p.Single, gain: slices.Clone(p.Gain)}
	f.inputs = (&Forest{inputs: p.Inputs}).Inputs()
	for i := range f.inputs {
		f.inputs[i].Numbers, f.inputs[i].Codes = nil, nil
	}
	if f.gain == nil {
		f.gain = make([]float64, len(f.inputs))
	}
	if f.link > LinkLogistic {
		return nil, fmt.Errorf("gbm: new forest: no such link: %d", f.link)
	}
	for i, t := range p.Trees {
		tree := make([]node, len(t))
		for k := range t {
			if err := f.take(&tree[k], &t[k]); err != nil {
				return nil, fmt.Errorf("gbm: new forest: tree %d: node %d: %w", i, k, err)
			}
		}
		setRight(tree)
		f.trees = append(f.trees, tree)
	}
	if err := f.finish(); err != nil {
		return nil, fmt.Errorf("gbm: new forest: %w", err)
	}
	return f, nil
}

// take makes a node of its description.
func (f *Forest) take(to *node, from *Node) error {
	if from.Input != Leaf && (from.Input < 0 || from.Input >= len(f.inputs)) {
		return fmt.Errorf("no such input: %d", from.Input)
	}
	to.input, to.value, to.missingLeft, to.zeroMissing = int32(from.Input), from.Value, from.MissingLeft, from.ZeroMissing
	if from.Input == Leaf || f.inputs[from.Input].Type != record.Enum {
		if from.Left != nil {
			return errors.New("levels of what is no enum")
		}
		return nil
	}
	levels := len(f.inputs[from.Input].Levels)
	to.set = newBitSet(levels)
	for _, code := range from.Left {
		if code < 0 || int(code) >= levels {
			return fmt.Errorf("no such level: %d", code)
		}
		to.set.add(int(code))
	}
	return nil
}
