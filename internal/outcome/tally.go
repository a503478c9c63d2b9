package outcome

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"millrace.dev/internal/experiment"
)

// TallyOptions say what a [Tally] adds up.
type TallyOptions struct {
	Pipeline  string
	Partition int32
	Metrics   []experiment.Metric
	Curve     bool // whether predictions are counted for the area under the curve
	// Remember is how long a unit of an experiment is known after the horizon and the grace of its last prediction. One that comes again
	// later is another unit.
	Remember time.Duration
	Join     Options
}

// Tally adds events of one partition of units up to cohorts. It is for one goroutine at a time.
//
// Its rows, by their first byte:
//
//	c key      a cohort, as its record has it
//	u id       a unit of an experiment: its days, and for each metric what it has contributed
//	d day id   the same, by the day of its last prediction, to be forgotten
type Tally struct {
	rows    Rows
	o       TallyOptions
	cohorts map[string]*Cohort // by key: those that were touched, or all after Load
	changed map[string]bool
	units   int64 // no unit is left whose last day is before it
}

// NewTally returns a tally.
func NewTally(rows Rows, o TallyOptions) *Tally {
	return &Tally{rows: rows, o: o, cohorts: map[string]*Cohort{}, changed: map[string]bool{}, units: math.MinInt64}
}

const (
	rowCohort    = 'c'
	rowUnit      = 'u'
	rowUnitByDay = 'd'
	dayMillis    = 86_400_000
)

// unit is what is known of a unit.
type unit struct {
	id          []byte
	first, last int64  // days since 1970, of its predictions
	model       string // of the first
	sums        map[string]contribution
}

// contribution is what a unit has in the sums of a metric: the loss, that of the baseline, and the records.
type contribution struct{ y, x, d float64 }

// dayOf returns the day of a time, since 1970.
func dayOf(at int64) int64 {
	d := at / dayMillis
	if at < d*dayMillis {
		d--
	}
	return d
}

// cohort returns the cohort of a prediction's arm, a model and a day, which is about to change.
func (t *Tally) cohort(p *Prediction, model string, day int64) (*Cohort, error) {
	c := &Cohort{
		Version: Version, Pipeline: t.o.Pipeline, Partition: t.o.Partition,
		Group: Group{Topic: p.Topic, Experiment: p.Experiment, Arm: p.Arm, Model: model, Day: time.UnixMilli(day * dayMillis).UTC().Format(time.DateOnly)},
	}
	key := c.Key()
	t.changed[key] = true
	if known := t.cohorts[key]; known != nil {
		return known, nil
	}
	b, ok, err := t.rows.Get(string(rowCohort) + key)
	if err != nil {
		return nil, err
	}
	c.Delays, c.Metrics, c.Excluded = make([]int64, len(DelayBounds())+1), map[string]*experiment.Cross{}, map[string]int64{}
	if ok {
		if c, err = DecodeCohort(b); err != nil {
			return nil, fmt.Errorf("%w: %w", errRow, err)
		}
		c.Pipeline = t.o.Pipeline
	}
	t.cohorts[key] = c
	return c, nil
}

// Add takes an event.
func (t *Tally) Add(e *Event) error {
	p := &e.Prediction
	c, err := t.cohort(p, p.Model, dayOf(p.At))
	if err != nil {
		return err
	}
	if p.Forced {
		if e.Kind == Seen {
			c.Forced++
		}
		return nil
	}
	switch e.Kind {
	case Seen:
		c.Records++
		return t.seen(c, p)
	case Overdue:
		c.Expired++
	case Labelled:
		c.Resolved++
		return t.resolved(c, e)
	case kindsAfter: // there is none
	}
	return nil
}

// resolved counts a prediction that has its label.
func (t *Tally) resolved(c *Cohort, e *Event) error {
	p := &e.Prediction
	if p.Refused {
		c.Refused++
	}
	c.Delays[delay(e.LabelledAt-p.At)]++
	if p.Unpaired {
		c.Unpaired++
		return nil
	}
	if t.o.Curve && c.curve().Add(p.Value, e.Label) != nil {
		c.exclude(experiment.MetricAUC, 1)
	}
	return t.labelled(c, e)
}

// delay returns the bucket of a delay.
func delay(ms int64) int {
	bounds := DelayBounds()
	i, _ := slices.BinarySearch(bounds, ms)
	return i
}

// alone tells whether a prediction is a unit of its own.
func (p *Prediction) alone() bool { return p.Experiment == "" || !p.HasUnit }

// seen counts the unit of a prediction that came, if it is a new one.
func (t *Tally) seen(c *Cohort, p *Prediction) error {
	if p.alone() {
		c.Units++
		return nil
	}
	u, known, err := t.unit(p)
	if err != nil {
		return err
	}
	if !known {
		c.Units++
	}
	return t.keep(u, dayOf(p.At), !known)
}

// unit returns the unit of a prediction, which may be a new one.
func (t *Tally) unit(p *Prediction) (u *unit, known bool, err error) {
	// A unit of an arm is one, whichever model has predicted its records: the control's stands in where the arm's cannot.
	u = &unit{id: digest(p.Topic, p.Experiment, p.Arm, p.Unit), first: dayOf(p.At), last: dayOf(p.At), model: p.Model, sums: map[string]contribution{}}
	b, ok, err := t.rows.Get(string(rowUnit) + string(u.id))
	if err != nil || !ok {
		return u, false, err
	}
	r := reader{b: b}
	u.first, u.last, u.model = r.int(), r.int(), r.text()
	for n := r.uint(); n > 0 && !r.bad; n-- {
		name := r.text()
		u.sums[name] = contribution{r.number(), r.number(), r.number()}
	}
	return u, true, r.end()
}

// keep writes a unit that had a prediction of a day, if that is later than those before, and anyway if it has changed.
func (t *Tally) keep(u *unit, day int64, changed bool) error {
	byDay := func(day int64) string { return byTime(rowUnitByDay, day, u.id...) }
	last := max(u.last, day)
	if last > u.last {
		if err := t.rows.Delete(byDay(u.last)); err != nil {
			return err
		}
	}
	if last > u.last || changed {
		if err := t.rows.Put(byDay(last), []byte{}); err != nil {
			return err
		}
		t.units = min(t.units, last)
		changed = true
	}
	if u.last = last; !changed {
		return nil
	}
	b := appendText(binary.AppendVarint(binary.AppendVarint(nil, u.first), u.last), u.model)
	b = binary.AppendUvarint(b, uint64(len(u.sums)))
	for _, name := range slices.Sorted(maps.Keys(u.sums)) {
		s := u.sums[name]
		b = appendNumber(appendNumber(appendNumber(appendText(b, name), s.y), s.x), s.d)
	}
	return t.rows.Put(string(rowUnit)+string(u.id), b)
}

// labelled adds the losses of a prediction that has its label.
func (t *Tally) labelled(c *Cohort, e *Event) error {
	p := &e.Prediction
	if p.alone() {
		for _, m := range t.o.Metrics {
			t.add(c, m, e, contribution{})
		}
		return nil
	}
	u, known, err := t.unit(p)
	if err != nil {
		return err
	}
	if u.first != dayOf(p.At) || u.model != p.Model {
		if c, err = t.cohort(p, u.model, u.first); err != nil {
			return err
		}
	}
	if !known { // it was forgotten before its time, since the pipeline file has another horizon now
		c.Units++
	}
	for _, m := range t.o.Metrics {
		name := m.String()
		if s := t.add(c, m, e, u.sums[name]); s.d > 0 {
			u.sums[name] = s
		}
	}
	return t.keep(u, dayOf(p.At), true)
}

// add puts what a unit contributes to a metric with one more record in the place of what it has contributed before, and returns it.
func (t *Tally) add(c *Cohort, m experiment.Metric, e *Event, before contribution) contribution {
	p, name := &e.Prediction, m.String()
	y, err := m.Loss(p.Value, e.Label)
	x := y
	if err == nil && !math.IsNaN(p.Baseline) {
		x, err = m.Loss(p.Baseline, e.Label)
	}
	now := contribution{before.y + y, before.x + x, before.d + 1}
	if err != nil || now.y > experiment.MostLoss || now.x > experiment.MostLoss {
		c.exclude(name, 1)
		return before
	}
	sums := c.metric(name)
	kept := *sums
	if before.d > 0 {
		err = sums.Remove(before.y, before.x, before.d)
	}
	if err == nil {
		err = sums.Add(now.y, now.x, now.d)
	}
	if err != nil { // what was checked above cannot fail; the rest of the numbers must not suffer if it does
		*sums = kept
		c.exclude(name, 1)
		return before
	}
	return now
}

// Flush writes the cohorts that have changed since it was last called, and tells of each, in the order of their keys.
func (t *Tally) Flush(tell func(key string, c *Cohort) error) error {
	for _, key := range slices.Sorted(maps.Keys(t.changed)) {
		c := t.cohorts[key]
		b, err := c.Append(nil)
		if err != nil {
			return err
		}
		if err := t.rows.Put(string(rowCohort)+key, b); err != nil {
			return err
		}
		if err := tell(key, c); err != nil {
			return err
		}
	}
	clear(t.changed)
	return nil
}

// Load reads all cohorts, so that [Tally.Cohorts] has them.
func (t *Tally) Load() error {
	return t.rows.Range(string(rowCohort), string(rowCohort+1), func(key string, value []byte) (bool, error) {
		c, err := DecodeCohort(value)
		if err != nil {
			return false, fmt.Errorf("%w: %w", errRow, err)
		}
		if t.cohorts[key[1:]] == nil {
			t.cohorts[key[1:]] = c
		}
		return true, nil
	})
}

// Cohorts calls fn with the cohorts that are known, which it must not change.
func (t *Tally) Cohorts(fn func(*Cohort)) {
	for _, c := range t.cohorts {
		fn(c)
	}
}

// Sweep forgets units, as of a time, in milliseconds: limit at most. It tells whether there are more. Cohorts are never forgotten: their records
// would begin anew.
func (t *Tally) Sweep(now int64, limit int) (more bool, err error) {
	j := &t.o.Join
	until := dayOf(now-(j.Horizon+j.Grace+t.o.Remember).Milliseconds()) - 1 // the last whole day
	if until < t.units {
		return false, nil
	}
	n, last := 0, until
	err = t.rows.Range(byTime(rowUnitByDay, t.units), byTime(rowUnitByDay, after(until)), func(row string, _ []byte) (bool, error) {
		if n == limit {
			last = timeOf(row[1:])
			return false, nil
		}
		n++
		if err := t.rows.Delete(string(rowUnit) + row[1+timeBytes:]); err != nil {
			return false, err
		}
		return true, t.rows.Delete(row)
	})
	t.units = last
	return n == limit, err
}
