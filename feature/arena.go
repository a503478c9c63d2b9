package feature

import (
	"unsafe"

	"millrace.dev/record"
)

// text is a value of a text column: bytes that stay as they are while the value is in use.
type text struct {
	s  string
	ok bool // false is missing
}

// arena holds the bytes of texts that expressions make. What it gave out stays valid until reset, even when it
// grows. Once it is large enough for what happens between two resets it allocates no more.
type arena struct{ buf []byte }

func (a *arena) reset() { a.buf = a.buf[:0] }

// grow returns room for n bytes, empty, to append to.
func (a *arena) grow(n int) []byte {
	if cap(a.buf)-len(a.buf) < n {
		a.buf = make([]byte, 0, max(2*cap(a.buf), n, 1024))
	}
	end := len(a.buf)
	return a.buf[end : end : end+n]
}

// keep makes a text of b, which grow returned and which was appended to.
func (a *arena) keep(b []byte) text {
	if len(b) == 0 {
		return text{ok: true}
	}
	a.buf = a.buf[:len(a.buf)+len(b)]
	return text{unsafe.String(unsafe.SliceData(b), len(b)), true}
}

// copied returns a copy of a text of a machine, whose memory is used again for the next tile.
func (a *arena) copied(t text) record.Text {
	if !t.ok || t.s == "" {
		return record.Text{OK: t.ok}
	}
	return record.Text{S: a.keep(append(a.grow(len(t.s)), t.s...)).s, OK: true}
}
