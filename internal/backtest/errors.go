package backtest

import (
	"math"

	"millrace.dev/internal/drift"
	"millrace.dev/internal/stat"
)

// errorsOf accumulates the errors of predictions against labels: an error is the prediction minus the label. The zero value
// is empty.
type errorsOf struct {
	n                       int
	bias, absolute, squared stat.Sum
	labels                  stat.Moments
	beyond                  bool // a square was beyond the range of float64
}

func (e *errorsOf) add(label, prediction float64) {
	d := prediction - label
	s := float64(d * d)
	e.n++
	e.bias.Add(d)
	e.absolute.Add(math.Abs(d))
	e.squared.Add(s)
	e.labels.Add(label)
	e.beyond = e.beyond || math.IsInf(s, 0)
}

func (e *errorsOf) merge(o *errorsOf) {
	e.n += o.n
	e.bias.Merge(&o.bias)
	e.absolute.Merge(&o.absolute)
	e.squared.Merge(&o.squared)
	e.labels.Merge(&o.labels)
	e.beyond = e.beyond || o.beyond
}

// scores returns the measures.
func (e *errorsOf) scores() drift.Scores {
	nan := drift.Number(math.NaN())
	s := drift.Scores{Rows: e.n, RMSE: nan, MAE: nan, Bias: nan, R2: nan}
	if e.n == 0 || e.beyond {
		return s
	}
	n, sse := float64(e.n), e.squared.Float64()
	s.RMSE, s.MAE, s.Bias = drift.Number(math.Sqrt(sse/n)), drift.Number(e.absolute.Float64()/n), drift.Number(e.bias.Float64()/n)
	if sst := float64(n * e.labels.Variance()); sst > 0 {
		s.R2 = drift.Number(1 - sse/sst)
	}
	return s
}

// pairs accumulates how the losses of two models differ on the same records: that of a model minus that of the first one.
type pairs struct {
	absolute, squared stat.Moments // of the differences
	one, first        stat.Sum     // squared errors of the two
	beyond            bool
}

func (p *pairs) add(label, first, one float64) {
	a, b := first-label, one-label
	aa, bb := float64(a*a), float64(b*b)
	p.absolute.Add(math.Abs(b) - math.Abs(a))
	p.squared.Add(bb - aa)
	p.first.Add(aa)
	p.one.Add(bb)
	p.beyond = p.beyond || math.IsInf(aa, 0) || math.IsInf(bb, 0)
}

func (p *pairs) merge(o *pairs) {
	p.absolute.Merge(&o.absolute)
	p.squared.Merge(&o.squared)
	p.one.Merge(&o.one)
	p.first.Merge(&o.first)
	p.beyond = p.beyond || o.beyond
}

// Of an interval.
const (
	// leastPairs is how many records it takes: below, means are not nearly normal.
	leastPairs = 30
	// z is the 97.5 % quantile of the normal distribution: the interval has 95 %.
	z = 1.959963984540054
)

// difference returns how the losses differ.
//
// The interval of a mean is that of the normal approximation. That of the RMSE is the one of the mean squared errors, divided
// by the sum of the two RMSEs, since a²-b² = (a-b)(a+b): it leaves 0 out where that of the squares does.
func (p *pairs) difference() Difference {
	d := Difference{Pairs: int(p.absolute.N()), RMSE: unknown(), MAE: unknown()}
	if d.Pairs == 0 || p.beyond {
		return d
	}
	n := float64(d.Pairs)
	d.MAE = interval(&p.absolute, 1)
	if sum := math.Sqrt(p.one.Float64()/n) + math.Sqrt(p.first.Float64()/n); sum > 0 {
		d.RMSE = interval(&p.squared, sum)
	} else {
		d.RMSE = d.MAE // all predictions are right: 0
	}
	return d
}

func interval(m *stat.Moments, by float64) Delta {
	mean := m.Mean() / by
	d := Delta{Value: drift.Number(mean), Low: drift.Number(math.NaN()), High: drift.Number(math.NaN())}
	if m.N() >= leastPairs {
		half := float64(z*m.SampleDeviation()) / math.Sqrt(float64(m.N())) / by
		d.Low, d.High = drift.Number(mean-half), drift.Number(mean+half)
	}
	return d
}

func unknown() Delta {
	nan := drift.Number(math.NaN())
	return Delta{nan, nan, nan}
}
