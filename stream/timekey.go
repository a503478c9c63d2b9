package stream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"millrace.dev/internal/store"
)

// timeBytes is the length of a time in a key.
const timeBytes = 8

// appendTime appends a time so that times order as their bytes do, also those before 1970.
func appendTime(dst []byte, t int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(t)^1<<63)
}

// timeOf returns the time at the beginning of b.
func timeOf(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ 1<<63) }

// successor returns the first key after all those that begin with prefix, nil if there is none. It writes to dst.
func successor(dst, prefix []byte) []byte {
	dst = append(dst[:0], prefix...)
	for i := len(dst) - 1; i >= 0; i-- {
		if dst[i]++; dst[i] != 0 {
			return dst[:i+1]
		}
	}
	return nil
}

// meta is the few numbers that an operator keeps in a store beside its rows: stream times, sequence numbers. They are
// read when the task begins, and written before each commit in which they have changed.
type meta struct {
	store  *store.Store
	id     byte // tells the metas of a store apart
	fields []*int64
	last   []int64 // what the store has
}

// newMeta reads the numbers, and leaves those that the store does not have as they are.
func newMeta(s *store.Store, id byte, fields ...*int64) (*meta, error) {
	m := &meta{store: s, id: id, fields: fields, last: make([]int64, len(fields))}
	for i, f := range fields {
		m.last[i] = *f
	}
	b, err := s.Get(m.key())
	if err != nil || b == nil {
		return m, err
	}
	if len(b) != len(fields)*timeBytes {
		return nil, fmt.Errorf("the store has %d bytes of numbers: want %d", len(b), len(fields)*timeBytes)
	}
	for i, f := range fields {
		*f = timeOf(b[i*timeBytes:])
		m.last[i] = *f
	}
	return m, nil
}

// The metas of stores.
const (
	metaOperator byte = 'o'
	metaSegments byte = 's'
	metaExpiry   byte = 't'
	metaShape    byte = 'l'
	metaWaiting  byte = 'w'
	metaEntry    byte = 'x' // begins keys that have more
)

func (m *meta) key() []byte { return []byte{prefixMeta, m.id} }

// flush writes the numbers if they have changed.
func (m *meta) flush() error {
	changed := false
	for i, f := range m.fields {
		changed = changed || *f != m.last[i]
	}
	if !changed {
		return nil
	}
	return m.write()
}

// write writes the numbers.
func (m *meta) write() error {
	b := make([]byte, 0, len(m.fields)*timeBytes)
	for i, f := range m.fields {
		b = appendTime(b, *f)
		m.last[i] = *f
	}
	return m.store.Put(m.key(), b)
}

var errShortKey = errors.New("a key in the store is too short")

// appendKeyRef appends the bytes of a key so that no such sequence is the beginning of another: rows of one key lie
// together. nil and empty differ.
func appendKeyRef(dst, key []byte) []byte {
	if key == nil {
		return binary.AppendUvarint(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(key))+1), key...)
}

// cutKeyRef returns the key at the beginning of b, and what follows it.
func cutKeyRef(b []byte) (key, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size)+1 {
		return nil, nil, errShortKey
	}
	if b = b[size:]; n == 0 {
		return nil, b, nil
	}
	return b[: n-1 : n-1], b[n-1:], nil
}
