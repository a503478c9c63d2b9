package report

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"millrace.dev/internal/chart"
	"millrace.dev/model"
	"millrace.dev/profile"
)

// Subject is a model with what the registry knows of it.
type Subject struct {
	Bundle *model.Bundle
	Ref    string // NAME@VERSION, or the file of the bundle
	Digest string
	Bytes  int64 // of the bundle; 0 if it is not known
	// What follows is the registry's, and empty for a bundle that is a file.
	State        string // candidate, approved or rejected
	Aliases      []string
	RegisteredBy string
	RegisteredAt time.Time
	DecidedBy    string
	DecidedAt    time.Time
	Reason       string
	Gates        []Gate
	Log          []Event
}

// Gate is the outcome of a gate in training.
type Gate struct {
	Name, Words string
	Passed      bool
}

// text returns the outcome in one line.
func (g *Gate) text() string {
	verdict := "passed"
	if !g.Passed {
		verdict = "REFUSED"
	}
	return chart.OneLine(fmt.Sprintf("gate %s %s: %s", g.Name, verdict, g.Words))
}

// Event is a line of the log of a version.
type Event struct {
	At                    time.Time
	Action, Actor, Reason string
}

// label returns the name of the label with its unit.
func (s *Subject) label() string { return s.with(s.Bundle.Manifest.Label) }

// with returns a name of something in the label's unit, with that.
func (s *Subject) with(name string) string {
	if u := s.Bundle.Manifest.LabelUnit; u != "" {
		return name + " (" + u + ")"
	}
	return name
}

// number writes a number with all of its digits, unless it has so many that nobody would read them.
func number(x float64) string {
	if math.Abs(x) >= 1e9 {
		return chart.Short(x)
	}
	return chart.Number(x)
}

// amount writes a number in the label's unit.
func (s *Subject) amount(x float64) string {
	text := number(x)
	if u := s.Bundle.Manifest.LabelUnit; u != "" && !math.IsNaN(x) {
		text += " " + u
	}
	return text
}

// tile is a number on which a decision rests.
type tile struct{ Name, Number, Note string }

// tiles returns the numbers on which a decision rests.
func (s *Subject) tiles() []tile {
	test, e := s.Bundle.Metrics.Test, s.Bundle.Evaluation
	list := []tile{{Name: "test RMSE", Number: s.amount(test.RMSE)}, {Name: "test MAE", Number: s.amount(test.MAE)}, {Name: "test R²", Number: fraction(test.R2), Note: "1 is perfect, 0 is no better than the mean"}}
	if e == nil {
		return list
	}
	list[0].Note = against(test.RMSE, e.MeanRMSE, s.amount(e.MeanRMSE))
	list[1].Note = against(test.MAE, e.MeanMAE, s.amount(e.MeanMAE))
	if x := quantileAt(e.Relative, 0.5); !math.IsNaN(x) {
		list = append(list, tile{"half of the predictions are off by at most", chart.Percent(x), "90% of them by at most " + chart.Percent(quantileAt(e.Relative, 0.9))})
	} else if x := quantileAt(e.Absolute, 0.5); !math.IsNaN(x) {
		list = append(list, tile{"half of the predictions are off by at most", s.amount(x), "90% of them by at most " + s.amount(quantileAt(e.Absolute, 0.9))})
	}
	return list
}

// against compares an error with that of the mean predictor.
func against(x, mean float64, text string) string {
	switch less := 1 - x/mean; {
	case math.IsNaN(less) || math.IsInf(less, 0):
		return ""
	case less < 0:
		return chart.Percent(-less) + " more than predicting the mean: " + text
	default:
		return chart.Percent(less) + " less than predicting the mean: " + text
	}
}

// quantileAt returns the error at part p; NaN if there is none.
func quantileAt(list []model.ErrorQuantile, p float64) float64 {
	for _, q := range list {
		if q.P == p {
			return q.Error
		}
	}
	return math.NaN()
}

func fraction(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.4f", x)
}

// scores returns a table of the errors by part of the data.
func (s *Subject) scores() [][]string {
	m, e := &s.Bundle.Metrics, s.Bundle.Evaluation
	rows := [][]string{{"part", "rows", s.with("RMSE"), s.with("MAE"), "R²", s.with("mean label")}}
	for _, p := range []struct {
		name string
		of   model.Scores
	}{{"train", m.Train}, {"validation", m.Validation}, {"test", m.Test}} {
		rows = append(rows, []string{
			p.name, chart.Grouped(int64(p.of.Rows)), number(p.of.RMSE), number(p.of.MAE), fraction(p.of.R2), number(p.of.LabelMean),
		})
	}
	if e != nil {
		rows = append(rows, []string{"test, if the mean were predicted", chart.Grouped(int64(e.Rows)), number(e.MeanRMSE), number(e.MeanMAE), "-", number(m.Train.LabelMean)})
	}
	return rows
}

// groups returns a table of the errors by size of the prediction; nil without an evaluation.
func (s *Subject) groups() [][]string {
	if s.Bundle.Evaluation == nil || len(s.Bundle.Evaluation.Groups) == 0 {
		return nil
	}
	rows := [][]string{{s.with("prediction up to"), "rows", s.with("bias"), s.with("MAE"), "10% of the errors below", "10% above"}}
	for _, g := range s.Bundle.Evaluation.Groups {
		rows = append(rows, []string{
			number(g.Upper), chart.Grouped(int64(g.Rows)), signed(g.Bias), number(g.MAE), signed(g.Low), signed(g.High),
		})
	}
	return rows
}

// quantiles returns a table of quantiles of the error; nil without an evaluation.
func (s *Subject) quantiles() [][]string {
	e := s.Bundle.Evaluation
	if e == nil || len(e.Absolute) == 0 {
		return nil
	}
	head, absolute, relative := []string{"part of the test rows"}, []string{s.with("error at most")}, []string{"in percent of the " + s.Bundle.Manifest.Label}
	for _, q := range e.Absolute {
		head, absolute = append(head, chart.Short(100*q.P)+"%"), append(absolute, number(q.Error))
	}
	rows := [][]string{head, absolute}
	if len(e.Relative) == len(e.Absolute) {
		for _, q := range e.Relative {
			relative = append(relative, chart.Percent(q.Error))
		}
		rows = append(rows, relative)
	}
	return rows
}

func signed(x float64) string {
	if x > 0 {
		return "+" + number(x)
	}
	return number(x)
}

// data returns what the model was trained on.
func (s *Subject) data() []fact {
	l := &s.Bundle.Lineage
	sp := l.Split
	list := facts(
		"data", l.DataName, "rows read", chart.Grouped(int64(l.Rows.Read)), "rows left out", chart.Grouped(int64(l.Rows.Excluded))+ofRead(l.Rows.Excluded, l.Rows.Read),
		"condition", l.Where,
		"split", fmt.Sprintf("%s train, %s validation, %s test, by seed %d", chart.Percent(sp.Train), chart.Percent(sp.Validation), chart.Percent(sp.Test), sp.Seed),
		"rows by part", fmt.Sprintf("%s train, %s validation, %s test", chart.Grouped(int64(l.Rows.Train)), chart.Grouped(int64(l.Rows.Validation)), chart.Grouped(int64(l.Rows.Test))),
	)
	return list
}

func ofRead(n, read int) string {
	if n == 0 || read == 0 {
		return ""
	}
	return " (" + chart.Percent(float64(n)/float64(read)) + ")"
}

// lineage returns what the model was made of and by what.
func (s *Subject) lineage() []fact {
	m, l := &s.Bundle.Manifest, &s.Bundle.Lineage
	list := facts("model digest", s.Digest, "data digest", l.DataDigest)
	if x := l.Labels; x != nil {
		list = append(list, facts("labels", x.Field+" of "+x.DataName+", "+x.DataDigest)...)
	}
	for _, t := range l.Tables {
		list = append(list, facts("table "+chart.OneLine(t.Name), t.DataName+", "+t.DataDigest)...)
	}
	if x := l.Imported; x != nil {
		list = append(list, facts("trees imported from", x.Name+", of "+strings.TrimSpace(x.Format+" "+x.Version)+", "+x.Digest)...)
	}
	list = append(list, facts("digest of the declared features", l.PlanDigest)...)
	for i := range list {
		list[i].Long = true
	}
	created := ""
	if !m.Created.IsZero() {
		created = m.Created.UTC().Format(time.RFC3339)
	}
	size := ""
	if s.Bytes > 0 {
		size = chart.Grouped(s.Bytes) + " bytes"
	}
	return append(list, facts(
		"run", l.RunID, "version of millrace", m.Millrace, "version of the pipeline's files", l.CodeVersion, "created", created, "event time", m.EventTime,
		"prediction goes into", m.SinkField, "trees", chart.Grouped(int64(s.Bundle.Forest.Trees())), "golden rows", chart.Grouped(int64(len(s.Bundle.Golden))),
		"size", size,
	)...)
}

// head returns who made and decided what.
func (s *Subject) head() []fact {
	list := facts("predicts", s.label(), "digest", s.Digest, "made by", "millrace "+s.Bundle.Manifest.Millrace+", run "+s.Bundle.Lineage.RunID)
	list[2].Value = strings.TrimSuffix(list[2].Value, ", run ")
	list[1].Long = true
	if s.RegisteredBy != "" {
		list = append(list, facts("registered", by(s.RegisteredBy, s.RegisteredAt))...)
	}
	if s.DecidedBy != "" {
		list = append(list, facts("decided", by(s.DecidedBy, s.DecidedAt), "reason", s.Reason)...)
	}
	return list
}

func by(who string, at time.Time) string { return who + ", " + at.UTC().Format(time.RFC3339) }

// parameters returns the parameters of the trainer, by name in the order that they are stored in.
func (s *Subject) parameters() []fact {
	var list []fact
	d := json.NewDecoder(strings.NewReader(string(s.Bundle.Lineage.Params)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return list
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return list
		}
		list = append(list, facts(fmt.Sprint(name), strings.Trim(string(v), `"`))...)
	}
	return list
}

// importance returns the importance of each input as a part of 1, by name.
func (s *Subject) importance() map[string]float64 {
	out := map[string]float64{}
	for _, in := range s.Bundle.Inputs {
		out[in.Name] = in.Importance
	}
	return out
}

// column returns the column of the profile of a name.
func (s *Subject) column(name string) (*profile.Column, bool) {
	if s.Bundle.Profile == nil {
		return nil, false
	}
	return s.Bundle.Profile.Column(name)
}
