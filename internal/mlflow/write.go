package mlflow

import (
	"context"
	"strings"
)

// nothing is the answer of a call that has changed something.
type nothing struct{}

func (s *Server) tagModel(ctx context.Context, r *request) (any, error) {
	m, err := s.model(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.tag(ctx, r, Change{Model: m.Name})
}

func (s *Server) untagModel(ctx context.Context, r *request) (any, error) {
	m, err := s.model(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.tag(ctx, r, Change{Model: m.Name, Remove: true})
}

func (s *Server) tagVersion(ctx context.Context, r *request) (any, error) {
	m, v, err := s.version(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.tag(ctx, r, Change{Model: m.Name, Version: v.Number})
}

func (s *Server) untagVersion(ctx context.Context, r *request) (any, error) {
	m, v, err := s.version(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.tag(ctx, r, Change{Model: m.Name, Version: v.Number, Remove: true})
}

// tag sets a tag, or removes it; one that is not there is removed already.
func (s *Server) tag(ctx context.Context, r *request, c Change) (any, error) {
	key, err := text(r.Key, "key")
	switch {
	case err != nil:
		return nil, err
	case strings.HasPrefix(key, derivedTag):
		return nil, failed(InvalidParameter, "tags that begin with %s say what millrace knows, and cannot be changed", derivedTag)
	case r.Value == nil && !c.Remove:
		return nil, failed(InvalidParameter, "the parameter value is missing")
	}
	c.Kind, c.Key = ChangeTag, key
	if !c.Remove {
		c.Value = *r.Value
	}
	return nothing{}, s.store.Change(ctx, c)
}

func (s *Server) describeModel(ctx context.Context, r *request) (any, error) {
	m, err := s.model(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.Description != nil {
		if err := s.store.Change(ctx, Change{Kind: ChangeDescription, Model: m.Name, Value: *r.Description}); err != nil {
			return nil, err
		}
	}
	return s.getModel(ctx, r)
}

func (s *Server) describeVersion(ctx context.Context, r *request) (any, error) {
	m, v, err := s.version(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.Description != nil {
		if err := s.store.Change(ctx, Change{Kind: ChangeDescription, Model: m.Name, Version: v.Number, Value: *r.Description}); err != nil {
			return nil, err
		}
	}
	return s.getVersion(ctx, r)
}

// The aliases that millrace derives, and MLflow's own.
const (
	aliasChampion   = "champion"
	aliasCandidate  = "candidate"
	aliasChallenger = "challenger"
	aliasLatest     = "latest"
)

// setAlias has an alias stand for a version. Which version is the champion is a promotion, which this call has no room for: it makes the
// instances of the pipeline ready first, wants a reason, and is signed by a person where the registry demands that.
func (s *Server) setAlias(ctx context.Context, r *request) (any, error) {
	alias, err := text(r.Alias, "alias")
	if err != nil {
		return nil, err
	}
	m, v, err := s.version(ctx, r)
	if err != nil {
		return nil, err
	}
	if derived(alias) {
		if m.Aliases[alias] == v.Number { // it is so already
			return nothing{}, nil
		}
		return nil, m.refuseAlias(alias, v)
	}
	return nothing{}, s.store.Change(ctx, Change{Kind: ChangeAlias, Model: m.Name, Version: v.Number, Key: alias})
}

func (s *Server) deleteAlias(ctx context.Context, r *request) (any, error) {
	alias, err := text(r.Alias, "alias")
	if err != nil {
		return nil, err
	}
	m, err := s.model(ctx, r)
	if err != nil {
		return nil, err
	}
	if derived(alias) {
		if _, ok := m.Aliases[alias]; !ok {
			return nothing{}, nil
		}
		return nil, failed(PermissionDenied, "%s@%s follows from what was decided, and cannot be taken away; millrace model promote, retire or reject a version", m.Name, alias)
	}
	return nothing{}, s.store.Change(ctx, Change{Kind: ChangeAlias, Model: m.Name, Key: alias, Remove: true})
}

// derived tells whether an alias follows from the audit log. Case does not make another one of it.
func derived(alias string) bool {
	switch strings.ToLower(alias) {
	case aliasChampion, aliasCandidate, aliasChallenger, aliasLatest:
		return true
	}
	return false
}

// refuseAlias says how a version gets an alias that is derived.
func (m *Model) refuseAlias(alias string, v *Version) error {
	switch strings.ToLower(alias) {
	case aliasChampion:
		return m.refusePromotion(v)
	case aliasCandidate:
		return failed(PermissionDenied, "%s@candidate is the newest version that waits for review: millrace train or millrace model import registers one", m.Name)
	case aliasChallenger:
		return failed(PermissionDenied, "%s@challenger is the version that predicts a share of the records: millrace canary start or millrace ab start begins that", m.Name)
	}
	return failed(InvalidParameter, "the alias %s is reserved", aliasLatest)
}

// refusePromotion says how a version becomes the champion.
func (m *Model) refusePromotion(v *Version) error {
	switch v.Stage {
	case StageNone:
		return failed(PermissionDenied, "%s@%d is not approved: people approve it with millrace model approve %s@%d --reason TEXT, and promote it with millrace model promote",
			m.Name, v.Number, m.Name, v.Number)
	case StageArchived:
		return failed(PermissionDenied, "%s@%d is %s, and cannot be the champion: use another version", m.Name, v.Number, v.State)
	case StageStaging, StageProduction:
	}
	return failed(PermissionDenied, "which version is the champion is decided by a person, for a reason, and with the instances made ready first: millrace model promote %s@%d --reason TEXT",
		m.Name, v.Number)
}

// transition says what moves a version on: stages are shown, and follow from what was decided.
func (s *Server) transition(ctx context.Context, r *request) (any, error) {
	name, err := text(r.Stage, "stage")
	if err != nil {
		return nil, err
	}
	stage, ok := parseStage(name)
	if !ok {
		return nil, failed(InvalidParameter, "there is no stage %.40q; there are None, Staging, Production and Archived", name)
	}
	m, v, err := s.version(ctx, r)
	if err != nil {
		return nil, err
	}
	if stage == v.Stage { // it is so already
		return versionAnswer{m.wireVersion(v)}, nil
	}
	switch stage {
	case StageProduction:
		return nil, m.refusePromotion(v)
	case StageStaging:
		return nil, failed(PermissionDenied, "Staging is a version that is approved and not the champion: people approve it with millrace model approve %s@%d --reason TEXT", m.Name, v.Number)
	case StageArchived:
		return nil, failed(PermissionDenied, "Archived is a version that is retired or rejected: millrace model retire %s@%d --reason TEXT", m.Name, v.Number)
	case StageNone:
	}
	return nil, failed(PermissionDenied, "a version that was decided on does not become a candidate again: register the bundle again")
}

func (s *Server) createModel(context.Context, *request) (any, error) {
	return nil, failed(PermissionDenied, "a model comes to be with its first version: millrace train, or millrace model import")
}

func (s *Server) renameModel(context.Context, *request) (any, error) {
	return nil, failed(PermissionDenied, "a model keeps its name, which its bundles and the audit log bear: train it under another name with millrace train")
}

func (s *Server) deleteModel(context.Context, *request) (any, error) {
	return nil, failed(PermissionDenied, "the audit log keeps every model: millrace model retire takes versions out of use, and millrace model gc removes their files")
}

func (s *Server) createVersion(context.Context, *request) (any, error) {
	return nil, failed(PermissionDenied, "a version is a bundle of millrace's: millrace train makes and registers one, and millrace model import mlflow://HOST/MODEL registers one of an MLflow server")
}

func (s *Server) deleteVersion(context.Context, *request) (any, error) {
	return nil, failed(PermissionDenied, "the audit log keeps every version: millrace model reject or retire takes it out of use, and millrace model gc removes its files")
}
