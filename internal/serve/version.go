package serve

import (
	"context"
	"fmt"
	"strconv"

	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
)

// Latest stands for the version that is promoted.
const Latest = "latest"

// Version is a version of a model that is in memory. A request that has it goes on with it, whatever is promoted or unloaded meanwhile.
// It is safe for concurrent use.
type Version struct {
	name    string
	number  int
	loaded  *Loaded
	queue   *queue
	windows bool
	apart   *pipeline.Attributor // nil where no golden row can be predicted
	lanes   [kinds]lane
	desks   []*desk // by worker
	rows    *finder
	stats   *stats
}

// newVersion makes what was loaded ready for the workers of a queue.
func newVersion(name string, number int, l *Loaded, q *queue, s *stats) (*Version, error) {
	b := l.Path.Bundle()
	v := &Version{name: name, number: number, loaded: l, queue: q, windows: len(b.Plan.Windows()) > 0, rows: &finder{l.Tables}, stats: s}
	if n := len(b.Plan.Tables()); len(l.Tables) != n {
		return nil, fmt.Errorf("%s has %d tables, and the rows of %d are given", v.Ref(), n, len(l.Tables))
	}
	if apart, err := pipeline.NewAttributor(b, b.Golden); err == nil {
		v.apart = apart
	}
	for k := range v.lanes {
		v.lanes[k] = lane{version: v, kind: kind(k)}
	}
	for range q.options.Workers {
		w, err := l.Path.NewWorker()
		if err != nil {
			return nil, err
		}
		v.desks = append(v.desks, newDesk(v, w))
	}
	return v, nil
}

// Name returns the name of the model.
func (v *Version) Name() string { return v.name }

// Number returns the number of the version, from 1.
func (v *Version) Number() int { return v.number }

// Version returns the number as a text.
func (v *Version) Version() string { return strconv.Itoa(v.number) }

// Ref returns both, such as house-prices@3.
func (v *Version) Ref() string { return ref(v.name, v.number) }

// Digest returns the digest of the bundle.
func (v *Version) Digest() string { return v.loaded.Digest }

// Bundle returns the model. It is not to be changed.
func (v *Version) Bundle() *model.Bundle { return v.loaded.Path.Bundle() }

// Field returns the field of a record that takes the prediction.
func (v *Version) Field() string { return v.loaded.Path.Field() }

// Windows tells whether the model uses windows, so that records cannot be predicted, but only inputs.
func (v *Version) Windows() bool { return v.windows }

// Explains tells whether predictions can be taken apart.
func (v *Version) Explains() bool { return v.apart != nil }

// Row is what became of a row of a request.
type Row struct {
	// Output is the record with its prediction, as a stream would write it; nil where there is a problem, and of rows of inputs.
	Output     []byte
	Prediction float64
	// Checks names the rules that the record breaks and is predicted all the same, with commas between.
	Checks string
	// Problem is why there is no prediction; nil if there is one.
	Problem *record.Problem
	// Explanation is what the inputs add to the prediction, if that was asked for.
	Explanation *pipeline.Attribution
}

// PredictOptions say what is wanted beside predictions.
type PredictOptions struct {
	Explain bool // [Row].Explanation, for which there is more to compute
}

// Predict runs records through the data path, and returns a row for each, in their order. A record that cannot be predicted has a
// problem. A timestamp of a record is its event time where the model names no field for that; less than 0 is the latest row of each
// table. The records are read until Predict returns. The error matches [ErrWindows], [ErrBusy], [ErrDraining], or is that of ctx.
func (v *Version) Predict(ctx context.Context, records []record.Raw, o PredictOptions) ([]Row, error) {
	if v.windows {
		return nil, ErrWindows
	}
	c := &call{records: records, rows: make([]Row, len(records))}
	kind := kindRecords
	if o.Explain {
		kind = kindExplained
	}
	if err := v.queue.do(ctx, &v.lanes[kind], c); err != nil {
		return nil, err
	}
	return c.rows, nil
}

// Score predicts rows of inputs, whose columns have the order, the types and the levels of [gbm.Forest.Inputs]; a code that is no level
// is missing. Otherwise it is as Predict.
func (v *Version) Score(ctx context.Context, fr *record.Frame) ([]Row, error) {
	if err := v.fits(fr); err != nil {
		return nil, err
	}
	c := &call{frame: fr, rows: make([]Row, fr.Rows)}
	if err := v.queue.do(ctx, &v.lanes[kindInputs], c); err != nil {
		return nil, err
	}
	return c.rows, nil
}

// fits returns an error where the columns of a frame are not those of the model.
func (v *Version) fits(fr *record.Frame) error {
	columns := v.desks[0].frame.Columns // their types do not change
	ok := len(fr.Columns) == len(columns)
	for i := range columns {
		if !ok || fr.Columns[i].Type != columns[i].Type {
			return fmt.Errorf("serve: the frame does not have the inputs of %s", v.Ref())
		}
		n := len(fr.Columns[i].Numbers)
		if columns[i].Type == record.Enum {
			n = len(fr.Columns[i].Codes)
		}
		ok = n >= fr.Rows
	}
	if !ok {
		return fmt.Errorf("serve: the frame does not have the rows that it says of the inputs of %s", v.Ref())
	}
	return nil
}

// finder finds rows of tables for a version.
type finder struct{ tables []table.Rows }

// Row finds a row.
func (f *finder) Row(t, _ int, key string, at int64) *record.Row {
	if f.tables[t] == nil {
		return nil
	}
	return f.tables[t].Get(key, at)
}
