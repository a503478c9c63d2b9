package chart

import "html/template"

// Bin counts the values from Low to High.
type Bin struct {
	Low, High float64
	N         []float64 // by series
}

// Histogram shows how often values come.
type Histogram struct {
	Title, Desc string // for those who do not see the picture
	X, Y        Axis
	Names       []string // of one series, or of two that are compared: the first is filled, the second an outline
	Bins        []Bin    // from left to right
	// Mark is a value of x that is of note, MarkName says why. Default: "", none.
	Mark     float64
	MarkName string
}

// SVG draws the chart.
func (h *Histogram) SVG() template.HTML {
	c := newCanvas(h.Title, h.Desc)
	var xs, ys []float64
	for _, b := range h.Bins {
		xs, ys = append(xs, b.Low, b.High), append(ys, b.N...)
	}
	var entries []entry
	if len(h.Names) > 1 {
		entries = append(entries, entry{areaSample("area a"), h.Names[0]}, entry{areaSample("outline b"), h.Names[1]})
	}
	marked := h.MarkName != "" && finite(h.Mark)
	if marked {
		entries = append(entries, entry{lineSample("mark"), h.MarkName})
	}
	f := c.newFrame(h.X, newSpan(xs...), h.Y, upTo(ys), entries)
	for _, b := range h.Bins {
		if len(b.N) == 0 || !finite(b.Low) || !finite(b.High) || !finite(b.N[0]) {
			continue
		}
		x, y, w := f.atX(b.Low), f.atY(b.N[0]), f.atX(b.High)-f.atX(b.Low)
		gap := min(1, w/4)
		hint := h.X.Text(b.Low) + " to " + h.X.Text(b.High) + ": " + h.Y.Text(b.N[0])
		f.rect("area a", x+float64(gap/2), y, max(w-gap, 0.5), f.bottom-y, hint)
	}
	if len(h.Names) > 1 {
		f.outline(h.Bins)
	}
	if marked {
		at := f.atX(h.Mark)
		f.line("mark", at, f.top, at, f.bottom)
	}
	return c.svg()
}

// outline draws the second series as steps.
func (f *frame) outline(bins []Bin) {
	var points []Point
	last := 0.0
	for _, b := range bins {
		if len(b.N) < 2 || !finite(b.Low) || !finite(b.High) || !finite(b.N[1]) {
			continue
		}
		low, high, y := f.atX(b.Low), f.atX(b.High), f.atY(b.N[1])
		if len(points) == 0 || low > last+0.5 { // a gap between bins has no values
			if len(points) > 0 {
				points = append(points, Point{last, f.bottom})
			}
			points = append(points, Point{low, f.bottom})
		}
		points = append(points, Point{low, y}, Point{high, y})
		last = high
	}
	if len(points) > 0 {
		f.path("outline b", append(points, Point{last, f.bottom}))
	}
}
