package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/chart"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/shadow"
	"millrace.dev/profile"
)

// ShadowText writes a comparison for a terminal.
func ShadowText(w io.Writer, r *shadow.Report) error {
	var b strings.Builder
	b.WriteString(wrapped(compareHead(r), ""))
	for _, s := range compareVerdicts(r) {
		b.WriteString(wrapped(s, ""))
	}
	part := func(title string, rows [][]string) {
		if len(rows) > 1 {
			b.WriteString("\n" + title + "\n" + indented(table(rows, 1, 99)))
		}
	}
	part("Predictions", sideRows(r))
	part("Differences, "+differenceWords(r), differenceFigures(r))
	part("Agreement", agreementRows(r))
	if len(r.Models) > 1 {
		part("By model of production", modelRows(r))
	}
	part("By labels, "+lossWords(r), labelRows(r))
	part("Tolerance", boundRows(r))
	if len(r.Top) > 0 {
		b.WriteString("\nThe largest differences\n")
		for i := range r.Top {
			b.WriteString(indented(topText(r, &r.Top[i])))
		}
	}
	if len(r.Notes) > 0 {
		b.WriteString("\n")
		for _, n := range compareNotes(r) {
			b.WriteString(wrapped(n, ""))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ShadowLine says in one line how a comparison stands.
func ShadowLine(r *shadow.Report) string {
	s := fmt.Sprintf("%s: mean difference %s, half of them below %s", counted(int(r.Pairs), "pair"), signedAmount(r.Difference.Mean), amount(quantileOf(r.Difference.Sizes, 0.5)))
	if r.Pairs > 0 {
		s += ", " + profile.Percent(float64(r.Agreement.Same)/float64(r.Pairs)) + " the same"
	}
	if l := r.Labels; l != nil && l.Verdict != nil && l.Pairs > 0 {
		s += fmt.Sprintf("; %s with labels: %s", counted(int(l.Pairs), "pair"), strings.ReplaceAll(string(l.Verdict.Verdict), "_", " "))
	}
	return s
}

// compareHead says what was compared.
func compareHead(r *shadow.Report) string {
	s := fmt.Sprintf("%s beside %s: %s of %s", chart.OneLine(r.Candidate.Model), productionModels(r), counted(int(r.Pairs), "pair"), chart.OneLine(r.Source))
	if t := timeRange(r); t != "" {
		s += ", " + t
	}
	return s
}

func productionModels(r *shadow.Report) string {
	var names []string
	for _, m := range r.Models {
		if !slices.Contains(names, m.Model) {
			names = append(names, m.Model)
		}
	}
	if len(names) > 3 {
		return fmt.Sprintf("%d models of production", len(names))
	}
	return chart.OneLine(strings.Join(names, ", "))
}

func timeRange(r *shadow.Report) string {
	if r.From == nil || r.To == nil {
		return ""
	}
	show := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") }
	return show(*r.From) + " to " + show(*r.To) + " UTC"
}

// compareVerdicts say in words what came of it.
func compareVerdicts(r *shadow.Report) []string {
	var out []string
	if r.Pairs > 0 && r.Agreement.Same == r.Pairs {
		out = append(out, "All predictions are the same, bit for bit.")
	}
	if l := r.Labels; l != nil && l.Verdict != nil {
		out = append(out, verdictText(l.Verdict))
	}
	exceeded := 0
	for i := range r.Bounds {
		if r.Bounds[i].Exceeded {
			exceeded++
		}
	}
	switch {
	case len(r.Bounds) > 0 && exceeded == 0:
		out = append(out, "It is within the tolerance.")
	case exceeded > 0:
		out = append(out, fmt.Sprintf("It is beyond the tolerance: %d of %s.", exceeded, counted(len(r.Bounds), "bound")))
	}
	return out
}

func verdictText(j *experiment.Judgement) string {
	begin := map[experiment.Verdict]string{
		experiment.Better: "By the labels it is better: ", experiment.Worse: "By the labels it is worse: ",
		experiment.NoDifference: "By the labels there is no difference that matters: ", experiment.NotYet: "By the labels it cannot be told yet: ",
	}[j.Verdict]
	return begin + chart.OneLine(j.Why) + "."
}

// sideRows is the table of what the topics hold.
func sideRows(r *shadow.Report) [][]string {
	rows := [][]string{{"", "production", "candidate"}}
	add := func(name string, of func(*shadow.Side) string) {
		a, b := of(&r.Production), of(&r.Candidate)
		if a != "-" || b != "-" {
			rows = append(rows, []string{name, a, b})
		}
	}
	n := func(f func(*shadow.Side) int64) func(*shadow.Side) string {
		return func(s *shadow.Side) string { return zero(int(f(s))) }
	}
	add("topic", func(s *shadow.Side) string { return shown(s.Topic) })
	add("predictions read", n(func(s *shadow.Side) int64 { return s.Read }))
	rows = append(rows, []string{"pairs", zero(int(r.Pairs)), zero(int(r.Pairs))})
	add("the other lacks it", n(func(s *shadow.Side) int64 { return s.Alone.Lacking }))
	add("before the other begins", n(func(s *shadow.Side) int64 { return s.Alone.Before }))
	add("behind where the other is", n(func(s *shadow.Side) int64 { return s.Alone.Behind }))
	add("given up", n(func(s *shadow.Side) int64 { return s.Alone.GivenUp }))
	add("came again", n(func(s *shadow.Side) int64 { return s.Again }))
	var classes []string
	for _, s := range []*shadow.Side{&r.Production, &r.Candidate} {
		for class := range s.Letters {
			if !slices.Contains(classes, class) {
				classes = append(classes, class)
			}
		}
	}
	slices.Sort(classes)
	for _, class := range classes {
		add("dead letter "+chart.OneLine(class), n(func(s *shadow.Side) int64 { return s.Letters[class] }))
	}
	if s := r.Scoring; s != nil {
		micros := func(ns float64) string { return fmt.Sprintf("%.2f µs", ns/1000) }
		rows = append(rows, []string{"time for a record, here", micros(s.Production), micros(s.Candidate)})
	}
	late := func(s *shadow.Side) string {
		if s.Latency == nil {
			return "-"
		}
		return fmt.Sprintf("%s, %s", millis(s.Latency.P50), millis(s.Latency.P99))
	}
	add("in its topic after, p50 and p99", late)
	return rows
}

func millis(n drift.Number) string {
	if !known(n) {
		return "-"
	}
	return fmt.Sprintf("%.0f ms", float64(n))
}

func differenceWords(r *shadow.Report) string {
	s := "candidate minus production"
	if r.Unit != "" {
		s += ", in " + chart.OneLine(r.Unit)
	}
	return s
}

// differenceFigures is the table of the differences.
func differenceFigures(r *shadow.Report) [][]string {
	d := &r.Difference
	head, row := []string{"", "mean", "deviation", "least"}, []string{"with sign", signedAmount(d.Mean), amount(d.Deviation), signedAmount(d.Least)}
	for _, q := range d.Quantiles {
		if q.Of == 0.05 || q.Of == 0.5 || q.Of == 0.95 {
			head, row = append(head, fmt.Sprintf("p%g", 100*q.Of)), append(row, signedAmount(q.Value))
		}
	}
	rows := [][]string{append(head, "largest"), append(row, signedAmount(d.Largest))}
	sizes := []string{"size", amount(d.MeanSize), "", "", "", amount(quantileOf(d.Sizes, 0.5)), amount(quantileOf(d.Sizes, 0.95))}
	size := math.Max(math.Abs(float64(d.Least)), math.Abs(float64(d.Largest)))
	return append(rows, append(sizes, amount(drift.Number(size))))
}

func quantileOf(list []shadow.Quantile, p float64) drift.Number {
	for _, q := range list {
		if q.Of == p {
			return q.Value
		}
	}
	return drift.Number(math.NaN())
}

func signedAmount(n drift.Number) string {
	if known(n) && n > 0 {
		return "+" + amount(n)
	}
	return amount(n)
}

// agreementRows is the table of how much alike predictions are.
func agreementRows(r *shadow.Report) [][]string {
	a := &r.Agreement
	share := func(n int64) string {
		if r.Pairs == 0 {
			return "-"
		}
		return profile.Percent(float64(n) / float64(r.Pairs))
	}
	rows := [][]string{{"", "share of the pairs"}, {"the same, bit for bit", share(a.Same)}}
	if a.Beyond > 0 {
		rows = append(rows, []string{"differ by more than " + profile.Figure(a.Beyond), share(a.Different)})
	}
	for _, w := range a.Within {
		rows = append(rows, []string{"within " + profile.Percent(w.Part) + " of production's", share100(w.Share)})
	}
	return append(rows, []string{"correlation", decimals(a.Correlation)}, []string{"rank correlation", decimals(a.Ranks)})
}

func modelRows(r *shadow.Report) [][]string {
	rows := [][]string{{"model", "pairs", "mean difference", "mean size"}}
	for _, m := range r.Models {
		rows = append(rows, []string{shown(m.Model), chart.Grouped(m.Pairs), signedAmount(m.Mean), amount(m.MeanSize)})
	}
	return rows
}

func lossWords(r *shadow.Report) string {
	if r.Labels == nil {
		return ""
	}
	return strings.ReplaceAll(r.Labels.Metric, "_", " ") + " of " + counted(int(r.Labels.Pairs), "pair")
}

// labelRows is the table of the errors.
func labelRows(r *shadow.Report) [][]string {
	l := r.Labels
	if l == nil || l.Pairs == 0 {
		return nil
	}
	rows := [][]string{{"", "production", "candidate", "difference"}}
	for _, m := range []struct {
		name string
		of   [2]drift.Number
	}{{"RMSE", l.RMSE}, {"MAE", l.MAE}, {"mean loss", l.Loss}} {
		rows = append(rows, []string{m.name, amount(m.of[0]), amount(m.of[1]), signedAmount(m.of[1] - m.of[0])})
	}
	return rows
}

// BoundText says what a bound is, and what was found.
func BoundText(b *shadow.Bound) string {
	show := amount
	if b.Percent {
		show = share100
	}
	return fmt.Sprintf("%s: %s, %s at most", chart.OneLine(b.Name), show(b.Value), show(b.Limit))
}

func boundRows(r *shadow.Report) [][]string {
	rows := [][]string{{"", "found", "at most", ""}}
	for i := range r.Bounds {
		b := &r.Bounds[i]
		show, state := amount, "kept"
		if b.Percent {
			show = share100
		}
		switch {
		case b.Exceeded:
			state = "exceeded"
		case !known(b.Value):
			state = "not known"
		}
		rows = append(rows, []string{chart.OneLine(b.Name), show(b.Value), show(b.Limit), state})
	}
	return rows
}

// mostInputs is how many inputs of a difference are shown.
const mostInputs = 5

// topText is one of the largest differences.
func topText(r *shadow.Report, t *shadow.Top) string {
	text := topTitle(r, t) + "\n"
	if rows := inputRows(t); len(rows) > 1 {
		text += indented(table(rows, 2, 99))
	}
	if t.Lacks != "" {
		text += wrapped(strings.ToUpper(t.Lacks[:1])+chart.OneLine(t.Lacks[1:])+".", "  ")
	}
	return text
}

func topTitle(r *shadow.Report, t *shadow.Top) string {
	s := fmt.Sprintf("%s: %s, and %s by %s (%s)", chart.OneLine(t.Source), amount(drift.Number(t.Candidate)), amount(drift.Number(t.Production)), chart.OneLine(t.Model),
		signedAmount(drift.Number(t.Candidate-t.Production)))
	if known(t.Label) {
		s += fmt.Sprintf("; %s is %s", chart.OneLine(r.Label), amount(t.Label))
	}
	return s
}

// inputRows are the inputs that make most of a difference.
func inputRows(t *shadow.Top) [][]string {
	rows := [][]string{{"input", "value", "production", "candidate", "difference"}}
	if t.Expected != nil {
		rows = append(rows, []string{"in the mean", "", amount(drift.Number(t.Expected[0])), amount(drift.Number(t.Expected[1])), signedAmount(drift.Number(t.Expected[1] - t.Expected[0]))})
	}
	var rest [2]drift.Number
	for i := range t.Inputs {
		in := &t.Inputs[i]
		if i < mostInputs {
			rows = append(rows, []string{shown(in.Name), chart.Shorten(chart.OneLine(in.Value), textName), signedAmount(in.Production), signedAmount(in.Candidate), signedAmount(in.Candidate - in.Production)})
			continue
		}
		rest[0], rest[1] = rest[0]+in.Production, rest[1]+in.Candidate
	}
	if n := len(t.Inputs) - mostInputs; n > 0 {
		rows = append(rows, []string{counted(n, "other"), "", signedAmount(rest[0]), signedAmount(rest[1]), signedAmount(rest[1] - rest[0])})
	}
	return rows
}

// compareNotes are the remarks on all of it.
func compareNotes(r *shadow.Report) []string {
	var notes []string
	for _, n := range r.Notes {
		n = chart.OneLine(n)
		notes = append(notes, strings.ToUpper(n[:1])+n[1:]+".")
	}
	return notes
}
