package app

import (
	"sync"

	"millrace.dev/feature"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
)

// Ran is what a pipeline has done. What is counted in the data path (inputs, tables, windows, fitted features) includes the
// records of transactions that were undone, and that are counted again then.
type Ran struct {
	engine.Stats // but for Records, which are those of the source topic

	Predictions  uint64 // committed
	Samples      uint64 // committed
	SamplesTopic string // "" where none are taken
	Inputs       []InputRan
	Tables       []TableRan
	Windows      []WindowRan
	Fitted       []FittedRan
	Checks       []CheckRan
	Checked      *CheckedWindows // nil where windows are not checked
}

// InputRan is what an input of the model lacked.
type InputRan struct {
	Input string
	feature.Counts
}

// TableRan is what was looked up in a table.
type TableRan struct {
	Table string
	pipeline.TableCounts

	// Rows is how many rows this instance holds in memory now; -1 where they are on disk, or are ranges.
	Rows int
	// Refused counts the changes of the table's topic that could not be taken, since this instance began.
	Refused uint64
}

// WindowRan is what a window has seen.
type WindowRan struct {
	Window string
	pipeline.WindowCounts
}

// FittedRan is what the fitted functions of a feature met.
type FittedRan struct {
	Feature string
	feature.Counts
}

// CheckRan is how many records break a rule.
type CheckRan struct {
	Rule string
	batch.CheckCount
}

// stats adds to what an engine has done what the data path has counted.
func (r *Running) stats(s engine.Stats) *Ran {
	out := &Ran{Stats: s, Predictions: s.WrittenTo[r.sink], SamplesTopic: r.samples}
	out.Records = r.records(&s)
	if r.samples != "" {
		out.Samples = s.WrittenTo[r.samples]
	}
	out.Checked = r.scoring.Checked()
	b := r.scoring.Bundle
	for i := range b.Inputs {
		out.Inputs = append(out.Inputs, InputRan{Input: b.Inputs[i].Name})
	}
	for _, t := range b.Plan.Tables() {
		out.Tables = append(out.Tables, TableRan{Table: t.Name, Rows: r.scoring.tables.rows(t.Name), Refused: refused(&s, t.Name)})
	}
	for i, n := range r.scoring.totals.Counts() {
		out.Windows = append(out.Windows, WindowRan{b.Plan.Windows()[i].Name, n})
	}
	for _, f := range b.Plan.Fits() {
		out.Fitted = append(out.Fitted, FittedRan{Feature: f})
	}
	for _, c := range r.scoring.Options.Checks {
		out.Checks = append(out.Checks, CheckRan{Rule: c.Name, CheckCount: batch.CheckCount{Otherwise: c.Otherwise.String()}})
	}
	c := r.scoring.scorers.models.counts()
	for i, n := range c.checks {
		out.Checks[i].Broken = n
	}
	for i, n := range c.inputs {
		out.Inputs[i].Counts = n
	}
	for i, n := range c.tables {
		out.Tables[i].TableCounts = n
	}
	for i, n := range c.fitted {
		out.Fitted[i].Counts = n
	}
	return out
}

// records counts the records of the source topic that are committed. The engine's own count has all that tasks have read, also changes of
// tables, and what the application has sent to itself.
func (r *Running) records(s *engine.Stats) uint64 {
	for _, sub := range r.program.Subs {
		for _, source := range sub.Sources {
			if source.Topic == r.source {
				return s.Nodes[source.Node].Records
			}
		}
	}
	return s.Records
}

// changesOf is the name of the operator that reads the changes of a partitioned table.
func changesOf(table string) string { return table + "-changes" }

// refused counts the changes of a table that were dropped.
func refused(s *engine.Stats, table string) uint64 {
	var n uint64
	for d, k := range s.Dropped {
		if d.Node == table || d.Node == changesOf(table) {
			n += k
		}
	}
	return n
}

// watchedTables knows the tables in memory of an instance. It is safe for concurrent use.
type watchedTables struct {
	mu   sync.Mutex
	held map[string]interface{ Len() int }
}

func newWatchedTables(static map[string]table.Rows) *watchedTables {
	w := &watchedTables{held: map[string]interface{ Len() int }{}}
	for name, rows := range static {
		if t, ok := rows.(interface{ Len() int }); ok {
			w.held[name] = t
		}
	}
	return w
}

// watch notes the table that is in use now.
func (w *watchedTables) watch(name string, t interface{ Len() int }) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[name] = t
}

// rows returns the number of rows of a table, or -1.
func (w *watchedTables) rows(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.held[name]; t != nil {
		return t.Len()
	}
	return -1
}
