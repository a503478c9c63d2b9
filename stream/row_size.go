package stream

import (
	"maps"
	"math"
	"reflect"
	"unsafe"
)

// rowSizes estimates what cached rows take: the entry itself, its place in the map, and what key and value refer to. That
// is as many bytes as they have encoded, and of types that are more than strings and slices of bytes so many times that.
// TestRowSizes tells how far off this is.
type rowSizes struct {
	entry  int64 // whatever key and value are
	keys   int64 // for each byte of an encoded key
	values int64 // for each of a value; 0 if all are of one size
}

// rowSize is how long key and value of a row are, encoded.
type rowSize struct {
	key   uint16 // the longest that it can tell for longer ones
	value uint32
}

const (
	mapSlack     = 2  // a map has up to twice the room that it needs
	pointerBytes = 3  // of a value with pointers for each byte that it has encoded
	pieceBytes   = 16 // what the allocator adds to a piece of memory on average
)

func sizesOf[K comparable, V any]() (s rowSizes) {
	s.entry = entryOf[K](sizeOfType[cached[K, V]]())
	if s.keys = perByte(reflect.TypeFor[K]()); s.keys > 0 {
		s.entry += pieceBytes
	}
	if s.values = perByte(reflect.TypeFor[V]()); s.values > 0 {
		s.entry += pieceBytes
	}
	return s
}

// entryOf returns what an entry of so many bytes takes with its place in a map.
func entryOf[K comparable](bytes int) int64 {
	return int64(bytes + mapSlack*(sizeOfType[K]()+int(unsafe.Sizeof(uintptr(0)))))
}

// perByte returns how many bytes outside of itself a value of a type has for each that it has encoded.
func perByte(t reflect.Type) int64 {
	n := int64(0)
	switch k := t.Kind(); {
	case k >= reflect.Bool && k <= reflect.Complex128:
	case k == reflect.String, k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		n = 1
	case k == reflect.Array:
		n = perByte(t.Elem())
	case k == reflect.Struct:
		for f := range t.Fields() {
			n = max(n, perByte(f.Type))
		}
	default:
		n = pointerBytes
	}
	return n
}

// sizeOfType returns how large a value of a type is without what it refers to.
func sizeOfType[T any]() int { return int(unsafe.Sizeof(*new(T))) }

// lengthOf returns how to tell the length of a value without encoding it, nil if there is no way.
func lengthOf[V any]() func(*V) int {
	switch any((*V)(nil)).(type) {
	case *string:
		return func(v *V) int { return len(*any(v).(*string)) } //nolint:errcheck // it is one
	case *[]byte:
		return func(v *V) int { return len(*any(v).(*[]byte)) } //nolint:errcheck // it is one
	}
	return nil
}

// sizeOf returns the size of a row with a key of the store and what that holds, nil if it holds nothing.
func sizeOf(key, held []byte) rowSize {
	return rowSize{uint16(min(len(key)-1, math.MaxUint16)), uint32(max(0, len(held)-timestampBytes))}
}

// of returns what a row takes.
func (s *rowSizes) of(r rowSize) int64 {
	return s.entry + s.keys*int64(r.key) + s.values*int64(r.value)
}

// lengths tells how long values are, encoded, that are not encoded anyway.
type lengths[V any] struct {
	values  Codec[V]
	perByte int64        // what a value takes for each byte; 0: all are of one size
	length  func(*V) int // of a value that is as long as its bytes; nil: it has to be encoded to know
	passed  int          // values that were not measured since the last one that was encoded for that
	typical uint32       // the length of that
	buf     []byte
}

func lengthsOf[V any](values Codec[V]) lengths[V] {
	return lengths[V]{values: values, perByte: perByte(reflect.TypeFor[V]()), length: lengthOf[V]()}
}

// of returns the length of a value, which was before that before; 0 is not known. One that would have to be encoded for that is
// taken to be as long as before, or as others, but for one of encodeEvery: until the flush encodes it.
func (l *lengths[V]) of(v *V, before uint32) uint32 {
	switch {
	case l.perByte == 0:
		return 0
	case l.length != nil:
		return uint32(l.length(v))
	case l.passed < encodeEvery:
		if l.passed++; before == 0 {
			return l.typical
		}
		return before
	}
	b, err := l.values.Append(l.buf[:0], *v)
	if err != nil {
		return before // the flush will tell
	}
	l.buf, l.passed, l.typical = b, 0, uint32(len(b))
	return l.typical
}

// encodeEvery is of how many values that have to be encoded for their length one is, before the flush.
const encodeEvery = 16

// measure counts the value that was set last.
func (s *kvStore[K, V]) measure() {
	switch c := s.last; {
	case c == nil:
	case !c.row.exists:
		s.resize(c, 0)
	default:
		s.resize(c, int(s.lengths.of(&c.row.value, c.size.value)))
	}
}

// resize counts the length of a value.
func (s *kvStore[K, V]) resize(c *cached[K, V], value int) {
	if uint32(value) == c.size.value || s.sizes.values == 0 {
		return
	}
	d := s.sizes.values * (int64(value) - int64(c.size.value))
	c.size.value = uint32(value)
	if c.dirty {
		s.account.Add(d, d)
		return
	}
	s.account.Add(d, 0)
}

// shrink makes the rows take no more than so many bytes. The memory of those that go is given back. Rows that wait for the
// flush stay until then.
func (s *kvStore[K, V]) shrink(to int64) {
	n := 0
	for ; s.account.Bytes() > to; n++ {
		c := s.clean.prev
		if c == &s.clean {
			break
		}
		c.unlink()
		s.drop(c)
	}
	s.account.Evicted(n)
	s.pressed = s.account.Bytes() > to && len(s.dirty) > 0
	if s.free = nil; len(s.rows) < s.most/2 { // a map does not become smaller by itself
		rows := make(map[K]*cached[K, V], len(s.rows))
		maps.Copy(rows, s.rows)
		s.rows, s.most = rows, len(rows)
	}
}
