package app

import (
	"cmp"
	"context"
	"fmt"
	"os/user"
	"slices"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/table"
	"millrace.dev/model"
)

// TrainOptions say what to train.
type TrainOptions struct {
	File     string   // the pipeline file
	Set      []string // overrides of it
	Threads  int
	By       string // who trains; for the audit log
	RunID    string
	Progress func(gbm.Round)
}

// Trained is the outcome of a training.
type Trained struct {
	Model   string // name@version
	Digest  string // of the bundle
	Rows    model.Rows
	Metrics model.Metrics

	File     string // the pipeline file
	Data     string // the data that was read, as the pipeline file names it
	Registry string // the registry's folder
	Trees    int
	Signed   bool // there is a root document: decisions are signed
	Existed  bool // the very same model was registered before
	State    registry.State
	Inputs   []model.Input
	Found    batch.Found // in tables and windows
}

// TopInputs returns the n inputs that matter most to the model, each with its share.
func (t *Trained) TopInputs(n int) []string {
	in := slices.Clone(t.Inputs)
	slices.SortStableFunc(in, func(a, b model.Input) int { return cmp.Compare(b.Importance, a.Importance) })
	var names []string
	for _, i := range in[:min(n, len(in))] {
		names = append(names, fmt.Sprintf("%s %.0f%%", i.Name, 100*i.Importance))
	}
	return names
}

// Train trains the model of a pipeline file and registers it as a candidate.
func (a *App) Train(ctx context.Context, o TrainOptions) (*Trained, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if p.Train.Data == "" {
		return nil, &Error{Code: Usage, Op: "train", Where: o.File, Err: errNoData, Hint: "set train.data to a file, a pattern of files, or topic://NAME"}
	}
	reg, err := a.Registry(p.Model)
	if err != nil {
		return nil, err
	}
	by := o.By
	if p.Model.Root == "" {
		by = a.actor(by)
	}
	if err := reg.CheckAuthor(ctx, by); err != nil {
		return nil, err
	}
	declared := p.Declaration()
	plan, err := feature.Compile(declared)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	client, err := a.clientFor(p, append(tableData(p, plan), p.Train.Data, p.Train.Labels.Data)...)
	if err != nil {
		return nil, err
	}
	defer closeClient(client)
	rows, sources, err := a.trainingRows(ctx, p, plan, client)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	options := a.trainOptions(p, declared, rows, client)
	options.Sources, options.Threads, options.Progress, options.RunID = sources, o.Threads, o.Progress, o.RunID
	var found batch.Found
	options.Found = func(f batch.Found) { found = f }
	b, err := batch.TrainModel(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	data, digest, err := b.Encode()
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	began := a.Now()
	v, err := reg.Register(ctx, data, by)
	if err != nil {
		return nil, err
	}
	return &Trained{
		Model: v.Ref(), Digest: digest, Rows: b.Lineage.Rows, Metrics: b.Metrics,
		File: o.File, Data: p.Train.Data, Registry: p.Model.Registry, Trees: b.Forest.Trees(),
		Signed: p.Model.Root != "", Existed: v.RegisteredAt.Before(began), State: v.State, Inputs: b.Inputs, Found: found,
	}, nil
}

// trainOptions returns what a pipeline file says about training.
func (a *App) trainOptions(p *config.Pipeline, declared feature.Declaration, rows map[string]table.Rows, client *kafka.Client) batch.TrainOptions {
	return batch.TrainOptions{
		Name: p.Name, Data: p.Train.Data, Labels: batch.Labels(p.Train.Labels), Client: client, Declaration: declared,
		Rows: rows, Required: pipelineTables(p), EventTime: p.Source.EventTime, Field: p.Sink.Field, LabelUnit: p.Train.LabelUnit, Where: p.Train.Where,
		Split:  batch.Split{Train: p.Train.Split.Train, Validation: p.Train.Split.Validation, Test: p.Train.Split.Test, Seed: int64(p.Train.Split.Seed)},
		Params: p.Train.GBM, MaxBytes: p.Source.MaxRecordBytes, CodeVersion: a.Version,
	}
}

// actor returns who is at work: by, else the user's name.
func (a *App) actor(by string) string {
	for _, name := range []string{"MILLRACE_USER", "USER", "LOGNAME"} {
		if by == "" {
			by, _ = a.Env(name)
		}
	}
	if by == "" {
		if u, err := user.Current(); err == nil {
			by = u.Username
		}
	}
	return cmp.Or(by, "unknown")
}
