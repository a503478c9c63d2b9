package batch

import (
	"context"
	"math"
	"slices"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// AttributeOptions say of which records the predictions are taken apart.
type AttributeOptions struct {
	Data     string        // the range of a topic, with the records that windows need before
	Client   *kafka.Client // for data in topics
	MaxBytes int           // of a record. Default: 1 MiB
	Rows     map[string]table.Rows
	Required []pipeline.Table
	Checks   []pipeline.Check // as in [BacktestOptions]
	// Background are golden rows, of whatever model of the same inputs: a prediction is taken apart beside theirs.
	Background []model.GoldenRow
	// Wanted tells of which records.
	Wanted func(*record.Raw) bool
}

// Attribution is what the inputs of a model add to the prediction of a record.
type Attribution struct {
	pipeline.Attribution

	Record  record.Raw      // without its bytes
	Problem *record.Problem // why there is no prediction, and no more is known; nil if there is one
}

// Attribute runs records through the path of a model, and takes the predictions of those that are wanted apart: see
// [pipeline.Attributor].
func Attribute(ctx context.Context, b *model.Bundle, o AttributeOptions) ([]Attribution, error) {
	r, err := newReplay(ctx, b, replayed{data: o.Data, client: o.Client, maxBytes: o.MaxBytes, rows: o.Rows, required: o.Required, checks: withoutFail(o.Checks)})
	if err != nil {
		return nil, err
	}
	apart, err := pipeline.NewAttributor(b, o.Background)
	if err != nil {
		return nil, err
	}
	var out []Attribution
	err = r.each(ctx, nil, func(batch *record.Batch, _ int64, _ [][]float64) error {
		for i := range batch.Len() {
			raw := batch.Raw(i)
			if !o.Wanted(raw) {
				continue
			}
			a := Attribution{Record: record.Raw{Topic: raw.Topic, Partition: raw.Partition, Offset: raw.Offset, Timestamp: raw.Timestamp}}
			if p := batch.Problem(i); p != nil {
				own := *p
				a.Problem = &own
			} else {
				a.Attribution = apart.Attribute(r.worker.Frame(), i, r.worker.Prediction(i))
			}
			out = append(out, a)
		}
		return nil
	})
	return out, err
}

// TimeOptions say how the time of a model is taken.
type TimeOptions struct {
	Rows     map[string]table.Rows
	Required []pipeline.Table
	Checks   []pipeline.Check
	MaxBytes int
	Field    string // that takes the prediction
	Now      func() time.Time
}

// timings is how often the time is taken, of which the median counts.
const timings = 9

// Time returns how long the path of a model takes for each of some records, from bytes to bytes, on one thread of this machine;
// windows are not brought up to date. There is at least one record.
func Time(b *model.Bundle, records []record.Raw, o TimeOptions) (time.Duration, error) {
	path, err := pipeline.New(b, pipeline.Options{Field: o.Field, MaxBytes: o.MaxBytes, Tables: o.Required, Checks: withoutFail(o.Checks)})
	if err != nil {
		return 0, err
	}
	w, err := path.NewWorker()
	if err != nil {
		return 0, err
	}
	rows, err := newLookup(b.Plan, o.Rows)
	if err != nil {
		return 0, err
	}
	windows := missingWindows(b, len(records))
	batch := w.NewBatch()
	var took []time.Duration
	for range timings {
		batch.Reset()
		for _, r := range records {
			batch.Append(r)
		}
		began := o.Now()
		w.Decode(batch)
		w.Complete(batch, pipeline.Enrichment{Rows: rows, Windows: windows})
		took = append(took, o.Now().Sub(began))
	}
	slices.Sort(took)
	return took[timings/2] / time.Duration(len(records)), nil
}

// missingWindows are aggregates that are not known.
func missingWindows(b *model.Bundle, n int) [][]float64 {
	var columns [][]float64
	for _, w := range b.Plan.Windows() {
		for range w.Aggregates {
			column := make([]float64, n)
			for i := range column {
				column[i] = math.NaN()
			}
			columns = append(columns, column)
		}
	}
	return columns
}
