package stream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// row is what a table holds for a key.
type row[V any] struct {
	value     V
	timestamp int64
	exists    bool
}

// cached is a row in the cache. A clean one is in the list of those; a dirty one is in no list.
type cached[K comparable, V any] struct {
	key        K
	row        row[V]
	dirty      bool  // it waits for the flush
	before     int32 // where what was sent last is, of a dirty one that is held back
	size       rowSize
	prev, next *cached[K, V] // next also links those that are free
}

// kvStore is the rows of a table in a task: a cache of decoded rows over a store of bytes. Updates stay in the cache
// until the flush before the commit, so that a row is encoded once for each. Keys in the store begin with a byte that
// tells rows from what else operators keep there.
//
// The cache holds at most limit rows, and in a store that holds updates back also those that wait. What they take is counted
// in the budget of the instance, which may have rows forgotten before there are so many: see [rowSizes].
type kvStore[K comparable, V any] struct {
	name   string // for errors
	store  *store.Store
	keys   Codec[K]
	values Codec[V]
	limit  int
	// hold says that updates are sent on by the flush: rows wait for it however many there are, and what was sent last
	// is kept.
	hold bool
	// gone tells of rows that nobody will read any more, which need not be written. nil is none.
	gone func(K) bool
	// readRow and writeRow read a row from the store, and write it: for rows that are more than one there. length tells how
	// large such a row is then. nil: by the codecs.
	readRow  func(K) (row[V], error)
	writeRow func(*cached[K, V]) error
	// ttl tells which rows are too old, and expired sends their deletion on. nil is none, and nobody.
	ttl     *expiry
	expired func(k K, old, now row[V]) error
	rows    map[K]*cached[K, V]
	clean   cached[K, V]    // the ring of clean rows: next was used last, prev is the first to go
	free    *cached[K, V]   // to be used again
	dirty   []*cached[K, V] // in the order in which they changed first
	before  []row[V]        // what those were; empty unless hold
	showing[K, V]
	key   []byte
	value []byte

	sizes   rowSizes
	lengths lengths[V]
	account *store.Cache
	last    *cached[K, V] // the row that was marked last, whose new value was not measured; nil is none
	kept    int64         // what the rows of before take
	most    int           // rows since the map was made
	pressed bool          // rows have to be flushed to be forgotten
}

// The first bytes of keys.
const (
	prefixMeta byte = iota
	prefixRow
	prefixMember // of a left row, in the store of a join by foreign key
)

const timestampBytes = 8

var errShortRow = errors.New("a row in the store is too short")

// tableRow reads a row from outside.
func tableRow(key, value []byte) (r task.Row, ok bool, err error) {
	switch {
	case len(key) == 0 || key[0] != prefixRow:
		return r, false, nil
	case len(value) < timestampBytes:
		return r, false, errShortRow
	}
	at := int64(binary.BigEndian.Uint64(value))
	return task.Row{Key: key[1:], Value: value[timestampBytes:], Timestamp: at}, true, nil
}

func newKVStore[K comparable, V any](name string, s *store.Store, keys Codec[K], values Codec[V], limit int) *kvStore[K, V] {
	kv := &kvStore[K, V]{name: name, store: s, keys: keys, values: values, limit: max(1, limit), rows: map[K]*cached[K, V]{}}
	kv.clean.next, kv.clean.prev = &kv.clean, &kv.clean
	kv.sizes, kv.lengths = sizesOf[K, V](), lengthsOf(values)
	kv.account = s.NewCache(kv.shrink)
	return kv
}

// at returns the cached row of a key, reading it if need be. It is valid until the next call.
func (s *kvStore[K, V]) at(k K) (*cached[K, V], error) {
	c, ok := s.rows[k]
	if !ok {
		return s.load(k)
	}
	if !c.dirty && s.clean.next != c {
		c.unlink()
		s.link(c)
	}
	return c, nil
}

// load brings a row into the cache.
func (s *kvStore[K, V]) load(k K) (*cached[K, V], error) {
	if s.account.Due() {
		s.account.Settle()
	}
	if !s.hold && (len(s.dirty) >= s.limit || s.pressed) {
		if err := s.flush(nil); err != nil {
			return nil, err
		}
	}
	r, size, err := s.find(k)
	if err != nil {
		return nil, err
	}
	c := s.take()
	c.key, c.row, c.size = k, r, size
	s.account.Add(s.sizes.of(c.size), 0)
	s.rows[k] = c
	s.most = max(s.most, len(s.rows))
	s.link(c)
	s.evict()
	return c, nil
}

// find reads a row from the store.
func (s *kvStore[K, V]) find(k K) (r row[V], size rowSize, err error) {
	if err := s.encodeKey(k); err != nil {
		return r, size, err
	}
	size = sizeOf(s.key, nil)
	if s.readRow != nil {
		r, err = s.readRow(k)
		size.value = uint32(s.lengths.length(&r.value))
		return r, size, err
	}
	b, err := s.store.Get(s.key)
	if err != nil || b == nil {
		return r, size, err
	}
	size = sizeOf(s.key, b)
	r, err = s.decode(b)
	return r, size, err
}

func (s *kvStore[K, V]) encodeKey(k K) (err error) {
	if s.key, err = s.keys.Append(append(s.key[:0], prefixRow), k); err != nil {
		return fmt.Errorf("store %s: encode the key of a row: %w", s.name, err)
	}
	return nil
}

// bytesOf returns a key of the store, which is the caller's.
func (s *kvStore[K, V]) bytesOf(k K) ([]byte, error) {
	err := s.encodeKey(k)
	return append([]byte(nil), s.key...), err
}

func (s *kvStore[K, V]) decode(b []byte) (r row[V], err error) {
	if len(b) < timestampBytes {
		return r, errShortRow
	}
	r.timestamp, r.exists = int64(binary.BigEndian.Uint64(b)), true
	if r.value, err = s.values.Decode(append([]byte(nil), b[timestampBytes:]...)); err != nil {
		return r, fmt.Errorf("store %s: a row cannot be decoded: has its codec changed? Then give the store another name. %w", s.name, err)
	}
	return r, nil
}

// take returns an entry for a row. Each is allocated alone, so that its memory can be given back alone.
func (s *kvStore[K, V]) take() *cached[K, V] {
	if c := s.free; c != nil {
		s.free, c.next = c.next, nil
		return c
	}
	return &cached[K, V]{}
}

// link makes c the clean row that was used last.
func (s *kvStore[K, V]) link(c *cached[K, V]) {
	c.prev, c.next = &s.clean, s.clean.next
	c.next.prev, s.clean.next = c, c
}

func (c *cached[K, V]) unlink() { c.prev.next, c.next.prev = c.next, c.prev }

// forget takes a row that is in no list out of the cache.
func (s *kvStore[K, V]) forget(c *cached[K, V]) {
	s.drop(c)
	*c = cached[K, V]{next: s.free}
	s.free = c
}

// drop is forget without using the entry again.
func (s *kvStore[K, V]) drop(c *cached[K, V]) {
	delete(s.rows, c.key)
	s.account.Add(-s.sizes.of(c.size), 0)
	if s.last == c {
		s.last = nil
	}
}

// evict makes room. Rows that wait for the flush stay, and so does the one that was used last.
func (s *kvStore[K, V]) evict() {
	for len(s.rows) > s.limit {
		c := s.clean.prev
		if c == s.clean.next {
			return
		}
		c.unlink()
		s.forget(c)
	}
}

// get returns the row of a key.
func (s *kvStore[K, V]) get(k K) (row[V], error) {
	c, err := s.at(k)
	switch {
	case err != nil:
		return row[V]{}, err
	case s.view != viewLatest:
		return s.sent(c), nil
	case s.ttl != nil && s.ttl.gone(c.row.timestamp):
		return row[V]{}, nil
	}
	return c.row, nil
}

// sent returns a row as it was sent on.
func (s *kvStore[K, V]) sent(c *cached[K, V]) row[V] {
	switch {
	case s.now.open && s.now.key == c.key:
		if s.view == viewBefore {
			return s.now.old
		}
	case s.hold && c.dirty:
		return s.before[c.before]
	}
	return c.row
}

func (s *kvStore[K, V]) emitsLate() bool { return s.hold || s.ttl != nil }

// send sends the update of a row on.
func (s *kvStore[K, V]) send(next *edge[K, Change[V]], out *Record[K, Change[V]], k K, old, now row[V], timestamp int64) error {
	s.begin(k, old)
	err := sendChange(next, out, k, old, now, timestamp)
	s.end()
	return err
}

// mark notes that a row is about to change.
func (s *kvStore[K, V]) mark(c *cached[K, V]) {
	if s.sizes.values > 0 {
		s.measure()
		s.last = c
	}
	if c.dirty {
		return
	}
	bytes := s.sizes.of(c.size)
	s.account.Add(0, bytes)
	c.unlink()
	c.prev, c.next, c.dirty = nil, nil, true
	s.dirty = append(s.dirty, c)
	if s.hold {
		c.before = int32(len(s.before))
		s.before = append(s.before, c.row)
		s.kept += bytes
		s.account.Add(bytes, bytes)
	}
}

// flush writes changed rows to the store, in the order in which they changed first. In a store that holds updates back
// it calls fn for each of them before, with what was sent last.
func (s *kvStore[K, V]) flush(fn func(c *cached[K, V], sent row[V]) error) error {
	s.account.Settle() // the stores need room for what is written
	s.last, s.pressed = nil, false
	for i, c := range s.dirty {
		if fn != nil {
			if err := fn(c, s.before[i]); err != nil {
				return err
			}
		}
		c.dirty = false
		s.account.Add(0, -s.sizes.of(c.size))
		if s.gone != nil && s.gone(c.key) {
			s.forget(c)
			continue
		}
		if err := s.write(c); err != nil {
			return err
		}
		s.link(c)
	}
	clear(s.dirty)
	clear(s.before)
	s.dirty, s.before = s.dirty[:0], s.before[:0]
	s.account.Add(-s.kept, -s.kept)
	s.kept = 0
	s.evict()
	return nil
}

func (s *kvStore[K, V]) write(c *cached[K, V]) (err error) {
	if s.writeRow != nil {
		err := s.writeRow(c)
		s.resize(c, s.lengths.length(&c.row.value))
		return err
	}
	if err := s.encodeKey(c.key); err != nil {
		return err
	}
	if !c.row.exists {
		s.resize(c, 0)
		return s.store.Delete(s.key)
	}
	s.value = binary.BigEndian.AppendUint64(s.value[:0], uint64(c.row.timestamp))
	if s.value, err = s.values.Append(s.value, c.row.value); err != nil {
		return fmt.Errorf("store %s: encode the value of a row: %w", s.name, err)
	}
	s.resize(c, len(s.value)-timestampBytes)
	return s.store.Put(s.key, s.value)
}

// scan calls fn with the rows whose keys lie, as bytes, from from to before to.
func (s *kvStore[K, V]) scan(from, to []byte, fn func(K, row[V]) (bool, error)) error {
	if err := s.flush(nil); err != nil {
		return err
	}
	return s.store.Scan(from, to, func(key, value []byte) (bool, error) {
		k, err := s.keys.Decode(append([]byte(nil), key[1:]...))
		if err != nil {
			return false, fmt.Errorf("store %s: the key of a row cannot be decoded: has its codec changed? Then give the store another name. %w", s.name, err)
		}
		r, err := s.decode(value)
		if err != nil {
			return false, err
		}
		if s.ttl != nil && s.ttl.gone(r.timestamp) {
			return true, nil
		}
		return fn(k, r)
	})
}

// uncommitted returns how many rows wait for the flush.
func (s *kvStore[K, V]) uncommitted() int { return len(s.dirty) }

// dropNullKey drops the present record for its lack of a key.
func dropNullKey(ctx *task.Context, n *node) {
	ctx.Drop(n.problem(record.StageProcess, classNullKey, "the record has no key"))
}

func isNullable(c any) bool {
	_, ok := c.(nullable)
	return ok
}
