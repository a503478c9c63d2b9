package task

import (
	"bytes"
	"encoding/binary"
	"slices"

	"millrace.dev/record"
)

// OriginHeader is the last header of each record of a topic that carries origins: it holds the record that
// led to it, so far as that differs. What comes of the record names that one then, not the record of an internal topic.
const OriginHeader = "millrace.origin"

const (
	originNullKey byte = 1 << iota
	originSameKey
	originNullValue
	originSameValue
	originSameHeaders
	originUnreadable
)

// AppendOrigin appends the value of the header of m, whose headers do not have it yet, for the record that led to it.
func AppendOrigin(dst []byte, m *Message, origin *record.Raw) []byte {
	flags := originFlags(origin.Key, m.Key, originNullKey, originSameKey) |
		originFlags(origin.Value, m.Value, originNullValue, originSameValue)
	if slices.EqualFunc(origin.Headers, m.Headers, func(a, b record.Header) bool {
		return a.Key == b.Key && (a.Value == nil) == (b.Value == nil) && bytes.Equal(a.Value, b.Value)
	}) {
		flags |= originSameHeaders
	}
	if origin.Unreadable {
		flags |= originUnreadable
	}
	dst = append(dst, flags)
	dst = appendText(dst, origin.Topic)
	dst = binary.AppendVarint(dst, int64(origin.Partition))
	dst = binary.AppendVarint(dst, origin.Offset)
	dst = binary.AppendVarint(dst, origin.Timestamp)
	if flags&(originNullKey|originSameKey) == 0 {
		dst = appendText(dst, origin.Key)
	}
	if flags&(originNullValue|originSameValue) == 0 {
		dst = appendText(dst, origin.Value)
	}
	if flags&originSameHeaders == 0 {
		dst = binary.AppendUvarint(dst, uint64(len(origin.Headers)))
		for _, h := range origin.Headers {
			dst = appendText(dst, h.Key)
			null := byte(0)
			if h.Value == nil {
				null = 1
			}
			dst = appendText(append(dst, null), h.Value)
		}
	}
	return dst
}

func originFlags(of, like []byte, null, same byte) byte {
	switch {
	case of == nil:
		return null
	case like != nil && bytes.Equal(of, like):
		return same
	default:
		return 0
	}
}

func appendText[T []byte | string](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// WithoutOrigin returns the headers of a record of a topic that carries origins, without that one.
func WithoutOrigin(hs []record.Header) []record.Header {
	if n := len(hs) - 1; n >= 0 && hs[n].Key == OriginHeader {
		return hs[:n:n]
	}
	return hs
}

// Origin returns the record that led to raw: raw itself, unless it is of a topic that carries origins. That
// one is made in into, and refers to the bytes of raw. A header that is damaged counts as none.
func (p *Program) Origin(raw, into *record.Raw) *record.Raw {
	n := len(raw.Headers) - 1
	if !slices.Contains(p.Origins, raw.Topic) || n < 0 || raw.Headers[n].Key != OriginHeader || len(raw.Headers[n].Value) == 0 {
		return raw
	}
	b := raw.Headers[n].Value
	flags := b[0]
	r := originReader{b: b[1:], ok: true}
	if topic := r.text(); into.Topic != string(topic) {
		into.Topic = string(topic)
	}
	into.Unreadable = flags&originUnreadable != 0
	into.Partition, into.Offset, into.Timestamp = int32(r.number()), r.number(), r.number()
	into.Key = r.part(flags, originNullKey, originSameKey, raw.Key)
	into.Value = r.part(flags, originNullValue, originSameValue, raw.Value)
	if into.Headers = raw.Headers[:n:n]; flags&originSameHeaders == 0 {
		into.Headers = r.headers()
	}
	if !r.ok {
		return raw
	}
	return into
}

// originReader reads what AppendOrigin has written.
type originReader struct {
	b  []byte
	ok bool
}

func (r *originReader) fail() { r.b, r.ok = nil, false }

func (r *originReader) text() []byte {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)-size) {
		r.fail()
		return nil
	}
	end := size + int(n)
	b := r.b[size:end:end]
	r.b = r.b[end:]
	return b
}

func (r *originReader) number() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

// part returns a key or value: null, the same as that of the record, or what follows.
func (r *originReader) part(flags, null, same byte, own []byte) []byte {
	switch {
	case flags&null != 0:
		return nil
	case flags&same != 0:
		return own
	default:
		return r.text()
	}
}

func (r *originReader) headers() []record.Header {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > uint64(len(r.b)) { // a header takes more than a byte
		r.fail()
		return nil
	}
	r.b = r.b[size:]
	var hs []record.Header
	for range n {
		h := record.Header{Key: string(r.text())}
		if len(r.b) == 0 {
			r.fail()
			return nil
		}
		null := r.b[0] == 1
		r.b = r.b[1:]
		if h.Value = r.text(); null {
			h.Value = nil
		}
		hs = append(hs, h)
	}
	return hs
}
