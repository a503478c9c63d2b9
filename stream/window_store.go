package stream

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// windowTimes is what an operator of windows remembers beside their rows, so that it decides alike after a crash or in
// another instance: the stream time, which windows are closed, and which is the newest.
type windowTimes struct {
	grace     int64 // milliseconds, as all that follows
	retention int64
	onClose   bool // rows are emitted when their window closes
	forever   bool // none is lost before, however long that takes: neither from the store nor from the changelog

	time   int64 // the stream time
	limit  int64 // windows that end before take no more records, and of [TimeWindows] those that end then
	closed int64 // the limit up to which windows have been closed: emitted, if they are emitted on close
	newest int64 // the start of the newest window

	touched bool  // rows or times have changed since they were written
	meta    *meta // time, closed and newest in the store
	shape   *meta // how long windows are in the store, and how far apart they begin
}

// windowTimesOf returns the times of windows that have seen no record.
func windowTimesOf(w Windows, o *windowOptions) windowTimes {
	_, grace := w.times()
	return windowTimes{
		grace: grace.Milliseconds(), retention: o.retentionOf(w).Milliseconds(),
		onClose: o.emitOnClose, forever: o.forever(),
		time: task.NoTime, newest: never,
	}
}

// advance moves stream time on.
func (s *windowTimes) advance(t int64) {
	if t > s.time {
		s.time = t
		s.limit = max(s.closed, t-s.grace)
	}
}

// resume reads what was remembered, and has the task go on from there.
func (s *windowTimes) resume(ctx *task.Context, n *node, of *store.Store) (err error) {
	if s.meta, err = newMeta(of, metaOperator, &s.time, &s.closed, &s.newest); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	if s.time != task.NoTime {
		s.limit = max(s.closed, s.time-s.grace)
		ctx.Resume(s.time)
	}
	return nil
}

// checkShape returns an error if the windows in the store are others than those that are declared: of a row there is no more than
// the start.
func (s *windowTimes) checkShape(n *node, of *store.Store, size, every int64) (err error) {
	var wasSize, wasEvery int64
	if s.shape, err = newMeta(of, metaShape, &wasSize, &wasEvery); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	if was := [2]int64{wasSize, wasEvery}; was != [2]int64{} && was != [2]int64{size, every} {
		ms := func(t int64) time.Duration { return time.Duration(t) * time.Millisecond }
		return fmt.Errorf("%s: the windows in its store take %v and begin every %v, those declared take %v and begin every %v: give the aggregation another name, and it begins anew",
			n.name, ms(wasSize), ms(wasEvery), ms(size), ms(every))
	}
	wasSize, wasEvery = size, every
	return s.shape.flush()
}

// windowRows is the rows of time windows in a task.
//
// In the store the time comes first in keys: windows close in a scan, and expire by deleting a range.
type windowRows[K comparable, A any] struct {
	windowTimes
	rows  *kvStore[Windowed[K], A]
	size  int64 // milliseconds
	every int64 // the advance

	expired int64 // windows that start before were deleted
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
func windowRowsOf[K comparable, A any](b *builder, d *windowState[K, A], w TimeWindows) *windowRows[K, A] {
	key := storeKey{d.n, d.n.stores[0].Name}
	if s, ok := b.stores[key].(*windowRows[K, A]); ok {
		return s
	}
	s := &windowRows[K, A]{
		windowTimes: windowTimesOf(w, &d.o),
		size:        w.size.Milliseconds(), every: w.advance.Milliseconds(), expired: never,
	}
	s.rows = newKVStore(key.name, b.ctx.Store(key.name), Codec[Windowed[K]](timeFirst[K]{d.keys, s.size}), d.values, d.o.cached)
	s.rows.hold = d.o.emitOnCommit
	s.rows.gone = func(k Windowed[K]) bool { return k.Start < s.floor(s.newest) }
	b.stores[key] = s
	return s
}

// first returns the start of the oldest window with a time in it.
func (s *windowRows[K, A]) first(t int64) int64 {
	from := max(0, t-s.size+s.every)
	return from - from%s.every
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
	if s.onClose && s.rows.view != viewLatest && k.End > s.closed {
		return row[A]{}, nil
	}
	return s.rows.get(k)
}

func (s *windowRows[K, A]) sending(k Windowed[K]) uint64 { return s.rows.sending(k) }
func (s *windowRows[K, A]) show(v view) view             { return s.rows.show(v) }
func (s *windowRows[K, A]) emitsLate() bool              { return s.onClose || s.rows.hold }
func (s *windowRows[K, A]) note()                        { s.rows.note() }

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
		if err := s.shape.write(); err != nil { // or a changelog that forgets by time would lose it
			return err
		}
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
