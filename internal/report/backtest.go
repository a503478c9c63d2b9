package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/backtest"
	"millrace.dev/internal/chart"
	"millrace.dev/internal/drift"
	"millrace.dev/profile"
)

// textColumns is how wide lines of words are.
const textColumns = 78

// BacktestText writes a backtest for a terminal: a table of the periods for each model, and one for each that is compared with
// the first.
func BacktestText(w io.Writer, r *backtest.Report) error {
	var b strings.Builder
	b.WriteString(wrapped(backtestHead(r), ""))
	for _, n := range backtestNotes(r) {
		b.WriteString(wrapped(n, ""))
	}
	for i := range r.Models {
		b.WriteString("\n" + shown(r.Models[i].Ref) + "\n" + indented(table(resultRows(r, i), 1, 99)))
		if classes := r.Total.Results[i].Classes; len(classes) > 0 {
			b.WriteString(wrapped("Without a prediction: "+classesText(classes)+".", "  "))
		}
	}
	for i := 1; i < len(r.Models); i++ {
		b.WriteString("\n" + shown(r.Models[i].Ref) + " minus " + shown(r.Models[0].Ref) + ", on the same records\n" + indented(table(differenceRows(r, i-1), 1, 99)))
	}
	for _, s := range verdicts(r) {
		b.WriteString(wrapped(s, "  "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// backtestHead says what was read.
func backtestHead(r *backtest.Report) string {
	return fmt.Sprintf("%s in %s of %s, of %s", counted(r.Total.Records, "record"), counted(len(r.Periods), "period"), every(r), chart.OneLine(r.Data))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return chart.Grouped(int64(n)) + " " + what + "s"
}

// every is the size of a period in words.
func every(r *backtest.Report) string {
	if strings.Trim(r.Every, "0123456789") == "" {
		return r.Every + " records"
	}
	return r.Every
}

// backtestNotes are the remarks on all of it.
func backtestNotes(r *backtest.Report) []string {
	var notes []string
	if r.Warmed > 0 {
		notes = append(notes, "The windows have seen "+counted(r.Warmed, "record")+" outside of the range, too.")
	}
	if r.Untimed != nil {
		notes = append(notes, counted(r.Untimed.Records, "record")+" without an event time that could be believed: in the total, and in no period.")
	}
	for i, t := range r.Trained {
		if t {
			notes = append(notes, shown(r.Models[i].Ref)+" was trained with this very data: on the rows that it learned from it errs less than on others.")
		}
	}
	for _, n := range r.Notes {
		notes = append(notes, strings.ToUpper(n[:1])+n[1:]+".")
	}
	for i := range notes {
		notes[i] = chart.OneLine(notes[i])
	}
	return notes
}

// periodRow is a period with its name.
type periodRow struct {
	name string
	of   *backtest.Period
}

// periodRows are all periods with their names, the records without a time, and the total.
func periodRows(r *backtest.Report) []periodRow {
	layout := time.DateOnly
	for i := range r.Periods {
		if from := r.Periods[i].From; from != nil && *from%(24*3600*1000) != 0 {
			layout = "2006-01-02 15:04"
			if *from%60_000 != 0 {
				layout = time.DateTime
				break
			}
		}
	}
	var rows []periodRow
	for i := range r.Periods {
		p := &r.Periods[i]
		name := strconv.Itoa(i + 1)
		if p.From != nil {
			name = time.UnixMilli(*p.From).UTC().Format(layout)
		}
		rows = append(rows, periodRow{name, p})
	}
	if r.Untimed != nil {
		rows = append(rows, periodRow{"no time", r.Untimed})
	}
	return append(rows, periodRow{"total", &r.Total})
}

// periodTitle names the column of the periods.
func periodTitle(r *backtest.Report) string {
	if len(r.Periods) > 0 && r.Periods[0].From != nil {
		return "from"
	}
	return "period"
}

// resultRows is the table of a model.
func resultRows(r *backtest.Report, model int) [][]string {
	rows := [][]string{{periodTitle(r), "records", "dead", "labels", "RMSE", "MAE", "bias", "R²"}}
	for _, p := range periodRows(r) {
		m := &p.of.Results[model]
		s := &m.Scores
		rows = append(rows, []string{p.name, chart.Grouped(int64(p.of.Records)), zero(m.Rejected), share100(m.Coverage), amount(s.RMSE), amount(s.MAE), amount(s.Bias), decimals(s.R2)})
	}
	return rows
}

// differenceRows is the table of a model beside the first one.
func differenceRows(r *backtest.Report, of int) [][]string {
	rows := [][]string{{periodTitle(r), "pairs", "RMSE", "95 % interval", "MAE", "95 % interval"}}
	for _, p := range periodRows(r) {
		d := &p.of.Against[of]
		rows = append(rows, []string{p.name, chart.Grouped(int64(d.Pairs)), amount(d.RMSE.Value), rangeText(&d.RMSE), amount(d.MAE.Value), rangeText(&d.MAE)})
	}
	return rows
}

// verdicts say in words what came of each comparison.
func verdicts(r *backtest.Report) []string {
	var out []string
	for i := range r.Total.Against {
		d := &r.Total.Against[i].RMSE
		name, first := shown(r.Models[i+1].Ref), shown(r.Models[0].Ref)
		switch {
		case math.IsNaN(float64(d.Low)):
			out = append(out, fmt.Sprintf("Too few labels to tell %s from %s.", name, first))
		case !d.Certain():
			out = append(out, fmt.Sprintf("By the RMSE %s and %s cannot be told apart.", name, first))
		case d.High < 0:
			out = append(out, fmt.Sprintf("By the RMSE %s is better than %s.", name, first))
		default:
			out = append(out, fmt.Sprintf("By the RMSE %s is worse than %s.", name, first))
		}
	}
	return out
}

func zero(n int) string {
	if n == 0 {
		return "-"
	}
	return chart.Grouped(int64(n))
}

func known(n drift.Number) bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }

func amount(n drift.Number) string {
	if !known(n) {
		return "-"
	}
	return profile.Figure(float64(n))
}

func decimals(n drift.Number) string {
	if !known(n) {
		return "-"
	}
	return fmt.Sprintf("%.3f", float64(n))
}

func share100(n drift.Number) string {
	if !known(n) {
		return "-"
	}
	return profile.Percent(float64(n))
}

func rangeText(d *backtest.Delta) string {
	if !known(d.Low) || !known(d.High) {
		return "-"
	}
	return amount(d.Low) + " to " + amount(d.High)
}

// classesText writes counts by class.
func classesText(classes map[string]int) string {
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		parts = append(parts, chart.OneLine(class)+" "+chart.Grouped(int64(classes[class])))
	}
	return strings.Join(parts, ", ")
}

// wrapped breaks a sentence into lines; the later ones stand further in.
func wrapped(s, indent string) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(s) {
		if line != indent && len([]rune(line))+1+len([]rune(word)) > textColumns && strings.TrimSpace(line) != "" {
			b.WriteString(line + "\n")
			line = indent + "  "
		} else if strings.TrimSpace(line) != "" {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
	return b.String()
}
