package objects

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/durable"
)

// tempDir is where a folder has its temporary files.
const tempDir = "tmp"

// folder is a store on disk. Files are read directly and written through fsys.
type folder struct {
	dir  string
	fsys durable.FS
}

// NewFolder returns the store in the folder dir, which is created when something is written. It needs a file system
// with hard links. Everything is written through fsys.
func NewFolder(dir string, fsys durable.FS) Store { return folder{dir, fsys} }

func (f folder) Location() string        { return f.dir }
func (f folder) Name(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }
func (f folder) tmp() string             { return filepath.Join(f.dir, tempDir) }

func (f folder) Create(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := f.Name(name)
	for _, dir := range []string{f.dir, f.tmp()} {
		if err := durable.MkdirAll(f.fsys, dir); err != nil {
			return err
		}
	}
	for i := range name { // from the outermost: each is synced into the one above it
		if name[i] == '/' {
			if err := durable.MkdirAll(f.fsys, f.Name(name[:i])); err != nil {
				return err
			}
		}
	}
	// Whoever wrote what is there may not have synced its name yet.
	if err := f.fsys.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = durable.Create(f.fsys, f.tmp(), path, data, 0o444)
		if errors.Is(err, fs.ErrExist) { // another writer was faster
			if s := f.fsys.SyncDir(filepath.Dir(path)); s != nil {
				return s
			}
		}
		return err
	}
	if err != nil {
		return err
	}
	return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
}

func (f folder) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := f.Name(name)
	if i, err := os.Stat(path); err != nil {
		return nil, err
	} else if !i.Mode().IsRegular() { // to open a named pipe is to wait for a writer
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a file")}
	}
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if c := r.Close(); err == nil {
		err = c
	}
	return data, err
}

func (f folder) Stat(_ context.Context, name string) (Info, error) {
	i, err := os.Stat(f.Name(name))
	if err != nil {
		return Info{}, err
	}
	return Info{Size: i.Size(), Modified: i.ModTime()}, nil
}

func (f folder) List(ctx context.Context, under, after string) ([]string, error) {
	var names []string
	root, err := filepath.EvalSymlinks(f.Name(under)) // which is not followed below
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // or it was removed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || d.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		if name := under + "/" + filepath.ToSlash(rel); name > after {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

func (f folder) Remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.fsys.Remove(f.Name(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Now asks the file system, whose clock may be that of another machine, by writing a temporary file.
func (f folder) Now(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	for _, dir := range []string{f.dir, f.tmp()} {
		if err := durable.MkdirAll(f.fsys, dir); err != nil {
			return time.Time{}, err
		}
	}
	t, err := f.fsys.CreateTemp(f.tmp(), 0o600)
	if err != nil {
		return time.Time{}, err
	}
	i, err := os.Stat(t.Name())
	if c := t.Close(); err == nil {
		err = c
	}
	_ = f.fsys.Remove(t.Name()) // what stays is litter
	if err != nil {
		return time.Time{}, err
	}
	return i.ModTime(), nil
}

func (f folder) Clean(ctx context.Context, age time.Duration, dry bool) (int, error) {
	entries, err := os.ReadDir(f.tmp())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !strings.HasSuffix(e.Name(), durable.TempSuffix) })
	if len(entries) == 0 {
		return 0, nil
	}
	now, err := f.Now(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && now.Sub(i.ModTime()) <= age {
			continue
		}
		if err == nil && !dry {
			err = f.Remove(ctx, tempDir+"/"+e.Name())
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
