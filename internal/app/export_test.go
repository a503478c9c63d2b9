package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/rollout"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// RowsOf reads the tables of a plan as batch does, and as run does what has no topic, with the records of topics at hand
// instead of in a cluster.
func (a *App) RowsOf(ctx context.Context, p *config.Pipeline, plan *feature.Plan, topics map[string][]record.Raw) (rows, static map[string]table.Rows, err error) {
	if static, err = a.staticRows(ctx, p, plan, nil); err != nil {
		return nil, nil, err
	}
	rows = map[string]table.Rows{}
	for _, of := range plan.Tables() {
		t := p.Table(of.Name)
		if t.Data != "" {
			rows[t.Name], err = a.fileRows(ctx, p, t, nil, &model.TableSource{})
		} else {
			rows[t.Name], err = rowsOfTopic(p, t, topics[t.Topic])
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return rows, static, nil
}

func rowsOfTopic(p *config.Pipeline, t *config.Table, records []record.Raw) (table.Rows, error) {
	state, err := newTableState(p, t, true)
	if err != nil {
		return nil, err
	}
	c := &changelog{table: t, state: state}
	for i := range records {
		c.apply(&records[i])
	}
	return c.rows()
}

// ModelOf trains the model of a pipeline file, as Train does, and returns it as it is read from its bytes.
func (a *App) ModelOf(ctx context.Context, p *config.Pipeline, topics map[string][]record.Raw) (*model.Loaded, error) {
	declared := p.Declaration()
	plan, err := feature.Compile(declared)
	if err != nil {
		return nil, err
	}
	rows, _, err := a.RowsOf(ctx, p, plan, topics)
	if err != nil {
		return nil, err
	}
	b, err := batch.TrainModel(ctx, a.trainOptions(p, declared, rows, nil))
	if err != nil {
		return nil, err
	}
	data, digest, err := b.Encode()
	if err != nil {
		return nil, err
	}
	if b, err = model.Decode(data); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return &model.Loaded{Bundle: b, Digest: digest, Ref: p.Name + "@1"}, nil
}

// PredictOptionsOf are those of Predict.
func PredictOptionsOf(p *config.Pipeline, rows map[string]table.Rows) batch.PredictOptions {
	return predictOptions(p, rows)
}

// WindowsOf returns the windows that Drift judges of data.
func (a *App) WindowsOf(ctx context.Context, o DriftOptions) ([]*WindowResult, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	o.Last = defaultLast
	d := &drifting{app: a, p: p, o: o}
	err = d.ofData(ctx)
	return d.windows, err
}

// CountedBy is what the counts of a pipeline's windows depend on.
func CountedBy(p *config.Pipeline, m *model.Loaded) string {
	return watchOptions(p.Checks.Window, m).By
}

// ArmTopology declares what an arm of an experiment with groups does, with the scoring that is made for it.
func ArmTopology(p *config.Pipeline, arm string, m *model.Loaded) (*stream.Topology, error) {
	q := withoutNotes(p)
	s, err := NewScoring(q, m, ScoringOptions{Threads: 2})
	if err != nil {
		return nil, err
	}
	return armTopology(q, arm, m.Bundle.Plan, s), nil
}

// MergeTopology declares the merge of an experiment with groups.
func MergeTopology(p *config.Pipeline, of *rollout.Split, now func() time.Time) (*stream.Topology, error) {
	m, err := newMerger(p, of, now, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return mergeTopology(p, m), nil
}

// Connected makes a scoring whose model is on the server that the pipeline file names. done lets go of it.
func (a *App) Connected(ctx context.Context, p *config.Pipeline, m *model.Loaded) (s *Scoring, done func(), err error) {
	o := ScoringOptions{Threads: 1, Now: a.Now}
	if o.Static, err = a.staticRows(ctx, p, m.Bundle.Plan, nil); err != nil {
		return nil, nil, err
	}
	tracer, sent := a.tracer(ctx)
	o.Tracer = tracer
	r, err := a.newRemotes(ctx, p, o)
	if err != nil {
		return nil, nil, err
	}
	done = func() { r.close(nil); sent() }
	if s, err = NewScoring(p, m, o); err == nil {
		err = s.connect(ctx, m, r)
	}
	return s, done, err
}
