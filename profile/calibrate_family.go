package profile

import "math"

// wantedTest is a test to do; with no metric, of the rate of missing values.
type wantedTest struct {
	column int
	metric Metric
}

// newFamily returns the tests that are wanted of a reference.
func newFamily(reference *Profile, wanted []wantedTest, alarms float64) *family {
	f := &family{alarms: alarms, sizes: map[int]*size{}}
	s := reference.Sample
	if s == nil {
		s = independent(reference.Columns)
	}
	f.rows = s.Rows
	byColumn := map[int][]*test{}
	for _, w := range wanted {
		x := &test{column: w.column, metric: w.metric}
		if w.metric.value != nil {
			x.axis = newAxis(&reference.Columns[w.column], w.metric)
		}
		f.tests = append(f.tests, x)
		byColumn[w.column] = append(byColumn[w.column], x)
	}
	var lists [][]uint32
	for _, x := range f.tests { // the first of a column places it for both
		if of := byColumn[x.column]; of[0] == x {
			if codes := f.place(of, s, len(reference.Columns)); codes != nil {
				lists = append(lists, codes)
			}
		}
	}
	f.width = len(lists)
	f.codes = make([]uint32, 0, f.rows*f.width)
	for row := range f.rows {
		for _, l := range lists {
			f.codes = append(f.codes, l[row])
		}
	}
	return f
}

// place gives a column places in the tally, and its tests what the sample says of it. It returns the place of each row; nil
// if no test needs them.
func (f *family) place(tests []*test, s *Sample, columns int) []uint32 {
	of := &axis{n: 1}
	for _, x := range tests {
		if x.axis != nil {
			of = x.axis
		}
	}
	first := len(f.tally)
	counts, codes := make([]uint64, of.n+1), make([]uint32, s.Rows)
	for row := range codes {
		cell := of.n
		if bin := s.Bins[row*columns+tests[0].column]; bin != NoBin {
			cell = 0
			if of.of != nil {
				cell = int(of.of[bin])
			}
		}
		counts[cell]++
		codes[row] = uint32(first + cell) //nolint:gosec // few
	}
	needed := false
	for _, x := range tests {
		x.first, x.n = first, of.n
		x.sampled(counts)
		needed = needed || !x.still
	}
	if !needed {
		for _, x := range tests {
			x.first, x.n = 0, 0
		}
		return nil
	}
	f.tally = append(f.tally, make([]uint32, of.n+1)...)
	f.cells = max(f.cells, of.n)
	return codes
}

// sampled takes the shares of the sample, from the counts of the cells and of missing values.
func (x *test) sampled(counts []uint64) {
	last := len(counts) - 1
	present := sum(counts[:last])
	if x.axis == nil {
		x.rate = float64(counts[last]) / (present + float64(counts[last]))
		x.still = counts[last] == 0 || present == 0
		return
	}
	x.p = make([]float64, last)
	most := 0.0
	for i := range x.p {
		if present > 0 {
			x.p[i] = float64(counts[i]) / present
		}
		most = max(most, x.p[i])
	}
	x.rate, x.still = x.p[last-1], most == 1 || present == 0
}

// outcome is what a test says of a window.
type outcome struct {
	value, p float64
	rows     float64 // how many rows of a window, with a reference known without error, would say as much
}

// judge does a test. A known reference is one without a sampling error of its own.
func (x *test) judge(reference, window *Column, known bool, d *drawn) (outcome, error) {
	if x.axis == nil {
		return outcome{window.MissingShare(), x.rates(float64(window.Missing), float64(window.Rows), float64(reference.Missing), float64(reference.Rows), known), float64(window.Rows)}, nil
	}
	c := x.axis.cells(reference.Counts, window.Counts)
	value, err := x.metric.of(c)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{value: value, p: 1, rows: c.rows()}
	if known {
		out.rows = c.n
	}
	switch last := x.axis.n - 1; {
	case c.n == 0:
	case x.ofRate():
		out.p = x.rates(c.q[last]*c.n, c.n, c.p[last]*c.m, c.m, known)
	case d == nil:
		out.p = x.newValues(c, known)
	default:
		scaled := value
		if known && x.metric.power == 0 {
			c.m = math.Inf(1)
			scaled = x.metric.value(c)
		}
		out.p = d.tail(x.scaled(scaled, out.rows))
	}
	return out, nil
}

// newValues tests how many values are where the reference has none: all that can be told of a column that is always the
// same in it.
func (x *test) newValues(c *cells, known bool) float64 {
	fresh := 0.0
	for i, p := range c.p {
		if p == 0 {
			fresh += float64(c.q[i] * c.n)
		}
	}
	return x.rates(fresh, c.n, 0, c.m, known)
}

// rates tests whether k of n rows and l of m have one rate.
func (x *test) rates(k, n, l, m float64, known bool) float64 {
	if known {
		return binomialTail(k, n, l/m)
	}
	return FisherExact(uint64(k+0.5), uint64(n+0.5), uint64(l+0.5), uint64(m+0.5))
}
