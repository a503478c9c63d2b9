package source

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The types of Thrift's compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// Bounds on a footer.
const (
	maxFooter      = 64 << 20
	maxFooterItems = 1 << 20 // structs in lists: columns of row groups, above all
	maxFooterDepth = 32
)

// checkThrift tells whether b begins with a struct of Thrift's compact protocol that is whole. The library makes room for lists and texts
// of the length that the bytes claim, and for structs inside structs without end: a few bytes could ask for all memory.
func checkThrift(b []byte) error {
	w := thriftWalker{b: b}
	w.structure(0)
	return w.err
}

type thriftWalker struct {
	b     []byte
	items int
	err   error
}

var errThrift = errors.New("its metadata is cut short")

// take removes n bytes, or fails.
func (w *thriftWalker) take(n uint64) []byte {
	if w.err != nil || n > uint64(len(w.b)) {
		w.fail(errThrift)
		return nil
	}
	taken := w.b[:n]
	w.b = w.b[n:]
	return taken
}

func (w *thriftWalker) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *thriftWalker) octet() byte {
	if b := w.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (w *thriftWalker) varint() uint64 {
	u, n := binary.Uvarint(w.b)
	if n <= 0 {
		w.fail(errThrift)
		return 0
	}
	w.b = w.b[n:]
	return u
}

func (w *thriftWalker) structure(depth int) {
	if depth > maxFooterDepth {
		w.fail(fmt.Errorf("its metadata is nested more than %d deep", maxFooterDepth))
	}
	for w.err == nil {
		head := w.octet()
		if head == 0 {
			return
		}
		if head>>4 == 0 {
			w.varint() // the field's number in full
		}
		switch kind := head & 0xF; kind {
		case thriftTrue, thriftFalse: // the type is the value
		default:
			w.value(kind, depth)
		}
	}
}

// value walks over a value that is not a field's truth value.
func (w *thriftWalker) value(kind byte, depth int) {
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		w.take(1)
	case thriftI16, thriftI32, thriftI64:
		w.varint()
	case thriftDouble:
		w.take(8)
	case thriftBinary:
		w.take(w.varint())
	case thriftList, thriftSet:
		head := w.octet()
		n := uint64(head >> 4)
		if n == 0xF {
			n = w.varint()
		}
		w.list(n, depth, head&0xF)
	case thriftMap:
		if n := w.varint(); n > 0 {
			kinds := w.octet()
			w.list(n, depth, kinds>>4, kinds&0xF)
		}
	case thriftStruct:
		w.structure(depth + 1)
	default:
		w.fail(fmt.Errorf("its metadata has a value of the unknown type %d", kind))
	}
}

// list walks over n items that consist of values of the given types, each at least a byte.
func (w *thriftWalker) list(n uint64, depth int, kinds ...byte) {
	if n > uint64(len(w.b)) || depth > maxFooterDepth {
		w.fail(errThrift)
		return
	}
	for range n {
		for _, kind := range kinds {
			if kind == thriftStruct || kind == thriftList || kind == thriftSet || kind == thriftMap {
				if w.items++; w.items > maxFooterItems {
					w.fail(fmt.Errorf("its metadata describes more than %d things", maxFooterItems))
				}
			}
			w.value(kind, depth+1)
			if w.err != nil {
				return
			}
		}
	}
}
