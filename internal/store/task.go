package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Spec describes a store.
type Spec struct {
	Name    string
	Backend Backend
	Logged  bool // whether [Task.Changes] tells of it
}

// Entry is a key with its value; a nil value deletes the key.
type Entry struct{ Key, Value []byte }

// Task is the state of one task.
type Task struct {
	db     *DB
	id     string
	mu     sync.Mutex
	stores map[string]*Store
	order  []*Store
	sealed bool
}

// Store opens the store that s describes. The same name twice is an error that matches [ErrOpen].
func (t *Task) Store(s Spec) (*Store, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stores[s.Name] != nil {
		return nil, fmt.Errorf("store: open store %s of task %s: %w", s.Name, t.id, ErrOpen)
	}
	st := &Store{task: t, spec: s, base: overlay{}, open: overlay{}}
	t.stores[s.Name] = st
	t.order = append(t.order, st)
	return st, nil
}

// Checkpoint returns the offset of the changelog that comes after what the base of the store holds: where
// restoring begins. It is not ok where nothing is known: restoring begins at the beginning of the changelog. That
// is always so for a store in memory.
func (t *Task) Checkpoint(name string) (offset int64, ok bool) { return 0, false }

// Restore writes entries into the base of the store, past the generations, and makes next its checkpoint in the
// same atomic step.
func (t *Task) Restore(name string, entries []Entry, next int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stores[name]
	if s == nil {
		return fmt.Errorf("store: restore %s of task %s: there is no such store", name, t.id)
	}
	for _, e := range entries {
		s.base[string(e.Key)] = bytes.Clone(e.Value)
	}
	return nil
}

// Changes tells of every key of a logged store that was written in the open generation: the last value, or nil where
// the key is deleted. Store after store in the order in which they were opened, and the keys in order. A
// key that was written and then fell to [Store.DeleteRange] is told as deleted; other keys that DeleteRange deletes
// are not told. The slices are valid, and do not change, until the generation is committed or rolled back.
// An error of yield ends it, and is returned.
func (t *Task) Changes(yield func(store string, key, value []byte) error) error {
	for _, s := range t.order {
		if !s.spec.Logged {
			continue
		}
		for _, k := range s.open.keys(nil, nil) {
			if err := yield(s.spec.Name, []byte(k), s.open[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Seal makes the open generation the sealed one; what is written from now on goes to a new open generation. There
// must be no sealed generation, no commit under way and no scan: Seal panics otherwise.
func (t *Task) Seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealed {
		panic("store: seal: there is a sealed generation")
	}
	t.sealed = true
	for _, s := range t.order {
		s.sealed, s.open = s.open, overlay{}
	}
}

// Commit brings the sealed generation to the base in one atomic step, with the checkpoints next, from the names of
// stores to the offsets of their changelogs. It may run on another goroutine while the task goes on.
//
// When Commit fails nothing has happened: the generation is still sealed, and Commit may be called again.
func (t *Task) Commit(next map[string]int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.sealed {
		return errors.New("store: commit: there is no sealed generation")
	}
	for _, s := range t.order {
		for k, v := range s.sealed {
			s.base[k] = v
		}
		s.sealed = nil
	}
	t.sealed = false
	return nil
}

// Rollback forgets the sealed and the open generation. It waits for a Commit that is under way.
func (t *Task) Rollback() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = false
	for _, s := range t.order {
		s.sealed, s.open = nil, overlay{}
	}
}

// UncommittedBytes returns about how much memory the keys and values of the uncommitted writes take.
func (t *Task) UncommittedBytes() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var n int64
	for _, s := range t.order {
		for _, o := range []overlay{s.open, s.sealed} {
			for k, v := range o {
				n += int64(len(k) + len(v))
			}
		}
	}
	return n
}

// Close closes the task and its stores. Uncommitted writes are forgotten. It waits for a Commit that is under way.
func (t *Task) Close() error {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	delete(t.db.tasks, t.id)
	return nil
}

// overlay is a provisional map of writes; nil means deleted.
type overlay map[string][]byte

func (o overlay) keys(from, to []byte) []string {
	var keys []string
	for k := range o {
		if (from == nil || k >= string(from)) && (to == nil || k < string(to)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
