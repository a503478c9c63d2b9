package profile

import "math"

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
