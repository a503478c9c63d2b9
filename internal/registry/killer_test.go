package registry

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"millrace.dev/internal/durable"
	"millrace.dev/internal/registry/objects"
)

// killerStore opens the store at a location. The process is to end itself as plan says: "step N HOW" before step N of
// what it does to files, after it, or half-way through what it writes; "object N TURNS" after so many turns of a loop
// from the beginning of its object N on. An empty plan lets it live.
func killerStore(location, plan string) (objects.Store, error) {
	var what string
	var n, how int64
	if plan == "" {
		return objects.Open(location)
	}
	if _, err := fmt.Sscan(plan, &what, &n, &how); err != nil {
		return nil, err
	}
	if what == "step" {
		return objects.NewFolder(location, &killerFS{FS: quickFS{durable.OS()}, left: n, how: how}), nil
	}
	s, err := objects.Open(location)
	return &slowKiller{Store: s, left: n, turns: how}, err
}

// die ends the process at once.
func die() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {} // until the signal arrives
}

// The ways to die at a step.
const (
	killBefore = iota
	killAfter
	killHalf // of a write; else as before
)

// killerFS is a file system that ends the process at a step.
type killerFS struct {
	durable.FS

	left, how int64
}

func (k *killerFS) step(do func() error) error {
	now := k.left == 0
	k.left--
	if now && k.how != killAfter {
		die()
	}
	err := do()
	if now {
		die()
	}
	return err
}

func (k *killerFS) CreateTemp(dir string, perm fs.FileMode) (f durable.File, err error) {
	err = k.step(func() error {
		f, err = k.FS.CreateTemp(dir, perm)
		return err
	})
	return &killerFile{File: f, fs: k}, err
}

func (k *killerFS) Link(oldname, newname string) error {
	return k.step(func() error { return k.FS.Link(oldname, newname) })
}

func (k *killerFS) Remove(name string) error {
	return k.step(func() error { return k.FS.Remove(name) })
}

func (k *killerFS) Mkdir(name string) error { return k.step(func() error { return k.FS.Mkdir(name) }) }

func (k *killerFS) SyncDir(name string) error {
	return k.step(func() error { return k.FS.SyncDir(name) })
}

type killerFile struct {
	durable.File

	fs *killerFS
}

func (f *killerFile) Write(b []byte) (n int, err error) {
	if f.fs.left == 0 && f.fs.how == killHalf {
		_, _ = f.File.Write(b[:len(b)/2])
	}
	err = f.fs.step(func() error {
		n, err = f.File.Write(b)
		return err
	})
	return n, err
}

func (f *killerFile) Sync() error { return f.fs.step(f.File.Sync) }

// slowKiller is a store that ends the process a while after one of its writes began.
type slowKiller struct {
	objects.Store

	left, turns int64
}

func (k *slowKiller) begin() {
	if k.left == 0 {
		go func() {
			var turn atomic.Int64
			for turn.Load() < k.turns { // a moment that is not the one of a request
				turn.Add(1)
			}
			die()
		}()
	}
	k.left--
}

func (k *slowKiller) Create(ctx context.Context, name string, data []byte) error {
	k.begin()
	return k.Store.Create(ctx, name, data)
}

func (k *slowKiller) Remove(ctx context.Context, name string) error {
	k.begin()
	return k.Store.Remove(ctx, name)
}
