package batch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"millrace.dev/model"
)

// exclusions counts the rows that were left out, by reason.
type exclusions struct {
	reasons  []string // in the order in which they were met
	rows     map[string]int
	rejected int // of the rows: how many could not be decoded
}

func (e *exclusions) add(reason string) {
	if e.rows == nil {
		e.rows = map[string]int{}
	}
	if e.rows[reason] == 0 {
		e.reasons = append(e.reasons, reason)
	}
	e.rows[reason]++
}

// list returns the counts, most rows first.
func (e *exclusions) list() (total int, list []model.Exclusion) {
	for _, r := range e.reasons {
		total += e.rows[r]
		list = append(list, model.Exclusion{Reason: r, Rows: e.rows[r]})
	}
	slices.SortStableFunc(list, func(a, b model.Exclusion) int { return cmp.Compare(b.Rows, a.Rows) })
	return total, list
}

// summary returns the counts in one line, or "" where nothing was left out.
func (e *exclusions) summary() string {
	_, list := e.list()
	var parts []string
	for _, x := range list[:min(len(list), 5)] {
		parts = append(parts, fmt.Sprintf("%d: %s", x.Rows, x.Reason))
	}
	if len(list) > 5 {
		parts = append(parts, fmt.Sprintf("and %d more reasons", len(list)-5))
	}
	return strings.Join(parts, "; ")
}
