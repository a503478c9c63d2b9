//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"html"
	"html/template"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"millrace.dev/internal/chart"
)

// writeCSV writes all samples.
func writeCSV(path string, samples []sample) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	row := []string{"seconds"}
	for _, c := range columns() {
		row = append(row, c.name)
	}
	if err := w.Write(row); err != nil {
		return err
	}
	for i := range samples {
		row = append(row[:0], strconv.FormatFloat(samples[i].at, 'f', 1, 64))
		for _, c := range columns() {
			text := ""
			if v := c.of(&samples[i]); !math.IsNaN(v) {
				text = strconv.FormatFloat(v, 'f', 2, 64)
			}
			row = append(row, text)
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// The layout of the picture: charts in two columns, each with a title above and a caption below it.
const (
	across      = 2
	chartWidth  = chart.Width
	chartHeight = 265
	panelWidth  = chartWidth + 40
	panelHeight = 24 + chartHeight + 76
	edge        = 24
	head        = 150
)

// writeSVG draws the samples, a chart for each column. The mark is the end of the warm-up; the line from there is the fitted one.
func (s *soak) writeSVG(path string, samples []sample) error {
	all := columns()
	width, height := 2*edge+across*panelWidth-40, head+(len(all)+across-1)/across*panelHeight
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d"><title>Soak</title><style>%s
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; } .h1 { font-size: 20px; font-weight: 600; } .h2 { font-size: 15px; font-weight: 600; } .p { font-size: 12px; }
</style><rect width="100%%" height="100%%" fill="var(--paper)"/>`, width, height, width, chart.Style())
	text := func(class string, x, y int, what string) {
		fmt.Fprintf(&b, `<text class=%q x="%d" y="%d">%s</text>`, class, x, y, html.EscapeString(what))
	}
	text("ink h1", edge, 36, fmt.Sprintf("%g minutes under %d records a second", s.minutes, s.rate))
	for i, line := range []string{
		fmt.Sprintf("Rows of windows, and those with a TTL, are kept for %g minutes. After a warm-up of %g minutes", s.retention.Minutes(), s.warm.Minutes()),
		"a line is fitted to each series. The series is flat if its line falls; if it rises by no more than is allowed,",
		"which is 5 % of the mean or a fixed little; or if its rise cannot be told from none, with 99 % confidence.",
		"In each case the upper end of the interval (±) has to be below four times what is allowed.",
	} {
		text("soft p", edge, 62+18*i, line)
	}
	for i := range all {
		c, x, y := &all[i], edge+i%across*panelWidth, head+i/across*panelHeight
		t := trendOf(c.points(samples, s.warm), c.least)
		text("ink h2", x, y+14, c.title)
		fmt.Fprintf(&b, `<svg x="%d" y="%d" width="%d" height="%d">%s</svg>`, x, y+24, chartWidth, chartHeight, c.draw(samples, s.warm, t))
		for k, caption := range c.captions(t) {
			text("soft p", x, y+24+chartHeight+14+16*k, caption)
		}
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// draw returns the chart of a column.
func (c *column) draw(samples []sample, warm time.Duration, t trend) template.HTML {
	y := c.unit
	if y == "" {
		y = "count"
	}
	line := chart.Lines{
		Title: c.title, Desc: c.label() + " over time", X: chart.Axis{Title: "minutes since the start"}, Y: chart.Axis{Title: y, Zero: true},
		Series: []chart.Series{{Name: "measured"}}, Mark: warm.Minutes(), MarkName: "end of the warm-up",
	}
	for i := range samples {
		line.Series[0].Points = append(line.Series[0].Points, chart.Point{X: samples[i].at / 60, Y: c.of(&samples[i])})
	}
	if t.middle > 0 {
		to := t.from + t.duration
		line.Series = append(line.Series, chart.Series{Name: "fitted", Points: []chart.Point{{X: t.from / 60, Y: t.at(t.from)}, {X: to / 60, Y: t.at(to)}}})
	}
	return line.SVG()
}

// captions says in a few lines what the series does.
func (c *column) captions(t trend) []string {
	if t.middle == 0 {
		return []string{"Too few samples after the warm-up to tell."}
	}
	says := strings.ToUpper(string(t.verdict[:1])) + string(t.verdict[1:])
	limit := fmt.Sprintf("Up to +%s is flat.", short(t.allowed))
	if c.free != "" {
		says, limit = "Not judged", "The reason: "+c.free+"."
	}
	sign := "+"
	if t.growth() < 0 {
		sign = "−"
	}
	return []string{
		fmt.Sprintf("%s: %s %s on average.", says, short(t.mean), cmp.Or(c.unit, "of them")),
		fmt.Sprintf("%s%s (±%s) in the last %.1f minutes.", sign, short(math.Abs(t.growth())), short(t.margin*t.duration), t.duration/60), limit,
	}
}

// short writes a value of at least 0 with as many digits as a caption needs.
func short(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// judge prints a line for each column, and tells whether all of them that have to be are flat.
func judge(out io.Writer, samples []sample, warm time.Duration) (ok bool, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	put := func(format string, args ...any) { fmt.Fprintf(w, format, args...) } //nolint:errcheck // Flush tells
	put("\tmedian\tmean\tslope an hour\twithin\tgrowth\tallowed\t\t\n")
	ok = true
	for _, c := range columns() {
		series := c.points(samples, warm)
		t := trendOf(series, c.least)
		says := string(t.verdict)
		if c.free != "" {
			says = "not judged"
		} else if t.verdict != flat {
			ok = false
		}
		put("%s\t%.1f\t%.1f\t%+.2f\t±%.2f\t%+.2f\t%.2f\t%s\t\n", c.label(), middle(series), t.mean, t.slope*3600, t.margin*3600, t.growth(), t.allowed, says)
	}
	return ok, w.Flush()
}
