package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"millrace.dev/internal/chart"
	"millrace.dev/profile"
)

// columnView is what a page shows of a column.
type columnView struct {
	Name   string
	Marked bool // something is of note
	Spark  template.HTML
	Cells  []fact // unfolded or not
	Figure *figure
	Facts  []fact
}

// axisOf returns the axis of the values of a column.
func axisOf(c *profile.Column) chart.Axis {
	a := chart.Axis{Title: c.Name, Time: c.Kind == profile.Time}
	if a.Time {
		a.Title += " (UTC)"
	}
	return a
}

// value writes a value of a column.
func value(c *profile.Column, x float64) string {
	if c.Kind == profile.Time {
		return axisOf(c).Text(x)
	}
	return chart.Number(x)
}

// interval writes the range of a column: "-" if it has none.
func interval(c *profile.Column) string {
	if !numeric(c) || math.IsNaN(c.Min) || math.IsNaN(c.Max) {
		return "-"
	}
	a := axisOf(c)
	return a.Text(c.Min) + " to " + a.Text(c.Max)
}

// mean writes the mean of a column, or the level that comes most often.
func mean(c *profile.Column) string {
	if numeric(c) {
		return axisOf(c).Text(c.Mean)
	}
	return "-"
}

func distinct(c *profile.Column) string {
	if c.Distinct == 0 {
		return "-"
	}
	return chart.Grouped(int64(min(c.Distinct, math.MaxInt64)))
}

func grouped(n uint64) string { return chart.Grouped(int64(min(n, math.MaxInt64))) }

// viewOf returns the view of a column; importance is its part in the model, or "", and unit that of its values, or "".
func viewOf(c *profile.Column, importance, unit string) columnView {
	v := columnView{
		Name: chart.OneLine(c.Name), Spark: chart.Spark(spark(c)),
		Cells: []fact{
			{Name: "role", Value: string(c.Role)},
			{Name: "kind", Value: string(c.Kind)},
			{Name: "missing", Value: chart.Percent(c.MissingShare())},
			{Name: "distinct", Value: distinct(c)},
		},
	}
	if numeric(c) {
		v.Cells = append(v.Cells, fact{Name: "range", Value: interval(c)}, fact{Name: "mean", Value: mean(c)})
	} else {
		top := "-"
		if l := levels(c); len(l) > 0 {
			top = chart.OneLine(chart.Shorten(l[0].name, 40))
		}
		v.Cells = append(v.Cells, fact{Name: "most frequent", Value: top}, fact{Name: "its share", Value: topShare(c)})
	}
	v.Facts = columnFacts(c, importance)
	v.Figure = distribution(c, unit)
	return v
}

func topShare(c *profile.Column) string {
	l := levels(c)
	if len(l) == 0 || c.Present() == 0 {
		return "-"
	}
	return chart.Percent(float64(l[0].n) / float64(c.Present()))
}

// columnFacts returns what is known of a column, unfolded.
func columnFacts(c *profile.Column, importance string) []fact {
	list := facts(
		"rows", grouped(c.Rows), "missing", grouped(c.Missing)+" ("+chart.Percent(c.MissingShare())+")", "different values, about", distinct(c),
		"importance for the model", importance,
	)
	if numeric(c) {
		segs := segments(c, c)
		q := func(p float64) string { return value(c, quantile(segs, p)) }
		list = append(list, facts("smallest", value(c, c.Min), "largest", value(c, c.Max), "mean", value(c, c.Mean))...)
		if c.Kind == profile.Number {
			list = append(list, facts("standard deviation", chart.Number(c.Deviation))...)
		}
		if len(segs) > 0 {
			list = append(list, facts("1% are up to, about", q(0.01), "25% are up to, about", q(0.25), "half are up to, about", q(0.5),
				"75% are up to, about", q(0.75), "99% are up to, about", q(0.99))...)
		}
		return list
	}
	if c.Kind == profile.Level {
		list = append(list, facts("levels", strconv.Itoa(len(c.Levels)))...)
		if n := unknown(c); n > 0 {
			list = append(list, facts("of no known level", grouped(n))...)
		}
	}
	return list
}

// distribution draws a column, whose values have a unit, or "".
func distribution(c *profile.Column, unit string) *figure {
	if numeric(c) {
		return histogram(c, unit)
	}
	list := levels(c)
	if len(list) == 0 {
		return nil
	}
	f := &figure{Title: "Share of the values by level"}
	if c.Kind == profile.Text {
		f.Title = "Share of the values, the most frequent texts"
	}
	bars := &chart.Bars{Title: f.Title + ", of " + c.Name, Axis: chart.Axis{Percent: true}}
	rest, shown := uint64(0), 0
	for i, l := range list {
		if i >= drawnLevels {
			rest += l.n
			continue
		}
		shown++
		bars.Rows = append(bars.Rows, chart.Bar{Name: named(l.name), Values: share([]float64{float64(l.n)}, c.Present())})
	}
	if n := len(list) - shown; n > 0 {
		bars.Rows = append(bars.Rows, chart.Bar{Name: fmt.Sprintf("%d other levels", n), Values: share([]float64{float64(rest)}, c.Present())})
	}
	if n := unknown(c); n > 0 {
		bars.Rows = append(bars.Rows, chart.Bar{Name: "no known level", Values: share([]float64{float64(n)}, c.Present())})
	}
	f.Chart = bars.SVG()
	return f
}

// named shows an empty text as one.
func named(level string) string {
	if strings.TrimSpace(level) == "" {
		return strconv.Quote(level)
	}
	return level
}

func histogram(c *profile.Column, unit string) *figure {
	s := newSpread(c)
	if len(s.bins) == 0 {
		return nil
	}
	counts := s.counts(c)
	h := &chart.Histogram{
		Title: "Distribution of " + c.Name, Desc: "Rows by value, " + interval(c) + ", mean " + mean(c), X: axisOf(c), Y: chart.Axis{Title: "rows", Whole: true}, Bins: s.bins,
	}
	if unit != "" {
		h.X.Title += " (" + unit + ")"
	}
	for i := range h.Bins {
		h.Bins[i].N = []float64{counts[i]}
	}
	return &figure{Title: "Rows by value", Chart: h.SVG(), Note: s.note(c)}
}

// note says what lies outside of what is drawn.
func (s *spread) note(c *profile.Column) string {
	a := axisOf(c)
	var parts []string
	if s.below > 0 {
		parts = append(parts, chart.Percent(s.below)+" lie below, from "+a.Text(c.Min)+" on")
	}
	if s.above > 0 {
		parts = append(parts, chart.Percent(s.above)+" lie above, up to "+a.Text(c.Max))
	}
	if len(parts) == 0 {
		return ""
	}
	return "Not drawn: about " + strings.Join(parts, "; ") + "."
}
