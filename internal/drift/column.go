package drift

import (
	"cmp"
	"math"
	"slices"

	"millrace.dev/profile"
)

// severity returns the worst finding of a column in a window.
func severity(w *Window, column string) profile.Severity {
	worst := profile.OK
	for i := range w.Findings {
		if f := &w.Findings[i]; f.Column == column && (f.Severity == profile.Fail || f.Severity == profile.Warn && worst == profile.OK) {
			worst = f.Severity
		}
	}
	return worst
}

// columns fills in the columns that have moved, and the predictions.
func (r *Report) columns(in *Input) {
	for i := range in.Reference.Columns {
		ref := &in.Reference.Columns[i]
		if ref.Role == profile.Label {
			continue
		}
		s := r.shift(ref)
		switch {
		case ref.Role == profile.Prediction:
			if s.After.Rows > 0 {
				r.Predicted = &s
			}
		case s.Severity != profile.OK:
			r.Moved = append(r.Moved, Moved{Shift: s})
		default:
			if run := r.earlier(ref.Name); run != nil {
				s.Since = run
				r.Back = append(r.Back, Moved{Shift: s})
			}
		}
	}
	for i := range r.Moved {
		m := &r.Moved[i]
		r.relate(in, m)
		if m.Severity == profile.Fail {
			r.Exposure += Number(float64(m.Importance) * float64(m.Affected))
		}
	}
	for i := range r.Moved {
		if m := &r.Moved[i]; len(m.Causes) == 0 && !m.Calendar {
			m.Fault = r.fault(in, m)
		}
	}
	// What is computed of what has moved stands behind it, however important it is.
	slices.SortStableFunc(r.Moved, func(a, b Moved) int {
		if x, y := len(a.Causes) > 0, len(b.Causes) > 0; x != y {
			if x {
				return 1
			}
			return -1
		}
		return cmp.Compare(b.Reach*b.Affected, a.Reach*a.Affected)
	})
}

// relate says what a column is to the model.
func (r *Report) relate(in *Input, m *Moved) {
	times := true
	for k := range in.Inputs {
		input, uses := &in.Inputs[k], &in.Uses[k]
		own := input.Name == m.Column
		if own {
			m.Importance = Number(input.Importance)
		}
		switch {
		case own && m.Role == profile.Feature:
			m.Reach += Number(input.Importance)
			m.ComputedOf = uses.Fields
			m.Reads = append(slices.Clone(uses.Tables), uses.Windows...)
			for _, f := range uses.Fields {
				times = times && slices.Contains(in.Times, f)
				if r.moved(f) {
					m.Causes = append(m.Causes, f)
				}
			}
			m.Calendar = times && len(uses.Fields) > 0 && len(m.Reads) == 0
		case m.Role == profile.Field && slices.Contains(uses.Fields, m.Column):
			m.Reach += Number(input.Importance)
			if !own {
				m.Feeds = append(m.Feeds, input.Name)
			}
		}
	}
}

// moved tells whether a field is among those that have moved.
func (r *Report) moved(field string) bool {
	return slices.ContainsFunc(r.Moved, func(m Moved) bool { return m.Column == field && m.Role == profile.Field })
}

// shift compares a column of the last window with the reference.
func (r *Report) shift(ref *profile.Column) Shift {
	s := Shift{Column: ref.Name, Role: ref.Role, Kind: ref.Kind, Severity: severity(r.last, ref.Name), Before: figures(ref), PSI: Number(math.NaN())}
	for i := range r.last.Findings {
		if f := &r.last.Findings[i]; f.Column == ref.Name && f.Severity != profile.OK {
			s.Findings = append(s.Findings, f.Words)
		}
	}
	w := columnOf(r.last, ref.Name)
	if w == nil { // of a result that was too large, and shortened
		s.After = figures(&profile.Column{})
		return s
	}
	s.After = figures(w)
	median, side := medianIn(w, ref)
	s.After.Median, s.Side = Number(median), side
	if m, err := profile.MetricNamed("psi"); err == nil && ref.Kind != profile.Text {
		if v, err := m.Between(ref, w); err == nil {
			s.PSI = Number(v)
		}
	}
	s.Below, s.Above = outside(ref, w)
	if ref.Kind == profile.Level {
		s.Unseen = Number(part(last(w.Counts), w.Rows))
		s.Levels = levelShifts(ref, w)
	}
	s.Affected = Number(affected(ref, w))
	if s.Severity != profile.OK {
		s.Since = r.since(ref.Name)
	}
	return s
}

// medianIn is the median of a window's column, which is exact where that of the reference is. Where it lies outside of the
// range of the training data, where there are no bins, it is NaN, and the second result says on which side.
func medianIn(w, ref *profile.Column) (median float64, side int) {
	if n := w.Present(); n > 0 && len(ref.Edges) > 1 {
		below, above := outside(ref, w)
		switch half := float64(n) / float64(w.Rows) / 2; {
		case float64(below) >= half:
			return math.NaN(), -1
		case float64(above) >= half:
			return math.NaN(), 1
		}
	}
	c := *w
	c.Distinct = ref.Distinct
	return c.Median(), 0
}

func columnOf(w *Window, name string) *profile.Column {
	for i := range w.Columns {
		if w.Columns[i].Name == name {
			return &w.Columns[i]
		}
	}
	return nil
}

// since returns the run of windows with findings that ends with the last window.
func (r *Report) since(column string) *Since {
	s := &Since{}
	running := true
	for i, w := range slices.Backward(r.judged) {
		bad := severity(w, column) != profile.OK
		if running = running && bad; running {
			s.From, s.Window, s.Open = w.From, i+1, i == 0
			s.Windows++
		}
		if bad {
			s.Failed++
		}
	}
	s.To = r.last.To
	return s
}

// earlier returns the latest run of two windows or more in a row in which a column failed that does not now; nil is none.
// A single window may have been chance.
func (r *Report) earlier(column string) *Since {
	for end, w := range slices.Backward(r.judged) {
		if severity(w, column) != profile.Fail {
			continue
		}
		begin := end
		for begin > 0 && severity(r.judged[begin-1], column) == profile.Fail {
			begin--
		}
		if begin < end {
			return &Since{
				From: r.judged[begin].From, To: r.judged[end].To, Window: begin + 1, Windows: end - begin + 1, Failed: end - begin + 1, Open: begin == 0,
			}
		}
	}
	return nil
}

func figures(c *profile.Column) Figures {
	f := Figures{
		Rows: c.Rows, Missing: Number(c.MissingShare()), Mean: Number(c.Mean), Median: Number(c.Median()),
		Deviation: Number(c.Deviation), Min: Number(c.Min), Max: Number(c.Max),
	}
	if c.Kind == profile.Level || c.Kind == profile.Text || c.Present() == 0 {
		nan := Number(math.NaN())
		f.Mean, f.Median, f.Deviation, f.Min, f.Max = nan, nan, nan, nan, nan
	}
	return f
}

// levelShifts returns the levels whose share has changed most, at most five, by at least a hundredth and beyond chance.
func levelShifts(ref, w *profile.Column) []LevelShift {
	var list []LevelShift
	for i, level := range ref.Levels {
		s := LevelShift{level, Number(part(ref.Counts[i], ref.Rows)), Number(part(w.Counts[i], w.Rows))}
		chance := 3 * math.Sqrt(float64(s.Before*(1-s.Before))/float64(max(1, w.Rows)))
		if math.Abs(float64(s.After-s.Before)) >= max(0.01, chance) {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b LevelShift) int {
		return cmp.Compare(math.Abs(float64(b.After-b.Before)), math.Abs(float64(a.After-a.Before)))
	})
	return list[:min(len(list), 5)]
}

func part(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func last(counts []uint64) uint64 {
	if len(counts) == 0 {
		return 0
	}
	return counts[len(counts)-1]
}

// outside returns the shares of rows below and above the range of the training data. What is below shares its bin with the
// smallest value of training, of which as many are expected as there were.
func outside(ref, w *profile.Column) (below, above Number) {
	if len(ref.Edges) == 0 || w.Rows == 0 || w.Present() == 0 {
		return 0, 0
	}
	if w.Min < ref.Edges[0] {
		expected := float64(part(ref.Counts[0], ref.Rows) * float64(w.Rows))
		below = Number(max(1, float64(w.Counts[0])-expected) / float64(w.Rows))
	}
	return below, Number(part(last(w.Counts), w.Rows))
}

// groups is how many groups of about equal mass the values of numbers are put to.
const groups = 10

// affected estimates the share of a window's rows whose value differs from what it would be in the training data: half the
// sum of the differences between the shares of groups of values, "missing" and "outside the range" being groups, less what
// that comes to by chance for as many rows. It is the smallest share of rows that have to change to make the window like the
// training data.
func affected(ref, w *profile.Column) float64 {
	if ref.Rows == 0 || w.Rows == 0 {
		return 0
	}
	p, q := []float64{part(ref.Missing, ref.Rows)}, []float64{part(w.Missing, w.Rows)}
	fresh := max(0, q[0]-p[0]) // what training did not have is not there by chance
	switch ref.Kind {
	case profile.Level:
		fresh += max(0, part(last(w.Counts), w.Rows)-part(last(ref.Counts), ref.Rows))
		for i := range ref.Counts {
			p, q = append(p, part(ref.Counts[i], ref.Rows)), append(q, part(w.Counts[i], w.Rows))
		}
	case profile.Number, profile.Time:
		cuts, total, size := len(ref.Counts)-1, float64(ref.Present()), 0.0
		below, _ := outside(ref, w)
		p, q = append(p, 0, 0, 0), append(q, float64(below), part(w.Counts[cuts], w.Rows), -float64(below))
		for i := range cuts {
			at := len(p) - 1
			p[at] += part(ref.Counts[i], ref.Rows)
			q[at] += part(w.Counts[i], w.Rows)
			if size += float64(ref.Counts[i]); size >= total/groups && i+1 < cuts {
				p, q, size = append(p, 0), append(q, 0), 0
			}
		}
	default:
	}
	sum, chance := 0.0, 0.0
	for i := range p {
		sum += math.Abs(p[i] - q[i])
		// The mean of the absolute value of a normal deviation is its standard deviation times the root of 2/π.
		chance += math.Sqrt(2 / math.Pi * p[i] * (1 - p[i]) * (1/float64(w.Rows) + 1/float64(ref.Rows)))
	}
	return max(0, (sum-chance)/2, fresh)
}
