package importer_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/importer"
	"millrace.dev/record"
)

// city is a model of a number and two columns of categories, whose lists are in the order of the features.
func city() *importer.Model {
	leaf := func(v float64) importer.Node { return importer.Node{Feature: importer.Leaf, Value: v} }
	m := &importer.Model{
		Features: []importer.Feature{{Name: "living_area", Gain: 2}, {Name: "city", Categorical: true, Codes: []int{0, 2}}, {Name: "grade"}, {Name: "spare"}},
		Lists:    [][]string{{"Kent", "Auburn", "Bothell"}, {"low", "high"}},
		Trees: [][]importer.Node{
			{{Feature: 0, Left: 1, Right: 2, Value: 10}, leaf(1), leaf(2)},
			{{Feature: 1, Left: 2, Right: 1, Set: []uint32{4}}, leaf(10), leaf(20)},
			{{Feature: 2, Left: 1, Right: 2, Value: 0.5, MissingLeft: true}, leaf(100), leaf(200)}, // ordered categories are codes
		},
	}
	if err := m.Check(); err != nil {
		panic(err)
	}
	return m
}

// inputs are in another order than the features, and one has a space in its name.
func inputs() []record.Column {
	return []record.Column{{Name: "grade", Type: record.Enum}, {Name: "city", Type: record.Enum}, {Name: "living area", Type: record.Numeric}}
}

func TestForest(t *testing.T) {
	t.Parallel()
	m, in := city(), inputs()
	levels, err := m.Levels(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"grade": {"high", "low"}, "city": {"Auburn", "Bothell", "Kent"}}, levels); diff != "" {
		t.Error(diff)
	}
	for i := range in {
		in[i].Levels = levels[in[i].Name]
	}
	in[1].Levels = append(in[1].Levels, "Renton") // a level that the model does not know goes where missing goes
	f, err := m.Forest(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{0, 0, 1}, f.Importance()); diff != "" {
		t.Error(diff)
	}
	fr := &record.Frame{Rows: 4, Columns: f.Inputs()}
	fr.Columns[0].Codes = []int32{1, 0, -1, 0}
	fr.Columns[1].Codes = []int32{1, 0, 3, -1}
	fr.Columns[2].Numbers = []float64{10, 11, 10, 11}
	got := make([]float64, 4)
	f.Score(fr, got)
	if diff := cmp.Diff([]float64{121, 212, 111, 212}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnfit(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(m *importer.Model, in []record.Column) []record.Column{
		`the model has features that are no inputs of the pipeline file: "living_area"`: func(_ *importer.Model, in []record.Column) []record.Column { return in[:2] },
		`the pipeline file has inputs that are no features of the model: "street"`: func(_ *importer.Model, in []record.Column) []record.Column {
			return append(in, record.Column{Name: "street", Type: record.Enum})
		},
		`the inputs "living_area" and "living area" are both the model's feature "living_area"`: func(_ *importer.Model, in []record.Column) []record.Column {
			return append([]record.Column{{Name: "living_area", Type: record.Numeric}}, in...)
		},
		`the model has the levels of 2 categorical columns, and the pipeline file 1 enum inputs`: func(_ *importer.Model, in []record.Column) []record.Column {
			in[1].Type = record.Numeric
			return in
		},
		`feature "city": the model has 2 levels for it, and the code 2`: func(m *importer.Model, in []record.Column) []record.Column {
			m.Lists[0] = m.Lists[0][:2]
			return in
		},
		`input "city": the model has the level "Kent" twice`: func(m *importer.Model, in []record.Column) []record.Column {
			m.Lists[0][1] = "Kent"
			return in
		},
		`input "city": the model has a level that is not UTF-8`: func(m *importer.Model, in []record.Column) []record.Column {
			m.Lists[0][1] = "\xff"
			return in
		},
		`input "living area" is an enum, and the model takes it as a number`: func(m *importer.Model, in []record.Column) []record.Column {
			m.Lists, in[2].Type = nil, record.Enum
			in[0].Type = record.Numeric
			return in
		},
		`input "city" is a number, and the model takes it as categories`: func(m *importer.Model, in []record.Column) []record.Column {
			m.Lists, in[0].Type, in[1].Type = nil, record.Numeric, record.Numeric
			return in
		},
	} {
		m := city()
		in := change(m, inputs())
		_, err := m.Levels(in)
		if !errors.Is(err, importer.ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		if _, err := m.Forest(in); !errors.Is(err, importer.ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("forest: want %q: %v", want, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(m *importer.Model){
		`feature 1: the name "living_area" is empty, no text, or there twice`: func(m *importer.Model) { m.Features[1].Name = "living_area" },
		"tree 1: it has no nodes":                            func(m *importer.Model) { m.Trees[1] = nil },
		"tree 0: node 0 is not there, or has two parents":    func(m *importer.Model) { m.Trees[0][0].Left = 0 },
		"tree 0: node 9 is not there":                        func(m *importer.Model) { m.Trees[0][0].Left = 9 },
		"tree 0: node 1: no such feature: 4":                 func(m *importer.Model) { m.Trees[0][1].Feature = 4 },
		"tree 0: 1 of 4 nodes are not reached from the root": func(m *importer.Model) { m.Trees[0] = append(m.Trees[0], m.Trees[0][1]) },
		"tree 2: node 2: the leaf is not a finite number":    func(m *importer.Model) { m.Trees[2][2].Value = math.Inf(1) },
		"tree 0: node 0: the threshold is not a number":      func(m *importer.Model) { m.Trees[0][0].Value = math.NaN() },
	} {
		m := city()
		change(m)
		if err := m.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// TestCodes takes codes for the texts of levels, where the file has none.
func TestCodes(t *testing.T) {
	t.Parallel()
	m := city()
	m.Lists, m.Features[1].Codes, m.Trees = nil, []int{98, 5, 34}, m.Trees[1:2]
	m.Trees[0][0].Set = []uint32{0, 4} // 34
	in := []record.Column{{Name: "city", Type: record.Enum}}
	m.Features[0].Used, m.Features[2].Used = false, false
	levels, err := m.Levels(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"city": {"34", "5", "98"}}, levels); diff != "" {
		t.Fatal(diff)
	}
	in[0].Levels = levels["city"]
	f, err := m.Forest(in)
	if err != nil {
		t.Fatal(err)
	}
	fr := &record.Frame{Rows: 3, Columns: f.Inputs()}
	fr.Columns[0].Codes = []int32{0, 1, 2}
	got := make([]float64, 3)
	f.Score(fr, got)
	if diff := cmp.Diff([]float64{20, 10, 10}, got); diff != "" {
		t.Error(diff)
	}
}
