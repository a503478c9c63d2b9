package drift

import (
	"math"

	"millrace.dev/profile"
)

// Action is what a report recommends.
type Action string

// The actions.
const (
	Retrain Action = "retrain"      // train the model on newer data
	Watch   Action = "watch"        // leave it, and look again
	FixData Action = "fix the data" // at its source: a model that is trained on it would learn the fault
	None    Action = "nothing"
)

// The bounds of what matters to a model.
const (
	LargeExposure = 0.10 // of a model's importance whose values have changed
	LargePSI      = 0.25 // of the predictions, in nats: by convention a large change
	LargeEffect   = 0.10 // of the mean prediction, by what has moved
	LargeLoss     = 0.05 // of the error on the test part: less is not worth a training
)

// evidence is what the recommendation depends on.
type evidence struct {
	moved    bool    // a field, a feature or the prediction fails in the last window
	warned   bool    // one is beyond the threshold of a warning
	fault    bool    // a column that the model uses looks broken
	lasting  bool    // it fails in two windows in a row or more, or there is but one
	exposure float64 // see Report.Exposure
	psi      float64 // of the predictions
	effect   float64 // of all moved columns on the mean prediction, as a share of it
	labels   Outcome // "" where none were looked for
	worse    float64 // by how much the error is above the test part's
}

// large tells whether what has moved matters to the predictions.
func (e *evidence) large() bool {
	return e.exposure >= LargeExposure || e.psi >= LargePSI || e.effect >= LargeEffect
}

// decide is the recommendation, and the name of the rule that leads to it. The first rule that holds decides.
func decide(e *evidence) (Action, string) {
	switch {
	case e.fault:
		return FixData, "fault"
	case e.labels == Confirmed && e.worse >= LargeLoss:
		return Retrain, "loss"
	case e.labels == Confirmed:
		return Watch, "small_loss"
	case e.labels == NotConfirmed && e.moved:
		return Watch, "no_loss"
	case e.moved && !e.large():
		return Watch, "small"
	case e.moved && !e.lasting:
		return Watch, "once"
	case e.moved:
		return Retrain, "moved"
	case e.warned:
		return Watch, "warning"
	default:
		return None, "ok"
	}
}

// evidence collects it.
func (r *Report) evidence() *evidence {
	e := &evidence{exposure: float64(r.Exposure)}
	add := func(s *Shift) {
		switch s.Severity {
		case profile.Fail:
			e.moved = true
			e.lasting = e.lasting || s.Since.Windows > 1 || len(r.judged) == 1
		case profile.Warn:
			e.warned = true
		default:
		}
	}
	for i := range r.Moved {
		m := &r.Moved[i]
		add(&m.Shift)
		e.fault = e.fault || m.Fault != nil && m.Reach > 0
		if m.Effect != nil {
			e.effect = max(e.effect, math.Abs(m.Effect.Share()))
		}
	}
	if r.Together != nil {
		e.effect = max(e.effect, math.Abs(r.Together.Share()))
	}
	if p := r.Predicted; p != nil {
		add(p)
		if p.Severity == profile.Fail && !math.IsNaN(float64(p.PSI)) {
			e.psi = float64(p.PSI)
		}
	}
	if r.Labels != nil {
		e.labels, e.worse = r.Labels.Outcome, float64(r.Labels.Worse)
	}
	return e
}

// Conclude fills in the words and the recommendation, when the effects of the moved columns are known, or are not.
func (r *Report) Conclude() {
	e := r.evidence()
	r.Action, r.Rule = decide(e)
	for i := range r.Moved {
		r.Moved[i].Words = r.movedWords(&r.Moved[i])
	}
	for i := range r.Back {
		r.Back[i].Words = []string{backWords(&r.Back[i])}
	}
	r.Reason = r.reason(e)
}
