package pipeline

import (
	"sync/atomic"

	"millrace.dev/feature"
)

// WindowCounts counts the records that a window has seen.
type WindowCounts struct {
	Added    uint64 `json:"added"`    // the latest of their key, or as late
	Late     uint64 `json:"late"`     // late, within the grace: added
	TooLate  uint64 `json:"too_late"` // later: not added
	Untimed  uint64 `json:"untimed"`  // without an event time: no aggregates
	Keyless  uint64 `json:"keyless"`  // without a key: no aggregates
	Filtered uint64 `json:"filtered"` // not what the window aggregates, by its condition
}

// WindowTotals counts for all [Windows] of a plan that count into it. It is safe for concurrent use.
type WindowTotals struct{ of []windowTotals }

type windowTotals struct{ added, late, tooLate, untimed, keyless, filtered atomic.Uint64 }

// NewWindowTotals returns totals of nothing for the windows of a plan.
func NewWindowTotals(p *feature.Plan) *WindowTotals {
	return &WindowTotals{of: make([]windowTotals, len(p.Windows()))}
}

// Counts returns the counts, by window of the plan.
func (t *WindowTotals) Counts() []WindowCounts {
	out := make([]WindowCounts, len(t.of))
	for i := range t.of {
		n := &t.of[i]
		out[i] = WindowCounts{
			Added: n.added.Load(), Late: n.late.Load(), TooLate: n.tooLate.Load(),
			Untimed: n.untimed.Load(), Keyless: n.keyless.Load(), Filtered: n.filtered.Load(),
		}
	}
	return out
}

// tableTotals are counts of a worker, of which others read.
type tableTotals struct{ found, noRow, missing atomic.Uint64 }

// publish has others see what the worker has counted.
func (w *Worker) publish() {
	for i, c := range w.evaluator.Counts() {
		w.counts[i].missing.Store(c.Missing)
		w.counts[i].unseen.Store(c.Unseen)
	}
	for i, c := range w.evaluator.FittedCounts() {
		w.fitted[i].missing.Store(c.Missing)
		w.fitted[i].unseen.Store(c.Unseen)
	}
	for i, c := range w.finder.counts {
		w.tables[i].found.Store(c.Found)
		w.tables[i].noRow.Store(c.NoRow)
		w.tables[i].missing.Store(c.Missing)
	}
}

func loaded(of []inputCounts) []feature.Counts {
	counts := make([]feature.Counts, len(of))
	for i := range counts {
		counts[i] = feature.Counts{Missing: of[i].missing.Load(), Unseen: of[i].unseen.Load()}
	}
	return counts
}

// Counts returns, for each model input, how many values were missing and how many were levels that training has not
// seen, over all that w has processed; rejected records do not count, those of a transaction that was undone do. It
// is safe for concurrent use.
func (w *Worker) Counts() []feature.Counts { return loaded(w.counts) }

// FittedCounts returns, for each of [feature.Plan.Fits], in how many records a fitted function had no value to work on, and
// in how many it met what the training rows did not have. Otherwise it is as Counts.
func (w *Worker) FittedCounts() []feature.Counts { return loaded(w.fitted) }

// TableCounts returns what was looked up, by table of the plan. Otherwise it is as Counts.
func (w *Worker) TableCounts() []TableCounts {
	counts := make([]TableCounts, len(w.tables))
	for i := range counts {
		t := &w.tables[i]
		counts[i] = TableCounts{Found: t.found.Load(), NoRow: t.noRow.Load(), Missing: t.missing.Load()}
	}
	return counts
}
