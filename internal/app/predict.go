package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"millrace.dev/internal/batch"
)

// PredictOptions say what to predict with which model.
type PredictOptions struct {
	File    string   // the pipeline file
	Set     []string // overrides of it
	Model   string   // NAME@VERSION, NAME@ALIAS, @ALIAS or the path of a bundle
	Data    string   // the records: .csv or .jsonl
	Out     string   // the file for the predictions, "-" is Stdout
	Rejects string   // the file for what got no prediction, or ""
	Field   string   // the field that takes the prediction; "" is the one of the pipeline file
	Stdout  io.Writer
}

// Predicted is the outcome of predicting a file.
type Predicted struct {
	Model  string `json:"model"`
	Digest string `json:"digest"`
	*batch.Prediction
}

// Predict runs the records of a file through a model. The model need not be approved: predicting a file is a way to
// judge it. An output file is there only once it is complete.
func (a *App) Predict(ctx context.Context, o PredictOptions) (*Predicted, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	m, err := a.LoadModel(ctx, p.Model.Registry, p.Name, o.Model)
	if err != nil {
		return nil, err
	}
	field := o.Field
	if field == "" {
		field = p.Sink.Field
	}
	out, err := create(o.Out, o.Stdout)
	if err != nil {
		return nil, err
	}
	defer out.discard()
	po := batch.PredictOptions{Data: o.Data, Out: out, Field: field, MaxBytes: p.Source.MaxRecordBytes}
	var rejects *output
	if o.Rejects != "" {
		if rejects, err = create(o.Rejects, o.Stdout); err != nil {
			return nil, err
		}
		defer rejects.discard()
		po.Rejects = rejects
	}
	sum, err := batch.Predict(ctx, m.Bundle, po)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	if rejects != nil {
		if err := rejects.commit(); err != nil {
			return nil, err
		}
	}
	if err := out.commit(); err != nil {
		return nil, err
	}
	return &Predicted{Model: m.Ref, Digest: m.Digest, Prediction: sum}, nil
}

// output is a file that takes its name when it is complete, or standard output.
type output struct {
	*bufio.Writer
	file *os.File
	path string
}

func create(path string, stdout io.Writer) (*output, error) {
	if path == "-" {
		return &output{Writer: bufio.NewWriter(stdout)}, nil
	}
	f, err := os.Create(path + ".partial")
	if err != nil {
		return nil, err
	}
	return &output{Writer: bufio.NewWriterSize(f, 1<<18), file: f, path: path}, nil
}

func (o *output) commit() error {
	err := o.Flush()
	if o.file == nil {
		return err
	}
	if err == nil {
		err = o.file.Sync()
	}
	if err = firstError(err, o.file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	name := o.file.Name()
	o.file = nil
	return os.Rename(name, o.path)
}

// discard removes what was written, unless it was committed.
func (o *output) discard() {
	if o.file != nil {
		_ = o.file.Close()           // what is in it is not wanted
		_ = os.Remove(o.file.Name()) // a left-over .partial file harms nobody
		o.file = nil
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
