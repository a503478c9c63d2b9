// Package importer makes forests of tree models that other systems have trained. A reader for each system's files, in the
// packages below this one, gives a [Model]: data, of which nothing is executed. A Model knows its inputs by name, and
// enum inputs by the codes that its system gave their levels; with the columns of a plan it becomes a [gbm.Forest] that
// predicts what the other system predicts.
package importer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"millrace.dev/gbm"
	"millrace.dev/record"
)

// ErrUnfit is matched by errors of a model that the inputs of a plan do not fit.
var ErrUnfit = errors.New("the model and the inputs do not fit")

// unfit is an error that matches [ErrUnfit] and says only what is wrong.
type unfit struct{ error }

func (unfit) Is(target error) bool { return target == ErrUnfit }

// MaxBytes is the size of the largest file that readers take: 256 MiB.
const MaxBytes = 256 << 20

// Model is a tree model as its file has it. It is for reading only.
type Model struct {
	// Format names the system: lightgbm or xgboost.
	Format string
	// Version is that of the file's format, or of the program that wrote it, as the file says it.
	Version string
	// Objective is what the model was trained for, as the file says it; "" if it does not.
	Objective string
	// Link, Initial and Single are as [gbm.Parts] has them.
	Link    gbm.Link
	Initial float64
	Single  bool
	// Features are the inputs, in the order in which nodes count them.
	Features []Feature
	// Trees are lists of nodes; the first is the root. Each is a tree: see [Model.Check].
	Trees [][]Node
	// Lists are the levels of categorical columns by code, in the order of the columns, where the file does not say of which
	// feature each list is. Default: none.
	Lists [][]string
}

// Feature is an input of a model.
type Feature struct {
	// Name is its name.
	Name string
	// Categorical tells that the file has it as codes of categories.
	Categorical bool
	// Levels are the texts of the codes 0, 1, 2... Default: nil, not known.
	Levels []string
	// Codes are the codes that training saw, where their texts are not known. Then a level's text is its code.
	Codes []int
	// Used tells that some node asks for it.
	Used bool
	// Gain is the sum of the gains of its splits; 0 if it is not known.
	Gain float64
}

// Leaf is the Feature of a leaf.
const Leaf = -1

// Node is a node of a tree.
type Node struct {
	// Feature is the position of the feature, or [Leaf].
	Feature int32
	// Left and Right are the positions of the children.
	Left, Right int32
	// Value is of a leaf what it adds, and of a split of a number its threshold: x <= Value goes left.
	Value float64
	// Set is of a split of categories the codes that go left, or if SetRight is set those that go right, a bit each, the
	// lowest first; the other codes go to the other side. nil: a split of a number.
	Set      []uint32
	SetRight bool
	// MissingLeft and ZeroMissing are as [gbm.Node] has them.
	MissingLeft bool
	ZeroMissing bool
}

// left tells where a code of a category goes.
func (n *Node) left(code int) bool {
	if n.Set == nil {
		x := float64(code)
		if n.ZeroMissing && code == 0 {
			return n.MissingLeft
		}
		return x <= n.Value
	}
	in := code/32 < len(n.Set) && n.Set[code/32]>>(code%32)&1 != 0
	return in != n.SetRight
}

// maxTests bounds the work of making sets of levels: the number of splits of enums times that of their levels.
const maxTests = 1 << 28

// Levels returns the levels that enum inputs need to have so that each text means to the forest what it means to the
// model: those that the model knows, sorted by bytes, by the input's name. The inputs are those of a plan that may still
// have to be fitted: their levels do not matter. An error says which input does not fit the model, and matches [ErrUnfit].
func (m *Model) Levels(inputs []record.Column) (map[string][]string, error) {
	matched, err := m.match(inputs)
	if err != nil {
		return nil, unfit{err}
	}
	out := map[string][]string{}
	for i, f := range matched {
		if inputs[i].Type != record.Enum || !f.known() {
			continue // a feature that no split asks for may be anything
		}
		levels, err := f.texts()
		if err != nil {
			return nil, unfit{fmt.Errorf("input %q: %w", inputs[i].Name, err)}
		}
		slices.Sort(levels)
		out[inputs[i].Name] = levels
	}
	return out, nil
}

// matched is a feature of an input.
type matched struct {
	*Feature

	at    int            // the feature's position
	codes map[string]int // of an enum: the code of each level
}

// known tells whether the model has a feature as categories.
func (f *Feature) known() bool { return f.Categorical || f.Levels != nil }

// texts returns the levels that a feature knows.
func (f *matched) texts() ([]string, error) {
	levels := slices.Clone(f.Levels)
	if levels == nil {
		for _, c := range f.Codes {
			levels = append(levels, strconv.Itoa(c))
		}
	}
	if levels == nil {
		levels = []string{}
	}
	f.codes = make(map[string]int, len(levels))
	for i, l := range levels {
		if !utf8.ValidString(l) {
			return nil, errors.New("the model has a level that is not UTF-8")
		}
		if _, ok := f.codes[l]; ok {
			return nil, fmt.Errorf("the model has the level %.40q twice: levels have to differ as texts", l)
		}
		if f.codes[l] = i; f.Levels == nil {
			f.codes[l] = f.Codes[i]
		}
	}
	return levels, nil
}

// match finds the feature of each input by its name, and gives lists of levels to enums.
func (m *Model) match(inputs []record.Column) ([]*matched, error) {
	byName := map[string]int{}
	for i := range m.Features {
		byName[m.Features[i].Name] = i
	}
	var found []*matched
	taken := map[int]string{}
	var unknown []string
	for i := range inputs {
		name := inputs[i].Name
		at, ok := byName[name]
		if !ok { // LightGBM writes names without spaces
			at, ok = byName[strings.ReplaceAll(name, " ", "_")]
		}
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		if other, ok := taken[at]; ok {
			return nil, fmt.Errorf("the inputs %q and %q are both the model's feature %q", other, name, m.Features[at].Name)
		}
		taken[at] = name
		f := m.Features[at]
		found = append(found, &matched{Feature: &f, at: at})
	}
	var absent []string
	for i := range m.Features {
		if _, ok := taken[i]; !ok && m.Features[i].Used {
			absent = append(absent, m.Features[i].Name)
		}
	}
	switch {
	case len(absent) > 0:
		return nil, fmt.Errorf("the model has features that are no inputs of the pipeline file: %s", some(absent))
	case len(unknown) > 0:
		return nil, fmt.Errorf("the pipeline file has inputs that are no features of the model: %s: list them in train.ignore", some(unknown))
	}
	if err := m.deal(inputs, found); err != nil {
		return nil, err
	}
	for i, f := range found {
		switch {
		case !f.Used:
		case inputs[i].Type == record.Enum && !f.known():
			return nil, fmt.Errorf("input %q is an enum, and the model takes it as a number: declare it under numeric", inputs[i].Name)
		case inputs[i].Type == record.Numeric && f.known():
			return nil, fmt.Errorf("input %q is a number, and the model takes it as categories: declare it under enum", inputs[i].Name)
		}
	}
	return found, nil
}

// deal gives the lists of levels, which are in the order of the features, to the features that are enums here.
func (m *Model) deal(inputs []record.Column, found []*matched) error {
	if len(m.Lists) == 0 {
		return nil
	}
	var enums []*matched
	for i, f := range found {
		if inputs[i].Type == record.Enum {
			enums = append(enums, f)
		}
	}
	if len(enums) != len(m.Lists) {
		return fmt.Errorf("the model has the levels of %d categorical columns, and the pipeline file %d enum inputs: they have to be the same columns", len(m.Lists), len(enums))
	}
	slices.SortFunc(enums, func(a, b *matched) int { return a.at - b.at })
	for i, f := range enums {
		f.Levels = m.Lists[i]
		if n := len(f.Codes); n > 0 && slices.Max(f.Codes) >= len(f.Levels) {
			return fmt.Errorf("feature %q: the model has %d levels for it, and the code %d", f.Name, len(f.Levels), slices.Max(f.Codes))
		}
	}
	return nil
}

// some lists names, at most ten.
func some(names []string) string {
	const most = 10
	rest := ""
	if n := len(names) - most; n > 0 {
		names, rest = names[:most], fmt.Sprintf(" and %d more", n)
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%.80q", n)
	}
	return strings.Join(quoted, ", ") + rest
}

// Forest returns the forest over the inputs of a fitted plan, in their order. A level of an input that the model does not
// know goes where missing goes: inputs with the levels of [Model.Levels] have none. An error matches [ErrUnfit] where the inputs are
// at fault.
func (m *Model) Forest(inputs []record.Column) (*gbm.Forest, error) {
	found, err := m.match(inputs)
	if err != nil {
		return nil, unfit{err}
	}
	p := gbm.Parts{Inputs: inputs, Link: m.Link, Initial: m.Initial, Single: m.Single, Gain: make([]float64, len(inputs))}
	b := builder{inputs: inputs, to: make([]int, len(m.Features)), codes: make([][]int, len(inputs))}
	for i, f := range found {
		b.to[f.at] = i
		p.Gain[i] = f.Gain
		if inputs[i].Type != record.Enum {
			continue
		}
		if _, err := f.texts(); err != nil {
			return nil, unfit{fmt.Errorf("input %q: %w", inputs[i].Name, err)}
		}
		for _, l := range inputs[i].Levels {
			code, ok := f.codes[l]
			if !ok {
				code = noCode
			}
			b.codes[i] = append(b.codes[i], code)
		}
	}
	for i, t := range m.Trees {
		tree, err := b.tree(t)
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
		p.Trees = append(p.Trees, tree)
	}
	return gbm.New(p)
}

const noCode = -1

// builder turns trees around for the inputs of a plan.
type builder struct {
	inputs []record.Column
	to     []int   // by feature: the input
	codes  [][]int // by enum input and level: the model's code, or noCode
	tests  int
}

// tree returns the nodes of a tree in preorder.
func (b *builder) tree(t []Node) ([]gbm.Node, error) {
	out := make([]gbm.Node, 0, len(t))
	for open := []int32{0}; len(open) > 0; {
		n := &t[open[len(open)-1]]
		open = open[:len(open)-1]
		if n.Feature == Leaf {
			out = append(out, gbm.Node{Input: gbm.Leaf, Value: n.Value})
			continue
		}
		node, err := b.split(n)
		if err != nil {
			return nil, err
		}
		out = append(out, node)
		open = append(open, n.Right, n.Left)
	}
	return out, nil
}

func (b *builder) split(n *Node) (gbm.Node, error) {
	to := b.to[n.Feature]
	out := gbm.Node{Input: to, MissingLeft: n.MissingLeft}
	if b.inputs[to].Type != record.Enum {
		if n.Set != nil {
			return out, fmt.Errorf("a split by categories of %q, a number", b.inputs[to].Name)
		}
		out.Value, out.ZeroMissing = n.Value, n.ZeroMissing
		return out, nil
	}
	if b.tests += len(b.codes[to]); b.tests > maxTests {
		return out, errors.New("the model has too many splits of inputs with many levels")
	}
	for level, code := range b.codes[to] {
		if code == noCode && n.MissingLeft || code != noCode && n.left(code) {
			out.Left = append(out.Left, int32(level))
		}
	}
	return out, nil
}

// Check wants trees whose nodes are each reached once from the root, with features that there are, finite leaves and
// thresholds that are numbers. Readers call it before they return a model.
func (m *Model) Check() error {
	names := map[string]bool{}
	for i := range m.Features {
		name := m.Features[i].Name
		if name == "" || names[name] || !utf8.ValidString(name) {
			return fmt.Errorf("feature %d: the name %.80q is empty, no text, or there twice", i, name)
		}
		names[name] = true
	}
	for i, t := range m.Trees {
		if err := m.checkTree(t); err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
	}
	return nil
}

func (m *Model) checkTree(t []Node) error {
	if len(t) == 0 {
		return errors.New("it has no nodes")
	}
	seen := make([]bool, len(t))
	reached := 0
	for open := []int32{0}; len(open) > 0; {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		if at < 0 || int(at) >= len(t) || seen[at] {
			return fmt.Errorf("node %d is not there, or has two parents", at)
		}
		seen[at] = true
		reached++
		n := &t[at]
		switch {
		case n.Feature == Leaf:
			if math.IsNaN(n.Value) || math.IsInf(n.Value, 0) {
				return fmt.Errorf("node %d: the leaf is not a finite number", at)
			}
			continue
		case n.Feature < 0 || int(n.Feature) >= len(m.Features):
			return fmt.Errorf("node %d: no such feature: %d", at, n.Feature)
		case n.Set == nil && math.IsNaN(n.Value):
			return fmt.Errorf("node %d: the threshold is not a number", at)
		}
		m.Features[n.Feature].Used = true
		open = append(open, n.Right, n.Left)
	}
	if reached != len(t) {
		return fmt.Errorf("%d of %d nodes are not reached from the root", len(t)-reached, len(t))
	}
	return nil
}
