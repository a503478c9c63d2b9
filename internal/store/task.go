package store

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Spec describes a store.
type Spec struct {
	Name    string // from 1 to 255 bytes
	Backend Backend
	Logged  bool // whether [Task.Changes] tells of it
}

// Entry is a key with its value; a nil value deletes the key.
type Entry struct{ Key, Value []byte }

// Task is the state of one task.
type Task struct {
	db      *DB
	id      string
	maxOpen int64

	// Of the task's goroutine.
	closed    bool
	openBytes int64
	openTold  int64 // the budget, as what follows
	spareTold int64
	caches    []*Cache

	sealedBytes atomic.Int64
	commit      sync.Mutex // held during Commit, and by whoever must not meet one

	mu     sync.Mutex // guards what follows
	number uint32     // on disk; 0: none yet
	stores []*Store   // only ever appended to
	byName map[string]*Store
	sealed bool
	gone   bool // closed, for those who take views
	// sealedTold is what the budget was told of the sealed generation.
	sealedTold int64

	shown sync.RWMutex // held while the bases go over from one commit to the next, and while a view is taken
	stamp any          // of the last commit; guarded by shown
}

// Store opens the store that s describes. The same name twice is an error that matches [ErrOpen]. What a store on
// disk had when it last was in memory is gone.
func (t *Task) Store(s Spec) (*Store, error) {
	if t.closed {
		return nil, fmt.Errorf("store: open store %s of task %s: %w", s.Name, t.id, ErrClosed)
	}
	if err := checkName("name of a store", s.Name, maxStoreName); err != nil {
		return nil, err
	}
	t.commit.Lock() // a commit sees all stores of the generation
	defer t.commit.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName[s.Name] != nil {
		return nil, fmt.Errorf("store: open store %s of task %s: %w", s.Name, t.id, ErrOpen)
	}
	st := &Store{task: t, spec: s, open: newOverlay(t.db.seed)}
	if t.db.pebble != nil {
		if err := t.openOnDisk(st); err != nil {
			return nil, err
		}
	}
	if st.disk == nil {
		st.memory = newMemory(&t.db.budget)
		st.base = st.memory
	}
	t.byName[s.Name] = st
	t.stores = append(t.stores, st)
	return st, nil
}

// openOnDisk finds the store on disk. It must not be there if it is one in memory.
func (t *Task) openOnDisk(s *Store) error {
	n, found, err := t.db.findStore(t.number, s.spec.Name)
	if err != nil {
		return err
	}
	if s.spec.Backend != Disk {
		if found {
			return t.db.removeStore(t.number, n, s.spec.Name)
		}
		return nil
	}
	if t.number == 0 {
		if t.number, err = t.db.newTask(t.id); err != nil {
			return err
		}
	}
	if !found {
		if n, err = t.db.newStore(t.number, s.spec.Name); err != nil {
			return err
		}
	} else if s.checkpoint, err = t.db.checkpoint(t.number, n); err != nil {
		return err
	}
	s.number = n
	s.disk = newDisk(t.db, t.number, n)
	s.base = s.disk
	return nil
}

// Checkpoint returns the offset of the changelog that comes after what the base of the store holds: where
// restoring begins. It is not ok where nothing is known: restoring begins at the beginning of the changelog. That
// is always so for a store in memory.
func (t *Task) Checkpoint(name string) (offset int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byName[name]
	if s == nil {
		return 0, false
	}
	return s.checkpoint.offset, s.checkpoint.known
}

// Restore writes entries into the base of the store, past the generations, and makes next its checkpoint in the
// same atomic step. Of several entries with one key the last one counts. It waits for a Commit that is under way.
func (t *Task) Restore(name string, entries []Entry, next int64) error {
	if t.closed {
		return fmt.Errorf("store: restore store %s of task %s: %w", name, t.id, ErrClosed)
	}
	t.commit.Lock()
	defer t.commit.Unlock()
	t.mu.Lock()
	s := t.byName[name]
	t.mu.Unlock()
	if s == nil {
		return fmt.Errorf("store: restore store %s of task %s: it is not open", name, t.id)
	}
	if s.memory != nil {
		s.memory.restore(entries)
		return nil
	}
	b := t.db.pebble.NewBatch()
	defer func() { _ = b.Close() }() // it holds nothing but memory
	if err := errors.Join(s.disk.restore(b, entries), b.Set(ofStore(kindCheckpoint, t.number, s.number), encodeOffset(next), nil)); err != nil {
		return err
	}
	if err := t.db.apply(b); err != nil {
		return err
	}
	s.disk.changed()
	t.mu.Lock()
	s.checkpoint = checkpoint{next, true}
	t.mu.Unlock()
	return nil
}

// Changes tells of every key of a logged store that was written in the open generation: the last value, or nil where
// the key is deleted. It goes store by store in the order in which they were opened, and through the keys in order. A
// key that was written and then fell to [Store.DeleteRange] is told as deleted; other keys that DeleteRange deletes
// are not told. The slices are valid, and do not change, until the generation is committed or rolled back.
// An error of yield ends it, and is returned.
func (t *Task) Changes(yield func(store string, key, value []byte) error) error {
	for _, s := range t.stores {
		if !s.spec.Logged {
			continue
		}
		if err := s.changes(yield); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) changes(yield func(store string, key, value []byte) error) error {
	s.open.arrange()
	s.open.pin()
	for _, b := range s.open.order.blocks {
		for _, id := range b {
			e := &s.open.entries[id]
			if err := yield(s.spec.Name, e.key, s.open.current(e)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Seal makes the open generation the sealed one; what is written from now on goes to a new open generation. It panics
// where there is a sealed generation already, or a scan is under way.
func (t *Task) Seal() {
	t.noScan("Seal")
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealed {
		panic("store: Seal: there is a sealed generation already")
	}
	t.sealed = true
	for _, s := range t.stores {
		s.seal()
	}
	t.sealedBytes.Store(t.openBytes)
	t.tellSealed((commitCopies - 1) * t.openBytes) // the generation is told by tellSpare, and stays
	t.openBytes = 0
	t.tellOpen()
	t.tellSpare()
}

func (t *Task) noScan(who string) {
	for _, s := range t.stores {
		if s.scans > 0 {
			panic("store: " + who + " during a scan of store " + s.spec.Name)
		}
	}
}

// Commit brings the sealed generation to the base in one atomic step, with the checkpoints next, from the names of
// stores to the offsets of their changelogs; those of stores in memory are ignored. It may run on another goroutine
// while the task goes on. It waits while Pebble has more to write to its files than memory is there for.
//
// When Commit fails nothing has happened: the generation is still sealed, and Commit may be called again. Errors match
// [ErrUnwritable] or [ErrCorrupt].
func (t *Task) Commit(next map[string]int64) error { return t.CommitStamped(next, nil) }

// Stamp puts a stamp on the base as it is, which a [View] of it tells: as of which commit the state is, in the words of who
// commits. It must not change any more.
func (t *Task) Stamp(stamp any) {
	t.shown.Lock()
	defer t.shown.Unlock()
	t.stamp = stamp
}

// CommitStamped is Commit, and puts a stamp on the base in the same step, as [Task.Stamp] does; nil leaves the one that there is.
func (t *Task) CommitStamped(next map[string]int64, stamp any) error {
	t.commit.Lock()
	defer t.commit.Unlock()
	t.mu.Lock()
	sealed, stores := t.sealed, t.stores
	for name := range next {
		if t.byName[name] == nil {
			t.mu.Unlock()
			return fmt.Errorf("store: commit task %s: store %s is not open", t.id, name)
		}
	}
	t.mu.Unlock()
	if !sealed {
		return fmt.Errorf("store: commit task %s: there is no sealed generation", t.id)
	}
	if err := t.publish(stores, next, stamp); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, offset := range next {
		if s := t.byName[name]; s.disk != nil {
			s.checkpoint = checkpoint{offset, true}
		}
	}
	for _, s := range stores {
		s.committed()
	}
	t.sealed = false
	t.sealedBytes.Store(0)
	t.tellSealed(0)
	t.tellSpare()
	return nil
}

// publish brings the sealed generation of the stores to their bases: of all of them at once, for who takes a view. What takes
// long is done before.
func (t *Task) publish(stores []*Store, next map[string]int64, stamp any) error {
	var b *pebble.Batch
	if t.db.pebble != nil {
		b = t.db.pebble.NewBatchWithSize(int(min(t.sealedBytes.Load(), math.MaxInt32)))
		defer func() { _ = b.Close() }() // it holds nothing but memory
	}
	var written []*disk
	tables := make([]*table, len(stores))
	for i, s := range stores {
		o := s.sealed.Load()
		if s.disk != nil {
			if err := s.writeCheckpoint(b, next); err != nil {
				return err
			}
		}
		if o == nil || o.empty() {
			continue
		}
		if s.memory != nil {
			tables[i] = s.memory.with(o)
			continue
		}
		if err := s.disk.write(b, o); err != nil {
			return err
		}
		written = append(written, s.disk)
	}
	disk := b != nil && !b.Empty()
	if disk {
		if err := t.db.admit(int64(b.Len())); err != nil {
			return err
		}
	}
	t.shown.Lock()
	defer t.shown.Unlock()
	if disk {
		if err := t.db.applyAdmitted(b); err != nil {
			return err
		}
	}
	for _, d := range written {
		d.changed()
	}
	for i, n := range tables {
		if n != nil {
			stores[i].memory.set(n)
		}
	}
	if stamp != nil {
		t.stamp = stamp
	}
	return nil
}

// writeCheckpoint adds the store's checkpoint to a batch, if it is another one.
func (s *Store) writeCheckpoint(b *pebble.Batch, next map[string]int64) error {
	offset, ok := next[s.spec.Name]
	if !ok || s.checkpoint == (checkpoint{offset, true}) {
		return nil
	}
	return s.task.db.readError(b.Set(ofStore(kindCheckpoint, s.task.number, s.number), encodeOffset(offset), nil))
}

// Rollback forgets the sealed and the open generation. It waits for a Commit that is under way. It panics where a scan
// is under way.
func (t *Task) Rollback() {
	t.noScan("Rollback")
	t.commit.Lock()
	defer t.commit.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = false
	for _, s := range t.stores {
		if o := s.sealed.Swap(nil); o != nil {
			s.spare.Store(o)
		}
		s.open.reset()
	}
	t.openBytes = 0
	t.sealedBytes.Store(0)
	t.tellSealed(0)
	t.tellOpen()
	t.closeCaches()
}

// UncommittedBytes returns about how much memory the uncommitted writes take.
func (t *Task) UncommittedBytes() int64 { return t.openBytes + t.sealedBytes.Load() }

// Close closes the task and its stores. Uncommitted writes are forgotten. It waits for a Commit that is under way. It
// panics where a scan is under way.
func (t *Task) Close() error {
	t.noScan("Close")
	if t.closed {
		return fmt.Errorf("store: close task %s: %w", t.id, ErrClosed)
	}
	t.commit.Lock()
	defer t.commit.Unlock()
	t.closed = true
	t.db.forget(t)
	t.mu.Lock()
	stores := slices.Clone(t.stores)
	t.sealed, t.gone = false, true
	t.openBytes = 0
	t.tellSealed(0)
	t.tellOpen()
	t.closeCaches()
	for _, s := range stores {
		s.held = 0
	}
	t.tellSpare()
	t.mu.Unlock()
	var errs []error
	for _, s := range stores {
		errs = append(errs, s.base.close())
	}
	return errors.Join(errs...)
}

// release closes the idle iterators of the task's stores. It is called on another goroutine than the task's.
func (t *Task) release() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, s := range t.stores {
		if s.disk != nil {
			errs = append(errs, s.disk.release())
		}
	}
	return errors.Join(errs...)
}
