package app

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"strings"

	"millrace.dev/internal/config"
	"millrace.dev/internal/registry"
	"millrace.dev/model"
)

var errNoData = errors.New("no data to train on")

// LoadModel finds a model by what a person calls it: NAME@VERSION, NAME@ALIAS, @ALIAS (of the model called name) or
// the path of a bundle, and verifies it.
func (a *App) LoadModel(ctx context.Context, where config.Model, name, ref string) (*model.Loaded, error) {
	if strings.HasSuffix(ref, model.Extension) {
		return openBundle(ref)
	}
	reg, err := a.Registry(where)
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
	Root     string // the file of the root document; "" is none
	Name     string // "" where no pipeline file was read
}

// ModelsOptions say which registry is meant.
type ModelsOptions struct {
	Dir  string // the folder; "" is that of the pipeline file
	Root string // the file of the root document; "" is that of the pipeline file, where that is read, and else none
	File string // the pipeline file
}

// Models opens a registry.
func (a *App) Models(o ModelsOptions) (*Models, error) {
	where, name, err := a.where(o)
	if err != nil {
		return nil, err
	}
	reg, err := a.Registry(where)
	return &Models{Registry: reg, Dir: where.Registry, Root: where.Root, Name: name}, err
}

// where returns which registry is meant, and the name of the pipeline, "" where no file was read.
func (a *App) where(o ModelsOptions) (where config.Model, name string, err error) {
	if o.Dir != "" {
		return config.Model{Registry: o.Dir, Root: o.Root}, "", nil
	}
	p, err := a.Load(o.File, nil)
	if err != nil {
		return config.Model{}, "", err
	}
	return config.Model{Registry: p.Model.Registry, Root: cmp.Or(o.Root, p.Model.Root)}, p.Name, nil
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
