package backtest

import (
	"millrace.dev/internal/drift"
)

// Report is what a backtest has found.
type Report struct {
	Pipeline string   `json:"pipeline"`
	Data     string   `json:"data"` // with the offsets that were read, where it is a topic
	Label    string   `json:"label"`
	Unit     string   `json:"unit,omitempty"` // of the label
	Every    string   `json:"every"`          // the size of a period
	Models   []Model  `json:"models"`
	Periods  []Period `json:"periods"` // those that have records, in their order
	// Untimed are the records without an event time that could be believed, which are in no period; nil where there are none.
	Untimed *Period `json:"untimed,omitempty"`
	Total   Period  `json:"total"`
	// Warmed are the records outside of the range, which only the windows have seen.
	Warmed int `json:"warmed,omitempty"`
	// Trained tells by model whether it was trained with the very data that was read.
	Trained []bool   `json:"trained"`
	Notes   []string `json:"notes,omitempty"` // on what the figures do not have
}

// Model is one that was tried.
type Model struct {
	Ref    string `json:"model"`
	Digest string `json:"digest"`
}

// Period are the records of some time, or so many of them.
type Period struct {
	From    *int64       `json:"from"` // event times in milliseconds since 1970, To exclusive; nil where the period is of records
	To      *int64       `json:"to"`
	Records int          `json:"records"`
	Results []Result     `json:"results"`           // by model
	Against []Difference `json:"against,omitempty"` // each model after the first one, beside the first one
}

// Result is what became of the records of a period with one model.
type Result struct {
	Predictions int            `json:"predictions"`
	Rejected    int            `json:"rejected"`          // records without a prediction: dead letters
	Classes     map[string]int `json:"classes,omitempty"` // of them, by stage/class
	// Coverage is the share of the predictions whose label is known; the Scores are of these.
	Coverage drift.Number `json:"coverage"`
	Scores   drift.Scores `json:"scores"`
}

// Difference compares the losses of a model with those of the first one, on the records that both have predicted and whose
// label is known. Below 0 the model is better than the first one.
type Difference struct {
	Pairs int   `json:"pairs"`
	RMSE  Delta `json:"rmse"`
	MAE   Delta `json:"mae"`
}

// Delta is a difference in the label's unit, with a 95 % confidence interval, whose ends are NaN below 30 pairs.
type Delta struct {
	Value drift.Number `json:"value"`
	Low   drift.Number `json:"low"`
	High  drift.Number `json:"high"`
}

// Certain tells whether the interval leaves 0 out.
func (d *Delta) Certain() bool { return d.Low > 0 || d.High < 0 }
