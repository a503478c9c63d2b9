package pipeline

import (
	"errors"
	"fmt"

	"millrace.dev/model"
	"millrace.dev/record"
)

// Golden runs JSON records through the path of a model that is not sealed yet and returns what came out, as the
// golden rows of its bundle. A nil value is Kafka's null.
func Golden(b *model.Bundle, values [][]byte) ([]model.GoldenRow, error) {
	p := &Path{bundle: b, options: Options{Field: b.Manifest.SinkField}, levels: b.Plan.Levels()}
	return p.golden(values)
}

func (p *Path) golden(values [][]byte) ([]model.GoldenRow, error) {
	// Golden rows are JSON, whatever the path reads.
	g := &Path{bundle: p.bundle, options: Options{Field: p.bundle.Manifest.SinkField}, levels: p.levels}
	w, err := g.NewWorker()
	if err != nil {
		return nil, err
	}
	b := w.NewBatch()
	for i, v := range values {
		b.Append(record.Raw{Value: v, Offset: int64(i), Timestamp: -1})
	}
	w.Process(b)
	rows := make([]model.GoldenRow, len(values))
	for i, v := range values {
		if problem := b.Problem(i); problem != nil {
			rows[i] = model.NewRejectedRow(v, problem)
		} else {
			rows[i] = model.NewGoldenRow(v, w.Frame(), i, w.Prediction(i))
		}
	}
	return rows, nil
}

// ErrGolden means that a model predicts something else here than where it was trained.
var ErrGolden = errors.New("the model does not reproduce its golden rows here")

// reproduce runs the golden rows of the bundle and compares what comes out with what came out in training.
func (p *Path) reproduce() error {
	values := make([][]byte, len(p.bundle.Golden))
	for i := range values {
		values[i] = p.bundle.Golden[i].Value
	}
	got, err := p.golden(values)
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
