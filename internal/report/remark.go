package report

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/internal/chart"
	"millrace.dev/model"
	"millrace.dev/profile"
)

// From where on something is worth a remark.
const (
	muchExcluded   = 0.05 // of the rows
	muchImportance = 0.8  // of one input
	muchMissing    = 0.2
	muchLower      = 0.15 // R² of the test part below that of the training part
	fewRows        = 200  // in the test part
	muchBias       = 0.3  // of the mean absolute error of a group
	sureBias       = 3    // standard errors of the mean error
)

// ranked returns the inputs by importance, the largest first.
func (s *Subject) ranked() []model.Input {
	inputs := slices.Clone(s.Bundle.Inputs)
	slices.SortStableFunc(inputs, func(a, b model.Input) int { return cmp.Compare(b.Importance, a.Importance) })
	return inputs
}

// remarks returns what a person should look at before a decision, as rules of thumb find it.
func (s *Subject) remarks() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, chart.OneLine(fmt.Sprintf(format, args...))) }
	m, l := &s.Bundle.Metrics, &s.Bundle.Lineage
	if m.Test.R2 <= 0 {
		say("The model is no better on the test rows than predicting their mean.")
	}
	if m.Train.R2-m.Test.R2 > muchLower {
		say("R² is %s on the training rows and %s on the test rows: the model knows the training rows better than what they have in common.", fraction(m.Train.R2), fraction(m.Test.R2))
	}
	if m.Test.R2-m.Train.R2 > muchLower {
		say("R² is %s on the training rows and %s on the test rows: a few training rows have large errors, which may be wrong labels.", fraction(m.Train.R2), fraction(m.Test.R2))
	}
	if m.Test.Rows < fewRows {
		say("The test part has %d rows: its scores may differ by chance.", m.Test.Rows)
	}
	if r := l.Rows; r.Read > 0 && float64(r.Excluded) > muchExcluded*float64(r.Read) {
		say("%s of the rows were left out: see the reasons.", chart.Percent(float64(r.Excluded)/float64(r.Read)))
	}
	if n := len(s.Bundle.History.Rounds); n > 0 && !s.Bundle.History.Stopped && s.Bundle.History.Best == s.Bundle.History.Rounds[n-1].Trees {
		say("The last tree still improved the validation part: more trees may give a better model.")
	}
	if e := s.Bundle.Evaluation; e != nil {
		if biased := s.biased(e.Groups); len(biased) > 0 {
			say("Predictions that are too high or too low on average: %s.", strings.Join(biased, "; "))
		}
	} else {
		say("The model was made before bundles held where it errs: train it again to see that here.")
	}
	return append(out, s.inputRemarks()...)
}

// biased lists the groups whose mean error is large, and larger than chance makes it. The standard deviation of the errors is that
// of normal errors with the same 10 % and 90 % quantiles.
func (s *Subject) biased(groups []model.ErrorGroup) []string {
	const deviations = 2 * 1.2816 // between the two quantiles
	var out []string
	for i, g := range groups {
		chance := (g.High - g.Low) / deviations / math.Sqrt(float64(g.Rows))
		if size := math.Abs(g.Bias); size > muchBias*g.MAE && size > sureBias*chance {
			out = append(out, fmt.Sprintf("%s by %s", groupRange(groups, i), signed(g.Bias)))
		}
	}
	return out
}

// groupRange says which predictions a group has.
func groupRange(groups []model.ErrorGroup, i int) string {
	switch i {
	case 0:
		return "up to " + chart.Short(groups[0].Upper)
	case len(groups) - 1:
		return "above " + chart.Short(groups[i-1].Upper)
	}
	return "from " + chart.Short(groups[i-1].Upper) + " to " + chart.Short(groups[i].Upper)
}

func (s *Subject) inputRemarks() []string {
	var out, constant, gaps, idle []string
	for _, in := range s.ranked() {
		name := chart.Shorten(chart.OneLine(in.Name), 60)
		if in.Importance > muchImportance {
			out = append(out, fmt.Sprintf("%s alone has %s of the importance: make sure that it is known before the label is.", name, chart.Percent(in.Importance)))
		}
		if in.Importance == 0 {
			idle = append(idle, name)
		}
		c, ok := s.column(in.Name)
		if !ok {
			continue
		}
		if c.Distinct == 1 {
			constant = append(constant, name)
		}
		if c.MissingShare() > muchMissing {
			gaps = append(gaps, name+" ("+chart.Percent(c.MissingShare())+")")
		}
	}
	for _, x := range []struct {
		text  string
		names []string
	}{
		{"Inputs with a single value: ", constant}, {"Inputs that are often missing: ", gaps}, {"Inputs that the model does not use: ", idle},
	} {
		if len(x.names) > 0 {
			out = append(out, x.text+some(x.names)+".")
		}
	}
	return out
}

// some lists a few names.
func some(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// checked is how many inputs get a check.
const checked = 8

// checks returns checks of records for the pipeline file that follow from the profile of the most important fields; "" for none.
func (s *Subject) checks() string {
	var b strings.Builder
	n := 0
	for _, in := range s.ranked() {
		c, ok := s.column(in.Name)
		if !ok || c.Role != profile.Field || n == checked || !identifier(c.Name) {
			continue
		}
		switch {
		case c.Kind == profile.Number && !math.IsNaN(c.Min) && c.Min < c.Max:
			low, high := outward(c.Min, c.Max)
			fmt.Fprintf(&b, "    - {rule: %s between %s and %s, otherwise: warn}\n", c.Name, low, high)
		case c.Kind == profile.Level && len(c.Levels) > 1:
			fmt.Fprintf(&b, "    - {rule: %s in training, otherwise: warn}\n", c.Name)
		default:
			continue
		}
		n++
	}
	if n == 0 {
		return ""
	}
	return "checks:\n  record:\n" + b.String()
}

func identifier(name string) bool {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) && len(name) <= 60
}

// outward writes a range to two digits, such that it has all of low to high.
func outward(low, high float64) (from, to string) {
	if y := digits(low, math.Floor); y <= low && !math.IsInf(y, 0) {
		low = y
	}
	if y := digits(high, math.Ceil); y >= high && !math.IsInf(y, 0) {
		high = y
	}
	return plain(low), plain(high)
}

// digits returns x with two digits, rounded by to; 0 or NaN where there is no such number.
func digits(x float64, to func(float64) float64) float64 {
	if x == 0 {
		return 0
	}
	scale := math.Pow(10, math.Floor(math.Log10(math.Abs(x)))-1)
	y, err := strconv.ParseFloat(strconv.FormatFloat(to(x/scale)*scale, 'g', 12, 64), 64) // without what the product adds
	if err != nil {
		return math.NaN()
	}
	return y
}

// plain writes a number as the pipeline file has it.
func plain(x float64) string {
	if a := math.Abs(x); x == 0 || a >= 1e-4 && a < 1e15 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}
