package stream

import (
	"encoding/binary"
	"fmt"
	"math"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// waitingRows is the rows of a table that wait to be sent on: of each what it was when that was last done, and what it is
// now with all that belongs to its update.
//
// They lie in the order of the times by which they wait. Of a row that waits by the time of its first update, that time is
// kept by key beside them.
type waitingRows[K comparable, V any] struct {
	name   string // for errors
	keys   Codec[K]
	values Codec[V]
	end    func(K) int64 // the time by which a row waits; nil: that of its first update
	line   *timeline
	meta   *meta

	observed int64 // stream time
	rows     int64 // how many wait
	bytes    int64 // of their keys, values and headers

	sentAt int64 // the end of windows that were sent on, and that records may still come for; noRow when there are none

	view   view           // how rows are shown
	flight updating[K, V] // the row that is being sent on
	now    row[V]         // what it is

	key, value, old, row, index []byte
}

// A [watch] is told which row is being sent on.
func (s *waitingRows[K, V]) sending(k K) uint64 {
	if s.flight.open && s.flight.key == k {
		return s.flight.number
	}
	return 0
}

func (s *waitingRows[K, V]) show(v view) (was view) {
	was, s.view = s.view, v
	return was
}

func (s *waitingRows[K, V]) emitsLate() bool { return false }
func (s *waitingRows[K, V]) note()           {}

// prefixSince begins the keys of the times by which rows wait.
const prefixSince byte = 2

// prefixSent begins the keys of windows that were sent on.
const prefixSent byte = 3

// noRow is the time of the first row where there is none.
const noRow int64 = math.MaxInt64

// The flags of a row that waits.
const (
	waitingNew     byte = 1 << iota // there is a row now
	waitingOld                      // there was one
	waitingOldNull                  // which the codec encodes as null
)

func (s *waitingRows[K, V]) open(st *store.Store) (err error) {
	if s.meta, err = newMeta(st, metaOperator, &s.observed, &s.rows, &s.bytes); err != nil {
		return err
	}
	if s.line, err = openTimeline(st); err != nil {
		return err
	}
	s.sentAt = noRow
	return st.Scan([]byte{prefixSent}, []byte{prefixSent + 1}, func(key, _ []byte) (bool, error) {
		if len(key) < 1+timeBytes {
			return false, errShortKey
		}
		s.sentAt = timeOf(key[1:])
		return false, nil
	})
}

// noteSent remembers that a window was sent on. Which ones were is only remembered of those that end as late as a window
// can that is sent on: where stream time has gone on, no record comes for them.
func (s *waitingRows[K, V]) noteSent(e *timelineRow) error {
	s.sentAt = min(s.sentAt, e.time)
	s.index = append(appendTime(append(s.index[:0], prefixSent), e.time), e.key...)
	return s.line.store.Put(s.index, []byte{})
}

// wasSent tells whether a window is one of those.
func (s *waitingRows[K, V]) wasSent(k K) (bool, error) {
	if s.sentAt == noRow {
		return false, nil
	}
	end := s.end(k)
	if end < s.sentAt {
		return false, nil
	}
	s.index = appendTime(append(s.index[:0], prefixSent), end)
	var err error
	if s.index, err = s.keys.Append(s.index, k); err != nil {
		return false, fmt.Errorf("encode the key of a row: %w", err)
	}
	b, err := s.line.store.Get(s.index)
	return b != nil, err
}

// forgetSent forgets those that end before a time.
func (s *waitingRows[K, V]) forgetSent(end int64) error {
	if s.sentAt >= end {
		return nil
	}
	s.sentAt = noRow
	return s.line.store.Scan([]byte{prefixSent}, []byte{prefixSent + 1}, func(key, _ []byte) (bool, error) {
		if t := timeOf(key[1:]); t >= end {
			s.sentAt = t
			return false, nil
		}
		return true, s.line.store.Delete(key)
	})
}

// find returns the row of a key, nil if it does not wait, and the time by which it does or would. The result is valid
// until the store is used again.
func (s *waitingRows[K, V]) find(k K, first int64) (t int64, waits []byte, err error) {
	if s.key, err = s.keys.Append(s.key[:0], k); err != nil {
		return 0, nil, fmt.Errorf("encode the key of a row: %w", err)
	}
	switch {
	case s.end != nil:
		first = s.end(k)
	case s.rows == 0:
		return first, nil, nil
	default:
		s.index = append(append(s.index[:0], prefixSince), s.key...)
		b, err := s.line.store.Get(s.index)
		if b == nil || err != nil {
			return first, nil, err
		}
		if len(b) != timeBytes {
			return 0, nil, errHeld
		}
		first = timeOf(b)
	}
	waits, err = s.line.get(first, 0, s.key, 0)
	return first, waits, err
}

// put has an update wait, in the place of an earlier one of the same key.
func (s *waitingRows[K, V]) put(r *Record[K, Change[V]], source *record.Raw) error {
	c := &r.Value
	t, before, err := s.find(r.Key, r.Timestamp)
	if err != nil {
		return err
	}
	s.row = append(s.row[:0], 0)
	s.row = appendTime(s.row, r.Timestamp)
	var value []byte
	if c.HasNew {
		s.row[0] |= waitingNew
		if value, s.value, err = encode(s.values, s.value, c.New, false); err != nil {
			return fmt.Errorf("encode the value of a row: %w", err)
		}
	}
	size := bufferedBytes(s.key, value, r.Headers)
	s.row = binary.AppendUvarint(s.row, uint64(size))
	if before != nil {
		w, err := waitingOf(before)
		if err != nil {
			return err
		}
		s.bytes -= w.size
		s.row[0] |= w.flags &^ waitingNew
		s.row = appendBytes(s.row, w.old)
	} else {
		if err := s.appendOld(c); err != nil {
			return err
		}
		s.rows++
		if s.end == nil {
			s.index = append(append(s.index[:0], prefixSince), s.key...)
			if err := s.line.store.Put(s.index, appendTime(nil, t)); err != nil {
				return err
			}
		}
	}
	s.bytes += size
	s.row = appendHeld(s.row, s.key, value, r.Headers, source)
	return s.line.put(t, 0, s.key, 0, s.row)
}

// appendOld appends what a row was before its first update.
func (s *waitingRows[K, V]) appendOld(c *Change[V]) (err error) {
	if !c.HasOld {
		s.row = appendBytes(s.row, []byte(nil))
		return nil
	}
	s.row[0] |= waitingOld
	var old []byte
	if old, s.old, err = encode(s.values, s.old, c.Old, false); err != nil {
		return fmt.Errorf("encode the value of a row: %w", err)
	}
	if old == nil {
		s.row[0] |= waitingOldNull
	}
	s.row = appendBytes(s.row, old)
	return nil
}

// bufferedBytes returns how many bytes of a limit a row takes.
func bufferedBytes(key, value []byte, headers []Header) int64 {
	n := len(key) + len(value)
	for _, h := range headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// waiting is a row that waits, as it lies in the store.
type waiting struct {
	flags     byte
	timestamp int64 // of the last update
	size      int64
	old       []byte
	held      []byte // the update
}

// waitingOf reads a row. The result refers to it.
func waitingOf(b []byte) (w waiting, err error) {
	if len(b) < 1+timeBytes {
		return w, errHeld
	}
	w.flags, w.timestamp = b[0], timeOf(b[1:])
	r := heldReader{b: b[1+timeBytes:]}
	w.size = int64(r.uvarint())
	w.old = r.bytes()
	w.held = r.b
	return w, r.err
}

// oldOf returns what a row was when it was last sent on. The time of that is not known.
func (s *waitingRows[K, V]) oldOf(w *waiting) (r row[V], err error) {
	r.timestamp = task.NoTime
	if w.flags&waitingOld == 0 {
		return r, nil
	}
	var b []byte
	if w.flags&waitingOldNull == 0 {
		b = append(make([]byte, 0, len(w.old)), w.old...)
	}
	r.exists = true
	r.value, err = decodeKept(s.values, b)
	return r, err
}

// sent returns what a row was when it was last sent on. ok is false if no update waits.
func (s *waitingRows[K, V]) sent(k K) (r row[V], ok bool, err error) {
	if s.sending(k) != 0 {
		if s.view == viewBefore {
			return s.flight.old, true, nil
		}
		return s.now, true, nil
	}
	_, b, err := s.find(k, 0)
	if b == nil || err != nil {
		return r, false, err
	}
	w, err := waitingOf(b)
	if err != nil {
		return r, false, err
	}
	r, err = s.oldOf(&w)
	return r, true, err
}

// due is a row whose time has come.
type due[K, V any] struct {
	key       K
	change    Change[V]
	timestamp int64
	held      held
}

// take takes a row out of the store.
func (s *waitingRows[K, V]) take(e *timelineRow) (d due[K, V], err error) {
	w, err := waitingOf(e.value)
	if err != nil {
		return d, err
	}
	key := e.clone()
	if d.key, err = decodeKept(s.keys, key); err != nil {
		return d, err
	}
	old, err := s.oldOf(&w)
	if err != nil {
		return d, err
	}
	if d.held, err = heldOf(key, w.held); err != nil {
		return d, err
	}
	d.timestamp = w.timestamp
	d.change = Change[V]{Old: old.value, HasOld: old.exists, HasNew: w.flags&waitingNew != 0}
	if d.change.HasNew {
		if d.change.New, err = decodeKept(s.values, d.held.value); err != nil {
			return d, err
		}
	}
	s.rows--
	s.bytes -= w.size
	if s.end == nil {
		s.index = append(append(s.index[:0], prefixSince), key...)
		if err := s.line.store.Delete(s.index); err != nil {
			return d, err
		}
	}
	return d, s.line.store.Delete(e.raw)
}
