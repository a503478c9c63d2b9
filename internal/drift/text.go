package drift

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"millrace.dev/profile"
)

// columns is how wide the text of a report is, and mostLines how many windows it lists.
const (
	columns   = 98
	mostLines = 12
)

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	t := &text{}
	t.paragraph("", capital(string(r.Action))+": "+r.Reason)
	t.line("")
	r.head(t)
	r.moves(t)
	if len(r.Back) > 0 {
		t.line("\nWhat had moved")
		for i := range r.Back {
			t.paragraph("  ", oneLine(r.Back[i].Column)+": "+r.Back[i].Words[0]+".")
		}
	}
	t.section("Predictions", r.predictionWords())
	t.section("Labels", r.lossWords())
	t.section("Not computed", r.Lacking)
	r.lines(t)
	_, err := io.WriteString(w, t.String())
	return err
}

// minor tells whether a column is worth a line and no more: what follows from what has moved, or hardly matters.
func (m *Moved) minor() bool {
	small := m.Effect == nil || math.Abs(m.Effect.Share()) < 0.01
	return m.Fault == nil && (len(m.Causes) > 0 || small && m.Reach*m.Affected < 0.005)
}

// moves lists the columns that have moved.
func (r *Report) moves(t *text) {
	var follow, little []*Moved
	title := "\nWhat has moved, what matters most to the model first"
	for i := range r.Moved {
		m := &r.Moved[i]
		switch {
		case len(m.Causes) > 0:
			follow = append(follow, m)
			continue
		case m.minor():
			little = append(little, m)
			continue
		case title != "":
			t.line(title)
			title = ""
		}
		t.paragraph("  ", oneLine(m.Column)+"  ("+m.roleWords()+")")
		for _, s := range m.Words {
			t.paragraph("    ", s)
		}
	}
	for _, group := range []struct {
		title string
		list  []*Moved
	}{{"Computed of what has moved", follow}, {"Moved too, of little weight", little}} {
		var lines []string
		for _, m := range group.list {
			lines = append(lines, oneLine(m.Column)+" ("+m.roleWords()+"): "+m.brief())
		}
		t.section(group.title, lines)
	}
}

// brief says in a line how far a column has moved.
func (m *Moved) brief() string {
	if words := changeWords(&m.Shift); len(words) > 0 {
		return lower(strings.TrimSuffix(words[0], "."))
	}
	return lower(strings.TrimSuffix(affectedWords(&m.Shift)[0], "."))
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// predictionWords says what has become of the predictions.
func (r *Report) predictionWords() []string {
	words := r.predictedWords()
	if r.Together != nil {
		words = append(words, r.effectWords(r.Together, "all that has moved"))
	}
	if len(r.Moved) > 0 {
		words = append(words, capital(percent(float64(r.Exposure)))+" of the model's importance is affected: the sum over its inputs of importance times share of records that differ.")
	}
	return words
}

// head says what was looked at.
func (r *Report) head(t *text) {
	s := &r.Windows
	t.paragraph("", fmt.Sprintf("%s and %s: %s in %s%s", oneLine(r.Model), oneLine(r.Data), count(int(s.Rows), "record"), count(s.Judged+s.Skipped, "window"), span(s.From, s.To))) //nolint:gosec // a number of rows
	text := fmt.Sprintf("%s judged, %d failed", count(s.Judged, "window"), s.Failed)
	if s.Judged == 1 && s.Skipped > 0 {
		text = fmt.Sprintf("1 window judged%s, %d failed", span(r.last.From, r.last.To), s.Failed)
	}
	if s.Warned > 0 {
		text += fmt.Sprintf(", %d with warnings", s.Warned)
	}
	if s.Skipped > 0 {
		text += fmt.Sprintf("; %d had too few records to be judged", s.Skipped)
	}
	if s.Older > 0 {
		text += fmt.Sprintf("; %d older %s left out", s.Older, plural(s.Older, "one is", "ones are"))
	}
	if s.Other > 0 {
		text += fmt.Sprintf("; %d of other models %s left out", s.Other, plural(s.Other, "is", "are"))
	}
	t.paragraph("", text)
	for _, note := range r.Notes {
		t.paragraph("", note)
	}
}

// lines lists the last windows.
func (r *Report) lines(t *text) {
	if len(r.List) < 2 {
		return
	}
	list := r.List[max(0, len(r.List)-mostLines):]
	title := "Windows"
	if len(list) < len(r.List) {
		title = fmt.Sprintf("The last %d windows", len(list))
	}
	labels := false
	for i := range list {
		labels = labels || list[i].Errors != nil
	}
	names := make([]string, len(list))
	width := len("from")
	for i := range list {
		names[i] = strconv.Itoa(len(r.List) - len(list) + i + 1)
		if from := list[i].From; from != nil {
			names[i] = strings.TrimSuffix(when(*from), " UTC")
		}
		width = max(width, len(names[i]))
	}
	t.line("\n" + title)
	head := fmt.Sprintf("  %-*s  %9s  %-7s", width, "from", "records", "result")
	if labels {
		head += fmt.Sprintf("  %7s  %9s  %9s  %9s  %6s", "labels", "RMSE", "MAE", "bias", "R²")
	}
	t.line(head + "  failed")
	for i := range list {
		l := &list[i]
		row := fmt.Sprintf("  %-*s  %9s  %-7s", width, names[i], profile.Figure(float64(l.Rows)), l.Result)
		if labels {
			row += "  " + scoresText(l.Errors)
		}
		room := columns - len([]rune(row)) - 2
		t.line(strings.TrimRight(row+"  "+fitted(l.Failed, room), " "))
	}
}

func scoresText(s *Scores) string {
	if s == nil {
		s = &Scores{RMSE: Number(math.NaN()), MAE: Number(math.NaN()), Bias: Number(math.NaN()), R2: Number(math.NaN())}
	}
	number := func(n Number) string {
		if math.IsNaN(float64(n)) {
			return "-"
		}
		return profile.Figure(float64(n))
	}
	r2 := "-"
	if !math.IsNaN(float64(s.R2)) {
		r2 = fmt.Sprintf("%.3f", float64(s.R2))
	}
	return fmt.Sprintf("%7s  %9s  %9s  %9s  %6s", profile.Figure(float64(s.Rows)), number(s.RMSE), number(s.MAE), number(s.Bias), r2)
}

// fitted writes as many names as there is room for.
func fitted(names []string, room int) string {
	for n := len(names); n > 0; n-- {
		shown := make([]string, n)
		for i := range shown {
			shown[i] = oneLine(names[i])
		}
		s := strings.Join(shown, ", ")
		if more := len(names) - n; more > 0 {
			s += fmt.Sprintf(" +%d", more)
		}
		if len([]rune(s)) <= room || n == 1 {
			return s
		}
	}
	return ""
}

// text is lines that fit.
type text struct{ strings.Builder }

func (t *text) line(s string) {
	t.WriteString(s)
	t.WriteByte('\n')
}

// section writes a title and sentences, if there are any.
func (t *text) section(title string, sentences []string) {
	if len(sentences) == 0 {
		return
	}
	t.line("\n" + title)
	for _, s := range sentences {
		t.paragraph("  ", s)
	}
}

// paragraph writes a sentence, broken into lines that fit; the later ones stand further in.
func (t *text) paragraph(indent, s string) {
	line, empty := indent, true
	for word := range strings.FieldsSeq(strings.ReplaceAll(s, " %", "\x00%")) {
		if !empty && len([]rune(line))+1+len([]rune(word)) > columns {
			t.line(strings.ReplaceAll(line, "\x00", " "))
			line, empty = indent+"  ", true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	t.line(strings.ReplaceAll(line, "\x00", " "))
}
