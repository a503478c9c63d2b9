package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"millrace.dev/internal/chart"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/trial"
	"millrace.dev/profile"
)

// PlanText writes the plan of an experiment for a terminal.
func PlanText(w io.Writer, p *trial.Plan) error {
	var b strings.Builder
	var arms []string
	for i := range p.Arms {
		arms = append(arms, chart.OneLine(p.Arms[i].Name)+" "+chart.Percent(p.Arms[i].Share))
	}
	test := "looks at any time"
	if p.Test == experiment.Fixed {
		test = "one look"
	}
	b.WriteString(wrapped(fmt.Sprintf("%s; %s, error rate %s over %s", strings.Join(arms, ", "), test, chart.Percent(p.Alpha), counted(p.Comparisons, "comparison")), ""))
	b.WriteString(wrapped(fmt.Sprintf("%s: mean loss %s, deviation from key to key %s, correlation with the control's model %s.", lossName(p.Metric), chart.Number(p.Mean), chart.Number(p.Deviation),
		profile.Figure(p.Correlation)), ""))
	b.WriteString(knownText(p))
	fmt.Fprintf(&b, "\nA difference of %s is found with a probability of %s by\n", chart.Percent(p.Effect), chart.Percent(p.Power))
	rows := [][]string{{"  keys with an outcome, in all arms", chart.Grouped(p.Units)}, {"  of them control", chart.Grouped(p.Control)}, {"  and " + shown(p.Arm), chart.Grouped(p.Treatment)}}
	if p.Days > 0 {
		rows = append(rows, []string{"  days until they are there", days(p.Days)})
	}
	b.WriteString(table(rows, 1, 9))
	b.WriteString(wrapped(planNote(p), ""))
	if len(p.Table) > 0 {
		rows := [][]string{{"  after days", "keys with an outcome", "difference that is found"}}
		for _, f := range p.Table {
			rows = append(rows, []string{"  " + days(f.Days), chart.Grouped(f.Units), chart.Percent(f.Effect)})
		}
		b.WriteString("\n" + table(rows, 0, 9))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// planNote says what to do with it.
func planNote(p *trial.Plan) string {
	s := fmt.Sprintf("Set ab.units to %d.", p.Units)
	if p.Test == experiment.Sequential {
		s += fmt.Sprintf(" That is where intervals are the tightest. One look alone, with test: fixed, would need %s keys; looking at any time ends earlier where the difference is larger.", chart.Grouped(p.Fixed))
	} else {
		s += " That is when to look."
	}
	if p.PerDay <= 0 {
		s += " How many days that takes is not known: give the new keys of a day with --rate."
	}
	return s
}

// knownText says where the numbers come from.
func knownText(p *trial.Plan) string {
	if p.PerDay <= 0 && len(p.Known) == 0 {
		return ""
	}
	var b strings.Builder
	if p.PerDay > 0 {
		b.WriteString(wrapped(fmt.Sprintf("%s new keys a day, of which %s get a label.", chart.Number(p.PerDay), chart.Percent(p.LabelShare)), ""))
	}
	from := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(p.Known)) {
		from[p.Known[name]] = append(from[p.Known[name]], name)
	}
	for _, of := range slices.Sorted(maps.Keys(from)) {
		b.WriteString(wrapped(fmt.Sprintf("From %s: %s.", chart.OneLine(of), strings.Join(from[of], ", ")), ""))
	}
	return b.String()
}

func days(x float64) string { return fmt.Sprintf("%.3g", x) }
