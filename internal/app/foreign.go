package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/importer"
	"millrace.dev/internal/importer/lightgbm"
	"millrace.dev/internal/importer/xgboost"
	"millrace.dev/model"
)

// opImport is what a person calls an import.
const opImport = "model import"

// ForeignOptions say which model of another system to import.
type ForeignOptions struct {
	File     string   // the pipeline file: fields, features, the data to fit them on and to measure the model with
	Set      []string // overrides of it
	Registry string   // the registry; "" is that of the pipeline file
	Root     string   // the file of the root document; "" is that of the pipeline file
	Threads  int
	By       string // who imports; for the audit log
	Model    []byte // the content of the model's file
	Name     string // the file's name without its folder, or where else it comes from; for the lineage
	Format   string // of [ForeignFormats]; "" is what the content looks like
}

// reader reads the models of another system.
type foreignReader struct {
	format string
	is     func([]byte) bool
	read   func([]byte) (*importer.Model, error)
}

func foreignReaders() []foreignReader {
	return []foreignReader{{lightgbm.Format, lightgbm.Is, lightgbm.Read}, {xgboost.Format, xgboost.Is, xgboost.Read}}
}

// ForeignFormats returns the names of the formats of other systems that can be imported.
func ForeignFormats() []string {
	var names []string
	for _, r := range foreignReaders() {
		names = append(names, r.format)
	}
	return names
}

// ForeignFormat returns the name of the format that data looks like, or "".
func ForeignFormat(data []byte) string {
	for _, r := range foreignReaders() {
		if r.is(data) {
			return r.format
		}
	}
	return ""
}

// ReadForeign reads the file of a model of another system. It returns nil if format is "" and the file looks like none.
func ReadForeign(path, format string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	const head = 4096
	data, err = io.ReadAll(io.LimitReader(f, head))
	if err != nil {
		return nil, err
	}
	if format == "" && ForeignFormat(data) == "" {
		return nil, nil
	}
	rest, err := io.ReadAll(io.LimitReader(f, importer.MaxBytes+1-head))
	return append(data, rest...), err // a reader refuses what is longer
}

// ImportForeign makes a model of trees that another system has grown, and registers it as a candidate, if it passes the gates of
// the pipeline file: see [batch.ImportModel], and [App.Train] for what comes back. The inputs of the pipeline file have to be
// the model's features, by name.
func (a *App) ImportForeign(ctx context.Context, o ForeignOptions) (*Trained, error) {
	format := o.Format
	if format == "" {
		format = ForeignFormat(o.Model)
	}
	var m *importer.Model
	for _, r := range foreignReaders() {
		if r.format != format {
			continue
		}
		var err error
		if m, err = r.read(o.Model); err != nil {
			return nil, &Error{Code: Usage, Op: opImport, Where: o.Name, Err: err}
		}
	}
	if m == nil {
		return nil, &Error{Code: Usage, Op: opImport, Where: o.Name, Err: errors.New("it is no model that can be imported"), Hint: "models that LightGBM has saved as text, and XGBoost as JSON or UBJSON, can be"}
	}
	from := model.Imported{Format: m.Format, Version: m.Version, Objective: m.Objective, Name: o.Name, Digest: model.Digest(o.Model)}
	train := TrainOptions{File: o.File, Set: o.Set, Threads: o.Threads, By: o.By}
	for key, value := range map[string]string{"model.registry": o.Registry, "model.root": o.Root} {
		if value != "" {
			train.Set = append(slices.Clip(train.Set), key+"="+value)
		}
	}
	return a.trainWith(ctx, opImport, train, func(ctx context.Context, options batch.TrainOptions) (*model.Bundle, error) {
		b, err := batch.ImportModel(ctx, options, m, from)
		if errors.Is(err, importer.ErrUnfit) {
			return nil, &Error{Code: Usage, Where: o.File, Err: fmt.Errorf("%s does not fit the pipeline file: %w", o.Name, err)}
		}
		return b, err
	})
}
