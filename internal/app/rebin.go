package app

import (
	"slices"

	"millrace.dev/profile"
)

// rebinned returns the values of a column in the bins of another of its kind, and whether they were counted in these bins from
// the beginning: else the values of a bin are taken to lie evenly in it, but where each bin holds one value only.
func rebinned(ref, c *profile.Column) (out profile.Column, exact bool) {
	out = *c
	out.Edges, out.Levels = ref.Edges, ref.Levels
	switch c.Kind {
	case profile.Level:
		out.Counts = make([]uint64, len(ref.Levels)+1)
		for i, n := range c.Counts {
			k := -1
			if i < len(c.Levels) {
				k = slices.Index(ref.Levels, c.Levels[i])
			}
			if k < 0 {
				k = len(ref.Levels)
			}
			out.Counts[k] += n
		}
		return out, true
	case profile.Text:
		return out, true
	default:
		if slices.Equal(ref.Edges, c.Edges) {
			return out, true
		}
	}
	single := c.Distinct > 0 && c.Distinct <= uint64(len(c.Edges))
	out.Counts = make([]uint64, len(ref.Edges)+1)
	total, before := uint64(0), 0.0
	for _, n := range c.Counts {
		total += n
	}
	done := uint64(0)
	for k, edge := range ref.Edges {
		before = max(before, valuesUpTo(c, edge, single))
		upTo := min(uint64(before+0.5), total)
		out.Counts[k] = upTo - done
		done = upTo
	}
	out.Counts[len(ref.Edges)] = total - done
	return out, single
}

// valuesUpTo returns how many values of a column are x or less.
func valuesUpTo(c *profile.Column, x float64, single bool) float64 {
	sum := 0.0
	for i, n := range c.Counts {
		low, high := bounds(c, i)
		switch {
		case x >= high:
			sum += float64(n)
		case single || x <= low || !(high > low):
			return sum
		default:
			return sum + float64(float64(n)*((x-low)/(high-low)))
		}
	}
	return sum
}

// bounds returns the ends of a bin.
func bounds(c *profile.Column, i int) (low, high float64) {
	last := len(c.Edges) - 1
	switch {
	case last < 0:
		return c.Min, c.Max
	case i == 0:
		return min(c.Min, c.Edges[0]), c.Edges[0]
	case i > last:
		return c.Edges[last], max(c.Max, c.Edges[last])
	default:
		return c.Edges[i-1], c.Edges[i]
	}
}
