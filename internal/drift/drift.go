package drift

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"millrace.dev/feature"
	"millrace.dev/model"
	"millrace.dev/profile"
)

// Window is a window of records, as it was judged.
type Window struct {
	From, To *int64 // event times in milliseconds since 1970, To exclusive; nil for windows of records
	Rows     uint64
	Result   string // ok, warn, fail or skipped
	Findings []profile.Finding
	Columns  []profile.Column // in the bins of the reference
	Errors   Errors           // of the predictions whose labels are known
}

// Skipped is the result of a window that was not judged.
const Skipped = "skipped"

// judged tells whether the window was compared with the reference.
func (w *Window) judged() bool { return w.Result != Skipped }

// Input is what there is to say something about.
type Input struct {
	Windows   []Window // in their order
	Reference *profile.Profile
	Inputs    []model.Input  // of the model, and
	Uses      []feature.Uses // what they are computed from
	Times     []string       // the fields that are times
	Test      model.Scores   // of the test part of the training data
	Labelled  bool           // labels were looked for
	// Unseen are texts that training has not seen, with how often they came in the last windows, by field. Default: nil, which
	// ones they are is not known.
	Unseen map[string][]profile.Frequent
}

// Report is what can be said of windows.
type Report struct {
	Pipeline  string    `json:"pipeline"`
	Model     string    `json:"model"`
	Digest    string    `json:"digest"`
	Data      string    `json:"data"` // what was looked at
	Unit      string    `json:"unit,omitempty"`
	Windows   Summary   `json:"windows"`
	Moved     []Moved   `json:"moved"` // by what the model is hit, most first
	Back      []Moved   `json:"back,omitempty"`
	Exposure  Number    `json:"exposure"` // the sum over moved inputs of importance and affected share
	Predicted *Shift    `json:"prediction,omitempty"`
	Together  *Effect   `json:"together,omitempty"` // of all moved columns
	Labels    *Loss     `json:"labels,omitempty"`
	Action    Action    `json:"recommendation"`
	Rule      string    `json:"rule"` // which led to the recommendation
	Reason    string    `json:"reason"`
	Notes     []string  `json:"notes,omitempty"`        // on the data as a whole
	Lacking   []string  `json:"not_computed,omitempty"` // and why
	List      []Line    `json:"list"`
	last      *Window   // that was judged
	judged    []*Window // all of them
	reference *profile.Profile
}

// Summary counts windows.
type Summary struct {
	Judged  int    `json:"judged"`
	Skipped int    `json:"skipped"` // with too few records
	Failed  int    `json:"failed"`
	Warned  int    `json:"warned"`
	Older   int    `json:"older"` // that were left out
	Other   int    `json:"other"` // of other models
	Rows    uint64 `json:"rows"`
	From    *int64 `json:"from"`
	To      *int64 `json:"to"`
}

// Line is a window in the list of all.
type Line struct {
	From   *int64   `json:"from"`
	To     *int64   `json:"to"`
	Rows   uint64   `json:"rows"`
	Result string   `json:"result"`
	Failed []string `json:"failed"` // columns
	Errors *Scores  `json:"errors,omitempty"`
}

// Since says since when a column fails.
type Since struct {
	From    *int64 `json:"from"`    // event time of the first window of the run, in milliseconds; null for windows of records
	To      *int64 `json:"to"`      // of the last one
	Window  int    `json:"window"`  // the first window of the run, from 1, among those judged
	Windows int    `json:"windows"` // of the run: windows in a row, without those that were not judged
	Failed  int    `json:"failed"`  // among all that were judged
	Open    bool   `json:"open"`    // the run begins with the first window that was judged: it may be older
}

// Figures describe a column.
type Figures struct {
	Rows      uint64 `json:"rows"`
	Missing   Number `json:"missing"` // share
	Mean      Number `json:"mean"`
	Median    Number `json:"median"`
	Deviation Number `json:"deviation"`
	Min       Number `json:"min"`
	Max       Number `json:"max"`
}

// LevelShift is a level whose share has changed.
type LevelShift struct {
	Level  string `json:"level"`
	Before Number `json:"before"`
	After  Number `json:"after"`
}

// Shift is a column that differs from the training data.
type Shift struct {
	Column   string           `json:"column"`
	Role     profile.Role     `json:"role"`
	Kind     profile.Kind     `json:"kind"`
	Severity profile.Severity `json:"severity"` // in the last window that was judged
	Since    *Since           `json:"since,omitempty"`
	Findings []string         `json:"findings,omitempty"` // in words
	Before   Figures          `json:"before"`             // of the training data
	After    Figures          `json:"after"`              // of the last window that was judged
	Levels   []LevelShift     `json:"levels,omitempty"`   // that have changed most
	PSI      Number           `json:"psi"`                // in nats
	Below    Number           `json:"below"`              // the share of rows that are below the training range
	Above    Number           `json:"above"`              // and above it
	Unseen   Number           `json:"unseen"`             // the share of rows with a text that training has not seen
	Affected Number           `json:"affected"`           // see affected
	Side     int              `json:"side,omitempty"`     // where the median is not known since it is outside of the training range: -1 below, 1 above
}

// Moved is a column of the records, or a feature, that differs.
type Moved struct {
	Shift

	Importance Number   `json:"importance"`            // of the input of this name
	Reach      Number   `json:"reach"`                 // that, and of the features that use it
	Feeds      []string `json:"feeds,omitempty"`       // features that use it
	ComputedOf []string `json:"computed_of,omitempty"` // of a feature: fields
	Reads      []string `json:"reads,omitempty"`       // of a feature: tables and windows
	Causes     []string `json:"causes,omitempty"`      // the fields among ComputedOf that have moved
	Calendar   bool     `json:"calendar,omitempty"`    // a feature of times alone: it moves with the calendar
	Fault      *Fault   `json:"fault,omitempty"`
	Effect     *Effect  `json:"effect,omitempty"`
	Words      []string `json:"words"`
}

// Effect is what a column does to predictions: how the mean prediction of records changes if the column's values are put
// back to the distribution of the training data.
type Effect struct {
	Rows     int    `json:"rows"`     // records that were predicted again
	Mean     Number `json:"mean"`     // prediction as it is
	Restored Number `json:"restored"` // with the column put back
	Error    Number `json:"error"`    // the standard error of the difference
	Changed  Number `json:"changed"`  // the share of records whose prediction changes by more than 1 %
}

// Share returns by how much of the restored mean the column has changed the mean prediction.
func (e *Effect) Share() float64 {
	return (float64(e.Mean) - float64(e.Restored)) / math.Abs(float64(e.Restored))
}

// Number is a number that is null in JSON where it is not finite.
type Number float64

// MarshalJSON writes the number, or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if x := float64(n); math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// ErrNothing says that no window was judged.
var ErrNothing = errors.New("drift: no window was judged")

// Analyze returns what can be said of windows, but for the recommendation: see [Report.Conclude]. The error matches
// [ErrNothing], or says that the windows are of another reference.
func Analyze(in *Input) (*Report, error) {
	r := &Report{Moved: []Moved{}, reference: in.Reference}
	for i := range in.Windows {
		w := &in.Windows[i]
		if err := sameBins(in.Reference, w); err != nil {
			return nil, err
		}
		r.List = append(r.List, line(w))
		r.Windows.Rows += w.Rows
		if i == 0 {
			r.Windows.From = w.From
		}
		r.Windows.To = w.To
		if !w.judged() {
			r.Windows.Skipped++
			continue
		}
		r.judged = append(r.judged, w)
		switch profile.Severity(w.Result) {
		case profile.Fail:
			r.Windows.Failed++
		case profile.Warn:
			r.Windows.Warned++
		default:
		}
	}
	r.Windows.Judged = len(r.judged)
	if len(r.judged) == 0 {
		return nil, ErrNothing
	}
	r.last = r.judged[len(r.judged)-1]
	r.columns(in)
	if in.Labelled {
		r.Labels = r.loss(in)
	}
	return r, nil
}

// sameBins wants the columns of a window to be counted as the reference's.
func sameBins(reference *profile.Profile, w *Window) error {
	for i := range w.Columns {
		c := &w.Columns[i]
		ref, ok := reference.Column(c.Name)
		if !ok || ref.Kind != c.Kind || len(ref.Counts) != len(c.Counts) {
			return fmt.Errorf("drift: the window has a column %.80q that the model's profile does not have so", c.Name)
		}
	}
	return nil
}

func line(w *Window) Line {
	l := Line{From: w.From, To: w.To, Rows: w.Rows, Result: w.Result, Failed: []string{}}
	for i := range w.Findings {
		f := &w.Findings[i]
		if n := len(l.Failed); f.Severity == profile.Fail && (n == 0 || l.Failed[n-1] != f.Column) {
			l.Failed = append(l.Failed, f.Column)
		}
	}
	if w.Errors.Rows > 0 {
		s := w.Errors.Scores()
		l.Errors = &s
	}
	return l
}
