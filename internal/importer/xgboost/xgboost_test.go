package xgboost

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/record"
)

// small is a model of a tree: a split of a number, one of categories, and a node that was pruned.
const small = `{"learner":{"feature_names":["x","c"],"feature_types":["float","c"],"gradient_booster":{"model":{
"cats":{"enc":[{"offsets":[],"values":[]},{"offsets":[0,1,3],"values":[97,-61,-92]}]},
"gbtree_model_param":{"num_trees":"1"},"tree_info":[0],"trees":[{
"left_children":[1,-1,3,-1,-1,-1],"right_children":[2,-1,4,-1,-1,-1],"split_indices":[0,0,1,0,0,0],"split_conditions":[0.5,1,0,2,3,9],
"default_left":[1,0,0,0,0,0],"split_type":[0,0,1,0,0,0],"categories":[1],"categories_nodes":[2],"categories_segments":[0],"categories_sizes":[1],
"loss_changes":[4,0,1,0,0,0],"tree_param":{"num_nodes":"6","size_leaf_vector":"1"}}]},"name":"gbtree"},
"learner_model_param":{"base_score":"[1E1]","num_class":"0","num_feature":"2","num_target":"1"},"objective":{"name":"reg:squarederror"}},"version":[3,2,0]}`

func TestRead(t *testing.T) {
	t.Parallel()
	m, err := Read([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != "3.2.0" || m.Objective != "reg:squarederror" || len(m.Trees[0]) != 5 {
		t.Errorf("%+v", m)
	}
	f, err := m.Forest([]record.Column{{Name: "x", Type: record.Numeric}, {Name: "c", Type: record.Enum, Levels: []string{"a", "ä"}}})
	if err != nil {
		t.Fatal(err)
	}
	fr := &record.Frame{Rows: 5, Columns: f.Inputs()}
	fr.Columns[0].Numbers, fr.Columns[1].Codes = []float64{math.NaN(), 0.49, 0.5, 0.5, 0.5}, []int32{0, 0, 0, 1, -1}
	got := make([]float64, 5)
	f.Score(fr, got)
	for i, want := range []float64{11, 11, 12, 13, 13} { // a category that is not in the set goes left, one that is right
		if got[i] != want {
			t.Errorf("row %d: %v, want %v", i, got[i], want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, new, want string }{
		{`{"learner"`, `["learner"`, "neither JSON nor UBJSON"},
		{`"version":[3,2,0]}`, `"version":[3,2,0]`, "unexpected end of JSON"},
		{`"name":"gbtree"`, `"name":"gblinear"`, `gradient_booster.name: a booster "gblinear"`},
		{`"tree_info":[0]`, `"tree_info":[0],"weight_drop":[1]`, "trees with weights (dart)"},
		{`"tree_info":[0]`, `"tree_info":[1]`, "tree_info[0]: a tree of another output"},
		{`"tree_info":[0]`, `"tree_info":[]`, "1 trees, tree_info of 0"},
		{`"num_class":"0"`, `"num_class":"3"`, "num_class: \"3\": a model that predicts several classes"},
		{`"num_target":"1"`, `"num_target":"2"`, "num_target: \"2\": a model of several targets"},
		{`"[1E1]"`, `"[1E1,2]"`, "base_score: \"1E1,2\" is not one number"},
		{`"[1E1]"`, `"nan"`, "base_score: \"nan\" is not one number"},
		{`reg:squarederror`, `binary:logistic`, "base_score: 10 is no probability"},
		{`"[1E1]","num_class":"0","num_feature":"2","num_target":"1"},"objective":{"name":"reg:squarederror"}`, `"-1","num_feature":"2"},"objective":{"name":"reg:gamma"}`, "base_score: -1 is not above 0"},
		{`reg:squarederror`, `multi:softmax`, `objective.name: models of the objective "multi:softmax"`},
		{`["x","c"]`, `[]`, "feature_names: the model has no names"},
		{`["x","c"]`, `["x","x"]`, `feature 1: the name "x" is empty, no text, or there twice`},
		{`["float","c"]`, `["c"]`, "feature_types: 1 types for 2 features"},
		{`["float","c"]`, `["float","float"]`, "trees[0]: node 2: split_type is not for feature \"c\""},
		{`"num_feature":"2"`, `"num_feature":"3"`, "num_feature: \"3\" for 2 names"},
		{`"cats"`, `"kittens"`, "cats: feature \"c\": the file does not say what its codes stand for"},
		{`[0,1,3]`, `[0,1,4]`, "cats: feature \"c\": offsets[1]: 1 to 4 of 3 bytes"},
		{`[0,1,3]`, `[1,0,3]`, "offsets[0]: 1 to 0 of 3 bytes"},
		{`[97,-61,-92]`, `[97,-61,1.5]`, "values[2]: \"1.5\" is no byte"},
		{`"size_leaf_vector":"1"`, `"size_leaf_vector":"3"`, "size_leaf_vector: \"3\": a tree of several outputs"},
		{`"left_children":[1,-1,3`, `"left_children":[2,-1,3`, "trees[0]: node 0: its child 2 is not there, or has two parents"},
		{`"left_children":[1,-1,3`, `"left_children":[1,-1,0`, "trees[0]: node 2: its child 0 is not there"},
		{`"left_children":[1,-1,3`, `"left_children":[1,-1,7`, "trees[0]: node 2: its child 7 is not there"},
		{`"right_children":[2,-1,4`, `"right_children":[2,4`, "trees[0]: it has lists of 6 and 5 nodes"},
		{`"split_indices":[0,0,1`, `"split_indices":[0,0,2`, "trees[0]: node 2: no such feature: 2"},
		{`[0.5,1,0,2,3,9]`, `[0.5,1e39,0,2,3,9]`, "cannot unmarshal"},
		{`"default_left":[1`, `"default_left":[2`, "\"2\" is no flag"},
		{`"categories":[1]`, `"categories":[2]`, "trees[0]: node 2: categories of feature \"c\" beyond its 2"},
		{`"categories":[1]`, `"categories":[-1]`, "categories_nodes[0]: the code -1"},
		{`"categories_sizes":[1]`, `"categories_sizes":[2]`, "categories_nodes[0]: 2 codes from 0 of 1"},
		{`"categories_sizes":[1]`, `"categories_sizes":[]`, "have different lengths"},
		{`"categories_nodes":[2]`, `"categories_nodes":[3]`, "trees[0]: node 2: it has no categories"},
		{`"categories":[1]`, `"categories":[2000000000]`, "the sets of categories are too large"},
	} {
		text := strings.Replace(small, c.old, c.new, 1)
		if text == small {
			t.Fatalf("%q is not in the model", c.old)
		}
		m, err := Read([]byte(text))
		if m != nil || err == nil || !strings.HasPrefix(err.Error(), "xgboost: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: want %q, got %v", c.new, c.old, c.want, err)
		}
	}
}

// TestBelow compares thresholds with what XGBoost does: it rounds, and then compares.
func TestBelow(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	conditions := []float32{0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), 1, -1, 0x1p-126, -0x1p-126}
	for range 20_000 {
		conditions = append(conditions, math.Float32frombits(rng.Uint32()))
	}
	for _, c := range conditions {
		if c != c || math.IsInf(float64(c), -1) {
			if _, ok := below(c); ok {
				t.Errorf("%v is a condition", c)
			}
			continue
		}
		threshold, ok := below(c)
		if !ok {
			t.Fatalf("%v is no condition", c)
		}
		for _, x := range []float64{
			threshold, math.Nextafter(threshold, math.Inf(1)), math.Nextafter(threshold, math.Inf(-1)), float64(c), math.Nextafter(float64(c), math.Inf(-1)),
			float64(math.Nextafter32(c, float32(math.Inf(-1)))), 0, math.Inf(1), math.Inf(-1), rng.NormFloat64(),
		} {
			if got, want := x <= threshold, float32(x) < c; got != want {
				t.Fatalf("condition %v: %v goes left: %v, of XGBoost: %v", c, x, got, want)
			}
		}
	}
}

func TestBinaryRefuses(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile("testdata/golden/numbers_ubj.ubj")
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole); n += 97 {
		if _, err := Read(whole[:n]); err == nil {
			t.Errorf("no error for the first %d bytes of %d", n, len(whole))
		}
	}
	for want, text := range map[string]string{
		"1 bytes past the end":     "{i\x07learneri\x01}}",
		"the file ends too early":  "{i\x07learner[#L\x7f\xff\xff\xff\xff\xff\xff\xff",
		"a length of type 'S'":     "{i\x07learnerSS",
		"a value of type 'x'":      "{i\x07learnerx}",
		"a list of type 'S'":       "{i\x07learner[$S#i\x01}",
		"the number NaN":           "{i\x07learnerd\x7f\xc0\x00\x00}",
		"values are more than 64":  "{i\x07learner" + strings.Repeat("[", 70),
		"UBJSON: at byte 10: the ": "{i\x07learner",
	} {
		if _, err := Read([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// FuzzRead checks that bytes are refused, or make a model whose forest predicts numbers.
func FuzzRead(f *testing.F) {
	f.Add([]byte(small))
	for _, name := range []string{"pruned.json", "v1_logistic.ubj"} {
		data, err := os.ReadFile(filepath.Join("testdata/golden", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("{i\x07learner{i\x01a[$d#i\x01\x00\x00\x00\x00i\x01bT}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Read(data)
		if err != nil {
			if m != nil || !strings.HasPrefix(err.Error(), "xgboost: ") {
				t.Fatalf("%v, %v", m, err)
			}
			return
		}
		var inputs []record.Column
		for i := range m.Features {
			c := record.Column{Name: m.Features[i].Name, Type: record.Numeric}
			if m.Features[i].Categorical {
				c.Type = record.Enum
			}
			inputs = append(inputs, c)
		}
		levels, err := m.Levels(inputs)
		if err != nil {
			return
		}
		fr := &record.Frame{Rows: 3, Columns: inputs}
		for i := range inputs {
			c := &inputs[i]
			if c.Type == record.Enum {
				c.Levels, c.Codes = levels[c.Name], []int32{-1, 0, 1}
			} else {
				c.Numbers = []float64{0, -1, 1e300}
			}
		}
		forest, err := m.Forest(inputs)
		if err != nil {
			return // too deep, or sums that are not finite
		}
		forest.Score(fr, make([]float64, 3))
	})
}
