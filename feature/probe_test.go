package feature_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/feature"
	"millrace.dev/record"
)

func probeDeclaration(t *testing.T) feature.Declaration {
	t.Helper()
	schema, err := record.NewSchema(
		record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "city", Type: record.Enum},
		record.Field{Name: "at", Type: record.Time}, record.Field{Name: "zip", Type: record.String},
	)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := record.NewSchema(record.Field{Name: "income", Type: record.Numeric}, record.Field{Name: "county", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	return feature.Declaration{
		Schema: schema,
		Features: []feature.Spec{
			{Name: "twice", Expr: "2 * x"},
			{Name: "large", Expr: "x > 10"},
			{Name: "town", Expr: "lower(city)"},
			{Name: "seen", Expr: "at"},
			{Name: "parts", Expr: "vector(x, twice)"},
			{Name: "income", Expr: "zips[zip].income"},
			{Name: "other", Expr: "more[zip].income"},
			{Name: "scaled", Expr: "standard(x)"},
			{Name: "hot", Expr: "one_hot(zips[zip].county)"},
			{Name: "pair", Expr: "vector(x, scaled)"},
		},
		Inputs: []string{"x", "large", "hot"},
		Tables: []feature.Table{{Name: "zips", Schema: rows}, {Name: "more", Schema: rows}, {Name: "unused", Schema: rows}},
	}
}

// keys finds one row for every key, and notes the tables that were asked.
type keys struct {
	plan  *feature.Plan
	asked map[string]int
}

func (k *keys) Row(table, _ int, key record.Text) *record.Row {
	k.asked[k.plan.Tables()[table].Name]++
	if !key.OK {
		return nil
	}
	return &record.Row{Numbers: []float64{7}, Texts: []record.Text{{S: "King", OK: true}}}
}

// TestProbe holds that a probe has every feature that needs no fitting, whether it is an input or not.
func TestProbe(t *testing.T) {
	t.Parallel()
	d := probeDeclaration(t)
	p, err := feature.NewProbe(d)
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBatch(d.Schema, nil)
	b.Append(record.Raw{})
	b.Numbers(0)[0], b.Codes(1)[0], b.Times(2)[0] = 8, b.Dict(1).Code([]byte("Kent")), 5
	found := &keys{p.Plan(), map[string]int{}}
	got := map[string]feature.Value{}
	waits := map[string]bool{}
	eval := func() {
		p.Eval(b, feature.Enrichment{Rows: found})
		clear(got)
		for i, f := range p.Features() {
			for k, e := range f.Elements {
				if !e.Waits {
					got[e.Name] = p.Value(i, k)
				}
			}
			if f.Waits {
				waits[f.Name] = true
			}
		}
	}
	eval()
	number := func(x float64) feature.Value { return feature.Value{Kind: feature.KindNumber, Number: x} }
	missing := feature.Value{Kind: feature.KindNumber, Number: math.NaN(), Missing: true}
	want := map[string]feature.Value{
		"twice": number(16), "large": {Kind: feature.KindBool}, "town": {Kind: feature.KindText, Text: "kent"}, "seen": {Kind: feature.KindTime, Time: 5},
		"parts_0": number(8), "parts_1": number(16), "income": missing, "other": missing, "pair_0": number(8),
	}
	nan := cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) })
	if diff := cmp.Diff(want, got, nan); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"scaled": true, "hot": true, "pair": true}, waits); diff != "" {
		t.Errorf("what waits (-want +got):\n%s", diff)
	}

	// A later record leaves nothing of an earlier one.
	b.Reset()
	b.Append(record.Raw{})
	eval()
	for name, v := range got {
		if !v.Missing {
			t.Errorf("%s of a record without fields: %+v", name, v)
		}
	}
}

// TestProbeFind holds that the look-ups of the inputs, and these alone, can be made before anything is fitted.
func TestProbeFind(t *testing.T) {
	t.Parallel()
	d := probeDeclaration(t)
	p, err := feature.NewProbe(d)
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBatch(d.Schema, nil)
	b.Append(record.Raw{})
	found := &keys{p.Plan(), map[string]int{}}
	p.Find(b, feature.Enrichment{Rows: found})
	if diff := cmp.Diff(map[string]int{"zips": 1}, found.asked); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	d.Features[0].Expr = "2 * y"
	if _, err := feature.NewProbe(d); err == nil {
		t.Error("a probe of a feature that is wrong")
	}
}
