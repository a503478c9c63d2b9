package chart

import "html/template"

// BandPoint is a value at a place, with the interval around it. Ends that are not finite are open: there is no value there.
type BandPoint struct{ X, Low, Value, High float64 }

// Band shows how a value and its interval go on, beside 0.
type Band struct {
	Title, Desc string // for those who do not see the picture
	X, Y        Axis
	Points      []BandPoint // from left to right
	BandName    string
	ValueName   string
}

// SVG draws the chart.
func (b *Band) SVG() template.HTML {
	c := newCanvas(b.Title, b.Desc)
	var kept []BandPoint
	var xs []float64
	for _, p := range b.Points {
		if finite(p.X) && finite(p.Low) && finite(p.Value) && finite(p.High) {
			kept, xs = append(kept, p), append(xs, p.X)
		}
	}
	entries := []entry{{areaSample("band a"), b.BandName}, {lineSample("line a"), b.ValueName}}
	f := c.newFrame(b.X, newSpan(xs...), b.Y, bandSpan(kept), entries)
	if len(kept) > 1 {
		var around, line []Point
		for _, p := range kept {
			around, line = append(around, Point{f.atX(p.X), f.atY(p.High)}), append(line, Point{f.atX(p.X), f.atY(p.Value)})
		}
		for i := range kept {
			p := &kept[len(kept)-1-i]
			around = append(around, Point{f.atX(p.X), f.atY(p.Low)})
		}
		f.path("band a", around)
		f.path("line a", line)
	}
	if len(kept) == 1 {
		p := &kept[0]
		x := f.atX(p.X)
		f.rect("band a", x-3, f.atY(p.High), 6, f.atY(p.Low)-f.atY(p.High), "")
		f.circle("dot a", x, f.atY(p.Value), 3)
	}
	if zero := 0.0; f.y.low <= zero && zero <= f.y.high {
		f.line("mark", f.left, f.atY(zero), f.right, f.atY(zero))
	}
	return c.svg()
}

// bandSpan returns what is shown of y: 0, the last intervals, and of wide ones at the beginning as much as leaves the last ones visible.
func bandSpan(points []BandPoint) span {
	if len(points) == 0 {
		return span{-1, 1}
	}
	const clip = 4
	last := points[len(points)-1]
	width := float64(clip * (float64(last.High/2) - float64(last.Low/2)))
	ys := []float64{0, last.Low, last.High}
	for _, p := range points {
		ys = append(ys, max(p.Low, min(last.Low, last.Low-width)), min(p.High, max(last.High, last.High+width)), p.Value)
	}
	for i, y := range ys {
		if !finite(y) {
			ys[i] = 0
		}
	}
	return newSpan(ys...)
}
