package xgboost

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"millrace.dev/internal/importer"
)

// tree is a tree as a file has it: a node is a place in lists of equal lengths.
type tree struct {
	Left      []int32   `json:"left_children"`
	Right     []int32   `json:"right_children"`
	Index     []int32   `json:"split_indices"`
	Condition []float32 `json:"split_conditions"` // of a leaf its value
	Default   flags     `json:"default_left"`
	Type      flags     `json:"split_type"` // of categories
	Loss      []float32 `json:"loss_changes"`
	CatNodes  []int32   `json:"categories_nodes"`
	CatFrom   []int64   `json:"categories_segments"`
	CatSizes  []int64   `json:"categories_sizes"`
	Cats      []int32   `json:"categories"`
	Param     struct {
		LeafVector string `json:"size_leaf_vector"`
	} `json:"tree_param"`
}

// flags are truth values, or 0 and 1.
type flags []bool

// UnmarshalJSON reads a list of either.
func (f *flags) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) < 2 || b[0] != '[' {
		return errors.New("flags are not a list")
	}
	b = bytes.TrimSpace(b[1 : len(b)-1])
	*f = make(flags, 0, bytes.Count(b, []byte(","))+1)
	if len(b) == 0 {
		return nil
	}
	for item := range bytes.SplitSeq(b, []byte(",")) {
		switch string(bytes.TrimSpace(item)) {
		case "0", "false":
			*f = append(*f, false)
		case "1", "true":
			*f = append(*f, true)
		default:
			return fmt.Errorf("%.40q is no flag", item)
		}
	}
	return nil
}

// maxSetWords bounds the memory for all sets of categories, in words of 32 codes.
const maxSetWords = 1 << 24

// noChild is the child of a leaf.
const noChild = -1

// nodes returns the nodes that can be reached: those that were pruned may still be in the lists.
func (t *tree) nodes(m *importer.Model, budget *int64) ([]importer.Node, error) {
	n := len(t.Left)
	if v := t.Param.LeafVector; v != "" && v != "0" && v != "1" {
		return nil, fmt.Errorf("tree_param.size_leaf_vector: %.40q: a tree of several outputs cannot be imported", v)
	}
	if len(t.Type) == 0 {
		t.Type = make(flags, n)
	}
	for _, list := range []int{len(t.Right), len(t.Index), len(t.Condition), len(t.Default), len(t.Type)} {
		if list != n || n == 0 {
			return nil, fmt.Errorf("it has lists of %d and %d nodes", n, list)
		}
	}
	sets, err := t.sets(budget)
	if err != nil {
		return nil, err
	}
	to := make([]int32, n) // by node: its place in out, and 1 more
	out := make([]importer.Node, 0, n)
	to[0] = 1
	for queue := []int32{0}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if t.Left[at] == noChild {
			out = append(out, importer.Node{Feature: importer.Leaf, Value: float64(t.Condition[at])})
			continue
		}
		node := importer.Node{Feature: t.Index[at], MissingLeft: t.Default[at]}
		if err := t.decide(&node, m, at, sets); err != nil {
			return nil, fmt.Errorf("node %d: %w", at, err)
		}
		for _, c := range []int32{t.Left[at], t.Right[at]} {
			if c <= 0 || int(c) >= n || to[c] != 0 {
				return nil, fmt.Errorf("node %d: its child %d is not there, or has two parents", at, c)
			}
			queue = append(queue, c)
			to[c] = int32(len(out) + len(queue)) // where it will be, and 1 more: out has one more then, the queue one less
		}
		node.Left, node.Right = to[t.Left[at]]-1, to[t.Right[at]]-1
		out = append(out, node)
	}
	return out, nil
}

// decide says where a split sends what.
func (t *tree) decide(n *importer.Node, m *importer.Model, at int32, sets map[int32][]uint32) error {
	if n.Feature < 0 || int(n.Feature) >= len(m.Features) {
		return fmt.Errorf("no such feature: %d", n.Feature)
	}
	f := &m.Features[n.Feature]
	if int(at) < len(t.Loss) && t.Loss[at] > 0 && t.Loss[at] <= math.MaxFloat32 {
		f.Gain += float64(t.Loss[at])
	}
	if t.Type[at] != f.Categorical {
		return fmt.Errorf("split_type is not for feature %.80q as feature_types has it", f.Name)
	}
	if !f.Categorical {
		var ok bool
		if n.Value, ok = below(t.Condition[at]); !ok {
			return fmt.Errorf("split_conditions: %v is no condition", t.Condition[at])
		}
		return nil
	}
	n.Set, n.SetRight = sets[at], true
	if n.Set == nil {
		return errors.New("it has no categories")
	}
	if last := len(n.Set) - 1; last*32+bits.Len32(n.Set[last]) > len(f.Levels) {
		return fmt.Errorf("categories of feature %.80q beyond its %d", f.Name, len(f.Levels))
	}
	return nil
}

// below returns the largest float64 that is less than c when it is rounded to float32, and false where there is none.
func below(c float32) (float64, bool) {
	if c != c || math.IsInf(float64(c), -1) {
		return 0, false
	}
	const edge = 0x1p128 - 0x1p103 // what is as large rounds to infinity
	if math.IsInf(float64(c), 1) {
		return math.Nextafter(edge, 0), true
	}
	if c == -math.MaxFloat32 {
		return -edge, true
	}
	p := math.Nextafter32(c, float32(math.Inf(-1)))
	middle := (float64(p) + float64(c)) / 2 // exact
	if math.Float32bits(p)%2 == 0 {         // a tie goes to the even one
		return middle, true
	}
	return math.Nextafter(middle, math.Inf(-1)), true
}

// sets returns the codes of the splits by categories, by node.
func (t *tree) sets(budget *int64) (map[int32][]uint32, error) {
	if len(t.CatNodes) != len(t.CatFrom) || len(t.CatNodes) != len(t.CatSizes) {
		return nil, errors.New("categories_nodes, _segments and _sizes have different lengths")
	}
	out := make(map[int32][]uint32, len(t.CatNodes))
	for i, node := range t.CatNodes {
		from, size := t.CatFrom[i], t.CatSizes[i]
		if from < 0 || size < 1 || from > int64(len(t.Cats)) || size > int64(len(t.Cats))-from || out[node] != nil {
			return nil, fmt.Errorf("categories_nodes[%d]: %d codes from %d of %d, or a node for the second time", i, size, from, len(t.Cats))
		}
		codes := t.Cats[from : from+size]
		var most int32
		for _, c := range codes {
			if c < 0 {
				return nil, fmt.Errorf("categories_nodes[%d]: the code %d", i, c)
			}
			most = max(most, c)
		}
		words := int64(most)/32 + 1
		if *budget -= words; *budget < 0 {
			return nil, errors.New("the sets of categories are too large")
		}
		set := make([]uint32, words)
		for _, c := range codes {
			set[c/32] |= 1 << (c % 32)
		}
		out[node] = set
	}
	return out, nil
}
