package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/record"
)

// NoModel stands for no model, where one is the default.
const NoModel = "none"

// ExplainOptions say which record to explain.
type ExplainOptions struct {
	File  string   // the pipeline file
	Set   []string // overrides of it
	Model string   // as in [TestOptions], or NoModel; "" is @champion, else @candidate, else none

	Raw       *record.Raw // the record; nil is as Record says
	Record    string      // the record: its JSON, the file that has it, or "-" for Stdin; "" is one of the topic
	Timestamp int64       // of Record, in milliseconds since 1970; -1 is none
	Stdin     io.Reader
	Topic     string // "" is the source of the pipeline
	Partition int32
	Offset    int64

	Before string // data whose records have gone through the windows before; "" is none, and aggregates are missing
}

// Explained is what each step of the path has made of a record.
type Explained struct {
	Record     ExplainedRecord    `json:"record"`
	Model      string             `json:"model,omitempty"`
	Fields     []ExplainedValue   `json:"fields,omitempty"`
	EventTime  *string            `json:"event_time,omitempty"`
	Lookups    []ExplainedLookup  `json:"lookups,omitempty"`
	Windows    []ExplainedWindow  `json:"windows,omitempty"`
	Features   []ExplainedFeature `json:"features,omitempty"`
	Inputs     []ExplainedInput   `json:"inputs,omitempty"`
	Checks     []ExplainedCheck   `json:"checks,omitempty"`
	Rejected   *ExplainedProblem  `json:"rejected,omitempty"`
	Prediction *float64           `json:"prediction,omitempty"`
	Baseline   *float64           `json:"baseline,omitempty"` // what the model predicts without its trees
	Trees      int                `json:"trees,omitempty"`
	Field      string             `json:"field"`            // that takes the prediction
	Before     bool               `json:"windows_computed"` // of records that came before
}

// ExplainedRecord says where a record comes from.
type ExplainedRecord struct {
	Topic     string  `json:"topic,omitempty"`
	Partition *int32  `json:"partition,omitempty"`
	Offset    *int64  `json:"offset,omitempty"`
	Timestamp *string `json:"timestamp,omitempty"`
	Key       *string `json:"key,omitempty"`
}

// ExplainedValue is a value with its name. In JSON a value is a number, true or false, a text, or null where it is missing.
type ExplainedValue struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value any    `json:"value"`
	Shown string `json:"-"` // for a person
}

// ExplainedLookup is a row that was looked up.
type ExplainedLookup struct {
	Table     string           `json:"table"`
	Key       *string          `json:"key"` // nil where it is missing
	Found     bool             `json:"found"`
	ValidFrom *string          `json:"valid_from,omitempty"` // where a column says it
	Row       []ExplainedValue `json:"row,omitempty"`
}

// ExplainedWindow is a window as the record has found it.
type ExplainedWindow struct {
	Name       string           `json:"name"`
	Key        *string          `json:"key"`
	Aggregates []ExplainedValue `json:"aggregates"`
}

// ExplainedFeature is a feature. One that is a vector has its elements as inputs have them.
type ExplainedFeature struct {
	ExplainedValue

	Input    bool             `json:"input"` // the model has it as an input
	Known    bool             `json:"known"` // false: it is fitted in training, and there is no model that has it
	Elements []ExplainedValue `json:"elements,omitempty"`
}

// ExplainedInput is an input of the model.
type ExplainedInput struct {
	ExplainedValue

	Unseen bool `json:"unseen,omitempty"` // the record has a value that training has not seen, which is missing to the model
}

// What [ExplainedCheck.Verdict] can be, beside kept.
const (
	VerdictUnknown = "unknown"
	VerdictMissing = "missing"
	VerdictBroken  = "broken"
)

// ExplainedCheck is what a rule says of the record.
type ExplainedCheck struct {
	Name      string `json:"name"`
	Rule      string `json:"rule"`
	Otherwise string `json:"otherwise"`
	Verdict   string `json:"verdict"` // kept, missing (and kept), broken, or unknown without a model
}

// ExplainedProblem is why a record has no prediction.
type ExplainedProblem struct {
	Stage  string `json:"stage"`
	Class  string `json:"class"`
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// ExplainRecord runs one record through the path and returns what each step makes of it.
func (a *App) ExplainRecord(ctx context.Context, o ExplainOptions) (*Explained, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	n, err := a.inspectDefault(ctx, p, o.Model)
	if err != nil {
		return nil, err
	}
	if o.Topic == "" {
		o.Topic = p.Source.Topic
	}
	plan := n.probe.Plan()
	names := append(tableData(p, plan), o.Before)
	if o.Record == "" && o.Raw == nil {
		names = append(names, "topic://"+o.Topic)
	}
	client, err := a.clientFor(p, names...)
	if err != nil {
		return nil, err
	}
	defer closeClient(client)
	raw, err := readRecord(ctx, client, o)
	if err != nil {
		return nil, err
	}
	rows, err := a.batchRows(ctx, p, plan, client)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	if o.Before != "" {
		if err := a.replay(ctx, n, client, o.Before); err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
	}
	seen, err := n.Inspect(*raw, pipeline.Given{Find: findIn(rows), Observe: o.Before != ""})
	if err != nil {
		return nil, err
	}
	e := n.explained(raw, seen)
	e.Before = o.Before != ""
	return e, nil
}

// inspectDefault is inspect with the model that is there.
func (a *App) inspectDefault(ctx context.Context, p *config.Pipeline, ref string) (*inspection, error) {
	switch ref {
	case NoModel:
		return a.inspect(ctx, "explain", p, "")
	case "":
	default:
		return a.inspect(ctx, "explain", p, ref)
	}
	for _, ref := range []string{"@champion", "@candidate"} {
		n, err := a.inspect(ctx, "explain", p, ref)
		if errors.Is(err, registry.ErrNotApproved) || errors.Is(err, registry.ErrNotFound) {
			continue
		}
		if e, ok := errors.AsType[*Error](err); ok && e.Code == Refused {
			e.Hint += ", or explain the record without a model: --model " + NoModel
		}
		return n, err
	}
	return a.inspect(ctx, "explain", p, "")
}

// readRecord reads the record that is to be explained.
func readRecord(ctx context.Context, client *kafka.Client, o ExplainOptions) (*record.Raw, error) {
	r := &record.Raw{Timestamp: o.Timestamp}
	var err error
	switch {
	case o.Raw != nil:
		return o.Raw, nil
	case o.Record == "":
		return topicRecord(ctx, client, o)
	case strings.HasPrefix(strings.TrimSpace(o.Record), "{"):
		r.Value = []byte(o.Record)
	case o.Record == "-":
		r.Value, err = io.ReadAll(o.Stdin)
	default:
		if r.Value, err = os.ReadFile(o.Record); err != nil {
			code, _ := Explain(err)
			return nil, &Error{Code: code, Op: "explain", Err: err, Hint: "--record is the JSON of a record, the file that has it, or - for standard input"}
		}
	}
	r.Value = []byte(strings.TrimSpace(string(r.Value)))
	return r, err
}

// topicRecord reads one record of a topic.
func topicRecord(ctx context.Context, client *kafka.Client, o ExplainOptions) (*record.Raw, error) {
	var found *record.Raw
	err := client.Tap(ctx, kafka.TapConfig{Topic: o.Topic, Partitions: []int32{o.Partition}, From: o.Offset}, func(records []record.Raw) error {
		if records[0].Offset == o.Offset {
			found = &records[0]
		}
		return kafka.StopTap()
	})
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case found == nil:
		return nil, &Error{
			Code: Usage, Op: "explain", Where: fmt.Sprintf("%s/%d/%d", o.Topic, o.Partition, o.Offset), Err: errors.New("there is no such record"),
			Hint: "it may be deleted, or not be committed: millrace tap --json shows the offsets that are there",
		}
	}
	return found, nil
}

func (n *inspection) explained(r *record.Raw, seen *pipeline.Seen) *Explained {
	e := &Explained{Record: explainedRecord(r), Field: n.p.Sink.Field}
	if n.model != nil {
		e.Model = n.model.Ref
	}
	for _, f := range seen.Fields {
		e.Fields = append(e.Fields, explainedValue(f.Name, f.Type.String(), f.Value))
	}
	if seen.EventTime != record.MissingTime {
		at := showTime(seen.EventTime)
		e.EventTime = &at
	}
	for _, l := range seen.Lookups {
		e.Lookups = append(e.Lookups, n.explainedLookup(l))
	}
	for _, w := range seen.Windows {
		out := ExplainedWindow{Name: w.Name, Key: textOf(w.Key)}
		for _, a := range w.Aggregates {
			out.Aggregates = append(out.Aggregates, explainedValue(a.Name, "number", a.Value))
		}
		e.Windows = append(e.Windows, out)
	}
	for _, f := range seen.Features {
		e.Features = append(e.Features, n.explainedFeature(f))
	}
	for _, in := range seen.Inputs {
		e.Inputs = append(e.Inputs, ExplainedInput{explainedValue(in.Name, in.Value.Kind.String(), in.Value), in.Unseen})
	}
	for _, c := range seen.Checks {
		verdict := map[feature.Verdict]string{
			feature.VerdictUnknown: VerdictUnknown, feature.VerdictKept: "kept", feature.VerdictMissing: VerdictMissing, feature.VerdictBroken: VerdictBroken,
		}[c.Verdict]
		e.Checks = append(e.Checks, ExplainedCheck{c.Name, c.Rule, c.Otherwise.String(), verdict})
	}
	if p := seen.Problem; p != nil {
		problem := ExplainedProblem(*p)
		e.Rejected = &problem
	}
	if seen.Scored {
		baseline := n.model.Bundle.Forest.Baseline()
		e.Prediction, e.Baseline, e.Trees = &seen.Prediction, &baseline, n.model.Bundle.Forest.Trees()
	}
	return e
}

func explainedRecord(r *record.Raw) ExplainedRecord {
	out := ExplainedRecord{Topic: r.Topic}
	if r.Topic != "" {
		out.Partition, out.Offset = &r.Partition, &r.Offset
	}
	if r.Timestamp >= 0 {
		at := showTime(r.Timestamp * 1000)
		out.Timestamp = &at
	}
	if r.Key != nil {
		key := strings.ToValidUTF8(string(r.Key), "\ufffd")
		out.Key = &key
	}
	return out
}

func textOf(t record.Text) *string {
	if !t.OK {
		return nil
	}
	return &t.S
}

func explainedValue(name, typ string, v feature.Value) ExplainedValue {
	e := ExplainedValue{Name: name, Type: typ, Shown: showValue(v)}
	switch {
	case v.Missing:
	case v.Kind == feature.KindNumber:
		e.Value = v.Number
	case v.Kind == feature.KindBool:
		e.Value = v.Flag
	case v.Kind == feature.KindTime:
		e.Value = showTime(v.Time)
	default:
		e.Value = v.Text
	}
	return e
}

func (n *inspection) explainedLookup(l pipeline.SeenLookup) ExplainedLookup {
	e := ExplainedLookup{Table: l.Table, Key: textOf(l.Key), Found: l.Row != nil}
	if l.Row == nil {
		return e
	}
	t := n.p.Table(l.Table)
	for f := range t.Schema.Len() {
		field := t.Schema.Field(f)
		v := config.CellValue(t.Schema, l.Row, f)
		if e.Row = append(e.Row, explainedValue(field.Name, field.Type.String(), v)); field.Name == t.ValidFrom && !v.Missing {
			at := showTime(v.Time)
			e.ValidFrom = &at
		}
	}
	return e
}

func (n *inspection) explainedFeature(f pipeline.SeenFeature) ExplainedFeature {
	e := ExplainedFeature{Input: slices.Contains(n.p.Inputs, f.Name), Known: true}
	e.Name, e.Type = f.Name, f.Kind.String()
	for _, x := range f.Elements {
		e.Known = e.Known && x.Known
	}
	switch {
	case len(f.Elements) == 0:
		e.Known = false
	case f.Kind != feature.KindVector:
		if e.ExplainedValue = explainedValue(f.Name, e.Type, f.Elements[0].Value); !e.Known {
			e.Value = nil
		}
	case e.Known:
		for _, x := range f.Elements {
			e.Elements = append(e.Elements, explainedValue(x.Name, "number", x.Value))
		}
	}
	return e
}
