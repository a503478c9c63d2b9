//go:build linux

package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
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

// writeSVG draws the samples, a chart for each column, in two columns. The mark is the end of the warm-up.
func writeSVG(path string, samples []sample, warm time.Duration) error {
	const width, height, across = chart.Width, 290, 2
	var b bytes.Buffer
	all := columns()
	down := (len(all) + across - 1) / across
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d"><title>Soak</title><style>%s</style><rect width="100%%" height="100%%" fill="var(--paper)"/>`,
		across*width, down*height, across*width, chart.Style())
	for i, c := range all {
		line := chart.Lines{
			Title: c.title, Desc: c.title + " over time", X: chart.Axis{Title: "minutes"}, Y: chart.Axis{Title: c.title},
			Series: []chart.Series{{Name: c.title}}, Mark: warm.Minutes(), MarkName: "end of the warm-up",
		}
		for k := range samples {
			line.Series[0].Points = append(line.Series[0].Points, chart.Point{X: samples[k].at / 60, Y: c.of(&samples[k])})
		}
		fmt.Fprintf(&b, `<svg x="%d" y="%d" width="%d" height="%d">%s</svg>`, i%across*width, i/across*height, width, height-20, line.SVG())
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// judge prints a line for each column, and tells whether all of them that have to be are flat.
func judge(out io.Writer, samples []sample, warm time.Duration) (ok bool, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	put := func(format string, args ...any) { fmt.Fprintf(w, format, args...) } //nolint:errcheck // Flush tells
	put("\tmedian\tmean\tslope an hour\twithin\tgrowth\tallowed\t\t\n")
	ok = true
	for _, c := range columns() {
		var series []point
		for i := range samples {
			if v := c.of(&samples[i]); samples[i].at >= warm.Seconds() && !math.IsNaN(v) {
				series = append(series, point{samples[i].at, v})
			}
		}
		t := trendOf(series, c.least)
		says := string(t.verdict)
		if !c.judged {
			says = "not judged"
		} else if t.verdict != flat {
			ok = false
		}
		put("%s\t%.1f\t%.1f\t%+.2f\t±%.2f\t%+.2f\t%.2f\t%s\t\n", c.title, middle(series), t.mean, t.slope*3600, t.margin*3600, t.growth(), t.allowed, says)
	}
	return ok, w.Flush()
}
