package canary

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"millrace.dev/internal/experiment"
)

// The guards, in the order in which they are read.
const (
	Errors  = "errors"
	Latency = "latency"
	Drift   = "drift"
	Loss    = "loss"
)

// Evidence is what the candidate's records have come to, from the beginning of the canary on; those that had named their arm are left
// out. All of it are sums: the order of records does not matter.
type Evidence struct {
	Records int64 // of the candidate, predicted or refused
	Refused int64 // of these
	Broken  int64 // of these, those that the control predicts
	Mended  int64 // those that the candidate predicts, and the control refuses
	// Compared are the keys with predictions of both, and Changed those of them whose predictions differ; the first of a key counts.
	Compared, Changed int64
	// Ratios are how many times as long as the control the candidate took for the rows of a batch, and how many batches did: by rising ratios,
	// of which each stands for those from it to the next.
	Ratios []experiment.Step
	// Losses has over keys the losses of the candidate (y), and of the control on the same records (x).
	Losses experiment.Cross
}

// Limits are the tolerances of guards. One that is nil does not look.
type Limits struct {
	Errors  *float64 // share of the records
	Latency *float64 // times the control's
	Drift   *float64 // share of the keys
	Loss    *float64 // share of the control's error
	Change  float64  // from where on a prediction differs: see [Differs]
	Squared bool     // losses are squares: the error is the root of their mean
	// Alpha is the error rate of all guards together.
	Alpha float64
}

// The least number of keys for which sums are taken for normal, and the number of records at which bounds are the tightest, about.
const (
	leastKeys = 100
	horizon   = 2000
)

// Reading is what a guard sees.
type Reading struct {
	Guard string
	// Seen is how many records, keys or batches it has looked at.
	Seen int64
	// Value is what was measured, Bound what it is at least, and Limit the tolerance, all as a share, of a ratio its excess over 1; without
	// anything seen Value and Bound are 0.
	Value, Bound, Limit float64
	Alarm               bool
	Words               string // one line for a person
}

// Differs tells whether two predictions differ by more than a part of the larger one of them.
func Differs(a, b, part float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return a != b
	}
	return math.Abs(float64(a/2)-float64(b/2)) > float64(part*max(math.Abs(a), math.Abs(b)))/2 // halves do not overflow
}

// Read has the guards look. An error says that the evidence or the limits cannot be.
func (l *Limits) Read(e *Evidence) ([]Reading, error) {
	n := 0
	for _, limit := range []*float64{l.Errors, l.Latency, l.Drift, l.Loss} {
		if limit != nil {
			n++
		}
	}
	if n == 0 {
		return nil, nil
	}
	g, err := experiment.NewGuards(l.Alpha, n, horizon, leastKeys)
	if err != nil {
		return nil, err
	}
	var all []Reading
	add := func(r Reading, d *experiment.Decision, wrong error) {
		if d != nil {
			r.Alarm = d.Outcome == experiment.Breaks
		}
		all, err = append(all, r), errors.Join(err, wrong)
	}
	if l.Errors != nil {
		add(readErrors(g, e, *l.Errors))
	}
	if l.Latency != nil {
		add(readLatency(g, e, *l.Latency))
	}
	if l.Drift != nil {
		add(readDrift(g, e, *l.Drift, l.Change))
	}
	if l.Loss != nil {
		add(l.readLoss(g, e, *l.Loss))
	}
	return all, err
}

// share makes a reading of a share.
func share(g *experiment.Guards, guard string, k, n int64, limit float64) (Reading, *experiment.Decision, error) {
	r := Reading{Guard: guard, Seen: n, Limit: limit}
	if limit >= 1 || n == 0 { // nothing is too much
		return r, nil, nil
	}
	d, err := g.Proportion(guard, k, n, limit)
	if err == nil {
		r.Value, r.Bound = d.Estimate.Value, d.Estimate.Low
	}
	return r, d, err
}

func readErrors(g *experiment.Guards, e *Evidence, limit float64) (Reading, *experiment.Decision, error) {
	r, d, err := share(g, Errors, e.Broken, e.Records, limit)
	r.Words = fmt.Sprintf("%s of %d records refused that the control predicts%s", percent(r.Value), e.Records, r.beside(percent))
	return r, d, err
}

func readDrift(g *experiment.Guards, e *Evidence, limit, change float64) (Reading, *experiment.Decision, error) {
	r, d, err := share(g, Drift, e.Changed, e.Compared, limit)
	r.Words = fmt.Sprintf("%s of %d predictions differ by more than %s from the control's%s", percent(r.Value), e.Compared, percent(change), r.beside(percent))
	return r, d, err
}

// ratio takes in how much larger sums are than the control's, as a share.
func (r *Reading) ratio(i experiment.Interval) {
	r.Value, r.Bound = i.Value, max(i.Low, -1)
}

// readLatency looks at the median over batches: a pause of the machine makes some batches last very long, whichever model has them.
func readLatency(g *experiment.Guards, e *Evidence, limit float64) (Reading, *experiment.Decision, error) {
	r := Reading{Guard: Latency, Limit: limit - 1}
	for _, s := range e.Ratios {
		r.Seen += s.Count
	}
	if r.Seen == 0 {
		r.Words = "no batch was timed yet"
		return r, nil, nil
	}
	r.Value, r.Bound = -1, -1
	var verdict *experiment.Decision
	above := r.Seen
	for _, s := range e.Ratios {
		if 2*above > r.Seen {
			r.Value = s.Value - 1
		}
		// Of all ratios that are shown to be below the median the largest one is a bound: each is shown so if any larger one is.
		d, err := g.Proportion(Latency, above, r.Seen, 0.5)
		if err != nil {
			return r, nil, err
		}
		if d.Outcome == experiment.Breaks {
			r.Bound = s.Value - 1
		}
		if s.Value >= limit && verdict == nil {
			verdict = d
		}
		above -= s.Count
	}
	r.Words = fmt.Sprintf("%s the control's time in the median of %d batches%s", times(r.Value), r.Seen, r.beside(times))
	return r, verdict, nil
}

func (l *Limits) readLoss(g *experiment.Guards, e *Evidence, limit float64) (Reading, *experiment.Decision, error) {
	r := Reading{Guard: Loss, Seen: e.Losses.Units, Limit: limit}
	if !(e.Losses.X.Float64() > 0) {
		r.Words = "no label has come yet"
		return r, nil, nil
	}
	name := "mean error"
	if l.Squared { // the limit is one of roots
		name, limit = "RMSE", float64((1+limit)*(1+limit))-1
	}
	d, err := g.Loss(Loss, &e.Losses, limit)
	if err == nil {
		i := d.Estimate
		if l.Squared {
			i = experiment.RootRatio(i)
		}
		r.ratio(i)
	}
	r.Words = fmt.Sprintf("%s %s that of the control, for %d keys with labels%s", name, apart(r.Value), r.Seen, r.beside(apart))
	return r, d, err
}

// beside says what a value is at least, and what it may be.
func (r *Reading) beside(show func(float64) string) string {
	text := ""
	if r.Bound > 0 {
		text = ", at least " + show(r.Bound)
	}
	return text + "; tolerance " + show(r.Limit)
}

// percent writes a share.
func percent(x float64) string { return strconv.FormatFloat(100*x, 'g', 3, 64) + " %" }

// times writes a ratio, of which x is the excess over 1.
func times(x float64) string { return strconv.FormatFloat(1+x, 'f', 2, 64) + " times" }

// apart writes a difference as a share.
func apart(x float64) string {
	if x < 0 {
		return strconv.FormatFloat(-100*x, 'f', 1, 64) + " % below"
	}
	return strconv.FormatFloat(100*x, 'f', 1, 64) + " % above"
}
