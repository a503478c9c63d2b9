package demo

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/internal/app"
	"millrace.dev/profile"
)

// reason says what is the matter with a column of a window.
type reason struct {
	column, words string
	rank          float64 // what has more is said first
}

// reasons returns what is the matter with the columns that checks found to differ from the training data: first the
// prediction, then the columns with values that training has never seen, and of these and of the others that first
// whose distribution is furthest off.
func reasons(reference *profile.Profile, r *app.WindowResult) []reason {
	found := map[string][]profile.Finding{}
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Severity != profile.OK {
			found[f.Column] = append(found[f.Column], *f)
		}
	}
	var list []reason
	for i := range r.Columns {
		w := &r.Columns[i]
		ref, ok := reference.Column(w.Name)
		if !ok || len(found[w.Name]) == 0 {
			continue
		}
		list = append(list, reason{w.Name, why(ref, w, found[w.Name]), rank(ref, w)})
	}
	slices.SortStableFunc(list, func(a, b reason) int { return cmp.Compare(b.rank, a.rank) })
	return list
}

func rank(ref, w *profile.Column) float64 {
	rank := 0.0
	if m, err := profile.MetricNamed("js"); err == nil {
		if d, err := m.Between(ref, w); err == nil { // else there are no values: nothing to rank by
			rank = d
		}
	}
	switch {
	case w.Role == profile.Prediction:
		return rank + 2
	case unseen(ref, w) > 0 || w.Min < ref.Min:
		return rank + 1
	}
	return rank
}

// unseen returns the share of values that are no level of the reference, if that has none such; else 0.
func unseen(ref, w *profile.Column) float64 {
	if other := len(ref.Counts) - 1; ref.Kind == profile.Level && other > 0 && ref.Counts[other] == 0 {
		return share(w, other)
	}
	return 0
}

const (
	muchUnseen = 0.05 // a share of values that is worth a word, whatever others do
	muchMore   = 0.2  // a change of a share that says more than the median,
	more       = 0.05 // and of the share of a single value
)

// why says what is the matter with a column. That the median or the number of missing values is beyond its bound says
// enough; else it is told which value has become more frequent, or for numbers with many values how their median differs.
func why(ref, w *profile.Column, findings []profile.Finding) string {
	for i := range findings {
		if f := &findings[i]; f.Check == profile.CheckMedian || f.Check == profile.CheckNulls {
			return strings.TrimPrefix(f.Words, f.Column+": ")
		}
	}
	if w.Present() == 0 || ref.Present() == 0 || len(w.Counts) != len(ref.Counts) {
		return strings.TrimPrefix(findings[0].Words, findings[0].Column+": ")
	}
	if s := unseen(ref, w); s > muchUnseen {
		return percent(s) + " have a value that training has never seen"
	}
	most, change := 0, math.Inf(-1)
	for bin := range w.Counts {
		if c := share(w, bin) - share(ref, bin); c > change {
			most, change = bin, c
		}
	}
	below := ""
	if w.Min < ref.Min {
		below = ", where none is below " + plain(ref.Min)
	}
	name, single := named(ref, w, most)
	if change < muchMore && !(single && change >= more) {
		return "the median is " + plain(w.Median()) + ", " + plain(ref.Median()) + " in training" + below
	}
	return percent(share(w, most)) + " are " + name + ", " + percent(share(ref, most)) + " in training" + below
}

// named says what a bin holds, and whether that is a single value or all up to the least of training.
func named(ref, w *profile.Column, bin int) (name string, single bool) {
	last := len(ref.Counts) - 1
	switch {
	case ref.Kind == profile.Level && bin == last:
		return "other values", true
	case ref.Kind == profile.Level:
		return ref.Levels[bin], true
	case bin == last:
		return "above " + plain(ref.Edges[last-1]), true
	case bin == 0 && w.Min < ref.Edges[0]:
		return plain(w.Min) + " to " + plain(ref.Edges[0]), true
	case bin == 0 || ref.Distinct > 0 && ref.Distinct <= uint64(last):
		return plain(ref.Edges[bin]), true
	}
	return "above " + plain(ref.Edges[bin-1]) + " up to " + plain(ref.Edges[bin]), false
}

func share(c *profile.Column, bin int) float64 { return float64(c.Counts[bin]) / float64(c.Present()) }

// plain writes a number with three digits after the point at most, and none from 1000 on.
func plain(x float64) string {
	unit := 1000.0
	if math.Abs(x) >= 1000 {
		unit = 1
	}
	return strconv.FormatFloat(math.Round(x*unit)/unit, 'f', -1, 64)
}

// percent writes a share with two digits, and with all of the whole part.
func percent(x float64) string {
	if x < 0.1 {
		return strconv.FormatFloat(100*x, 'g', 2, 64) + " %"
	}
	return strconv.FormatFloat(100*x, 'f', 0, 64) + " %"
}
