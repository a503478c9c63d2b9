package feature

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace.dev/record"
)

// TestNamedArguments holds where the colon of a name is told from those of conditions and of parts of texts.
func TestNamedArguments(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		"one_hot(e, top: 2, missing: true)", "one_hot(e[1:], top: 2)", "one_hot(x > 1 ? e : s, top: 2)", "one_hot((x > 1 ? s[:2] : e)[1:3], oov: 2)",
		"x > 1 ? min_max(x, low: -1) : max(x, y)", "e | one_hot(top: 2)", "s | n_hot(sep: ';') | normalize(p: 1)", "cross(one_hot(e, top: 2), one_hot(s, top: 1), by: 'max')",
		"if x > 1 { min_max(x, low: -1, high: 2) } else { y }", "bucketize(x, splits: [-1, 0, 1.5])", "one_hot(coalesce(e, s, 'a:b'), top: 1)", "max(x, y ?? x, bucketize(x, splits: [0, 1], output: 'index'))",
		"one_hot(e /* a: b */, top: 2)", "one_hot(e == 'ü' ? 'é' : s, top: 2)",
	} {
		if _, err := Compile(Declaration{Schema: randomSchema(), Features: []Spec{{"f", src}}, Inputs: []string{"f"}}); err != nil {
			t.Errorf("%s: %v", src, err)
		}
	}
	for src, want := range map[string]string{
		"one_hot(e, top: 2 + 1)":                      "its value is a literal",
		"one_hot(e, top: x > 1 ? 2 : 3)":              "its value is a literal",
		"coalesce(one_hot(e), one_hot(s))":            "cannot be a vector",
		"one_hot(e) ?? nil":                           "cannot be a vector",
		"x in [vector(x), vector(y)]":                 "literals only",
		"vector(x) in [1]":                            "in takes number",
		"-vector(x)":                                  "cannot be applied to vector",
		"vector(x)[1:]":                               "only a text has parts",
		"is_missing(vector(x))":                       "cannot be called with",
		"one_hot(e, top: x)":                          "takes a literal number",
		"one_hot(e, tops: 2)":                         `has no argument "tops"`,
		"one_hot(e, top: 2, top: 3)":                  "comes twice",
		"one_hot(e, top: 1.5)":                        "must be a whole number",
		"one_hot(top: 2)":                             "cannot be called with 0 arguments",
		"lower(e, top: 2)":                            "has no named arguments",
		"n_hot(s, sep: '')":                           "must not be empty",
		"n_hot_weighted(s, weight: '')":               "must not be empty",
		"ngrams(s, sep: '')":                          "must not be empty",
		"ngrams(s, low: 3, high: 2)":                  "low must not be above high",
		"min_max(x, low: 2, high: 1)":                 "low must be below high",
		"bucketize(x, splits: [1, 1])":                "must ascend",
		"bucketize(x, splits: [])":                    "takes a list of numbers",
		"bucketize(x)":                                `needs the argument "splits"`,
		"cross(one_hot(e), x)":                        "cannot be called with",
		"one_hot(e) + 1":                              "cannot be applied to vector",
		"x > 1 ? one_hot(e) : one_hot(s)":             "cannot be a vector",
		"(x ? e : s, top: 2)":                         "",
		"x[top: 2]":                                   "",
		"{a: 1}":                                      "",
		"target_mean(e)":                              "needs a label",
		"polynomial(vector(x, y), degree: 20) ** 2":   "",
		"von_mises_points(e, points: [1])":            "cannot be called with",
		"cross(polynomial(vector(x, y), degree: 20))": "cannot be called with 1 arguments",
	} {
		_, err := Compile(Declaration{Schema: randomSchema(), Features: []Spec{{"f", src}}, Inputs: []string{"f"}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
}

// TestLabelStaysOut tries to get the label into what a prediction is made of.
func TestLabelStaysOut(t *testing.T) {
	t.Parallel()
	table := Table{"zips", mustSchema(t, record.Field{Name: "income", Type: record.Numeric})}
	window := func(key, where, agg string) []Window {
		return []Window{{Name: "w", Key: key, Where: where, Size: time.Hour, Aggregates: []Spec{{"a", agg}}}}
	}
	for name, d := range map[string]Declaration{
		"itself":                  {Features: []Spec{{"f", "label + 1"}}},
		"by column()":             {Features: []Spec{{"f", `column("label")`}}},
		"in another argument":     {Features: []Spec{{"f", "target_mean(text(label))"}}},
		"behind a feature":        {Features: []Spec{{"f", "target_mean(e, g)"}, {"g", "label * 2"}}},
		"in the key of a table":   {Features: []Spec{{"f", "zips[text(label)].income"}}, Tables: []Table{table}},
		"in a key of a window":    {Features: []Spec{{"f", "w.a"}}, Windows: window("text(label)", "", "count()")},
		"in where of a window":    {Features: []Spec{{"f", "w.a"}}, Windows: window("e", "label > 1", "count()")},
		"in an aggregate":         {Features: []Spec{{"f", "w.a"}}, Windows: window("e", "", "mean(label)")},
		"learned in an aggregate": {Features: []Spec{{"f", "w.a"}}, Windows: window("e", "", "mean(target_mean(e))")},
		"learned in a key":        {Features: []Spec{{"f", "w.a"}, {"g", "target_mean(e)"}}, Windows: window("text(g)", "", "count()")},
		"as a named argument":     {Features: []Spec{{"f", "min_max(x, low: label)"}}},
		"in a vector":             {Features: []Spec{{"f", "normalize(vector(x, label))"}}},
	} {
		d.Schema, d.Inputs, d.Label = fitSchema(), []string{"f"}, "label"
		if _, err := Compile(d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Compile(Declaration{Schema: fitSchema(), Inputs: []string{"label"}, Label: "label"}); err == nil {
		t.Error("the label is an input")
	}
}

// TestFoldsInside fits a function on what another one has learned from the label: it sees the values of other folds, too.
func TestFoldsInside(t *testing.T) {
	t.Parallel()
	d := Declaration{Schema: fitSchema(), Features: []Spec{{"f", "max_abs(target_mean(e, smoothing: 0))"}}, Inputs: []string{"f"}, Label: "label"}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	var rows []fitRow
	for i := range 40 { // each text has one row: what the others say is the mean of all
		rows = append(rows, fitRow{label: 100, e: text{strings.Repeat("x", i+1), true}, id: int64(i)})
	}
	rows[7].label = 1e6
	p, err = fitOnce(p, rows)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := fitBatch(p.Schema(), nil, rows)
	if got := p.NewTrainingEvaluator().Eval(b, Enrichment{}).Columns[0].Numbers[7]; got == 1 {
		t.Error("the largest value that was learned is a row's own label")
	}
	if !p.HasFolds() {
		t.Error("it has no folds")
	}
}

// TestFoldsAreTold keeps calls apart whose means are the same, but not those of the folds.
func TestFoldsAreTold(t *testing.T) {
	t.Parallel()
	specs := []Spec{{"two", "target_mean(e, folds: 2)"}, {"nine", "target_mean(e, folds: 9)"}}
	var frames []*record.Frame
	rows := make([]fitRow, 60)
	for i := range rows {
		rows[i] = fitRow{label: float64(i * i), e: text{string(rune('a' + i%3)), true}, id: int64(i)}
	}
	for _, inputs := range [][]string{{"two", "nine"}, {"nine", "two"}} {
		p, err := Compile(Declaration{Schema: fitSchema(), Features: specs, Inputs: inputs, Label: "label"})
		if err != nil {
			t.Fatal(err)
		}
		if p, err = fitOnce(p, rows); err != nil {
			t.Fatal(err)
		}
		b, _ := fitBatch(p.Schema(), nil, rows)
		frames = append(frames, p.NewTrainingEvaluator().Eval(b, Enrichment{}))
	}
	differ := false
	for i := range rows {
		a, b := frames[0].Columns[0].Numbers[i], frames[1].Columns[1].Numbers[i]
		if a != b {
			t.Fatalf("row %d: %v, and in the other order %v", i, a, b)
		}
		differ = differ || a != frames[0].Columns[1].Numbers[i]
	}
	if !differ {
		t.Error("two folds are as nine")
	}
}

// TestHugeNumbers fits on numbers whose sums, widths and products are beyond the range: the plan can be stored.
func TestHugeNumbers(t *testing.T) {
	t.Parallel()
	specs := []Spec{
		{"a", "standard(x)"},
		{"b", "min_max(x, low: -1e300, high: 1e300)"},
		{"c", "max_abs(x)"},
		{"d", "impute(x, by: 'mean')"},
		{"e1", "quantile_bucket(x)"},
		{"f", "iqr_outlier(x, factor: 1e6)"},
		{"g", "quantile_outlier(x)"},
		{"h", "z_score(x, e)"},
		{"i", "mdl_bucket(x)"},
		{"j", "target_mean(e)"},
		{"k", "impute(x)"},
	}
	var inputs []string
	for _, s := range specs {
		inputs = append(inputs, s.Name)
	}
	for _, list := range [][]float64{{math.MaxFloat64}, {-math.MaxFloat64, math.MaxFloat64}, {-math.MaxFloat64}, {5e-324, -5e-324}, {math.MaxFloat64, math.Nextafter(math.MaxFloat64, 0)}} {
		p, err := Compile(Declaration{Schema: fitSchema(), Features: specs, Inputs: inputs, Label: "label"})
		if err != nil {
			t.Fatal(err)
		}
		var rows []fitRow
		for i := range 30 {
			rows = append(rows, fitRow{x: list[i%len(list)], label: list[(i/2)%len(list)], e: text{"k", true}, id: int64(i)})
		}
		if p, err = fitOnce(p, rows); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPlan(encoded(t, p)); err != nil {
			t.Errorf("%v: %v", list, err)
		}
	}
}

// TestNotUTF8 refuses texts that the plan could not hold.
func TestNotUTF8(t *testing.T) {
	t.Parallel()
	for _, src := range []string{"one_hot(s)", "z_score(x, s, min_count: 1)", "target_mean(s)", "n_hot(s)", "vocabulary(s)"} {
		p, err := Compile(Declaration{Schema: fitSchema(), Features: []Spec{{"f", src}}, Inputs: []string{"f"}, Label: "label"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fitOnce(p, []fitRow{{x: 1, label: 1, s: text{"a\xff", true}}}); err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

// TestTooManyInputs counts the elements of vectors as inputs.
func TestTooManyInputs(t *testing.T) {
	t.Parallel()
	p, err := Compile(Declaration{Schema: fitSchema(), Features: []Spec{{"a", "hash_one_hot(s, size: 5000)"}, {"b", "hash_one_hot(e, size: 5000)"}}, Inputs: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fitOnce(p, nil); err == nil || !strings.Contains(err.Error(), "10000 inputs: at most 8192") {
		t.Error(err)
	}
}

// TestLongTexts takes texts of many parts apart in time that is linear in their length.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	p, err := Compile(Declaration{Schema: fitSchema(), Features: []Spec{{"f", "ngrams(s, missing: true)"}}, Inputs: []string{"f"}})
	if err != nil {
		t.Fatal(err)
	}
	if p, err = fitOnce(p, []fitRow{{s: text{"a b", true}}}); err != nil {
		t.Fatal(err)
	}
	b, _ := fitBatch(p.Schema(), nil, []fitRow{{s: text{strings.Repeat("a ", 500_000), true}}, {s: text{"a b", true}}, {s: text{"a", true}}})
	e := p.NewEvaluator()
	frame := e.Eval(b, Enrichment{})
	for i, want := range [][]float64{{1, 0, 0, 1}, {1, 1, 1, 0}, {1, 0, 0, 0}} { // a, a b, b, missing
		for k := range want {
			if got := frame.Columns[k].Numbers[i]; got != want[k] {
				t.Errorf("row %d: %s is %v, want %v", i, frame.Columns[k].Name, got, want[k])
			}
		}
	}
	if c := e.FittedCounts()[0]; c != (Counts{Unseen: 1}) {
		t.Errorf("%+v", c)
	}
}

// TestCountsRowsOnce counts a row once, though two calls of its feature meet what they have not seen.
func TestCountsRowsOnce(t *testing.T) {
	t.Parallel()
	p, err := Compile(Declaration{Schema: fitSchema(), Features: []Spec{{"f", "cross(one_hot(e), quantile_bucket(x))"}}, Inputs: []string{"f"}})
	if err != nil {
		t.Fatal(err)
	}
	if p, err = fitOnce(p, []fitRow{{x: 1, e: text{"a", true}}, {x: 2, e: text{"b", true}}}); err != nil {
		t.Fatal(err)
	}
	e := p.NewEvaluator()
	for range 2 { // two batches, and more than a tile
		rows := make([]fitRow, 700)
		for i := range rows {
			rows[i] = fitRow{x: 9, e: text{"new", true}}
		}
		rows[3], rows[600] = fitRow{x: nan()}, fitRow{x: nan(), e: text{"new", true}}
		b, _ := fitBatch(p.Schema(), nil, rows)
		e.Eval(b, Enrichment{})
	}
	if c := e.FittedCounts()[0]; c != (Counts{Missing: 4, Unseen: 2 * 699}) {
		t.Errorf("%+v", c)
	}
}

// TestDeclarationsThatCannotBeRead are errors of Compile, and not of whoever reads the plan.
func TestDeclarationsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	count := []Spec{{"n", "count()"}}
	for name, d := range map[string]Declaration{
		"a table without a name":    {Tables: []Table{{"", fitSchema()}}},
		"a table without a schema":  {Tables: []Table{{Name: "t"}}, Features: []Spec{{"f", "t[e].x"}}},
		"a window without a size":   {Windows: []Window{{Name: "w", Key: "e", Aggregates: count}}},
		"a window with a hop below": {Windows: []Window{{Name: "w", Key: "e", Size: 1, Hop: -1, Aggregates: count}}},
		"a window of nothing":       {Windows: []Window{{Name: "w", Key: "e", Size: 1}}},
		"two aggregates of a name":  {Windows: []Window{{Name: "w", Key: "e", Size: 1, Aggregates: append(count, count...)}}},
		"a window of a row":         {Windows: []Window{{Name: "w", Key: "one_hot(e)", Size: 1, Aggregates: count}}},
		"two tables of a name":      {Tables: []Table{{"t", fitSchema()}, {"t", fitSchema()}}},
	} {
		d.Schema, d.Inputs = fitSchema(), []string{"x"}
		if _, err := Compile(d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestFitConcurrently has many goroutines take fitters and plans of one plan, which is not fitted yet.
func TestFitConcurrently(t *testing.T) {
	t.Parallel()
	p, err := Compile(Declaration{
		Schema: fitSchema(), Inputs: []string{"f", "g", "e"}, Label: "label",
		Features: []Spec{{"f", "standard(target_mean(extract(e, '^(.)')))"}, {"g", "one_hot(replace_regex(s, 'a+', 'b'), top: 3)"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]fitRow, 50)
	for i := range rows {
		rows[i] = fitRow{x: float64(i), label: float64(i % 5), e: text{string(rune('a' + i%4)), true}, s: text{"aab", true}, id: int64(i)}
	}
	digests := make([]string, 4)
	var all sync.WaitGroup
	for i := range digests {
		all.Go(func() {
			if q, err := fitOnce(p, rows); err == nil {
				digests[i] = q.Digest()
			}
		})
	}
	all.Wait()
	for _, d := range digests {
		if d == "" || d != digests[0] {
			t.Errorf("digests %q", digests)
		}
	}
	if p.Fits() != nil {
		t.Error("a plan that is not fitted counts something")
	}
	if _, err := p.MarshalBinary(); !errors.Is(err, errNotFitted) {
		t.Error(err)
	}
}
