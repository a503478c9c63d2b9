package window

import "math"

// moments are what most aggregates need of the values of one argument, in a tile or merged over several. The zero
// moments are of no values. What the declaration does not need is left zero, or has no meaning.
type moments struct {
	n             int64   // how many values
	sum           float64 // NaN once it was not finite; so are mean and squares
	mean, squares float64 // of Welford and Chan: the mean, and the sum of squared deviations from it
	low, high     float64
	first         float64 // of the earliest event time
	firstAt       int64
}

// start has m be of the one value x.
func (m *moments) start(at int64, x float64) {
	*m = moments{n: 1, sum: x, mean: x, low: x, high: x, first: x, firstAt: at}
}

// add adds a value, but not to the mean and the squares.
func (m *moments) add(at int64, x float64) {
	if m.n == 0 {
		m.start(at, x)
		return
	}
	m.n++
	m.sum = settle(m.sum + x)
	if x < m.low {
		m.low = x
	}
	if x > m.high {
		m.high = x
	}
	if at < m.firstAt {
		m.first, m.firstAt = x, at
	}
}

// addSquared adds a value, also to the mean and the squares.
func (m *moments) addSquared(at int64, x float64) {
	if m.n > 0 {
		off := x - m.mean
		mean := m.mean + off/float64(m.n+1)
		m.squares = settle(m.squares + float64(off*(x-mean)))
		m.mean = settle(mean)
	}
	m.add(at, x)
}

// merge adds the values of a later tile. squared tells whether the mean and the squares are needed, too.
func (m *moments) merge(o *moments, squared bool) {
	switch {
	case o.n == 0:
		return
	case m.n == 0:
		*m = *o
		return
	}
	if squared {
		m.mean, m.squares = combine(m.n, m.mean, m.squares, o)
	}
	m.n += o.n
	m.sum += o.sum
	if o.low < m.low {
		m.low = o.low
	}
	if o.high > m.high {
		m.high = o.high
	}
}

// combine returns the mean and the squares of n values and those of o, neither being none: Chan, Golub, LeVeque,
// "Updating formulae and a pairwise algorithm for computing sample variances" (1979), formula 2.1 in terms of means.
func combine(n int64, mean, squares float64, o *moments) (float64, float64) {
	a, b := float64(n), float64(o.n)
	share := b / (a + b)
	off := o.mean - mean
	return mean + float64(off*share), squares + o.squares + float64(float64(off*off)*float64(a*share))
}

// fold merges one argument of many tiles, stride apart in list, from the earliest to the latest: what merge would do,
// with what it changes in registers.
func fold(list []moments, stride int, squared bool) moments {
	for len(list) > 0 && list[0].n == 0 {
		list = list[min(stride, len(list)):]
	}
	if len(list) == 0 {
		return moments{}
	}
	m := list[0]
	n, sum, low, high := m.n, m.sum, m.low, m.high
	for i := stride; i < len(list); i += stride {
		o := &list[i]
		if o.n == 0 {
			continue
		}
		n += o.n
		sum += o.sum
		if o.low < low {
			low = o.low
		}
		if o.high > high {
			high = o.high
		}
	}
	if squared {
		m.mean, m.squares = foldSquares(list, stride)
	}
	m.n, m.sum, m.low, m.high = n, sum, low, high
	return m
}

func foldSquares(list []moments, stride int) (mean, squares float64) {
	n := list[0].n
	mean, squares = list[0].mean, list[0].squares
	for i := stride; i < len(list); i += stride {
		if o := &list[i]; o.n > 0 {
			mean, squares = combine(n, mean, squares, o)
			n += o.n
		}
	}
	return mean, squares
}

// average returns the mean by the sum, which does not depend on whether a variance is declared, too.
func (m *moments) average() float64 { return m.sum / float64(m.n) }

// variance returns the variance of the sample, NaN for fewer than two values.
func (m *moments) variance() float64 {
	if m.n < 2 {
		return math.NaN()
	}
	return m.squares / float64(m.n-1)
}
