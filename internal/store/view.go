package store

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// View is what a store holds as of one commit: what is not committed is not in it, and what is committed later is not either. It
// stays what it is when the task closes, or its state is deleted.
//
// It is for one goroutine at a time, another than the task's. It keeps memory and files that are obsolete from being given back,
// and the DB from being closed: whoever takes one closes it soon.
type View struct {
	db     *DB
	leave  func()
	stamp  any
	table  *table           // nil: the base is on disk
	prefix []byte           // of the keys on disk
	end    []byte           // the first key after all those
	it     *pebble.Iterator // nil: the base is in memory
}

// View takes a view of the store of a name. It is safe to call on any goroutine, while the task reads, writes, commits, rolls
// back or closes; it does not wait for a commit that waits for the disk. It fails with [ErrClosed] once the task is closed.
func (t *Task) View(name string) (*View, error) {
	leave, err := t.db.enter("look at store " + name + " of task " + t.id)
	if err != nil {
		return nil, err
	}
	v, err := t.view(name)
	if err != nil {
		leave()
		return nil, err
	}
	v.leave = leave
	return v, nil
}

func (t *Task) view(name string) (*View, error) {
	t.mu.Lock()
	s, gone := t.byName[name], t.gone
	t.mu.Unlock()
	switch {
	case gone:
		return nil, fmt.Errorf("store: look at store %s of task %s: %w", name, t.id, ErrClosed)
	case s == nil:
		return nil, fmt.Errorf("store: look at store %s of task %s: it is not open", name, t.id)
	}
	v := &View{db: t.db}
	t.shown.RLock()
	defer t.shown.RUnlock()
	v.stamp = t.stamp
	if s.memory != nil {
		v.table = s.memory.table.Load()
		return v, nil
	}
	v.prefix, v.end = s.disk.prefix, s.disk.end
	// An iterator, not a snapshot: that would wait for what a Pebble that has died never gives back.
	it, err := t.db.pebble.NewIter(&pebble.IterOptions{LowerBound: v.prefix, UpperBound: v.end})
	if err != nil {
		return nil, t.db.readError(err)
	}
	v.it = it
	return v, nil
}

// Stamp returns the stamp of the commit; nil where there is none.
func (v *View) Stamp() any { return v.stamp }

// Get returns a copy of the value of key, and nil where the store has none.
func (v *View) Get(key []byte) ([]byte, error) {
	if v.table != nil {
		if value := v.table.get(key); value != nil {
			return append([]byte{}, value...), nil
		}
		return nil, nil
	}
	var found []byte
	err := v.Scan(key, nil, func(k, value []byte) (bool, error) {
		if bytes.Equal(k, key) {
			found = append([]byte{}, value...)
		}
		return false, nil
	})
	return found, err
}

// Scan calls fn with every key from from (included) to to (not included) and its value, in ascending order, until fn returns
// false or an error, which Scan returns. nil is an open end. Key and value are valid until fn returns, which must not use the
// view.
func (v *View) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	if emptyRange(from, to) {
		return nil
	}
	if v.table != nil {
		return v.scanTable(from, to, fn)
	}
	lower, upper := append(append([]byte(nil), v.prefix...), from...), v.end
	if to != nil {
		upper = append(append([]byte(nil), v.prefix...), to...)
	}
	v.it.SetBounds(lower, upper)
	for ok := v.it.First(); ok; ok = v.it.Next() {
		value, err := v.it.ValueAndErr()
		if err != nil {
			return v.db.readError(err)
		}
		if more, err := fn(v.it.Key()[len(v.prefix):], value); err != nil || !more {
			return err
		}
	}
	return v.db.readError(v.it.Error())
}

func (v *View) scanTable(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	c := tableCursor{memory: &memory{}, table: v.table, last: v.table.end()}
	if to != nil {
		c.last = v.table.seek(to)
	}
	if len(from) > 0 {
		c.at = v.table.seek(from)
	}
	for c.next() {
		if more, err := fn(c.item.key(), c.item.value()); err != nil || !more {
			return err
		}
	}
	return nil
}

// Close lets go of what the view holds. It may be called once.
func (v *View) Close() error {
	defer v.leave()
	if v.it == nil {
		return nil
	}
	return v.db.readError(v.it.Close())
}
