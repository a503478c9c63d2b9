package chart

import (
	"html/template"
	"math"
)

// Point is a point of a line.
type Point struct{ X, Y float64 }

// Series is a line with its name.
type Series struct {
	Name   string
	Points []Point // from left to right; one with NaN interrupts the line
}

// Lines shows how values depend on one other.
type Lines struct {
	Title, Desc string // for those who do not see the picture
	X, Y        Axis
	Series      []Series // three at most
	// Mark is a value of x that is of note, MarkName says why. Default: "", none.
	Mark     float64
	MarkName string
}

// maxPoints is how many points of a line are drawn: more could not be told apart.
const maxPoints = 400

// SVG draws the chart.
func (l *Lines) SVG() template.HTML {
	c := newCanvas(l.Title, l.Desc)
	var xs, ys []float64
	var entries []entry
	for i, s := range l.Series {
		for _, p := range s.Points {
			if finite(p.X) && finite(p.Y) {
				xs, ys = append(xs, p.X), append(ys, p.Y)
			}
		}
		if len(l.Series) > 1 {
			entries = append(entries, entry{lineSample("line " + series(i)), s.Name})
		}
	}
	if l.Y.Zero {
		ys = append(ys, 0)
	}
	marked := l.MarkName != "" && finite(l.Mark)
	if marked {
		xs = append(xs, l.Mark)
		entries = append(entries, entry{lineSample("mark"), l.MarkName})
	}
	f := c.newFrame(l.X, newSpan(xs...), l.Y, newSpan(ys...), entries)
	if marked {
		at := f.atX(l.Mark)
		f.line("mark", at, f.top, at, f.bottom)
	}
	for i, s := range l.Series {
		f.draw("line "+series(i), s.Points)
	}
	return c.svg()
}

// draw draws a line, with gaps where a value is missing, and a dot for a point between two gaps.
func (f *frame) draw(class string, points []Point) {
	step := max(1, int(math.Ceil(float64(len(points))/maxPoints)))
	var run []Point
	flush := func() {
		if len(run) == 1 {
			f.circle("dot "+class, run[0].X, run[0].Y, 2)
		} else if len(run) > 1 {
			f.path(class, run)
		}
		run = run[:0]
	}
	for i, p := range points {
		switch {
		case !finite(p.X) || !finite(p.Y):
			flush()
		case i%step == 0 || i == len(points)-1:
			run = append(run, Point{f.atX(p.X), f.atY(p.Y)})
		}
	}
	flush()
}
