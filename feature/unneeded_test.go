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

// TestFitterLeavesOutRejected holds that a row that is rejected for a look-up has no levels, wherever the input with the
// look-up stands.
func TestFitterLeavesOutRejected(t *testing.T) {
	t.Parallel()
	rows, err := record.NewSchema(record.Field{Name: "income", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	s, err := record.NewSchema(record.Field{Name: "street", Type: record.String}, record.Field{Name: "city", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	for _, inputs := range [][]string{{"town", "income"}, {"income", "town"}} {
		p, err := Compile(Declaration{
			Schema: s, Inputs: inputs, Tables: []Table{{"zips", rows}},
			Features: []Spec{{"town", "upper(street)"}, {"income", "zips[street].income"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b := record.NewBatch(s, nil)
		for _, street := range []string{"a", "b"} {
			i := b.Append(record.Raw{})
			b.Texts(0).Set(i, []byte(street))
		}
		f := p.NewFitter()
		f.Add(b, nil, Enrichment{Rows: rejecting{b}})
		if p, err = f.Plan(); err != nil {
			t.Fatal(err)
		}
		for _, in := range p.Inputs() {
			if in.Type == record.Enum && (len(in.Levels) != 1 || in.Levels[0] != "A") {
				t.Errorf("%v: levels %q, want A alone", inputs, in.Levels)
			}
		}
	}
}

// rejecting rejects the second row of a batch.
type rejecting struct{ b *record.Batch }

func (r rejecting) Row(_, i int, _ record.Text) *record.Row {
	if i == 1 {
		r.b.Reject(i, record.Problem{Stage: record.StageEnrich, Class: "no_row"})
	}
	return nil
}
