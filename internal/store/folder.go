package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The files of a state folder, beside the database.
const (
	lockFile    = "LOCK"
	formatFile  = "FORMAT"  // the number of the layout, as text; written before the database is made
	damagedFile = "DAMAGED" // what is wrong with the database, as text: it must not be used any more
	database    = "db"
)

// folder is a state folder that this process has locked.
type folder struct {
	fs   vfs.FS
	dir  string
	lock io.Closer
}

// lockFolder locks the folder dir, which it creates.
func lockFolder(fsys vfs.FS, dir string) (*folder, error) {
	const op = "open the state folder"
	if fsys == vfs.Default {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, &Error{op, dir, err, ""}
		}
		dir = abs
	}
	if err := makeFolder(fsys, dir); err != nil {
		return nil, openError(dir, err)
	}
	if fsys == vfs.Default { // one folder, one name: the lock within a process goes by it
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			dir = target
		}
	}
	lock, err := fsys.Lock(fsys.PathJoin(dir, lockFile))
	if err != nil {
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, openError(dir, err)
		}
		return nil, &Error{op, dir, fmt.Errorf("%w: %w", ErrLocked, err), "another process has it: stop that process, or give this one a state folder of its own"}
	}
	return &folder{fsys, dir, lock}, nil
}

// makeFolder creates the folder dir with the parents that it lacks, and makes their names reach the disk. It syncs the
// parent of a folder that is there, too, since the one who made it may not have come that far.
func makeFolder(fsys vfs.FS, dir string) error {
	parent := fsys.PathDir(dir)
	if _, err := fsys.Stat(parent); parent != dir && errors.Is(err, fs.ErrNotExist) {
		if err := makeFolder(fsys, parent); err != nil {
			return err
		}
	}
	_, err := fsys.Stat(dir)
	found := err == nil
	if err := fsys.MkdirAll(dir, 0o755); err != nil || parent == dir {
		return err
	}
	if err := syncFolder(fsys, parent); err != nil && (!found || !errors.Is(err, fs.ErrPermission)) {
		return err
	}
	return nil
}

func (f *folder) path(name string) string { return f.fs.PathJoin(f.dir, name) }

func (f *folder) unlock() error {
	if err := f.lock.Close(); err != nil {
		return fmt.Errorf("store: unlock the state folder %s: %w", f.dir, err)
	}
	return nil
}

// check tells whether the folder can be used, and gives a new one its format.
func (f *folder) check() error {
	const op = "open the state folder"
	text, err := f.read(damagedFile)
	if err == nil {
		return corruptError(op, f.dir, errors.New(text))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return openError(f.dir, err)
	}
	text, err = f.read(formatFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := f.fs.Stat(f.path(database)); err == nil {
			return corruptError(op, f.dir, errors.New("the file "+formatFile+" is missing"))
		}
		if err := f.write(formatFile, strconv.Itoa(format)+"\n"); err != nil {
			return openError(f.dir, err)
		}
		return nil
	} else if err != nil {
		return openError(f.dir, err)
	}
	number, whole := strings.CutSuffix(text, "\n")
	n, err := strconv.ParseUint(number, 10, 32)
	switch {
	case err != nil || n == 0 || !whole:
		return corruptError(op, f.dir, fmt.Errorf("the file %s holds %.40q, not a number", formatFile, text))
	case n > format:
		return &Error{op, f.dir, fmt.Errorf("%w: its format is %d, and this version knows those up to %d", ErrNewer, n, format), "use the newer version, or delete the folder; the state is restored from its changelog topics"}
	}
	return nil
}

// wipe deletes the database. A wipe that is interrupted leaves a folder that counts as damaged.
func (f *folder) wipe() error {
	if err := f.write(damagedFile, "it was being deleted\n"); err != nil && !isFull(err) {
		return err
	}
	for _, name := range []string{database, formatFile, damagedFile} {
		if err := f.fs.RemoveAll(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.sync()
}

// removeLogs deletes the write-ahead logs. Pebble makes one each time and writes nothing to it, but would read and
// flush those of the last time; a flush that fails at that moment is tried for ever.
func (f *folder) removeLogs() error {
	names, err := f.fs.List(f.path(database))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			if err := f.fs.Remove(f.fs.PathJoin(f.dir, database, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *folder) read(name string) (string, error) {
	file, err := f.fs.Open(f.path(name))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(file, 4096))
	return string(text), errors.Join(err, file.Close())
}

// write makes a small file, whole or not at all.
func (f *folder) write(name, text string) error {
	temp := f.path(name + ".tmp")
	file, err := f.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write([]byte(text))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = f.fs.Rename(temp, f.path(name))
	}
	if err != nil {
		return err
	}
	return f.sync()
}

func (f *folder) sync() error { return syncFolder(f.fs, f.dir) }

func syncFolder(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
