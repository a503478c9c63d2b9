package batch

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"millrace.dev/internal/pipeline"
	"millrace.dev/model"
	"millrace.dev/record"
)

// PredictOptions say what to predict.
type PredictOptions struct {
	Data     string    // path of the records: CSV or JSON lines
	Out      io.Writer // gets the records with their predictions, in order and in the format of the data
	Rejects  io.Writer // gets one JSON object for each record without a prediction, or nil
	Field    string    // the field that takes the prediction. Default: the bundle's
	MaxBytes int       // of a record. Default: 1 MiB
}

// Prediction sums up what [Predict] did.
type Prediction struct {
	Records     int            `json:"records"`
	Predictions int            `json:"predictions"`
	Rejected    int            `json:"rejected"`
	Classes     map[string]int `json:"classes"` // of the rejected records, by the class of their problem
	Missing     map[string]int `json:"missing"` // values that were missing, by model input
	Unseen      map[string]int `json:"unseen"`  // enum levels that training has not seen, by model input
}

// Reject is a record without a prediction, as [PredictOptions].Rejects gets it.
type Reject struct {
	Record int64  `json:"record"` // its number in the file, from 0
	Stage  string `json:"stage"`
	Class  string `json:"class"`
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// Predict runs the records of a file through the path of a model, the same that a stream runs through.
func Predict(ctx context.Context, b *model.Bundle, o PredictOptions) (*Prediction, error) {
	src, err := open(o.Data, o.MaxBytes)
	if err != nil {
		return nil, err
	}
	defer src.Close() //nolint:errcheck // it was only read
	src.options.Field = o.Field
	path, err := pipeline.New(b, src.options)
	if err != nil {
		if errors.Is(err, pipeline.ErrGolden) {
			return nil, err
		}
		return nil, &DataError{Path: o.Data, Err: err}
	}
	w, err := path.NewWorker()
	if err != nil {
		return nil, err
	}
	p := &predictor{
		worker: w, out: bufio.NewWriterSize(o.Out, 1<<18),
		sum: &Prediction{Classes: map[string]int{}, Missing: map[string]int{}, Unseen: map[string]int{}},
	}
	if o.Rejects != nil {
		p.rejects = json.NewEncoder(o.Rejects)
	}
	if src.options.Format == pipeline.CSV {
		h := csv.NewWriter(p.out)
		if err := h.Write(append(slices.Clone(src.options.Header), path.Field())); err != nil {
			return nil, err
		}
		h.Flush()
	}
	if err := p.all(ctx, src); err != nil {
		return nil, err
	}
	if err := p.out.Flush(); err != nil {
		return nil, fmt.Errorf("write predictions: %w", err)
	}
	p.count(b)
	return p.sum, nil
}

type predictor struct {
	worker  *pipeline.Worker
	out     *bufio.Writer
	rejects *json.Encoder
	sum     *Prediction
}

func (p *predictor) all(ctx context.Context, src *source) error {
	b := p.worker.NewBatch()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := src.fill(b)
		if err != nil || !more {
			return err
		}
		p.worker.Process(b)
		if err := p.write(b); err != nil {
			return fmt.Errorf("write predictions: %w", err)
		}
	}
}

func (p *predictor) write(b *record.Batch) error {
	for i := range b.Len() {
		p.sum.Records++
		if problem := b.Problem(i); problem != nil {
			p.sum.Rejected++
			p.sum.Classes[problem.Class]++
			if p.rejects != nil {
				r := Reject{Record: b.Raw(i).Offset, Stage: problem.Stage, Class: problem.Class, Field: problem.Field, Reason: problem.Reason}
				if err := p.rejects.Encode(r); err != nil {
					return err
				}
			}
			continue
		}
		p.sum.Predictions++
		if _, err := p.out.Write(p.worker.Output(i)); err != nil {
			return err
		}
		if err := p.out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// count fills in the counts by input.
func (p *predictor) count(b *model.Bundle) {
	for i, c := range p.worker.Counts() {
		if c.Missing > 0 {
			p.sum.Missing[b.Inputs[i].Name] = int(c.Missing)
		}
		if c.Unseen > 0 {
			p.sum.Unseen[b.Inputs[i].Name] = int(c.Unseen)
		}
	}
}
