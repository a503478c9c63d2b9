package stream

import (
	"fmt"
	"math"

	"millrace.dev/internal/store"
)

// prefixClosing begins the keys of the index of keys by the time when a session of theirs may close.
const prefixClosing byte = 2

// none is after all times.
const none int64 = math.MaxInt64

// closing is an index of keys by time in a store: at that time the sessions of the key are looked at. A session that
// goes on does not move its key: it is put further when its time has come.
type closing struct {
	store *store.Store
	low   int64 // no key is at a lower time; none when there is no key
	at    []byte
	from  []byte
}

func (c *closing) encode(dst []byte, t int64, key []byte) []byte {
	return append(appendTime(append(dst[:0], prefixClosing), t), key...)
}

// put has a key looked at.
func (c *closing) put(t int64, key []byte) error {
	c.low = min(c.low, t)
	c.at = c.encode(c.at, t, key)
	return c.store.Put(c.at, []byte{})
}

// take removes the keys before a time, those of the lowest time first, and of one time in the order of their bytes. visit
// returns when a key is to be looked at next, or none.
func (c *closing) take(before int64, visit func(t int64, key []byte) (int64, error)) error {
	for c.low < before {
		// A key that is put further may come before others that are there: begin again with it.
		stop, end := before, none
		c.from = c.encode(c.from, c.low, nil)
		c.low = none
		err := c.store.Scan(c.from, []byte{prefixClosing + 1}, func(raw, _ []byte) (bool, error) {
			if len(raw) < 1+timeBytes {
				return false, errShortKey
			}
			t, key := timeOf(raw[1:]), raw[1+timeBytes:]
			if t >= stop {
				end = t
				return false, nil
			}
			if err := c.store.Delete(raw); err != nil {
				return false, err
			}
			next, err := visit(t, key)
			if err != nil || next == none {
				return true, err
			}
			stop = min(stop, next)
			return true, c.put(next, key)
		})
		if err != nil {
			return err
		}
		c.low = min(c.low, end)
	}
	return nil
}

// look has a key looked at.
func (s *sessionRows[K, A]) look(k K, t int64) error {
	if err := s.setKey(k); err != nil {
		return err
	}
	return s.index.put(t, s.key)
}

// takeClosed closes sessions, and deletes what has expired. Where sessions are emitted on close it calls emit with each, in
// the order of their ends, those of one end in the order of their keys' bytes and of their starts.
func (s *sessionRows[K, A]) takeClosed(emit func(K, *session[A]) error) error {
	if s.limit == s.closed {
		return nil
	}
	if s.onClose && s.index.low < s.limit {
		err := s.index.take(s.limit, func(t int64, key []byte) (int64, error) { return s.takeAt(t, key, emit) })
		if err != nil {
			return err
		}
	}
	s.closed, s.touched = s.limit, true // also where the clock alone has moved it: a record is late after a restart, too
	return s.segments.expire(s.floor())
}

// takeAt calls emit with the sessions of a key that end at a time. It returns when the next one ends, or none.
func (s *sessionRows[K, A]) takeAt(t int64, key []byte, emit func(K, *session[A]) error) (int64, error) {
	s.touched = true
	k, err := s.keys.Decode(append([]byte(nil), key...))
	if err != nil {
		return 0, fmt.Errorf("store %s: the key of a row cannot be decoded: has its codec changed? Then give the store another name. %w", s.name, err)
	}
	s.closed = max(s.closed, t) // what ends before was emitted: it is not read again
	c, err := s.rows.at(k)
	if err != nil {
		return 0, err
	}
	if s.due, err = s.pop(s.due[:0], c, t); err != nil {
		return 0, err
	}
	s.rows.resize(c, s.bytes(&c.row.value))
	next := c.row.value.due
	for i := range s.due { // the last step: what it calls may look rows up
		if err := emit(k, &s.due[i]); err != nil {
			return 0, err
		}
	}
	clear(s.due)
	return next, nil
}

// pop takes the sessions of a key that end up to a time out of memory, and out of the store unless they are still looked up
// there. It appends them to dst.
func (s *sessionRows[K, A]) pop(dst []session[A], c *cached[K, sessionsOf[A]], t int64) (_ []session[A], err error) {
	if err := s.setKey(c.key); err != nil {
		return dst, err
	}
	of, n := &c.row.value, 0
	for n < len(of.open) && of.open[n].end <= t {
		x := &of.open[n]
		if n++; !x.kept {
			s.waiting--
		}
		if s.retention > s.closes {
			err = s.putOne(of, x)
		} else if x.kept {
			err = s.segments.delete(x.end, &s.ref, x.end, x.start)
		}
		if err != nil {
			return dst, err
		}
	}
	dst = append(dst, of.open[:n]...)
	s.forget(of, n)
	if of.due = none; len(of.open) > 0 {
		of.due = of.open[0].end
	}
	return dst, nil
}

// openIndex finds the first key. It makes the index where there is none yet, and removes one that is not kept any more.
func (s *sessionRows[K, A]) openIndex() error {
	s.index.low = never
	st := s.segments.store
	if !s.onClose {
		s.indexed = 0
		return st.Scan([]byte{prefixClosing}, []byte{prefixClosing + 1}, func(raw, _ []byte) (bool, error) {
			return true, st.Delete(raw)
		})
	}
	if s.indexed == 0 {
		s.indexed = 1
		return st.Scan([]byte{prefixRow}, []byte{prefixRow + 1}, func(raw, _ []byte) (bool, error) {
			end, _, err := rowTimes(raw)
			if err != nil || end < s.limit {
				return true, err
			}
			key, _, err := cutKeyRef(raw[1+timeBytes:])
			if err != nil {
				return false, err
			}
			return true, s.index.put(end, key)
		})
	}
	return nil
}
