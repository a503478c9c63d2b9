package batch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"millrace.dev/feature"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// PredictOptions say what to predict.
type PredictOptions struct {
	Data     string        // the records, as [source.Open] names them
	Client   *kafka.Client // for data in topics. Default: none
	Out      io.Writer     // gets the records with their predictions, in order: rows of CSV for CSV, else JSON objects, one a line
	Rejects  io.Writer     // gets one JSON object for each record without a prediction, or nil
	Field    string        // the field that takes the prediction. Default: the bundle's
	MaxBytes int           // of a record. Default: 1 MiB
	// Rows are those of the tables of the model, by name, with their history; Required are the tables in which a record has
	// to have a row.
	Rows     map[string]table.Rows
	Required []pipeline.Table
	// Checks are the rules that each record has to keep. A record that breaks one whose outcome is to fail ends the
	// prediction with a [pipeline.CheckError]: what came before is in Out. Default: none
	Checks []pipeline.Check
}

// Prediction sums up what [Predict] did.
type Prediction struct {
	Records     int            `json:"records"`
	Predictions int            `json:"predictions"`
	Rejected    int            `json:"rejected"`
	Classes     map[string]int `json:"classes"` // of the rejected records, by the class of their problem
	Missing     map[string]int `json:"missing"` // values that were missing, by model input
	Unseen      map[string]int `json:"unseen"`  // enum levels that training has not seen, by model input
	// Tables counts look-ups by table, Windows records by window, and Fitted by feature what its fitted functions lacked.
	Tables  map[string]pipeline.TableCounts  `json:"tables,omitempty"`
	Windows map[string]pipeline.WindowCounts `json:"windows,omitempty"`
	Fitted  map[string]feature.Counts        `json:"fitted,omitempty"`
	// Checks counts the records that break a rule, by the rule's name.
	Checks map[string]CheckCount `json:"checks,omitempty"`
}

// CheckCount is how many records break a rule, and what becomes of them.
type CheckCount struct {
	Otherwise string `json:"otherwise"`
	Broken    uint64 `json:"broken"`
}

// Reject is a record without a prediction, as [PredictOptions].Rejects gets it.
type Reject struct {
	Record    int64  `json:"record"`              // its number in the data, from 0
	Partition *int32 `json:"partition,omitempty"` // where it is in a topic
	Offset    *int64 `json:"offset,omitempty"`
	Stage     string `json:"stage"`
	Class     string `json:"class"`
	Field     string `json:"field,omitempty"`
	Reason    string `json:"reason"`
}

// Predict runs records through the path of a model, the same that a stream runs through.
func Predict(ctx context.Context, b *model.Bundle, o PredictOptions) (*Prediction, error) {
	r, err := newReplay(ctx, b, replayed{data: o.Data, client: o.Client, field: o.Field, maxBytes: o.MaxBytes, rows: o.Rows, required: o.Required, checks: o.Checks})
	if err != nil {
		return nil, err
	}
	p := &predictor{
		replay: r, out: bufio.NewWriterSize(o.Out, 1<<18),
		checks: o.Checks, sum: &Prediction{Classes: map[string]int{}, Missing: map[string]int{}, Unseen: map[string]int{}},
	}
	if o.Rejects != nil {
		p.rejects = json.NewEncoder(o.Rejects)
	}
	if r.data.Format() == pipeline.CSV {
		h := csv.NewWriter(p.out)
		if err := h.Write(append(slices.Clone(r.data.Columns()), r.path.Field())); err != nil {
			return nil, err
		}
		h.Flush()
	}
	err = r.each(ctx, nil, func(b *record.Batch, first int64, _ [][]float64) error {
		err := p.write(b, first)
		if _, ok := errors.AsType[*pipeline.CheckError](err); ok {
			return err
		}
		if err != nil {
			return fmt.Errorf("write predictions: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, p.out.Flush())
	}
	if err := p.out.Flush(); err != nil {
		return nil, fmt.Errorf("write predictions: %w", err)
	}
	p.count(b)
	return p.sum, nil
}

type predictor struct {
	*replay

	out     *bufio.Writer
	rejects *json.Encoder
	sum     *Prediction
	checks  []pipeline.Check
}

func (p *predictor) write(b *record.Batch, first int64) error {
	last, failure := p.worker.Failure()
	for i := range b.Len() {
		if i == last {
			failure.Where = strconv.FormatInt(first+int64(i), 10)
			if r := b.Raw(i); p.data.Topic() {
				failure.Where = fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
			}
			return failure
		}
		p.sum.Records++
		if problem := b.Problem(i); problem != nil {
			p.sum.Rejected++
			p.sum.Classes[problem.Class]++
			if p.rejects != nil {
				r := Reject{Record: first + int64(i), Stage: problem.Stage, Class: problem.Class, Field: problem.Field, Reason: problem.Reason}
				if p.data.Topic() {
					r.Partition, r.Offset = &b.Raw(i).Partition, &b.Raw(i).Offset
				}
				if err := p.rejects.Encode(r); err != nil {
					return err
				}
			}
			continue
		}
		p.sum.Predictions++
		if _, err := p.out.Write(p.line(i)); err != nil {
			return err
		}
		if err := p.out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// line returns the output for record i of the batch. A record of a topic may have line breaks between its values, where
// JSON has any white space.
func (p *predictor) line(i int) []byte {
	out := p.worker.Output(i)
	if p.data.Topic() && bytes.ContainsAny(out, "\n\r") {
		out = bytes.Map(func(r rune) rune {
			if r == '\n' || r == '\r' {
				return ' '
			}
			return r
		}, out)
	}
	return out
}

// count fills in the counts by input, table, window and feature.
func (p *predictor) count(b *model.Bundle) {
	for i, c := range p.worker.Counts() {
		if c.Missing > 0 {
			p.sum.Missing[b.Inputs[i].Name] = int(c.Missing)
		}
		if c.Unseen > 0 {
			p.sum.Unseen[b.Inputs[i].Name] = int(c.Unseen)
		}
	}
	for i, t := range b.Plan.Tables() {
		put(&p.sum.Tables, t.Name, p.worker.TableCounts()[i])
	}
	for i, n := range p.windows.Counts() {
		put(&p.sum.Windows, p.windows.Info(i).Name, n)
	}
	for i, n := range p.worker.CheckCounts() {
		put(&p.sum.Checks, p.checks[i].Name, CheckCount{p.checks[i].Otherwise.String(), n})
	}
	for i, name := range b.Plan.Fits() {
		if c := p.worker.FittedCounts()[i]; c != (feature.Counts{}) {
			put(&p.sum.Fitted, name, c)
		}
	}
}

// put puts into a map, which is made when the first value comes.
func put[V any](m *map[string]V, name string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[name] = v
}
