package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"millrace.dev/internal/chart"
	"millrace.dev/profile"
)

// The widths of the columns of a text, in characters: together at most 100.
const (
	textName  = 22
	textSpark = 12
)

// ProfileText writes a profile as a table of at most 100 characters a line: for each column its kind, the part of the rows that
// lack it, how many values differ, its range and mean, and its distribution in blocks: of levels and texts the most
// frequent ones. A long name is cut.
func ProfileText(w io.Writer, p *profile.Profile) error {
	rows := [][]string{{"column", "kind", "missing", "distinct", "min", "mean", "max", "distribution"}}
	for i := range p.Columns {
		c := &p.Columns[i]
		row := []string{shown(c.Name), string(c.Kind), chart.Percent(c.MissingShare()), shortDistinct(c), "-", "-", "-", chart.Blocks(spark(c), textSpark)}
		if numeric(c) {
			row[4], row[5], row[6] = axisOf(c).Text(c.Min), axisOf(c).Text(c.Mean), axisOf(c).Text(c.Max)
			for k := 4; k <= 6; k++ {
				row[k], _, _ = strings.Cut(row[k], " ") // of a time, the day
			}
		}
		rows = append(rows, row)
	}
	_, err := io.WriteString(w, table(rows, 2, 7))
	return err
}

// DiffText writes two profiles as a table of at most 100 characters a line: for each column the part of the rows that lack it and the
// mean in a, then in b, and which part of the values lies elsewhere; an asterisk marks columns that [Diff] marks, and notes
// follow below their columns.
func DiffText(w io.Writer, a, b Side, notes map[string][]string) error {
	rows := [][]string{{"column", "kind", "missing", "→", "mean", "→", "elsewhere", ""}}
	var below [][]string
	for _, p := range pairs(a.Profile, b.Profile) {
		c := p.column()
		missing := func(c *profile.Column) string { return chart.Percent(c.MissingShare()) }
		mark := ""
		if len(notes[c.Name]) > 0 || differs(p) {
			mark = "*"
		}
		average := func(c *profile.Column) string { m, _, _ := strings.Cut(mean(c), " "); return m }
		rows = append(rows, []string{
			shown(c.Name), string(c.Kind), side(p.a, missing), side(p.b, missing), side(p.a, average), side(p.b, average), chart.Percent(elsewhere(p)), mark,
		})
		below = append(below, notes[c.Name])
	}
	lines := strings.SplitAfter(table(rows, 2, 7), "\n")
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s rows → %s: %s rows\n\n%s", shown(a.Name), grouped(a.Profile.Rows), shown(b.Name), grouped(b.Profile.Rows), lines[0])
	for i, notes := range below {
		out.WriteString(lines[i+1])
		for _, n := range notes {
			fmt.Fprintf(&out, "    %s\n", chart.OneLine(n))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// shown is a name in as many characters as a table has for it.
func shown(name string) string { return chart.Shorten(chart.OneLine(name), textName) }

func shortDistinct(c *profile.Column) string {
	if c.Distinct == 0 {
		return "-"
	}
	return chart.Short(float64(c.Distinct))
}

// table writes rows in columns with two spaces between: those before left and from right on to the left, the others to the right.
func table(rows [][]string, left, right int) string {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, s := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, s := range r {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
			if i < left || i >= right {
				line.WriteString(s + pad + "  ")
			} else {
				line.WriteString(pad + s + "  ")
			}
		}
		b.WriteString(trimmed(line.String()) + "\n")
	}
	return b.String()
}

// widest returns the largest number of characters of texts.
func widest(texts ...string) int {
	return slices.Max(append(sizes(texts), 0))
}

func sizes(texts []string) []int {
	out := make([]int, len(texts))
	for i, s := range texts {
		out[i] = utf8.RuneCountInString(s)
	}
	return out
}
