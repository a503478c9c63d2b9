package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace.dev/internal/anomaly"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/source"
	"millrace.dev/model"
	"millrace.dev/profile"
)

// The names of gates, which are their keys below model.accept; those of metrics have the metric behind a dot.
const (
	gateMetrics  = "metrics"
	gateChampion = "champion"
	gateSkew     = "skew"
	gateProfile  = "profile"
)

// gatekeeper is who rejects a model in the audit log that a gate has refused, where decisions are not signed.
const gatekeeper = "millrace train"

// GateResult is what a gate says of a model.
type GateResult struct {
	registry.Gate

	Champion  string            // name@version that was compared with; "" is none
	Contest   *batch.Contest    // of the champion gate, where there was one
	Anomalies []anomaly.Anomaly // of the profile gate: what refuses
}

// trainee is a model that was trained, with what the gates look at.
type trainee struct {
	p        *config.Pipeline
	mk       maker
	bundle   *model.Bundle
	data     []byte // the encoded bundle
	digest   string
	tested   batch.Tested
	champion *model.Loaded // nil: there is none
}

// gates evaluates the gates of a pipeline file, all of them, in the order of the reference.
func (a *App) gates(ctx context.Context, x *trainee) ([]GateResult, error) {
	accept := x.p.Model.Accept
	var results []GateResult
	for _, g := range accept.Metrics {
		results = append(results, metricGate(g, &x.bundle.Metrics.Test, x.p.Train.LabelUnit))
	}
	if c := accept.Champion; c != nil {
		g, err := a.championGate(ctx, x, c)
		if err != nil {
			return nil, err
		}
		results = append(results, g)
	}
	if accept.Skew {
		results = append(results, skewGate(x))
	}
	if accept.Profile {
		results = append(results, profileGate(x))
	}
	for i := range results {
		results[i].Words = plainLine(results[i].Words)
	}
	return results, nil
}

// figure returns a number that JSON can write, or nil.
func figure(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func metricGate(g config.MetricGate, s *model.Scores, unit string) GateResult {
	value, passed, than := s.RMSE, s.RMSE <= g.Limit, "at most"
	switch g.Metric {
	case config.MetricMAE:
		value, passed = s.MAE, s.MAE <= g.Limit
	case config.MetricR2:
		value, passed, than, unit = s.R2, s.R2 >= g.Limit, "at least", ""
	default:
	}
	if unit != "" {
		unit = " " + unit
	}
	words := fmt.Sprintf("%s is %s%s on %d test rows, and has to be %s %s%s", g.Metric, profile.Figure(value), unit, s.Rows, than, profile.Figure(g.Limit), unit)
	if math.IsNaN(value) {
		words = fmt.Sprintf("%s is not defined on %d test rows, and has to be %s %s", g.Metric, s.Rows, than, profile.Figure(g.Limit))
	}
	return GateResult{Gate: registry.Gate{Name: gateMetrics + "." + g.Metric, Passed: passed, Value: figure(value), Limit: figure(g.Limit), Words: words}}
}

// championOf returns the champion of a pipeline, or nil where there is none.
func championOf(ctx context.Context, reg *registry.Registry, p *config.Pipeline) (*model.Loaded, error) {
	v, err := reg.Resolve(ctx, "@"+registry.AliasChampion, p.Name)
	if errors.Is(err, registry.ErrNotApproved) || errors.Is(err, registry.ErrNotFound) {
		return nil, nil // no version, or none that is the champion
	}
	if err != nil {
		return nil, err
	}
	return load(ctx, reg, v)
}

// championGate compares with the champion on the test rows.
func (a *App) championGate(ctx context.Context, x *trainee, c *config.ChampionGate) (GateResult, error) {
	g := GateResult{Gate: registry.Gate{Name: gateChampion, Passed: true}}
	if x.champion == nil {
		g.Words = "there is no champion to compare with"
		return g, nil
	}
	g.Champion = x.champion.Ref
	if x.champion.Digest == x.digest {
		g.Words = "it is the champion, " + g.Champion
		return g, nil
	}
	refuse := func(err error) GateResult {
		g.Passed, g.Words = false, fmt.Sprintf("%s, %s, cannot be compared with: %s", "the champion", g.Champion, strings.TrimPrefix(Message(err), batch.ErrNoContest.Error()+": "))
		return g
	}
	plan := x.champion.Bundle.Plan
	for _, t := range plan.Tables() {
		if x.p.Table(t.Name) == nil {
			return refuse(fmt.Errorf("the pipeline file has no table %q, which it was trained with", t.Name)), nil
		}
	}
	client, err := a.clientFor(x.p, append(tableData(x.p, plan), x.p.Train.Data)...)
	if err != nil {
		return g, err
	}
	defer closeClient(client)
	rows, err := a.batchRows(ctx, x.p, plan, client)
	if err != nil {
		return g, err
	}
	data := x.p.Train.Data
	if source.IsTopic(data) {
		data = x.bundle.Lineage.DataName // the offsets that were read
	}
	contest, err := batch.Compete(ctx, batch.ContestOptions{
		Candidate: x.bundle, Tested: x.tested, Champion: x.champion.Bundle, Data: data, Client: client, Rows: rows, Required: pipelineTables(x.p),
		MaxBytes: x.p.Source.MaxRecordBytes, Squared: c.Metric == config.MetricRMSE, WorseBy: c.WorseBy, Confidence: c.Confidence,
	})
	if errors.Is(err, batch.ErrNoContest) {
		return refuse(err), nil
	}
	if err != nil {
		return g, err
	}
	g.Contest, g.Passed = contest, !contest.Worse
	g.Value, g.Limit = figure(contest.Candidate), figure(float64(contest.Champion*(1+c.WorseBy)))
	g.Words = contestWords(contest, c, g.Champion)
	return g, nil
}

// contestWords says how the two compare.
func contestWords(k *batch.Contest, c *config.ChampionGate, champion string) string {
	var w strings.Builder
	loss, measure := "squared", "rmse"
	if c.Metric == config.MetricMAE {
		loss, measure = "absolute", "mae"
	}
	fmt.Fprintf(&w, "%s is %s, and that of %s is %s, on the same %d test rows", measure, profile.Figure(k.Candidate), champion, profile.Figure(k.Champion), k.Rows)
	if k.Unscored > 0 {
		fmt.Fprintf(&w, ", without %d that it rejects", k.Unscored)
	}
	verdict := "it is not shown to be worse"
	if k.Worse {
		verdict = "it is worse"
	}
	if c.WorseBy > 0 {
		verdict += " by more than " + profile.Percent(c.WorseBy)
	}
	fmt.Fprintf(&w, "; %s: the mean difference of the %s errors is %s, from %s to %s with %s confidence on either side, p %s",
		verdict, loss, profile.Figure(k.Difference), profile.Figure(k.Low), profile.Figure(k.High), profile.Percent(c.Confidence), profile.Figure(k.P))
	switch {
	case k.Known < 0:
		w.WriteString("; the champion was trained on other data, which may hold some of these rows: that would be in its favour")
	case k.Known > 0:
		fmt.Fprintf(&w, "; the champion was trained on %d of these rows, which is in its favour", k.Known)
	default:
		w.WriteString("; the champion was trained on none of these rows")
	}
	return w.String()
}

// skewGate has the path of a stream reproduce the golden rows, from the bytes that are registered.
func skewGate(x *trainee) GateResult {
	g := GateResult{Gate: registry.Gate{Name: gateSkew, Passed: true}}
	b, err := model.Decode(x.data)
	if err == nil {
		_, err = pipeline.New(b, pipeline.Options{Field: x.p.Sink.Field, MaxBytes: x.p.Source.MaxRecordBytes, Tables: pipelineTables(x.p)})
	}
	if err != nil {
		g.Passed, g.Words = false, "the path of a stream does not make of the golden rows what training made of them: "+Message(err)
		return g
	}
	n := float64(len(b.Golden))
	g.Value, g.Limit = &n, &n
	g.Words = fmt.Sprintf("the path of a stream reproduces the %d golden rows, bit for bit", len(b.Golden))
	return g
}

// profileGate compares the training profiles.
func profileGate(x *trainee) GateResult {
	g := GateResult{Gate: registry.Gate{Name: gateProfile, Passed: true}}
	if x.champion == nil {
		g.Words = "there is no champion to compare with"
		return g
	}
	g.Champion = x.champion.Ref
	was, is := x.champion.Bundle, x.bundle
	g.Anomalies = incompatible(was.Profile, is.Profile)
	if a, b := was.Manifest.LabelUnit, is.Manifest.LabelUnit; a != b {
		g.Anomalies = append(g.Anomalies, anomaly.Anomaly{
			Column: is.Manifest.Label, Class: anomaly.UnitChange, Value: math.NaN(), Limit: math.NaN(), Words: fmt.Sprintf("train.label_unit is %q, and was %q", b, a),
		})
	}
	n, none := float64(len(g.Anomalies)), 0.0
	g.Value, g.Limit, g.Passed = &n, &none, n == 0
	if g.Passed {
		g.Words = "the training data has the fields, kinds and units of that of " + g.Champion
		return g
	}
	var parts []string
	for _, a := range g.Anomalies[:min(len(g.Anomalies), 5)] {
		parts = append(parts, fmt.Sprintf("%s, %s: %s", a.Column, a.Class, a.Words))
	}
	if n := len(g.Anomalies) - 5; n > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", n))
	}
	g.Words = fmt.Sprintf("the training data is not like that of %s, the reference: %s", g.Champion, strings.Join(parts, "; "))
	return g
}

// incompatible returns what makes the training data of a model another than that of the reference; not that it drifted, for
// which models are trained again.
func incompatible(reference, p *profile.Profile) []anomaly.Anomaly {
	d := &anomaly.Data{Profile: p, Read: p.Rows}
	for i := range p.Columns {
		c := &p.Columns[i]
		if c.Role != profile.Field && c.Role != profile.Label {
			continue
		}
		d.Columns = append(d.Columns, anomaly.Column{Name: c.Name})
		if ref, ok := reference.Column(c.Name); ok && differ(ref.Kind, c.Kind) {
			d.Changed = append(d.Changed, anomaly.Changed{Column: c.Name, Was: ref.Kind, Is: c.Kind, Reference: true})
		}
	}
	return slices.DeleteFunc(anomaly.Against(reference, d), func(a anomaly.Anomaly) bool {
		switch a.Class {
		case anomaly.NewColumn, anomaly.MissingColumn, anomaly.TypeChange, anomaly.NullRate, anomaly.UnitChange:
			return false
		default:
			return true
		}
	})
}

// mostGateWords is how many bytes of a gate's words are kept.
const mostGateWords = 1500

// plainLine returns a text as the audit log takes it: one line of characters that can be seen, and not too long.
func plainLine(s string) string {
	var b strings.Builder
	for _, r := range strings.TrimSpace(s) {
		if unicode.IsGraphic(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	text := b.String()
	if len(text) <= mostGateWords {
		return text
	}
	text = text[:mostGateWords-len("…")]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return strings.TrimSpace(text) + "…"
}

// refusalOf returns the error for the gates that refuse a model, nil where all passed. It also is the reason of the rejection.
func refusalOf(gates []GateResult) *Error {
	e, apart := &gateError{}, false
	hint := "the champion stays; see what has changed in the data, or mend model.accept, and train again"
	for i := range gates {
		g := &gates[i]
		if g.Passed {
			continue
		}
		e.parts = append(e.parts, fmt.Sprintf("gate %s: %s", g.Name, g.Words))
		switch {
		case g.Name == gateSkew: // the last of these is the best advice
			hint = "this is a fault of millrace: report it with the pipeline file; the model must not run"
		case g.Name == gateProfile && apart:
			hint = "the champion stays; where the fields were changed on purpose, take champion and profile out of model.accept for one training"
		case g.Name == gateProfile:
			hint = "the champion stays; see millrace profile --diff; where the change is meant, take it once with --set model.accept.profile="
		case g.Name == gateChampion && g.Contest == nil:
			apart = true
			hint = "the champion stays; where the fields were changed on purpose, take model.accept.champion out of the file for one training"
		}
	}
	if e.parts == nil {
		return nil
	}
	return &Error{Code: Refused, Op: "train", Err: e, Hint: hint}
}

// refusedBy begins the reason of a rejection by gates.
const refusedBy = "refused: "

// gateError is what the gates say that refused.
type gateError struct{ parts []string }

// Error returns what each gate says.
func (e *gateError) Error() string { return refusedBy + strings.Join(e.parts, "; ") }
