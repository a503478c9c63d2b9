package store

import (
	"fmt"
	"sync/atomic"
)

// Store is an ordered map from key to value. Keys and values are any bytes, also none; an empty value is not an
// absent one. Keys order by their bytes.
type Store struct {
	task   *Task
	spec   Spec
	number uint16 // on disk
	base   base
	memory *memory // base, where it is in memory
	disk   *disk   // base, where it is on disk

	open   *overlay
	sealed atomic.Pointer[overlay] // nil: nothing is sealed; never changed while it is there
	spare  atomic.Pointer[overlay] // a committed generation, whose memory Seal uses again

	checkpoint checkpoint // guarded by the task's mu
	scanners   []*scanner // not in use
	scans      int        // under way
	held       int64      // memory of the sealed generation, or of the spare one
}

// checkpoint is where in the changelog restoring begins.
type checkpoint struct {
	offset int64
	known  bool
}

// Get returns the value of key, and nil where the store has none. The value is valid until the next call of any
// method of the store, or of any method of the task but Commit; the caller must not change it.
func (s *Store) Get(key []byte) ([]byte, error) {
	if s.task.closed {
		return nil, s.closed()
	}
	if v, known := s.open.get(key); known {
		return v, nil
	}
	if o := s.sealed.Load(); o != nil { // before the base: when it is gone, its writes are in the base
		if v, known := o.get(key); known {
			return v, nil
		}
	}
	if s.memory != nil { // not through base: a key would have to be on the heap for that
		return s.memory.table.Load().get(key), nil
	}
	return s.disk.get(key)
}

// maxOpen is how much memory a generation may take. What is committed at once must fit in one batch of Pebble, which
// has 4 GiB.
const maxOpen = 1 << 30

// Put sets the value of key. It copies both. A nil value deletes the key, as Delete does. It fails with
// [ErrTooLarge] where a generation has more than 1 GiB.
func (s *Store) Put(key, value []byte) error {
	t := s.task
	if t.closed {
		return s.closed()
	}
	if t.openBytes+int64(len(key)+len(value)) > t.maxOpen {
		return s.tooLarge()
	}
	before := s.open.bytes()
	s.open.put(key, value)
	t.openBytes += s.open.bytes() - before
	t.account()
	return nil
}

// Delete deletes key. The changelog is told of it, also where the store does not have the key.
func (s *Store) Delete(key []byte) error { return s.Put(key, nil) }

// DeleteRange deletes the keys from from (included) to to (not included); nil is an open end. It is for state that
// expires: it costs the same however many keys there are, and the changelog is not told of it.
func (s *Store) DeleteRange(from, to []byte) error {
	t := s.task
	if t.closed {
		return s.closed()
	}
	if emptyRange(from, to) {
		return nil
	}
	if t.openBytes+int64(len(from)+len(to)) > t.maxOpen {
		return s.tooLarge()
	}
	before := s.open.bytes()
	s.open.deleteRange(from, to)
	t.openBytes += s.open.bytes() - before
	t.account()
	return nil
}

// Scan calls fn with every key from from (included) to to (not included) and its value, in ascending order, until
// fn returns false or an error, which Scan returns. nil is an open end. fn sees the store as it was when the scan
// began; it may read, write and scan the store, but must not seal, roll back or close. Key and value are valid until
// fn returns.
func (s *Store) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	return s.scan(from, to, false, fn)
}

// ScanReverse is Scan in descending order.
func (s *Store) ScanReverse(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	return s.scan(from, to, true, fn)
}

func (s *Store) scan(from, to []byte, reverse bool, fn func(key, value []byte) (bool, error)) (err error) {
	if s.task.closed {
		return s.closed()
	}
	if emptyRange(from, to) {
		return nil
	}
	var sc *scanner
	if n := len(s.scanners); n > 0 {
		sc = s.scanners[n-1]
		s.scanners = s.scanners[:n-1]
	} else {
		sc = &scanner{}
	}
	if err := sc.begin(s, from, to, reverse); err != nil {
		return err
	}
	s.scans++
	defer func() {
		s.scans--
		if e := sc.end(); err == nil {
			err = e
		}
		s.scanners = append(s.scanners, sc)
	}()
	for sc.next() {
		if more, err := fn(sc.key, sc.value); err != nil || !more {
			return err
		}
	}
	return nil
}

// Len returns about how many keys the store has, and whether that is known: it is for a store in memory, whose
// uncommitted writes do not count.
func (s *Store) Len() (n int, known bool) {
	if s.memory == nil {
		return 0, false
	}
	return s.memory.table.Load().len, true
}

// Bytes returns about how much memory or disk the store takes. Uncommitted writes do not count, nor does what Pebble
// has not written to its files yet.
func (s *Store) Bytes() (int64, error) {
	if s.memory != nil {
		return s.memory.table.Load().bytes, nil
	}
	if s.task.closed {
		return 0, s.closed()
	}
	n, err := s.task.db.pebble.EstimateDiskUsage(s.disk.prefix, s.disk.end)
	if err != nil {
		return 0, s.task.db.readError(err)
	}
	return int64(n), nil
}

func (s *Store) closed() error {
	return fmt.Errorf("store: use store %s of task %s: %w", s.spec.Name, s.task.id, ErrClosed)
}

func (s *Store) tooLarge() error {
	return &Error{"write to store", s.spec.Name + " of task " + s.task.id, fmt.Errorf("%w: more than %d MiB", ErrTooLarge, s.task.maxOpen>>20), "commit more often"}
}

// seal makes the open generation the sealed one.
func (s *Store) seal() {
	s.open.arrange() // it must not change any more
	next := s.spare.Swap(nil)
	if next == nil || s.task.db.budget.Over() {
		next = newOverlay(s.task.db.seed)
	}
	next.reset()
	s.held = s.open.held()
	s.sealed.Store(s.open)
	s.open = next
}

// committed lets go of the sealed generation, which is in the base now.
func (s *Store) committed() {
	o := s.sealed.Swap(nil)
	if s.held > s.task.db.budget.limit/largeSpare {
		o, s.held = nil, 0
	}
	s.spare.Store(o)
}
