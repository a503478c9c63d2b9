package lightgbm

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace.dev/internal/importer"
)

// The bits of a decision type.
const (
	bitCategorical = 1 << iota
	bitDefaultLeft

	missingShift = 2 // the missing type is above
	missingNone  = 0 // NaN counts as 0
	missingZero  = 1 // zeros are missing, and NaN counts as one
	missingNaN   = 2 // NaN is missing
)

// trees reads the blocks of trees, up to the line that ends them.
func (r *reader) trees() error {
	known := keys(`num_leaves num_cat split_feature split_gain threshold decision_type left_child right_child leaf_value
		leaf_weight leaf_count internal_value internal_weight internal_count cat_boundaries cat_threshold shrinkage is_linear`)
	for {
		line, ok := r.next()
		switch {
		case !ok:
			return fmt.Errorf("line %d: the file ends before \"end of trees\"", r.n)
		case line == "":
			continue
		case line == "end of trees":
			if want := len(strings.Fields(r.sizes.value)); want != len(r.model.Trees) {
				return r.sizes.errorf("%d sizes for %d trees", want, len(r.model.Trees))
			}
			return nil
		case line != "Tree="+strconv.Itoa(len(r.model.Trees)):
			return fmt.Errorf("line %d: want Tree=%d or \"end of trees\", not %.40q", r.n, len(r.model.Trees), line)
		}
		b, err := r.block(known)
		if err != nil {
			return err
		}
		t, err := r.tree(b)
		if err != nil {
			return fmt.Errorf("tree %d: %w", len(r.model.Trees), err)
		}
		r.model.Trees = append(r.model.Trees, t)
	}
}

// tree reads a tree of n leaves: its nodes are the n-1 splits, and then the leaves.
func (r *reader) tree(b *block) ([]importer.Node, error) {
	if p := b.pairs["is_linear"]; p != nil && p.value != "0" {
		return nil, p.errorf("linear trees cannot be imported: train without linear_tree")
	}
	leaves, err := b.number("num_leaves", 1, maxLeaves)
	if err != nil {
		return nil, err
	}
	values, err := b.floats("leaf_value", leaves)
	if err != nil {
		return nil, err
	}
	splits, err := r.splits(b, leaves)
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		splits = append(splits, importer.Node{Feature: importer.Leaf, Value: v})
	}
	return splits, nil
}

// splits reads the splits of a tree, with room for its leaves after them.
func (r *reader) splits(b *block, leaves int) ([]importer.Node, error) {
	n := leaves - 1
	out := make([]importer.Node, n, n+leaves)
	if n == 0 { // a constant: what it has of splits is not looked at
		return out, nil
	}
	features, err := b.ints("split_feature", n, 0, len(r.model.Features)-1)
	if err != nil {
		return nil, err
	}
	types, err := b.ints("decision_type", n, 0, bitCategorical|bitDefaultLeft|missingNaN<<missingShift)
	if err != nil {
		return nil, err
	}
	thresholds, err := b.floats("threshold", n)
	if err != nil {
		return nil, err
	}
	left, err := b.ints("left_child", n, -leaves, n-1)
	if err != nil {
		return nil, err
	}
	right, err := b.ints("right_child", n, -leaves, n-1)
	if err != nil {
		return nil, err
	}
	sets, err := readSets(b)
	if err != nil {
		return nil, err
	}
	for i := range out {
		s := &out[i]
		*s = importer.Node{Feature: int32(features[i]), Left: child(left[i], n), Right: child(right[i], n)}
		categorical := types[i]&bitCategorical != 0
		if f := &r.model.Features[features[i]]; categorical != f.Categorical {
			return nil, b.pairs["decision_type"].errorf("value %d, %d, is not for feature %q as feature_infos has it", i+1, types[i], f.Name)
		}
		if !categorical {
			decide(s, types[i], thresholds[i])
			continue
		}
		at := thresholds[i] // the number of its set
		if !(at >= 0 && at < float64(len(sets))) || at != math.Trunc(at) {
			return nil, b.pairs["threshold"].errorf("value %d, %v, is no set of categories: there are %d", i+1, at, len(sets))
		}
		s.Set = sets[int(at)]
	}
	return out, r.gains(b, features)
}

// child returns the position of a child: leaves are counted down from -1.
func child(at, splits int) int32 {
	if at < 0 {
		at = splits + ^at
	}
	return int32(at)
}

// decide makes s a split of a number.
func decide(s *importer.Node, kind int, threshold float64) {
	s.Value, s.MissingLeft = threshold, kind&bitDefaultLeft != 0
	switch kind >> missingShift {
	case missingNone:
		s.MissingLeft = 0 <= threshold
	case missingZero:
		s.ZeroMissing = true
	}
}

// readSets returns the sets of codes of a tree: as many as it has splits by categories.
func readSets(b *block) ([][]uint32, error) {
	n, err := b.number("num_cat", 0, maxLeaves)
	if err != nil || n == 0 {
		return nil, err
	}
	p, err := b.get("cat_boundaries")
	if err != nil {
		return nil, err
	}
	bounds, err := b.ints("cat_boundaries", n+1, 0, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	for i, at := range bounds {
		if i == 0 && at != 0 || i > 0 && at < bounds[i-1] {
			return nil, p.errorf("value %d, %d, does not ascend from 0", i+1, at)
		}
	}
	words, err := b.ints("cat_threshold", bounds[n], 0, math.MaxUint32)
	if err != nil {
		return nil, err
	}
	all := make([]uint32, len(words))
	for i, w := range words {
		all[i] = uint32(w)
	}
	sets := make([][]uint32, n)
	for i := range sets {
		sets[i] = all[bounds[i]:bounds[i+1]]
	}
	return sets, nil
}

// gains adds the gains of the splits of a tree to those of its features. They decide nothing: one that is no gain counts as 0.
func (r *reader) gains(b *block, features []int) error {
	if b.pairs["split_gain"] == nil {
		return nil
	}
	gains, err := b.floats("split_gain", len(features))
	if err != nil {
		return err
	}
	for i, g := range gains {
		if f := &r.model.Features[features[i]]; g > 0 && g <= maxGain {
			f.Gain += g
		}
	}
	return nil
}

// maxGain keeps sums of gains finite.
const maxGain = 1e200
