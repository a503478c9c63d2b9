package store

import (
	"bytes"
	"slices"
)

// Store is an ordered map from key to value. Keys and values are any bytes, also none; an empty value is not an
// absent one. Keys order by their bytes.
type Store struct {
	task               *Task
	spec               Spec
	base, sealed, open overlay
}

// Get returns the value of key, and nil where the store has none. The value is valid until the next call of any
// method of the store or of the task, save Commit; the caller must not change it.
func (s *Store) Get(key []byte) ([]byte, error) {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	for _, o := range []overlay{s.open, s.sealed, s.base} {
		if v, ok := o[string(key)]; ok {
			return v, nil
		}
	}
	return nil, nil
}

// Put sets the value of key. It copies both. A nil value deletes the key, as Delete does.
func (s *Store) Put(key, value []byte) error {
	s.task.mu.Lock()
	defer s.task.mu.Unlock()
	if value != nil {
		value = append([]byte{}, value...)
	}
	s.open[string(key)] = value
	return nil
}

// Delete deletes key. The changelog is told of it, also where the store does not have the key.
func (s *Store) Delete(key []byte) error { return s.Put(key, nil) }

// DeleteRange deletes the keys from from (included) to to (not included); nil is an open end. It is for state that
// expires: it costs about the same however many keys there are, and the changelog is not told of it.
func (s *Store) DeleteRange(from, to []byte) error {
	return s.Scan(from, to, func(k, _ []byte) (bool, error) { return true, s.Delete(k) })
}

// Scan calls fn with every key from from (included) to to (not included) and its value, in ascending order, until
// fn returns false or an error, which Scan returns. nil is an open end. fn sees the store as it was when the scan
// began; it may read and write the store, and scan it, but must not seal, roll back or close. Key and value are
// valid until fn returns.
func (s *Store) Scan(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	return s.scan(from, to, false, fn)
}

// ScanReverse is Scan in descending order.
func (s *Store) ScanReverse(from, to []byte, fn func(key, value []byte) (bool, error)) error {
	return s.scan(from, to, true, fn)
}

func (s *Store) scan(from, to []byte, reverse bool, fn func(key, value []byte) (bool, error)) error {
	s.task.mu.Lock()
	merged := overlay{}
	for _, o := range []overlay{s.base, s.sealed, s.open} {
		for k, v := range o {
			merged[k] = v
		}
	}
	s.task.mu.Unlock()
	keys := merged.keys(from, to)
	if reverse {
		slices.Reverse(keys)
	}
	for _, k := range keys {
		if merged[k] == nil {
			continue
		}
		if more, err := fn([]byte(k), bytes.Clone(merged[k])); err != nil || !more {
			return err
		}
	}
	return nil
}
