package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"slices"
	"strings"

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
	Interval Interval
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
	RunID    string
	Interval Interval
	Unused   bool            // the pipeline file does not use the interval: all of the data was read
	Imported *model.Imported // the file of another system that the trees came from; nil: they were grown here
	Trees    int
	Signed   bool // there is a root document: decisions are signed
	Existed  bool // the very same model was registered before
	State    registry.State
	Inputs   []model.Input
	Found    batch.Found // in tables and windows
	Gates    []GateResult
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

// Train trains the model of a pipeline file and registers it as a candidate, if it passes the gates of the file. One that does
// not is registered and rejected: both the outcome and an error of code [Refused] are returned then. Training again with the
// same data, file and run id gives the same version, or the same refusal.
func (a *App) Train(ctx context.Context, o TrainOptions) (*Trained, error) {
	return a.trainWith(ctx, "train", o, batch.TrainModel)
}

// maker makes the bundle of what options say.
type maker func(context.Context, batch.TrainOptions) (*model.Bundle, error)

// trainWith does what Train does, with another way to make the bundle; op is what a person calls that.
func (a *App) trainWith(ctx context.Context, op string, o TrainOptions, mk maker) (*Trained, error) {
	env, err := o.Interval.variables(a.Env)
	if err != nil {
		return nil, err
	}
	p, err := config.Load(o.File, config.Options{Set: o.Set, Env: env.lookup})
	if err != nil {
		return nil, unreadable(o.File, err)
	}
	if p.Train.Data == "" {
		return nil, &Error{Code: Usage, Op: op, Where: o.File, Err: errNoData, Hint: "set train.data to a file, a pattern of files, or topic://NAME"}
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
	x := &trainee{p: p, mk: mk}
	t := &Trained{
		File: o.File, Data: p.Train.Data, Registry: p.Model.Registry, RunID: o.RunID, Interval: o.Interval, Unused: !o.Interval.IsZero() && !env.used,
		Signed: p.Model.Root != "",
	}
	if err := a.makeModel(ctx, o, x, t); err != nil {
		if !o.Interval.IsZero() && errors.Is(err, batch.ErrNoRows) {
			return nil, &Error{Code: Nothing, Op: op, Err: fmt.Errorf("the data interval %s has no rows: %w", o.Interval, err), Hint: "there is nothing to train on"}
		}
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if p.Model.Accept != nil {
		if x.champion, err = championOf(ctx, reg, p); err != nil {
			return nil, err
		}
		if t.Gates, err = a.gates(ctx, x); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	return t, a.register(ctx, reg, x.data, by, t)
}

// makeModel trains the model, and fills in what is known of it before it is registered.
func (a *App) makeModel(ctx context.Context, o TrainOptions, x *trainee, t *Trained) error {
	p := x.p
	a.Log.LogAttrs(ctx, slog.LevelDebug, "training begins", slog.String("pipeline", p.Name), slog.String("data", p.Train.Data), slog.String("run_id", o.RunID))
	declared := p.Declaration()
	plan, err := feature.Compile(declared)
	if err != nil {
		return err
	}
	client, err := a.clientFor(p, append(tableData(p, plan), p.Train.Data, p.Train.Labels.Data)...)
	if err != nil {
		return err
	}
	defer closeClient(client)
	rows, sources, err := a.trainingRows(ctx, p, plan, client)
	if err != nil {
		return err
	}
	options := a.trainOptions(p, declared, rows, client)
	options.Sources, options.Threads, options.Progress = sources, o.Threads, o.Progress
	options.RunID, options.From, options.To = o.RunID, o.Interval.From, o.Interval.To
	options.Found = func(f batch.Found) { t.Found = f }
	if p.Model.Accept != nil && p.Model.Accept.Champion != nil {
		options.Tested = func(rows batch.Tested) { x.tested = rows }
	}
	if x.bundle, err = x.mk(ctx, options); err != nil {
		return err
	}
	if x.data, x.digest, err = x.bundle.Encode(); err != nil {
		return err
	}
	b := x.bundle
	t.Digest, t.Rows, t.Metrics, t.Trees, t.Inputs = x.digest, b.Lineage.Rows, b.Metrics, b.Forest.Trees(), b.Inputs
	t.Imported = b.Lineage.Imported
	return nil
}

// register registers a model, and rejects it where a gate refuses it.
func (a *App) register(ctx context.Context, reg *registry.Registry, data []byte, by string, t *Trained) error {
	refusal := refusalOf(t.Gates)
	if refusal != nil && t.Imported != nil {
		refusal.Op = opImport
	}
	if refusal != nil { // the same run may have been here before
		switch v, err := rejectedBefore(ctx, reg, t.Digest); {
		case err != nil:
			return err
		case v != nil:
			t.Model, t.State, t.Existed = v.Ref(), v.State, true
			refusal.Where = t.Model
			return refusal
		}
	}
	gates := make([]registry.Gate, len(t.Gates))
	for i := range gates {
		gates[i] = t.Gates[i].Gate
	}
	began := a.Now()
	v, err := reg.Register(ctx, data, by, gates...)
	if err != nil {
		return err
	}
	t.Model, t.State, t.Existed = v.Ref(), v.State, v.RegisteredAt.Before(began)
	if refusal == nil {
		return nil
	}
	refusal.Where = t.Model
	if v.State != registry.StateCandidate { // a person has decided about the very same model: that is not undone here
		return refusal
	}
	rejecter := gatekeeper
	if t.Signed { // by the key of who trains
		rejecter = ""
	}
	// Once it is registered it must not be left as it is, whoever wants to stop.
	v, err = reg.Reject(context.WithoutCancel(ctx), v.Ref(), "", registry.Decision{By: rejecter, Reason: rejection(refusal)})
	if errors.Is(err, registry.ErrRejected) {
		err = nil // another training of the same was faster
		v.State = registry.StateRejected
	}
	if err != nil {
		return err
	}
	t.State = v.State
	return refusal
}

// rejection is the reason for a rejection.
func rejection(e *Error) string {
	const most = 4000 // of the registry
	text := e.Err.Error()
	if len(text) <= most {
		return text
	}
	return strings.TrimSpace(strings.ToValidUTF8(text[:most-len("…")], "")) + "…"
}

// rejectedBefore returns the version with a digest that a gate has rejected before, or nil if there is none or if the last one
// was decided otherwise.
func rejectedBefore(ctx context.Context, reg *registry.Registry, digest string) (*registry.Version, error) {
	versions, err := reg.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Backward(versions) {
		if v.Digest == digest {
			if v.State == registry.StateRejected && strings.HasPrefix(v.Reason, refusedBy) {
				return &v, nil
			}
			return nil, nil
		}
	}
	return nil, nil
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
