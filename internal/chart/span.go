package chart

import "html/template"

// Span is a group of rows with the lower, middle and upper value of something, and its mean.
type Span struct {
	Upper             float64 // of X: the group's largest value
	Low, Median, High float64
	Mean              float64
}

// Spans shows the spread of a value group by group, from left to right, beside 0.
type Spans struct {
	Title, Desc string // for those who do not see the picture
	X, Y        Axis
	Groups      []Span
	RangeName   string // what reaches from Low to High
	MeanName    string
}

// SVG draws the chart.
func (s *Spans) SVG() template.HTML {
	c := newCanvas(s.Title, s.Desc)
	ys := []float64{0}
	for _, g := range s.Groups {
		ys = append(ys, g.Low, g.Median, g.High, g.Mean)
	}
	entries := []entry{
		{areaSample("area a"), s.RangeName},
		{func(c *canvas, x, y float64) { c.circle("dot b", x+11, y, 3.5) }, s.MeanName},
	}
	x := Axis{Title: s.X.Title, own: []tick{}}
	for i, g := range s.Groups {
		x.own = append(x.own, tick{float64(i + 1), s.X.Text(g.Upper)})
	}
	f := c.newFrame(x, span{0, float64(max(len(s.Groups), 1))}, s.Y, newSpan(ys...), entries)
	return f.spans(s)
}

// spans draws the groups into a frame.
func (f *frame) spans(s *Spans) template.HTML {
	zero := f.atY(0)
	f.line("mark", f.left, zero, f.right, zero)
	for i, g := range s.Groups {
		x0, x1 := f.atX(float64(i)), f.atX(float64(i+1))
		gap := (x1 - x0) / 5
		if finite(g.Low) && finite(g.High) {
			hint := "up to " + s.X.Text(g.Upper) + ": " + s.Y.Text(g.Low) + " to " + s.Y.Text(g.High) + ", mean " + s.Y.Text(g.Mean)
			f.rect("area a", x0+gap, f.atY(g.High), x1-x0-2*gap, max(f.atY(g.Low)-f.atY(g.High), 1), hint)
		}
		if finite(g.Mean) {
			f.circle("dot b", (x0+x1)/2, f.atY(g.Mean), 3.5)
		}
	}
	return f.svg()
}
