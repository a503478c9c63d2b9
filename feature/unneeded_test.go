package feature

import (
	"testing"

	"millrace.dev/record"
)

// TestFitterLeavesOutUnneeded holds that a fitted function of a feature that no input needs learns nothing: the tables that
// it looks up are not among those of the plan.
func TestFitterLeavesOutUnneeded(t *testing.T) {
	t.Parallel()
	rows, err := record.NewSchema(record.Field{Name: "income", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	s, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "city", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	for _, unneeded := range []string{"standard(zips[city].income)", "standard(sales.n)"} {
		p, err := Compile(Declaration{
			Schema: s, Inputs: []string{"needed"},
			Features: []Spec{{"unneeded", unneeded}, {"needed", "standard(x)"}},
			Tables:   []Table{{"zips", rows}},
			Windows:  []Window{{Name: "sales", Key: "city", Size: 1e9, Aggregates: []Spec{{"n", "count()"}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		f := p.NewFitter()
		b := record.NewBatch(s, nil)
		b.Append(record.Raw{})
		b.Numbers(0)[0] = 3
		f.Add(b, nil, Enrichment{Rows: noRows{t, len(p.Tables())}, Windows: [][]float64{}})
		if p, err = f.Plan(); err != nil {
			t.Fatal(err)
		}
		if !p.Fitted() || len(p.Tables())+len(p.Windows()) > 0 {
			t.Errorf("%s: the plan is not fitted, or needs tables %v or windows %v", unneeded, p.Tables(), p.Windows())
		}
	}
}

// noRows has no rows of as many tables.
type noRows struct {
	t      *testing.T
	tables int
}

func (n noRows) Row(table, _ int, _ record.Text) *record.Row {
	if table >= n.tables {
		n.t.Errorf("a look-up in table %d of %d", table, n.tables)
	}
	return nil
}
