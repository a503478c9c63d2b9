package lightgbm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/internal/importer/lightgbm"
	"millrace.dev/record"
)

// small is a model of two trees: a split of a number and one of categories, and a constant.
const small = `tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=2
objective=regression
feature_names=x c z
feature_infos=[0:10] -1:0:1:40 none
tree_sizes=1 2

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
split_gain=3 1
threshold=2.5 0
decision_type=10 1
left_child=-1 -2
right_child=1 -3
leaf_value=1 2 3
cat_boundaries=0 2
cat_threshold=1 256
is_linear=0
shrinkage=1


Tree=1
num_leaves=1
num_cat=0
split_feature=
leaf_value=10


end of trees

pandas_categorical:null
`

func TestRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{small, strings.ReplaceAll(small, "\n", "\r\n")} {
		if !lightgbm.Is([]byte(text)) {
			t.Fatal("the model is not recognised")
		}
		m, err := lightgbm.Read([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if m.Format != "lightgbm" || m.Version != "v4" || m.Objective != "regression" || m.Features[2].Used || !m.Features[1].Used || m.Features[0].Gain != 3 {
			t.Errorf("%+v", m)
		}
		// z has no split, and need not be an input; more than the model's levels 0, 1 and 40 are not known to it.
		f, err := m.Forest([]record.Column{{Name: "c", Type: record.Enum, Levels: []string{"0", "1", "40", "7"}}, {Name: "x", Type: record.Numeric}})
		if err != nil {
			t.Fatal(err)
		}
		fr := &record.Frame{Rows: 5, Columns: f.Inputs()}
		fr.Columns[0].Codes, fr.Columns[1].Numbers = []int32{0, 1, 2, 3, -1}, []float64{9, 9, 9, 9, 9}
		got := make([]float64, 5)
		f.Score(fr, got)
		for i, want := range []float64{12, 13, 12, 13, 13} {
			if got[i] != want {
				t.Errorf("row %d: %v, want %v", i, got[i], want)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, new, want string }{
		{"tree\n", "forest\n", `it does not begin with the lines "tree"`},
		{"version=v4", "version=v2", `line 2: version: "v2": v3 and v4 are read`},
		{"version=v4", "version=v40", `line 2: version: "v40": v3 and v4 are read`},
		{"num_class=1", "num_class=3", "line 3: num_class: \"3\": a model that predicts several classes"},
		{"num_tree_per_iteration=1", "num_tree_per_iteration=3", "line 4: num_tree_per_iteration: "},
		{"label_index=0", "average_output", "line 5: average_output: a random forest"},
		{"label_index=0", "surprise=0", `line 5: the key "surprise" is not known`},
		{"label_index=0", "num_class=1", "line 5: num_class: it is there twice"},
		{"objective=regression", "objective=multiclass num_class:3", `line 7: objective: models of the objective "multiclass"`},
		{"objective=regression", "objective=regression sqrt", "line 7: objective: a model of square roots"},
		{"objective=regression", "objective=binary sigmoid:0.5", `line 7: objective: a sigmoid of "0.5"`},
		{"objective=regression", "objective=", "line 7: objective: it has no name"},
		{"max_feature_idx=2", "max_feature_idx=70000", "line 6: max_feature_idx: \"70000\" is no whole number from 0 to 65535"},
		{"max_feature_idx=2", "max_feature_idx=3", "line 8: feature_names: 3 values where there have to be 4"},
		{"max_feature_idx=2\n", "", "line 2: the block that begins here has no max_feature_idx"},
		{"feature_names=x c z", "feature_names=x c x", `feature 2: the name "x" is empty, no text, or there twice`},
		{"-1:0:1:40", "-1:0:a", `line 9: feature_infos: value 2: "a" is no category code`},
		{"-1:0:1:40", "-1:0:99999999999", `is no category code`},
		{"tree_sizes=1 2", "tree_sizes=1", "line 10: tree_sizes: 1 sizes for 2 trees"},
		{"Tree=1", "Tree=2", `line 28: want Tree=1 or "end of trees", not "Tree=2"`},
		{"num_leaves=3", "num_leaves=4", "tree 0: line 21: leaf_value: 3 values where there have to be 4"},
		{"num_leaves=3", "num_leaves=2000000", "tree 0: line 13: num_leaves: \"2000000\" is no whole number from 1 to 1048576"},
		{"num_cat=1", "num_cat=2", "tree 0: line 22: cat_boundaries: 2 values where there have to be 3"},
		{"num_cat=1", "num_cat=0", "tree 0: line 17: threshold: value 2, 0, is no set of categories: there are 0"},
		{"split_feature=0 1", "split_feature=0 3", "tree 0: line 15: split_feature: value 2, \"3\", is no whole number from 0 to 2"},
		{"split_feature=0 1", "split_feature=0 0", "tree 0: line 18: decision_type: value 2, 1, is not for feature \"x\" as feature_infos has it"},
		{"threshold=2.5 0", "threshold=nan 0", "tree 0: line 17: threshold: value 1, \"nan\", is no number"},
		{"threshold=2.5 0", "threshold=2.5 1", "value 2, 1, is no set of categories"},
		{"threshold=2.5 0", "threshold=2.5 0.5", "value 2, 0.5, is no set of categories"},
		{"decision_type=10 1", "decision_type=12 1", "tree 0: line 18: decision_type: value 1, \"12\""},
		{"left_child=-1 -2", "left_child=-1 0", "tree 0: node 0 is not there, or has two parents"},
		{"left_child=-1 -2", "left_child=-1 -1", "tree 0: node 2 is not there, or has two parents"},
		{"left_child=-1 -2", "left_child=-1 -4", "tree 0: line 19: left_child: value 2"},
		{"leaf_value=1 2 3", "leaf_value=1 2 inf", "tree 0: node 4: the leaf is not a finite number"},
		{"leaf_value=1 2 3", "leaf_value=1 2 1e999", "tree 0: line 21: leaf_value: value 3"},
		{"cat_boundaries=0 2", "cat_boundaries=1 2", "tree 0: line 22: cat_boundaries: value 1, 1, does not ascend from 0"},
		{"cat_threshold=1 256", "cat_threshold=1", "tree 0: line 23: cat_threshold: 1 values where there have to be 2"},
		{"cat_threshold=1 256", "cat_threshold=1 4294967296", "tree 0: line 23: cat_threshold: value 2"},
		{"is_linear=0", "is_linear=1", "tree 0: line 24: is_linear: linear trees cannot be imported"},
		{"end of trees\n\npandas_categorical:null\n", "", `line 34: the file ends before "end of trees"`},
		{"pandas_categorical:null", "pandas_categorical:{}", "line 37: pandas_categorical: want a list of lists"},
		{"pandas_categorical:null", "pandas_categorical:[[null]]", "line 37: pandas_categorical: \"null\" is no level"},
	} {
		text := strings.Replace(small, c.old, c.new, 1)
		if text == small {
			t.Fatalf("%q is not in the model", c.old)
		}
		m, err := lightgbm.Read([]byte(text))
		if m != nil || err == nil || !strings.HasPrefix(err.Error(), "lightgbm: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: want %q, got %v", c.new, c.old, c.want, err)
		}
	}
}

// FuzzRead checks that bytes are refused, or make a model whose forest predicts numbers.
func FuzzRead(f *testing.F) {
	f.Add([]byte(small))
	paths, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 6000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := lightgbm.Read(data)
		if err != nil {
			if m != nil || !strings.HasPrefix(err.Error(), "lightgbm: ") {
				t.Fatalf("%v, %v", m, err)
			}
			return
		}
		var inputs []record.Column
		for i := range m.Features {
			c := record.Column{Name: m.Features[i].Name, Type: record.Numeric}
			if m.Features[i].Categorical || len(m.Lists) > i {
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
