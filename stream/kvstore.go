package stream

import (
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// StoreOption says how a table is kept.
type StoreOption interface{ applyStore(*storeOptions) }

type storeOptions struct {
	memory       bool
	cached       int
	emitOnCommit bool
}

type storeOption func(*storeOptions)

func (f storeOption) applyStore(o *storeOptions) { f(o) }

// InMemory keeps a table in memory instead of on disk: for small ones, and where a restart may read the whole
// changelog.
func InMemory() StoreOption { return storeOption(func(o *storeOptions) { o.memory = true }) }

// CacheRows is how many rows of a table, in each task, are held decoded. Default: 10,000
func CacheRows(n int) StoreOption { return storeOption(func(o *storeOptions) { o.cached = n }) }

// EmitOnCommit sends an updated row on once for each commit, with its last value, instead of once for each update:
// what Kafka Streams does where its record cache is on. Default: each update
func EmitOnCommit() StoreOption { return storeOption(func(o *storeOptions) { o.emitOnCommit = true }) }

const defaultCacheRows = 10_000

func storeOptionsOf(opts []StoreOption) storeOptions {
	o := storeOptions{cached: defaultCacheRows}
	for _, opt := range opts {
		opt.applyStore(&o)
	}
	return o
}

func (o storeOptions) spec(name string) task.StoreSpec {
	s := task.StoreSpec{Name: name, Logged: true}
	if o.memory {
		s.Backend = store.Memory
	}
	return s
}

// row is what a table holds for a key.
type row[V any] struct {
	value     V
	timestamp int64
	exists    bool
}

// cached is a row in the cache.
type cached[K comparable, V any] struct {
	key   K
	row   row[V]
	dirty bool
	// sent is what was last sent on, where that waits for the commit.
	sent row[V]
}

// kvStore is the rows of a table in a task: a cache of decoded rows over a store of bytes. Updates stay in the cache
// until the commit, so that a row is encoded once for each. Keys in the store begin with a byte that tells rows from
// what else operators keep there.
type kvStore[K comparable, V any] struct {
	store  *store.Store
	keys   Codec[K]
	values Codec[V]
	limit  int
	rows   map[K]*list.Element
	order  *list.List // of *cached[K, V], the last used first
	dirty  []*cached[K, V]
	key    []byte
	value  []byte
}

// The first bytes of keys.
const (
	prefixMeta byte = 0
	prefixRow  byte = 1
)

const timestampBytes = 8

func newKVStore[K comparable, V any](s *store.Store, keys Codec[K], values Codec[V], limit int) *kvStore[K, V] {
	return &kvStore[K, V]{store: s, keys: keys, values: values, limit: max(1, limit), rows: map[K]*list.Element{}, order: list.New()}
}

// at returns the cached row of a key, reading it if need be. It is valid until the next call.
func (s *kvStore[K, V]) at(k K) (*cached[K, V], error) {
	if e, ok := s.rows[k]; ok {
		s.order.MoveToFront(e)
		return e.Value.(*cached[K, V]), nil
	}
	if err := s.encodeKey(k); err != nil {
		return nil, err
	}
	b, err := s.store.Get(s.key)
	if err != nil {
		return nil, err
	}
	c := &cached[K, V]{key: k}
	if b != nil {
		if c.row, err = s.decode(b); err != nil {
			return nil, err
		}
	}
	c.sent = c.row
	s.rows[k] = s.order.PushFront(c)
	s.evict()
	return c, nil
}

func (s *kvStore[K, V]) encodeKey(k K) (err error) {
	s.key, err = s.keys.Append(append(s.key[:0], prefixRow), k)
	return err
}

func (s *kvStore[K, V]) decode(b []byte) (r row[V], err error) {
	if len(b) < timestampBytes {
		return r, errors.New("a row in the store is too short")
	}
	r.timestamp, r.exists = int64(binary.BigEndian.Uint64(b)), true
	if r.value, err = s.values.Decode(append([]byte(nil), b[timestampBytes:]...)); err != nil {
		return r, fmt.Errorf("a row in the store cannot be decoded: has its codec changed? %w", err)
	}
	return r, nil
}

// evict makes room. Rows that wait for the commit stay.
func (s *kvStore[K, V]) evict() {
	for e := s.order.Back(); e != nil && s.order.Len() > s.limit; {
		c := e.Value.(*cached[K, V])
		if c.dirty {
			return // what was used before it is dirty too, mostly
		}
		prev := e.Prev()
		delete(s.rows, c.key)
		s.order.Remove(e)
		e = prev
	}
}

// get returns the row of a key.
func (s *kvStore[K, V]) get(k K) (row[V], error) {
	c, err := s.at(k)
	if err != nil {
		return row[V]{}, err
	}
	return c.row, nil
}

// mark notes that a row has changed.
func (s *kvStore[K, V]) mark(c *cached[K, V]) {
	if !c.dirty {
		c.dirty = true
		s.dirty = append(s.dirty, c)
	}
}

// flush writes changed rows to the store, in the order in which they changed first, and calls fn for each before.
func (s *kvStore[K, V]) flush(fn func(*cached[K, V]) error) error {
	for i := 0; i < len(s.dirty); i++ { // fn may lead to changes
		c := s.dirty[i]
		if fn != nil {
			if err := fn(c); err != nil {
				return err
			}
		}
		c.dirty, c.sent = false, c.row
		if err := s.write(c); err != nil {
			return err
		}
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	s.evict()
	return nil
}

func (s *kvStore[K, V]) write(c *cached[K, V]) (err error) {
	if err := s.encodeKey(c.key); err != nil {
		return fmt.Errorf("encode the key of a row: %w", err)
	}
	if !c.row.exists {
		return s.store.Delete(s.key)
	}
	s.value = binary.BigEndian.AppendUint64(s.value[:0], uint64(c.row.timestamp))
	if s.value, err = s.values.Append(s.value, c.row.value); err != nil {
		return fmt.Errorf("encode the value of a row: %w", err)
	}
	return s.store.Put(s.key, s.value)
}

// dropNullKey drops the present record for its lack of a key.
func dropNullKey(ctx *task.Context, n *node) {
	ctx.Drop(n.problem(record.StageProcess, classNullKey, "the record has no key"))
}

func isNullable(c any) bool {
	_, ok := c.(nullable)
	return ok
}
