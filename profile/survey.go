package profile

import (
	"math"
	"slices"

	"millrace.dev/internal/stat"
	"millrace.dev/record"
)

// The bounds of a [Survey].
const (
	sampleRows  = 16_384  // numbers that are kept of a column
	maxLevels   = 1024    // different texts of a column of levels that has bins
	maxTexts    = 10_000  // different texts that are counted one by one
	maxTextSize = 1 << 20 // bytes of them
	topTexts    = 10
)

// Survey is the first look at data: it learns what the bins of each column are to be. Surveys of parts merge, in any
// order, to what the whole would have given. It takes about half a megabyte a column at most, however many rows there
// are. It is for one goroutine at a time.
type Survey struct {
	rows    uint64
	columns []surveyed
	scratch []float64
}

// surveyed is what is known of a column.
type surveyed struct {
	place

	missing  uint64
	infinite uint64
	moments  stat.Moments
	sample   *stat.Sample
	texts    *stat.Counts
	distinct stat.Distinct
}

// NewSurvey returns an empty survey.
func NewSurvey(l Layout) *Survey {
	s := &Survey{}
	for _, p := range l.places {
		s.columns = append(s.columns, newSurveyed(p))
	}
	return s
}

func newSurveyed(p place) surveyed {
	c := surveyed{place: p}
	if p.kind == Number || p.kind == Time {
		c.sample, _ = stat.NewSample(sampleRows, 0) // the size is within the bounds
	} else {
		c.texts = stat.NewCounts(maxTexts, maxTextSize)
	}
	return c
}

// Add takes rows in. first is the number of the first of them in all of the data: no two rows may have the same.
func (s *Survey) Add(first uint64, r *Rows) {
	for i := range r.Batch.Len() {
		if r.counts(i) {
			s.rows++
		}
	}
	for i := range s.columns {
		c := &s.columns[i]
		switch c.kind {
		case Number, Time:
			s.scratch = grown(s.scratch, r.Batch.Len())
			c.addNumbers(first, c.numbers(r, s.scratch), r.counts)
		case Level:
			codes, level := c.codes(r)
			for i, code := range codes {
				if r.counts(i) {
					c.addText(code != record.MissingCode, func() string { return level(code) })
				}
			}
		default:
			texts := r.Batch.Texts(c.at)
			for i := range texts.Len() {
				if r.counts(i) {
					c.addText(!texts.Missing(i), func() string { return texts.View(i) })
				}
			}
		}
	}
}

func grown(s []float64, n int) []float64 { return slices.Grow(s[:0], n) }

func (c *surveyed) addNumbers(first uint64, numbers []float64, counts func(int) bool) {
	for i, x := range numbers {
		switch {
		case !counts(i):
		case x != x:
			c.missing++
		case math.IsInf(x, 0):
			c.infinite++
		default:
			c.moments.Add(x)
			c.sample.Add(first+uint64(i), x)
			c.distinct.AddNumber(x)
		}
	}
}

func (c *surveyed) addText(there bool, text func() string) {
	if !there {
		c.missing++
		return
	}
	s := text()
	c.texts.Add(s)
	c.distinct.Add(s)
}

// Merge takes in what o has seen, whose layout is the same.
func (s *Survey) Merge(o *Survey) {
	s.rows += o.rows
	for i := range s.columns {
		c, other := &s.columns[i], &o.columns[i]
		c.missing += other.missing
		c.infinite += other.infinite
		c.distinct.Merge(&other.distinct)
		if c.sample != nil {
			c.moments.Merge(&other.moments)
			c.sample.Merge(other.sample)
		} else {
			c.texts.Merge(other.texts)
		}
	}
}

// Exact tells whether the survey has every number of the data, so that its counts in bins are those of the data. If it
// does not, [Survey.Profile] has the counts of a sample, and a [Counter] that the rows go through once more has the others.
func (s *Survey) Exact() bool {
	return !slices.ContainsFunc(s.columns, func(c surveyed) bool { return c.sample != nil && (!c.sample.Exact() || c.infinite > 0) })
}

// Profile returns the profile of what was seen, with the bins that it has found. Where the survey is not exact, the counts of a column
// of numbers are those of a sample of 16,384 rows, scaled to all rows.
func (s *Survey) Profile() *Profile {
	p := &Profile{Rows: s.rows}
	for i := range s.columns {
		p.Columns = append(p.Columns, s.columns[i].column(s.rows))
	}
	return p
}

func (c *surveyed) column(rows uint64) Column {
	out := Column{Name: c.name, Role: c.role, Kind: c.kind, Rows: rows, Missing: c.missing, Distinct: c.distinct.Estimate()}
	out.describe(&c.moments)
	if c.sample != nil {
		sorted := c.sample.Values()
		if !c.sample.Exact() { // the ends are known of all rows
			sorted = append(append([]float64{c.moments.Min()}, sorted...), c.moments.Max())
		}
		out.Edges = edges(sorted, Bins)
		out.Counts = scaled(counted(sorted, out.Edges), rows-c.missing)
		return out
	}
	out.Top = frequent(c.texts.Top(topTexts))
	if c.kind == Text {
		return out
	}
	if c.texts.TooMany() || c.texts.Len() > maxLevels {
		out.Kind = Text // more levels than can be told apart by their shares
		return out
	}
	for _, l := range c.texts.Sorted() {
		out.Levels = append(out.Levels, l.Text)
		out.Counts = append(out.Counts, l.N)
	}
	out.Counts = append(out.Counts, 0)
	return out
}

// describe sets what moments say.
func (c *Column) describe(m *stat.Moments) {
	c.Min, c.Max, c.Mean, c.Deviation = m.Min(), m.Max(), m.Mean(), m.Deviation()
}

func frequent(top []stat.Count) []Frequent {
	out := make([]Frequent, 0, len(top))
	for _, t := range top {
		out = append(out, Frequent{t.Text, t.N})
	}
	return out
}

// counted counts values into bins.
func counted(values, edges []float64) []uint64 {
	b := newBinner(edges)
	counts := make([]uint64, len(edges)+1)
	for _, v := range values {
		counts[b.bin(v)]++
	}
	return counts
}

// scaled returns counts whose sum is total, in the same proportions as nearly as whole numbers can be: the remainders go to
// the bins with the largest fractions, the first of equal ones.
func scaled(counts []uint64, total uint64) []uint64 {
	var sum uint64
	for _, n := range counts {
		sum += n
	}
	if sum == total || sum == 0 {
		return counts
	}
	type rest struct {
		bin      int
		fraction float64
	}
	out, left, rests := make([]uint64, len(counts)), total, make([]rest, len(counts))
	for i, n := range counts {
		share := float64(float64(n) / float64(sum) * float64(total))
		out[i] = uint64(share)
		left -= min(left, out[i])
		rests[i] = rest{i, float64(share) - float64(out[i])}
	}
	slices.SortStableFunc(rests, func(a, b rest) int {
		switch {
		case a.fraction > b.fraction:
			return -1
		case a.fraction < b.fraction:
			return 1
		default:
			return 0
		}
	})
	for i := range rests {
		if left == 0 {
			break
		}
		out[rests[i].bin]++
		left--
	}
	return out
}

// Predictions returns the column of predictions, of rows whose predictions these are.
func Predictions(values []float64) Column {
	c := newSurveyed(predictions())
	c.addNumbers(0, values, func(int) bool { return true })
	out := c.column(uint64(len(values)))
	out.Counts = countNumbers(values, out.Edges)
	return out
}

// countNumbers counts the numbers that are not missing into bins.
func countNumbers(values, edges []float64) []uint64 {
	b := newBinner(edges)
	counts := make([]uint64, len(edges)+1)
	for _, v := range values {
		if v == v {
			counts[b.bin(v)]++
		}
	}
	return counts
}
