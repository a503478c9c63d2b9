package profile

import "math"

// newFamily returns the tests of the columns of a reference whose index is in columns: of their distributions, by the
// metrics that are given for each, where a metric has a value; and of their rates of missing values.
func newFamily(reference *Profile, wanted []wantedTest, alarms float64) *family {
	f := &family{alarms: alarms, sizes: map[int]*size{}}
	s := reference.Sample
	if s == nil {
		s = independent(reference.Columns)
	}
	f.rows = s.Rows
	var last *test
	for _, w := range wanted {
		c := &reference.Columns[w.column]
		x := &test{column: w.column, metric: w.metric}
		if w.metric.value == nil {
			x.rate, x.axis = true, &axis{n: 2}
		} else {
			x.axis = newAxis(c, w.metric)
			x.rate = x.axis.n == 2
		}
		if last != nil {
			x.first = last.first + last.axis.n + 1
		}
		f.tests, last = append(f.tests, x), x
	}
	f.width = len(f.tests)
	if last != nil {
		f.tally = make([]uint32, last.first+last.axis.n+1)
	}
	f.codes = make([]uint32, f.rows*f.width)
	for t, x := range f.tests {
		x.place(s, len(reference.Columns), f.codes[t:], f.width)
	}
	return f
}

// wantedTest is a test to do; with no metric, of the rate of missing values.
type wantedTest struct {
	column int
	metric Metric
}

// place writes the places of a column's values in the tally, and takes the shares of the sample.
func (x *test) place(s *Sample, columns int, codes []uint32, width int) {
	counts, total := make([]uint64, x.axis.n+1), uint64(0)
	for row := range s.Rows {
		cell := x.cell(s.Bins[row*columns+x.column])
		counts[cell]++
		codes[row*width] = uint32(x.first + cell) //nolint:gosec // few
	}
	for _, n := range counts[:x.axis.n] {
		total += n
	}
	x.p = make([]float64, x.axis.n)
	for i := range x.p {
		if total > 0 {
			x.p[i] = float64(counts[i]) / float64(total)
		}
	}
}

// cell returns the cell of a bin of the sample; that after the last one for none. Of the test of missing values the cells
// are present and missing.
func (x *test) cell(bin uint16) int {
	switch {
	case x.axis.of == nil && bin == NoBin:
		return 1
	case x.axis.of == nil:
		return 0
	case bin == NoBin:
		return x.axis.n
	}
	return int(x.axis.of[bin])
}

// outcome is what a test says of a window.
type outcome struct {
	value, p float64
	rows     float64 // how many rows of a window, with a reference known without error, would say as much
}

// judge does a test. A known reference is one without a sampling error of its own.
func (x *test) judge(reference, window *Column, known bool, d *drawn) (outcome, error) {
	if x.axis.of == nil {
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
	case x.rate:
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
			fresh += c.q[i] * c.n
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
