package canary

import (
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
	// Scoring has over batches the seconds that the candidate took (y), and the control for the same rows (x).
	Scoring experiment.Cross
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

// The least numbers of units for which sums are taken for normal.
const (
	leastBatches = 30
	leastKeys    = 100
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
	return math.Abs(a/2-b/2) > float64(part*max(math.Abs(a), math.Abs(b)))/2 // halves do not overflow
}

// Read has the guards look.
func (l *Limits) Read(e *Evidence) []Reading {
	n := 0
	for _, limit := range []*float64{l.Errors, l.Latency, l.Drift, l.Loss} {
		if limit != nil {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	alpha := l.Alpha / float64(n)
	var all []Reading
	if l.Errors != nil {
		all = append(all, readErrors(e, *l.Errors, alpha))
	}
	if l.Latency != nil {
		all = append(all, readLatency(e, *l.Latency, alpha))
	}
	if l.Drift != nil {
		all = append(all, readDrift(e, *l.Drift, l.Change, alpha))
	}
	if l.Loss != nil {
		all = append(all, l.readLoss(e, *l.Loss, alpha))
	}
	return all
}

// share makes a reading of a share.
func share(guard string, k, n int64, limit, alpha float64) Reading {
	r := Reading{Guard: guard, Seen: n, Limit: limit}
	if n > 0 {
		r.Value, r.Bound = float64(k)/float64(n), shareAtLeast(k, n, alpha)
	}
	r.Alarm = r.Bound > limit
	return r
}

func readErrors(e *Evidence, limit, alpha float64) Reading {
	r := share(Errors, e.Broken, e.Records, limit, alpha)
	r.Words = fmt.Sprintf("%s of %d records refused that the control predicts%s", percent(r.Value), e.Records, r.beside(percent))
	return r
}

func readDrift(e *Evidence, limit, change, alpha float64) Reading {
	r := share(Drift, e.Changed, e.Compared, limit, alpha)
	r.Words = fmt.Sprintf("%s of %d predictions differ by more than %s from the control's%s", percent(r.Value), e.Compared, percent(change), r.beside(percent))
	return r
}

func readLatency(e *Evidence, limit, alpha float64) Reading {
	r := Reading{Guard: Latency, Seen: e.Scoring.Units, Limit: limit - 1}
	if r.Seen == 0 {
		r.Words = "no batch was timed yet"
		return r
	}
	value, bound := ratioAtLeast(&e.Scoring, alpha, leastBatches)
	r.Value, r.Bound = value-1, max(bound-1, -1)
	r.Alarm = r.Bound > r.Limit
	r.Words = fmt.Sprintf("%s the control's time in %d batches%s", times(r.Value), r.Seen, r.beside(times))
	return r
}

func (l *Limits) readLoss(e *Evidence, limit, alpha float64) Reading {
	r := Reading{Guard: Loss, Seen: e.Losses.Units, Limit: limit}
	if r.Seen == 0 {
		r.Words = "no label has come yet"
		return r
	}
	value, bound := ratioAtLeast(&e.Losses, alpha, leastKeys)
	name := "mean error"
	if l.Squared {
		value, bound, name = math.Sqrt(value), math.Sqrt(bound), "RMSE"
	}
	r.Value, r.Bound = value-1, bound-1
	r.Alarm = r.Bound > limit
	r.Words = fmt.Sprintf("%s %s that of the control, for %d keys with labels%s", name, apart(r.Value), r.Seen, r.beside(apart))
	return r
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
