package drift

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/profile"
)

// movedWords says in sentences what there is to say of a column.
func (r *Report) movedWords(m *Moved) []string {
	words := append(r.sinceWords(m.Since), changeWords(&m.Shift)...)
	words = append(words, affectedWords(&m.Shift)...)
	if m.Severity == profile.Warn {
		words = append(words, "This is beyond the threshold of a warning, and not of a failure.")
	}
	switch {
	case m.Fault != nil:
		what := "Looks broken, not changed"
		if m.Fault.Kind == FaultUnseen {
			what = "Broken, or new"
		}
		words = append(words, fmt.Sprintf("%s: %s. %s.", what, m.Fault.Words, capital(m.Fault.Hint)))
	case m.Calendar:
		words = append(words, fmt.Sprintf("It is computed of %s alone: it moves with the calendar.", list(m.ComputedOf, 4)))
	case m.Role == profile.Feature && len(m.Reads) > 0:
		words = append(words, fmt.Sprintf("It reads %s; of the fields that it is computed of none has moved.", list(m.Reads, 4)))
	case m.Role == profile.Feature && len(m.ComputedOf) > 1:
		words = append(words, fmt.Sprintf("None of %s, of which it is computed, has moved by itself: what goes with what has changed.", list(m.ComputedOf, 4)))
	}
	if e := m.Effect; e != nil {
		words = append(words, r.effectWords(e, "its values"))
	}
	return words
}

// roleWords says what a column is to the model.
func (m *Moved) roleWords() string {
	what := "field"
	if m.Role == profile.Feature {
		what = "feature"
		if len(m.ComputedOf) > 0 {
			what += " of " + list(m.ComputedOf, 3)
		}
	}
	switch {
	case m.Reach == 0:
		return what + ", which the model does not use"
	case m.Role == profile.Feature || len(m.Feeds) == 0:
		return fmt.Sprintf("%s, %s of the model's importance", what, profile.Percent(float64(m.Importance)))
	case m.Importance == 0:
		return fmt.Sprintf("%s, feeds %s: %s of the model's importance", what, list(m.Feeds, 3), profile.Percent(float64(m.Reach)))
	}
	return fmt.Sprintf("%s, %s of the model's importance; feeds %s: with %s %s", what, profile.Percent(float64(m.Importance)), list(m.Feeds, 3),
		plural(len(m.Feeds), "it", "them"), profile.Percent(float64(m.Reach)))
}

// sinceWords says since when a column fails; of a single window there is nothing to say.
func (r *Report) sinceWords(s *Since) []string {
	n := len(r.judged)
	if n == 1 {
		return nil
	}
	at := fmt.Sprintf("window %d", s.Window)
	if s.From != nil {
		at = when(*s.From)
	}
	var text string
	switch s.Windows {
	case n:
		return []string{fmt.Sprintf("In all %d windows that were judged, since %s or earlier.", n, at)}
	case 1:
		text = fmt.Sprintf("Since %s, in the last of %d windows", at, n)
	default:
		text = fmt.Sprintf("Since %s, in the last %d of %d windows", at, s.Windows, n)
	}
	if more := s.Failed - s.Windows; more > 0 {
		text += fmt.Sprintf(", and in %d before", more)
	}
	return []string{text + "."}
}

func backWords(m *Moved) string {
	s := m.Since
	at := fmt.Sprintf("from window %d, in %d windows in a row", s.Window, s.Windows)
	if s.From != nil && s.To != nil {
		at = fmt.Sprintf("from %s to %s, in %d windows", when(*s.From), when(*s.To), s.Windows)
	}
	return at + "; it is as in training again"
}

// changeWords says how far values have moved.
func changeWords(s *Shift) []string {
	var words []string
	switch s.Kind {
	case profile.Number, profile.Time:
		value := profile.Figure
		if s.Kind == profile.Time {
			value = func(x float64) string { return when(int64(x) * 1000) }
		}
		if math.IsNaN(float64(s.After.Mean)) {
			break
		}
		text := "The median "
		switch s.Side {
		case -1:
			text += fmt.Sprintf("went from %s to below %s", value(float64(s.Before.Median)), value(float64(s.Before.Min)))
		case 1:
			text += fmt.Sprintf("went from %s to above %s", value(float64(s.Before.Median)), value(float64(s.Before.Max)))
		default:
			text += fromTo(value, float64(s.Before.Median), float64(s.After.Median), s.Kind)
		}
		text += ", the mean " + fromTo(value, float64(s.Before.Mean), float64(s.After.Mean), s.Kind) + "."
		words = append(words, text)
		if same(s.Before.Median, s.After.Median) && same(s.Before.Mean, s.After.Mean) && !same(s.Before.Deviation, s.After.Deviation) {
			words = append(words, "The standard deviation "+fromTo(value, float64(s.Before.Deviation), float64(s.After.Deviation), profile.Number)+".")
		}
	case profile.Level:
		var parts []string
		for _, l := range s.Levels[:min(len(s.Levels), 3)] {
			parts = append(parts, fmt.Sprintf("%s went from %s to %s", quoted(l.Level), profile.Percent(float64(l.Before)), profile.Percent(float64(l.After))))
		}
		if len(parts) > 0 {
			words = append(words, "The share of "+strings.Join(parts, ", of ")+".")
		}
	default:
	}
	if s.Before.Missing != s.After.Missing && math.Abs(float64(s.Before.Missing-s.After.Missing)) >= 0.001 {
		words = append(words, fmt.Sprintf("The share of missing values went from %s to %s.", profile.Percent(float64(s.Before.Missing)), profile.Percent(float64(s.After.Missing))))
	}
	return words
}

func same(a, b Number) bool { return math.Abs(float64(a-b)) <= 0.02*math.Abs(float64(a)) }

func fromTo(value func(float64) string, before, after float64, kind profile.Kind) string {
	b, a := value(before), value(after)
	if a == b {
		return "stayed at " + a
	}
	text := fmt.Sprintf("went from %s to %s", b, a)
	if kind == profile.Number && before != 0 && before > 0 == (after > 0) {
		text += " (" + change(after/before) + ")"
	}
	return text
}

// change writes a ratio as a change.
func change(ratio float64) string {
	switch {
	case ratio >= 10:
		return "times " + profile.Figure(ratio)
	case ratio > 0 && ratio < 0.05:
		return "divided by " + profile.Figure(1/ratio)
	}
	x := 100 * (ratio - 1)
	if math.Abs(x) < 0.05 {
		return "±0 %"
	}
	sign := ""
	if x > 0 {
		sign = "+"
	}
	decimals := 0
	if math.Abs(x) < 10 {
		decimals = 1
	}
	return sign + strings.TrimSuffix(strconv.FormatFloat(x, 'f', decimals, 64), ".0") + " %"
}

// affectedWords says how many records differ.
func affectedWords(s *Shift) []string {
	text := fmt.Sprintf("About %s of the records differ from training", percent(float64(s.Affected)))
	if s.Affected < 0.005 {
		text = "Fewer than 0.5 % of the records differ from training beyond chance"
	}
	var parts []string
	if s.Below > 0 {
		parts = append(parts, fmt.Sprintf("%s are below its smallest value, %s", percent(float64(s.Below)), profile.Figure(float64(s.Before.Min))))
	}
	if s.Above > 0 {
		parts = append(parts, fmt.Sprintf("%s are above its largest, %s", percent(float64(s.Above)), profile.Figure(float64(s.Before.Max))))
	}
	if s.Unseen > 0 {
		parts = append(parts, percent(float64(s.Unseen))+" have a text that it did not have")
	}
	if len(parts) > 0 {
		text += "; " + strings.Join(parts, ", ")
	}
	return []string{text + "."}
}

// percent writes a share for people, with two digits.
func percent(share float64) string {
	switch {
	case share > 0 && share < 0.001:
		return "less than 0.1 %"
	case share >= 0.1:
		return profile.Percent(math.Round(100*share) / 100)
	default:
		return profile.Percent(math.Round(1000*share) / 1000)
	}
}

// effectWords says what predictions would be without the move.
func (r *Report) effectWords(e *Effect, what string) string {
	restored, mean := float64(e.Restored), float64(e.Mean)
	if math.Abs(mean-restored) <= 2*float64(e.Error) || math.Abs(e.Share()) < 0.0005 {
		return fmt.Sprintf("With %s as in training, the mean prediction would be the same within chance (%s); %s of the predictions would change by more than 1 %%.",
			what, r.amount(mean), percent(float64(e.Changed)))
	}
	return fmt.Sprintf("With %s as in training, the mean prediction would be %s instead of %s: the move makes %s; %s of the predictions would change by more than 1 %%.",
		what, r.amount(restored), r.amount(mean), change(mean/restored), percent(float64(e.Changed)))
}

// amount writes a number in the label's unit.
func (r *Report) amount(x float64) string {
	if r.Unit == "" {
		return profile.Figure(x)
	}
	return profile.Figure(x) + " " + r.Unit
}

// predictedWords says how the predictions have moved.
func (r *Report) predictedWords() []string {
	p := r.Predicted
	if p == nil {
		return nil
	}
	if p.Severity == profile.OK {
		return []string{fmt.Sprintf("Their distribution is as in training, within what chance allows: the median is %s, and was %s.", r.amount(float64(p.After.Median)), r.amount(float64(p.Before.Median)))}
	}
	words := append(r.sinceWords(p.Since), changeWords(p)...)
	words = append(words, affectedWords(p)...)
	psi := "a small"
	switch {
	case p.PSI >= LargePSI:
		psi = "a large"
	case p.PSI >= 0.1:
		psi = "a noticeable"
	}
	if !math.IsNaN(float64(p.PSI)) {
		words = append(words, fmt.Sprintf("The population stability index is %s nats, %s change.", profile.Figure(float64(p.PSI)), psi))
	}
	return words
}

// lossWords says what labels say.
func (r *Report) lossWords() []string {
	l := r.Labels
	if l == nil {
		return nil
	}
	if l.Scores.Rows == 0 {
		return []string{"Not enough labels: no record has one."}
	}
	head := map[Outcome]string{
		Confirmed: "Loss confirmed", NotConfirmed: "Loss not confirmed", TooFew: "Not enough labels",
	}[l.Outcome]
	words := []string{fmt.Sprintf("%s: %s of %s%s.", head, count(l.Scores.Rows, "label"), l.Scope, without(l.Unlabelled))}
	row := func(name string, now, test Number, x Ratio) string {
		return fmt.Sprintf("The %s is %s, and was %s on the test part: %s times as much, by a 97.5 %% interval %s to %s.", name, r.amount(float64(now)), r.amount(float64(test)),
			profile.Figure(float64(x.Ratio)), profile.Figure(float64(x.Low)), profile.Figure(float64(x.High)))
	}
	if !math.IsNaN(float64(l.MAE.Ratio)) {
		words = append(words, row("mean absolute error", l.Scores.MAE, l.Test.MAE, l.MAE), row("root mean squared error", l.Scores.RMSE, l.Test.RMSE, l.RMSE))
	}
	for _, by := range l.Dominated {
		words = append(words, fmt.Sprintf("A few large errors make up the %s, so that it confirms nothing.", measureName(by)))
	}
	bias := "too much"
	if l.Scores.Bias < 0 {
		bias = "too little"
	}
	words = append(words, fmt.Sprintf("On average the model predicts %s %s. R² is %s, and was %s.", r.amount(math.Abs(float64(l.Scores.Bias))), bias,
		decimal(float64(l.Scores.R2)), decimal(float64(l.Test.R2))))
	if l.Outcome == TooFew {
		words = append(words, fmt.Sprintf("They could not tell an error %s times as large from chance.", profile.Figure(largeRatio)))
	}
	return words
}

func measureName(by string) string {
	return map[string]string{"mae": "mean absolute error", "rmse": "root mean squared error"}[by]
}

func without(n uint64) string {
	if n == 0 {
		return ""
	}
	return ", " + profile.Figure(float64(n)) + " of whose records have none"
}

// decimal writes a number with three decimals.
func decimal(x float64) string {
	if math.IsNaN(x) {
		return "not defined"
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}

// reason says why the recommendation is what it is.
func (r *Report) reason(e *evidence) string {
	fields := r.failing()
	names := list(fields, 4)
	switch r.Rule {
	case "fault":
		var broken []string
		for i := range r.Moved {
			if m := &r.Moved[i]; m.Fault != nil && m.Reach > 0 {
				broken = append(broken, fmt.Sprintf("%s (%s)", m.Column, faultName(m.Fault.Kind)))
			}
		}
		text := fmt.Sprintf("%s %s broken at the source rather than changed: a model that is trained on this would learn the fault", list(broken, 4), plural(len(broken), "looks", "look"))
		if r.onlyUnseen() {
			return fmt.Sprintf("%s %s texts that training has not seen. If they are wrong, mend them at the source; if they are right, train with data that has them.", names, plural(len(fields), "has", "have"))
		}
		if e.labels == Confirmed {
			text += ". Labels confirm that the predictions suffer"
		}
		return text + ". Mend the data first, then look again."
	case "loss":
		measure := measureName(r.Labels.By)
		text := fmt.Sprintf("labels confirm that the %s is %s above that of the test part", measure, percent(e.worse))
		if len(fields) == 0 {
			return text + ", while no column has moved: what the label depends on has changed. Train with data that has the new labels."
		}
		return text + fmt.Sprintf(", and %s %s moved. Train with data of the time since.", names, plural(len(fields), "has", "have"))
	case "small_loss":
		return fmt.Sprintf("labels confirm a loss, but one of only %s: less than the %s that are worth a training.", percent(e.worse), profile.Percent(LargeLoss))
	case "no_loss":
		return fmt.Sprintf("%s %s moved, but labels do not confirm a loss.", names, plural(len(fields), "has", "have"))
	case "small":
		return fmt.Sprintf("%s %s moved, but little that the model goes by: %s of its importance is affected, and its predictions are nearly as before.", names, plural(len(fields), "has", "have"), percent(e.exposure))
	case "once":
		return fmt.Sprintf("%s %s moved, so far in the last window alone. If the next one is like it, this becomes a recommendation to retrain.", names, plural(len(fields), "has", "have"))
	case "moved":
		return r.movedReason(e, fields, names)
	case "warning":
		return "columns are beyond the threshold of a warning, and none has failed."
	}
	if e.labels == NotConfirmed {
		return "no column has moved, and labels do not confirm a loss."
	}
	return "no column has moved."
}

// onlyUnseen tells whether all that looks broken may as well be new.
func (r *Report) onlyUnseen() bool {
	return !slices.ContainsFunc(r.Moved, func(m Moved) bool { return m.Fault != nil && m.Fault.Kind != FaultUnseen })
}

func (r *Report) movedReason(e *evidence, fields []string, names string) string {
	var why []string
	if e.exposure >= LargeExposure {
		why = append(why, percent(e.exposure)+" of what the model goes by has other values than in training")
	}
	if e.effect >= LargeEffect {
		why = append(why, fmt.Sprintf("the mean prediction has moved by up to %s with it", percent(e.effect)))
	}
	if e.psi >= LargePSI {
		why = append(why, fmt.Sprintf("the predictions differ by %s nats (PSI)", profile.Figure(e.psi)))
	}
	text := fmt.Sprintf("%s %s moved: %s", names, plural(len(fields), "has", "have"), strings.Join(why, "; "))
	switch e.labels {
	case TooFew:
		return text + ". There are too few labels to know whether the predictions have become worse."
	default:
		return text + ". No labels were looked at, so whether the predictions have become worse is not known: --labels, or labelled --data, would tell."
	}
}

// failing returns the fields and features that fail, causes first; the prediction if it is alone.
func (r *Report) failing() []string {
	var names []string
	for i := range r.Moved {
		if m := &r.Moved[i]; m.Severity == profile.Fail && len(m.Causes) == 0 {
			names = append(names, m.Column)
		}
	}
	for i := range r.Moved {
		if m := &r.Moved[i]; len(names) == 0 && m.Severity == profile.Fail {
			names = append(names, m.Column)
		}
	}
	if p := r.Predicted; len(names) == 0 && p != nil && p.Severity == profile.Fail {
		names = append(names, "the prediction")
	}
	return names
}

func faultName(k FaultKind) string {
	return map[FaultKind]string{
		FaultMissing: "missing values", FaultConstant: "one value only", FaultUnit: "another unit", FaultPart: "some values far off", FaultRenamed: "renamed texts", FaultUnseen: "unknown texts",
	}[k]
}

// when writes a time, in milliseconds since 1970.
func when(ms int64) string {
	t := time.UnixMilli(ms).UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02 15:04 UTC")
}

func span(from, to *int64) string {
	if from == nil || to == nil {
		return ""
	}
	return ", " + when(*from) + " to " + when(*to)
}

// list writes names, at most n of them.
func list(names []string, n int) string {
	shown := make([]string, 0, n)
	for _, name := range names {
		shown = append(shown, oneLine(name))
	}
	if more := len(names) - n; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(shown[:n], ", "), more)
	}
	if len(shown) > 1 {
		return strings.Join(shown[:len(shown)-1], ", ") + " and " + shown[len(shown)-1]
	}
	return strings.Join(shown, "")
}

func quoted(level string) string { return strconv.Quote(short(level)) }

// short cuts a text of the data.
func short(text string) string {
	if r := []rune(text); len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return text
}

// oneLine is a text of the data without what a terminal would obey.
func oneLine(text string) string {
	q := strconv.Quote(short(text))
	return q[1 : len(q)-1]
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func count(n int, what string) string {
	return profile.Figure(float64(n)) + " " + plural(n, what, what+"s")
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
