package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"millrace.dev/internal/chart"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/trial"
	"millrace.dev/profile"
)

// TrialText writes for a terminal how an experiment stands: what to do, the arms, the comparisons, the checks, and what must be known.
func TrialText(w io.Writer, r *trial.Report) error {
	var b strings.Builder
	b.WriteString(wrapped(trialHead(r), ""))
	b.WriteString("\n" + wrapped(upper(chart.OneLine(r.Advice.Words))+".", "") + "\n")
	b.WriteString(indented(table(armRows(r), 2, 99)))
	if len(r.Comparisons) > 0 {
		b.WriteString("\n" + wrapped(comparisonHead(r), "") + indented(table(comparisonRows(r), 2, 7)))
	}
	if checks := checkWords(r); len(checks) > 0 {
		b.WriteString("\nChecks\n")
		for _, s := range checks {
			b.WriteString(wrapped(s, "  "))
		}
	}
	if len(r.Warnings) > 0 {
		b.WriteString("\nTo be known\n")
		for _, x := range r.Warnings {
			b.WriteString(wrapped("- "+chart.OneLine(x.Words), "  "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const minuteLayout = "2006-01-02 15:04"

// trialHead says which experiment it is.
func trialHead(r *trial.Report) string {
	head := chart.OneLine(r.Experiment) + " in " + chart.OneLine(r.Group)
	switch {
	case !r.Running:
		head += ", which does not run"
	case r.Since != nil:
		head += ", since " + r.Since.UTC().Format(minuteLayout) + " UTC"
	}
	return head + "; judged as of " + r.At.UTC().Format(minuteLayout) + " UTC"
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// armRows is the table of the arms.
func armRows(r *trial.Report) [][]string {
	rows := [][]string{{"arm", "model", "share", "predictions", "keys", "labels", "expired", "waiting", "refused"}}
	for i := range r.Arms {
		a := &r.Arms[i]
		refused := "-"
		if a.Served > 0 {
			refused = chart.Percent(float64(a.Refused) / float64(a.Served))
		}
		rows = append(rows, []string{
			shown(a.Name), shown(a.Model), chart.Percent(a.Share), chart.Grouped(a.Predictions), chart.Grouped(a.Units), chart.Grouped(a.Resolved), chart.Grouped(a.Expired),
			chart.Grouped(a.Pending), refused,
		})
	}
	return rows
}

// intervalName is what an interval of the report is called.
func intervalName(r *trial.Report) string {
	name := fmt.Sprintf("%.4g%% interval", 100*(1-r.Level))
	if r.Test == experiment.Sequential {
		name += ", at any time"
	}
	return name
}

// comparisonHead says how arms are compared.
func comparisonHead(r *trial.Report) string {
	how := "for one look, at " + chart.Grouped(r.Planned) + " keys"
	if r.Test == experiment.Sequential {
		how = "at any time"
	}
	s := fmt.Sprintf("Losses beside the control's; intervals of %.4g%% that hold %s", 100*(1-r.Level), how)
	if n := len(r.Comparisons); n > 1 && r.Correction != "none" {
		s += fmt.Sprintf("; p adjusted for %d comparisons", n)
	}
	if slices.ContainsFunc(r.Comparisons, func(c trial.Comparison) bool { return c.Adjusted }) {
		s += "; differences are without what the control's model errs by on the records of either arm, and so need not be those of the means"
	}
	return s
}

// lossText writes a mean loss in the unit that people think in.
func lossText(metric string, mean float64) string {
	if trial.Rooted(metric) {
		mean = math.Sqrt(mean)
	}
	return profile.Figure(mean)
}

// lossName is what a metric is called in tables.
func lossName(metric string) string {
	if trial.Rooted(metric) {
		return "RMSE"
	}
	return chart.Shorten(chart.OneLine(strings.ReplaceAll(metric, "_", " ")), textName)
}

// comparisonRows is the table of the comparisons.
func comparisonRows(r *trial.Report) [][]string {
	rows := [][]string{{"metric", "arm", "control", "arm's", "difference", "interval", "p", "verdict"}}
	for i := range r.Comparisons {
		c := &r.Comparisons[i]
		d := c.Shown()
		rows = append(rows, []string{
			lossName(c.Metric), shown(c.Arm), meanText(c.Metric, c.Control), meanText(c.Metric, c.Treatment), relativeText(d.Value), spanText(d), pText(c.AdjustedP, c.Enough),
			stateText(c),
		})
	}
	return rows
}

func meanText(metric string, a experiment.Arm) string {
	if a.Units == 0 {
		return "-"
	}
	return lossText(metric, a.Mean)
}

func relativeText(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case math.IsInf(x, 0):
		return "any"
	default:
		return fmt.Sprintf("%+.3g%%", 100*x)
	}
}

// spanText is the interval of a relative difference, whose ends may be open.
func spanText(i experiment.Interval) string {
	low, high := !trial.OpenBelow(i), !math.IsInf(i.High, 0)
	switch {
	case low && high:
		return relativeText(i.Low) + " to " + relativeText(i.High)
	case high:
		return "up to " + relativeText(i.High)
	case low:
		return "from " + relativeText(i.Low)
	default:
		return "-"
	}
}

func pText(p float64, known bool) string {
	switch {
	case !known:
		return "-"
	case p < 1e-4:
		return "<0.0001"
	default:
		return fmt.Sprintf("%.2g", p)
	}
}

// pWords is a p-value in a sentence.
func pWords(p float64) string {
	if p < 1e-4 {
		return "p < 0.0001"
	}
	return "p = " + pText(p, true)
}

// listed joins words: a, b and c.
func listed(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// stateText is a verdict in a word or two.
func stateText(c *trial.Comparison) string {
	switch c.Verdict {
	case experiment.Better, experiment.Worse:
		return string(c.Verdict)
	case experiment.NoDifference:
		return "no difference"
	default:
		if !c.Enough {
			return "too few"
		}
		return "not yet"
	}
}

// checkWords say what the checks have found, each in a sentence.
func checkWords(r *trial.Report) []string {
	var out []string
	if s := ratioWords(r); s != "" {
		out = append(out, s)
	}
	for _, x := range []struct {
		of string
		a  *trial.Arrivals
	}{{"mature days", r.Mature}, {"days that are not mature", r.Recent}} {
		if x.a != nil {
			out = append(out, fmt.Sprintf("Labels on %s: they have come for %s (%s): %s.", x.of, sharesText(r, x.a), pWords(x.a.AnytimeP), equal(x.a.Unequal, "alike in the arms", "not alike")))
		}
	}
	for i := range r.Alike {
		a := &r.Alike[i]
		if a.Enough {
			out = append(out, fmt.Sprintf("Baseline: on the records of %s the %s of the control's model is %s beside its own (%s): %s.", chart.OneLine(a.Arm), lossName(a.Metric),
				relativeText(shownRelative(a)), pWords(a.P), equal(a.Differ, "the records are alike", "the records are not alike")))
		}
	}
	for i := range r.Arms {
		if a := &r.Arms[i]; a.Instead > 0 {
			out = append(out, fmt.Sprintf("Refused: %s predictions of %s are the control's, as its own model has refused the records; they count for the arm.", chart.Grouped(a.Instead), chart.OneLine(a.Name)))
		}
	}
	out = append(out, maturityWords(r)...)
	for i := range r.Comparisons {
		if c := &r.Comparisons[i]; c.Metric == r.Metrics[0] && c.Adjusted && c.Enough {
			out = append(out, fmt.Sprintf("Variance: what the control's model makes of the records of %s saves %s of it.", chart.OneLine(c.Arm), chart.Percent(max(0, c.Saved))))
		}
	}
	return append(append(out, scoringWords(r)...), areaWords(r)...)
}

// shownRelative is the difference of baselines, of the squared error that of the RMSE.
func shownRelative(a *trial.Alike) float64 {
	if trial.Rooted(a.Metric) {
		return experiment.RootRatio(a.Relative).Value
	}
	return a.Relative.Value
}

func equal(differ bool, good, bad string) string {
	if differ {
		return bad
	}
	return good
}

func ratioWords(r *trial.Report) string {
	x := r.Ratio
	switch {
	case x == nil:
		return ""
	case !x.Tested:
		return "Sample ratio: " + chart.OneLine(strings.TrimPrefix(x.Why, "not tested: ")) + ": not tested."
	default:
		var counts, expected []string
		for i, n := range x.Counts {
			counts, expected = append(counts, chart.Grouped(n)), append(expected, chart.Grouped(int64(math.Round(x.Expected[i]))))
		}
		return fmt.Sprintf("Sample ratio: %s keys, expected %s (%s at any time; chi-square %.3g, %s), %s: %s.", listed(counts), listed(expected),
			pWords(x.AnytimeP), x.ChiSquare, pWords(x.P), chart.OneLine(x.Why), equal(x.Broken, "as the shares say", "broken"))
	}
}

func sharesText(r *trial.Report, a *trial.Arrivals) string {
	var parts []string
	for i := range r.Arms {
		parts = append(parts, chart.Percent(a.Share(i))+" of "+chart.OneLine(r.Arms[i].Name))
	}
	return listed(parts)
}

func maturityWords(r *trial.Report) []string {
	if len(r.Days) == 0 {
		return nil
	}
	mature := 0
	var due, unresolved, all, waiting int64
	for i := range r.Days {
		n := r.Days[i].Total()
		all, waiting = all+n.Predictions, waiting+n.Pending()
		if r.Days[i].Mature {
			mature++
			due, unresolved = due+n.Predictions, unresolved+n.Predictions-n.Resolved
		}
	}
	s := fmt.Sprintf("Maturity: %s; %s of all predictions wait", trial.Maturity(mature, len(r.Days)), chart.Percent(float64(waiting)/float64(max(1, all))))
	if due > 0 {
		s += fmt.Sprintf(", and %s of those of mature days have no label", chart.Percent(float64(unresolved)/float64(due)))
	}
	return []string{s + "."}
}

func scoringWords(r *trial.Report) (out []string) {
	for i := range r.Scoring {
		s := &r.Scoring[i]
		span := spanText(s.Ratio)
		if span == "-" {
			span = "too few, or too uneven, to say more"
		}
		out = append(out, fmt.Sprintf("Scoring time: the model of %s takes %s a record, %s beside the control's on the same records (%s), over %s of records.", chart.OneLine(s.Arm),
			shortTime(s.Seconds), relativeText(s.Ratio.Value), span, counted(int(s.Batches), "group")))
	}
	return out
}

// shortTime writes seconds with three digits.
func shortTime(seconds float64) string {
	switch {
	case seconds < 1e-3:
		return fmt.Sprintf("%.3g µs", seconds*1e6)
	case seconds < 1:
		return fmt.Sprintf("%.3g ms", seconds*1e3)
	default:
		return fmt.Sprintf("%.3g s", seconds)
	}
}

func areaWords(r *trial.Report) (out []string) {
	for i := range r.AUC {
		a := &r.AUC[i]
		if a.Area == nil {
			out = append(out, fmt.Sprintf("AUC: %s has too few labels of a class.", chart.OneLine(a.Arm)))
			continue
		}
		s := fmt.Sprintf("AUC: %s has %.4f", chart.OneLine(a.Arm), *a.Area)
		if d := a.Control; d != nil {
			s += fmt.Sprintf("; %+.4f beside the control (%+.4f to %+.4f, for one look)", d.Value, d.Low, d.High)
		}
		out = append(out, s+".")
	}
	return out
}
