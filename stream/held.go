package stream

import (
	"bytes"
	"encoding/binary"
	"errors"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Records that wait in a store keep what they were made of, so that what is sent on later has its headers, and names
// its source, as if it had not waited.
const (
	heldNull        byte = 1 << iota // the codec encodes the value as null
	heldSource                       // the record of the source follows
	heldSameHeaders                  // its headers are those of the record
	heldSameKey                      // its key is the key
	heldSameValue                    // its value is the value
	heldKeyNull
	heldValueNull
)

var errHeld = errors.New("a record in the store is damaged")

// appendHeld appends the value of a record that is to wait, and what belongs to it. value is encoded, and nil for null;
// key is the key in the store.
func appendHeld(dst, key, value []byte, headers []record.Header, source *record.Raw) []byte {
	var flags byte
	if value == nil {
		flags |= heldNull
	}
	if source != nil {
		flags |= heldSource
		if sameHeaders(headers, source.Headers) {
			flags |= heldSameHeaders
		}
		flags |= heldFlags(source.Key, key, heldSameKey, heldKeyNull) | heldFlags(source.Value, value, heldSameValue, heldValueNull)
	}
	dst = append(dst, flags)
	dst = appendBytes(dst, value)
	dst = appendHeaders(dst, headers)
	if source == nil {
		return dst
	}
	dst = appendBytes(dst, source.Topic)
	dst = binary.AppendVarint(dst, int64(source.Partition))
	dst = binary.AppendVarint(dst, source.Offset)
	dst = binary.AppendVarint(dst, source.Timestamp)
	if flags&heldSameHeaders == 0 {
		dst = appendHeaders(dst, source.Headers)
	}
	if flags&(heldSameKey|heldKeyNull) == 0 {
		dst = appendBytes(dst, source.Key)
	}
	if flags&(heldSameValue|heldValueNull) == 0 {
		dst = appendBytes(dst, source.Value)
	}
	return dst
}

func heldFlags(of, like []byte, same, null byte) byte {
	switch {
	case of == nil:
		return null
	case like != nil && bytes.Equal(of, like):
		return same
	}
	return 0
}

func sameHeaders(a, b []record.Header) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func appendBytes[T []byte | string](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendHeaders(dst []byte, hs []record.Header) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(hs)))
	for _, h := range hs {
		dst = appendBytes(dst, h.Key)
		if h.Value == nil {
			dst = append(dst, 0)
			continue
		}
		dst = appendBytes(append(dst, 1), h.Value)
	}
	return dst
}

// held is a record that has waited.
type held struct {
	value     []byte // encoded; nil is null
	headers   []record.Header
	source    record.Raw
	hasSource bool
}

// heldOf reads what appendHeld has written. The result refers to neither argument.
func heldOf(key, b []byte) (h held, err error) {
	if len(b) == 0 {
		return h, errHeld
	}
	r := heldReader{b: bytes.Clone(b[1:])}
	flags := b[0]
	h.value = r.bytes()
	if flags&heldNull != 0 {
		h.value = nil
	}
	h.headers = r.headers()
	if flags&heldSource == 0 {
		return h, r.err
	}
	h.hasSource = true
	h.source = record.Raw{Topic: string(r.bytes()), Partition: int32(r.varint()), Offset: r.varint(), Timestamp: r.varint()}
	if h.source.Headers = h.headers; flags&heldSameHeaders == 0 {
		h.source.Headers = r.headers()
	}
	switch {
	case flags&heldSameKey != 0:
		h.source.Key = bytes.Clone(key)
	case flags&heldKeyNull == 0:
		h.source.Key = r.bytes()
	}
	switch {
	case flags&heldSameValue != 0:
		h.source.Value = h.value
	case flags&heldValueNull == 0:
		h.source.Value = r.bytes()
	}
	return h, r.err
}

// enter makes the source of the record the present one, and returns what it was.
func (h *held) enter(ctx *task.Context) *record.Raw {
	if !h.hasSource {
		return ctx.SetRecord(nil)
	}
	return ctx.SetRecord(&h.source)
}

// heldReader reads parts of what is in a store.
type heldReader struct {
	b   []byte
	err error
}

func (r *heldReader) bytes() []byte {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.b, r.err = nil, errHeld
		return nil
	}
	end := size + int(n)
	b := r.b[size:end:end]
	r.b = r.b[end:]
	return b
}

func (r *heldReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.b, r.err = nil, errHeld
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *heldReader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.b, r.err = nil, errHeld
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *heldReader) headers() []record.Header {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)) {
		r.b, r.err = nil, errHeld
		return nil
	}
	r.b = r.b[size:]
	if n == 0 {
		return nil
	}
	hs := make([]record.Header, n)
	for i := range hs {
		hs[i].Key = string(r.bytes())
		if r.err != nil || len(r.b) == 0 {
			r.err = errHeld
			return nil
		}
		null := r.b[0] == 0
		if r.b = r.b[1:]; !null {
			hs[i].Value = r.bytes()
		}
	}
	return hs
}
