package stream

import (
	"encoding/binary"
	"errors"
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
	strict    bool // they expire even if they were not emitted yet

	time   int64 // the stream time
	limit  int64 // windows that end up to this take no more records; none ends at 0
	closed int64 // windows that end up to this have been closed: emitted, if they are emitted on close
	newest int64 // the start of the newest window

	expired int64  // windows that start before were deleted
	touched bool   // rows or times have changed since they were written
	memory  []byte // for keep
}

// windowsKey is where a store of windows keeps its times, in eight bytes each, big-endian: time, closed and newest.
const windowsKey = string(rune(prefixMeta)) + "w"

const memoryBytes = 24

// never is before all times.
const never int64 = math.MinInt64

// timeFirst is the codec of windows' keys in a store: the start in eight bytes that order as it does, and the key. The
// end follows from the size.
type timeFirst[K any] struct {
	of   Codec[K]
	size int64
}

const startBytes = 8

func appendStart(dst []byte, start int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(start)^1<<63)
}

// Append appends start and key.
func (c timeFirst[K]) Append(dst []byte, k Windowed[K]) ([]byte, error) {
	return c.of.Append(appendStart(dst, k.Start), k.Key)
}

// Decode reads what Append has written.
func (c timeFirst[K]) Decode(b []byte) (k Windowed[K], err error) {
	if len(b) < startBytes {
		return k, errors.New("too short for the key of a window")
	}
	k.Start = int64(binary.BigEndian.Uint64(b) ^ 1<<63)
	k.End = k.Start + c.size
	k.Key, err = c.of.Decode(b[startBytes:])
	return k, err
}

// windowRow reads a row of windows from outside.
func windowRow(size int64) func(key, value []byte) (task.Row, bool, error) {
	return func(key, value []byte) (r task.Row, ok bool, err error) {
		if r, ok, err = tableRow(key, value); !ok {
			return r, ok, err
		}
		if len(r.Key) < startBytes {
			return r, false, errShortRow
		}
		start := int64(binary.BigEndian.Uint64(r.Key) ^ 1<<63)
		key = binary.BigEndian.AppendUint64(make([]byte, 0, windowBytes+len(r.Key)), uint64(start))
		key = binary.BigEndian.AppendUint64(key, uint64(start+size))
		r.Key = append(key, r.Key[startBytes:]...)
		return r, true, nil
	}
}

// startKey returns the first key in the store of the windows that start at a time.
func startKey(start int64) []byte { return appendStart([]byte{prefixRow}, start) }

// windowRowsOf returns the windows of a node in a task.
func windowRowsOf[K comparable, A any](b *builder, n *node, keys Codec[K], values Codec[A], w TimeWindows, o windowOptions) *windowRows[K, A] {
	key := storeKey{n, n.stores[0].Name}
	if s, ok := b.stores[key]; ok {
		return s.(*windowRows[K, A])
	}
	s := &windowRows[K, A]{
		size: w.size.Milliseconds(), every: w.advance.Milliseconds(), grace: w.grace.Milliseconds(),
		retention: n.stores[0].Retention.Milliseconds(),
		onClose:   o.emitOnClose, strict: o.retention > 0,
		time: task.NoTime, newest: never, expired: never,
	}
	s.rows = newKVStore(b.ctx.Store(key.name), Codec[Windowed[K]](timeFirst[K]{keys, s.size}), values, o.cached)
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
	switch {
	case newest == never:
		return never
	case s.onClose:
		return newest - s.retention
	default:
		return newest - s.retention + 1
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
		if err := s.rows.store.DeleteRange(startKey(s.expired), startKey(floor)); err != nil {
			return err
		}
		s.expired = floor
	}
	s.memory = s.memory[:0]
	for _, v := range [...]int64{s.time, s.closed, s.newest} {
		s.memory = binary.BigEndian.AppendUint64(s.memory, uint64(v))
	}
	return s.rows.store.Put([]byte(windowsKey), s.memory)
}

// remember reads what keep has written.
func (s *windowRows[K, A]) remember() error {
	b, err := s.rows.store.Get([]byte(windowsKey))
	switch {
	case err != nil:
		return err
	case b == nil:
		return nil
	case len(b) != memoryBytes:
		return errors.New("the times of windows in the store have another length: was it written by a newer version?")
	}
	for i, v := range [...]*int64{&s.time, &s.closed, &s.newest} {
		*v = int64(binary.BigEndian.Uint64(b[8*i:]))
	}
	s.limit = max(s.closed, s.time-s.grace)
	return nil
}
