package chart

import (
	"encoding/xml"
	"errors"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
)

// box is where a text is.
type box struct {
	text                     string
	left, right, top, bottom float64
}

// checkPicture wants a well-formed SVG in which every text is in the picture and beside the others, and every number is one.
func checkPicture(t *testing.T, svg template.HTML) []box {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	var texts []box
	var path []string
	var w, h, size float64
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			path = append(path, e.Name.Local)
			a := attributes(t, e)
			switch e.Name.Local {
			case "svg":
				size = a["font-size"]
				v := strings.Fields(attribute(e, "viewBox"))
				w, h = number(t, v[2]), number(t, v[3])
			case "text":
				texts = append(texts, box{left: a["x"], top: a["y"] - 0.94*size, bottom: a["y"] + 0.25*size, text: attribute(e, "text-anchor")})
			case "rect":
				if a["x"] < -0.1 || a["x"]+a["width"] > w+0.1 || a["y"] < -0.1 || a["y"]+a["height"] > h+0.1 {
					t.Errorf("a rectangle leaves the picture of %v × %v: %v", w, h, a)
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if len(path) > 0 && path[len(path)-1] == "text" {
				texts[len(texts)-1].place(string(e), size)
			}
		}
	}
	checkBoxes(t, texts, w, h)
	return texts
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !finite(v) {
		t.Errorf("%q is no number of a picture", s)
	}
	return v
}

// attributes returns the attributes that are numbers.
func attributes(t *testing.T, e xml.StartElement) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, a := range e.Attr {
		switch n := a.Name.Local; n {
		case "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "width", "height", "font-size":
			out[n] = number(t, a.Value)
		case "d":
			for _, s := range strings.FieldsFunc(a.Value, func(r rune) bool { return strings.ContainsRune("ML ", r) }) {
				number(t, s)
			}
		}
	}
	return out
}

// place sets the sides of a box, whose text is its anchor until then.
func (b *box) place(text string, size float64) {
	w := width(text) * size
	switch b.text {
	case middle:
		b.left -= w / 2
	case end:
		b.left -= w
	}
	b.text, b.right = text, b.left+w
}

func checkBoxes(t *testing.T, texts []box, w, h float64) {
	t.Helper()
	for i, b := range texts {
		if b.left < -0.2 || b.right > w+0.2 || b.top < -0.2 || b.bottom > h+0.2 {
			t.Errorf("%q leaves the picture of %v × %v: %+v", b.text, w, h, b)
		}
		for _, o := range texts[:i] {
			if b.left < o.right && o.left < b.right && b.top < o.bottom && o.top < b.bottom {
				t.Errorf("%q and %q overlap: %+v, %+v", b.text, o.text, b, o)
			}
		}
	}
}

// hostileNumbers are sets of values that no chart may stumble over.
func hostileNumbers() map[string][]float64 {
	inf, nan := math.Inf(1), math.NaN()
	return map[string][]float64{
		"none":       {},
		"zero":       {0},
		"one":        {123456.789},
		"equal":      {5, 5, 5},
		"missing":    {nan, nan},
		"infinite":   {-inf, 1, inf},
		"negative":   {-12345678, -3, -0.5},
		"tiny":       {1e-300, 2e-300, 5e-324},
		"huge":       {-1e308, 1e300, math.MaxFloat64},
		"both":       {1e-300, 1, 1e300},
		"near":       {1e9, 1e9 + 1e-6, 1e9 + 2e-6},
		"neighbours": {1, math.Nextafter(1, 2)},
		"prices":     {7800, 250_000, 26_590_000},
		"shares":     {0, 0.00012, 0.5},
		"ordinary":   {1, 2, 3, 4, 5, 6, 7, 8},
		"years":      {1900, 1972, 2014},
		"below zero": {-0.004, 0.001, 0.013},
		"carry":      {9_999_999.9, 10_000_000.1},
	}
}

func hostileNames() []string {
	return []string{
		"sqft_living", "", strings.Repeat("w", 200), strings.Repeat("Wide Name ", 20), "</text><script>alert(1)</script>", "a\x00b\x1b[31m\u202eevil",
		"日本語の長い列名がここに入りますとても長い名前です", "ﷺﷺﷺﷺ", "\xff\xfe not UTF-8", "name with & and \" and '", "e\u0301\u0302\u0303", "🏠🏡🏘",
	}
}

// hostileCharts calls f with every kind of chart for values and a name.
func hostileCharts(values []float64, name string, f func(kind string, svg template.HTML)) {
	var points, more []Point
	var bins []Bin
	var bars []Bar
	var groups []Span
	for i, v := range values {
		points = append(points, Point{v, v})
		more = append(more, Point{float64(i), v})
		bins = append(bins, Bin{v, v + math.Abs(v)/10, []float64{math.Abs(v), float64(i)}})
		bars = append(bars, Bar{name, []float64{v, float64(i)}})
		groups = append(groups, Span{v, v / 2, v, v * 2, v})
	}
	edges := []float64{}
	for _, v := range values {
		if finite(v) && (len(edges) == 0 || v > edges[len(edges)-1]) {
			edges = append(edges, v)
		}
	}
	counts := make([]int, (len(edges)+1)*(len(edges)+1))
	for i := range counts {
		counts[i] = i * i * 1000
	}
	for _, axis := range []Axis{{Title: name}, {Title: name, Time: true}, {Title: name, Percent: true}} {
		f("lines", (&Lines{Title: name, Desc: name, X: axis, Y: axis, Series: []Series{{name, points}}}).SVG())
		f("two lines", (&Lines{Title: name, X: axis, Y: axis, Series: []Series{{name, points}, {name, more}, {"c", points}}, Mark: 3, MarkName: name}).SVG())
		f("histogram", (&Histogram{Title: name, X: axis, Y: axis, Names: []string{name}, Bins: bins}).SVG())
		f("two histograms", (&Histogram{Title: name, X: axis, Y: axis, Names: []string{name, name}, Bins: bins, Mark: 1, MarkName: name}).SVG())
		f("bars", (&Bars{Title: name, Axis: axis, Rows: bars}).SVG())
		f("two bars", (&Bars{Title: name, Axis: axis, Names: []string{name, name}, Rows: bars}).SVG())
		f("grid", (&Grid{Title: name, X: axis, Y: axis, Edges: edges, Counts: counts, Equal: name, Unit: name}).SVG())
		f("spans", (&Spans{Title: name, X: axis, Y: axis, Groups: groups, RangeName: name, MeanName: name}).SVG())
	}
	var estimates []Estimate
	var band []BandPoint
	var stacks []Stack
	for i, v := range values {
		estimates = append(estimates, Estimate{name, v - math.Abs(v)/2, v, v + math.Abs(v), name, i % 3}, Estimate{name, math.Inf(-1), v, math.Inf(1), "", 1})
		band = append(band, BandPoint{float64(i), v / 2, v, v * 2})
		stacks = append(stacks, Stack{name, []float64{v, float64(i), v}})
	}
	for _, axis := range []Axis{{Title: name}, {Title: name, Percent: true}} {
		f("forest", (&Forest{Title: name, Desc: name, Axis: axis, Rows: estimates}).SVG())
		f("band", (&Band{Title: name, X: Axis{Title: name, Time: true}, Y: axis, Points: band, BandName: name, ValueName: name}).SVG())
		f("stacks", (&Stacks{Title: name, X: axis, Y: axis, Names: []string{name, name, name}, Columns: stacks}).SVG())
	}
	f("spark", Spark(values))
	f("two sparks", Spark(values, values))
}

func TestNoTextOverlaps(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine computes, for which the race detector finds nothing and needs ten times as long")
	}
	t.Parallel()
	for set, values := range hostileNumbers() {
		for _, name := range hostileNames() {
			hostileCharts(values, name, func(kind string, svg template.HTML) {
				texts := checkPicture(t, svg)
				if t.Failed() {
					t.Fatalf("%s of %s, named %q: %d texts", kind, set, name, len(texts))
				}
				if s := string(svg); strings.Contains(s, "<script") || strings.ContainsAny(s, "\x00\x1b\u202e") {
					t.Fatalf("%s, named %q, is not escaped: %s", kind, name, svg)
				}
			})
		}
	}
}

// TestLayoutCheckFindsFaults makes sure that checkBoxes can fail.
func TestLayoutCheckFindsFaults(t *testing.T) {
	t.Parallel()
	var found testing.T
	checkBoxes(&found, []box{{"a", 0, 10, 0, 10}, {"b", 9, 20, 9, 20}}, 100, 100)
	if !found.Failed() {
		t.Error("an overlap is not found")
	}
	var outside testing.T
	checkBoxes(&outside, []box{{"a", 95, 105, 0, 10}}, 100, 100)
	if !outside.Failed() {
		t.Error("a text outside is not found")
	}
}
