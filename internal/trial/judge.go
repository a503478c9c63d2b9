package trial

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/rollout"
)

// Seen is what is known of an experiment.
type Seen struct {
	// Cohorts are the last records of their keys. Those of other topics and experiments are passed over.
	Cohorts []*outcome.Cohort
	Strange int64 // records of their topic that were none
	// Statuses are those of the instances.
	Statuses []*rollout.Status
	// Notes are what else must be said.
	Notes []Warning
}

// Judge says how an experiment stands as of a time. It is an error if the setup is none.
func Judge(s *Setup, seen *Seen, at time.Time) (*Report, error) {
	if len(s.Arms) < 2 {
		return nil, fmt.Errorf("trial: an experiment of %d arms", len(s.Arms))
	}
	t := &tally{
		Setup: s, at: at, byArm: make([]outcome.Cohort, len(s.Arms)), days: map[string][]outcome.Cohort{},
		out: &Report{
			Pipeline: s.Pipeline, Group: s.Group, Experiment: s.Experiment, Topic: s.Topic, Running: s.Running, At: at, Test: s.Test, Alpha: s.Alpha,
			Correction: "none", Level: s.Alpha, Margin: s.Margin, Planned: s.Units, MinUnits: s.MinUnits, Metrics: append([]string{}, s.Metrics...),
			Comparisons: []Comparison{}, Alike: []Alike{}, Days: []Day{}, Scoring: []Scoring{}, History: []Point{},
			DelayBounds: outcome.DelayBounds(), Warnings: []Warning{}, Audit: append([]Entry{}, s.Audit...),
			LeftOut: LeftOut{Strange: seen.Strange, Excluded: map[string]int64{}},
		},
	}
	if s.Correction != "" {
		t.out.Correction = string(s.Correction)
	}
	if !s.Since.IsZero() {
		t.out.Since = &s.Since
	}
	t.out.Arms = make([]ArmReport, len(s.Arms))
	t.sum(seen.Cohorts)
	t.arms(seen.Statuses)
	t.daily()
	for _, step := range []func() error{t.compare, t.ratio, t.arrivals, t.alike, t.history, func() error { return t.scoring(seen.Statuses) }} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("trial: %s: %w", s.Experiment, err)
		}
	}
	t.areas()
	t.warn(seen.Notes)
	t.advise()
	return t.out, nil
}

// tally is a report in the making.
type tally struct {
	*Setup

	at    time.Time
	out   *Report
	byArm []outcome.Cohort
	days  map[string][]outcome.Cohort // by day, then by arm
	order []string                    // of the days
}

// sum adds up cohorts.
func (t *tally) sum(cohorts []*outcome.Cohort) {
	for _, c := range cohorts {
		if c.Topic != t.Topic || c.Experiment != t.Experiment {
			continue
		}
		i := t.arm(c.Arm)
		switch {
		case i < 0:
			t.out.LeftOut.OtherArms += c.Records
			continue
		case c.Model == t.Arms[i].Model:
		case c.Model == t.Arms[0].Model:
			// What the arm's model has refused, and the control has predicted. It counts for the arm: the control's records are those
			// that its model does not refuse, and so the arm's must be.
			t.out.Arms[i].Instead += c.Records
		default:
			t.out.LeftOut.OtherModels += c.Records
			continue
		}
		t.byArm[i].Merge(c)
		if t.days[c.Day] == nil {
			t.days[c.Day] = make([]outcome.Cohort, len(t.Arms))
		}
		t.days[c.Day][i].Merge(c)
	}
	t.order = slices.Sorted(maps.Keys(t.days))
}

// arms says what each arm has done.
func (t *tally) arms(statuses []*rollout.Status) {
	for i, a := range t.Arms {
		c := &t.byArm[i]
		r := &t.out.Arms[i]
		*r = ArmReport{
			Arm: a, Predictions: c.Records, Units: c.Units, Resolved: c.Resolved, Expired: c.Expired, Pending: c.Records - c.Resolved - c.Expired,
			Unpaired: c.Unpaired, Forced: c.Forced, Instead: r.Instead, Delays: c.Delays, Excluded: c.Excluded,
		}
		if r.Delays == nil {
			r.Delays = make([]int64, len(outcome.DelayBounds())+1)
		}
		for _, s := range t.served(statuses, i) {
			r.Served += s.Records
			r.Refused += s.Refused
		}
		t.out.LeftOut.Forced += c.Forced
		t.out.LeftOut.Unpaired += c.Unpaired
		for name, n := range c.Excluded {
			t.out.LeftOut.Excluded[name] += n
		}
	}
}

// served returns what instances say of an arm.
func (t *tally) served(statuses []*rollout.Status, arm int) (all []*rollout.ArmStatus) {
	for _, s := range statuses {
		for i := range s.Arms {
			if a := &s.Arms[i]; a.Experiment == t.Experiment && a.Arm == t.Arms[arm].Name && a.Model == t.Arms[arm].Model {
				all = append(all, a)
			}
		}
	}
	return all
}

// sums returns the sums of a metric of an arm, which may be empty.
func sums(c *outcome.Cohort, metric string) *experiment.Cross {
	if x := c.Metrics[metric]; x != nil {
		return x
	}
	return &experiment.Cross{}
}

func (t *tally) options(level float64) experiment.Options {
	return experiment.Options{Test: t.Test, Alpha: t.Alpha, Level: level, Horizon: float64(t.Units), Least: t.MinUnits}
}

// compare compares all arms with the control, by all metrics.
func (t *tally) compare() error {
	var p []float64
	for _, metric := range t.Metrics {
		for i := 1; i < len(t.Arms); i++ {
			c, err := experiment.Compare(sums(&t.byArm[0], metric), sums(&t.byArm[i], metric), t.options(t.Alpha))
			if err != nil {
				return err
			}
			p = append(p, c.P)
		}
	}
	adjusted := p
	if t.Correction != "" && len(p) > 0 {
		var err error
		if adjusted, err = t.Correction.Adjust(p); err != nil {
			return err
		}
		t.out.Level = t.Correction.Level(t.Alpha, adjusted)
	}
	for k, metric := range t.Metrics {
		for i := 1; i < len(t.Arms); i++ {
			one, err := t.compareOne(metric, i, &t.byArm[0], &t.byArm[i])
			if err != nil {
				return err
			}
			one.AdjustedP = adjusted[k*(len(t.Arms)-1)+i-1]
			t.decide(one)
			t.out.Comparisons = append(t.out.Comparisons, *one)
		}
	}
	return nil
}

// compareOne compares an arm with the control by a metric, with the interval of the report.
func (t *tally) compareOne(metric string, arm int, control, treatment *outcome.Cohort) (*Comparison, error) {
	c, err := experiment.Compare(sums(control, metric), sums(treatment, metric), t.options(t.out.Level))
	if err != nil {
		return nil, err
	}
	one := &Comparison{Metric: metric, Arm: t.Arms[arm].Name, Comparison: c}
	if Rooted(metric) {
		root := experiment.RootRatio(c.Relative)
		one.RMSE = &root
	}
	return one, nil
}

// early tells whether the experiment has a planned size, and has not reached it.
func (t *tally) early() bool {
	if t.Test != experiment.Fixed || len(t.Metrics) == 0 {
		return false
	}
	return t.judged() < t.Units
}

// judged returns how many keys have an outcome, by the metric that decides.
func (t *tally) judged() (n int64) {
	if len(t.Metrics) == 0 {
		return 0
	}
	for i := range t.byArm {
		n += sums(&t.byArm[i], t.Metrics[0]).Units
	}
	return n
}

// decide gives the verdict of a comparison.
func (t *tally) decide(c *Comparison) {
	i := c.Shown()
	c.Verdict = experiment.NotYet
	switch {
	case c.Control.Units == 0 || c.Treatment.Units == 0:
		c.Why = "no outcomes of both arms yet"
	case !c.Enough:
		c.Why = fmt.Sprintf("too few keys with an outcome: %d and %d; it takes about %d", c.Control.Units, c.Treatment.Units, c.Needed)
	case t.early():
		c.Why = fmt.Sprintf("the one look is at %d keys, of which %d are there", t.Units, t.judged())
	case c.AdjustedP <= t.Alpha && c.Difference.Value < 0:
		c.Verdict, c.Why = experiment.Better, "the loss is lower"
	case c.AdjustedP <= t.Alpha && c.Difference.Value > 0:
		c.Verdict, c.Why = experiment.Worse, "the loss is higher"
	case t.Margin > 0 && i.Low >= -t.Margin && i.High <= t.Margin:
		c.Verdict, c.Why = experiment.NoDifference, fmt.Sprintf("no difference larger than %.4g%%", 100*t.Margin)
	case t.Test == experiment.Fixed:
		c.Why = "no difference was shown at the planned size"
	default:
		c.Why = "the difference may be chance"
	}
}
