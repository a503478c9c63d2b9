// Package errorfs is a file system for tests that fails at a chosen step.
package errorfs

import (
	"errors"
	"io/fs"
	"sync"

	"millrace.dev/internal/durable"
)

// ErrInjected is the error of a step that was made to fail.
var ErrInjected = errors.New("injected failure")

// Mode says how a step fails.
type Mode int

// The ways to fail.
const (
	// Fail does not do the step, and does those after it.
	Fail Mode = iota
	// Lie does the step and says that it failed, and does those after it.
	Lie
	// Die does not do the step, nor any after it, as when the process is killed before it.
	Die
	// DieAfter does the step, but none after it.
	DieAfter
)

// Modes returns every way to fail.
func Modes() []Mode { return []Mode{Fail, Lie, Die, DieAfter} }

// String names m for messages.
func (m Mode) String() string { return [...]string{"fail", "lie", "die", "die after"}[m] }

// FS passes its steps on to another file system, but for the one it fails at. It is safe for concurrent use.
type FS struct {
	inner durable.FS
	mode  Mode

	mu    sync.Mutex
	left  int // steps before the failure
	dead  bool
	steps []string
}

// New returns a file system on top of inner whose step n, counted from 0, fails as mode says. A write that
// fails writes half of its bytes.
func New(inner durable.FS, n int, mode Mode) *FS { return &FS{inner: inner, left: n, mode: mode} }

// Steps returns the names of the steps asked for so far.
func (f *FS) Steps() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.steps...)
}

// Failed tells whether the failure has happened.
func (f *FS) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left < 0
}

// step tells whether to do the next step and the error to return in place of nil.
func (f *FS) step(name string) (do bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps = append(f.steps, name)
	if f.dead {
		return false, ErrInjected
	}
	f.left--
	if f.left != -1 {
		return true, nil
	}
	f.dead = f.mode == Die || f.mode == DieAfter
	return f.mode == Lie || f.mode == DieAfter, ErrInjected
}

func (f *FS) run(name string, step func() error) error {
	do, err := f.step(name)
	if do {
		if e := step(); e != nil {
			return e
		}
	}
	return err
}

// CreateTemp implements [durable.FS].
func (f *FS) CreateTemp(dir string, perm fs.FileMode) (durable.File, error) {
	var inner durable.File
	err := f.run("create", func() (err error) {
		inner, err = f.inner.CreateTemp(dir, perm)
		return err
	})
	if err != nil {
		if inner != nil {
			_ = inner.Close()
		}
		return nil, err
	}
	return &file{File: inner, fs: f}, nil
}

// Link implements [durable.FS].
func (f *FS) Link(oldname, newname string) error {
	return f.run("link", func() error { return f.inner.Link(oldname, newname) })
}

// Rename implements [durable.FS].
func (f *FS) Rename(oldname, newname string) error {
	return f.run("rename", func() error { return f.inner.Rename(oldname, newname) })
}

// Remove implements [durable.FS].
func (f *FS) Remove(name string) error {
	return f.run("remove", func() error { return f.inner.Remove(name) })
}

// Mkdir implements [durable.FS].
func (f *FS) Mkdir(name string) error {
	return f.run("mkdir", func() error { return f.inner.Mkdir(name) })
}

// SyncDir implements [durable.FS].
func (f *FS) SyncDir(name string) error {
	return f.run("sync dir", func() error { return f.inner.SyncDir(name) })
}

type file struct {
	durable.File
	fs *FS
}

func (w *file) Write(b []byte) (n int, err error) {
	do, err := w.fs.step("write")
	if !do {
		n, _ = w.File.Write(b[:len(b)/2])
		return n, err
	}
	n, e := w.File.Write(b)
	return n, errors.Join(e, err)
}

func (w *file) Sync() error { return w.fs.run("sync", w.File.Sync) }

func (w *file) Close() error { // the descriptor is closed in any case
	_, err := w.fs.step("close")
	return errors.Join(w.File.Close(), err)
}
