package store

import (
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// scheduler begins no compaction once the state folder has failed. It is made of the one of Pebble's schedulers that
// has no goroutine, since Pebble does not stop the other's when it cannot open a database.
type scheduler struct {
	pebble.CompactionScheduler
	health *health
}

func (s scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if s.health.alive() != nil {
		return false, nil
	}
	return s.CompactionScheduler.TrySchedule()
}

// guard is the file system that Pebble gets. Once the state folder has failed it changes nothing any more, so that
// what is on disk is what a crash at that moment would have left; and it slows down who tries in vain.
type guard struct {
	vfs.FS
	health *health
}

// vital tells whether Pebble cannot go on after an error of writing a file: the manifest, and the file that names it.
func (g guard) vital(name string) bool {
	base := g.PathBase(name)
	return strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, "marker.")
}

func (g guard) file(f vfs.File, vital bool, err error) (vfs.File, error) {
	if err != nil {
		if vital {
			err = g.health.fatal(err)
		}
		return nil, err
	}
	return guardedFile{f, g.health, vital}, nil
}

// Lock locks nothing: the folder is locked. A Pebble that cannot be closed would keep it.
func (g guard) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (g guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	g.health.pause()
	if err := g.health.alive(); err != nil {
		return nil, err
	}
	f, err := g.FS.Create(name, category)
	return g.file(f, g.vital(name), err)
}

func (g guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := g.health.alive(); err != nil {
		return nil, err
	}
	f, err := g.FS.OpenReadWrite(name, category, opts...)
	return g.file(f, g.vital(name), err)
}

func (g guard) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.health.alive(); err != nil {
		return nil, err
	}
	f, err := g.FS.ReuseForWrite(oldname, newname, category)
	return g.file(f, g.vital(newname), err)
}

// OpenDir opens a directory to sync it, which is how a new manifest gets its name.
func (g guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return guardedFile{f, g.health, true}, nil
}

func (g guard) Link(oldname, newname string) error {
	if err := g.health.alive(); err != nil {
		return err
	}
	return g.FS.Link(oldname, newname)
}

func (g guard) Rename(oldname, newname string) error {
	if err := g.health.alive(); err != nil {
		return err
	}
	return g.FS.Rename(oldname, newname)
}

func (g guard) Remove(name string) error {
	if err := g.health.alive(); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

func (g guard) RemoveAll(name string) error {
	if err := g.health.alive(); err != nil {
		return err
	}
	return g.FS.RemoveAll(name)
}

func (g guard) MkdirAll(dir string, perm os.FileMode) error {
	if err := g.health.alive(); err != nil {
		return err
	}
	return g.FS.MkdirAll(dir, perm)
}

func (g guard) Unwrap() vfs.FS { return g.FS }

// guardedFile is a file of a guard that may be written.
type guardedFile struct {
	vfs.File
	health *health
	vital  bool
}

// begin is called before the file is changed, and end after it.
func (f guardedFile) begin() error {
	err := f.health.alive()
	if err != nil && f.vital {
		return f.health.fatal(err)
	}
	return err
}

func (f guardedFile) end(err error) error {
	if err != nil && f.vital {
		return f.health.fatal(err)
	}
	return err
}

func (f guardedFile) Write(p []byte) (int, error) {
	if err := f.begin(); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	return n, f.end(err)
}

func (f guardedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.begin(); err != nil {
		return 0, err
	}
	n, err := f.File.WriteAt(p, off)
	return n, f.end(err)
}

func (f guardedFile) Preallocate(offset, length int64) error {
	if err := f.begin(); err != nil {
		return err
	}
	return f.end(f.File.Preallocate(offset, length))
}

func (f guardedFile) Sync() error {
	if err := f.begin(); err != nil {
		return err
	}
	return f.end(f.File.Sync())
}

func (f guardedFile) SyncData() error {
	if err := f.begin(); err != nil {
		return err
	}
	return f.end(f.File.SyncData())
}

func (f guardedFile) SyncTo(length int64) (bool, error) {
	if err := f.begin(); err != nil {
		return false, err
	}
	full, err := f.File.SyncTo(length)
	return full, f.end(err)
}

func (f guardedFile) Close() error { return f.end(f.File.Close()) }
