package feature

import "millrace.dev/record"

// Table is reference data that features look up: the text t in zipcodes[t].income is the key of a row of the table
// called zipcodes.
type Table struct {
	Name   string
	Schema *record.Schema // of its rows
}

// Enrichment is what the features of a plan need beside a batch. The zero value is for plans without tables and windows.
type Enrichment struct {
	// Rows finds rows of tables. Default: no table has a row.
	Rows Lookup
	// Windows has the aggregates of the plan's windows, see [Plan.Windows]: one list for each aggregate, of one number
	// for each row of the batch. Default: they are missing.
	Windows [][]float64
}

// Lookup finds rows of tables. A Lookup is called by one goroutine, for the rows of one batch.
type Lookup interface {
	// Row returns the row of a table that row i of the batch goes with, or nil if there is none. The table is a position
	// in [Plan.Tables]; key is valid during the call, and may be missing.
	Row(table, i int, key record.Text) *record.Row
}

func (m *machine) findRows(dst []*record.Row, keys []text, table int) {
	if m.enrich.Rows == nil {
		clear(dst)
		return
	}
	for i, k := range keys[:len(dst)] {
		dst[i] = m.enrich.Rows.Row(table, m.offset+i, record.Text{S: k.s, OK: k.ok})
	}
}

func cellNumber(dst []float64, rows []*record.Row, slot int) {
	for i, r := range rows[:len(dst)] {
		if dst[i] = nan(); r != nil {
			dst[i] = finite(r.Numbers[slot])
		}
	}
}

func cellTime(dst []int64, rows []*record.Row, slot int) {
	for i, r := range rows[:len(dst)] {
		if dst[i] = missingTime; r != nil {
			dst[i] = r.Times[slot]
		}
	}
}

func cellText(dst []text, rows []*record.Row, slot int) {
	for i, r := range rows[:len(dst)] {
		if dst[i] = (text{}); r != nil {
			dst[i] = text{r.Texts[slot].S, r.Texts[slot].OK}
		}
	}
}

// window fills dst with an aggregate of a window.
func (m *machine) window(dst []float64, column int) {
	if m.enrich.Windows == nil {
		for i := range dst {
			dst[i] = nan()
		}
		return
	}
	for i, v := range m.enrich.Windows[column][m.offset : m.offset+len(dst)] {
		dst[i] = finite(v)
	}
}
