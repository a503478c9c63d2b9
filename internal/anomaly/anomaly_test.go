package anomaly_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/anomaly"
	"millrace.dev/profile"
)

// number returns a column of numbers, n of which are in each bin.
func number(name string, missing uint64, edges []float64, n ...uint64) profile.Column {
	c := profile.Column{Name: name, Role: profile.Field, Kind: profile.Number, Missing: missing, Rows: missing, Edges: edges, Counts: append(n, 0)}
	for _, k := range n {
		c.Rows += k
	}
	c.Min, c.Max = math.NaN(), math.NaN()
	if len(edges) > 0 {
		c.Min, c.Max = edges[0], edges[len(edges)-1]
	}
	return c
}

func level(name string, levels []string, n ...uint64) profile.Column {
	c := profile.Column{Name: name, Role: profile.Field, Kind: profile.Level, Levels: levels, Counts: append(n, 0), Min: math.NaN(), Max: math.NaN()}
	for _, k := range n {
		c.Rows += k
	}
	return c
}

func of(columns ...profile.Column) *profile.Profile {
	return &profile.Profile{Rows: columns[0].Rows, Columns: columns}
}

func heavy() profile.Column {
	c := number("income", 0, []float64{1, 2, 3, 1e9}, 30, 30, 30, 1)
	c.Deviation = 1e8
	return c
}

func times() profile.Column {
	c := number("at", 0, []float64{-1e10, 1e9}, 1, 99)
	c.Kind = profile.Time
	return c
}

func TestAlone(t *testing.T) {
	t.Parallel()
	looked := func(name string, change func(*anomaly.Column)) []anomaly.Column {
		c := anomaly.Column{Name: name, Looked: 100}
		change(&c)
		return []anomaly.Column{c}
	}
	text := profile.Column{Name: "x", Role: profile.Field, Kind: profile.Text, Rows: 100}
	for name, test := range map[string]struct {
		data anomaly.Data
		want string // class, column and value
	}{
		"nothing":   {anomaly.Data{Profile: of(number("x", 0, []float64{1, 2}, 1, 1))}, ""},
		"missing":   {anomaly.Data{Profile: of(number("x", 5, nil))}, "all_missing x 1"},
		"constant":  {anomaly.Data{Profile: of(number("x", 5, []float64{3}, 7))}, "constant_column x 1"},
		"one row":   {anomaly.Data{Profile: of(number("x", 0, []float64{3}, 1))}, ""},
		"one level": {anomaly.Data{Profile: of(level("x", []string{"a", "b"}, 9, 0))}, "constant_column x 1"},
		"similar":   {anomaly.Data{Profile: of(level("x", []string{"New  York", "Paris", "new york", "paris "}, 1, 1, 1, 1))}, "similar_levels x 2"},
		"outliers":  {anomaly.Data{Profile: of(heavy())}, "outliers income 6.74e+07"},
		"times":     {anomaly.Data{Profile: of(times()), Outside: []anomaly.Outside{{Column: "at", Plausible: true, Below: 1}}}, "implausible_times at 0.01"},
		"keys":      {anomaly.Data{Profile: of(text), Keys: &anomaly.Keys{Field: "x", Rows: 100, Repeated: 3, Exact: true}}, "duplicate_keys x 0.03"},
		"keys by chance": {
			anomaly.Data{Profile: of(text), Keys: &anomaly.Keys{Field: "x", Rows: 1e7, Repeated: 100_000, Error: 80_000}}, "",
		},
		"keys for sure": {
			anomaly.Data{Profile: of(text), Keys: &anomaly.Keys{Field: "x", Rows: 1e7, Repeated: 1e6, Error: 80_000}}, "duplicate_keys x 0.1",
		},
		"rejected":   {anomaly.Data{Profile: of(text), Read: 200, Bad: 100, Reasons: "100 invalid_json"}, "rejected_records  0.5"},
		"renamed":    {anomaly.Data{Profile: of(text), Renamed: []anomaly.Renamed{{Given: "", Name: "x"}}}, "duplicate_columns x NaN"},
		"declared":   {anomaly.Data{Profile: of(text), Schema: []string{"x", "y"}, Columns: []anomaly.Column{{Name: "x"}, {Name: "z"}}}, "missing_column y 1, undeclared_column z NaN"},
		"other kind": {anomaly.Data{Profile: of(text), Changed: []anomaly.Changed{{Column: "x", Was: profile.Number, Is: profile.Text}}}, "type_change x NaN"},
		"kinds":      {anomaly.Data{Profile: of(text), Columns: looked("x", func(c *anomaly.Column) { c.Kinds = "50 numbers, 50 texts" })}, "mixed_types x NaN"},
		"some words": {anomaly.Data{Profile: of(text), Columns: looked("x", func(c *anomaly.Column) { c.Numbers = 80 })}, "mixed_types x 0.2"},
		"few words":  {anomaly.Data{Profile: of(text), Columns: looked("x", func(c *anomaly.Column) { c.Numbers = 20 })}, ""},
		"prices":     {anomaly.Data{Profile: of(text), Columns: looked("x", func(c *anomaly.Column) { c.Formatted = 99 })}, "numbers_as_text x 0.99"},
		"quoted":     {anomaly.Data{Profile: of(text), Columns: looked("x", func(c *anomaly.Column) { c.Quoted = 97 })}, "numbers_as_text x 0.97"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := short(anomaly.Alone(&test.data)); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func short(list []anomaly.Anomaly) string {
	var parts []string
	for _, a := range list {
		parts = append(parts, fmt.Sprintf("%s %s %.3g", a.Class, a.Column, a.Value))
	}
	return strings.Join(parts, ", ")
}

func TestAgainst(t *testing.T) {
	t.Parallel()
	prediction := number("prediction", 0, []float64{1, 2}, 500, 500)
	prediction.Role = profile.Prediction
	reference := of(number("a", 0, []float64{1, 2}, 500, 500), level("b", []string{"k", "l"}, 500, 500), times(), prediction)
	same := of(number("a", 0, []float64{1, 2}, 50, 50), level("b", []string{"k", "l"}, 50, 50), times())
	columns := []anomaly.Column{{Name: "a"}, {Name: "b"}, {Name: "at"}}
	for name, test := range map[string]struct {
		data anomaly.Data
		want string
	}{
		"the same": {anomaly.Data{Profile: same, Columns: columns}, ""},
		"columns":  {anomaly.Data{Profile: same, Columns: []anomaly.Column{{Name: "a"}, {Name: "at"}, {Name: "c"}}}, "missing_column b 1, new_column c NaN"},
		"nulls":    {anomaly.Data{Profile: of(number("a", 30, []float64{1, 2}, 50, 50), same.Columns[1], same.Columns[2]), Columns: columns}, "null_rate a 0.231"},
		"few nulls": {
			anomaly.Data{Profile: of(number("a", 1, []float64{1, 2}, 500, 500), same.Columns[1], same.Columns[2]), Columns: columns}, "",
		},
		"levels": {anomaly.Data{Profile: of(same.Columns[0], level("b", []string{"k", "m"}, 75, 25), same.Columns[2]), Columns: columns}, "unseen_levels b 0.25"},
		"range":  {anomaly.Data{Profile: same, Columns: columns, Outside: []anomaly.Outside{{Column: "a", Below: 1, Above: 4}}}, "range a 0.05"},
		"later":  {anomaly.Data{Profile: same, Columns: columns, Outside: []anomaly.Outside{{Column: "at", Above: 4}}}, ""},
		"earlier": {
			anomaly.Data{Profile: same, Columns: columns, Outside: []anomaly.Outside{{Column: "at", Below: 4}}}, "range at 0.04",
		},
		"kinds": {
			anomaly.Data{Profile: same, Columns: columns, Changed: []anomaly.Changed{{Column: "a", Was: profile.Number, Is: profile.Text, Reference: true}}, Outside: []anomaly.Outside{{Column: "a", Below: 1}}},
			"type_change a NaN",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := short(anomaly.Against(reference, &test.data)); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	d := anomaly.Data{Profile: of(level("x", []string{"Ümlaut\x1b[31m", "ümlaut\x1b[31m", strings.Repeat("y", 50), strings.Repeat("Y", 50)}, 1, 1, 1, 1))}
	b, err := json.Marshal(anomaly.Alone(&d))
	if err != nil {
		t.Fatal(err)
	}
	y := strings.Repeat("y", 40)
	want := `[{"column":"x","class":"similar_levels","words":"levels that differ only in case or white space: \"` + strings.ToUpper(y) + `…\" and \"` + y +
		`…\"; \"Ümlaut\\x1b[31m\" and \"ümlaut\\x1b[31m\"","value":2,"limit":0}]`
	want = strings.Replace(want, strings.ToUpper(y)+`…\" and \"`+y, y+`…\" and \"`+strings.ToUpper(y), 1)
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}
}

// TestUnit tells numbers in another unit from numbers that drifted.
func TestUnit(t *testing.T) {
	t.Parallel()
	edges := []float64{500, 1000, 1500, 2000, 2500, 3000}
	times := func(by float64) []float64 {
		var e []float64
		for _, x := range edges {
			e = append(e, x*by)
		}
		return e
	}
	ref := number("area", 0, edges, 0, 100, 100, 100, 100, 100)
	few := number("area", 0, times(0.1), 0, 9, 9, 9, 9, 9)
	for name, c := range map[string]struct {
		is   profile.Column
		want bool
	}{
		"the same":         {number("area", 0, edges, 0, 100, 100, 100, 100, 100), false},
		"square metres":    {number("area", 0, times(1/10.764), 0, 100, 100, 100, 100, 100), true},
		"a tenth more":     {number("area", 0, times(1.1), 0, 100, 100, 100, 100, 100), false},
		"twice":            {number("area", 0, times(2.01), 0, 100, 100, 100, 100, 100), true},
		"cents":            {number("area", 0, times(100), 0, 80, 120, 100, 110, 90), true},
		"another shape":    {number("area", 0, times(3), 0, 400, 60, 20, 10, 10), false},
		"another sign":     {number("area", 0, []float64{-3000, -2500, -2000, -1500, -1000, -500}, 0, 100, 100, 100, 100, 100), false},
		"too few to judge": {few, false},
		"zeros":            {number("area", 0, []float64{0, 1}, 400, 100), false},
	} {
		p := of(c.is)
		got := false
		for _, a := range anomaly.Against(of(ref), &anomaly.Data{Profile: p, Columns: []anomaly.Column{{Name: "area"}}}) {
			got = got || a.Class == anomaly.UnitChange
		}
		if got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
