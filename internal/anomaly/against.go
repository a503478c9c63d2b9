package anomaly

import (
	"fmt"
	"math"
	"strings"

	"millrace.dev/profile"
)

// The limits of what is odd beside a reference.
const (
	nullErrors = 4     // standard errors that a share of missing values may differ by
	nullShare  = 0.005 // and the difference that is too small to matter
	unitFactor = 2     // by which numbers of another unit differ at least
	unitSpread = 1.25  // and the most by which that factor differs between the quartiles
	unitValues = 50    // that each side needs
)

// Against returns what is odd about data beside a reference, and not what is odd about the data alone. A column of the
// reference that is no field of the records, but computed, counts only where the data has it too.
func Against(reference *profile.Profile, d *Data) []Anomaly {
	var l list
	changed := map[string]bool{}
	for _, c := range d.Changed {
		if c.Reference {
			changed[c.Column] = true
			l.add(c.Column, TypeChange, math.NaN(), math.NaN(), fmt.Sprintf("%s in the reference, and %s here", plural(c.Was), plural(c.Is)))
		}
	}
	has := func(name string) bool {
		for _, c := range d.Columns {
			if c.Name == name {
				return true
			}
		}
		return false
	}
	for i := range reference.Columns {
		ref := &reference.Columns[i]
		c, ok := d.Profile.Column(ref.Name)
		switch {
		case ref.Role == profile.Feature || ref.Role == profile.Prediction:
			if !ok {
				continue
			}
		case !ok || d.Columns != nil && !has(ref.Name):
			words := "the reference has it, and the data does not"
			if ref.Role == profile.Label {
				words = "the label of the reference: the data does not have it"
			}
			l.add(ref.Name, MissingColumn, 1, 0, words)
			continue
		}
		l.nulls(ref, c)
		if !changed[ref.Name] && (ref.Role == profile.Field || ref.Role == profile.Label) {
			l.unit(ref, c)
		}
		if !changed[ref.Name] && ref.Kind == profile.Level && c.Kind != profile.Number {
			l.levels(ref, c)
		}
	}
	for _, c := range d.Columns {
		if _, known := reference.Column(c.Name); !known {
			l.add(c.Name, NewColumn, math.NaN(), math.NaN(), "the data has it, and the reference does not")
		}
	}
	for _, o := range d.Outside {
		if o.Plausible {
			continue
		}
		ref, ok := reference.Column(o.Column)
		c, has := d.Profile.Column(o.Column)
		if ok && has && !changed[o.Column] && o.Below+o.Above > 0 {
			l.outside(ref, c, o)
		}
	}
	return l.sorted(d)
}

// nulls judges the share of missing values: by a normal test of two shares, and by whether the difference matters.
func (l *list) nulls(ref, c *profile.Column) {
	if ref.Rows == 0 || c.Rows == 0 {
		return
	}
	was, is := ref.MissingShare(), c.MissingShare()
	n, m := float64(ref.Rows), float64(c.Rows)
	pooled := float64(ref.Missing+c.Missing) / (n + m)
	limit := max(nullShare, nullErrors*math.Sqrt(pooled*(1-pooled)*(1/n+1/m)))
	if math.Abs(is-was) > limit {
		l.add(ref.Name, NullRate, is, limit, fmt.Sprintf("%s of the values are missing, and %s in the reference", percent(is), percent(was)))
	}
}

// unit judges whether the numbers are in another unit: whether all three quartiles are the same multiple of what they were. What
// drifts does not move its quartiles by one factor.
func (l *list) unit(ref, c *profile.Column) {
	if ref.Kind != profile.Number || c.Kind != profile.Number || min(ref.Present(), c.Present()) < unitValues {
		return
	}
	least, most := math.Inf(1), 0.0
	for _, p := range []float64{0.25, 0.5, 0.75} {
		factor := c.Quantile(p) / ref.Quantile(p)
		if !(factor > 0) || math.IsInf(factor, 1) {
			return // another sign, or nothing to divide by
		}
		least, most = min(least, factor), max(most, factor)
	}
	if (least >= unitFactor || most <= 1.0/unitFactor) && most <= unitSpread*least {
		factor := c.Median() / ref.Median()
		l.add(ref.Name, UnitChange, factor, unitFactor, fmt.Sprintf("the values are %s times those of the reference, at all quartiles: they may be in another unit", profile.Figure(factor)))
	}
}

// levels judges the levels that the reference does not have.
func (l *list) levels(ref, c *profile.Column) {
	known := make(map[string]bool, len(ref.Levels))
	for _, level := range ref.Levels {
		known[level] = true
	}
	var unseen uint64
	var names []string
	add := func(level string, n uint64) {
		if n > 0 && !known[level] {
			unseen += n
			names = append(names, fmt.Sprintf("%s %s", text(level), percent(share(n, c.Present()))))
		}
	}
	if c.Kind == profile.Text { // too many to have bins
		for _, t := range c.Top {
			add(t.Text, t.N)
		}
	}
	for i, level := range c.Levels {
		add(level, c.Counts[i])
	}
	if len(names) == 0 {
		return
	}
	s := share(unseen, c.Present())
	words := fmt.Sprintf("%s of the values are levels that the reference does not have: %s", percent(s), strings.Join(firstFew(names), ", "))
	if c.Kind == profile.Text {
		words = "at least " + words
	}
	l.add(ref.Name, UnseenLevels, s, 0, words)
}

func (l *list) outside(ref, c *profile.Column, o Outside) {
	if ref.Kind == profile.Time { // later times are what new data has
		o.Above = 0
	}
	s := share(o.Below+o.Above, c.Present())
	words := ""
	if o.Below > 0 {
		words = fmt.Sprintf("%s of the values are below %s, the least of the reference, down to %s", percent(share(o.Below, c.Present())), value(ref, ref.Min), value(c, c.Min))
	}
	if o.Above > 0 {
		if words != "" {
			words += "; "
		}
		words += fmt.Sprintf("%s of the values are above %s, the largest of the reference, up to %s", percent(share(o.Above, c.Present())), value(ref, ref.Max), value(c, c.Max))
	}
	if words != "" {
		l.add(ref.Name, Range, s, 0, words)
	}
}
