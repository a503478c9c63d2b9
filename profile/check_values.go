package profile

import (
	"math"

	"millrace.dev/internal/detmath"
)

// Median returns the value that half of the numbers are not above; NaN if there is none. See [Column.Quantile].
func (c *Column) Median() float64 { return c.Quantile(0.5) }

// Quantile returns the value that a share p of the numbers is not above; NaN if there is none. Where each bin holds one
// value it is one of them, or the mean of two where p falls between; else values are taken to lie evenly in their bin.
func (c *Column) Quantile(p float64) float64 { return c.quantile(p, c.exact()) }

// exact tells whether each bin holds one value: as many values as edges differ. The estimate may be off by a few.
func (c *Column) exact() bool {
	return c.Distinct > 0 && c.Distinct <= uint64(len(c.Edges))+uint64(len(c.Edges))/50
}

// quantile is [Column.Quantile] of a column that is known to have one value in each bin, or not.
func (c *Column) quantile(p float64, exact bool) float64 {
	total := sum(c.Counts)
	if total == 0 || len(c.Edges) == 0 {
		return math.NaN()
	}
	want, before := float64(p*total), 0.0
	for i, n := range c.Counts {
		count := float64(n)
		if n == 0 || before+count < want {
			before += count
			continue
		}
		low, high := c.bounds(i)
		if !exact {
			part := max(0, want-before) / count
			return low + float64(float64(high-low)*part)
		}
		if before+count == want {
			for j := i + 1; j < len(c.Counts); j++ {
				if c.Counts[j] > 0 {
					_, next := c.bounds(j)
					return float64(high/2) + float64(next/2)
				}
			}
		}
		return high
	}
	return math.NaN()
}

// bounds returns the ends of a bin, as far as values reach.
func (c *Column) bounds(bin int) (low, high float64) {
	last := len(c.Edges) - 1
	switch {
	case bin == 0:
		return min(c.Min, c.Edges[0]), c.Edges[0]
	case bin > last:
		return c.Edges[last], max(c.Max, c.Edges[last])
	}
	return max(c.Edges[bin-1], min(c.Min, c.Edges[bin])), min(c.Edges[bin], max(c.Max, c.Edges[bin-1]))
}

// medianOf returns the median of a window, which is exact where that of the reference is. Outside of the reference's range there
// are no bins: a median that lies there is estimated from the smallest, the largest and the mean value of the window.
func medianOf(reference, w *Column) float64 {
	last := len(reference.Edges) - 1
	total := sum(w.Counts)
	if last < 0 || total == 0 || len(w.Counts) != last+2 {
		return w.quantile(0.5, reference.exact())
	}
	// The smallest value of the reference shares its bin with what is below: as many of it are expected as there were.
	below, above := 0.0, float64(w.Counts[last+1])
	if low := reference.Edges[0]; w.Min < low {
		same := float64(reference.Counts[0]) / max(1, sum(reference.Counts)) * total
		if w.Max < low {
			same = 0
		}
		below = max(1, float64(w.Counts[0])-same)
	}
	switch {
	case below > total/2:
		return w.outer(0, w.Min, min(w.Max, reference.Edges[0]), total/2/float64(w.Counts[0]))
	case above > total/2:
		return w.outer(last+1, max(w.Min, reference.Edges[last]), w.Max, 1-total/2/above)
	}
	return w.quantile(0.5, reference.exact())
}

// outer estimates a quantile among the values of the first or the last bin, which are between low and high. What their mean
// is, the mean of the column says, with the values of the other bins taken to be in their middle. Of all distributions with
// such ends and such a mean the one of the largest entropy is taken: the truncated exponential distribution.
func (c *Column) outer(bin int, low, high, p float64) float64 {
	if !(high > low) {
		return low
	}
	rest := float64(c.Mean * sum(c.Counts))
	for i, n := range c.Counts {
		if i != bin && n > 0 {
			from, to := c.bounds(i)
			rest -= float64((float64(from/2) + float64(to/2)) * float64(n))
		}
	}
	mean := (rest/float64(c.Counts[bin]) - low) / (high - low)
	if mean != mean {
		mean = 0.5
	}
	return low + float64((high-low)*truncated(min(max(mean, 0.001), 0.999), p))
}

// truncated returns the p quantile of the exponential distribution on 0 to 1 with a mean, whose density falls or rises.
func truncated(mean, p float64) float64 {
	if mean > 0.5 {
		return 1 - truncated(1-mean, 1-p)
	}
	if mean > 0.499 {
		return p
	}
	low, high := 1e-3, 1e3 // the rate, with which the mean falls
	for range 60 {
		rate := (low + high) / 2
		if 1/rate-1/(detmath.Exp(rate)-1) > mean {
			low = rate
		} else {
			high = rate
		}
	}
	return min(1, -detmath.Log(max(1e-300, 1-float64(p*(1-detmath.Exp(-high)))))/high)
}
