package anomaly

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"millrace.dev/profile"
)

// The limits of what is odd without a reference.
const (
	mostNumbers  = 0.5  // the share of texts that are numbers, from which on their column is one of numbers that was spoilt
	heavyTail    = 10   // the deviation, in deviations of a normal distribution with the same middle half
	fewValues    = 20   // fewer values say nothing about a column
	keyError     = 3    // standard errors of an estimate that are no sign of duplicates
	mostExamples = 3    // that are named
	fewMixed     = 0.05 // the share of values of another kind, up to which a column is still one of numbers
)

// Alone returns what is odd about data without a look at other data, in the order of its columns.
func Alone(d *Data) []Anomaly {
	var l list
	l.whole(d)
	for _, c := range d.Columns {
		l.looked(d, &c)
	}
	for i := range d.Profile.Columns {
		l.column(&d.Profile.Columns[i])
	}
	for _, o := range d.Outside {
		c, ok := d.Profile.Column(o.Column)
		if !ok || !o.Plausible || o.Below+o.Above == 0 {
			continue
		}
		s := share(o.Below+o.Above, c.Present())
		l.add(o.Column, ImplausibleTimes, s, 0, fmt.Sprintf("%s of the times are before 1900 or after 2099 (%s)", percent(s), span(c)))
	}
	return l.sorted(d)
}

// whole judges the data as a whole, and the columns that it should have.
func (l *list) whole(d *Data) {
	if d.Bad > 0 {
		s := share(d.Bad, d.Read)
		l.add("", Rejected, s, 0, fmt.Sprintf("%s of the %s cannot be decoded (%s): %s", number(d.Bad), records(d.Read), percent(s), d.Reasons))
	}
	for _, r := range d.Renamed {
		words := fmt.Sprintf("the name comes twice in the header: this one is called %s here", text(r.Name))
		if r.Given == "" {
			words = fmt.Sprintf("a column without a name: it is called %s here", text(r.Name))
		}
		l.add(r.Name, DuplicateColumns, math.NaN(), math.NaN(), words)
	}
	for _, c := range d.Changed {
		if !c.Reference {
			l.add(c.Column, TypeChange, math.NaN(), math.NaN(), fmt.Sprintf("declared as %s, and its values are %s", plural(c.Was), plural(c.Is)))
		}
	}
	if d.Schema != nil && d.Columns != nil {
		for _, name := range d.Schema {
			if !slices.ContainsFunc(d.Columns, func(c Column) bool { return c.Name == name }) {
				l.add(name, MissingColumn, 1, 0, "declared, and the data does not have it")
			}
		}
		for _, c := range d.Columns {
			if !slices.Contains(d.Schema, c.Name) {
				l.add(c.Name, Undeclared, math.NaN(), math.NaN(), "the data has it, and nothing declares it")
			}
		}
	}
	if k := d.Keys; k != nil && k.Rows > 0 && k.Repeated > 0 && (k.Exact || float64(k.Repeated) > keyError*k.Error) {
		s := share(k.Repeated, k.Rows)
		words := percent(s) + " of the rows have a key that came before"
		limit := 0.0
		if !k.Exact {
			limit = keyError * k.Error / float64(k.Rows)
			words = fmt.Sprintf("about %s of the rows have a key that came before: an estimate, plus or minus %s", percent(s), percent(k.Error/float64(k.Rows)))
		}
		l.add(k.Field, DuplicateKeys, s, limit, words)
	}
}

// looked judges the values that were looked at one by one.
func (l *list) looked(d *Data, c *Column) {
	p, ok := d.Profile.Column(c.Name)
	if !ok || c.Looked < fewValues {
		return
	}
	s := func(n int) float64 { return float64(n) / float64(c.Looked) }
	other := s(c.Looked - c.Numbers - c.Quoted)
	switch {
	case c.Kinds != "":
		l.add(c.Name, MixedTypes, math.NaN(), math.NaN(), "JSON values of several kinds: "+c.Kinds)
	case c.Quoted > 0 && c.Quoted == c.Looked && p.Kind == profile.Number:
		l.add(c.Name, NumbersAsText, 1, 0, "numbers in quotes: they are read as numbers")
	case p.Kind != profile.Level && p.Kind != profile.Text:
	case s(c.Quoted) > 1-fewMixed:
		l.add(c.Name, NumbersAsText, s(c.Quoted), 0, percent(s(c.Quoted))+" of the texts are numbers in quotes")
	case s(c.Formatted+c.Numbers) > 1-fewMixed && c.Formatted > 0:
		l.add(c.Name, NumbersAsText, s(c.Formatted), 0, percent(s(c.Formatted))+" of the texts are numbers with separators or signs")
	case c.Numbers > 0 && other > 0 && s(c.Numbers) > mostNumbers && c.Quoted == 0:
		l.add(c.Name, MixedTypes, other, 0, fmt.Sprintf("%s of the values are numbers, the others are not", percent(s(c.Numbers))))
	default:
	}
}

// column judges a column of the profile.
func (l *list) column(c *profile.Column) {
	switch {
	case c.Rows == 0:
		return
	case c.Present() == 0:
		l.add(c.Name, AllMissing, 1, 1, "no row has a value")
		return
	case constant(c) && c.Rows > 1:
		words := "the same value in every row"
		if c.Missing > 0 {
			words = "the same value in every row that has one"
		}
		l.add(c.Name, Constant, 1, 1, words)
		return
	}
	levels := c.Levels
	for _, t := range c.Top {
		if c.Kind == profile.Text {
			levels = append(levels, t.Text)
		}
	}
	if groups := similar(levels); len(groups) > 0 {
		l.add(c.Name, SimilarLevels, float64(len(groups)), 0, "levels that differ only in case or white space: "+strings.Join(firstFew(groups), "; "))
	}
	if ratio := tail(c); ratio > heavyTail {
		l.add(c.Name, Outliers, ratio, heavyTail, fmt.Sprintf(
			"a few values decide about mean and deviation: the deviation is %.0f times that of the middle half of the values; the range is %s", ratio, span(c)))
	}
}

// constant tells whether all values of a column are the same.
func constant(c *profile.Column) bool {
	switch c.Kind {
	case profile.Number, profile.Time:
		return c.Min == c.Max
	case profile.Level:
		used := 0
		for _, n := range c.Counts {
			if n > 0 {
				used++
			}
		}
		return used == 1 && c.Counts[len(c.Counts)-1] == 0
	default:
		return len(c.Top) == 1 && c.Top[0].N == c.Present()
	}
}

// similar returns the groups of levels that are one without white space around and between words, and without case.
func similar(levels []string) []string {
	by := map[string][]string{}
	for _, level := range levels {
		k := strings.Map(unicode.ToLower, strings.Join(strings.Fields(level), " "))
		by[k] = append(by[k], text(level))
	}
	var out []string
	for _, group := range by {
		if len(group) > 1 {
			out = append(out, strings.Join(group, " and "))
		}
	}
	slices.Sort(out)
	return out
}

// tail returns the deviation of a column of numbers, divided by that of a normal distribution whose middle half is as wide;
// 0 where the middle half has no width.
func tail(c *profile.Column) float64 {
	const halfWidth = 1.3489795003921634 // of a normal distribution, in deviations
	if c.Kind != profile.Number || c.Present() < fewValues {
		return 0
	}
	width := quantile(c, 0.75) - quantile(c, 0.25)
	if !(width > 0) {
		return 0
	}
	return c.Deviation * halfWidth / width
}

// quantile returns the upper end of the bin up to which there is a share of the values.
func quantile(c *profile.Column, p float64) float64 {
	total := uint64(0)
	for _, n := range c.Counts {
		total += n
	}
	seen := uint64(0)
	for i, n := range c.Counts {
		if seen += n; float64(seen) >= p*float64(total) && i < len(c.Edges) {
			return c.Edges[i]
		}
	}
	return c.Max
}

func firstFew(all []string) []string {
	if len(all) <= mostExamples {
		return all
	}
	return append(slices.Clone(all[:mostExamples]), fmt.Sprintf("and %d more", len(all)-mostExamples))
}

func plural(k profile.Kind) string { return string(cmp.Or(k, profile.Text)) + "s" }
