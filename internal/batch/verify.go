package batch

import (
	"context"
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/sample"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// VerifyOptions say what to compute again.
type VerifyOptions struct {
	Samples  []*sample.Sample // in order; what of another model than Model's is left out
	Model    *model.Loaded
	Field    string // the field that takes the prediction. Default: the bundle's
	MaxBytes int    // of a record. Default: 1 MiB
	Required []pipeline.Table
	// History is the data that the samples' records are part of, as [source.Open] names it. Default: none, and the source
	// level is left out
	History string
	Client  *kafka.Client         // for a history in a topic
	Rows    map[string]table.Rows // of the tables of the model, by name, with their history; for the source level
}

// Verify computes again what a stream has computed of the samples of a model, and counts what differs by a single bit: into
// path what comes of the logged rows and aggregates, and into history, unless there is none, what comes of the records, the
// windows and the tables as they are read in batch.
func Verify(ctx context.Context, o VerifyOptions, path, history *Comparison) error {
	v := &verifier{VerifyOptions: o, encoder: sample.NewEncoder(o.Model.Ref, o.Model.Digest, o.Model.Bundle.Plan)}
	for _, s := range o.Samples {
		if s.Digest == o.Model.Digest {
			v.samples = append(v.samples, s)
		}
	}
	again, err := v.byPath(ctx)
	if err != nil {
		return err
	}
	c := &comparer{into: path, plan: o.Model.Bundle.Plan, given: true}
	for i, s := range v.samples {
		c.compare(s, again[i])
	}
	if o.History == "" {
		return nil
	}
	if again, err = v.byHistory(ctx); err != nil {
		return err
	}
	c = &comparer{into: history, plan: o.Model.Bundle.Plan}
	for i, s := range v.samples {
		c.compare(s, again[i])
	}
	return nil
}

// outcome is what came of a record: a sample, or why it has none.
type outcome struct {
	sample  *sample.Sample
	problem *record.Problem
	found   bool // the data has the record
}

type verifier struct {
	VerifyOptions

	encoder *sample.Encoder
	samples []*sample.Sample
	journal sample.Journal
}

// byPath runs the values of the samples through the path, with the rows and the aggregates that were logged.
func (v *verifier) byPath(ctx context.Context) ([]outcome, error) {
	p, err := pipeline.New(v.Model.Bundle, pipeline.Options{Field: v.Field, MaxBytes: v.MaxBytes, Tables: v.Required})
	if err != nil {
		return nil, err
	}
	w, err := p.NewWorker()
	if err != nil {
		return nil, err
	}
	b := w.NewBatch()
	var all []outcome
	for from := 0; from < len(v.samples); from += pipeline.BatchRows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := v.samples[from:min(from+pipeline.BatchRows, len(v.samples))]
		b.Reset()
		for _, s := range part {
			b.Append(record.Raw{Value: s.Value(), Topic: s.Topic, Partition: s.Partition, Offset: s.Offset, Timestamp: s.Timestamp})
		}
		w.Decode(b)
		rows, err := newLoggedRows(v.Model.Bundle.Plan.Tables(), part)
		if err != nil {
			return nil, err
		}
		v.journal.Begin(rows, b.Len())
		for i := range part {
			v.journal.Mark(i)
		}
		windows, err := v.loggedWindows(part)
		if err != nil {
			return nil, err
		}
		w.Complete(b, pipeline.Enrichment{Rows: &v.journal, Windows: windows})
		for i := range part {
			o, err := v.outcome(w, b, i, windows)
			if err != nil {
				return nil, err
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// outcome returns what came of record i of a batch.
func (v *verifier) outcome(w *pipeline.Worker, b *record.Batch, i int, windows [][]float64) (outcome, error) {
	if p := b.Problem(i); p != nil {
		problem := *p // the batch is used again
		return outcome{problem: &problem, found: true}, nil
	}
	text := v.encoder.Append(nil, &sample.Taken{
		Record: b.Raw(i), EventTime: w.Times()[i], Lookups: v.journal.Lookups(i), Windows: windows,
		Frame: w.Frame(), Row: i, Prediction: w.Prediction(i),
	})
	s, err := sample.Decode(text)
	if err != nil {
		return outcome{}, fmt.Errorf("verify %s/%d/%d: %w", b.Raw(i).Topic, b.Raw(i).Partition, b.Raw(i).Offset, err)
	}
	return outcome{sample: s, found: true}, nil
}

// loggedWindows returns the aggregates of samples, a list for each of the plan.
func (v *verifier) loggedWindows(samples []*sample.Sample) ([][]float64, error) {
	var columns [][]float64
	for _, w := range v.Model.Bundle.Plan.Windows() {
		for _, a := range w.Aggregates {
			column := make([]float64, len(samples))
			for i, s := range samples {
				column[i] = math.NaN()
				if text, ok := s.Windows[w.Name][a.Name]; ok {
					x, err := sample.Value(text, record.Numeric)
					if err != nil {
						return nil, unfit(s, "the aggregate "+w.Name+"."+a.Name, err)
					}
					column[i] = x.Float()
				}
			}
			columns = append(columns, column)
		}
	}
	return columns, nil
}

// unfit is a sample that its own model cannot read.
func unfit(s *sample.Sample, what string, err error) error {
	return &source.DataError{
		Path: s.Source(), Err: fmt.Errorf("%s of the sample does not fit the schema of %s: %w", what, s.Model, err), Unfit: true,
		Hint: "the topic holds samples that millrace run has not written so: name another one with --topic, or leave these out with --from and --to",
	}
}

// byHistory runs the history, and picks the records of the samples.
func (v *verifier) byHistory(ctx context.Context) ([]outcome, error) {
	r, err := newReplay(ctx, v.Model.Bundle, replayed{data: v.History, client: v.Client, field: v.Field, maxBytes: v.MaxBytes, rows: v.Rows, required: v.Required})
	if err != nil {
		return nil, err
	}
	if err := v.checkHistory(r.data); err != nil {
		return nil, err
	}
	all := make([]outcome, len(v.samples))
	m := newMatcher(r.data.Topic(), v.samples)
	before := func(b *record.Batch) pipeline.Lookup {
		v.journal.Begin(r.tables, b.Len())
		for i := range b.Len() {
			if len(m.find(b.Raw(i))) > 0 {
				v.journal.Mark(i)
			}
		}
		return &v.journal
	}
	err = r.each(ctx, before, func(b *record.Batch, _ int64, windows [][]float64) error {
		for i := range b.Len() {
			if !v.journal.Marked(i) {
				continue
			}
			o, err := v.outcome(r.worker, b, i, windows)
			if err != nil {
				return err
			}
			for _, k := range m.find(b.Raw(i)) {
				if !all[k].found || v.differences(k, o) < v.differences(k, all[k]) {
					all[k] = o
				}
			}
		}
		return nil
	})
	return all, err
}

// differences counts what an outcome has otherwise than a sample.
func (v *verifier) differences(k int, o outcome) int {
	scratch := NewComparison(0)
	c := &comparer{into: scratch, plan: v.Model.Bundle.Plan}
	c.compare(v.samples[k], o)
	n := scratch.Rejected
	for _, f := range scratch.Features {
		n += f.Mismatch + f.Missing + f.Extra
	}
	return n
}

// checkHistory wants records that can be told apart, and that have the event times that they had in the stream.
func (v *verifier) checkHistory(data *source.Source) error {
	if data.Topic() {
		return nil
	}
	plan := v.Model.Bundle.Plan
	const hint = "name the source topic itself: --history topic://NAME?from=A&to=B"
	switch {
	case data.Format() == pipeline.CSV:
		return &source.DataError{Path: v.History, Err: errors.New("the rows of a CSV file are not those of a topic: want JSON lines, the values as they are in the topic"), Hint: hint}
	case v.Model.Bundle.Manifest.EventTime == "" && len(plan.Windows())+len(plan.Tables()) > 0:
		return &source.DataError{Path: v.History, Err: errors.New("the records of a file have no timestamps, which are the event times of this model"), Hint: hint}
	}
	return nil
}

// matcher finds the samples of a record: in a topic by where it stands, in a file, which has no such places, by its bytes.
type matcher struct {
	topic bool
	by    map[string][]int
}

func newMatcher(topic bool, samples []*sample.Sample) *matcher {
	m := &matcher{topic: topic, by: map[string][]int{}}
	for i, s := range samples {
		key := s.Source()
		if !topic {
			key = string(s.Value())
		}
		m.by[key] = append(m.by[key], i)
	}
	return m
}

func (m *matcher) find(r *record.Raw) []int {
	if m.topic {
		return m.by[fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)]
	}
	return m.by[string(r.Value)]
}
