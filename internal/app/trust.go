package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"millrace.dev/internal/config"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/trust"
)

// keyVariable names the environment variable that holds the path of the private key.
const keyVariable = "MILLRACE_KEY"

// Registry opens a registry, which need not exist yet. Where there is a root document, signatures are checked, and what is
// written is signed with the key of [App].
func (a *App) Registry(where config.Model) (*registry.Registry, error) {
	o := registry.Options{Now: a.Now, Key: a.key}
	switch {
	case where.Root != "":
		root, err := readRoot(where.Root)
		if err != nil {
			return nil, err
		}
		o.Root = root
	case a.Key != "":
		return nil, &Error{
			Code: Usage, Op: "sign", Err: errors.New("there is a key, but no root document: nothing would be signed"),
			Hint: "name the root document: model.root in the pipeline file, or --root FILE",
		}
	}
	reg, err := registry.Open(where.Registry, o)
	if err != nil {
		return nil, err
	}
	root, logged, err := reg.Root(context.Background())
	if err != nil {
		return nil, err
	}
	if root == nil && logged > 0 {
		a.Log.Warn("signatures are not checked: the registry has a root document, and model.root does not name it", slog.String("registry", where.Registry), slog.Int("root", logged))
	}
	return reg, nil
}

// signaturesChecked wants a registry that demands signatures to be opened with a root document: without one, anybody's approval would
// let a model run.
func signaturesChecked(ctx context.Context, reg *registry.Registry, p *config.Pipeline) error {
	root, logged, err := reg.Root(ctx)
	if err != nil || root != nil || logged == 0 {
		return err
	}
	return &Error{
		Code: Usage, Op: "run", Where: p.Model.Registry, Err: fmt.Errorf("the registry has root %d, and model.root names no root document: signatures would not be checked", logged),
		Hint: "name the root document in the pipeline file: model: {root: root.json}",
	}
}

// key reads the private key; nil is none.
func (a *App) key() (*trust.Key, error) {
	path := a.Key
	if path == "" {
		path, _ = a.Env(keyVariable)
	}
	if path == "" {
		return nil, nil
	}
	return ReadKey(path)
}

// ReadKey reads the file of a private key.
func ReadKey(path string) (*trust.Key, error) {
	k, err := trust.ReadKey(path)
	if err != nil {
		return nil, fileError("read private key", path, err, "")
	}
	return k, nil
}

// fileError is an error about a file that a person named.
func fileError(op, path string, err error, hint string) error {
	e := &Error{Code: Usage, Op: op, Where: path, Err: err, Hint: hint}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		e.Err = p.Err
	}
	return e
}

// readRoot reads a root document that is to be trusted.
func readRoot(path string) (*trust.SignedRoot, error) {
	root, err := trust.ReadRoot(path)
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = "make one: millrace root new --help"
		}
		return nil, fileError("read root document", path, err, hint)
	}
	if err := root.Check(); err != nil {
		return nil, &Error{Code: Refused, Op: "read root document", Where: path, Err: err, Hint: "sign it: millrace root sign " + path + " --key FILE"}
	}
	return root, nil
}
