package store

import (
	"os"

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

func (g guard) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return guardedFile{f, g.health}, nil
}

func (g guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	g.health.pause()
	if err := g.health.alive(); err != nil {
		return nil, err
	}
	return g.file(g.FS.Create(name, category))
}

func (g guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := g.health.alive(); err != nil {
		return nil, err
	}
	return g.file(g.FS.OpenReadWrite(name, category, opts...))
}

func (g guard) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.health.alive(); err != nil {
		return nil, err
	}
	return g.file(g.FS.ReuseForWrite(oldname, newname, category))
}

func (g guard) OpenDir(name string) (vfs.File, error) { return g.file(g.FS.OpenDir(name)) }

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
}

func (f guardedFile) Write(p []byte) (int, error) {
	if err := f.health.alive(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f guardedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.health.alive(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f guardedFile) Preallocate(offset, length int64) error {
	if err := f.health.alive(); err != nil {
		return err
	}
	return f.File.Preallocate(offset, length)
}

func (f guardedFile) Sync() error {
	if err := f.health.alive(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f guardedFile) SyncData() error {
	if err := f.health.alive(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f guardedFile) SyncTo(length int64) (bool, error) {
	if err := f.health.alive(); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}
