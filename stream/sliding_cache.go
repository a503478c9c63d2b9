package stream

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
)

// at returns the windows of a key, reading them if need be. They are valid until the next call.
func (s *slidingRows[K, A]) at(k K) (*slidingKey[K, A], error) {
	c, ok := s.cache[k]
	if !ok {
		return s.load(k)
	}
	if !c.dirty && s.clean.next != c {
		c.unlink()
		s.link(c)
	}
	return c, nil
}

// load brings the windows of a key into the cache.
func (s *slidingRows[K, A]) load(k K) (*slidingKey[K, A], error) {
	if s.account.Due() {
		s.account.Settle()
	}
	if (s.waiting >= s.most || s.pressed) && !s.hold {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	c := s.take()
	c.key = k
	if err := s.encode(k); err != nil {
		return nil, err
	}
	c.fixed = s.entry + s.perKey*int64(len(s.encoded))
	if err := s.fill(c); err != nil {
		return nil, err
	}
	s.rows += len(c.list)
	s.cache[k] = c
	s.largest = max(s.largest, len(s.cache))
	s.count(c)
	s.link(c)
	s.evict()
	return c, nil
}

// fill reads the windows of a key.
func (s *slidingRows[K, A]) fill(c *slidingKey[K, A]) error {
	if s.newest == never {
		return nil
	}
	floor := s.floor()
	s.numbers = s.segments.between(s.numbers[:0], floor, math.MaxInt64)
	s.reading = c
	for _, n := range s.numbers {
		if !s.segments.mayHave(n, &s.key, floor, math.MaxInt64) {
			continue
		}
		if err := s.segments.scan(n, &s.key, floor, math.MaxInt64, s.read); err != nil {
			return err
		}
	}
	s.reading = nil
	return nil
}

// readRow adds a row to the windows that are being read.
func (s *slidingRows[K, A]) readRow(key, value []byte) (bool, error) {
	start, _, err := rowTimes(key)
	if err != nil {
		return false, err
	}
	r, err := s.decode(value)
	w := slidingWindow[A]{start: start, row: r}
	if r.exists {
		w.size = uint32(len(value) - timestampBytes - 1)
	}
	s.reading.values += s.outside(&w)
	s.reading.list = append(s.reading.list, w)
	return err == nil, err
}

// outside returns what a window has outside of the list.
func (s *slidingRows[K, A]) outside(w *slidingWindow[A]) int64 {
	if s.lengths.perByte == 0 || !w.row.exists {
		return 0
	}
	return pieceBytes + s.lengths.perByte*int64(w.size)
}

// weight returns what a window takes.
func (s *slidingRows[K, A]) weight(w *slidingWindow[A]) int64 {
	return int64(sizeOfType[slidingWindow[A]]()) + s.outside(w)
}

// measure counts the value that a window with changes was given; outside returned before for what it was.
func (s *slidingRows[K, A]) measure(k *slidingKey[K, A], w *slidingWindow[A], before int64) {
	if s.lengths.perByte == 0 {
		return
	}
	if w.row.exists {
		w.size = s.lengths.of(&w.row.value, w.size)
	}
	d := s.outside(w) - before
	k.values += d
	k.waiting += d
	s.account.Add(0, d)
}

// count tells the budget what a key takes.
func (s *slidingRows[K, A]) count(k *slidingKey[K, A]) {
	bytes := k.fixed + int64(cap(k.list)*sizeOfType[slidingWindow[A]]()) + k.values
	s.account.Add(bytes-k.bytes, 0)
	k.bytes = bytes
}

// shrink makes the windows take no more than so many bytes. The memory of those that go is given back. Keys that wait for the
// flush stay until then.
func (s *slidingRows[K, A]) shrink(to int64) {
	rows := s.rows
	for s.account.Bytes() > to && s.clean.prev != &s.clean {
		c := s.clean.prev
		c.unlink()
		s.forget(c)
	}
	s.account.Evicted(rows - s.rows)
	s.pressed = s.account.Bytes() > to && len(s.dirty) > 0
	if s.free = nil; len(s.cache) < s.largest/2 { // a map does not become smaller by itself
		keys := make(map[K]*slidingKey[K, A], len(s.cache))
		maps.Copy(keys, s.cache)
		s.cache, s.largest = keys, len(keys)
	}
}

// mark notes that a window is about to change.
func (s *slidingRows[K, A]) mark(k *slidingKey[K, A], w *slidingWindow[A]) {
	if w.dirty {
		return
	}
	w.dirty = true
	s.waiting++
	weight := s.weight(w)
	k.waiting += weight
	s.account.Add(0, weight)
	if s.hold {
		w.sent = w.row
		held := s.outside(w)
		k.values, k.held = k.values+held, k.held+held
	}
	if !k.dirty {
		k.dirty = true
		k.unlink()
		k.prev, k.next = nil, nil
		s.dirty = append(s.dirty, k)
	}
}

// flush writes what has changed to the store, but for what has expired.
func (s *slidingRows[K, A]) flush() error {
	s.account.Settle() // the store needs room for what is written
	s.pressed = false
	floor := s.floor()
	for _, k := range s.dirty {
		s.trim(k, k.search(floor))
		if err := s.write(k); err != nil {
			return err
		}
		s.account.Add(0, -k.waiting)
		k.values, k.held, k.waiting = k.values-k.held, 0, 0
		if k.dirty = false; len(k.list) == 0 {
			s.forget(k)
		} else {
			s.count(k)
			s.link(k)
		}
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	s.evict()
	return nil
}

// write writes the windows of a key that have changed.
func (s *slidingRows[K, A]) write(k *slidingKey[K, A]) (err error) {
	if err := s.encode(k.key); err != nil {
		return err
	}
	for i := range k.list {
		w := &k.list[i]
		if !w.dirty {
			continue
		}
		var flags byte
		if !w.row.exists {
			flags = rowNull
		}
		s.value = append(binary.BigEndian.AppendUint64(s.value[:0], uint64(w.row.timestamp)), flags)
		if w.row.exists {
			if s.value, err = s.values.Append(s.value, w.row.value); err != nil {
				return fmt.Errorf("store %s: encode the value of a row: %w", s.name, err)
			}
		}
		if w.row.exists {
			before := s.outside(w)
			w.size = uint32(len(s.value) - timestampBytes - 1)
			k.values += s.outside(w) - before
		}
		if err := s.segments.put(w.start, &s.key, w.start, 0, s.value); err != nil {
			return err
		}
		w.dirty, w.sent = false, row[A]{}
		s.waiting--
	}
	return nil
}

// trim forgets the first n windows of a key.
func (s *slidingRows[K, A]) trim(k *slidingKey[K, A], n int) {
	for i := range k.list[:n] {
		w := &k.list[i]
		k.values -= s.outside(w)
		if w.dirty {
			s.waiting--
			k.waiting -= s.weight(w)
			s.account.Add(0, -s.weight(w))
		}
	}
	s.rows -= n
	k.list = slices.Delete(k.list, 0, n)
}

// take returns an entry for a key.
func (s *slidingRows[K, A]) take() *slidingKey[K, A] {
	if c := s.free; c != nil {
		s.free, c.next = c.next, nil
		return c
	}
	return &slidingKey[K, A]{}
}

// link makes c the clean key that was used last.
func (s *slidingRows[K, A]) link(c *slidingKey[K, A]) {
	c.prev, c.next = &s.clean, s.clean.next
	c.next.prev, s.clean.next = c, c
}

func (c *slidingKey[K, A]) unlink() { c.prev.next, c.next.prev = c.next, c.prev }

// keptWindows is how long a list is at most that is used again for another key.
const keptWindows = 64

// forget takes a key that is in no ring out of the cache.
func (s *slidingRows[K, A]) forget(c *slidingKey[K, A]) {
	delete(s.cache, c.key)
	s.account.Add(-c.bytes, 0)
	s.rows -= len(c.list)
	clear(c.list)
	list := c.list[:0]
	if cap(list) > keptWindows {
		list = nil
	}
	*c = slidingKey[K, A]{list: list, next: s.free}
	s.free = c
}

// evict makes room. Keys with changes stay, and so does the one that was used last.
func (s *slidingRows[K, A]) evict() {
	for s.rows > s.most {
		c := s.clean.prev
		if c == s.clean.next {
			return
		}
		c.unlink()
		s.forget(c)
	}
}
