package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"millrace.dev/internal/config"
	"millrace.dev/internal/source"
)

// InitOptions say what to write a pipeline file for.
type InitOptions struct {
	Dir   string // the folder for the file
	From  string // a CSV file with the labelled history
	Label string // its column to predict
	Name  string // of the pipeline; "" is that of the folder
	Force bool   // replace a file that is there
}

// Initialized is what Init wrote.
type Initialized struct {
	File     string // the pipeline file
	Inferred *config.Inferred
}

// Init infers the schema of a CSV file and writes a pipeline file for it.
func (a *App) Init(_ context.Context, o InitOptions) (*Initialized, error) {
	if format, compression, err := source.FormatOf(o.From); err == nil && (format != source.CSV || compression != source.Plain) {
		return nil, &Error{Code: Usage, Op: "init", Where: o.From, Err: errors.New("it is not a CSV file, which init looks at"), Hint: "write the first thousand records as CSV with a header"}
	}
	f, err := os.Open(o.From)
	if err != nil {
		return nil, &Error{Code: Usage, Op: "init", Err: err}
	}
	defer f.Close() //nolint:errcheck // it was only read
	in, err := config.Infer(f, config.InferOptions{Label: o.Label})
	if err != nil {
		return nil, &Error{Code: Usage, Op: "init", Where: o.From, Err: err}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	data, err := filepath.Abs(o.From)
	if err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(dir, data); err == nil {
		data = filepath.ToSlash(rel)
	}
	name := o.Name
	if name == "" {
		name = config.Name(filepath.Base(dir))
	}
	var text bytes.Buffer
	if err := in.WritePipeline(&text, config.FileOptions{Name: name, Data: data}); err != nil {
		return nil, err
	}
	path := filepath.Join(o.Dir, "pipeline.yaml")
	if err := config.Create(path, text.Bytes(), o.Force); err != nil {
		code, hint := Explain(err)
		if errors.Is(err, fs.ErrExist) {
			hint = "choose another folder, or replace the file with --force"
		}
		return nil, &Error{Code: code, Op: "init", Err: err, Hint: hint}
	}
	if _, err := a.Load(path, nil); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	return &Initialized{File: path, Inferred: in}, nil
}
