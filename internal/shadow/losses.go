package shadow

import (
	"math"

	"millrace.dev/internal/drift"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/stat"
)

// The losses of a prediction.
const (
	Squared  = "squared_error"
	Absolute = "absolute_error"
)

// LossOptions say how labels judge.
type LossOptions struct {
	Metric string // Squared or Absolute
	// WorseBy is the part of production's mean loss that counts as a difference: the margin of the verdict.
	WorseBy float64
	Alpha   float64 // the rate of wrong verdicts, however often one looks
}

// Losses compares the losses of pairs whose label is known, one after the other.
type Losses struct {
	options LossOptions
	paired  experiment.Paired
	loss    [2]stat.Moments
	squares [2]stat.Moments
	sizes   [2]stat.Moments
	skipped int64
	looks   []Look
	next    int64 // when to look again
}

// NewLosses returns an empty comparison.
func NewLosses(o LossOptions) *Losses { return &Losses{options: o, next: firstLook} }

// The report shows how the verdict came about, at so many pairs that grow by a tenth.
const (
	firstLook = 100
	lookGrows = 1.1
)

// Add takes in the two predictions of a record with its label.
func (l *Losses) Add(production, candidate, label float64) {
	a, b := production-label, candidate-label
	loss := func(e float64) float64 {
		if l.options.Metric == Absolute {
			return math.Abs(e)
		}
		return float64(e * e)
	}
	if err := l.paired.Add(loss(b) - loss(a)); err != nil {
		l.skipped++
		return
	}
	for i, e := range [2]float64{a, b} {
		l.loss[i].Add(loss(e))
		l.squares[i].Add(float64(e * e))
		l.sizes[i].Add(math.Abs(e))
	}
	if l.paired.Pairs == l.next {
		l.next = max(l.next+1, int64(math.Round(float64(l.next)*lookGrows)))
		if j, err := l.judge(); err == nil {
			l.looks = append(l.looks, Look{j.Pairs, drift.Number(j.Difference.Value), drift.Number(j.Difference.Low), drift.Number(j.Difference.High)})
		}
	}
}

// Pairs returns how many pairs have a label.
func (l *Losses) Pairs() int64 { return l.paired.Pairs }

func (l *Losses) judge() (*experiment.Judgement, error) {
	margin := 0.0
	if l.loss[Production].N() > 0 {
		margin = float64(l.options.WorseBy * l.loss[Production].Mean())
	}
	return l.paired.Judge(experiment.Options{Test: experiment.Sequential, Alpha: l.options.Alpha}, margin)
}

// Into writes what labels say.
func (l *Losses) Into(out *Labels) error {
	j, err := l.judge()
	if err != nil {
		return err
	}
	out.Metric, out.Pairs, out.Verdict, out.Progress, out.Skipped = l.options.Metric, l.paired.Pairs, j, l.looks, l.skipped
	for i := range 2 {
		out.Loss[i], out.MAE[i] = drift.Number(l.loss[i].Mean()), drift.Number(l.sizes[i].Mean())
		out.RMSE[i] = drift.Number(math.Sqrt(l.squares[i].Mean()))
	}
	return nil
}
