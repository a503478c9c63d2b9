package chart

import (
	"html/template"
	"strings"
)

// Stack is a column of parts, from the bottom up.
type Stack struct {
	Name  string
	Parts []float64 // 0 or more
}

// Stacks shows columns of up to three parts side by side: the first part is filled, the second one too, and the third is an outline.
type Stacks struct {
	Title, Desc string // for those who do not see the picture
	X, Y        Axis   // X has a title alone
	Names       []string
	Columns     []Stack
}

// SVG draws the chart.
func (s *Stacks) SVG() template.HTML {
	c := newCanvas(s.Title, s.Desc)
	classes := []string{"area a", "area b", "outline c"}
	var entries []entry
	for i, name := range s.Names[:min(len(s.Names), len(classes))] {
		entries = append(entries, entry{areaSample(classes[i]), name})
	}
	x := Axis{Title: s.X.Title, own: []tick{}}
	var totals []float64
	for i, column := range s.Columns {
		total := 0.0
		for _, v := range column.Parts {
			if finite(v) && v > 0 {
				total += v
			}
		}
		if finite(total) {
			totals = append(totals, total)
		}
		x.own = append(x.own, tick{float64(i) + 0.5, column.Name})
	}
	f := c.newFrame(x, span{0, float64(max(len(s.Columns), 1))}, s.Y, upTo(totals), entries)
	for i, column := range s.Columns {
		f.column(s, i, &column, classes)
	}
	return c.svg()
}

// column draws a column.
func (f *frame) column(s *Stacks, i int, column *Stack, classes []string) {
	left, right := f.atX(float64(i)), f.atX(float64(i+1))
	gap := min(4, (right-left)/5)
	var texts []string
	for k, v := range column.Parts {
		if k < len(s.Names) {
			texts = append(texts, s.Names[k]+" "+s.Y.Text(v))
		}
	}
	hint, from := column.Name+": "+strings.Join(texts, ", "), 0.0
	for k, v := range column.Parts {
		if k >= len(classes) || !finite(v) || v <= 0 || !finite(from+v) {
			continue
		}
		top, bottom := f.atY(from+v), f.atY(from)
		f.rect(classes[k], left+float64(gap/2), top, right-left-gap, max(bottom-top, 0.3), hint)
		from += v
	}
}
