package stream

import (
	"encoding/binary"
	"fmt"
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
	if s.waiting >= s.most && !s.hold {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	c := s.take()
	c.key = k
	if err := s.fill(c); err != nil {
		return nil, err
	}
	s.rows += len(c.list)
	s.cache[k] = c
	s.link(c)
	s.evict()
	return c, nil
}

// fill reads the windows of a key.
func (s *slidingRows[K, A]) fill(c *slidingKey[K, A]) error {
	if s.newest == never {
		return nil
	}
	if err := s.encode(c.key); err != nil {
		return err
	}
	floor := s.floor()
	s.numbers = s.numbers[:0]
	for n := range s.segments.live {
		if n >= s.segments.number(floor) {
			s.numbers = append(s.numbers, n)
		}
	}
	slices.Sort(s.numbers)
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
	s.reading.list = append(s.reading.list, slidingWindow[A]{start: start, row: r})
	return err == nil, err
}

// mark notes that a window is about to change.
func (s *slidingRows[K, A]) mark(k *slidingKey[K, A], w *slidingWindow[A]) {
	if w.dirty {
		return
	}
	w.dirty = true
	s.waiting++
	if s.hold {
		w.sent = w.row
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
	floor := s.floor()
	for _, k := range s.dirty {
		s.trim(k, k.search(floor))
		if err := s.write(k); err != nil {
			return err
		}
		if k.dirty = false; len(k.list) == 0 {
			s.forget(k)
		} else {
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
		if k.list[i].dirty {
			s.waiting--
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
