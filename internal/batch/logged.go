package batch

import (
	"errors"

	"millrace.dev/feature"
	"millrace.dev/internal/sample"
	"millrace.dev/model"
	"millrace.dev/record"
)

// loggedRows finds the rows that samples hold.
type loggedRows struct {
	tables []feature.Table
	rows   []map[loggedKey]*record.Row // by sample
}

type loggedKey struct {
	table int
	key   string
}

func newLoggedRows(tables []feature.Table, samples []*sample.Sample) (*loggedRows, error) {
	l := &loggedRows{tables: tables}
	for _, s := range samples {
		rows := map[loggedKey]*record.Row{}
		for i := range s.Lookups {
			for t := range tables {
				if tables[t].Name != s.Lookups[i].Table || s.Lookups[i].Row == nil {
					continue
				}
				row, err := loggedRow(tables[t], &s.Lookups[i])
				if err != nil {
					return nil, unfit(s, "the row of "+tables[t].Name, err)
				}
				rows[loggedKey{t, s.Lookups[i].Key}] = row
			}
		}
		l.rows = append(l.rows, rows)
	}
	return l, nil
}

// loggedRow reads a row. What it does not have is missing; the comparison tells.
func loggedRow(t feature.Table, l *sample.LoggedLookup) (*record.Row, error) {
	g := model.GoldenTableRow{Table: t.Name, Key: l.Key}
	for f := range t.Schema.Len() {
		field := t.Schema.Field(f)
		v, err := sample.Value(l.Row[field.Name], field.Type)
		if err != nil {
			return nil, errors.New("column " + field.Name + ": " + err.Error())
		}
		g.Cells = append(g.Cells, v)
	}
	return g.Row(t.Schema), nil
}

// Row finds a row.
func (l *loggedRows) Row(table, i int, key string, _ int64) *record.Row {
	return l.rows[i][loggedKey{table, key}]
}
