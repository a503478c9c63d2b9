package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"millrace.dev/internal/anomaly"
	"millrace.dev/internal/app"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/model"
)

// Where Airflow's KubernetesPodOperator looks for what a task returns, in a folder that it mounts.
const (
	xcomFolder = "/airflow/xcom"
	xcomFile   = "return.json"
)

// result is what a command for schedulers says at its end. A measure that is not defined is null.
type result struct {
	*trained
	outcome
}

// trained is what train says of a model.
type trained struct {
	Model   string        `json:"model"`
	Digest  string        `json:"digest"`
	Rows    trainedRows   `json:"rows"`
	Metrics trainedScores `json:"metrics"`
}

// outcome is how a command ended.
type outcome struct {
	Status   string         `json:"status"` // ok, failed, refused, skipped or stopped
	ExitCode int            `json:"exit_code"`
	State    registry.State `json:"state,omitempty"` // of the version
	Existed  *bool          `json:"existed,omitempty"`
	RunID    string         `json:"run_id,omitempty"`
	Interval *interval      `json:"data_interval,omitempty"`
	Gates    []gate         `json:"gates,omitempty"`
	Error    *failure       `json:"error,omitempty"`
}

type interval struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// gate is the outcome of a gate.
type gate struct {
	registry.Gate

	Champion  string            `json:"champion,omitempty"` // that was compared with
	Contest   *contest          `json:"contest,omitempty"`
	Anomalies []anomaly.Anomaly `json:"anomalies,omitempty"`
}

// contest is the paired comparison with the champion.
type contest struct {
	Rows       int     `json:"rows"`
	Unscored   int     `json:"unscored"` // test rows that the champion rejects
	Candidate  float64 `json:"candidate"`
	Champion   float64 `json:"champion"`
	Difference float64 `json:"mean_difference"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Level      float64 `json:"level"` // coverage of low to high
	P          float64 `json:"p"`
	Known      *int    `json:"champion_trained_on"` // null: it is not known
}

// failure is an error.
type failure struct {
	Code    string `json:"code"` // failed, usage, refused, nothing or stopped
	Op      string `json:"op,omitempty"`
	Where   string `json:"where,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

type trainedRows struct {
	Read       int `json:"read"`
	Excluded   int `json:"excluded"`
	Train      int `json:"train"`
	Validation int `json:"validation"`
	Test       int `json:"test"`
}

type trainedScores struct {
	Train      scores `json:"train"`
	Validation scores `json:"validation"`
	Test       scores `json:"test"`
}

type scores struct {
	RMSE *float64 `json:"rmse"`
	MAE  *float64 `json:"mae"`
	R2   *float64 `json:"r2"`
}

// defaultResultFile is where the result goes that nobody has named a file for; "" is nowhere.
func (c *cli) defaultResultFile() string {
	if i, err := os.Stat(c.xcom); err != nil || !i.IsDir() {
		return ""
	}
	return filepath.Join(c.xcom, xcomFile)
}

// tellResult prints the result of a training, where that was asked for, and writes it to a file, unless that is "". It returns
// the error of the training, with that of writing.
func (c *cli) tellResult(ctx context.Context, file string, t *app.Trained, err error) error {
	r := newResult(ctx, t, err)
	if file != "" {
		if fault := app.WriteFile(file, c.out, func(w io.Writer) error { return writeJSON(w, r) }); fault != nil {
			if err == nil || app.Message(err) != app.Message(fault) { // it may have been found out before
				err = errors.Join(err, fault)
			}
			r = newResult(ctx, t, err) // what the exit code will be
		}
	}
	if !c.json {
		return err
	}
	if err != nil && r.Status != "stopped" { // before the result, which has to be the last line also where both streams are one
		c.report(err)
		err = &reported{err}
	}
	return errors.Join(err, c.printJSON(r))
}

// reported is an error that a person has been told of.
type reported struct{ error }

// Unwrap returns the error.
func (r *reported) Unwrap() error { return r.error }

func newResult(ctx context.Context, t *app.Trained, err error) result {
	code, hint := app.Explain(err)
	r := result{outcome: outcome{Status: statusOf(code), ExitCode: int(code)}}
	if signal := signalCode(ctx, err); signal != 0 {
		r.Status, r.ExitCode = "stopped", signal
	}
	if err != nil {
		r.Error = &failure{Code: codeName(r.ExitCode), Message: app.Message(err), Hint: hint}
		if e, ok := errors.AsType[*app.Error](err); ok {
			r.Error.Op, r.Error.Where, r.Error.Message = e.Op, e.Where, app.Message(e.Err)
		} else if e, ok := errors.AsType[*kafka.Error](err); ok {
			r.Error.Op, r.Error.Where = e.Op, e.Where
		}
	}
	if r.Status == "stopped" && err != nil {
		r.Error.Message = context.Cause(ctx).Error()
	}
	if t == nil {
		return r
	}
	r.trained, r.State, r.RunID = trainedJSON(t), t.State, t.RunID
	if t.Model != "" {
		r.Existed = &t.Existed
	}
	if !t.Interval.IsZero() {
		r.Interval = &interval{t.Interval.From, t.Interval.To}
	}
	for i := range t.Gates {
		r.Gates = append(r.Gates, gateJSON(&t.Gates[i]))
	}
	return r
}

// statusOf names an exit code.
func statusOf(code app.Code) string {
	switch code {
	case app.OK:
		return "ok"
	case app.Refused:
		return "refused"
	case app.Nothing:
		return "skipped"
	default:
		return "failed"
	}
}

// codeName says what kind of error an exit code stands for.
func codeName(code int) string {
	switch app.Code(code) {
	case app.Usage:
		return "usage"
	case app.Refused:
		return "refused"
	case app.Nothing:
		return "nothing"
	case app.Failed:
		return "failed"
	default:
		return "stopped"
	}
}

func gateJSON(g *app.GateResult) gate {
	out := gate{Gate: g.Gate, Champion: g.Champion, Anomalies: g.Anomalies}
	if k := g.Contest; k != nil {
		out.Contest = &contest{
			Rows: k.Rows, Unscored: k.Unscored, Candidate: k.Candidate, Champion: k.Champion, Difference: k.Difference, Low: k.Low, High: k.High,
			Level: k.Level, P: k.P,
		}
		if k.Known >= 0 {
			out.Contest.Known = &k.Known
		}
	}
	return out
}

func trainedJSON(t *app.Trained) *trained {
	value := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	of := func(s model.Scores) scores { return scores{RMSE: value(s.RMSE), MAE: value(s.MAE), R2: value(s.R2)} }
	r, m := t.Rows, t.Metrics
	return &trained{
		Model: t.Model, Digest: t.Digest,
		Rows:    trainedRows{Read: r.Read, Excluded: r.Excluded, Train: r.Train, Validation: r.Validation, Test: r.Test},
		Metrics: trainedScores{Train: of(m.Train), Validation: of(m.Validation), Test: of(m.Test)},
	}
}

// writeJSON writes v on one line. Characters that mean something in HTML stay as they are.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
