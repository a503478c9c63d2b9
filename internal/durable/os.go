package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// OS returns the file system of the machine. It is safe for concurrent use.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) CreateTemp(dir string, perm fs.FileMode) (File, error) {
	for { // os.CreateTemp would make a private file, whatever the umask says
		name := filepath.Join(dir, fmt.Sprintf(".millrace-%d-%016x%s", os.Getpid(), rand.Uint64(), TempSuffix))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
}

func (osFS) Link(oldname, newname string) error   { return os.Link(oldname, newname) }
func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }
func (osFS) Remove(name string) error             { return os.Remove(name) }
func (osFS) Mkdir(name string) error              { return os.Mkdir(name, 0o777) }

// SyncDir does nothing where a directory cannot be synced: Windows, and some network file systems.
func (osFS) SyncDir(name string) error {
	if !canSyncDir {
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if c := d.Close(); err == nil {
		err = c
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
