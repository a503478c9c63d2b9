package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/watch"
	"millrace.dev/model"
	"millrace.dev/profile"
)

// WindowResult is what is said of a window that is over: a record of the topic of results, as JSON.
type WindowResult struct {
	Version  int    `json:"version"` // of this form: 1
	Pipeline string `json:"pipeline"`
	Model    string `json:"model"`
	Digest   string `json:"digest"`
	// From and To bound the window in event time, in milliseconds since 1970, To exclusive; null for windows of records.
	From *int64 `json:"from"`
	To   *int64 `json:"to"`
	// Judged is when the window was judged, in milliseconds since 1970.
	Judged int64  `json:"judged"`
	Result string `json:"result"` // ok, warn, fail, or skipped
	// Action is what the pipeline file asks for: alert, pause or retrain. Default: none, the window has not failed.
	Action string `json:"action,omitempty"`
	*profile.Verdict
	watch.Totals                  // until now, since the instance that judged has begun
	Columns      []profile.Column `json:"columns"`
	// Shortened says that findings and columns were left out since a topic does not take so much: first those that are good.
	Shortened bool `json:"shortened,omitempty"`
}

// mostResult is how many bytes a result has at most: a topic takes 1 MiB if nobody has set it otherwise.
const mostResult = 1000 << 10

// The results of a window beside the severities.
const resultSkipped = "skipped"

// judge says what there is to say of windows. It is for one goroutine at a time.
type judge struct {
	pipeline, model, digest string
	checker                 *profile.Checker
	onFail                  config.OnFail
}

// newJudge returns the judge of the windows of a model, against a reference that [watchOptions] gives.
func newJudge(p *config.Pipeline, c *config.WindowChecks, m *model.Loaded, reference *profile.Profile) (*judge, error) {
	checker, err := profile.NewChecker(reference, windowRules(c))
	if err != nil {
		return nil, &Error{
			Code: Usage, Op: "checks.window", Where: p.File, Err: fmt.Errorf("with the model %s: %w", m.Ref, err), Hint: "mend checks.window, or train a model with this file",
		}
	}
	return &judge{pipeline: p.Name, model: m.Ref, digest: m.Digest, checker: checker, onFail: c.OnFail}, nil
}

// windowRules returns the rules of a pipeline file.
func windowRules(c *config.WindowChecks) profile.Rules {
	r := profile.Rules{MinRows: uint64(c.MinRecords), FalseAlarms: c.FalseAlarms, Columns: c.Columns}
	if c.NullsMax >= 0 {
		r.Nulls = &profile.NullRule{Max: c.NullsMax}
	}
	change := func(s *config.ShiftCheck) *profile.ChangeRule {
		if s == nil {
			return nil
		}
		return &profile.ChangeRule{Columns: s.Columns, Within: s.Within}
	}
	r.Mean, r.Median, r.Range = change(c.Mean), change(c.Median), change(c.Range)
	r.Drift.Metric = c.Drift.Metric
	if !math.IsInf(c.Drift.Warn, 1) {
		r.Drift.Warn = c.Drift.Warn
	}
	if !math.IsInf(c.Drift.Fail, 1) {
		r.Drift.Fail = c.Drift.Fail
	}
	return r
}

// result judges a window.
func (j *judge) result(w *watch.Closed, totals watch.Totals, now time.Time) (*WindowResult, error) {
	v, err := j.checker.Check(w.Profile)
	if err != nil {
		return nil, err
	}
	r := &WindowResult{
		Version: 1, Pipeline: j.pipeline, Model: j.model, Digest: j.digest, Judged: now.UnixMilli(), Result: string(v.Severity), Verdict: v, Totals: totals,
		Columns: w.Profile.Columns,
	}
	if w.To > 0 || w.From < 0 {
		from, to := w.From/1000, w.To/1000
		r.From, r.To = &from, &to
	}
	if v.Skipped != "" {
		r.Result = resultSkipped
	}
	if v.Severity == profile.Fail {
		r.Action = string(j.onFail)
	}
	return r, nil
}

// failed returns the findings that are worse than ok, the worst first.
func (r *WindowResult) failed() []profile.Finding {
	var fails, warns []profile.Finding
	for _, f := range r.Findings {
		switch f.Severity {
		case profile.Fail:
			fails = append(fails, f)
		case profile.Warn:
			warns = append(warns, f)
		default:
		}
	}
	return append(fails, warns...)
}

// name says which window it is.
func (r *WindowResult) name() string {
	if r.From == nil {
		return fmt.Sprintf("the last %d records", r.Rows)
	}
	at := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
	return at(*r.From) + " to " + at(*r.To)
}

// mostWords is how many findings a log entry has.
const mostWords = 5

// tell writes a window to the log: one that failed as a warning, with the words of the first findings.
func (j *judge) tell(ctx context.Context, log *slog.Logger, r *WindowResult) {
	list := r.failed()
	attrs := []slog.Attr{slog.String("window", r.name()), slog.Uint64("records", r.Rows), slog.String("result", r.Result)}
	switch {
	case r.Result == string(profile.Fail):
		attrs = append(attrs, slog.String("action", r.Action))
	case len(list) == 0:
		log.LogAttrs(ctx, slog.LevelInfo, "a window was compared with the training data", attrs...)
		return
	}
	for i := range list[:min(len(list), mostWords)] {
		attrs = append(attrs, slog.String(fmt.Sprintf("finding_%d", i+1), list[i].Words))
	}
	if n := len(list) - mostWords; n > 0 {
		attrs = append(attrs, slog.Int("more_findings", n))
	}
	log.LogAttrs(ctx, slog.LevelWarn, "a window differs from the training data", attrs...)
}

// result is a window result as bytes, with the pause that it leads to, or nil.
type result struct{ value, control []byte }

// bytes returns the result as JSON, with as much as most bytes have room for: what is worse than ok and the columns of that, the
// worst first, and the prediction.
func (r *WindowResult) bytes(most int) ([]byte, error) {
	value, err := json.Marshal(r)
	if err != nil || len(value) <= most {
		return value, err
	}
	short, list := *r, r.failed()
	short.Shortened = true
	for {
		named := map[string]bool{}
		for i := range list {
			named[list[i].Column] = true
		}
		verdict := *r.Verdict
		verdict.Findings, short.Verdict = list, &verdict
		short.Columns = slices.DeleteFunc(slices.Clone(r.Columns), func(c profile.Column) bool { return c.Role != profile.Prediction && !named[c.Name] })
		if value, err = json.Marshal(&short); err != nil || len(value) <= most || len(list) == 0 {
			return value, err
		}
		list = list[:len(list)/2]
	}
}

// encode returns the bytes of a result.
func (j *judge) encode(r *WindowResult) (out result, err error) {
	if out.value, err = r.bytes(mostResult); err != nil {
		return out, err
	}
	if r.Action == string(config.OnFailPause) {
		reason := "the records of the window " + r.name() + " differ from the training data"
		if list := r.failed(); len(list) > 0 {
			reason += ": " + list[0].Words
		}
		out.control, err = json.Marshal(Control{State: Paused, Reason: reason, By: "checks.window", At: r.Judged})
	}
	return out, err
}

// resultCodec writes results.
type resultCodec struct{ onlyResult }

// Append appends the result.
func (resultCodec) Append(dst []byte, r result) ([]byte, error) { return append(dst, r.value...), nil }

// controlCodec writes the pauses of results.
type controlCodec struct{ onlyResult }

// Append appends the pause.
func (controlCodec) Append(dst []byte, r result) ([]byte, error) {
	return append(dst, r.control...), nil
}

// onlyResult is the half of a codec of a topic that is written and not read.
type onlyResult struct{}

// Decode returns the bytes as a result.
func (onlyResult) Decode(b []byte) (result, error) { return result{value: b}, nil }
