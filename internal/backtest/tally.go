package backtest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"millrace.dev/internal/drift"
	"millrace.dev/record"
)

// MostPeriods is how many periods are accumulated side by side: a period takes up to 10 KiB for each model.
const MostPeriods = 10_000

// ErrManyPeriods says that the records are of more periods than [MostPeriods].
var ErrManyPeriods = fmt.Errorf("backtest: the records are of more than %d periods", MostPeriods)

// Untimed is the period of records that are in none.
const Untimed = math.MinInt64

// Tally accumulates the results of models by period, which go by numbers. It is for one goroutine at a time.
type Tally struct {
	models  int
	periods map[int64]*period
}

type period struct {
	records int
	models  []tried
}

// tried is what became of the records of a period with one model.
type tried struct {
	predictions int
	rejected    int
	classes     map[string]int
	errors      errorsOf
	against     *pairs // nil for the first model
}

// NewTally returns a tally of nothing.
func NewTally(models int) (*Tally, error) {
	if models < 1 {
		return nil, errors.New("backtest: no model")
	}
	return &Tally{models: models, periods: map[int64]*period{}}, nil
}

func (t *Tally) newPeriod() *period {
	p := &period{models: make([]tried, t.models)}
	for i := range p.models {
		p.models[i].classes = map[string]int{}
		if i > 0 {
			p.models[i].against = &pairs{}
		}
	}
	return p
}

// Try is what one model says of a record: a problem, or else a prediction.
type Try struct {
	Problem    *record.Problem
	Prediction float64
}

// Add adds a record of a period: what each model says of it, and its label, which is NaN where it is not known. The error is
// [ErrManyPeriods].
func (t *Tally) Add(number int64, tries []Try, label float64) error {
	p := t.periods[number]
	if p == nil {
		if len(t.periods) == MostPeriods {
			return ErrManyPeriods
		}
		p = t.newPeriod()
		t.periods[number] = p
	}
	p.records++
	for i := range p.models {
		m, try := &p.models[i], &tries[i]
		if try.Problem != nil {
			m.rejected++
			m.classes[try.Problem.Stage+"/"+try.Problem.Class]++
			continue
		}
		m.predictions++
		if math.IsNaN(label) {
			continue
		}
		m.errors.add(label, try.Prediction)
		if i > 0 && tries[0].Problem == nil {
			m.against.add(label, tries[0].Prediction, try.Prediction)
		}
	}
	return nil
}

// Into writes the periods of a report, those without a time, and the total. bounds returns the event times between which a
// period lies, in microseconds, if it is one of time; nil is for periods of records.
func (t *Tally) Into(r *Report, bounds func(number int64) (from, to int64)) {
	total := t.newPeriod()
	for _, number := range slices.Sorted(maps.Keys(t.periods)) {
		p := t.periods[number]
		total.merge(p)
		out := p.result()
		if number == Untimed {
			r.Untimed = &out
			continue
		}
		if bounds != nil {
			from, to := bounds(number)
			from, to = from/1000, to/1000
			out.From, out.To = &from, &to
		}
		r.Periods = append(r.Periods, out)
	}
	r.Total = total.result()
}

func (p *period) merge(o *period) {
	p.records += o.records
	for i := range p.models {
		a, b := &p.models[i], &o.models[i]
		a.predictions += b.predictions
		a.rejected += b.rejected
		for class, n := range b.classes {
			a.classes[class] += n
		}
		a.errors.merge(&b.errors)
		if i > 0 {
			a.against.merge(b.against)
		}
	}
}

func (p *period) result() Period {
	out := Period{Records: p.records}
	for i := range p.models {
		m := &p.models[i]
		out.Results = append(out.Results, Result{
			Predictions: m.predictions, Rejected: m.rejected, Classes: m.classes,
			Coverage: drift.Number(float64(m.errors.n) / float64(m.predictions)), Scores: m.errors.scores(), // of no predictions: 0/0
		})
		if i > 0 {
			out.Against = append(out.Against, m.against.difference())
		}
	}
	return out
}
