package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/config"
	"millrace.dev/internal/mlflow"
	"millrace.dev/internal/registry"
)

// mlflowStore shows registries to MLflow clients. What clients note goes into the log of the registry. Which version runs is not for them
// to say: see [mlflow.Server].
type mlflowStore struct {
	registries []*registry.Registry // a model that two of them have is the first's
}

// newMLflowStore returns what an [mlflow.Server] shows of registries.
func newMLflowStore(registries ...*registry.Registry) mlflow.Store {
	return &mlflowStore{registries}
}

// mlflowServer returns what answers MLflow clients from the registries of pipelines.
func (a *App) mlflowServer(pipelines []*config.Pipeline) (*mlflow.Server, error) {
	var registries []*registry.Registry
	for _, p := range pipelines {
		r, err := a.Registry(p.Model)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(registries, func(other *registry.Registry) bool { return other.Location() == r.Location() }) {
			registries = append(registries, r)
		}
	}
	return mlflow.New(mlflow.Options{Store: newMLflowStore(registries...), Log: a.Log})
}

// Models returns the models of all registries, by name.
func (s *mlflowStore) Models(ctx context.Context) ([]mlflow.Model, error) {
	all := map[string]mlflow.Model{}
	for _, r := range slices.Backward(s.registries) {
		models, err := r.Models(ctx)
		if err != nil {
			return nil, clientError(err)
		}
		for i := range models {
			all[models[i].Name] = mlflowModel(&models[i])
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b mlflow.Model) int { return strings.Compare(a.Name, b.Name) }), nil
}

// mlflowModel returns a model as MLflow clients see it.
func mlflowModel(m *registry.Model) mlflow.Model {
	out := mlflow.Model{
		Name: m.Name, Created: m.Versions[0].RegisteredAt, Updated: m.Notes.Updated,
		Notes: mlflow.Notes{Tags: m.Notes.Tags, Description: m.Notes.Description}, Aliases: maps.Clone(m.Aliases),
	}
	if out.Aliases == nil {
		out.Aliases = map[string]int{}
	}
	for i := range m.Versions {
		v := &m.Versions[i]
		to := mlflow.Version{
			Number: v.Number, State: string(v.State), Stage: stageOf(v), By: v.RegisteredBy, Created: v.RegisteredAt, Updated: v.RegisteredAt,
			Digest: v.Digest, Bytes: v.Bytes, Notes: mlflow.Notes{Tags: v.Notes.Tags, Description: v.Notes.Description},
		}
		for _, t := range []time.Time{v.DecidedAt, v.Notes.Updated} {
			if t.After(to.Updated) {
				to.Updated = t
			}
		}
		if v.Purged {
			to.Problem = fmt.Sprintf("the bundle of %s was removed, some time after it was %s by %s", v.Ref(), v.State, v.DecidedBy)
		}
		for _, alias := range v.Aliases {
			out.Aliases[alias] = v.Number
		}
		if len(v.Trials) > 0 {
			out.Aliases[registry.AliasChallenger] = v.Number
		}
		if to.Updated.After(out.Updated) {
			out.Updated = to.Updated
		}
		out.Versions = append(out.Versions, to)
	}
	return out
}

// stageOf returns MLflow's word for the state of a version.
func stageOf(v *registry.Version) mlflow.Stage {
	switch {
	case slices.Contains(v.Aliases, registry.AliasChampion):
		return mlflow.StageProduction
	case v.State == registry.StateApproved:
		return mlflow.StageStaging
	case v.State == registry.StateCandidate:
		return mlflow.StageNone
	}
	return mlflow.StageArchived
}

// of returns the registry that has a model.
func (s *mlflowStore) of(ctx context.Context, name string) (*registry.Registry, error) {
	var err error
	for _, r := range s.registries {
		if _, err = r.Resolve(ctx, name+"@1", ""); !errors.Is(err, registry.ErrNotFound) {
			return r, clientError(err)
		}
	}
	return nil, clientError(err)
}

// Bundle returns the bytes of a version's bundle.
func (s *mlflowStore) Bundle(ctx context.Context, name string, version int) ([]byte, error) {
	r, err := s.of(ctx, name)
	if err != nil {
		return nil, err
	}
	v, err := r.Resolve(ctx, fmt.Sprintf("%s@%d", name, version), "")
	if err != nil {
		return nil, clientError(err)
	}
	data, err := r.Load(ctx, v)
	return data, clientError(err)
}

// Change notes a change in the log of the registry, on behalf of who has sent the request. Where signatures are demanded it is signed
// with the key of this process, whose owner the log then names; who has asked for it is in the reason.
func (s *mlflowStore) Change(ctx context.Context, c mlflow.Change) error {
	r, err := s.of(ctx, c.Model)
	if err != nil {
		return err
	}
	who := auth.From(ctx).Name
	if who == "" {
		who = "anonymous"
	}
	d := registry.Decision{By: who, Reason: "over MLflow's API"}
	if root, _, err := r.Root(ctx); err != nil {
		return clientError(err)
	} else if root != nil {
		d = registry.Decision{Reason: "over MLflow's API, for " + who}
	}
	n := registry.Note{Kind: registry.NoteKind(c.Kind), Key: c.Key, Value: c.Value, Gone: c.Remove}
	return clientError(r.Note(ctx, c.Model, c.Version, n, d))
}

// clientError returns what an MLflow client is told of an error of the registry: of those that are its own, all but the advice to
// whoever sits at a terminal of this machine; of others that something has failed.
func clientError(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []struct {
		is   error
		code mlflow.Code
	}{
		{registry.ErrUntrusted, mlflow.PermissionDenied},
		{registry.ErrNoKey, mlflow.PermissionDenied},
		{registry.ErrNotFound, mlflow.Missing},
		{registry.ErrPurged, mlflow.Missing},
		{registry.ErrRejected, mlflow.PermissionDenied},
		{registry.ErrInvalid, mlflow.InvalidParameter},
	} {
		if errors.Is(err, known.is) {
			return &mlflow.Error{Code: known.code, Message: Message(err)}
		}
	}
	if errors.Is(err, registry.ErrUnreachable) { // whose text names a server that is none of the client's business
		return &mlflow.Error{Code: mlflow.Unavailable, Message: "the registry cannot be reached: try again later"}
	}
	return err
}
