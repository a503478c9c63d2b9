package batch

import (
	"testing"

	"millrace.dev/feature"
	"millrace.dev/internal/cdc"
	"millrace.dev/internal/table"
	"millrace.dev/record"
)

// TestTablesOfPasses holds that each pass looks rows up in the tables that its plan names: what a pass has learned can make a
// table one that no later pass needs.
func TestTablesOfPasses(t *testing.T) {
	t.Parallel()
	texts := mustSchema(t, record.Field{Name: "county", Type: record.Enum})
	numbers := mustSchema(t, record.Field{Name: "income", Type: record.Numeric})
	rows := func(s *record.Schema, row *record.Row) table.Rows {
		of, err := table.New(table.Options{Schema: s})
		if err != nil {
			t.Fatal(err)
		}
		of.Apply(&cdc.Change{Op: cdc.Upsert, Key: "k", Row: row})
		return of
	}
	o := flats(t, flatRows(200))
	o.Tables = []feature.Table{{Name: "empty", Schema: texts}, {Name: "incomes", Schema: numbers}}
	o.Rows = map[string]table.Rows{
		"empty":   rows(texts, &record.Row{Texts: []record.Text{{}}}),
		"incomes": rows(numbers, &record.Row{Numbers: []float64{7}}),
	}
	o.Features = append(o.Features,
		feature.Spec{Name: "nothing", Expr: `target_mean(empty["k"].county)`}, // learns that it is always missing
		feature.Spec{Name: "first", Expr: `target_mean(city)`},
		feature.Spec{Name: "second", Expr: `standard(first - first + incomes["k"].income, scale: false)`},
	)
	o.Inputs = append(o.Inputs, "nothing", "second")
	b, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if tables := b.Plan.Tables(); len(tables) != 1 || tables[0].Name != "incomes" {
		t.Errorf("tables: %v", tables)
	}
	for i := range b.Golden {
		if g := &b.Golden[i]; len(g.Rows) > 0 && g.Features[len(g.Features)-1].Float() != 0 { // 7 less the mean of 7s
			t.Errorf("golden row %d: %v", i, g.Features)
		}
	}
}
