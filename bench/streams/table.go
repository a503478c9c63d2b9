//go:build linux

package main

import (
	"fmt"
	"text/tabwriter"

	"millrace.dev/bench/internal/rig"
)

// column is one figure of a table.
type column struct {
	name, format string
	of           func(s sample) float64
}

func columns() []column {
	return []column{
		{"records/s", "%.0f", func(s sample) float64 { return s.warm.perSecond }},
		{"CPU us/record", "%.2f", func(s sample) float64 { return s.warm.cpu }},
		{"records/s, whole", "%.0f", func(s sample) float64 { return s.whole.perSecond }},
		{"CPU us/record, whole", "%.2f", func(s sample) float64 { return s.whole.cpu }},
		{"max RSS MiB", "%.0f", func(s sample) float64 { return s.resident }},
		{"first output ms", "%.0f", func(s sample) float64 { return float64(s.first.Milliseconds()) }},
		{"outputs", "%.0f", func(s sample) float64 { return float64(s.outputs) }},
	}
}

// print writes the table of a row: medians of the contestants, and of the second one's ratios to the first one in the
// same turn.
func (b *bench) print(r row, all []*contestant) error {
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	put := func(format string, args ...any) { fmt.Fprintf(w, format, args...) } //nolint:errcheck // Flush tells
	put("%s\t", r)
	for _, c := range columns() {
		put("%s\t", c.name)
	}
	for _, who := range all {
		put("\n%s\t", who.name)
		for _, c := range columns() {
			put(c.format+"\t", rig.Median(who.samples, c.of))
		}
	}
	if len(all) == 2 {
		put("\nratio\t")
		for _, c := range columns() {
			ratios := make([]float64, b.counts)
			for i := range ratios {
				ratios[i] = c.of(all[1].samples[i]) / c.of(all[0].samples[i])
			}
			put("%.2f\t", rig.Median(ratios, func(r float64) float64 { return r }))
		}
	}
	put("\n\n")
	return w.Flush()
}
