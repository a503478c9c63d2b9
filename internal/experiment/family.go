package experiment

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Correction says how p-values of several metrics and arms are judged together.
type Correction string

// The corrections.
const (
	// Holm keeps the probability of any false alarm below the error rate, however the tests depend on one another (Holm, A simple sequentially
	// rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979).
	Holm Correction = "holm"
	// BenjaminiHochberg keeps the expected share of false alarms among all alarms below the error rate, for tests that are independent
	// or depend on one another positively (Benjamini and Hochberg, Controlling the false discovery rate, JRSS B 57, 1995).
	BenjaminiHochberg Correction = "benjamini_hochberg"
	// BenjaminiYekutieli does so however they depend (Benjamini and Yekutieli, The control of the false discovery rate in multiple testing
	// under dependency, Annals of Statistics 29, 2001).
	BenjaminiYekutieli Correction = "benjamini_yekutieli"
)

// Adjust returns the p-values, in their order, so that each may be held to the error rate of the whole family. If they hold at any time,
// so do Holm's. It is an error if one is no probability.
func (c Correction) Adjust(p []float64) ([]float64, error) {
	for _, x := range p {
		if !(x >= 0 && x <= 1) {
			return nil, fmt.Errorf("experiment: %g is no p-value", x)
		}
	}
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	out, m := make([]float64, len(p)), float64(len(p))
	switch c {
	case Holm:
		most := 0.0
		for rank, i := range order {
			most = max(most, min(1, float64((m-float64(rank))*p[i])))
			out[i] = most
		}
	case BenjaminiHochberg, BenjaminiYekutieli:
		factor := m
		if c == BenjaminiYekutieli {
			factor = float64(m * harmonic(len(p)))
		}
		least := 1.0
		for rank, i := range slices.Backward(order) {
			least = min(least, float64(p[i]*factor)/float64(rank+1))
			out[i] = least
		}
	default:
		return nil, fmt.Errorf("experiment: a correction is %q, %q or %q, not %q", Holm, BenjaminiHochberg, BenjaminiYekutieli, c)
	}
	return out, nil
}

// harmonic returns 1 + 1/2 + ... + 1/n.
func harmonic(n int) float64 {
	sum := 0.0
	for i := n; i > 0; i-- {
		sum += 1 / float64(i)
	}
	return sum
}

// Level returns the error rate at which the intervals of the family hold together: with Holm's the probability that any misses is below
// alpha (Bonferroni); with the others the expected share of misses among those whose adjusted p-value is at most alpha (Benjamini
// and Yekutieli, False discovery rate-adjusted multiple confidence intervals, JASA 100, 2005).
func (c Correction) Level(alpha float64, adjusted []float64) float64 {
	m := max(1, float64(len(adjusted)))
	if c == Holm {
		return alpha / m
	}
	chosen := 0.0
	for _, p := range adjusted {
		if p <= alpha {
			chosen++
		}
	}
	level := float64(alpha*max(1, chosen)) / m
	if c == BenjaminiYekutieli {
		level /= harmonic(len(adjusted))
	}
	return math.Max(level, math.SmallestNonzeroFloat64)
}

// Cell is a treatment of one metric that belongs to a family.
type Cell struct {
	Metric, Arm        string
	Control, Treatment *Cross
}

// Finding is what a cell of a family has come to.
type Finding struct {
	Metric string `json:"metric"`
	Arm    string `json:"arm"`
	*Comparison
	// FamilyP is the p-value to hold to the error rate of the family, and Significant tells whether it is at most that. The intervals hold
	// together as [Correction.Level] says.
	FamilyP     float64 `json:"family_p"`
	Significant bool    `json:"significant"`
}

// CompareAll compares several arms by several metrics as one family: see [Compare]. The findings are in the order of the cells.
func CompareAll(cells []Cell, options Options, correction Correction) ([]Finding, error) {
	o, err := options.complete()
	if err != nil {
		return nil, err
	}
	p := make([]float64, len(cells))
	for i, cell := range cells {
		c, err := Compare(cell.Control, cell.Treatment, o)
		if err != nil {
			return nil, fmt.Errorf("experiment: %s of arm %s: %w", cell.Metric, cell.Arm, err)
		}
		p[i] = c.P
	}
	adjusted, err := correction.Adjust(p)
	if err != nil {
		return nil, err
	}
	o.Level = correction.Level(o.Alpha, adjusted)
	findings := make([]Finding, len(cells))
	for i, cell := range cells {
		c, err := Compare(cell.Control, cell.Treatment, o)
		if err != nil {
			return nil, fmt.Errorf("experiment: %s of arm %s: %w", cell.Metric, cell.Arm, err)
		}
		findings[i] = Finding{cell.Metric, cell.Arm, c, adjusted[i], c.Enough && adjusted[i] <= o.Alpha}
	}
	return findings, nil
}
