package chart

import "html/template"

// The size of a sparkline.
const (
	sparkWidth  = 96
	sparkHeight = 22
)

// Spark draws values, 0 or more, as small bars side by side, for a cell of a table. The second series, if there is one, is an
// outline. It says nothing to screen readers: the cells beside it do.
func Spark(values ...[]float64) template.HTML {
	c := &canvas{w: sparkWidth, h: sparkHeight, class: "spark", hidden: true}
	var all []float64
	for _, s := range values {
		all = append(all, s...)
	}
	f := &frame{canvas: c, right: sparkWidth, top: 1, bottom: sparkHeight - 1, y: upTo(all)}
	f.line("axis", 0, f.bottom, f.right, f.bottom)
	for i, s := range values[:min(2, len(values))] {
		f.x = span{0, float64(max(len(s), 1))}
		bins := make([]Bin, 0, len(s))
		for j, v := range s {
			bins = append(bins, Bin{Low: float64(j), High: float64(j + 1), N: []float64{0, v}})
			if i == 0 && finite(v) && v > 0 {
				x0, x1, y := f.atX(float64(j)), f.atX(float64(j+1)), f.atY(v)
				f.rect("area a", x0, min(y, f.bottom-1), x1-x0-min(1, (x1-x0)/4), max(f.bottom-y, 1), "")
			}
		}
		if i == 1 {
			f.outline(bins)
		}
	}
	return c.svg()
}

// Blocks draws values, 0 or more, as a text of n characters at most: one block for each, of eight heights; several in one
// where there are more than n. A value above 0 is never an empty block.
func Blocks(values []float64, n int) string {
	const blocks = "▁▂▃▄▅▆▇█"
	sums := make([]float64, min(n, len(values)))
	for i, v := range values {
		if finite(v) && v > 0 {
			sums[i*len(sums)/len(values)] += v
		}
	}
	most := largest(sums)
	out := make([]rune, len(sums))
	for i, v := range sums {
		out[i] = ' '
		if v > 0 {
			out[i] = []rune(blocks)[min(int(v/most*8), 7)]
		}
	}
	return string(out)
}
