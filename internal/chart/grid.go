package chart

import (
	"html/template"
	"math"
)

// Grid shows how two values of the same rows go together: in each cell of a grid, how many rows lie in it, as the area of a
// square. A line marks where both are equal.
type Grid struct {
	Title, Desc string // for those who do not see the picture
	X, Y        Axis
	// Edges are the upper ends of the bins of both values, ascending; what is below the first or above the last is drawn in a
	// bin of the width of its neighbour.
	Edges []float64
	// Counts has the rows by the bin of y, then by that of x: (len(Edges)+1)² counts.
	Counts []int
	Equal  string // what the line marks
	Unit   string // what is counted: "rows"
}

// SVG draws the chart.
func (g *Grid) SVG() template.HTML {
	c := newCanvas(g.Title, g.Desc)
	c.plotHeight = 264 // so that cells are nearly square
	n := len(g.Edges) + 1
	bounds := g.bounds()
	most := 0
	for _, k := range g.Counts {
		most = max(most, k)
	}
	entries := []entry{{lineSample("mark"), g.Equal}}
	if most > 0 {
		entries = append(entries, entry{areaSample("area a"), "a full cell: " + Grouped(int64(most)) + " " + g.Unit})
	}
	s := newSpan(bounds...)
	y := g.Y
	y.exact = true // both axes show the same
	f := c.newFrame(g.X, s, y, s, entries)
	f.line("mark", f.atX(s.low), f.atY(s.low), f.atX(s.high), f.atY(s.high))
	for i, k := range g.Counts {
		if k <= 0 || i >= n*n {
			continue
		}
		a, p := i/n, i%n
		x0, x1, y0, y1 := f.atX(bounds[p]), f.atX(bounds[p+1]), f.atY(bounds[a]), f.atY(bounds[a+1])
		side := math.Sqrt(float64(k) / float64(most))
		w, h := max(side*(x1-x0), 1.2), max(side*(y0-y1), 1.2)
		hint := g.Y.Title + " " + g.interval(a) + ", " + g.X.Title + " " + g.interval(p) + ": " + Grouped(int64(k))
		f.rect("area a", (x0+x1-w)/2, (y0+y1-h)/2, w, h, hint)
	}
	return c.svg()
}

// bounds returns the ends of the bins, the two open ones as wide as their neighbours.
func (g *Grid) bounds() []float64 {
	n := len(g.Edges)
	if n == 0 {
		return []float64{0, 1}
	}
	first, last := float64(math.Abs(g.Edges[0])/2)+0.5, float64(math.Abs(g.Edges[n-1])/2)+0.5
	if n > 1 {
		first, last = g.Edges[1]-g.Edges[0], g.Edges[n-1]-g.Edges[n-2]
	}
	bounds := append([]float64{max(g.Edges[0]-first, -math.MaxFloat64)}, g.Edges...)
	return append(bounds, min(g.Edges[n-1]+last, math.MaxFloat64))
}

// interval writes what bin i holds.
func (g *Grid) interval(i int) string {
	switch {
	case len(g.Edges) == 0:
		return "any"
	case i == 0:
		return "up to " + g.X.Text(g.Edges[0])
	case i == len(g.Edges):
		return "above " + g.X.Text(g.Edges[i-1])
	}
	return g.X.Text(g.Edges[i-1]) + " to " + g.X.Text(g.Edges[i])
}
