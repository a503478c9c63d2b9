package mlflow

import (
	"context"
	"slices"
	"strings"
)

// How many results a page has, if a client does not say, and at most: as on MLflow's own server.
const (
	usualModels, mostModels     = 100, 1000
	usualVersions, mostVersions = 10_000, 200_000
)

type (
	modelAnswer struct {
		Model wireModel `json:"registered_model"`
	}
	versionAnswer struct {
		Version wireVersion `json:"model_version"`
	}
	versionsAnswer struct {
		Versions []wireVersion `json:"model_versions"`
		Next     string        `json:"next_page_token,omitempty"`
	}
	modelsAnswer struct {
		Models []wireModel `json:"registered_models"`
		Next   string      `json:"next_page_token,omitempty"`
	}
)

func (s *Server) getModel(ctx context.Context, r *request) (any, error) {
	m, err := s.model(ctx, r)
	if err != nil {
		return nil, err
	}
	return modelAnswer{m.wire()}, nil
}

func (s *Server) getVersion(ctx context.Context, r *request) (any, error) {
	m, v, err := s.version(ctx, r)
	if err != nil {
		return nil, err
	}
	return versionAnswer{m.wireVersion(v)}, nil
}

func (s *Server) downloadURI(ctx context.Context, r *request) (any, error) {
	m, v, err := s.version(ctx, r)
	if err != nil {
		return nil, err
	}
	return struct {
		URI string `json:"artifact_uri"`
	}{m.source(v)}, nil
}

func (s *Server) byAlias(ctx context.Context, r *request) (any, error) {
	alias, err := text(r.Alias, "alias")
	if err != nil {
		return nil, err
	}
	m, err := s.model(ctx, r)
	if err != nil {
		return nil, err
	}
	n, ok := m.Aliases[alias]
	if !ok { // the code that MLflow's own server has for it
		return nil, failed(InvalidParameter, "the model %s has no alias %.80q", m.Name, alias)
	}
	v, err := m.at(n)
	if err != nil {
		return nil, err
	}
	return versionAnswer{m.wireVersion(v)}, nil
}

func (s *Server) latestVersions(ctx context.Context, r *request) (any, error) {
	var stages []Stage
	for _, text := range r.Stages {
		stage, ok := parseStage(text)
		if !ok {
			return nil, failed(InvalidParameter, "there is no stage %.40q; there are None, Staging, Production and Archived", text)
		}
		if !slices.Contains(stages, stage) {
			stages = append(stages, stage)
		}
	}
	m, err := s.model(ctx, r)
	if err != nil {
		return nil, err
	}
	a := versionsAnswer{Versions: []wireVersion{}}
	for _, v := range m.latest(stages) {
		a.Versions = append(a.Versions, m.wireVersion(v))
	}
	return a, nil
}

// parseStage reads a stage, in either case.
func parseStage(s string) (Stage, bool) {
	for _, stage := range []Stage{StageNone, StageStaging, StageProduction, StageArchived} {
		if strings.EqualFold(s, string(stage)) {
			return stage, true
		}
	}
	return "", false
}

func (s *Server) searchModels(ctx context.Context, r *request) (any, error) {
	known := modelAttributes()
	f, err := parseFilter(or(r.Filter), known)
	if err != nil {
		return nil, err
	}
	orders, err := parseOrder(r.OrderBy, known, order{key: "name"})
	if err != nil {
		return nil, err
	}
	models, err := s.store.Models(ctx)
	if err != nil {
		return nil, err
	}
	var items []item
	for i := range models {
		if it := (item{model: &models[i]}); f.fits(it, known) {
			items = append(items, it)
		}
	}
	sortItems(items, orders, known)
	items, next, err := page(items, "models", r, usualModels, mostModels)
	if err != nil {
		return nil, err
	}
	a := modelsAnswer{Models: []wireModel{}, Next: next}
	for _, i := range items {
		a.Models = append(a.Models, i.model.wire())
	}
	return a, nil
}

func (s *Server) searchVersions(ctx context.Context, r *request) (any, error) {
	known := versionAttributes()
	f, err := parseFilter(or(r.Filter), known)
	if err != nil {
		return nil, err
	}
	orders, err := parseOrder(r.OrderBy, known, order{"last_updated_timestamp", true}, order{key: "name"}, order{"version_number", true})
	if err != nil {
		return nil, err
	}
	models, err := s.store.Models(ctx)
	if err != nil {
		return nil, err
	}
	var items []item
	for i := range models {
		m := &models[i]
		for j := range m.Versions {
			if it := (item{m, &m.Versions[j]}); f.fits(it, known) {
				items = append(items, it)
			}
		}
	}
	sortItems(items, orders, known)
	items, next, err := page(items, "versions", r, usualVersions, mostVersions)
	if err != nil {
		return nil, err
	}
	a := versionsAnswer{Versions: []wireVersion{}, Next: next}
	for _, i := range items {
		a.Versions = append(a.Versions, i.model.wireVersion(i.version))
	}
	return a, nil
}
