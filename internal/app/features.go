package app

import (
	"context"
	"fmt"
	"io"

	"millrace.dev/internal/batch"
)

// FeaturesOptions say of which records to write the inputs of a model.
type FeaturesOptions struct {
	File   string   // the pipeline file
	Set    []string // overrides of it
	Model  string   // whose plan computes them: NAME@VERSION, NAME@ALIAS, @ALIAS or the path of a bundle
	Data   string   // the records: a file, a pattern of files, or topic://NAME; "" is the training data
	Out    string   // the file for them, "-" is Stdout
	Stdout io.Writer
}

// Features is the outcome of writing inputs.
type Features struct {
	Model  string `json:"model"`
	Digest string `json:"digest"`
	*batch.Features
}

// Features writes the inputs that the plan of a model computes of records, for who trains a model of another kind on them. The model need
// not be approved. The file is there only once it is complete.
func (a *App) Features(ctx context.Context, o FeaturesOptions) (*Features, error) {
	r, err := a.openReplay(ctx, "features", PredictOptions{File: o.File, Set: o.Set, Model: o.Model, Data: o.Data, Out: o.Out})
	if err != nil {
		return nil, err
	}
	defer closeClient(r.client)
	out, err := create(o.Out, o.Stdout)
	if err != nil {
		return nil, err
	}
	defer out.discard()
	sum, err := batch.WriteFeatures(ctx, r.model.Bundle, batch.FeaturesOptions{
		Data: r.data, Labels: r.labels, Client: r.client, Out: out, MaxBytes: r.p.Source.MaxRecordBytes, Rows: r.rows, Required: pipelineTables(r.p), Checks: pipelineChecks(r.p),
	})
	if err != nil {
		return nil, fmt.Errorf("features: %w", err)
	}
	if err := commit(out); err != nil {
		return nil, err
	}
	return &Features{Model: r.model.Ref, Digest: r.model.Digest, Features: sum}, nil
}
