package chart

import (
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Width is the width in pixels that a chart is drawn for.
const Width = 360

// fontSize is that of all texts of a chart, and line the distance of two lines of text.
const (
	fontSize = 12
	line     = 16
)

// Where a text is anchored.
const (
	start  = "start"
	middle = "middle"
	end    = "end"
)

// canvas collects the elements of a picture.
type canvas struct {
	b    strings.Builder
	w, h float64

	plotHeight float64
	class      string
	title      string
	desc       string
	hidden     bool // from screen readers: the text beside it says the same
}

// coordinate writes a coordinate with at most one digit after the point.
func coordinate(x float64) string {
	s := strconv.FormatFloat(math.Round(float64(x*10))/10, 'f', -1, 64)
	if s == "-0" {
		return "0"
	}
	return s
}

// element writes an element of the attributes, which come in pairs, and content that is already escaped.
func (c *canvas) element(name, content string, attributes ...string) {
	c.b.WriteString("<" + name)
	for i := 0; i < len(attributes); i += 2 {
		if attributes[i+1] != "" {
			c.b.WriteString(" " + attributes[i] + `="` + attributes[i+1] + `"`)
		}
	}
	if content == "" {
		c.b.WriteString("/>")
		return
	}
	c.b.WriteString(">" + content + "</" + name + ">")
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	c.element("line", "", "class", class, "x1", coordinate(x1), "y1", coordinate(y1), "x2", coordinate(x2), "y2", coordinate(y2))
}

// rect draws a rectangle; hint is its tool tip, or "".
func (c *canvas) rect(class string, x, y, w, h float64, hint string) {
	if hint != "" {
		hint = "<title>" + escape(hint) + "</title>"
	}
	c.element("rect", hint, "class", class, "x", coordinate(x), "y", coordinate(y), "width", coordinate(max(0, w)), "height", coordinate(max(0, h)))
}

// path draws lines through points.
func (c *canvas) path(class string, points []Point) {
	var d strings.Builder
	for i, p := range points {
		d.WriteString(map[bool]string{true: "M", false: "L"}[i == 0])
		d.WriteString(coordinate(p.X) + " " + coordinate(p.Y))
	}
	c.element("path", "", "class", class, "d", d.String())
}

func (c *canvas) circle(class string, x, y, r float64) {
	c.element("circle", "", "class", class, "cx", coordinate(x), "cy", coordinate(y), "r", coordinate(r))
}

// text writes s with its baseline at y, cut to room pixels. Where it is cut its tool tip has all of it.
func (c *canvas) text(class, anchor string, x, y, room float64, s string) {
	shown := cut(OneLine(s), room/fontSize)
	if shown == "" {
		return
	}
	content := escape(shown)
	if shown != OneLine(s) {
		content += "<title>" + escape(s) + "</title>"
	}
	c.element("text", content, "class", class, "x", coordinate(x), "y", coordinate(y), "text-anchor", map[string]string{middle: middle, end: end}[anchor])
}

// escape makes a text one of XML.
func escape(s string) string { return html.EscapeString(OneLine(s)) }

// svg returns the picture.
func (c *canvas) svg() template.HTML {
	head := canvas{}
	label := ` role="img" aria-label="` + escape(c.title) + `"`
	if c.hidden {
		label = ` aria-hidden="true"`
	}
	if c.title != "" {
		head.element("title", escape(c.title))
	}
	if c.desc != "" {
		head.element("desc", escape(c.desc))
	}
	size := "0 0 " + coordinate(c.w) + " " + coordinate(c.h)
	return template.HTML(`<svg xmlns="http://www.w3.org/2000/svg" class="` + c.class + `" viewBox="` + size + `" font-size="` + strconv.Itoa(fontSize) + `"` + label + ">" +
		head.b.String() + c.b.String() + "</svg>\n")
}

// textWidth estimates how wide a text is in pixels.
func textWidth(s string) float64 { return width(OneLine(s)) * fontSize }
