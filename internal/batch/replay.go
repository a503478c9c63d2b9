package batch

import (
	"context"
	"errors"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// replayed says what data goes through the path of a model.
type replayed struct {
	data     string
	client   *kafka.Client
	field    string
	maxBytes int
	rows     map[string]table.Rows
	required []pipeline.Table
	checks   []pipeline.Check
}

// replay runs records through the path of a model in their order, with the windows and the rows that they have there.
type replay struct {
	path    *pipeline.Path
	worker  *pipeline.Worker
	windows *pipeline.Windows
	states  *pipeline.MemoryStates
	tables  lookup
	data    *source.Source
	digest  string // of the data, once it was read
}

func newReplay(ctx context.Context, b *model.Bundle, o replayed) (*replay, error) {
	data, err := source.Open(ctx, o.data, source.Options{Schema: b.Schema, MaxBytes: o.maxBytes, Client: o.client})
	if err != nil {
		return nil, err
	}
	return replayOf(b, data, o)
}

// replayOf is newReplay of data that is open.
func replayOf(b *model.Bundle, data *source.Source, o replayed) (*replay, error) {
	path, err := pipeline.New(b, pipeline.Options{Format: data.Format(), Header: data.Columns(), Field: o.field, MaxBytes: o.maxBytes, Tables: o.required, Checks: o.checks})
	if err != nil {
		if errors.Is(err, pipeline.ErrGolden) {
			return nil, err
		}
		return nil, &source.DataError{Path: o.data, Err: err}
	}
	w, err := path.NewWorker()
	if err != nil {
		return nil, err
	}
	windows, err := pipeline.NewWindows(b.Plan)
	if err != nil {
		return nil, err
	}
	tables, err := newLookup(b.Plan, o.rows)
	if err != nil {
		return nil, err
	}
	return &replay{path: path, worker: w, windows: windows, states: pipeline.NewMemoryStates(windows), tables: tables, data: data}, nil
}

// each runs the records and calls then with each batch, the number of its first record, and the aggregates of the windows.
// before, which can be nil, returns where the rows of a batch are that was decoded.
func (r *replay) each(ctx context.Context, before func(*record.Batch) pipeline.Lookup, then func(b *record.Batch, first int64, windows [][]float64) error) error {
	b := r.worker.NewBatch()
	in := r.data.Read(ctx)
	defer in.Close() //nolint:errcheck // it was only read
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := in.Fill(b)
		if err != nil {
			return err
		}
		if !more {
			r.digest = in.Digest()
			return nil
		}
		r.worker.Decode(b)
		columns, err := r.windows.Observe(b, r.worker.Times(), r.states)
		if err != nil {
			return err
		}
		rows := pipeline.Lookup(r.tables)
		if before != nil {
			rows = before(b)
		}
		r.worker.Complete(b, pipeline.Enrichment{Rows: rows, Windows: columns})
		if err := then(b, in.First(), columns); err != nil {
			return err
		}
	}
}
