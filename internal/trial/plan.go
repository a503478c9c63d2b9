package trial

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/outcome"
)

// Planning is what an experiment is planned from.
type Planning struct {
	Metric string
	Arms   []Arm // with their shares; the control first
	Judging
	// Comparisons is how many metrics and arms are judged together.
	Comparisons int
	// Effect is the relative difference of mean losses that must be found, of the squared error that of the RMSE; Power with which
	// probability.
	Effect, Power float64
	// Mean and Deviation are those of a unit's loss, Correlation that with the baseline's.
	Mean, Deviation, Correlation float64
	// PerDay is how many new keys there are in a day, in all arms; 0 is not known.
	PerDay float64
	Labels Labels
}

// Labels say when labels come.
type Labels struct {
	// Share is how many predictions get a label within the horizon, above 0 and up to 1.
	Share float64
	// Delays counts labels by how long they took, in buckets up to Bounds, in days, and one beyond; nil is that it is not known.
	Delays []int64
	Bounds []float64
	// Horizon is how long they take at most, in days.
	Horizon float64
}

// Plan says how long an experiment takes.
type Plan struct {
	Metric string `json:"metric"`
	// Known says by key where each number comes from that the plan is made of.
	Known       map[string]string `json:"known"`
	Mean        float64           `json:"mean"`
	Deviation   float64           `json:"deviation"`
	Correlation float64           `json:"correlation"`
	PerDay      float64           `json:"keys_per_day"` // 0 is not known
	LabelShare  float64           `json:"label_share"`

	Test        experiment.Test `json:"test"`
	Alpha       float64         `json:"alpha"`
	Comparisons int             `json:"comparisons"`
	Effect      float64         `json:"effect"`
	Power       float64         `json:"power"`
	Arms        []Arm           `json:"arms"`
	// Arm is the arm that takes longest: that with the smallest share.
	Arm string `json:"arm"`
	*experiment.Plan
	// Units are the keys that need an outcome, in all arms together.
	Units int64 `json:"units"`
	// Days is how long it takes until they have one, from the start on; 0 where the rate is not known.
	Days float64 `json:"days"`
	// Fixed is how many keys the fixed test needs.
	Fixed int64      `json:"units_fixed"`
	Table []Findable `json:"table"`
}

// Findable is what can be found after some days.
type Findable struct {
	Days   float64 `json:"days"`
	Units  int64   `json:"units"`  // with an outcome, in all arms
	Effect float64 `json:"effect"` // the smallest that is found, as [Planning.Effect]
}

// tableDays are the times of the table of a plan.
func tableDays() []float64 { return []float64{7, 14, 21, 28, 42, 56, 84} }

// Plan returns how long the experiment takes. An error says what is missing.
func (p *Planning) Plan() (*Plan, error) {
	switch {
	case len(p.Arms) < 2:
		return nil, errors.New("trial: an experiment has two arms or more")
	case !(p.Effect > 0 && p.Effect < 1):
		return nil, fmt.Errorf("trial: the difference to be found is above 0 and below 100%%, not %g", p.Effect)
	case !(p.Mean > 0) || math.IsInf(p.Mean, 1):
		return nil, fmt.Errorf("trial: the mean loss is above 0, not %g", p.Mean)
	case !(p.Labels.Share > 0 && p.Labels.Share <= 1):
		return nil, fmt.Errorf("trial: the share of predictions that get a label is above 0 and up to 1, not %g", p.Labels.Share)
	}
	arm, both, all := p.slowest()
	if !(p.Arms[0].Share > 0 && p.Arms[arm].Share > 0) {
		return nil, errors.New("trial: the control and each arm need a share of the records")
	}
	d := experiment.Design{
		Deviation: p.Deviation, Effect: p.absolute(p.Effect), Correlation: p.Correlation, Weights: [2]float64{p.Arms[0].Share, p.Arms[arm].Share},
		Test: p.Test, Alpha: p.Alpha, Power: p.Power, Comparisons: max(1, p.Comparisons),
	}
	plan, err := p.planned(d)
	if err != nil {
		return nil, err
	}
	out := &Plan{
		Metric: p.Metric, Mean: p.Mean, Deviation: p.Deviation, Correlation: p.Correlation, PerDay: p.PerDay, LabelShare: p.Labels.Share, Test: p.Test,
		Alpha: p.Alpha, Comparisons: d.Comparisons, Effect: p.Effect, Power: p.Power, Arms: p.Arms, Arm: p.Arms[arm].Name, Plan: plan,
		Units: int64(math.Ceil(float64(plan.Control+plan.Treatment) / (both / all))), Table: []Findable{}, Known: map[string]string{},
	}
	d.Test = experiment.Fixed
	if fixed, err := p.planned(d); err == nil { // what the other test can be planned for, this one can
		out.Fixed = int64(math.Ceil(float64(fixed.Control+fixed.Treatment) / (both / all)))
	}
	d.Test = p.Test
	if p.PerDay > 0 {
		if out.Days = p.days(float64(out.Units)); math.IsInf(out.Days, 1) {
			return nil, fmt.Errorf("trial: it would take more than %d days: plan for a larger difference, or give the arms more of the records", mostDays)
		}
		p.table(out, d, both/all)
	}
	return out, nil
}

// planned returns the plan of a design, with as many units as an arm is judged from.
func (p *Planning) planned(d experiment.Design) (*experiment.Plan, error) {
	plan, err := d.Plan()
	if err != nil || min(plan.Control, plan.Treatment) >= p.MinUnits {
		return plan, err
	}
	all := float64(p.MinUnits) / min(d.Weights[0], d.Weights[1])
	plan.Control, plan.Treatment = int64(math.Ceil(float64(all*d.Weights[0]))), int64(math.Ceil(float64(all*d.Weights[1])))
	plan.Horizon = float64(plan.Control + plan.Treatment)
	return plan, nil
}

// slowest returns the arm with the smallest share, the share of it and the control together, and that of all.
func (p *Planning) slowest() (arm int, both, all float64) {
	arm = 1
	for i := range p.Arms {
		all += p.Arms[i].Share
		if i > 0 && p.Arms[i].Share < p.Arms[arm].Share {
			arm = i
		}
	}
	return arm, p.Arms[0].Share + p.Arms[arm].Share, all
}

// absolute returns a relative difference in the unit of the loss: of the squared error, one of its root.
func (p *Planning) absolute(effect float64) float64 {
	if Rooted(p.Metric) {
		left := 1 - effect
		return float64(p.Mean * (1 - float64(left*left)))
	}
	return float64(p.Mean * effect)
}

// relative is the inverse of absolute. What is more than all is all.
func (p *Planning) relative(difference float64) float64 {
	share := min(1, difference/p.Mean)
	if Rooted(p.Metric) {
		return 1 - math.Sqrt(1-share)
	}
	return share
}

// table says what can be found by when; share is how many of the keys are of the two arms.
func (p *Planning) table(out *Plan, d experiment.Design, share float64) {
	for _, days := range tableDays() {
		units := p.outcomes(days)
		found, err := d.Detectable(int64(float64(units * share)))
		if err != nil { // too few, or none
			continue
		}
		out.Table = append(out.Table, Findable{days, int64(units), p.relative(found.Effect)})
	}
}

// outcomes returns how many keys have an outcome after some days: those of each day wait for their labels.
func (p *Planning) outcomes(days float64) float64 {
	l := &p.Labels
	total := int64(0)
	for _, n := range l.Delays {
		total += n
	}
	if total == 0 { // the worst that can be
		return float64(p.PerDay * float64(l.Share*max(0, days-l.Horizon)))
	}
	sum, low := 0.0, 0.0
	for i, n := range l.Delays {
		high := max(low, l.Horizon)
		if i < len(l.Bounds) {
			high = min(l.Bounds[i], high)
		}
		sum += float64(float64(n) / float64(total) * waited(days, low, high))
		low = high
	}
	return float64(p.PerDay * float64(l.Share*sum))
}

// waited returns how many days of predictions have their label after some days, where labels take from low to high days, evenly.
func waited(days, low, high float64) float64 {
	switch {
	case days <= low:
		return 0
	case days >= high:
		return days - low - float64((high-low)/2)
	default:
		since := days - low
		return float64(since*since) / (high - low) / 2
	}
}

// mostDays is how many days are looked ahead.
const mostDays = 100_000

// days returns after how many so many keys have an outcome; +Inf is never.
func (p *Planning) days(units float64) float64 {
	low, high := 0.0, 1.0
	for p.outcomes(high) < units {
		if high *= 2; high > mostDays {
			return math.Inf(1)
		}
	}
	for range 60 {
		if mid := (low + high) / 2; p.outcomes(mid) < units {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// Past is what cohorts say of losses, keys and labels.
type Past struct {
	Control, Treatment experiment.Spread // of the arm of the baseline, and of the others; Units is 0 where there are none
	PerDay             float64           // new keys in a whole day; 0 is not known
	Days               int               // that there are
	Labels             Labels
}

// PastOf reads what cohorts of an experiment say, "" being none, by a metric; control is the name of the arm that has the baseline, whose predictions
// are all of them outside of an experiment.
func PastOf(cohorts []*outcome.Cohort, topic, experimentName, control, metric string, mature func(day string) bool) *Past {
	var own, others experiment.Cross
	var labelled, due int64
	units := map[string]int64{}
	p := &Past{}
	p.Labels.Delays = make([]int64, len(outcome.DelayBounds())+1)
	for _, c := range cohorts {
		if c.Topic != topic || c.Experiment != experimentName {
			continue
		}
		if c.Arm == control {
			own.Merge(sums(c, metric))
		} else {
			others.Merge(sums(c, metric))
		}
		units[c.Day] += c.Units
		for i, n := range c.Delays {
			p.Labels.Delays[i] += n
		}
		if mature(c.Day) {
			labelled, due = labelled+c.Resolved, due+c.Records
		}
	}
	p.Control, p.Treatment = own.Spread(), others.Spread()
	p.Labels.Share = share(labelled, due)
	for _, b := range outcome.DelayBounds() {
		p.Labels.Bounds = append(p.Labels.Bounds, float64(b)/86_400_000)
	}
	p.Days = len(units)
	p.PerDay = perDay(units)
	return p
}

// perDay returns the mean of the days but the first and the last one, which need not be whole; of two or fewer that of the largest.
func perDay(units map[string]int64) float64 {
	var days []string
	for d := range units {
		days = append(days, d)
	}
	slices.Sort(days)
	if len(days) > 2 {
		first, last := dayStart(days[0]), dayStart(days[len(days)-1])
		sum := int64(0)
		for _, d := range days[1 : len(days)-1] {
			sum += units[d]
		}
		return float64(sum) / (last.Sub(first).Hours()/24 - 1)
	}
	most := int64(0)
	for _, n := range units {
		most = max(most, n)
	}
	return float64(most)
}
