package store

import (
	"fmt"
	"log/slog"
	"sync"
)

// Backend is where the base of a store lives.
type Backend int

// The backends.
const (
	// Disk keeps the base in the state folder. It survives a restart, and may be larger than memory.
	Disk Backend = iota
	// Memory keeps the base in memory, as long as the task is open. It has no checkpoint: it is restored from the
	// beginning of its changelog.
	Memory
)

// Options say how a [DB] works. The zero value is good.
type Options struct {
	// MemoryBytes bounds the memory of the DB: its block cache and the committed writes that are not on disk yet.
	// Neither the uncommitted writes ([Task.UncommittedBytes]) nor the stores in memory count. Default: 64 MiB;
	// at least 4 MiB.
	MemoryBytes int64
	// Logger is told when the disk fails and when it works again. Default: nothing is logged.
	Logger *slog.Logger
}

// DB is the state folder of a process. It is safe for concurrent use.
type DB struct {
	mu    sync.Mutex
	tasks map[string]*Task // those that are open
	done  bool
}

// Open opens the state folder dir, and creates it where there is none. With dir "" the DB has no folder: every
// store lives in memory, whatever its [Spec] says, and there are no checkpoints.
//
// Errors match [ErrLocked], [ErrNewer], [ErrCorrupt] or [ErrUnwritable], or are those of the file system.
func Open(dir string, o Options) (*DB, error) {
	return &DB{tasks: map[string]*Task{}}, nil
}

// Wipe deletes the state in the folder dir, also when it is corrupt. It fails with [ErrLocked] where a DB has it
// open, and does nothing where there is no such folder.
func Wipe(dir string) error { return nil }

// Close closes the DB. Every task must be closed before. Committed state that is not on disk yet is
// forgotten, as in a crash; call [DB.Flush] before Close to keep it.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.done = true
	return nil
}

// Flush brings everything that is committed to the disk, so that a restart restores nothing.
func (db *DB) Flush() error { return nil }

// Task opens the state of the task id, such as "0_3". It is an error that matches [ErrOpen] if it is open already.
func (db *DB) Task(id string) (*Task, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.done {
		return nil, fmt.Errorf("store: open task %s: %w", id, ErrClosed)
	}
	if db.tasks[id] != nil {
		return nil, fmt.Errorf("store: open task %s: %w", id, ErrOpen)
	}
	t := &Task{db: db, id: id, stores: map[string]*Store{}}
	db.tasks[id] = t
	return t, nil
}

// Tasks returns the ids of the tasks that have state on disk, in order.
func (db *DB) Tasks() ([]string, error) { return nil, nil }

// Remove deletes the state of the task id, which must not be open.
func (db *DB) Remove(id string) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.tasks[id] != nil {
		return fmt.Errorf("store: remove task %s: %w", id, ErrOpen)
	}
	return nil
}
