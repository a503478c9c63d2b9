// Package reload keeps what was read from files, and reads it again when they change: certificates and tokens are replaced
// while a server runs.
package reload

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Every is how often files are looked at, at most.
const Every = time.Second

// Value is what files hold. It is for many goroutines.
type Value[T any] struct {
	paths []string
	read  func() (T, error)
	now   func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	seen    []os.FileInfo // of the files, as they were read
	fault   string        // that was logged last
	current T
}

// New reads a value. read is called again, by one goroutine at a time, when a file at paths has changed since; where it fails,
// such as for a certificate that was replaced before its key, the value of before stays, log says so, and it is tried again.
func New[T any](paths []string, read func() (T, error), now func() time.Time, log *slog.Logger) (*Value[T], error) {
	v := &Value[T]{paths: paths, read: read, now: now, log: log, looked: now()}
	return v, v.refresh()
}

// Get returns the value.
func (v *Value[T]) Get(ctx context.Context) T {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	if passed := now.Sub(v.looked); passed < Every && passed >= 0 {
		return v.current
	}
	v.looked = now
	if err := v.refresh(); err != nil && err.Error() != v.fault {
		v.fault = err.Error()
		v.log.LogAttrs(ctx, slog.LevelError, "files changed and cannot be used: what was read before stays", slog.Any("paths", v.paths), slog.Any("error", err))
	}
	return v.current
}

// refresh reads the value if files have changed.
func (v *Value[T]) refresh() error {
	// They are looked at before they are read: a change between the two is seen the next time.
	seen := make([]os.FileInfo, len(v.paths))
	for i, path := range v.paths {
		var err error
		if seen[i], err = os.Stat(path); err != nil {
			return err
		}
	}
	if v.same(seen) {
		return nil
	}
	value, err := v.read()
	if err != nil {
		return err
	}
	v.seen, v.current, v.fault = seen, value, ""
	return nil
}

func (v *Value[T]) same(seen []os.FileInfo) bool {
	if v.seen == nil {
		return false
	}
	for i, s := range seen {
		was := v.seen[i]
		if !os.SameFile(s, was) || !s.ModTime().Equal(was.ModTime()) || s.Size() != was.Size() || s.Mode() != was.Mode() {
			return false
		}
	}
	return true
}
