package chart

import "html/template"

// Bar is a name with a value of each series, 0 or more.
type Bar struct {
	Name   string
	Values []float64
}

// Bars compares values by name, from the top down in their order.
type Bars struct {
	Title, Desc string // for those who do not see the picture
	Axis        Axis   // of the values, which are written as texts of it
	Names       []string
	Rows        []Bar // the caller keeps them few
}

// How wide the parts of a row are.
const (
	nameWidth = 150
	barHeight = 12
)

// SVG draws the chart.
func (b *Bars) SVG() template.HTML {
	c := newCanvas(b.Title, b.Desc)
	classes := []string{"area a", "outline b"}
	var entries []entry
	if len(b.Names) > 1 {
		for i, name := range b.Names[:2] {
			entries = append(entries, entry{areaSample(classes[i]), name})
		}
	}
	y := c.legend(0, entries)
	most, widest := 0.0, 0.0
	for _, r := range b.Rows {
		for _, v := range r.Values {
			if finite(v) {
				most = max(most, v)
			}
			widest = max(widest, textWidth(b.Axis.Text(v)))
		}
	}
	right := c.w - min(widest, 110) - 8
	for _, r := range b.Rows {
		height := float64(max(1, len(r.Values))*(line+1) + 5)
		c.text("ink", start, 0, y+float64(height/2)+4, nameWidth, r.Name)
		for i, v := range r.Values {
			at := y + float64(i*(line+1)) + 3
			if i < len(classes) && most > 0 && v > 0 && finite(v) {
				c.rect(classes[i], nameWidth+8, at+2, max(v/most*(right-nameWidth-8), 0.7), barHeight, "")
			}
			c.text("soft", end, c.w-1, at+12, c.w-right, b.Axis.Text(v))
		}
		y += height
	}
	if len(b.Rows) == 0 {
		c.text("soft", start, 0, y+12, c.w, "no values")
		y += line
	}
	c.h = y + 4
	return c.svg()
}
