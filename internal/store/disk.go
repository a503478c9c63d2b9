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
	// make; as long as the count is the same it serves the next scan, or the next get, too. Whoever wants one takes
	// it out: the task's goroutine to use it, or the one that closes idle iterators because they keep old files.
	changes atomic.Uint64
	points  atomic.Pointer[diskCursor] // for get
	ranges  atomic.Pointer[diskCursor] // for scans
}

func newDisk(db *DB, task uint32, store uint16) *disk {
	prefix := ofStore(kindData, task, store)
	return &disk{db: db, prefix: prefix, end: successor(prefix), key: slices.Clone(prefix)}
}

// keepValue is the largest buffer that a base keeps for the results of get.
const keepValue = 1 << 20

// get returns the value of key, nil where there is none; valid until the next get.
//
// It does not use the Get of Pebble, which makes an iterator each time, and asks no filter of the lowest level,
// where most keys are: a key that is not there would cost as much as one that is.
func (d *disk) get(key []byte) ([]byte, error) {
	c, err := d.take(&d.points)
	if err != nil {
		return nil, err
	}
	if c.it == nil {
		if err := c.make(&pebble.IterOptions{LowerBound: d.prefix, UpperBound: d.end, UseL6Filters: true}); err != nil {
			return nil, err
		}
	}
	d.key = append(d.key[:len(d.prefix)], key...)
	if !c.it.SeekPrefixGE(d.key) {
		return nil, c.put(&d.points)
	}
	v, err := c.it.ValueAndErr()
	if err != nil {
		return nil, errors.Join(d.db.readError(err), c.put(&d.points))
	}
	if cap(d.value) > keepValue && len(v) <= keepValue {
		d.value = nil
	}
	if d.value = append(d.value[:0], v...); d.value == nil {
		d.value = []byte{}
	}
	return d.value, c.put(&d.points)
}

// take takes the idle cursor out of slot, or makes one. Its iterator is nil where it has to be made.
func (d *disk) take(slot *atomic.Pointer[diskCursor]) (*diskCursor, error) {
	c := slot.Swap(nil)
	changes := d.changes.Load() // before the iterator is made: it sees at least these
	if c == nil {
		return &diskCursor{disk: d, changes: changes}, nil
	}
	if c.changes != changes {
		err := c.it.Close()
		c.it, c.changes = nil, changes
		if err != nil {
			return nil, d.db.readError(err)
		}
	}
	return c, nil
}

// make makes the cursor's iterator.
func (c *diskCursor) make(o *pebble.IterOptions) error {
	it, err := c.disk.db.pebble.NewIter(o)
	if err != nil {
		return c.disk.db.readError(err)
	}
	c.it = it
	return nil
}

// put gives the cursor back to slot, and returns the error of its iterator.
func (c *diskCursor) put(slot *atomic.Pointer[diskCursor]) error {
	if err := c.it.Error(); err != nil {
		_ = c.it.Close() // it says the same
		return c.disk.db.readError(err)
	}
	if old := slot.Swap(c); old != nil {
		return c.disk.db.readError(old.it.Close())
	}
	return nil
}

// changed is called after a commit to the base.
func (d *disk) changed() { d.changes.Add(1) }

// release closes the idle iterators.
func (d *disk) release() error {
	var errs []error
	for _, slot := range []*atomic.Pointer[diskCursor]{&d.points, &d.ranges} {
		if c := slot.Swap(nil); c != nil {
			errs = append(errs, c.it.Close())
		}
	}
	return errors.Join(errs...)
}

func (d *disk) close() error { return d.release() }

func (d *disk) cursor(from, to []byte, reverse bool) (cursor, error) {
	c, err := d.take(&d.ranges)
	if err != nil {
		return nil, err
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
	return c, c.make(&pebble.IterOptions{LowerBound: c.lower, UpperBound: c.upper})
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
func (c *diskCursor) close() error { return c.put(&c.disk.ranges) }

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
