package store

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
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
	// MemoryBytes bounds the memory for state: see [Budget]. Default: 256 MiB; at least 16 MiB.
	MemoryBytes int64
	// FileBytes is the part of it that is for Pebble, where there is a folder: its cache of blocks of files, and the committed writes that
	// are not in files yet. Default: a quarter of MemoryBytes; at least 4 MiB, at most three quarters of MemoryBytes.
	FileBytes int64
	// Logger is told when the disk fails, and when it works again. Default: nothing is logged.
	Logger *slog.Logger
}

// defaultFilePart is the part of the memory that is for files by default.
const defaultFilePart = 4

const (
	defaultMemory = 256 << 20
	leastMemory   = 16 << 20
	leastFiles    = leastMemory / defaultFilePart
)

// Validate tells what is wrong with the options.
func (o Options) Validate() error {
	if o.MemoryBytes != 0 && o.MemoryBytes < leastMemory {
		return fmt.Errorf("%d bytes for state: want at least %d, or 0 for the default", o.MemoryBytes, leastMemory)
	}
	if most := o.memory() / 4 * 3; o.FileBytes != 0 && (o.FileBytes < leastFiles || o.FileBytes > most) {
		return fmt.Errorf("%d bytes for files of state: want at least %d and at most %d, three quarters of the %d for state, or 0 for the default", o.FileBytes, leastFiles, most, o.memory())
	}
	return nil
}

func (o *Options) memory() int64 { return cmp.Or(o.MemoryBytes, defaultMemory) }

func (o *Options) files() int64 { return cmp.Or(o.FileBytes, o.memory()/defaultFilePart) }

// DB is the state folder of a process. It is safe for concurrent use.
type DB struct {
	seed   maphash.Seed
	folder *folder    // nil: there is none
	pebble *pebble.DB // nil: there is none
	health *health
	budget Budget

	memTable  int64        // the size of a memtable of Pebble
	memTables int64        // the size of all memtables from which on writes wait
	unseen    atomic.Int64 // bytes written since Pebble was last asked for that

	sweep   chan struct{} // tells the sweeper that files have changed
	stop    chan struct{} // closed to end it
	sweeper sync.WaitGroup

	life sync.RWMutex // held for reading by whoever uses pebble without an open task
	done bool         // guarded by life

	mu       sync.Mutex // guards what follows
	tasks    map[string]*Task
	lastTask uint32 // the highest number of a task
}

// Open opens the state folder dir, and creates it where there is none. With dir "" the DB has no folder: every
// store lives in memory, whatever its [Spec] says, and there are no checkpoints.
//
// Errors match [ErrLocked], [ErrNewer], [ErrCorrupt] or [ErrUnwritable], or are those of the file system.
func Open(dir string, o Options) (*DB, error) { return open(vfs.Default, time.After, dir, o) }

// open is Open on another file system and with another clock.
func open(fsys vfs.FS, after func(time.Duration) <-chan time.Time, dir string, o Options) (_ *DB, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	db := &DB{seed: maphash.MakeSeed(), tasks: map[string]*Task{}}
	if db.budget.limit = o.memory(); dir == "" {
		return db, nil
	}
	if db.folder, err = lockFolder(fsys, dir); err != nil {
		return nil, err
	}
	db.budget.disk = o.files()
	if err := db.openFolder(o, after); err != nil {
		return nil, errors.Join(err, db.folder.unlock())
	}
	return db, nil
}

// openFolder opens the database in the folder, which is locked.
func (db *DB) openFolder(o Options, after func(time.Duration) <-chan time.Time) error {
	if err := db.folder.check(); err != nil {
		return err
	}
	db.health = newHealth(db.folder.dir, o.Logger)
	db.health.after = after
	db.health.onDamage = func(cause error) {
		if err := db.folder.write(damagedFile, cause.Error()+"\n"); err != nil {
			db.health.logger.Error("cannot note that the state folder is damaged", slog.String("folder", db.folder.dir), slog.String("error", err.Error()))
		}
	}
	db.sweep, db.stop = make(chan struct{}, 1), make(chan struct{})
	db.health.onFile = func() {
		select {
		case db.sweep <- struct{}{}:
		default:
		}
	}
	if err := db.openPebble(); err != nil {
		db.health.running.Wait() // what notes the damage must be done when the folder is somebody else's again
		return err
	}
	if err := db.readTasks(); err != nil {
		close(db.health.closing)
		err = errors.Join(err, db.closePebble())
		db.health.running.Wait()
		return err
	}
	db.health.begin()
	db.sweeper.Go(db.sweepIterators)
	return nil
}

// pebbleOptions are the options of Pebble, whose cache and memtables keep to their part of the memory.
func (db *DB) pebbleOptions() *pebble.Options {
	// Of this part memtables get more than the cache of blocks: files that are merged less often save more, since most keys that are read
	// were written lately, and are in memory before Pebble, or are read once.
	db.memTable = min(db.budget.disk/4, 64<<20)
	db.memTables = db.budget.disk / 4 * 3
	o := &pebble.Options{
		FS:                          guard{db.folder.fs, db.health},
		FormatMajorVersion:          pebble.FormatTableFormatV6, // see format
		DisableWAL:                  true,
		MemTableSize:                uint64(db.memTable),
		MemTableStopWritesThreshold: math.MaxInt32, // admit waits instead
		L0StopWritesThreshold:       math.MaxInt32,
		CompactionConcurrencyRange:  func() (int, int) { return 1, max(1, runtime.GOMAXPROCS(0)/2) },
		MaxOpenFiles:                500,
		EventListener:               db.health.listener(),
		Logger:                      pebbleLogger{db.health},
	}
	o.Experimental.CompactionScheduler = scheduler{pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest(), db.health}
	for i := range o.Levels {
		// As in Kafka Streams: rows are read and merged far more often than a disk is short of room.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].IndexBlockSize = 256 << 10 // an index of one block: one of two levels is twice the way to a key
	}
	return o
}

// openPebble opens the database.
func (db *DB) openPebble() (err error) {
	if err := db.folder.removeLogs(); err != nil {
		return openError(db.folder.dir, err)
	}
	cache := pebble.NewCache(db.budget.disk) // of which Pebble takes the memtables
	defer cache.Unref()
	opts := db.pebbleOptions()
	opts.Cache = cache
	defer func() {
		// Pebble panics with some errors of the file system, and with some files that are not what it has written.
		if r := recover(); r != nil {
			cause, ok := r.(error)
			if !ok {
				cause = fmt.Errorf("panic: %v", r)
			}
			err = openError(db.folder.dir, cause)
		}
	}()
	p, err := pebble.Open(db.folder.path(database), opts)
	if err == nil {
		db.pebble = p
		return nil
	}
	if r := db.health.report(); r.fatal != nil && !errors.Is(r.fatal, ErrCorrupt) {
		return r.fatal
	}
	return openError(db.folder.dir, err)
}

// readTasks finds the highest number of a task.
func (db *DB) readTasks() error {
	return db.list([]byte{kindTask}, func(id, value []byte) error {
		n, err := fixed[uint32](id, value)
		db.lastTask = max(db.lastTask, n)
		return db.damaged(err)
	})
}

// Wipe deletes the state in the folder dir, also when it is corrupt or of a newer version. It fails with [ErrLocked]
// where a DB has it open.
func Wipe(dir string) error { return wipe(vfs.Default, dir) }

func wipe(fsys vfs.FS, dir string) error {
	f, err := lockFolder(fsys, dir)
	if err != nil {
		return err
	}
	if err := errors.Join(f.wipe(), f.unlock()); err != nil {
		return &Error{"delete the state in", f.dir, err, "delete the folder"}
	}
	return nil
}

// enter keeps the DB from being closed until leave is called.
func (db *DB) enter(op string) (leave func(), err error) {
	db.life.RLock()
	if db.done {
		db.life.RUnlock()
		return nil, fmt.Errorf("store: %s: %w", op, ErrClosed)
	}
	return db.life.RUnlock, nil
}

// Close closes the DB. It fails with [ErrOpen], and closes nothing, where a task is still open. Committed state that
// is not in files yet is forgotten, as in a crash; call [DB.Flush] before Close to keep it. After some errors of
// the disk a part of the DB stays in memory until the process ends; it has no influence on a DB that is opened
// later.
func (db *DB) Close() error {
	db.life.Lock()
	defer db.life.Unlock()
	if db.done {
		return fmt.Errorf("store: close: %w", ErrClosed)
	}
	if open := db.openTasks(); len(open) > 0 {
		return fmt.Errorf("store: close: task %s: %w", strings.Join(open, ", "), ErrOpen)
	}
	db.done = true
	if db.pebble == nil {
		return nil
	}
	close(db.stop)
	db.sweeper.Wait()
	close(db.health.closing)
	err := db.closePebble()
	db.health.running.Wait()
	return errors.Join(err, db.folder.unlock())
}

// closePebble closes Pebble, save one that cannot go on: that stays in memory until the process ends, and can do nothing.
func (db *DB) closePebble() error {
	select {
	case <-db.health.died:
		return nil // what there is to say has been said
	default:
	}
	closed := make(chan error, 1)
	go func() { closed <- db.pebble.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			return fmt.Errorf("store: close the state folder %s: %w", db.folder.dir, err)
		}
		return nil
	case <-db.health.died:
		return db.health.report().fatal
	}
}

func (db *DB) openTasks() []string {
	db.mu.Lock()
	defer db.mu.Unlock()
	var ids []string
	for id := range db.tasks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Task opens the state of the task id, such as "0_3": from 1 to 255 bytes. It is an error that matches [ErrOpen] if it
// is open already.
func (db *DB) Task(id string) (*Task, error) {
	leave, err := db.enter("open task " + id)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := checkName("id of a task", id, maxTaskID); err != nil {
		return nil, err
	}
	t := &Task{db: db, id: id, maxOpen: maxOpen, byName: map[string]*Store{}}
	if err := db.claim(t); err != nil {
		return nil, err
	}
	if db.pebble != nil {
		if t.number, err = db.findTask(id); err != nil {
			db.forget(t)
			return nil, err
		}
	}
	return t, nil
}

// claim makes t the one task with its id, until it is forgotten.
func (db *DB) claim(t *Task) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.tasks[t.id] != nil {
		return fmt.Errorf("store: task %s: %w", t.id, ErrOpen)
	}
	db.tasks[t.id] = t
	return nil
}

func (db *DB) forget(t *Task) {
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.tasks, t.id)
}

// Tasks returns the ids of the tasks that have state on disk, in order.
func (db *DB) Tasks() ([]string, error) {
	leave, err := db.enter("list the tasks")
	if err != nil {
		return nil, err
	}
	defer leave()
	if db.pebble == nil {
		return nil, nil
	}
	var ids []string
	err = db.list([]byte{kindTask}, func(id, _ []byte) error {
		ids = append(ids, string(id))
		return nil
	})
	return ids, err
}

// Remove deletes the state of the task id, if there is any. It fails with [ErrOpen] where the task is open. Like a
// commit, it is sure to last after [DB.Flush] only.
func (db *DB) Remove(id string) error {
	leave, err := db.enter("remove task " + id)
	if err != nil {
		return err
	}
	defer leave()
	t := &Task{db: db, id: id} // so that nobody opens it meanwhile
	if err := db.claim(t); err != nil {
		return err
	}
	defer db.forget(t)
	if db.pebble == nil {
		return nil
	}
	n, err := db.findTask(id)
	if n == 0 || err != nil {
		return err
	}
	return db.removeTask(id, n)
}

// sweepIterators closes the idle iterators whenever files have changed, since they keep the old ones, and the
// memtables that have become files.
func (db *DB) sweepIterators() {
	for {
		select {
		case <-db.sweep:
		case <-db.stop:
			return
		}
		db.mu.Lock()
		tasks := make([]*Task, 0, len(db.tasks))
		for _, t := range db.tasks {
			tasks = append(tasks, t)
		}
		db.mu.Unlock()
		for _, t := range tasks {
			if err := t.release(); err != nil {
				db.health.logger.Warn("cannot read the state folder", slog.String("folder", db.folder.dir), slog.String("error", err.Error()))
			}
		}
	}
}
