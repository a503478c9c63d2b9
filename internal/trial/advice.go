package trial

import (
	"fmt"
	"strings"

	"millrace.dev/internal/experiment"
)

// warn says what must be known before a figure is believed: first what makes all of them worthless.
func (t *tally) warn(notes []Warning) {
	say := func(kind, format string, args ...any) {
		t.out.Warnings = append(t.out.Warnings, Warning{kind, fmt.Sprintf(format, args...)})
	}
	t.warnChecks(say)
	t.out.Warnings = append(t.out.Warnings, notes...)
	if t.blind() {
		return
	}
	if t.early() {
		say("peeking", "test: fixed is for one look, at %s keys with an outcome, and there are %s: numbers until then decide nothing, and looking at them and stopping early makes false alarms; test: sequential may be looked at every day",
			grouped(t.Units), grouped(t.judged()))
	}
	t.warnTime(say)
	t.warnRecords(say)
}

type sayer func(kind, format string, args ...any)

func (t *tally) warnChecks(say sayer) {
	if r := t.out.Ratio; r != nil && r.Broken {
		say("sample_ratio", "the arms have %s keys where %s are expected (%s): keys get lost, or are not assigned as they should be; do not trust any comparison before it is known why",
			numbers(r.Counts), rounded(r.Expected), probability(min(r.P, r.AnytimeP)))
	}
	if a := t.out.Mature; a != nil && a.Unequal {
		say("arrivals", "labels arrive for %s of the predictions of the arms, on mature days (%s): the arm changes who gets a label, so the labels that are there are not those of like records",
			t.shares(a), probability(min(a.P, a.AnytimeP)))
	}
	if a := t.out.Recent; a != nil && a.Unequal {
		say("arrivals", "labels have arrived for %s of the predictions of the arms on days that are not mature (%s): they come later in one arm than in the other, or less often",
			t.shares(a), probability(min(a.P, a.AnytimeP)))
	}
	for _, a := range t.out.Alike {
		if a.Differ {
			say("baselines", "the control's model errs by %s on the records of %s, and by %s on its own (%s): the records of the arms are not alike",
				number(a.Treatment.Mean), a.Arm, number(a.Control.Mean), probability(a.P))
		}
	}
}

// warnTime is about days.
func (t *tally) warnTime(say sayer) {
	if at, ok := t.changed(); ok {
		say("weights", "the shares of the arms have changed, the last time %s: keys that have gone over have outcomes in two arms, and days weigh differently in each; a new experiment, with a name of its own, is cleaner",
			at.UTC().Format("2006-01-02 15:04 UTC"))
	}
	var mature int
	var waiting, late, all int64
	for i := range t.out.Days {
		d := &t.out.Days[i]
		n := d.Total()
		all += n.Predictions
		if d.Mature {
			mature++
			late += n.Pending()
		} else {
			waiting += n.Pending()
		}
	}
	if late > 0 {
		say("overdue", "%s predictions wait although their time is over: is millrace outcomes running?", grouped(late))
	}
	if waiting > 0 {
		say("immature", "%s: %s of the predictions still wait for labels, and those that come late may be others than those that come early",
			Maturity(mature, len(t.out.Days)), percent(share(waiting, all)))
	}
	if n := len(t.out.Days); n > 0 && n < 7 {
		say("short", "the predictions are of %s: a week has days that differ", counted(n, "day"))
	}
}

// warnRecords is about predictions that are in no figure.
func (t *tally) warnRecords(say sayer) {
	for _, c := range t.out.Comparisons {
		if c.Metric == t.Metrics[0] && !c.Enough {
			say("too_few", "%s and %s have %s and %s keys with an outcome: neither is judged below %s, nor while a few large losses make up most of the difference%s", t.Arms[0].Name, c.Arm,
				grouped(c.Control.Units), grouped(c.Treatment.Units), grouped(t.MinUnits), needed(c.Needed))
		}
	}
	l := &t.out.LeftOut
	if l.OtherModels > 0 {
		say("other_models", "%s predictions are of models that an arm had before: they are in no figure", grouped(l.OtherModels))
	}
	if l.OtherArms > 0 {
		say("other_arms", "%s predictions are of arms that the experiment does not have: they are in no figure", grouped(l.OtherArms))
	}
	if l.Unpaired > 0 {
		say("unpaired", "%s records with a label were predicted by an arm, and refused by the control: they are in no metric", grouped(l.Unpaired))
	}
	for _, metric := range t.Metrics {
		if n := l.Excluded[metric]; n > 0 {
			say("excluded", "%s outcomes have no %s: the label or the prediction is none for it", grouped(n), metric)
		}
	}
	if l.Strange > 0 {
		say("strange", "%s records of the topic of the cohorts are none, and were passed over", grouped(l.Strange))
	}
	t.warnRefused(say)
}

// warnRefused is about arms that refuse more than the control does, or less.
func (t *tally) warnRefused(say sayer) {
	control := &t.out.Arms[0]
	for i := 1; i < len(t.out.Arms); i++ {
		a := &t.out.Arms[i]
		r, err := experiment.Arrivals([]int64{control.Refused, a.Refused}, []int64{control.Served, a.Served})
		if err != nil || control.Served == 0 || a.Served == 0 || r.P > checkAlpha {
			continue
		}
		say("refused", "%s refuses %s of its records, and %s %s: what an arm refuses has the control's prediction, which counts for the arm, and a dead letter once the arm is promoted", a.Name, percent(share(a.Refused, a.Served)), control.Name, percent(share(control.Refused, control.Served)))
	}
}

// needed says how many keys it takes; 0 is not known.
func needed(n int64) string {
	if n == 0 {
		return ""
	}
	return ": it takes about " + grouped(n) + " in both"
}

func (t *tally) shares(a *Arrivals) string {
	var parts []string
	for i := range t.Arms {
		parts = append(parts, percent(a.Share(i)))
	}
	return listed(parts)
}

// advise says what to do.
func (t *tally) advise() {
	a := &t.out.Advice
	*a = t.decided()
	if !t.Running {
		switch a.Action {
		case Wait:
			a.Words = "it is over, and has decided nothing"
		case Remove, Stop, Promote, Look, Distrust:
			a.Words = "it is over: " + a.Words
		}
	}
}

// found are the arms by what the metrics say of them.
type found struct {
	better, worse   bool // by the metric that decides
	alike, decided  bool
	betters, worses []string // the other metrics by which it is so
	difference      experiment.Interval
}

func (t *tally) found() map[string]*found {
	all := map[string]*found{}
	for i := range t.out.Comparisons {
		c := &t.out.Comparisons[i]
		f := all[c.Arm]
		if f == nil {
			f = &found{difference: c.Shown()}
			all[c.Arm] = f
		}
		switch first := c.Metric == t.Metrics[0]; {
		case first:
			f.better, f.worse, f.alike = c.Verdict == experiment.Better, c.Verdict == experiment.Worse, c.Verdict == experiment.NoDifference
			f.decided = c.Verdict != experiment.NotYet || t.Test == experiment.Fixed && !t.early() && c.Enough
		case c.Verdict == experiment.Better:
			f.betters = append(f.betters, c.Metric)
		case c.Verdict == experiment.Worse:
			f.worses = append(f.worses, c.Metric)
		}
	}
	return all
}

func (t *tally) decided() Advice {
	if len(t.Metrics) == 0 {
		return Advice{Action: Wait, Words: "wait: without losses of outcomes nothing tells which arm is better"}
	}
	if why := t.broken(); why != "" {
		return Advice{Action: Distrust, Words: "do not trust the comparison: " + why}
	}
	all := t.found()
	name := metricWord(t.Metrics[0])
	best, open, worst := -1, 0, -1
	for i := 1; i < len(t.Arms); i++ {
		f := all[t.Arms[i].Name]
		if f.better && (best < 0 || f.difference.Value < all[t.Arms[best].Name].difference.Value) {
			best = i
		}
		if f.worse && worst < 0 {
			worst = i
		}
		if !f.decided {
			open++
		}
	}
	for i := 1; i < len(t.Arms); i++ {
		arm := &t.Arms[i]
		if f := all[arm.Name]; f.better && len(f.worses) > 0 || f.worse && len(f.betters) > 0 {
			by, not := append([]string{t.Metrics[0]}, f.betters...), f.worses
			if f.worse {
				by, not = f.betters, append([]string{t.Metrics[0]}, f.worses...)
			}
			return Advice{Look, arm.Name, arm.Model, fmt.Sprintf("decide: %s is better by %s, and worse by %s", arm.Name, strings.Join(by, ", "), strings.Join(not, ", "))}
		}
	}
	switch {
	case best > 0:
		arm := &t.Arms[best]
		return Advice{Promote, arm.Name, arm.Model, fmt.Sprintf("stop for %s: its %s is %s the control's; promote %s", arm.Name, name, beside(all[arm.Name].difference), arm.Model)}
	case worst > 0 && open > 0:
		arm := &t.Arms[worst]
		return Advice{Remove, arm.Name, arm.Model, fmt.Sprintf("take out %s: its %s is %s the control's", arm.Name, name, beside(all[arm.Name].difference))}
	case open > 0:
		return Advice{Action: Wait, Words: "wait: " + t.waits(all)}
	case worst > 0:
		arm := &t.Arms[worst]
		return Advice{Stop, "", t.Arms[0].Model, fmt.Sprintf("stop, and go on with %s: the %s of %s is %s its own", t.Arms[0].Name, name, arm.Name, beside(all[arm.Name].difference))}
	default:
		return Advice{Stop, "", t.Arms[0].Model, fmt.Sprintf("stop, and go on with %s: %s", t.Arms[0].Name, t.nothing(all))}
	}
}

// nothing says that no arm is better, and none worse.
func (t *tally) nothing(all map[string]*found) string {
	for _, f := range all {
		if !f.alike {
			return "no difference was shown at the planned size"
		}
	}
	return "there is no difference larger than " + percent(t.Margin)
}

// broken returns which check has failed; "" is none.
func (t *tally) broken() string {
	for _, w := range t.out.Warnings {
		switch w.Kind {
		case "sample_ratio":
			return "the numbers of keys contradict the shares of the arms"
		case "arrivals":
			return "labels do not arrive alike in the arms"
		case "baselines":
			return "the records of the arms are not alike"
		}
	}
	return ""
}

// waits says for what.
func (t *tally) waits(all map[string]*found) string {
	if t.early() {
		return fmt.Sprintf("the one look is at %s keys with an outcome, and there are %s", grouped(t.Units), grouped(t.judged()))
	}
	for _, c := range t.out.Comparisons {
		if c.Metric == t.Metrics[0] && !c.Enough {
			return fmt.Sprintf("there are too few keys with an outcome to judge %s by%s", c.Arm, needed(c.Needed))
		}
	}
	var parts []string
	for i := 1; i < len(t.Arms); i++ {
		if f := all[t.Arms[i].Name]; !f.decided {
			parts = append(parts, fmt.Sprintf("%s may be %s", t.Arms[i].Name, reach(f.difference)))
		}
	}
	return "the " + metricWord(t.Metrics[0]) + " of " + strings.Join(parts, ", of ") + " beside the control's"
}
