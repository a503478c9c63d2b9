package chart

import (
	"html/template"
	"math"
)

// Estimate is a value with the interval around it. Ends that are not finite are open.
type Estimate struct {
	Name             string
	Low, Value, High float64
	Text             string // the numbers in words, at the right; "" is none
	Series           int    // 0, 1 or 2: how it is drawn
}

// Forest shows estimates beside 0, from the top down in their order.
type Forest struct {
	Title, Desc string // for those who do not see the picture
	Axis        Axis
	Rows        []Estimate // the caller keeps them few
}

// rowHeight is that of a row of a forest: a line of text, and the interval below it.
const rowHeight = 36

// SVG draws the chart.
func (p *Forest) SVG() template.HTML {
	c := newCanvas(p.Title, p.Desc)
	most := p.reach()
	f := &frame{canvas: c, left: 8, right: c.w - 8, top: 2, bottom: float64(len(p.Rows)*rowHeight) + 6, x: span{-most, most}}
	if len(p.Rows) == 0 {
		c.text("soft", start, 0, 12, c.w, "no values")
		c.h = 20
		return c.svg()
	}
	f.line("axis", f.left, f.bottom, f.right, f.bottom)
	f.xTicks(p.Axis)
	c.text("soft", middle, c.w/2, f.bottom+35, c.w, p.Axis.Title)
	c.h = f.bottom + 41
	for i, r := range p.Rows {
		f.estimate(float64(i*rowHeight), &r)
	}
	return c.svg()
}

// reach returns how far to both sides of 0 the axis goes: as far as the intervals do, but for those that are many times as long as the
// shortest one, which would be a dot.
func (p *Forest) reach() float64 {
	least, most := math.Inf(1), 0.0
	for _, r := range p.Rows {
		far := 0.0
		for _, x := range []float64{r.Low, r.Value, r.High} {
			if finite(x) {
				far = max(far, math.Abs(x))
			}
		}
		if far > 0 {
			least, most = min(least, far), max(most, far)
		}
	}
	const clip = 6
	if most = min(most, clip*least); !finite(most) || most <= 0 || float64(most*1.05) > math.MaxFloat64/4 {
		return max(min(most, math.MaxFloat64/4), 1)
	}
	return float64(most * 1.05)
}

// estimate draws a row.
func (f *frame) estimate(y float64, r *Estimate) {
	room := f.w
	if r.Text != "" {
		room = f.w - min(textWidth(r.Text), f.w*2/3) - 12
		f.text("soft", end, f.w-1, y+14, f.w*2/3, r.Text)
	}
	f.text("ink", start, 0, y+14, room, r.Name)
	class, at, zero := series(r.Series), y+25, f.atX(0)
	f.line("mark", zero, y+18, zero, y+rowHeight-3)
	low, high := f.left, f.right
	openLow, openHigh := !finite(r.Low) || r.Low < f.x.low, !finite(r.High) || r.High > f.x.high
	if !openLow {
		low = f.atX(r.Low)
	}
	if !openHigh {
		high = f.atX(r.High)
	}
	if !finite(r.Value) {
		return
	}
	f.line("line "+class, low, at, high, at)
	f.end(class, low, at, -1, openLow)
	f.end(class, high, at, 1, openHigh)
	if r.Value >= f.x.low && r.Value <= f.x.high {
		f.circle("dot "+class, f.atX(r.Value), at, 4)
	}
}

// end draws the end of an interval: a stop, or an arrow where it goes on.
func (f *frame) end(class string, x, y, to float64, open bool) {
	if open {
		f.path("end "+class, []Point{{x - float64(to*6), y - 4}, {x, y}, {x - float64(to*6), y + 4}})
		return
	}
	f.path("end "+class, []Point{{x, y - 4}, {x, y + 4}})
}
