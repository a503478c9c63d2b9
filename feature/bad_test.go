package feature

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"millrace.dev/record"
)

func badDeclaration(t testing.TB, exprs ...string) Declaration {
	t.Helper()
	s, err := record.NewSchema(record.Field{Name: "y", Type: record.Numeric}, record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "city", Type: record.Enum}, record.Field{Name: "note", Type: record.String})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := record.NewSchema(record.Field{Name: "income", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	d := Declaration{
		Schema: s, Label: "y", Tables: []Table{{Name: "zips", Schema: rows}},
		Windows: []Window{{Name: "sales", Key: "city", Size: time.Hour, Aggregates: []Spec{{Name: "n", Expr: "count()"}}}},
	}
	for i, e := range exprs {
		d.Features = append(d.Features, Spec{Name: fmt.Sprintf("f%d", i), Expr: e})
		d.Inputs = append(d.Inputs, fmt.Sprintf("f%d", i))
	}
	return d
}

// TestBadDeclarations holds what is said of faults in named arguments, fitted functions, tables and windows.
func TestBadDeclarations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, want string }{
		{"one_hot(city, tpo: 3)", `one_hot has no argument "tpo"`},
		{"one_hot(city, top: 3, top: 4)", "top"},
		{`one_hot(city, top: "3")`, "top"},
		{"one_hot(city, top: -1)", "top"},
		{"one_hot(city, top: x)", "top"},
		{"one_hot(top: 3, city)", "named arguments come after the others"},
		{"one_hot(city, top: 3, city)", "named arguments come after the others"},
		{"one_hot(x)", "one_hot"},
		{"standard(city)", "standard"},
		{"lower(city, top: 3)", "lower has no named arguments"},
		{"zip[city].income", `there is no table "zip" (at byte 0): did you mean "zips"?`},
		{"zips[city].incom", `did you mean "income"`},
		{"zips[x].income", "key"},
		{"sale.n", `there is no window "sale" (at byte 0): did you mean "sales"?`},
		{"city.n", "values have no members"},
		{"sales.m", `the window sales has no aggregate "m"`},
		{"sales", "sales"},
		{"zips", "zips"},
		{"sales[city].n", "sales is a window, which has its key already (at byte 0): write sales.aggregate"},
		{"zips.income", "zips"},
		{`matches(note, "a{1000}{1000}")`, "invalid nested repetition operator"},
		{`matches(note, "(a")`, "missing closing )"},
		{"x + city", `"+" cannot be applied to number and text`},
		{"y * 2", "label"},
	} {
		_, err := Compile(badDeclaration(t, c.expr))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %s", c.expr, err, c.want)
			continue
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Feature != "f0" {
			t.Errorf("%s: it does not say where: %#v", c.expr, err)
		}
		t.Logf("%s: %s", c.expr, strings.ReplaceAll(err.Error(), "\n", " / "))
	}
	for name, w := range map[string]Window{
		"a fitted function": {Name: "w", Key: "city", Size: time.Hour, Aggregates: []Spec{{Name: "n", Expr: "mean(standard(x))"}}},
		"a table":           {Name: "w", Key: "city", Size: time.Hour, Where: "zips[city].income > 1", Aggregates: []Spec{{Name: "n", Expr: "count()"}}},
		"a window":          {Name: "w", Key: "city", Size: time.Hour, Aggregates: []Spec{{Name: "n", Expr: "mean(sales.n)"}}},
		"the label":         {Name: "w", Key: "city", Size: time.Hour, Aggregates: []Spec{{Name: "n", Expr: "mean(y)"}}},
		"a number as key":   {Name: "w", Key: "x", Size: time.Hour, Aggregates: []Spec{{Name: "n", Expr: "count()"}}},
		"no aggregate":      {Name: "w", Key: "city", Size: time.Hour, Aggregates: []Spec{{Name: "n", Expr: "x + 1"}}},
		"another function":  {Name: "w", Key: "city", Size: time.Hour, Aggregates: []Spec{{Name: "n", Expr: "mena(x)"}}},
	} {
		d := badDeclaration(t, "w.n")
		d.Windows = append(d.Windows, w)
		_, err := Compile(d)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.HasPrefix(e.Feature, "w.") {
			t.Errorf("a window of %s: %v", name, err)
		} else {
			t.Logf("a window of %s: %s", name, strings.ReplaceAll(err.Error(), "\n", " / "))
		}
	}
	s := badDeclaration(t).Schema
	if _, err := CompilePredicate(s, "standard(x) > 1"); err == nil || !strings.Contains(err.Error(), "learns from the training rows") {
		t.Errorf("a fitted function in a condition: %v", err)
	} else {
		t.Log(err)
	}
}

// fittedOn returns the plan of expressions that has seen the columns x and city.
func fittedOn(t testing.TB, x []float64, city []string, exprs ...string) (*Plan, error) {
	t.Helper()
	d := badDeclaration(t, exprs...)
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	for !p.Fitted() {
		f := p.NewFitter()
		b := record.NewBatch(d.Schema, nil)
		keep := make([]bool, len(x))
		for i := range x {
			b.Append(record.Raw{Offset: int64(i)})
			b.Numbers(0)[i], b.Numbers(1)[i], keep[i] = float64(i%3), x[i], true
			if city[i] != "" {
				b.Codes(2)[i] = b.Dict(2).Code([]byte(city[i]))
			}
		}
		f.Add(b, keep, Enrichment{})
		if p, err = f.Plan(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// TestFitOnOddColumns has every fitted function learn from columns that have nothing to learn from: it gives a plan, whose
// inputs are missing or finite, or an error that says what to do.
func TestFitOnOddColumns(t *testing.T) {
	t.Parallel()
	const many = 70_000 // more than an enum can have
	nan := math.NaN()
	columns := map[string]struct {
		x    func(int) float64
		city func(int) string
		n    int
	}{
		"empty":    {func(int) float64 { return nan }, func(int) string { return "" }, 50},
		"constant": {func(int) float64 { return 7 }, func(int) string { return "one" }, 50},
		"labels":   {func(i int) float64 { return float64(i) }, func(i int) string { return fmt.Sprintf("label %d", i) }, many},
	}
	if testing.Short() { // 70,000 rows for each function take long under the race detector
		delete(columns, "labels")
	}
	for name, c := range columns {
		for _, e := range []string{
			"standard(x)", "min_max(x)", "max_abs(x)", "impute(x)", "quantile_bucket(x)", "iqr_outlier(x)", "quantile_outlier(x)", "z_score(x, city)", "one_hot(city)", "one_hot(city, top: 5)", "position(city)", "vocabulary(city)",
			"heavy_hitters(city)", "n_hot(city)", "n_hot_weighted(city)", "ngrams(city)", "hash_one_hot(city)", "hash_n_hot(city)", "mdl_bucket(x, city)", "target_mean(city)",
		} {
			var x []float64
			var city []string
			for i := range c.n {
				x, city = append(x, c.x(i)), append(city, c.city(i))
			}
			p, err := fittedOn(t, x, city, e)
			if err != nil {
				if !strings.Contains(err.Error(), "give ") && !strings.Contains(err.Error(), "take ") || name != "labels" {
					t.Errorf("%s on a column of %s: %v", e, name, err)
				}
				continue
			}
			b := record.NewBatch(badDeclaration(t).Schema, p.Levels())
			for i := range 3 {
				b.Append(record.Raw{})
				if b.Numbers(1)[i] = float64(7 * i); i == 1 {
					b.Codes(2)[i] = b.Dict(2).Code([]byte("one"))
				}
			}
			frame := p.NewEvaluator().Eval(b, Enrichment{})
			for _, col := range frame.Columns {
				for _, v := range col.Numbers {
					if math.IsInf(v, 0) {
						t.Errorf("%s on a column of %s: %s is %v", e, name, col.Name, v)
					}
				}
			}
		}
	}
}

// TestExplosiveRegex has a pattern that takes other engines forever go over a long text.
func TestExplosiveRegex(t *testing.T) {
	t.Parallel()
	d := badDeclaration(t, `matches(note, "(a+)+$")`)
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBatch(d.Schema, p.Levels())
	b.Append(record.Raw{})
	b.Texts(3).Set(0, []byte(strings.Repeat("a", 100_000)+"b"))
	if frame := p.NewEvaluator().Eval(b, Enrichment{}); frame.Columns[0].Numbers != nil && frame.Columns[0].Numbers[0] != 0 {
		t.Errorf("%v", frame.Columns[0])
	}
}
