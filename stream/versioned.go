package stream

import (
	"math"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

type versionedOption time.Duration

func (versionedOption) tableOption() {}

// Versioned keeps not only the latest value of each key, but also those before, with the times from when and until when
// they were valid. An update that comes out of order goes to its place in the past, and is not sent on; one that is
// older than history, as stream time goes, is dropped. [JoinTable] with such a table finds for each record the value
// that was valid at its time.
//
// A value can be found for history after it was replaced, which is whole milliseconds, and at most 90 years; the latest one always. It is for [TableFrom] and [ToTable], and
// cannot be combined with [EmitOnCommit]. Default: only the latest value is kept, and an update that comes out of order
// replaces it.
func Versioned(history time.Duration) TableOption { return versionedOption(history) }

// tableOptions sorts options.
func tableOptions(opts []TableOption) (sources []SourceOption, stores []StoreOption, history time.Duration, versioned bool) {
	each(opts, func(o TableOption) {
		if s, ok := o.(SourceOption); ok {
			sources = append(sources, s)
		}
		if s, ok := o.(StoreOption); ok {
			stores = append(stores, s)
		}
		if v, ok := o.(versionedOption); ok {
			history, versioned = time.Duration(v), true
		}
	})
	return sources, stores, history, versioned
}

// versionedTable declares a table with history.
func versionedTable[K comparable, V any](s Stream[K, V], kind, name string, opts []StoreOption, history time.Duration) Table[K, V] {
	t, o := s.n.topology(), storeOptionsOf(opts)
	switch {
	case history < time.Millisecond:
		t.fail(kind, "a history of %v: want a millisecond at least", history)
	case o.emitOnCommit:
		t.fail(kind, "EmitOnCommit would lose versions: a versioned table sends each update on")
	}
	t.checkSpan(kind, "history", history)
	n := t.addStateful(kind, name, s.n)
	n.store(lookedUp(o.table(name), s.keys, s.values))
	rows := func(b *builder) *versionedRows[K, V] {
		key := storeKey{n, name + " in the past"} // which is not the name of a store
		if v, ok := b.stores[key].(*versionedRows[K, V]); ok {
			return v
		}
		v := &versionedRows[K, V]{
			latest: kvOf(b, n, s.keys, s.values, o), keys: s.keys, values: s.values,
			history: history.Milliseconds(), observed: task.NoTime,
		}
		b.stores[key] = v
		return v
	}
	n.build = func(b *builder) []any {
		p := &versionedNode[K, V]{ctx: b.ctx, n: n, isNull: nullOf(s.values), rows: rows(b), next: next[K, Change[V]](b, n)}
		b.lives(n, p)
		return []any{p}
	}
	return Table[K, V]{
		n: n, keys: s.keys, values: s.values, from: []*node{n}, history: history,
		getter: func(b *builder) getter[K, V] { return rows(b) },
		past:   func(b *builder) historian[K, V] { return rows(b) },
	}
}

// prefixPast begins the keys of values of the past, beside the latest ones.
const prefixPast byte = 2

// versionedNode keeps the rows of a versioned table.
type versionedNode[K comparable, V any] struct {
	ctx    *task.Context
	n      *node
	isNull func(V) bool // nil: no value is null
	rows   *versionedRows[K, V]
	next   edge[K, Change[V]]
	out    Record[K, Change[V]]
}

func (t *versionedNode[K, V]) open() error {
	if err := t.rows.open(t.ctx.Store(t.n.stores[0].Name)); err != nil {
		return err
	}
	t.ctx.Resume(t.rows.observed)
	return nil
}

// Flush writes the latest values to their store.
func (t *versionedNode[K, V]) Flush() error {
	if err := t.rows.meta.flush(); err != nil {
		return err
	}
	return t.rows.latest.flush(nil)
}

// Uncommitted returns how many rows wait for Flush.
func (t *versionedNode[K, V]) Uncommitted() int { return t.rows.latest.uncommitted() }

func (t *versionedNode[K, V]) process(r *Record[K, V]) error {
	if r.NullKey {
		dropNullKey(t.ctx, t.n)
		return nil
	}
	if t.rows.late(r.Timestamp) {
		t.ctx.Drop(t.n.problem(record.StageProcess, classLate, "the update is older than the history"))
		return nil
	}
	now := rowOf(r, t.isNull)
	old, stale, err := t.rows.update(r.Key, now)
	if err != nil {
		return err
	}
	t.out.Headers = r.Headers
	if !stale {
		return t.rows.latest.send(&t.next, &t.out, r.Key, old, now, r.Timestamp)
	}
	t.out.Key, t.out.Timestamp = r.Key, r.Timestamp
	t.out.Value = Change[V]{New: now.value, HasNew: now.exists, Stale: true}
	return t.next.send(&t.out)
}

// versionedRows is the latest row of each key, and those before.
//
// A row of the past has the time from when it was valid, and lies in the segment of the time until when it was. Both are
// in one store, whose changelog cannot forget by time: it has the latest rows. A
// deletion is a row of the past too, in the segment of its own time: nobody looks for it to be found, but an older
// update must not become the latest row, nor be valid for longer than up to it.
type versionedRows[K comparable, V any] struct {
	latest   *kvStore[K, V]
	past     segments
	keys     Codec[K]
	values   Codec[V]
	history  int64
	observed int64 // the highest time of an update
	meta     *meta
	key      segmentKey
	memory   []byte // for the key
	value    []byte
	row      []byte
}

func (s *versionedRows[K, V]) open(st *store.Store) (err error) {
	if s.meta, err = newMeta(st, metaOperator, &s.observed); err != nil {
		return err
	}
	s.past = segments{store: st, prefix: prefixPast, told: true}
	err = s.past.open(s.history, func(_, value []byte) (int64, error) {
		v, err := versionOf(0, value)
		return v.until, err
	})
	if err != nil || s.observed == task.NoTime {
		return err
	}
	return s.past.expire(s.observed - s.history)
}

// late tells whether an update is too old.
func (s *versionedRows[K, V]) late(t int64) bool {
	return s.observed != task.NoTime && t < s.observed-s.history
}

// get returns the latest row.
func (s *versionedRows[K, V]) get(k K) (row[V], error) { return s.latest.get(k) }

// getAsOf returns the row that was valid at a time.
func (s *versionedRows[K, V]) getAsOf(k K, t int64) (row[V], error) {
	c, err := s.latest.at(k)
	if err != nil {
		return row[V]{}, err
	}
	if c.row.exists && c.row.timestamp <= t {
		return c.row, nil
	}
	if s.late(t) || len(s.past.live) == 0 {
		return row[V]{}, nil
	}
	if err := s.setKey(k); err != nil {
		return row[V]{}, err
	}
	for n := max(s.past.first, s.past.number(t)); n <= s.past.last(); n++ {
		v, ok, err := s.before(n, t)
		if err != nil {
			return row[V]{}, err
		}
		if ok && !v.deleted && t < v.until {
			value, err := decodeKept(s.values, v.value)
			return row[V]{value: value, timestamp: v.from, exists: true}, err
		}
	}
	return row[V]{}, nil
}

func (s *versionedRows[K, V]) setKey(k K) error {
	b, memory, err := encode(s.keys, s.memory, k, false)
	s.memory = memory
	s.key.set(b)
	return err
}

// update takes over an update. It returns the row that was the latest before, and whether that still is.
func (s *versionedRows[K, V]) update(k K, now row[V]) (old row[V], stale bool, err error) {
	if now.timestamp > s.observed {
		s.observed = now.timestamp
		if err := s.past.expire(s.observed - s.history); err != nil {
			return old, false, err
		}
	}
	c, err := s.latest.at(k)
	if err != nil {
		return old, false, err
	}
	old = c.row
	if err := s.setKey(k); err != nil {
		return old, false, err
	}
	switch {
	case old.exists && old.timestamp < now.timestamp:
		if err := s.archive(old, now.timestamp); err != nil {
			return old, false, err
		}
	case !old.exists || old.timestamp > now.timestamp:
		if stale, err = s.insert(old, now); err != nil || stale {
			return old, stale, err
		}
	}
	s.latest.mark(c)
	if c.row = now; !now.exists {
		c.row = row[V]{}
		return old, false, s.putDeletion(now.timestamp)
	}
	return old, false, nil
}

// insert puts an update into the past of the present key. It returns false if there is no later update: it is to become
// the latest row.
func (s *versionedRows[K, V]) insert(latest, now row[V]) (stale bool, err error) {
	next := int64(math.MaxInt64)
	if latest.exists {
		next = latest.timestamp
	}
	for n := max(s.past.first, s.past.number(now.timestamp)); n <= s.past.last(); n++ {
		v, ok, err := s.before(n, now.timestamp)
		if err != nil {
			return false, err
		}
		if ok && (v.from == now.timestamp || !v.deleted && now.timestamp < v.until) {
			if err := s.cut(v, now.timestamp); err != nil {
				return false, err
			}
		}
		from, ok, err := s.after(n, now.timestamp)
		if err != nil {
			return false, err
		}
		if ok {
			next = min(next, from)
		}
	}
	switch {
	case next == math.MaxInt64:
		return false, nil
	case now.exists:
		return true, s.archive(now, next)
	default:
		return true, s.putDeletion(now.timestamp)
	}
}

// cut ends a row of the past at a time, or removes it if it begins then.
func (s *versionedRows[K, V]) cut(v version, at int64) error {
	if err := s.past.delete(v.until, &s.key, v.from, 0); err != nil || v.from == at {
		return err
	}
	v.until = at
	return s.putVersion(v)
}

// archive puts a row of the present key into the past.
func (s *versionedRows[K, V]) archive(r row[V], until int64) (err error) {
	var value []byte
	if value, s.value, err = encode(s.values, s.value, r.value, false); err != nil {
		return err
	}
	return s.putVersion(version{from: r.timestamp, until: until, value: value})
}

func (s *versionedRows[K, V]) putDeletion(at int64) error {
	return s.putVersion(version{from: at, until: at, deleted: true})
}

// version is a row of the past.
type version struct {
	from    int64 // when it became valid
	until   int64 // when it ended; of a deletion the same
	deleted bool
	value   []byte // encoded; nil is null
}

const (
	versionNull byte = 1 << iota
	versionDeleted
)

func (s *versionedRows[K, V]) putVersion(v version) error {
	var flags byte
	if v.value == nil {
		flags |= versionNull
	}
	if v.deleted {
		flags |= versionDeleted
	}
	s.row = append(appendTime(append(s.row[:0], flags), v.until), v.value...)
	return s.past.put(v.until, &s.key, v.from, 0, s.row)
}

// versionOf reads a row of the past. The result refers to it.
func versionOf(from int64, b []byte) (v version, err error) {
	if len(b) < 1+timeBytes {
		return v, errHeld
	}
	v = version{from: from, until: timeOf(b[1:]), deleted: b[0]&versionDeleted != 0}
	if b[0]&versionNull == 0 {
		v.value = b[1+timeBytes:]
	}
	return v, nil
}

// before returns the last row of the present key in a segment that began at a time or before. The slice is the
// caller's.
func (s *versionedRows[K, V]) before(n, t int64) (v version, ok bool, err error) {
	if !s.past.mayHave(n, &s.key, math.MinInt64, t) {
		return v, false, nil
	}
	err = s.past.scanReverse(n, &s.key, math.MinInt64, t, func(key, value []byte) (bool, error) {
		from, _, err := rowTimes(key)
		if err != nil {
			return false, err
		}
		v, err = versionOf(from, append(make([]byte, 0, len(value)), value...))
		ok = true
		return false, err
	})
	return v, ok, err
}

// after returns when the first row of the present key in a segment began that began after a time.
func (s *versionedRows[K, V]) after(n, t int64) (from int64, ok bool, err error) {
	if !s.past.mayHave(n, &s.key, t+1, math.MaxInt64) {
		return 0, false, nil
	}
	err = s.past.scan(n, &s.key, t+1, math.MaxInt64, func(key, _ []byte) (bool, error) {
		from, _, err = rowTimes(key)
		ok = true
		return false, err
	})
	return from, ok, err
}

func (f *filterTable[K, V]) getAsOf(k K, t int64) (row[V], error) {
	r, err := f.past.getAsOf(k, t)
	return f.kept(k, r), err
}

func (m *mapTable[K, V, V2]) getAsOf(k K, t int64) (row[V2], error) {
	r, err := m.past.getAsOf(k, t)
	return m.mapped(k, r), err
}
