package stream

import (
	"fmt"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// joinRows is the records of one side of a join.
type joinRows[T any] struct {
	segments
	values    Codec[T]
	meta      *meta
	retention int64
	observed  int64  // the highest time of its records
	both      *int64 // that of both sides
	seq       int64
	row       []byte
	memory    []byte
}

// The flags of a row.
const (
	rowNull   byte = 1 << iota // the codec encodes the value as null
	rowWaited                  // the record was put among the unmatched ones
)

// sideSlack is how far one side may be behind the other before the records that it has are forgotten: as in Kafka
// Streams they are kept by the time of their own side, but a changelog cannot keep them for ever.
const sideSlack = 24 * time.Hour

func (w *joinRows[T]) open(s *store.Store, retention int64) (err error) {
	w.retention = retention
	w.segments = segments{store: s, prefix: prefixRow}
	// The time of both sides is in the numbers of each: they are written whenever it moves, and so outlive the rows in
	// a changelog that forgets by time.
	if w.meta, err = newMeta(s, metaOperator, &w.observed, w.both, &w.seq); err != nil {
		return err
	}
	err = w.segments.open(retention, func(key, _ []byte) (int64, error) {
		t, _, err := rowTimes(key)
		return t, err
	})
	if err != nil {
		return err
	}
	return w.expireOld()
}

// floor returns the time of the oldest records that can be asked for.
func (w *joinRows[T]) floor() int64 {
	if w.observed == task.NoTime {
		return task.NoTime
	}
	return max(w.observed, *w.both-sideSlack.Milliseconds()) - w.retention + 1
}

// expireOld deletes what nobody can ask for any more.
func (w *joinRows[T]) expireOld() error {
	if w.observed == task.NoTime {
		return nil
	}
	return w.expire(w.floor())
}

// encode makes the row of a value.
func (w *joinRows[T]) encode(v T) (value []byte, err error) {
	value, w.memory, err = encode(w.values, w.memory, v, false)
	return value, err
}

// keep puts a record among the rows, and tells whether it is one that can still be asked for.
func (w *joinRows[T]) keep(k *segmentKey, t int64, value []byte, waits bool) (bool, error) {
	w.seq++
	if t > w.observed {
		w.observed = t
		if err := w.expireOld(); err != nil {
			return false, err
		}
	}
	if t < w.floor() {
		return false, nil
	}
	var flags byte
	if value == nil {
		flags |= rowNull
	}
	if waits {
		flags |= rowWaited
	}
	w.row = append(append(w.row[:0], flags), value...)
	return true, w.put(t, k, t, w.seq, w.row)
}

// decode returns the value of a row, which stays.
func (w *joinRows[T]) decode(row []byte) (v T, flags byte, err error) {
	if len(row) == 0 {
		return v, 0, errHeld
	}
	var b []byte
	if flags = row[0]; flags&rowNull == 0 {
		b = append(make([]byte, 0, len(row)-1), row[1:]...)
	}
	v, err = decodeKept(w.values, b)
	return v, flags, err
}

// decodeKept decodes what a store has kept; nil is null.
func decodeKept[T any](c Codec[T], b []byte) (T, error) {
	v, err := c.Decode(b)
	if err != nil {
		err = fmt.Errorf("a value in the store cannot be decoded: has its codec changed? %w", err)
	}
	return v, err
}

// joinSide takes the records T of one side, and joins them with those O of the other.
type joinSide[K, T, O, V any] struct {
	j          *joinStream[K, V]
	tag        byte
	mine       *joinRows[T]
	other      *joinRows[O]
	before     int64 // how much older and newer a match may be
	after      int64
	outer      bool // sent on without a match
	othersWait bool // so are those of the other side
	joiner     func(T, O, bool) V
	visit      func(key, value []byte) (bool, error) // match
	present    *Record[K, T]
	matched    bool
}

func (s *joinSide[K, T, O, V]) open() error {
	name := s.j.d.name + "-right"
	if s.tag == tagLeft {
		name = s.j.d.name + "-left"
	}
	return s.mine.open(s.j.ctx.Store(name), s.j.d.window.retention())
}

func (s *joinSide[K, T, O, V]) flush() error { return s.mine.meta.flush() }

// look returns how long after a record of this side its window ends.
func (s *joinSide[K, T, O, V]) look() int64 { return s.after }

func (s *joinSide[K, T, O, V]) process(r *Record[K, T]) error {
	j := s.j
	j.streamTime = max(j.streamTime, r.Timestamp)
	switch {
	case r.NullValue:
		s.drop(j.n.problem(record.StageProcess, classNullValue, "the record has no value to join"))
		return nil
	case r.NullKey && s.outer:
		return s.alone(r)
	case r.NullKey:
		s.drop(j.n.problem(record.StageProcess, classNullKey, "the record has no key"))
		return nil
	}
	if j.unmatched != nil && r.Timestamp == j.streamTime && j.mayClose(s.after) {
		if err := j.closeWindows(); err != nil {
			return err
		}
	}
	value, ok := s.encode(r)
	if !ok {
		s.drop(j.n.unencodable())
		return nil
	}
	return s.join(r, value)
}

// encode encodes the key of a record for both sides, and its value. It returns false if that is not possible.
func (s *joinSide[K, T, O, V]) encode(r *Record[K, T]) (value []byte, ok bool) {
	j := s.j
	var err error
	if j.keyBytes, j.keyMemory, err = encode(j.keys, j.keyMemory, r.Key, false); err == nil {
		value, err = s.mine.encode(r.Value)
	}
	return value, err == nil
}

// drop drops the present record. One that is joined with itself comes twice, and is dropped the first time.
func (s *joinSide[K, T, O, V]) drop(d task.Drop) {
	if !s.second() {
		s.j.ctx.Drop(d)
	}
}

// second tells whether this side gets the records that the left one has just had.
func (s *joinSide[K, T, O, V]) second() bool { return s.j.self && s.tag == tagRight }

// join joins a record with those that are there, and keeps it for those that come.
func (s *joinSide[K, T, O, V]) join(r *Record[K, T], value []byte) error {
	j := s.j
	j.key.set(j.keyBytes)
	lo, hi := max(0, r.Timestamp-s.before), max(0, r.Timestamp+s.after)
	s.present, s.matched = r, false
	err := s.find(lo, hi)
	if s.present = nil; err != nil {
		return err
	}
	waits := s.outer && !s.matched && !s.closed(hi)
	if s.outer && !s.matched && !waits {
		if err := s.alone(r); err != nil {
			return err
		}
	}
	kept, err := s.mine.keep(&j.key, r.Timestamp, value, waits)
	if err != nil {
		return err
	}
	s.dropLate(!kept && !s.matched && !s.outer)
	if waits {
		j.minTime = min(j.minTime, r.Timestamp)
		j.held = appendHeld(j.held[:0], j.keyBytes, value, r.Headers, j.ctx.Record())
		return j.unmatched.put(r.Timestamp, s.tag, j.keyBytes, s.mine.seq, j.held)
	}
	return nil
}

// dropLate drops the present record if it was late and nothing came of it. Of a stream that is joined with itself, the
// second side decides for both.
func (s *joinSide[K, T, O, V]) dropLate(late bool) {
	j := s.j
	if j.self && !s.second() {
		j.late = late
		return
	}
	if late && (!j.self || j.late) {
		j.ctx.Drop(j.n.problem(record.StageProcess, classLate, "the record came after its window and the grace"))
	}
}

// closed tells whether no match can come any more for a record whose window ends at hi.
func (s *joinSide[K, T, O, V]) closed(hi int64) bool {
	if !s.j.d.window.EarlyUnmatched {
		hi += s.j.d.window.Grace.Milliseconds()
	}
	return hi < s.j.streamTime
}

// find calls match with the records of the other side from one time to another.
func (s *joinSide[K, T, O, V]) find(lo, hi int64) error {
	o := s.other
	if o.observed == task.NoTime {
		return nil
	}
	lo, hi = max(lo, o.floor()), min(hi, o.observed)
	if lo > hi {
		return nil
	}
	for n := o.number(lo); n <= o.number(hi); n++ {
		if !o.mayHave(n, &s.j.key, lo, hi) {
			continue
		}
		if err := o.scan(n, &s.j.key, lo, hi, s.visit); err != nil {
			return err
		}
	}
	return nil
}

// match joins the present record with a row.
func (s *joinSide[K, T, O, V]) match(key, row []byte) (bool, error) {
	t, seq, err := rowTimes(key)
	if err != nil {
		return false, err
	}
	v, flags, err := s.other.decode(row)
	if err != nil {
		return false, err
	}
	j, r := s.j, s.present
	s.matched = true
	if flags&rowWaited != 0 {
		if err := j.unmatched.remove(t, s.tag^1, j.keyBytes, seq); err != nil {
			return false, err
		}
	}
	j.out = Record[K, V]{Key: r.Key, Value: s.joiner(r.Value, v, true), Timestamp: max(r.Timestamp, t), Headers: r.Headers}
	return true, j.next.send(&j.out)
}

// alone sends on a record without a match.
func (s *joinSide[K, T, O, V]) alone(r *Record[K, T]) error {
	var none O
	s.j.out = Record[K, V]{Key: r.Key, Value: s.joiner(r.Value, none, false), Timestamp: r.Timestamp, Headers: r.Headers, NullKey: r.NullKey}
	return s.j.next.send(&s.j.out)
}

// emitUnmatched sends on a record that has waited.
func (s *joinSide[K, T, O, V]) emitUnmatched(k K, timestamp int64, h *held) error {
	v, err := decodeKept(s.mine.values, h.value)
	if err != nil {
		return err
	}
	return s.alone(&Record[K, T]{Key: k, Value: v, Timestamp: timestamp, Headers: h.headers})
}
