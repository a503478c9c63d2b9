package profile

import "testing"

// TestStill holds a window like the reference not to alarm where nothing in the reference varies.
func TestStill(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		p := &Profile{Rows: 1000, Columns: []Column{{
			Name: "x", Role: Field, Kind: Number, Rows: 1000, Min: 5, Max: 5, Mean: 5, Edges: []float64{5}, Counts: []uint64{1000, 0}, Distinct: 1,
		}}}
		for _, rare := range []uint64{0, 1, 2} {
			p.Columns[0].Missing = rare
			p.Columns[0].Counts[0] = 1000 - rare
			k := newChecker(t, p, Rules{Known: known})
			w := *p
			w.Columns = []Column{p.Columns[0]}
			w.Columns[0].Missing, w.Columns[0].Counts = 0, []uint64{1000, 0}
			if v := verdict(t, k, &w); v.Severity != OK {
				t.Errorf("known: %t, %d missing: %+v", known, rare, v.Findings)
			}
			w.Columns[0].Counts = []uint64{950, 50}
			if v := verdict(t, k, &w); finding(t, v, "x", CheckDrift).Severity != Fail {
				t.Errorf("known: %t, %d missing, and 50 new values: %+v", known, rare, v.Findings)
			}
			w.Columns[0].Missing, w.Columns[0].Counts = 50, []uint64{950, 0}
			if v := verdict(t, k, &w); finding(t, v, "x", CheckNulls).Severity != Fail {
				t.Errorf("known: %t, %d missing, and 50 in the window: %+v", known, rare, v.Findings)
			}
		}
	}
}

// TestLimit holds the limit to be passed by no larger share of the values than is declared, whatever repeats among them.
func TestLimit(t *testing.T) {
	t.Parallel()
	for name, smallest := range map[string]int{"none twice": 1, "as many as declared": 40, "more": 41, "many": 500, "all": 4000} {
		values := make([]float64, 4000)
		for i := range values {
			values[i] = 0.001 + float64(max(i-smallest+1, 0))/8000
		}
		limit, below := limitOf(values, 0.01, 7), 0
		for _, v := range values {
			if v <= limit {
				below++
			}
		}
		if below > 40 || below == 0 && smallest < 40 || !(limit > 0) {
			t.Errorf("%s: %d values are not above %v", name, below, limit)
		}
	}
}
