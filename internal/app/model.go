package app

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"millrace.dev/internal/registry"
	"millrace.dev/model"
)

var errNoData = errors.New("no data to train on")

// LoadModel finds a model by what a person calls it: NAME@VERSION, NAME@ALIAS, @ALIAS (of the model called name) or
// the path of a bundle, and verifies it.
func (a *App) LoadModel(ctx context.Context, dir, name, ref string) (*model.Loaded, error) {
	if strings.HasSuffix(ref, model.Extension) {
		return openBundle(ref)
	}
	reg, err := a.Registry(dir)
	if err != nil {
		return nil, err
	}
	v, err := reg.Resolve(ctx, ref, name)
	if err != nil {
		return nil, err
	}
	return load(ctx, reg, v)
}

// openBundle opens the file of a bundle.
func openBundle(path string) (*model.Loaded, error) {
	m, err := model.Open(path)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, e
	}
	if err != nil {
		code, hint := Explain(err)
		if errors.Is(err, model.ErrCorrupt) {
			hint = "fetch the file again from where it was made"
		}
		return nil, &Error{Code: code, Op: "open model", Err: err, Hint: hint}
	}
	m.Ref = path // as it was called, which tells it from a version of the registry
	return m, nil
}

func load(ctx context.Context, reg *registry.Registry, v registry.Version) (*model.Loaded, error) {
	data, err := reg.Load(ctx, v)
	if err != nil {
		return nil, err
	}
	return model.Load(data, v.Ref())
}

// Models is what the model commands work on: a registry, and the name of the model that a bare @ALIAS means.
type Models struct {
	Registry *registry.Registry
	Dir      string // of the registry
	Name     string // "" where no pipeline file was read
}

// Models opens the registry in the folder dir, or, where dir is empty, the one of a pipeline file.
func (a *App) Models(dir, file string) (*Models, error) {
	m := &Models{}
	if dir == "" {
		p, err := a.Load(file, nil)
		if err != nil {
			return nil, err
		}
		dir, m.Name = p.Model.Registry, p.Name
	}
	m.Dir = dir
	var err error
	m.Registry, err = a.Registry(dir)
	return m, err
}

// Shown is all that is known of a version.
type Shown struct {
	Version registry.Version
	Events  []registry.Event
	Bundle  *model.Bundle
}

// Show returns all that is known of a version, with its bundle read and verified.
func (m *Models) Show(ctx context.Context, ref string) (*Shown, error) {
	v, events, err := m.Registry.Show(ctx, ref, m.Name)
	if err != nil {
		return nil, err
	}
	l, err := load(ctx, m.Registry, v)
	if err != nil {
		return nil, err
	}
	return &Shown{Version: v, Events: events, Bundle: l.Bundle}, nil
}
