package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"millrace.dev/internal/chart"
)

// ModelText writes the essentials of a model for a terminal: what it is worth, where it errs, what to look at, what it was
// made of, and its profile. Lines of tables have at most about 100 characters.
func ModelText(w io.Writer, s *Subject) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", trimmed(fmt.Sprintf("%s  %s  %s", chart.OneLine(s.Ref), s.State, strings.Join(s.Aliases, ", "))))
	var head strings.Builder
	list(&head, s.head())
	b.WriteString(indented(head.String()))
	b.WriteString("\n")
	for _, t := range s.tiles() {
		fmt.Fprintf(&b, "  %s\n", trimmed(fmt.Sprintf("%s: %s  %s", t.Name, t.Number, noted(t.Note))))
	}
	section(&b, "Scores", table(s.scores(), 1, 6))
	if q := s.quantiles(); q != nil {
		section(&b, "Errors of the test rows", table(q, 1, len(q[0])))
	}
	if g := s.groups(); g != nil {
		section(&b, "Errors by size of the prediction; an error is the prediction minus the label", table(g, 0, 6))
	}
	var gates strings.Builder
	for i := range s.Gates {
		fmt.Fprintf(&gates, "- %s\n", s.Gates[i].text())
	}
	section(&b, "Gates of the training", gates.String())
	var look strings.Builder
	for _, line := range s.remarks() {
		fmt.Fprintf(&look, "- %s\n", line)
	}
	section(&b, "Worth a look", look.String())
	var data strings.Builder
	list(&data, s.data())
	for _, r := range s.Bundle.Lineage.Rows.Reasons {
		fmt.Fprintf(&data, "%8s left out: %s\n", chart.Grouped(int64(r.Rows)), chart.OneLine(r.Reason))
	}
	section(&b, "Data", data.String())
	section(&b, "Inputs by importance", table(s.importanceTable(), 1, 2))
	if p := s.Bundle.Profile; p != nil {
		var t strings.Builder
		if err := ProfileText(&t, p); err != nil {
			return err
		}
		section(&b, "Profile of the rows that took part", t.String())
	}
	section(&b, "Checks that suggest themselves", s.checks())
	_, err := io.WriteString(w, b.String())
	return err
}

func noted(note string) string {
	if note == "" {
		return ""
	}
	return "(" + note + ")"
}

func section(b *strings.Builder, title, text string) {
	if text != "" {
		fmt.Fprintf(b, "\n%s\n%s", title, indented(text))
	}
}

// indented puts two spaces before each line.
func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}

func list(b *strings.Builder, facts []fact) {
	var names []string
	for _, f := range facts {
		names = append(names, f.Name)
	}
	w := widest(names...)
	for _, f := range facts {
		fmt.Fprintf(b, "%-*s  %s\n", w, f.Name, f.Value)
	}
}

// importanceTable returns the inputs with a part of what the model has learned, the largest first.
func (s *Subject) importanceTable() [][]string {
	rows := [][]string{{"input", "share", ""}}
	const most = 15
	inputs := s.ranked()
	for i, in := range inputs {
		if i == most {
			rows = append(rows, []string{fmt.Sprintf("and %d more", len(inputs)-most), "", ""})
			break
		}
		bar := strings.Repeat("█", int(math.Round(in.Importance*30)))
		rows = append(rows, []string{chart.Shorten(chart.OneLine(in.Name), 40), chart.Percent(in.Importance), bar})
	}
	return rows
}
