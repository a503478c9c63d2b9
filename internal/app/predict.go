package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
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
	*batch.Prediction
}

// Predict runs records through a model. The model need not be approved: predicting what is known is a way to judge it. An output file is there only once it is complete.
func (a *App) Predict(ctx context.Context, o PredictOptions) (*Predicted, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	m, err := a.LoadModel(ctx, p.Model, p.Name, o.Model)
	if errors.Is(err, registry.ErrNotApproved) {
		return nil, &Error{Code: Refused, Op: "predict", Err: err, Hint: "a model that nobody has approved yet can be predicted with, too: --model @candidate"}
	}
	if err != nil {
		return nil, err
	}
	if _, err := compileChecks("predict", p, m); err != nil {
		return nil, err
	}
	inputs, err := source.Files(o.Data)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	paths := []named{{"--out", o.Out}, {"--rejects", o.Rejects}}
	for _, in := range inputs {
		if err := distinct(append([]named{{"--data", in}}, paths...)...); err != nil {
			return nil, &Error{Code: Usage, Op: "predict", Err: err}
		}
	}
	if err := distinct(paths...); err != nil {
		return nil, &Error{Code: Usage, Op: "predict", Err: err}
	}
	client, err := a.clientFor(p, append(tableData(p, m.Bundle.Plan), o.Data)...)
	if err != nil {
		return nil, err
	}
	defer closeClient(client)
	rows, err := a.batchRows(ctx, p, m.Bundle.Plan, client)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	out, err := create(o.Out, o.Stdout)
	if err != nil {
		return nil, err
	}
	defer out.discard()
	po := predictOptions(p, rows)
	po.Data, po.Client, po.Out, po.Field = o.Data, client, out, cmp.Or(o.Field, po.Field)
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
	sum, err := batch.Predict(ctx, m.Bundle, po)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	if err := commit(outputs...); err != nil {
		return nil, err
	}
	return &Predicted{Model: m.Ref, Digest: m.Digest, Prediction: sum}, nil
}

// predictOptions returns what a pipeline file says about predicting.
func predictOptions(p *config.Pipeline, rows map[string]table.Rows) batch.PredictOptions {
	return batch.PredictOptions{Field: p.Sink.Field, MaxBytes: p.Source.MaxRecordBytes, Rows: rows, Required: pipelineTables(p), Checks: pipelineChecks(p)}
}
