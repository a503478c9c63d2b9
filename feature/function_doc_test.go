package feature

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/record"
)

var update = flag.Bool("update", false, "write the reference of functions") //nolint:gochecknoglobals // a flag of the test binary

// exampleSchema has the columns of the reference's examples.
func exampleSchema(t testing.TB) *record.Schema {
	t.Helper()
	var fields []record.Field
	for typ, names := range map[record.Type][]string{
		record.Numeric: {"price", "sqft_living", "bedrooms", "yr_built", "yr_renovated", "lat", "lon", "lot size"},
		record.Enum:    {"city", "statezip"}, record.String: {"street", "tags"}, record.Time: {"date", "listed"},
	} {
		for _, n := range names {
			fields = append(fields, record.Field{Name: n, Type: typ})
		}
	}
	return mustSchema(t, fields...)
}

// TestReference holds that every function is described, that its example compiles, calls it and can be fitted, and that
// the file of the reference is up to date.
func TestReference(t *testing.T) {
	t.Parallel()
	s := exampleSchema(t)
	for _, f := range Reference() {
		if f.Doc == "" || f.Usage == "" || !slices.Contains(Groups(), f.Group) || strings.HasSuffix(f.Doc, ".") || !strings.Contains(f.Example, f.Name+"(") {
			t.Errorf("%s: group %q, doc %q, example %q", f.Name, f.Group, f.Doc, f.Example)
		}
		for _, o := range f.Options {
			if o.Doc == "" || o.Range == "" || strings.HasSuffix(o.Doc, ".") {
				t.Errorf("%s: %+v", f.Name, o)
			}
		}
		d := Declaration{Schema: s, Features: []Spec{{"f", f.Example}}, Inputs: []string{"f"}, Label: "price"}
		if f.Group == groupAggregates {
			d.Windows = []Window{{Name: "w", Key: "city", Size: time.Hour, Aggregates: []Spec{{"a", f.Example}}}}
			d.Features[0].Expr = "w.a"
		}
		p, err := Compile(d)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		fitter := p.NewFitter()
		fitter.Add(anyBatch(s, nil), nil, Enrichment{})
		if p, err = fitter.Plan(); err != nil || !p.Fitted() {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	for name := range functionDocs() {
		if _, ok := newFunctions()[name]; !ok {
			t.Errorf("there is no function %q", name)
		}
	}
	if got, want := slices.Sorted(maps.Keys(aggregateDocs())), slices.Sorted(maps.Keys(aggregateFuncs())); !slices.Equal(got, want) {
		t.Errorf("aggregates %q, want %q", got, want)
	}
	path := filepath.Join("..", "docs", "reference", "functions.md")
	if *update {
		if err := os.WriteFile(path, []byte(ReferenceText()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != ReferenceText() {
		t.Errorf("%s is not up to date (%v): run the test with -update", path, err)
	}
}
