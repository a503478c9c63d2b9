package cli

import (
	"maps"
	"slices"
	"strings"

	"millrace.dev/feature"
	"millrace.dev/internal/app"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/watch"
)

// ranStats is what run --json prints.
type ranStats struct {
	Records     uint64                           `json:"records"`
	Predictions uint64                           `json:"predictions"`
	DeadLetters map[string]uint64                `json:"dead_letters"` // by stage and class
	Samples     uint64                           `json:"samples,omitempty"`
	Commits     uint64                           `json:"commits"`
	Aborts      uint64                           `json:"aborts"`
	Rebalances  uint64                           `json:"rebalances"`
	Tables      map[string]ranTable              `json:"tables,omitempty"`
	Windows     map[string]pipeline.WindowCounts `json:"windows,omitempty"`
	Fitted      map[string]feature.Counts        `json:"fitted,omitempty"` // by feature, those that lacked something
	Checks      map[string]batch.CheckCount      `json:"checks,omitempty"` // by rule
	Checked     *ranChecked                      `json:"checked_windows,omitempty"`
}

// ranChecked are the windows that were compared with the training data.
type ranChecked struct {
	Results map[string]uint64 `json:"results"`
	watch.Totals
}

type ranTable struct {
	pipeline.TableCounts

	Rows    *int   `json:"rows,omitempty"` // in the memory of the instance
	Refused uint64 `json:"refused_changes"`
}

// printRan prints what run has done.
func (c *cli) printRan(s *app.Ran) error {
	out := ranStats{
		Records: s.Records, Predictions: s.Predictions, DeadLetters: map[string]uint64{}, Samples: s.Samples, Commits: s.Commits, Aborts: s.Aborts, Rebalances: s.Rebalances,
		Tables: map[string]ranTable{}, Windows: map[string]pipeline.WindowCounts{}, Fitted: map[string]feature.Counts{}, Checks: map[string]batch.CheckCount{},
	}
	by := map[string]int{}
	for k, n := range s.DeadLetters {
		name := k.Stage + "/" + k.Class
		out.DeadLetters[name] = n
		by[name] = int(n)
	}
	letters := count(int(s.TotalDeadLetters()), "dead letter")
	if len(by) > 0 {
		letters += " (" + tally(by) + ")"
	}
	c.note("%s: %s, %s in %s\n", count(int(s.Records), "record"), count(int(s.Predictions), "prediction"), letters, count(int(s.Commits), "commit"))
	if s.SamplesTopic != "" {
		c.note("  samples: %s to %s\n", grouped(int64(s.Samples)), s.SamplesTopic)
	}
	for i := range s.Tables {
		t := &s.Tables[i]
		shown := ranTable{TableCounts: t.TableCounts, Refused: t.Refused}
		if t.Rows >= 0 {
			shown.Rows = &t.Rows
		}
		out.Tables[t.Table] = shown
		c.noteCounts("table "+t.Table, append(tableCounts(&t.TableCounts), named{"changes refused", t.Refused}))
	}
	for i := range s.Windows {
		w := &s.Windows[i]
		out.Windows[w.Window] = w.WindowCounts
		c.noteCounts("window "+w.Window, windowCounts(&w.WindowCounts))
	}
	for _, f := range s.Fitted {
		if f.Counts != (feature.Counts{}) {
			out.Fitted[f.Feature] = f.Counts
			c.noteCounts("feature "+f.Feature, fittedCounts(f.Counts))
		}
	}
	for i := range s.Checks {
		out.Checks[s.Checks[i].Rule] = s.Checks[i].CheckCount
	}
	c.noteChecks(out.Checks)
	if w := s.Checked; w != nil {
		out.Checked = &ranChecked{w.Windows, w.Totals}
		c.noteCounts("checked windows", []named{
			{"ok", w.Windows["ok"]},
			{"warn", w.Windows["warn"]},
			{"fail", w.Windows["fail"]},
			{"too few records", w.Windows["skipped"]},
			{"late records", w.Late},
			{"records without a time", w.Untimed},
		})
	}
	if c.json {
		return c.printJSON(out)
	}
	return nil
}

// named is a count with what it counts.
type named struct {
	name string
	n    uint64
}

func tableCounts(n *pipeline.TableCounts) []named {
	return []named{{"found", n.Found}, {"no row", n.NoRow}, {"no key", n.Missing}}
}

func windowCounts(n *pipeline.WindowCounts) []named {
	return []named{{"added", n.Added}, {"late", n.Late}, {"too late", n.TooLate}, {"without a time", n.Untimed}, {"without a key", n.Keyless}, {"filtered", n.Filtered}}
}

func fittedCounts(n feature.Counts) []named {
	return []named{{"missing", n.Missing}, {"unseen", n.Unseen}}
}

// noteCounts writes a line of the counts that are not 0, or none.
func (c *cli) noteCounts(what string, counts []named) {
	var parts []string
	for _, k := range counts {
		if k.n > 0 {
			parts = append(parts, k.name+" "+grouped(int64(k.n)))
		}
	}
	if len(parts) > 0 {
		c.note("  %s: %s\n", what, strings.Join(parts, ", "))
	}
}

// noteChecks writes how many records break rules, by what becomes of them.
func (c *cli) noteChecks(checks map[string]batch.CheckCount) {
	for _, outcome := range []pipeline.Outcome{pipeline.Warn, pipeline.Reject, pipeline.Fail} {
		var broken []named
		for _, name := range slices.Sorted(maps.Keys(checks)) {
			if n := checks[name]; n.Otherwise == outcome.String() {
				broken = append(broken, named{name, n.Broken})
			}
		}
		c.noteCounts("checks, "+outcome.String(), broken)
	}
}

// notePredicted writes what predict has counted of checks, tables, windows and fitted features.
func (c *cli) notePredicted(p *app.Predicted) {
	c.noteChecks(p.Checks)
	c.noteFound(p.Tables, p.Windows)
	for _, name := range slices.Sorted(maps.Keys(p.Fitted)) {
		c.noteCounts("feature "+name, fittedCounts(p.Fitted[name]))
	}
}

// noteFound writes what records have found in tables and windows.
func (c *cli) noteFound(tables map[string]pipeline.TableCounts, windows map[string]pipeline.WindowCounts) {
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		n := tables[name]
		c.noteCounts("table "+name, tableCounts(&n))
	}
	for _, name := range slices.Sorted(maps.Keys(windows)) {
		n := windows[name]
		c.noteCounts("window "+name, windowCounts(&n))
	}
}
