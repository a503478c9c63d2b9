package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"millrace.dev/internal/chart"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/trial"
)

// trialView is the body of a page about an experiment.
type trialView struct {
	Title, State, Class string
	Advice              string
	Warnings            []string
	Head                []fact
	Forests             []figure
	Differences         [][]string
	DifferencesNote     string
	Arms                [][]string
	History             []figure
	Checks              []string
	Days, Times         []figure
	Audit               [][]string
}

// Trial writes a page about an experiment: what to do, how the arms differ and how that was found over the days, and whether they can be
// compared.
func Trial(w io.Writer, r *trial.Report) error {
	v := trialView{
		Title: "Experiment " + chart.OneLine(r.Experiment), Advice: upper(chart.OneLine(r.Advice.Words)) + ".", Checks: checkWords(r), Arms: armRows(r),
		Head: trialFacts(r), Forests: forests(r), History: historyFigures(r), Days: dayFigures(r), Times: timeFigures(r), Audit: auditRows(r),
	}
	v.State, v.Class = stateOf(r)
	for _, x := range r.Warnings {
		v.Warnings = append(v.Warnings, upper(chart.OneLine(x.Words))+".")
	}
	if len(r.Comparisons) > 0 {
		v.Differences, v.DifferencesNote = differenceTable(r), differenceNote(r)
	}
	return write(w, v.Title, "trial", v)
}

// stateOf is the verdict in a word, and how it looks.
func stateOf(r *trial.Report) (state, class string) {
	switch r.Advice.Action {
	case trial.Promote:
		return "better", "approved"
	case trial.Distrust:
		return "do not trust", "rejected"
	case trial.Remove:
		return "worse", "rejected"
	case trial.Stop:
		return "stop", "candidate"
	case trial.Look:
		return "decide", "candidate"
	default:
		return "not yet", "candidate"
	}
}

func trialFacts(r *trial.Report) []fact {
	since, test := "", fmt.Sprintf("Welch's, for one look at %s keys", chart.Grouped(r.Planned))
	if r.Since != nil {
		since = r.Since.UTC().Format(minuteLayout) + " UTC"
	}
	if !r.Running {
		since += " (does not run)"
	}
	if r.Test == experiment.Sequential {
		test = "confidence sequence, for looks at any time"
	}
	correction := map[string]string{"holm": "Holm", "benjamini_hochberg": "Benjamini and Hochberg"}[r.Correction]
	if correction == "" {
		correction = "none"
	}
	margin := ""
	if r.Margin > 0 {
		margin = chart.Percent(r.Margin)
	}
	return facts("pipeline", r.Pipeline, "group", r.Group, "predictions in", r.Topic, "since", strings.TrimSpace(since), "judged as of", r.At.UTC().Format(minuteLayout)+" UTC", "test", test,
		"chance of a wrong verdict", chart.Percent(r.Alpha), "correction", correction, "counts as alike", margin)
}

// seriesOf is how a verdict is drawn.
func seriesOf(c *trial.Comparison) int {
	switch c.Verdict {
	case experiment.Better:
		return 2
	case experiment.Worse:
		return 1
	default:
		return 0
	}
}

// mostRows is how many rows a chart shows.
const mostRows = 24

// forests show the differences of all arms, a figure for each metric.
func forests(r *trial.Report) []figure {
	var out []figure
	for _, metric := range r.Metrics {
		f := &chart.Forest{
			Title: lossName(metric) + ", beside the control", Desc: "The relative difference of each arm, with its interval.",
			Axis: chart.Axis{Title: "relative difference of the " + lossName(metric), Percent: true},
		}
		for i := range r.Comparisons {
			c := &r.Comparisons[i]
			if c.Metric != metric || len(f.Rows) == mostRows {
				continue
			}
			d := c.Shown()
			f.Rows = append(f.Rows, chart.Estimate{Name: c.Arm + ": " + stateText(c), Low: d.Low, Value: d.Value, High: d.High, Text: relativeText(d.Value) + between(d), Series: seriesOf(c)})
		}
		out = append(out, figure{Title: f.Title, Chart: f.SVG(), Note: "Left of 0 the arm errs less than the control."})
	}
	return out
}

// between writes the ends of an interval in brackets.
func between(i experiment.Interval) string {
	span := spanText(i)
	if span == "-" {
		return ""
	}
	return " (" + span + ")"
}

func differenceTable(r *trial.Report) [][]string {
	rows := [][]string{{"metric and arm", "keys", "control", "arm's", "difference", "interval", "relative", "interval", "p, adjusted", "saved", "verdict"}}
	for i := range r.Comparisons {
		c := &r.Comparisons[i]
		name := strings.ReplaceAll(c.Metric, "_", " ")
		absolute := "-"
		if c.Difference.Bounded() {
			absolute = chart.Short(c.Difference.Low) + " to " + chart.Short(c.Difference.High)
		}
		saved := "-"
		if c.Adjusted {
			saved = chart.Percent(max(0, c.Saved))
		}
		rows = append(rows, []string{
			shown(name) + ", " + shown(c.Arm), chart.Grouped(c.Control.Units) + " and " + chart.Grouped(c.Treatment.Units), chart.Short(c.Control.Mean), chart.Short(c.Treatment.Mean),
			chart.Short(c.Difference.Value), absolute, relativeText(c.Relative.Value), spanText(c.Relative), pText(c.AdjustedP, c.Enough), saved, stateText(c),
		})
		if c.RMSE != nil {
			rows = append(rows, []string{
				"RMSE, " + shown(c.Arm), "", meanText(c.Metric, c.Control), meanText(c.Metric, c.Treatment), "", "", relativeText(c.RMSE.Value), spanText(*c.RMSE), "", "", "",
			})
		}
	}
	return rows
}

func differenceNote(r *trial.Report) string {
	s := "Means of losses per record, smaller being better; differences are the arm's minus the control's. "
	if r.Test == experiment.Sequential {
		s += fmt.Sprintf("The intervals of %.4g%% hold at all looks together", 100*(1-r.Level))
	} else {
		s += fmt.Sprintf("The intervals of %.4g%% hold for one look, at %s keys", 100*(1-r.Level), chart.Grouped(r.Planned))
	}
	if r.Correction == "holm" && len(r.Comparisons) > 1 {
		s += " and for all comparisons together"
	}
	return s + ". Differences are adjusted for what the control's model makes of the same records (CUPED), and so need not be those of the means; saved is the share of the variance that this takes away."
}

// mostHistories is how many figures show how comparisons went.
const mostHistories = 8

// historyFigures show how the intervals went over the days.
func historyFigures(r *trial.Report) []figure {
	var out []figure
	for i := range r.Comparisons {
		c := &r.Comparisons[i]
		if len(out) == mostHistories {
			break
		}
		b := &chart.Band{
			Title: lossName(c.Metric) + " of " + chart.OneLine(c.Arm), Desc: "The relative difference with the keys first seen up to the end of each day.",
			X: chart.Axis{Title: "day", Time: true}, Y: chart.Axis{Title: "relative difference", Percent: true}, BandName: intervalName(r), ValueName: "difference",
		}
		for k := range r.History {
			p := &r.History[k]
			if p.Metric == c.Metric && p.Arm == c.Arm {
				b.Points = append(b.Points, chart.BandPoint{X: daySeconds(p.Day), Low: p.Difference.Low, Value: p.Difference.Value, High: p.Difference.High})
			}
		}
		if len(b.Points) > 1 {
			out = append(out, figure{Title: b.Title, Chart: b.SVG()})
		}
	}
	return out
}

func daySeconds(day string) float64 {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return math.NaN()
	}
	return float64(at.Unix())
}

// mostDays is how many days are shown as columns.
const mostDays = 60

// dayFigures show what has come of the predictions of each day, by arm.
func dayFigures(r *trial.Report) []figure {
	days := r.Days[max(0, len(r.Days)-mostDays):]
	if len(days) == 0 {
		return nil
	}
	var out []figure
	for i := range r.Arms[:min(len(r.Arms), mostHistories)] {
		s := &chart.Stacks{
			Title: "Predictions of " + chart.OneLine(r.Arms[i].Name), Desc: "By day: those with a label, those without one for good, and those that wait.",
			X: chart.Axis{Title: "day"}, Y: chart.Axis{Title: "predictions", Whole: true}, Names: []string{"with a label", "expired", "waiting"},
		}
		for k := range days {
			d := days[k].Arms[i]
			s.Columns = append(s.Columns, chart.Stack{Name: strings.TrimPrefix(days[k].Day, days[0].Day[:5]), Parts: []float64{float64(d.Resolved), float64(d.Expired), float64(d.Pending())}})
		}
		out = append(out, figure{Title: s.Title, Chart: s.SVG()})
	}
	if len(days) < len(r.Days) {
		out[len(out)-1].Note = fmt.Sprintf("The last %d of %d days.", len(days), len(r.Days))
	}
	return out
}

// timeFigures show how long labels take, and how long models do.
func timeFigures(r *trial.Report) []figure {
	var out []figure
	b := &chart.Bars{Title: "How long labels take", Desc: "The share of the labels of each arm by how long after the prediction they came.", Axis: chart.Axis{Percent: true}}
	arms := r.Arms[:min(2, len(r.Arms))]
	for i := range arms {
		b.Names = append(b.Names, arms[i].Name)
	}
	low, high := taken(r, len(arms))
	for k := low; k < high; k++ {
		name := "later"
		if k < len(r.DelayBounds) {
			name = "up to " + delayText(r.DelayBounds[k])
		}
		bar := chart.Bar{Name: name}
		for i := range arms {
			bar.Values = append(bar.Values, float64(arms[i].Delays[k])/float64(max(1, arms[i].Resolved)))
		}
		b.Rows = append(b.Rows, bar)
	}
	if low < high {
		f := figure{Title: b.Title, Chart: b.SVG()}
		if len(r.Arms) > 2 {
			f.Note = "Of the first two arms."
		}
		out = append(out, f)
	}
	if len(r.Scoring) == 0 {
		return out
	}
	s := &chart.Forest{
		Title: "Scoring time beside the control's model", Desc: "How much longer the model of each arm takes for the same records.",
		Axis: chart.Axis{Title: "difference of the time", Percent: true},
	}
	for i := range r.Scoring {
		x := &r.Scoring[i]
		s.Rows = append(s.Rows, chart.Estimate{Name: x.Arm, Low: x.Ratio.Low, Value: x.Ratio.Value, High: x.Ratio.High, Text: relativeText(x.Ratio.Value) + between(x.Ratio)})
	}
	return append(out, figure{Title: s.Title, Chart: s.SVG(), Note: "Measured on the same records of the same batches, since the instances started. Left of 0 the arm is faster."})
}

// taken returns which delay buckets have labels of the first arms, but for empty ones at both ends.
func taken(r *trial.Report, arms int) (low, high int) {
	low = len(r.DelayBounds) + 1
	for i := range arms {
		for k, n := range r.Arms[i].Delays {
			if n > 0 {
				low, high = min(low, k), max(high, k+1)
			}
		}
	}
	return low, high
}

// delayText writes a bound of delays.
func delayText(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d >= 24*time.Hour:
		return counted(int(d/(24*time.Hour)), "day")
	case d >= time.Hour:
		return counted(int(d/time.Hour), "hour")
	default:
		return counted(int(d/time.Minute), "minute")
	}
}

func auditRows(r *trial.Report) [][]string {
	if len(r.Audit) == 0 {
		return nil
	}
	rows := [][]string{{"time, UTC", "who", "what", "why"}}
	for i := range r.Audit {
		e := &r.Audit[i]
		rows = append(rows, []string{e.At.UTC().Format(minuteLayout), shown(e.Actor), chart.OneLine(e.Words), chart.OneLine(e.Reason)})
	}
	return rows
}
