package cli

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/profile"
)

// mostMoved bounds the rows of inputs and of columns that model diff prints for a person.
const mostMoved = 12

func (c *cli) modelDiff(o *app.ModelsOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff A B", Short: "Put two models side by side: scores, data, parameters, features, inputs",
		Long: `Diff shows what B has otherwise than A: its scores by part of the data, what it was made of, the features that were
added, removed or changed, the inputs whose importance moved, and the columns of the training data that moved. A and B
are versions of the registry, or the files of bundles (.millrace). Of parameters, schema and plan it shows what differs;
--json has all.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(cmd, errors.New("two models are needed: A and B"))
			}
			return atMost(cmd, args, 2)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.File = c.file
			d, err := c.app().Diff(cmd.Context(), *o, args[0], args[1])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(d)
			}
			return c.printModelDiff(d)
		},
	}
	c.jsonFlag(cmd, "all of it")
	return cmd
}

func (c *cli) printModelDiff(d *app.ModelDiff) error {
	var w strings.Builder
	table(&w, [][]string{
		{"", d.A.Ref, d.B.Ref},
		{"state", orDash(string(d.A.State)), orDash(string(d.B.State))},
		{"digest", shortDigest(d.A.Digest), shortDigest(d.B.Digest)},
		{"trees", grouped(int64(d.A.Trees)), grouped(int64(d.B.Trees))},
	})
	if d.Same {
		w.WriteString("\nthey are the same model, byte for byte\n")
		_, err := fmt.Fprint(c.out, w.String())
		return err
	}
	rows := [][]string{{"scores", "", d.A.Ref, d.B.Ref, "difference"}}
	part := ""
	for _, m := range d.Metrics {
		name := m.Part
		if name == part {
			name = ""
		}
		part = m.Part
		rows = append(rows, []string{name, m.Metric, metric(&m, m.A), metric(&m, m.B), difference(&m)})
	}
	section(&w, rows)
	for _, s := range []struct {
		name string
		all  bool
	}{{"data", true}, {"rows", true}, {"split", false}, {"parameters", false}, {"schema", false}, {"plan", false}, {"manifest", false}} {
		factTable(&w, d, s.name, s.all)
	}
	rows = [][]string{{"features", "", d.A.Ref, d.B.Ref}}
	for _, f := range d.Features {
		rows = append(rows, []string{oneLine(f.Name), change(&f), text(f.A), text(f.B)})
	}
	section(&w, rows)
	inputTable(&w, d)
	columnTable(&w, d)
	if len(d.Notes) > 0 {
		w.WriteString("\n")
	}
	for _, n := range d.Notes {
		w.WriteString("note: " + oneLine(n) + "\n")
	}
	_, err := fmt.Fprint(c.out, w.String())
	return err
}

// factTable shows a section of the facts: all of them, or those that differ.
func factTable(w *strings.Builder, d *app.ModelDiff, name string, all bool) {
	rows := [][]string{{name, d.A.Ref, d.B.Ref, ""}}
	for _, f := range d.Facts {
		mark := ""
		if !f.Same() {
			mark = change(&f)
		}
		if f.Section == name && (all || mark != "") {
			rows = append(rows, []string{oneLine(f.Name), text(f.A), text(f.B), mark})
		}
	}
	section(w, rows)
}

func inputTable(w *strings.Builder, d *app.ModelDiff) {
	rows := [][]string{{"importance", d.A.Ref, d.B.Ref, "difference"}}
	share := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return fmt.Sprintf("%.1f%%", 100**x)
	}
	for _, in := range d.Inputs {
		if len(rows) > mostMoved {
			break
		}
		rows = append(rows, []string{oneLine(in.Name), share(in.A), share(in.B), fmt.Sprintf("%+.1f points", 100*in.Difference)})
	}
	section(w, rows)
	if n := len(d.Inputs) - mostMoved; n > 0 {
		fmt.Fprintf(w, "  and %s that moved less\n", count(n, "input"))
	}
}

func columnTable(w *strings.Builder, d *app.ModelDiff) {
	if len(d.Columns) == 0 {
		return
	}
	rows := [][]string{{"training data", "moved", ""}}
	for _, m := range d.Columns {
		if len(rows) > mostMoved || m.Severity == profile.OK && len(rows) > 3 {
			break
		}
		words := ""
		if m.Severity != profile.OK {
			words = strings.Join(m.Words, "; ")
		}
		rows = append(rows, []string{shownColumn(m.Column), distanceText(m.Distance), oneLine(words)})
	}
	section(w, rows)
	if n := d.MovedColumns(); n == 0 {
		w.WriteString("  no column moved further than chance explains\n")
	}
}

// change says how a fact differs.
func change(f *app.ModelFact) string {
	switch {
	case f.A == nil:
		return "added"
	case f.B == nil:
		return "removed"
	default:
		return "changed"
	}
}

// metric shows a score.
func metric(m *app.ModelMetric, x *float64) string {
	switch {
	case x == nil:
		return "-"
	case m.Metric == "rows":
		return grouped(int64(*x))
	case m.Metric == "r2":
		return fmt.Sprintf("%.4f", *x)
	default:
		return number(*x)
	}
}

// difference shows what b has more than a, errors also in percent.
func difference(m *app.ModelMetric) string {
	if m.Difference == nil {
		return "-"
	}
	d := *m.Difference
	size := math.Abs(d)
	s := "+" + metric(m, &size)
	if d < 0 {
		s = "-" + s[1:]
	}
	if d == 0 {
		return "0"
	}
	if (m.Metric == "rmse" || m.Metric == "mae") && *m.A > 0 {
		s += fmt.Sprintf(" (%+.1f%%)", 100*d / *m.A)
	}
	return s
}

func text(s *string) string {
	if s == nil {
		return "-"
	}
	if strings.HasPrefix(*s, "sha256:") {
		return oneLine(shortDigest(*s))
	}
	return orDash(oneLine(*s))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// shortDigest returns the beginning of a digest.
func shortDigest(s string) string { return s[:min(len(s), len("sha256:")+12)] }

// section writes a table with a head, if it has more than that.
func section(w *strings.Builder, rows [][]string) {
	if len(rows) > 1 {
		w.WriteByte('\n')
		table(w, rows)
	}
}

// table writes rows in columns of equal width. The last cell of a row ends where it ends.
func table(w *strings.Builder, rows [][]string) {
	const widest = 60 // a cell that is longer pushes the others away
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if n := utf8.RuneCountInString(cell); n <= widest {
				widths[i] = max(widths[i], n)
			}
		}
	}
	for _, row := range rows {
		var line strings.Builder
		line.WriteString(" ")
		for i, cell := range row {
			fmt.Fprintf(&line, " %-*s ", widths[i], cell)
		}
		w.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}
