package chart

// plotHeight is the height of the area of most charts in which values are drawn.
const plotHeight = 176

// frame is the area with its axes.
type frame struct {
	*canvas

	left, right, top, bottom float64
	x, y                     span
}

// sample shows in a legend how something is drawn.
type sample func(c *canvas, x, y float64)

// entry is a line of a legend.
type entry struct {
	draw sample
	name string
}

// sampleWidth is the width of a sample with the space behind it.
const sampleWidth = 28

func lineSample(class string) sample {
	return func(c *canvas, x, y float64) { c.line(class, x, y, x+22, y) }
}

func areaSample(class string) sample {
	return func(c *canvas, x, y float64) { c.rect(class, x, y-5, 22, 10, "") }
}

// legend draws entries side by side, in as many rows as it takes, and returns the y below them.
func (c *canvas) legend(y float64, entries []entry) float64 {
	x := 0.0
	for _, e := range entries {
		w := sampleWidth + min(textWidth(e.name), c.w-sampleWidth)
		if x > 0 && x+w > c.w {
			x, y = 0, y+line
		}
		e.draw(c, x+1, y+8)
		c.text("ink", start, x+sampleWidth, y+12, c.w-x-sampleWidth, e.name)
		x += w + 16
	}
	if len(entries) > 0 {
		y += line + 4
	}
	return y
}

// newFrame draws a legend, the axes and their ticks, and sets the height of the canvas. It widens ys to whole steps.
func (c *canvas) newFrame(x Axis, xs span, y Axis, ys span, entries []entry) *frame {
	ys, yTicks := y.round(ys, 4)
	top := c.legend(0, entries)
	c.text("soft", start, 0, top+12, c.w, y.Title)
	f := &frame{canvas: c, right: c.w - 6, top: top + 28, x: xs, y: ys}
	f.bottom = f.top + c.plotHeight
	if len(yTicks) == 0 {
		yTicks = []tick{{ys.low, y.Text(ys.low)}, {ys.high, y.Text(ys.high)}}
	}
	widest := 0.0
	for _, t := range yTicks {
		widest = max(widest, textWidth(t.text))
	}
	f.left = min(widest, 140) + 10
	for _, t := range yTicks {
		at := f.atY(t.at)
		f.line("rule", f.left, at, f.right, at)
		f.text("soft", end, f.left-6, at+4, f.left-6, t.text)
	}
	f.line("axis", f.left, f.bottom, f.right, f.bottom)
	f.xTicks(x)
	c.text("soft", middle, (f.left+f.right)/2, f.bottom+35, f.right-f.left, x.Title)
	c.h = f.bottom + 41
	return f
}

// label is the text of a tick, from left to right.
type label struct {
	tick

	center, width float64
}

// xTicks draws as many ticks as there is room for.
func (f *frame) xTicks(x Axis) {
	if x.own != nil && len(x.own) == 0 {
		return
	}
	for n := max(6, len(x.own)); n > 0; n-- {
		if labels, ok := f.place(x.ticks(f.x, n)); ok {
			f.drawTicks(labels)
			return
		}
	}
	ends := []tick{{f.x.low, x.Text(f.x.low)}, {f.x.high, x.Text(f.x.high)}}
	labels, ok := f.place(ends)
	if !ok {
		labels, _ = f.place(ends[:1])
	}
	f.drawTicks(labels)
}

func (f *frame) drawTicks(labels []label) {
	for _, l := range labels {
		at := f.atX(l.at)
		f.line("axis", at, f.bottom, at, f.bottom+4)
		f.text("soft", middle, l.center, f.bottom+19, f.w, l.text)
	}
}

// place moves the texts of ticks into the picture, and tells whether they have room beside one another.
func (f *frame) place(ticks []tick) ([]label, bool) {
	labels := make([]label, len(ticks))
	free := 0.0
	for i, t := range ticks {
		w := textWidth(t.text)
		l := label{t, f.atX(t.at), w}
		half := float64(w / 2)
		l.center = max(half, min(l.center, f.w-half))
		if l.center-half < free || w > f.w {
			return nil, false
		}
		free = l.center + half + 10
		labels[i] = l
	}
	return labels, len(labels) > 0
}

// atX and atY return where a value lies in the picture.
func (f *frame) atX(v float64) float64 {
	return f.left + float64(min(max(f.x.share(v), 0), 1)*(f.right-f.left))
}

func (f *frame) atY(v float64) float64 {
	return f.bottom - float64(min(max(f.y.share(v), 0), 1)*(f.bottom-f.top))
}

// newCanvas returns the canvas of a chart.
func newCanvas(title, desc string) *canvas {
	return &canvas{w: Width, plotHeight: plotHeight, class: "chart", title: title, desc: desc}
}

// series returns the class of the i-th series, which has a colour and a form of its own.
func series(i int) string { return []string{"a", "b", "c"}[i%3] }

// upTo returns a span from 0 to at least the largest of values.
func upTo(values []float64) span {
	s := span{0, largest(values)}
	if s.share(s.high) != 1 { // smaller than what halves can tell
		s.high = 1
	}
	return s
}

// largest returns the largest finite value above 0; 1 if there is none.
func largest(values []float64) float64 {
	most := 0.0
	for _, v := range values {
		if finite(v) {
			most = max(most, v)
		}
	}
	if most == 0 {
		return 1
	}
	return most
}
