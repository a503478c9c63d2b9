package store

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// disk is a base in Pebble: the keys with one prefix.
type disk struct {
	db     *DB
	prefix []byte
	end    []byte // the first key after all those with the prefix
	key    []byte // scratch of get
	value  []byte // the last result of get

	// changes counts the commits to the base. An iterator of Pebble stays with what it has seen first, and is dear to
	// make; as long as the count is the same it serves the next scan, too. Whoever wants it takes it out of idle:
	// the task's goroutine for a scan, or the one that closes idle iterators because they keep old files.
	changes atomic.Uint64
	idle    atomic.Pointer[diskCursor]
}

func newDisk(db *DB, task uint32, store uint16) *disk {
	prefix := ofStore(kindData, task, store)
	return &disk{db: db, prefix: prefix, end: successor(prefix), key: slices.Clone(prefix)}
}

// keepValue is the largest buffer that a base keeps for the results of get.
const keepValue = 1 << 20

func (d *disk) get(key []byte) ([]byte, error) {
	d.key = append(d.key[:len(d.prefix)], key...)
	v, closer, err := d.db.pebble.Get(d.key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, nil
		}
		return nil, d.db.readError(err)
	}
	if cap(d.value) > keepValue && len(v) <= keepValue {
		d.value = nil
	}
	if d.value = append(d.value[:0], v...); d.value == nil {
		d.value = []byte{}
	}
	if err := closer.Close(); err != nil {
		return nil, d.db.readError(err)
	}
	return d.value, nil
}

// changed is called after a commit to the base.
func (d *disk) changed() { d.changes.Add(1) }

// release closes the idle iterator.
func (d *disk) release() error {
	if c := d.idle.Swap(nil); c != nil {
		return c.it.Close()
	}
	return nil
}

func (d *disk) close() error { return d.release() }

func (d *disk) cursor(from, to []byte, reverse bool) (cursor, error) {
	c := d.idle.Swap(nil)
	changes := d.changes.Load() // before the iterator is made: it sees at least these
	if c != nil && c.changes != changes {
		err := c.it.Close()
		c.it = nil
		if err != nil {
			return nil, d.db.readError(err)
		}
	}
	if c == nil {
		c = &diskCursor{disk: d}
	}
	c.lower = append(append(c.lower[:0], d.prefix...), from...)
	c.upper = append(c.upper[:0], d.end...)
	if to != nil {
		c.upper = append(append(c.upper[:0], d.prefix...), to...)
	}
	c.reverse, c.begun = reverse, false
	if c.it != nil {
		c.it.SetBounds(c.lower, c.upper)
		return c, nil
	}
	it, err := d.db.pebble.NewIter(&pebble.IterOptions{LowerBound: c.lower, UpperBound: c.upper})
	if err != nil {
		return nil, d.db.readError(err)
	}
	c.it, c.changes = it, changes
	return c, nil
}

// has tells whether the base has a key in the deleted range s.
func (d *disk) has(s *span) (bool, error) {
	c, err := d.cursor(s.from, s.to, false)
	if err != nil {
		return false, err
	}
	return c.next(), c.close()
}

// write adds a sealed generation to a batch.
func (d *disk) write(b *pebble.Batch, o *overlay) error {
	for i := range o.spans {
		s := &o.spans[i]
		// State expires all the time, but mostly there is nothing yet to expire. A range that is deleted costs the
		// readers, also when there was nothing in it.
		found, err := d.has(s)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		to := d.end
		if s.to != nil {
			to = slices.Concat(d.prefix, s.to)
		}
		if err := b.DeleteRange(slices.Concat(d.prefix, s.from), to, nil); err != nil {
			return err
		}
	}
	var err error
	o.each(func(e *entry) {
		switch value := o.current(e); {
		case err != nil:
		case value != nil:
			err = d.set(b, e.key, value)
		case e.deleted || len(o.spans) == 0 || o.spans.find(e.key) == nil:
			err = d.delete(b, e.key)
		}
	})
	return err
}

func (d *disk) set(b *pebble.Batch, key, value []byte) error {
	op := b.SetDeferred(len(d.prefix)+len(key), len(value))
	copy(op.Key[copy(op.Key, d.prefix):], key)
	copy(op.Value, value)
	return op.Finish()
}

func (d *disk) delete(b *pebble.Batch, key []byte) error {
	op := b.DeleteDeferred(len(d.prefix) + len(key))
	copy(op.Key[copy(op.Key, d.prefix):], key)
	return op.Finish()
}

// diskCursor is an iterator of Pebble within bounds.
type diskCursor struct {
	disk         *disk
	it           *pebble.Iterator
	changes      uint64 // of the disk when the iterator was made
	lower, upper []byte
	seek         []byte
	reverse      bool
	begun        bool
}

func (c *diskCursor) next() bool {
	switch {
	case c.begun && c.reverse:
		return c.it.Prev()
	case c.begun:
		return c.it.Next()
	case c.reverse:
		c.begun = true
		return c.it.Last()
	default:
		c.begun = true
		return c.it.First()
	}
}

func (c *diskCursor) skip(s *span) bool {
	if c.reverse {
		c.seek = append(append(c.seek[:0], c.disk.prefix...), s.from...)
		return c.it.SeekLT(c.seek)
	}
	c.seek = append(c.seek[:0], c.disk.end...)
	if s.to != nil {
		c.seek = append(append(c.seek[:0], c.disk.prefix...), s.to...)
	}
	return c.it.SeekGE(c.seek)
}

func (c *diskCursor) key() []byte { return c.it.Key()[len(c.disk.prefix):] }

func (c *diskCursor) value() ([]byte, error) {
	v, err := c.it.ValueAndErr()
	if err != nil {
		return nil, c.disk.db.readError(err)
	}
	if v == nil {
		v = []byte{}
	}
	return v, nil
}

// close gives the iterator back for the next scan.
func (c *diskCursor) close() error {
	if err := c.it.Error(); err != nil {
		_ = c.it.Close() // it says the same
		return c.disk.db.readError(err)
	}
	if old := c.disk.idle.Swap(c); old != nil {
		if err := old.it.Close(); err != nil {
			return c.disk.db.readError(err)
		}
	}
	return nil
}

// restore adds entries to a batch.
func (d *disk) restore(b *pebble.Batch, entries []Entry) error {
	for _, e := range entries {
		var err error
		if e.Value == nil {
			err = d.delete(b, e.Key)
		} else {
			err = d.set(b, e.Key, e.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
