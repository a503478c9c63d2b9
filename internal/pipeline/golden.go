package pipeline

import (
	"errors"
	"fmt"
	"math"

	"millrace.dev/feature"
	"millrace.dev/model"
	"millrace.dev/record"
)

// Golden runs JSON records through the path of a model that is not sealed yet and returns what came out, as the
// golden rows of its bundle: with the rows of tables and the aggregates of windows that were given. A nil value is
// Kafka's null.
func Golden(b *model.Bundle, records []model.GoldenRow) ([]model.GoldenRow, error) {
	return newPath(b, Options{Field: b.Manifest.SinkField}).golden(records)
}

// PrepareGolden computes the inputs of the golden rows of the bundle, for another model to be asked what it says of them: fn gets a
// worker whose batch is prepared.
func (p *Path) PrepareGolden(fn func(*Worker, *record.Batch) error) error {
	w, b, err := p.decodeGolden(p.bundle.Golden)
	if err != nil {
		return err
	}
	w.Prepare(b, goldenEnrichment(p.bundle, p.bundle.Golden))
	return fn(w, b)
}

// golden runs the values of golden rows, with what they had of tables and windows. Golden rows are JSON, whatever the
// path reads, and no table is required for them.
func (p *Path) golden(records []model.GoldenRow) ([]model.GoldenRow, error) {
	w, b, err := p.decodeGolden(records)
	if err != nil {
		return nil, err
	}
	w.Complete(b, goldenEnrichment(p.bundle, records))
	rows := make([]model.GoldenRow, len(records))
	for i, r := range records {
		if problem := b.Problem(i); problem != nil {
			rows[i] = model.NewRejectedRow(r.Value, problem)
		} else {
			rows[i] = model.NewGoldenRow(r.Value, w.Frame(), i, w.Prediction(i))
		}
		rows[i].Rows, rows[i].Windows = r.Rows, r.Windows
	}
	return rows, nil
}

// decodeGolden returns a worker that has decoded a batch of golden rows.
func (p *Path) decodeGolden(records []model.GoldenRow) (*Worker, *record.Batch, error) {
	w, err := newPath(p.bundle, Options{Field: p.bundle.Manifest.SinkField}).NewWorker()
	if err != nil {
		return nil, nil, err
	}
	b := w.NewBatch()
	for i := range records {
		b.Append(record.Raw{Value: records[i].Value, Offset: int64(i), Timestamp: -1})
	}
	w.Decode(b)
	return w, b, nil
}

// goldenEnrichment gives records what they had of tables and windows when the model was trained.
func goldenEnrichment(b *model.Bundle, records []model.GoldenRow) Enrichment {
	e := Enrichment{Rows: goldenRows{b.Plan.Tables(), records}}
	column := 0
	for _, w := range b.Plan.Windows() {
		for range w.Aggregates {
			values := make([]float64, len(records))
			for i := range records {
				values[i] = math.NaN()
				if column < len(records[i].Windows) {
					values[i] = records[i].Windows[column].Float()
				}
			}
			e.Windows = append(e.Windows, values)
			column++
		}
	}
	return e
}

// goldenRows finds the rows that golden rows hold.
type goldenRows struct {
	tables  []feature.Table
	records []model.GoldenRow
}

// Row returns the row of a key that the record had.
func (g goldenRows) Row(table, i int, key string, _ int64) *record.Row {
	for k := range g.records[i].Rows {
		if r := &g.records[i].Rows[k]; r.Table == g.tables[table].Name && r.Key == key {
			return r.Row(g.tables[table].Schema)
		}
	}
	return nil
}

// Recorder finds rows and notes them, for the golden row of one record.
type Recorder struct {
	tables []feature.Table
	of     Lookup
	rows   []model.GoldenTableRow
}

// NewRecorder returns a recorder of look-ups in the tables of a plan.
func NewRecorder(p *feature.Plan, of Lookup) *Recorder { return &Recorder{tables: p.Tables(), of: of} }

// Row finds a row.
func (r *Recorder) Row(table, i int, key string, at int64) *record.Row {
	var row *record.Row
	if r.of != nil {
		row = r.of.Row(table, i, key, at)
	}
	if row != nil {
		r.rows = append(r.rows, model.NewGoldenTableRow(r.tables[table], key, row))
	}
	return row
}

// Rows returns what was found since the last call.
func (r *Recorder) Rows() []model.GoldenTableRow {
	rows := r.rows
	r.rows = nil
	return rows
}

// ErrGolden means that a model predicts something else here than where it was trained.
var ErrGolden = errors.New("the model does not reproduce its golden rows here")

// reproduce runs the golden rows of the bundle and compares what comes out with what came out in training.
func (p *Path) reproduce() error {
	got, err := p.golden(p.bundle.Golden)
	if err != nil {
		return err
	}
	for i := range got {
		if err := p.bundle.CheckGolden(i, got[i]); err != nil {
			return fmt.Errorf("%w: %w", ErrGolden, err)
		}
	}
	return nil
}
