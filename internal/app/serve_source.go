package app

import (
	"context"
	"fmt"
	"slices"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/serve"
)

// serveSource has the versions of the model of a pipeline file, from its registry, and the rows of its tables.
type serveSource struct {
	app      *App
	pipeline *config.Pipeline
	registry *registry.Registry
	plan     *feature.Plan
	tables   *servedTables
}

// serveSource opens the registry of a pipeline, and wants a model that may run.
func (a *App) serveSource(ctx context.Context, p *config.Pipeline) (*serveSource, error) {
	reg, err := a.Registry(p.Model)
	if err != nil {
		return nil, err
	}
	s := &serveSource{app: a, pipeline: p, registry: reg}
	if err := signaturesChecked(ctx, reg, p); err != nil {
		return nil, err
	}
	v, err := reg.Resolve(ctx, "@"+registry.AliasChampion, p.Name) // its errors say what to do
	if err != nil {
		return nil, err
	}
	if err := v.CheckApproved(); err != nil {
		return nil, err
	}
	if s.plan, err = feature.Compile(p.Declaration()); err != nil {
		return nil, err
	}
	if s.tables, err = a.servedTables(p, s.plan); err != nil {
		return nil, err
	}
	return s, nil
}

// start reads the tables: that lasts until brokers answer.
func (s *serveSource) start(ctx context.Context) error {
	return s.tables.read(ctx, s.app, s.pipeline, s.plan)
}

func (s *serveSource) close() { s.tables.close() }

// State implements [serve.Source].
func (s *serveSource) State(ctx context.Context) (serve.State, error) {
	if err := signaturesChecked(ctx, s.registry, s.pipeline); err != nil {
		return serve.State{}, err
	}
	versions, err := s.registry.List(ctx)
	if err != nil {
		return serve.State{}, err
	}
	var state serve.State
	for i := range versions {
		v := &versions[i]
		if v.Model != s.pipeline.Name || v.Purged || v.CheckApproved() != nil {
			continue
		}
		state.Approved = append(state.Approved, v.Number)
		if slices.Contains(v.Aliases, registry.AliasChampion) {
			state.Promoted = v.Number
		}
	}
	slices.Sort(state.Approved)
	return state, nil
}

// Load implements [serve.Source].
func (s *serveSource) Load(ctx context.Context, number int) (*serve.Loaded, error) {
	p := s.pipeline
	m, err := s.app.approved(ctx, p, fmt.Sprintf("@%d", number))
	if err != nil {
		return nil, err
	}
	if _, err := compileChecks("serve", p, m); err != nil {
		return nil, err
	}
	path, err := pipeline.New(m.Bundle, pipeline.Options{
		Field: p.Sink.Field, MaxBytes: p.Source.MaxRecordBytes, Tables: pipelineTables(p), Checks: pipelineChecks(p),
	})
	if err != nil {
		return nil, &Error{Code: Refused, Op: "load model", Where: m.Ref, Err: err, Hint: "train the model again with this version of millrace"}
	}
	l := &serve.Loaded{Digest: m.Digest, Path: path}
	for _, of := range m.Bundle.Plan.Tables() {
		l.Tables = append(l.Tables, s.tables.rows[of.Name])
	}
	return l, nil
}
