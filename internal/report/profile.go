package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"millrace.dev/internal/chart"
	"millrace.dev/profile"
)

// profileView is the body of a page about a profile, or two.
type profileView struct {
	Title, Note string
	Facts       []fact
	Columns     []columnView
}

// Profile writes a page that shows a profile: a row for each column, which unfolds to its distribution. The title says what it is
// of, such as the name of a file. notes has what is to be said of columns, by name, and under "" of all of it; a column with
// notes is marked. Default: none.
func Profile(w io.Writer, p *profile.Profile, title string, notes map[string][]string) error {
	v := profileView{
		Title: "Profile of " + chart.OneLine(title), Facts: facts("rows", grouped(p.Rows), "columns", chart.Grouped(int64(len(p.Columns)))),
		Note: "Unfold a column to see its distribution.",
	}
	for _, n := range notes[""] {
		v.Facts = append(v.Facts, note(n))
	}
	for i := range p.Columns {
		c := viewOf(&p.Columns[i], "", "")
		for _, n := range notes[p.Columns[i].Name] {
			c.Marked = true
			c.Facts = append(c.Facts, note(n))
		}
		v.Columns = append(v.Columns, c)
	}
	return write(w, v.Title, "profile", v)
}

// Side is one of two profiles, with its name.
type Side struct {
	Name    string
	Profile *profile.Profile
}

// pair is a column of one profile, or of two.
type pair struct{ a, b *profile.Column }

func (p *pair) column() *profile.Column { return cmp.Or(p.a, p.b) }

// comparable tells whether both are there, and of one kind.
func (p *pair) comparable() bool { return p.a != nil && p.b != nil && p.a.Kind == p.b.Kind }

// pairs returns the columns of both profiles: those of a in its order, then those that b alone has.
func pairs(a, b *profile.Profile) []pair {
	var out []pair
	for i := range a.Columns {
		p := pair{a: &a.Columns[i]}
		p.b, _ = b.Column(p.a.Name)
		out = append(out, p)
	}
	for i := range b.Columns {
		if _, ok := a.Column(b.Columns[i].Name); !ok {
			out = append(out, pair{b: &b.Columns[i]})
		}
	}
	return out
}

// Diff writes a page that shows two profiles beside each other, column by column. A column is marked if a tenth of its values
// or more are elsewhere, if it is missing more or less often by 5 % of the rows, or if notes has something to say of it: lines by
// name of the column, such as the outcomes of checks; those of "" are of all of it. Default: none. Where moved is not nil, checks
// have judged the columns, and those that both have are marked if it names them, and not else.
func Diff(w io.Writer, a, b Side, notes map[string][]string, moved map[string]bool) error {
	v := profileView{
		Title: chart.OneLine(a.Name) + " and " + chart.OneLine(b.Name),
		Facts: facts(a.Name, grouped(a.Profile.Rows)+" rows", b.Name, grouped(b.Profile.Rows)+" rows"),
		Note: "Each value is first that of " + chart.OneLine(a.Name) + ", then that of " + chart.OneLine(b.Name) +
			". “Elsewhere” is the part of the values that would have to move to another bin, or level, to make the two distributions equal.",
	}
	for _, n := range notes[""] {
		v.Facts = append(v.Facts, note(n))
	}
	marked := 0
	for _, p := range pairs(a.Profile, b.Profile) {
		c := pairView(p, a.Name, b.Name, notes[p.column().Name])
		if moved != nil && p.comparable() {
			c.Marked = moved[p.column().Name]
		}
		if c.Marked {
			marked++
		}
		v.Columns = append(v.Columns, c)
	}
	v.Facts = append(v.Facts, facts("columns that differ (●)", fmt.Sprintf("%d of %d", marked, len(v.Columns)))...)
	return write(w, v.Title, "profile", v)
}

// note is something to be said of a column, or of all of it.
func note(text string) fact { return fact{Name: "of note", Value: chart.OneLine(text), Long: true} }

// both writes two values.
func both(a, b string) string { return a + " → " + b }

// side returns what f says of a column, or that it is not there.
func side(c *profile.Column, f func(*profile.Column) string) string {
	if c == nil {
		return "not there"
	}
	return f(c)
}

// pairView is the view of a column of two profiles.
func pairView(p pair, nameA, nameB string, notes []string) columnView {
	two := func(f func(*profile.Column) string) string { return both(side(p.a, f), side(p.b, f)) }
	c := p.column()
	v := columnView{Name: chart.OneLine(c.Name), Marked: len(notes) > 0 || differs(p)}
	missing := func(c *profile.Column) string { return chart.Percent(c.MissingShare()) }
	kind := string(c.Kind)
	if !p.comparable() {
		kind = two(func(c *profile.Column) string { return string(c.Kind) })
	}
	v.Cells = []fact{
		{Name: "kind", Value: kind},
		{Name: "missing", Value: two(missing)},
		{Name: "distinct", Value: two(distinct)},
		{Name: "range", Value: two(interval)},
		{Name: "mean", Value: two(mean)},
		{Name: "elsewhere", Value: chart.Percent(elsewhere(p))},
	}
	for _, n := range notes {
		v.Facts = append(v.Facts, note(n))
	}
	v.Facts = append(v.Facts, facts("rows", two(func(c *profile.Column) string { return grouped(c.Rows) }), "missing", two(func(c *profile.Column) string { return grouped(c.Missing) }))...)
	if numeric(c) {
		middle := func(c *profile.Column) string { return value(c, quantile(segments(c, c), 0.5)) }
		v.Facts = append(v.Facts, facts(
			"smallest", two(func(c *profile.Column) string { return value(c, c.Min) }), "largest", two(func(c *profile.Column) string { return value(c, c.Max) }),
			"mean", two(func(c *profile.Column) string { return value(c, c.Mean) }), "half are up to, about", two(middle),
		)...)
	}
	if !p.comparable() {
		v.Spark = chart.Spark(spark(c))
		v.Figure = distribution(c, "")
		return v
	}
	var shares [2][]float64
	v.Figure, shares = comparison(p, nameA, nameB)
	v.Spark = chart.Spark(shares[0], shares[1])
	return v
}

// differs tells whether two columns differ so much that a person should look.
func differs(p pair) bool {
	return !p.comparable() || elsewhere(p) >= 0.1 || math.Abs(p.a.MissingShare()-p.b.MissingShare()) >= 0.05
}

// comparison draws two columns of one kind over each other, and returns the shares that it draws.
func comparison(p pair, nameA, nameB string) (*figure, [2][]float64) {
	names := []string{nameA, nameB}
	if !numeric(p.a) {
		bars := &chart.Bars{Title: "Shares of the levels of " + p.a.Name, Axis: chart.Axis{Percent: true}, Names: names}
		var shares [2][]float64
		for i, l := range levelShares(p) {
			if i < drawnLevels {
				bars.Rows = append(bars.Rows, chart.Bar{Name: named(l.name), Values: l.shares[:]})
			}
			if i < drawnBins {
				shares[0], shares[1] = append(shares[0], l.shares[0]), append(shares[1], l.shares[1])
			}
		}
		if len(bars.Rows) == 0 {
			return nil, shares
		}
		return &figure{Title: "Share of the values by level", Chart: bars.SVG()}, shares
	}
	s := newSpread(p.a, p.b)
	shares := [2][]float64{share(s.counts(p.a), p.a.Present()), share(s.counts(p.b), p.b.Present())}
	if len(s.bins) == 0 {
		return nil, shares
	}
	h := &chart.Histogram{Title: "Distributions of " + p.a.Name, X: axisOf(p.a), Y: chart.Axis{Title: "share of the values", Percent: true}, Names: names, Bins: s.bins}
	for i := range h.Bins {
		h.Bins[i].N = []float64{shares[0][i], shares[1][i]}
	}
	whole := *p.a
	whole.Min, whole.Max = min(p.a.Min, p.b.Min), max(p.a.Max, p.b.Max)
	return &figure{Title: "Share of the values by value", Chart: h.SVG(), Note: s.note(&whole)}, shares
}

// levelShare has the shares of a level in two profiles.
type levelShare struct {
	name   string
	shares [2]float64
}

// levelShares returns the shares of all levels, the largest first.
func levelShares(p pair) []levelShare {
	var out []levelShare
	at := map[string]int{}
	for i, c := range []*profile.Column{p.a, p.b} {
		list := levels(c)
		if n := unknown(c); n > 0 {
			list = append(list, frequent{"no known level", n})
		}
		for _, l := range list {
			k, ok := at[l.name]
			if !ok {
				k = len(out)
				at[l.name] = k
				out = append(out, levelShare{name: l.name})
			}
			if c.Present() > 0 {
				out[k].shares[i] = float64(l.n) / float64(c.Present())
			}
		}
	}
	slices.SortStableFunc(out, func(a, b levelShare) int {
		return cmp.Compare(max(b.shares[0], b.shares[1]), max(a.shares[0], a.shares[1]))
	})
	return out
}

// elsewhere returns the total variation distance of two columns over the bins that are drawn, or over all levels: half the sum
// of the differences of the shares. NaN where it is not defined.
func elsewhere(p pair) float64 {
	if !p.comparable() || p.a.Present() == 0 || p.b.Present() == 0 || p.a.Kind == profile.Text {
		return math.NaN()
	}
	sum := 0.0
	if !numeric(p.a) {
		for _, l := range levelShares(p) {
			sum += math.Abs(l.shares[0] - l.shares[1])
		}
		return min(sum/2, 1)
	}
	s := newSpread(p.a, p.b)
	a, b := share(s.counts(p.a), p.a.Present()), share(s.counts(p.b), p.b.Present())
	restA, restB := 1.0, 1.0
	for i := range a {
		sum += math.Abs(a[i] - b[i])
		restA -= a[i]
		restB -= b[i]
	}
	return min((sum+math.Abs(restA-restB))/2, 1)
}

// trimmed returns s without the lines and spaces at its end.
func trimmed(s string) string { return strings.TrimRight(s, " \n") }
