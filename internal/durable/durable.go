// Package durable writes files that are there whole or not at all, whatever happens: a full disk, a killed
// process, a power cut. Bytes reach a temporary file and the disk first, then their name in one step, then the
// name reaches the disk. What a crash can leave is a temporary file, whose name ends in [TempSuffix].
//
// A function that fails may have done its work when the step that failed is the last: the file is then whole
// and in its place, but a power cut may still take it away. Doing it again is always right.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// TempSuffix ends the name of every temporary file.
const TempSuffix = ".tmp"

// FS is what this package asks of a file system: [OS] in production, and one that fails on demand in tests.
// Its errors match those of io/fs.
type FS interface {
	// CreateTemp creates a file with a new name in dir, open for writing. The umask applies to perm.
	CreateTemp(dir string, perm fs.FileMode) (File, error)
	// Link gives the file oldname a second name; it fails with [fs.ErrExist] when that name is taken.
	Link(oldname, newname string) error
	// Rename gives the file oldname another name, and replaces a file that has that name.
	Rename(oldname, newname string) error
	// Remove removes the file name.
	Remove(name string) error
	// Mkdir creates the directory name, with all the rights that the umask leaves.
	Mkdir(name string) error
	// SyncDir makes the names in the directory name reach the disk.
	SyncDir(name string) error
}

// File is a file under construction.
type File interface {
	io.WriteCloser
	// Sync makes the bytes written so far reach the disk.
	Sync() error
	// Name returns the path of the file.
	Name() string
}

// Replace makes data the content of the file at path, whether or not there was one: a reader sees the old
// content or the new, never a mixture. The temporary file is in the directory of path.
func Replace(fsys FS, path string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(path)
	return publish(fsys, dir, path, data, perm, fsys.Rename)
}

// Create makes a file at path that holds data. It never changes a file that is there: that is an error that
// matches [fs.ErrExist]. tmp is the directory of the temporary file, on the same file system, which must have
// hard links.
func Create(fsys FS, tmp, path string, data []byte, perm fs.FileMode) error {
	return publish(fsys, tmp, path, data, perm, func(temp, path string) error {
		if err := fsys.Link(temp, path); err != nil {
			return err
		}
		_ = fsys.Remove(temp) // the file is in place: what stays behind is litter, not a failure
		return nil
	})
}

// publish writes data to a temporary file in tmp and calls name to give it its path.
func publish(fsys FS, tmp, path string, data []byte, perm fs.FileMode, name func(temp, path string) error) error {
	f, err := fsys.CreateTemp(tmp, perm)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if c := f.Close(); err == nil {
		err = c
	}
	if err == nil {
		err = name(f.Name(), path)
	}
	if err == nil {
		err = fsys.SyncDir(filepath.Dir(path))
	} else {
		_ = fsys.Remove(f.Name()) // the first error is the one that counts
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// MkdirAll creates the directory dir, with the parents it lacks. It also syncs the parent of a directory that
// is there already, since the one who made it may not have done so yet.
func MkdirAll(fsys FS, dir string) error {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	err := fsys.Mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
		err = fsys.Mkdir(dir)
	}
	found := errors.Is(err, fs.ErrExist)
	if err != nil && !found {
		return fmt.Errorf("create the directory %s: %w", dir, err)
	}
	if err := fsys.SyncDir(parent); err != nil && (!found || !errors.Is(err, fs.ErrPermission)) {
		return fmt.Errorf("create the directory %s: %w", dir, err)
	}
	return nil
}
