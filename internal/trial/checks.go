package trial

import (
	"fmt"
	"math"
	"slices"
	"time"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/rollout"
)

// checkAlpha is the error rate of each check that decides whether arms can be compared: a false alarm costs an experiment.
const checkAlpha = 0.001

// comeBack is the mean number of records of a key from which on keys are taken to come back.
const comeBack = 1.01

// dayStart returns when a day begins, in UTC. Days were checked when they were read.
func dayStart(day string) time.Time {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return time.Time{}
	}
	return at
}

// changed returns when the arms got the shares that they have; ok is false where they never had others.
func (t *tally) changed() (at time.Time, ok bool) {
	if len(t.Settings) < 2 {
		return time.Time{}, false
	}
	return t.Settings[len(t.Settings)-1].At, true
}

// present returns the days that lie wholly under the shares of now.
func (t *tally) present() []string {
	at, ok := t.changed()
	if !ok {
		return t.order
	}
	return t.where(func(day time.Time) bool { return !day.Before(at) })
}

// first returns the days that lie wholly before the first change of shares.
func (t *tally) first() []string {
	return t.where(func(day time.Time) bool { return !day.AddDate(0, 0, 1).After(t.Settings[1].At) })
}

func (t *tally) where(want func(day time.Time) bool) (days []string) {
	for _, d := range t.order {
		if want(dayStart(d)) {
			days = append(days, d)
		}
	}
	return days
}

// over tells whether the outcomes of a day have had their time.
func (t *tally) over(day string) bool { return !dayStart(day).AddDate(0, 0, 1).Add(t.Wait).After(t.at) }

// recurrent tells whether keys come back.
func (t *tally) recurrent() bool {
	var records, units int64
	for i := range t.byArm {
		records, units = records+t.byArm[i].Records, units+t.byArm[i].Units
	}
	return float64(records) > comeBack*float64(units)
}

// blind tells whether nothing is known of predictions.
func (t *tally) blind() bool { return len(t.Metrics) == 0 && len(t.order) == 0 }

// ratio checks whether the arms have as many keys as their shares say.
//
// A key counts on the day on which its arm has first seen it. After a change of shares that says nothing of keys that come back: those
// that have another arm now are new to it, and those that stay are new to nobody. So it is the days before that are tested then.
func (t *tally) ratio() error {
	if t.blind() {
		return nil
	}
	r := &Ratio{}
	t.out.Ratio = r
	if t.By == rollout.ByPartition {
		r.Why = "it is partitions that are divided, and they need not have equally many keys"
		return nil
	}
	s := experiment.Stretch{Weights: make([]float64, len(t.Arms))}
	for i := range t.Arms {
		s.Weights[i] = t.Arms[i].Share
	}
	days := t.present()
	at, changed := t.changed()
	switch {
	case changed && t.recurrent():
		days, s.Weights = t.first(), t.Settings[0].Shares
		r.Why = fmt.Sprintf("of the %s before the first change of the shares: since then keys that come back are new to the arm that they go to now", counted(len(days), "whole day"))
	case changed:
		r.Why = fmt.Sprintf("of the %s since the shares have changed, %s", counted(len(days), "whole day"), at.UTC().Format("2006-01-02 15:04 UTC"))
	case len(days) == 1:
		r.Why = "of the one day"
	default:
		r.Why = "of all " + counted(len(days), "day")
	}
	s.Counts = t.units(days)
	if !slices.ContainsFunc(s.Counts, func(n int64) bool { return n > 0 }) {
		if r.Why = "not tested: there is no key " + r.Why; len(t.order) == 0 {
			r.Why = "not tested: there is no key yet"
		}
		return nil
	}
	for i := range s.Counts {
		if s.Counts[i] > 0 && s.Weights[i] == 0 {
			r.Why = fmt.Sprintf("not tested: %s has keys, and no share of them", t.Arms[i].Name)
			return nil
		}
	}
	result, err := experiment.SampleRatio(s)
	if err != nil {
		return err
	}
	r.Tested, r.Ratio = true, result
	r.Broken = result.Mismatch(experiment.Sequential, checkAlpha) || t.Test == experiment.Fixed && !t.early() && result.Mismatch(experiment.Fixed, checkAlpha)
	return nil
}

// units returns how many keys each arm has first seen on some days.
func (t *tally) units(days []string) []int64 {
	n := make([]int64, len(t.Arms))
	for _, d := range days {
		for i := range n {
			n[i] += t.days[d][i].Units
		}
	}
	return n
}

// arrivals checks whether labels come at the same rate in all arms. Only days under the shares of now are looked at: with other shares the
// predictions of one arm would be older than those of another.
func (t *tally) arrivals() (err error) {
	if t.blind() {
		return nil
	}
	var mature, recent []string
	for _, d := range t.present() {
		if t.over(d) {
			mature = append(mature, d)
		} else {
			recent = append(recent, d)
		}
	}
	if t.out.Mature, err = t.arrived(mature, true); err != nil {
		return err
	}
	t.out.Recent, err = t.arrived(recent, false)
	return err
}

// arrived tests the labels of some days; nil is that there are no days.
func (t *tally) arrived(days []string, mature bool) (*Arrivals, error) {
	if len(days) == 0 {
		return nil, nil
	}
	n := len(t.Arms)
	a := &Arrivals{Days: len(days), Predictions: make([]int64, n), Resolved: make([]int64, n), Size: 1}
	expired := make([]int64, n)
	for _, d := range days {
		for i := range t.Arms {
			c := &t.days[d][i]
			a.Predictions[i] += c.Records
			a.Resolved[i] += c.Resolved
			expired[i] += c.Expired
		}
	}
	for i := range t.byArm {
		for _, metric := range t.Metrics {
			a.Size = max(a.Size, sums(&t.byArm[i], metric).Spread().Size)
		}
	}
	scaled := func(counts []int64) []int64 {
		out := make([]int64, len(counts))
		for i, c := range counts {
			out[i] = int64(math.Round(float64(c) / a.Size))
		}
		return out
	}
	predictions, resolved := scaled(a.Predictions), scaled(a.Resolved)
	r, err := experiment.Arrivals(resolved, predictions)
	if err != nil {
		return nil, err
	}
	a.ChiSquare, a.P, a.AnytimeP = r.ChiSquare, r.P, r.AnytimeP
	if mature { // where most have come, those that have not tell more; both are looked at, so each at half the rate
		missing, err := experiment.Arrivals(scaled(expired), predictions)
		if err != nil {
			return nil, err
		}
		a.AnytimeP = min(1, 2*min(r.AnytimeP, missing.AnytimeP))
	}
	a.Unequal = a.AnytimeP <= checkAlpha || t.Test == experiment.Fixed && !t.early() && a.P <= checkAlpha
	return a, nil
}

// alike checks whether the control's model makes the same of the records of all arms.
func (t *tally) alike() error {
	if len(t.Metrics) == 0 {
		return nil
	}
	o := t.options(0)
	o.Alpha = checkAlpha / float64(len(t.Arms)-1)
	o.Level = o.Alpha
	metric := t.Metrics[0]
	for i := 1; i < len(t.Arms); i++ {
		c, err := experiment.Alike(sums(&t.byArm[0], metric), sums(&t.byArm[i], metric), o)
		if err != nil {
			return err
		}
		t.out.Alike = append(t.out.Alike, Alike{Arm: t.Arms[i].Name, Metric: metric, Comparison: c, Differ: c.Significant()})
	}
	return nil
}

// daily counts by day.
func (t *tally) daily() {
	for _, d := range t.order {
		day := Day{Day: d, Mature: t.over(d)}
		for i := range t.Arms {
			c := &t.days[d][i]
			day.Arms = append(day.Arms, DayCount{Predictions: c.Records, Resolved: c.Resolved, Expired: c.Expired, Units: c.Units})
		}
		t.out.Days = append(t.out.Days, day)
	}
}

// history repeats the comparisons with the keys that were first seen up to the end of each day.
func (t *tally) history() error {
	cumulative := make([]outcome.Cohort, len(t.Arms))
	for _, d := range t.order {
		for i := range t.Arms {
			cumulative[i].Merge(&t.days[d][i])
		}
		for _, metric := range t.Metrics {
			for i := 1; i < len(t.Arms); i++ {
				c, err := t.compareOne(metric, i, &cumulative[0], &cumulative[i])
				if err != nil {
					return err
				}
				t.out.History = append(t.out.History, Point{Day: d, Metric: metric, Arm: c.Arm, Units: c.Control.Units + c.Treatment.Units, Difference: c.Shown()})
			}
		}
	}
	return nil
}

// leastBatches is how many batches the time of scoring is judged from.
const leastBatches = 100

// scoring says how long models take, by what the instances have measured since they started.
func (t *tally) scoring(statuses []*rollout.Status) error {
	for i := 1; i < len(t.Arms); i++ {
		var all experiment.Cross
		for _, s := range t.served(statuses, i) {
			if s.Seconds != nil {
				all.Merge(s.Seconds)
			}
		}
		if all.Units == 0 {
			continue
		}
		ratio, err := all.Beside(experiment.Options{Alpha: t.Alpha, Least: leastBatches})
		if err != nil {
			return err
		}
		spread := all.Spread()
		t.out.Scoring = append(t.out.Scoring, Scoring{Arm: t.Arms[i].Name, Batches: all.Units, Records: spread.Records, Seconds: spread.Mean, Ratio: ratio})
	}
	return nil
}

// areas says how well arms rank records, where that was counted.
func (t *tally) areas() {
	var control *experiment.AUC
	for i := range t.byArm {
		if t.byArm[i].Curve == nil {
			continue
		}
		a := AUC{Arm: t.Arms[i].Name}
		own, err := t.byArm[i].Curve.AUC()
		if err == nil { // else too few of a class
			a.Area, a.Ones, a.Zeros = &own.Area, own.Ones, own.Zeros
			if i == 0 {
				control = own
			}
		}
		if i > 0 && err == nil && control != nil {
			if d, err := control.Unpaired(own, t.Alpha); err == nil { // else too few to say
				a.Control = &d.Difference
			}
		}
		t.out.AUC = append(t.out.AUC, a)
	}
}

// counted writes "1 day" or "7 days".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
