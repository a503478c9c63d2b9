package devbroker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// lockName is the file in the broker's folder that is locked while a broker has the folder. The system drops the
// lock when the process dies, so that there is nothing to clean up; the file stays.
const lockName = "broker.lock"

// lock is the lock on a folder.
type lock struct{ f *os.File }

// acquire locks dir, or says who has it.
func acquire(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	switch err := tryLock(f); {
	case errors.Is(err, errHeld):
		who := holder(f)
		return nil, errors.Join(fmt.Errorf("%w: %s belongs to %s", ErrLocked, dir, who), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	l := &lock{f: f}
	if err := l.describe(""); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

// describe writes down who holds the lock.
func (l *lock) describe(addr string) error {
	text := fmt.Sprintf("process %d", os.Getpid())
	if addr != "" {
		text += ", which listens on " + addr
	}
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(text+"\n"), 0)
	return err
}

// holder returns what the holder of the lock has written down.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 200))
	who := strings.TrimSpace(string(b))
	if err != nil || who == "" {
		return "another process" // which has not written it down yet
	}
	return who
}

func (l *lock) release() error { return l.f.Close() }
