package stream

import (
	"encoding/binary"
	"math"

	"millrace.dev/internal/task"
)

// windowRows is the rows of windows in a task, and what their operator remembers beside them, so that it decides alike
// after a crash or in another instance: the stream time, which windows are closed, and which is the newest.
//
// In the store the time comes first in keys: windows close in a scan, and expire by deleting a range.
type windowRows[K comparable, A any] struct {
	rows      *kvStore[Windowed[K], A]
	size      int64 // milliseconds, as all that follows
	every     int64 // the advance
	grace     int64
	retention int64
	onClose   bool // rows are emitted when their window closes
	forever   bool // none is lost before, however long that takes: neither from the store nor from the changelog

	time   int64 // the stream time
	limit  int64 // windows that end up to this take no more records; none ends at 0
	closed int64 // windows that end up to this have been closed: emitted, if they are emitted on close
	newest int64 // the start of the newest window

	expired int64 // windows that start before were deleted
	touched bool  // rows or times have changed since they were written
	meta    *meta // time, closed and newest in the store
}

// never is before all times.
const never int64 = math.MinInt64

// timeFirst is the codec of windows' keys in a store: the start and the key. The end follows from the size.
type timeFirst[K any] struct {
	of   Codec[K]
	size int64
}

// Append appends start and key.
func (c timeFirst[K]) Append(dst []byte, k Windowed[K]) ([]byte, error) {
	return c.of.Append(appendTime(dst, k.Start), k.Key)
}

// Decode reads what Append has written.
func (c timeFirst[K]) Decode(b []byte) (k Windowed[K], err error) {
	if len(b) < timeBytes {
		return k, errShortKey
	}
	k.Start = timeOf(b)
	k.End = k.Start + c.size
	k.Key, err = c.of.Decode(b[timeBytes:])
	return k, err
}

// windowRow reads a row of windows from outside.
func windowRow(size int64) func(key, value []byte) (task.Row, bool, error) {
	return func(key, value []byte) (r task.Row, ok bool, err error) {
		if r, ok, err = tableRow(key, value); !ok {
			return r, ok, err
		}
		if len(r.Key) < timeBytes {
			return r, false, errShortRow
		}
		start := timeOf(r.Key)
		key = binary.BigEndian.AppendUint64(make([]byte, 0, windowBytes+len(r.Key)), uint64(start))
		key = binary.BigEndian.AppendUint64(key, uint64(start+size))
		r.Key = append(key, r.Key[timeBytes:]...)
		return r, true, nil
	}
}

// startKey returns the first key in the store of the windows that start at a time.
func startKey(start int64) []byte { return appendTime([]byte{prefixRow}, start) }

// windowRowsOf returns the windows of a node in a task.
func windowRowsOf[K comparable, A any](b *builder, n *node, keys Codec[K], values Codec[A], w TimeWindows, o windowOptions) *windowRows[K, A] {
	key := storeKey{n, n.stores[0].Name}
	if s, ok := b.stores[key].(*windowRows[K, A]); ok {
		return s
	}
	s := &windowRows[K, A]{
		size: w.size.Milliseconds(), every: w.advance.Milliseconds(), grace: w.grace.Milliseconds(),
		retention: o.retentionOf(w).Milliseconds(),
		onClose:   o.emitOnClose, forever: o.forever(),
		time: task.NoTime, newest: never, expired: never,
	}
	s.rows = newKVStore(key.name, b.ctx.Store(key.name), Codec[Windowed[K]](timeFirst[K]{keys, s.size}), values, o.cached)
	s.rows.hold = o.emitOnCommit
	s.rows.gone = func(k Windowed[K]) bool { return k.Start < s.floor(s.newest) }
	b.stores[key] = s
	return s
}

// first returns the start of the oldest window with a time in it.
func (s *windowRows[K, A]) first(t int64) int64 {
	from := max(0, t-s.size+s.every)
	return from - from%s.every
}

// advance moves stream time on.
func (s *windowRows[K, A]) advance(t int64) {
	if t > s.time {
		s.time = t
		s.limit = max(s.closed, t-s.grace)
	}
}

// lastClosed returns the number of the last window that ends up to a time, -1 if none does.
func (s *windowRows[K, A]) lastClosed(end int64) int64 {
	if end < s.size {
		return -1
	}
	return (end - s.size) / s.every
}

// floor returns where the windows begin that are kept when newest is the start of the newest one. Kafka Streams keeps a
// millisecond more where windows are emitted on close.
func (s *windowRows[K, A]) floor(newest int64) int64 {
	return floorOf(newest, s.retention, s.onClose)
}

func floorOf(newest, retention int64, onClose bool) int64 {
	switch {
	case newest == never:
		return never
	case onClose:
		return newest - retention
	default:
		return newest - retention + 1
	}
}

// get returns the row of a key and window, for look-ups.
func (s *windowRows[K, A]) get(k Windowed[K]) (row[A], error) {
	if k.End != k.Start+s.size || k.Start < s.floor(s.newest) {
		return row[A]{}, nil
	}
	return s.rows.get(k)
}

// between calls fn with the rows of the windows that start from from up to and including to.
func (s *windowRows[K, A]) between(from, to int64, fn func(Windowed[K], row[A]) (bool, error)) error {
	return s.rows.scan(startKey(max(0, from)), startKey(to+1), fn)
}

// Uncommitted returns how many rows wait for the flush.
func (s *windowRows[K, A]) Uncommitted() int { return s.rows.uncommitted() }

// keep deletes the rows that have expired, and writes down what the operator has to remember, whenever it has written
// rows: where a changelog loses its oldest records, what is remembered outlives the rows.
func (s *windowRows[K, A]) keep() error {
	if !s.touched {
		return nil
	}
	s.touched = false
	if floor := s.floor(s.newest); floor > s.expired {
		if err := s.expire(startKey(s.expired), startKey(floor)); err != nil {
			return err
		}
		s.expired = floor
	}
	return s.meta.write()
}

// expire deletes rows. The changelog is told only where it has no retention.
func (s *windowRows[K, A]) expire(from, to []byte) error {
	st := s.rows.store
	if !s.forever {
		return st.DeleteRange(from, to)
	}
	return st.Scan(from, to, func(k, _ []byte) (bool, error) { return true, st.Delete(k) })
}

// remember reads what keep has written.
func (s *windowRows[K, A]) remember() (err error) {
	if s.meta, err = newMeta(s.rows.store, metaOperator, &s.time, &s.closed, &s.newest); err == nil && s.time != task.NoTime {
		s.limit = max(s.closed, s.time-s.grace)
	}
	return err
}
