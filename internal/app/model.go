package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"millrace.dev/internal/registry"
	"millrace.dev/model"
)

var errNoData = errors.New("no data to train on")

// bundleExt is the extension of a bundle's file.
const bundleExt = ".millrace"

// Loaded is a model that was found and verified.
type Loaded struct {
	Ref    string // name@version, or the path of a file
	Digest string
	Bundle *model.Bundle
}

// LoadModel finds a model by what a person calls it: NAME@VERSION, NAME@ALIAS, @ALIAS (of the model called name) or
// the path of a bundle, and verifies it.
func (a *App) LoadModel(ctx context.Context, dir, name, ref string) (*Loaded, error) {
	if strings.HasSuffix(ref, bundleExt) {
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

func openBundle(path string) (*Loaded, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b, err := model.Decode(data)
	if err != nil {
		code, hint := Explain(err)
		if errors.Is(err, model.ErrCorrupt) {
			hint = "fetch the file again from where it was made"
		}
		return nil, &Error{Code: code, Op: "open model", Where: path, Err: err, Hint: hint}
	}
	return &Loaded{Ref: path, Digest: model.Digest(data), Bundle: b}, nil
}

func load(ctx context.Context, reg *registry.Registry, v registry.Version) (*Loaded, error) {
	data, err := reg.Load(ctx, v)
	if err != nil {
		return nil, err
	}
	b, err := model.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Ref(), err)
	}
	return &Loaded{Ref: v.Ref(), Digest: v.Digest, Bundle: b}, nil
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
