package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/model"
)

// PredictOptions say what to predict with which model.
type PredictOptions struct {
	File    string   // the pipeline file
	Set     []string // overrides of it
	Model   string   // NAME@VERSION, NAME@ALIAS, @ALIAS or the path of a bundle
	Data    string   // the records: a file, a pattern of files, or topic://NAME
	Out     string   // the file for the predictions, "-" is Stdout
	Rejects string   // the file for what got no prediction, or ""
	Field   string   // the field that takes the prediction; "" is the one of the pipeline file
	Stdout  io.Writer
}

// Predicted is the outcome of predicting data.
type Predicted struct {
	Model  string `json:"model"`
	Digest string `json:"digest"`
	Server string `json:"server,omitempty"` // of model.serve, which predicts in the stream and was not asked
	*batch.Prediction
}

// Predict runs records through a model. The model need not be approved: predicting what is known is a way to judge it. An output file is there only once it is complete.
func (a *App) Predict(ctx context.Context, o PredictOptions) (*Predicted, error) {
	r, err := a.openReplay(ctx, "predict", o, named{"--rejects", o.Rejects})
	if err != nil {
		return nil, err
	}
	defer closeClient(r.client)
	out, err := create(o.Out, o.Stdout)
	if err != nil {
		return nil, err
	}
	defer out.discard()
	po := predictOptions(r.p, r.rows)
	po.Data, po.Client, po.Out, po.Field = o.Data, r.client, out, cmp.Or(o.Field, po.Field)
	outputs := []*output{out}
	if o.Rejects != "" {
		rejects, err := create(o.Rejects, o.Stdout)
		if err != nil {
			return nil, err
		}
		defer rejects.discard()
		po.Rejects = rejects
		outputs = append(outputs, rejects)
	}
	sum, err := batch.Predict(ctx, r.model.Bundle, po)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	if err := commit(outputs...); err != nil {
		return nil, err
	}
	done := &Predicted{Model: r.model.Ref, Digest: r.model.Digest, Prediction: sum}
	if s := r.p.Model.Serve; s != nil {
		done.Server = s.URL
	}
	return done, nil
}

// replay is a model and data, of which something is to be computed and written to files.
type replay struct {
	p      *config.Pipeline
	model  *model.Loaded
	data   string        // the training data where the options name none
	labels batch.Labels  // of the training data, where they are not in it
	client *kafka.Client // nil where nothing is in a topic
	rows   map[string]table.Rows
}

// openReplay opens the model and the data that options name; others are files that are written beside o.Out. The caller closes the client.
func (a *App) openReplay(ctx context.Context, op string, o PredictOptions, others ...named) (r *replay, err error) {
	r = &replay{}
	if r.p, err = a.Load(o.File, o.Set); err != nil {
		return nil, err
	}
	if r.data = o.Data; r.data == "" {
		r.data, r.labels = r.p.Train.Data, batch.Labels(r.p.Train.Labels)
	}
	if r.model, err = a.LoadModel(ctx, r.p.Model, r.p.Name, o.Model); errors.Is(err, registry.ErrNotApproved) {
		return nil, &Error{Code: Refused, Op: op, Err: err, Hint: "a model that nobody has approved yet can be used for this, too: --model @candidate"}
	} else if err != nil {
		return nil, err
	}
	if _, err := compileChecks(op, r.p, r.model); err != nil {
		return nil, err
	}
	inputs, err := source.Files(r.data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	paths := append([]named{{"--out", o.Out}}, others...)
	for _, in := range inputs {
		if err := distinct(append([]named{{"--data", in}}, paths...)...); err != nil {
			return nil, &Error{Code: Usage, Op: op, Err: err}
		}
	}
	if err := distinct(paths...); err != nil {
		return nil, &Error{Code: Usage, Op: op, Err: err}
	}
	if r.client, err = a.clientFor(r.p, append(tableData(r.p, r.model.Bundle.Plan), r.data, r.labels.Data)...); err != nil {
		return nil, err
	}
	if r.rows, err = a.batchRows(ctx, r.p, r.model.Bundle.Plan, r.client); err != nil {
		closeClient(r.client)
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return r, nil
}

// predictOptions returns what a pipeline file says about predicting.
func predictOptions(p *config.Pipeline, rows map[string]table.Rows) batch.PredictOptions {
	return batch.PredictOptions{Field: p.Sink.Field, MaxBytes: p.Source.MaxRecordBytes, Rows: rows, Required: pipelineTables(p), Checks: pipelineChecks(p)}
}
