package stream

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"millrace.dev/internal/task"
)

// sessionRows is the rows of sessions in a task, and what their operator remembers beside them, so that it decides alike
// after a crash or in another instance: the stream time, and which sessions are closed.
//
// In the store rows lie by segments of the ends, and in these by key, end and start: those of a key that end after a time
// are a short scan, and what has expired is a range. Where sessions are emitted on close, an index of keys by time tells
// which have a session that closes. In memory the sessions of a key that are not closed are together.
type sessionRows[K comparable, A any] struct {
	rows      *kvStore[K, sessionsOf[A]]
	segments  segments
	index     closing
	keys      Codec[K]
	values    Codec[A]
	gap       int64 // milliseconds, as all that follows
	closes    int64 // after the end of a session: the gap and the grace
	retention int64
	onClose   bool // rows are emitted when their session closes, and kept until then

	time    int64 // the stream time
	limit   int64 // sessions that end before are closed
	closed  int64 // the limit up to which that was done: they are emitted, if they are emitted on close
	indexed int64 // 1: the index has all keys with sessions that are not closed
	touched bool  // rows or times have changed since they were written
	waiting int   // sessions that have changed since they were written
	meta    *meta // time, limit and indexed in the store

	lengths lengths[A]
	name    string // for errors
	key     []byte
	ref     segmentKey
	value   []byte
	due     []session[A] // those that close
	numbers []int64      // of segments
}

// session is a session of a key.
type session[A any] struct {
	start, end int64
	value      A
	kept       bool   // the store has it so
	size       uint32 // how long the value is, encoded, as far as that is known
}

func (s *session[A]) row() row[A] { return row[A]{value: s.value, timestamp: s.end, exists: true} }

// same tells whether the bounds are the same.
func (s *session[A]) same(as *session[A]) bool { return s.start == as.start && s.end == as.end }

// sessionsOf is what is in memory of the sessions of a key.
type sessionsOf[A any] struct {
	open   []session[A] // by end and start: those that are not closed, and closed ones that were not written yet
	was    []session[A] // by the same: what the store has, and what has been sent, of sessions that have changed since
	due    int64        // the index has the key at this time, or before; math.MaxInt64: it may not have it
	values int          // what the values of both have outside of them
}

// find returns the bounds of the session that a record makes, and which of those that end after limit it joins.
func (o *sessionsOf[A]) find(t, gap, limit int64) (now session[A], i, j int) {
	now = session[A]{start: t, end: t}
	if j = len(o.open); j > 0 && o.open[j-1].start > t+gap {
		j, _ = slices.BinarySearchFunc(o.open, t+gap+1, func(s session[A], t int64) int { return cmp.Compare(s.start, t) })
	}
	for i = j; i > 0; i-- {
		s := &o.open[i-1]
		if s.end < t-gap || s.end <= limit {
			break
		}
		now.start, now.end = min(now.start, s.start), max(now.end, s.end)
	}
	return now, i, j
}

// placeOf returns the place of a session with the bounds of s in a list, and whether there is one.
func placeOf[A any](list []session[A], s *session[A]) (int, bool) {
	return slices.BinarySearchFunc(list, s, func(x session[A], s *session[A]) int {
		return cmp.Or(cmp.Compare(x.end, s.end), cmp.Compare(x.start, s.start))
	})
}

func has[A any](list []session[A], s *session[A]) bool {
	_, ok := placeOf(list, s)
	return ok
}

// sessionRow reads a row of sessions from outside.
func sessionRow(key, value []byte) (r task.Row, ok bool, err error) {
	if len(key) == 0 || key[0] != prefixRow {
		return r, false, nil
	}
	end, start, err := rowTimes(key)
	if err != nil {
		return r, false, err
	}
	k, _, err := cutKeyRef(key[1+timeBytes:])
	if err != nil {
		return r, false, err
	}
	r.Key = binary.BigEndian.AppendUint64(make([]byte, 0, windowBytes+len(k)), uint64(start))
	r.Key = append(binary.BigEndian.AppendUint64(r.Key, uint64(end)), k...)
	r.Value, r.Timestamp = value, end
	return r, true, nil
}

// sessionRowsOf returns the sessions of a node in a task.
func sessionRowsOf[K comparable, A any](b *builder, n *node, keys Codec[K], values Codec[A], w SessionWindows, o windowOptions) *sessionRows[K, A] {
	key := storeKey{n, n.stores[0].Name}
	if s, ok := b.stores[key].(*sessionRows[K, A]); ok {
		return s
	}
	st := b.ctx.Store(key.name)
	s := &sessionRows[K, A]{
		name: key.name, keys: keys, values: values,
		segments: segments{store: st, prefix: prefixRow, told: o.emitOnClose},
		index:    closing{store: st},
		gap:      w.gap.Milliseconds(), closes: (w.gap + w.grace).Milliseconds(), retention: max(o.retention, w.gap+w.grace).Milliseconds(),
		onClose: o.emitOnClose, time: task.NoTime, limit: never, closed: never,
		value: []byte{}, // never nil, which would delete
	}
	s.rows = newKVStore[K, sessionsOf[A]](key.name, st, keys, nil, o.cached)
	s.rows.hold = o.emitOnCommit
	s.rows.readRow, s.rows.writeRow = s.read, s.put
	s.lengths = lengthsOf(values)
	s.rows.sizes.values, s.rows.lengths.length = 1, s.bytes
	b.stores[key] = s
	return s
}

// bytes returns what the sessions of a key take.
func (s *sessionRows[K, A]) bytes(o *sessionsOf[A]) int {
	return (cap(o.open)+cap(o.was))*sizeOfType[session[A]]() + o.values
}

// outside returns what the value of a session has outside of it.
func (s *sessionRows[K, A]) outside(x *session[A]) int {
	if s.lengths.perByte == 0 {
		return 0
	}
	return pieceBytes + int(s.lengths.perByte)*int(x.size)
}

// forget takes the first n sessions of a key out of memory.
func (s *sessionRows[K, A]) forget(of *sessionsOf[A], n int) {
	for i := range n {
		of.values -= s.outside(&of.open[i])
	}
	clear(of.open[:n])
	of.open = of.open[n:] // not moved: there may be very many
}

// advance moves stream time on.
func (s *sessionRows[K, A]) advance(t int64) {
	if t > s.time {
		s.time = t
		s.limit = max(s.limit, t-s.closes)
	}
}

// floor returns where the ends begin of the rows that are kept.
func (s *sessionRows[K, A]) floor() int64 {
	if s.time == task.NoTime {
		return never
	}
	return s.time - s.retention
}

// setKey sets the key that rows are looked for.
func (s *sessionRows[K, A]) setKey(k K) (err error) {
	if s.key, err = s.keys.Append(s.key[:0], k); err != nil {
		return fmt.Errorf("store %s: encode the key of a row: %w", s.name, err)
	}
	s.ref.set(s.key)
	return nil
}

// read reads the sessions of a key that were not closed.
func (s *sessionRows[K, A]) read(k K) (r row[sessionsOf[A]], err error) {
	r.value.due, r.exists = none, true
	if s.closed == never { // there is no row yet
		return r, nil
	}
	if err := s.setKey(k); err != nil {
		return r, err
	}
	s.numbers = s.segments.between(s.numbers[:0], s.closed, s.time)
	for _, n := range s.numbers {
		if !s.segments.mayHave(n, &s.ref, s.closed, s.time) {
			continue
		}
		err := s.segments.scan(n, &s.ref, s.closed, s.time, func(key, value []byte) (bool, error) {
			x, err := s.decode(key, value)
			r.value.open = append(r.value.open, x)
			r.value.values += s.outside(&x)
			return true, err
		})
		if err != nil {
			return r, err
		}
	}
	if len(r.value.open) > 0 {
		r.value.due = r.value.open[0].end
	}
	return r, nil
}

func (s *sessionRows[K, A]) decode(key, value []byte) (x session[A], err error) {
	if x.end, x.start, err = rowTimes(key); err != nil {
		return x, err
	}
	x.value, err = s.decodeValue(value)
	x.kept, x.size = true, uint32(len(value))
	return x, err
}

func (s *sessionRows[K, A]) decodeValue(value []byte) (A, error) {
	v, err := s.values.Decode(append([]byte{}, value...))
	if err != nil {
		err = fmt.Errorf("store %s: a row cannot be decoded: has its codec changed? Then give the store another name. %w", s.name, err)
	}
	return v, err
}

// replace puts a session in the place of those from i up to j, or nothing if it does not exist.
func (s *sessionRows[K, A]) replace(c *cached[K, sessionsOf[A]], i, j int, now *session[A], exists bool) error {
	s.rows.mark(c)
	of := &c.row.value
	s.waiting++
	before := uint32(0)
	if i < j {
		before = of.open[i].size
	}
	for k := i; k < j; k++ {
		if old := &of.open[k]; old.kept {
			at, _ := placeOf(of.was, old)
			of.was = slices.Insert(of.was, at, *old)
		} else {
			of.values -= s.outside(old)
			s.waiting--
		}
	}
	switch {
	case !exists:
		of.open = slices.Delete(of.open, i, j)
		return nil
	case i == j:
		of.open = slices.Insert(of.open, i, *now)
	default:
		of.open[i] = *now
		of.open = slices.Delete(of.open, i+1, j)
	}
	of.open[i].size = s.lengths.of(&of.open[i].value, before)
	of.values += s.outside(&of.open[i])
	if first := of.open[0].end; s.onClose && first < of.due {
		of.due = first
		return s.look(c.key, first)
	}
	return nil
}

// put writes what has changed of the sessions of a key, and forgets those that are closed.
func (s *sessionRows[K, A]) put(c *cached[K, sessionsOf[A]]) error {
	of := &c.row.value
	if err := s.setKey(c.key); err != nil {
		return err
	}
	for i := range of.was {
		w := &of.was[i]
		if of.values -= s.outside(w); !has(of.open, w) {
			if err := s.segments.delete(w.end, &s.ref, w.end, w.start); err != nil {
				return err
			}
		}
	}
	for i := range of.open {
		if err := s.putOne(of, &of.open[i]); err != nil {
			return err
		}
	}
	clear(of.was)
	of.was = of.was[:0]
	closed := 0
	for closed < len(of.open) && of.open[closed].end < s.closed {
		closed++
	}
	s.forget(of, closed)
	return nil
}

// putOne writes a session of the key that was set.
func (s *sessionRows[K, A]) putOne(of *sessionsOf[A], x *session[A]) (err error) {
	if x.kept || !s.onClose && x.end < s.floor() {
		return nil
	}
	if s.value, err = s.values.Append(s.value[:0], x.value); err != nil {
		return fmt.Errorf("store %s: encode the value of a row: %w", s.name, err)
	}
	of.values -= s.outside(x)
	x.kept, x.size = true, uint32(len(s.value))
	of.values += s.outside(x)
	return s.segments.put(x.end, &s.ref, x.end, x.start, s.value)
}

// get returns the row of a key and session, for look-ups.
func (s *sessionRows[K, A]) get(k Windowed[K]) (r row[A], err error) {
	if k.End < s.floor() {
		return r, nil
	}
	x := session[A]{start: k.Start, end: k.End}
	if c, ok := s.rows.rows[k.Key]; ok {
		of := &c.row.value
		if i, ok := placeOf(of.open, &x); ok {
			return of.open[i].row(), nil
		}
		if has(of.was, &x) {
			return r, nil
		}
	}
	if err := s.setKey(k.Key); err != nil {
		return r, err
	}
	b, err := s.segments.get(x.end, &s.ref, x.end, x.start)
	if err != nil || b == nil {
		return r, err
	}
	x.value, err = s.decodeValue(b)
	return x.row(), err
}

// write writes the changes to the store. Where updates wait for it, fn gets each with what was sent last.
func (s *sessionRows[K, A]) write(fn func(k Windowed[K], old, now row[A]) error) error {
	s.waiting = 0
	if !s.rows.hold {
		return s.rows.flush(nil)
	}
	return s.rows.flush(func(c *cached[K, sessionsOf[A]], _ row[sessionsOf[A]]) error {
		return c.row.value.changes(func(x *session[A], old, now row[A]) error { return fn(sessionKey(c.key, x), old, now) })
	})
}

// changes calls fn with each session that has changed, those that have gone first.
func (o *sessionsOf[A]) changes(fn func(x *session[A], old, now row[A]) error) error {
	for i := range o.was {
		if w := &o.was[i]; !has(o.open, w) {
			if err := fn(w, w.row(), row[A]{}); err != nil {
				return err
			}
		}
	}
	for i := range o.open {
		x, old := &o.open[i], row[A]{}
		if x.kept {
			continue
		}
		if k, ok := placeOf(o.was, x); ok {
			old = o.was[k].row()
		}
		if err := fn(x, old, x.row()); err != nil {
			return err
		}
	}
	return nil
}

// Uncommitted returns how many sessions wait for the flush.
func (s *sessionRows[K, A]) Uncommitted() int { return s.waiting }

// keep writes down what the operator has to remember, whenever it may have written rows: where a changelog loses its
// oldest records, what is remembered outlives the rows.
func (s *sessionRows[K, A]) keep() error {
	if !s.touched {
		return nil
	}
	s.touched = false
	return s.meta.write()
}

// remember reads what keep has written.
func (s *sessionRows[K, A]) remember() (err error) {
	if s.meta, err = newMeta(s.segments.store, metaOperator, &s.time, &s.limit, &s.indexed); err != nil {
		return err
	}
	err = s.segments.open(s.retention, func(key, _ []byte) (int64, error) {
		end, _, err := rowTimes(key)
		return end, err
	})
	if err != nil {
		return err
	}
	s.closed = s.limit
	return s.openIndex()
}
