package profile

import (
	"math"

	"millrace.dev/internal/detmath"
)

// logOf returns the natural logarithm, with the same bits on every machine.
func logOf(x float64) float64 { return detmath.Log(x) }

const (
	mostGroups = 10    // that metrics compare numbers in
	rareRows   = 5     // a level of fewer rows in the reference,
	rareShare  = 0.005 // which are also less than this part of it, is one of the others
)

// axis says which cell each bin of a column is in.
type axis struct {
	of []uint16  // the cell of each bin
	n  int       // cells
	x  []float64 // where cells are
	sd float64
}

// ownCells returns an axis of n bins, each a cell.
func ownCells(n int) *axis {
	a := &axis{of: make([]uint16, n), n: n}
	for i := range a.of {
		a.of[i] = uint16(i) //nolint:gosec // fewer bins than that
	}
	return a
}

// newAxis returns the cells in which a metric sees a column.
func newAxis(c *Column, m Metric) *axis {
	switch {
	case c.Kind == Level:
		return rareTogether(c.Counts)
	case !m.whole:
		return equalMass(c.Counts, mostGroups)
	}
	a := ownCells(len(c.Counts))
	if len(c.Edges) > 0 {
		a.x = append(append([]float64(nil), c.Edges...), c.Edges[len(c.Edges)-1])
	}
	a.sd = c.Deviation
	return a
}

// rareTogether puts the levels that are rare to the last cell, that of all other texts.
func rareTogether(counts []uint64) *axis {
	total := sum(counts)
	a := &axis{of: make([]uint16, len(counts))}
	last := len(counts) - 1
	for i, n := range counts[:max(last, 0)] {
		if n < rareRows && float64(n) < rareShare*total {
			a.of[i] = math.MaxUint16
			continue
		}
		a.of[i] = uint16(a.n) //nolint:gosec // as many as there are levels
		a.n++
	}
	if last >= 0 {
		a.of[last] = math.MaxUint16
	}
	for i, cell := range a.of {
		if cell == math.MaxUint16 {
			a.of[i] = uint16(a.n) //nolint:gosec // as many as there are levels
		}
	}
	a.n++
	return a
}

// equalMass cuts ordered bins into at most groups groups, each to the first bin up to which there are its part of all
// values: as the quantiles of the values would, each of them counting once.
func equalMass(counts []uint64, groups int) *axis {
	total := sum(counts)
	a := &axis{of: make([]uint16, len(counts))}
	before, next := 0.0, 1
	for i, n := range counts {
		a.of[i] = uint16(a.n) //nolint:gosec // at most groups
		before += float64(n)
		cut := false
		for next < groups && before*float64(groups) >= float64(next)*total {
			cut, next = true, next+1
		}
		if cut && i+1 < len(counts) {
			a.n++
		}
	}
	a.n++
	return a
}

func sum(counts []uint64) float64 {
	total := 0.0
	for _, n := range counts {
		total += float64(n)
	}
	return total
}

// cells returns the distributions of counts over the axis.
func (a *axis) cells(reference, window []uint64) *cells {
	c := &cells{x: a.x, sd: a.sd}
	c.p, c.m = a.shares(reference)
	c.q, c.n = a.shares(window)
	return c
}

// shares returns the part of all counts that each cell has, and their sum. Sums of whole numbers are taken without
// overflow: counts can be as large as they like.
func (a *axis) shares(counts []uint64) (shares []float64, total float64) {
	shares = make([]float64, a.n)
	for i, n := range counts {
		shares[a.of[i]] += float64(n)
	}
	if total = sum(counts); total > 0 {
		for i := range shares {
			shares[i] /= total
		}
	}
	return shares, total
}
