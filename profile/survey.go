package profile

import (
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

	// Of the batch at hand.
	chosen  []int32  // the rows that count; none if all do
	hashes  []uint64 // of these rows
	scratch []float64
	picked  []float64
	present present
	codes   []int32
	perCode []uint64
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
	s.chosen = s.chosen[:0]
	s.hashes = s.hashes[:0]
	if !r.all() {
		for i := range r.Batch.Len() {
			if r.counts(i) {
				s.chosen = append(s.chosen, int32(i)) // batches are of some thousand rows
				s.hashes = append(s.hashes, stat.RowHash(first+uint64(i), 0))
			}
		}
	} else {
		for i := range r.Batch.Len() {
			s.hashes = append(s.hashes, stat.RowHash(first+uint64(i), 0))
		}
	}
	s.rows += uint64(len(s.hashes))
	if len(s.hashes) == 0 {
		return
	}
	for i := range s.columns {
		c := &s.columns[i]
		switch c.kind {
		case Number, Time:
			s.scratch = grown(s.scratch, r.Batch.Len())
			c.addNumbers(s.hashes, s.numbersOf(c, r), &s.present)
		case Level:
			s.addLevels(c, r)
		default:
			s.addTexts(c, r)
		}
	}
}

// present is room for the rows of a column that have a finite value.
type present struct {
	numbers []float64
	hashes  []uint64
}

// numbersOf returns the numbers of a column in the rows that count.
func (s *Survey) numbersOf(c *surveyed, r *Rows) []float64 {
	numbers := c.numbers(r, s.scratch)
	if len(s.hashes) == len(numbers) {
		return numbers
	}
	s.picked = s.picked[:0]
	for _, i := range s.chosen {
		s.picked = append(s.picked, numbers[i])
	}
	return s.picked
}

// addLevels counts codes first, so that each level of a batch is looked up once.
func (s *Survey) addLevels(c *surveyed, r *Rows) {
	codes, level := c.codes(r)
	if len(s.hashes) != len(codes) {
		s.codes = s.codes[:0]
		for _, i := range s.chosen {
			s.codes = append(s.codes, codes[i])
		}
		codes = s.codes
	}
	for _, code := range codes {
		if code == record.MissingCode {
			c.missing++
			continue
		}
		for int(code) >= len(s.perCode) {
			s.perCode = append(s.perCode, 0)
		}
		s.perCode[code]++
	}
	for code, n := range s.perCode {
		if n > 0 {
			text := level(int32(code)) // as many as a batch has
			c.texts.AddN(text, n)
			c.distinct.Add(text)
		}
	}
	clear(s.perCode)
	s.perCode = s.perCode[:0]
}

func (s *Survey) addTexts(c *surveyed, r *Rows) {
	texts, all := r.Batch.Texts(c.at), len(s.chosen) == 0
	for k := range s.hashes {
		i := k
		if !all {
			i = int(s.chosen[k])
		}
		if texts.Missing(i) {
			c.missing++
			continue
		}
		text := texts.View(i)
		c.texts.Add(text)
		c.distinct.Add(text)
	}
}

func grown(s []float64, n int) []float64 { return slices.Grow(s[:0], n) }

// addNumbers takes in numbers of rows with these hashes.
func (c *surveyed) addNumbers(hashes []uint64, numbers []float64, room *present) {
	absent := 0
	for _, x := range numbers {
		if x-x != 0 {
			absent++
		}
	}
	if absent > 0 {
		room.numbers, room.hashes = room.numbers[:0], room.hashes[:0]
		for i, x := range numbers {
			switch {
			case x != x:
				c.missing++
			case x-x != 0:
				c.infinite++
			default:
				room.numbers, room.hashes = append(room.numbers, x), append(room.hashes, hashes[i])
			}
		}
		numbers, hashes = room.numbers, room.hashes
	}
	c.moments.AddSlice(numbers)
	c.sample.AddHashed(hashes, numbers)
	c.distinct.AddNumbers(numbers)
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
		out.Edges = edges(sorted)
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

// AddPredictions appends the column of predictions, of rows whose predictions these are. It is named [PredictionName], or, where another
// column is named so, "prediction (of the model)".
func (p *Profile) AddPredictions(values []float64) {
	c := Predictions(values)
	for _, taken := p.Column(c.Name); taken; _, taken = p.Column(c.Name) {
		c.Name += " (of the model)"
	}
	p.Columns = append(p.Columns, c)
}

// Predictions returns the column of predictions, of rows whose predictions these are.
func Predictions(values []float64) Column {
	c := newSurveyed(predictions())
	hashes := make([]uint64, len(values))
	for i := range hashes {
		hashes[i] = stat.RowHash(uint64(i), 0)
	}
	c.addNumbers(hashes, values, &present{})
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
