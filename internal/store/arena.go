package store

// arena gives out memory for copies of keys and values, which is taken back all at once.
type arena struct {
	chunk  []byte   // what is left of the current chunk
	chunks [][]byte // all chunks, whole; the current one is chunks[next-1]
	next   int
	keep   int // how many chunks the generations before have needed
	size   int // of all chunks
	used   int // what has been given out, also of memory that is not in a chunk
}

const (
	firstChunk = 4 << 10
	largeChunk = 256 << 10
	// large is the size from which on a copy gets memory of its own, so that no more than an eighth of a chunk is
	// left unused.
	large = largeChunk / 8
)

// copyOf returns a copy of b, never nil, in memory of at least room bytes.
func (a *arena) copyOf(b []byte, room int) []byte {
	n := len(b)
	c := (max(n, room) + 7) &^ 7
	if c == 0 {
		return []byte{}
	}
	a.used += c
	if c > large {
		return append(make([]byte, 0, c), b...)
	}
	if len(a.chunk) < c {
		a.grow(c)
	}
	p := a.chunk[:n:c]
	a.chunk = a.chunk[c:]
	copy(p, b)
	return p
}

// grow makes a chunk of at least n bytes current.
func (a *arena) grow(n int) {
	for a.next < len(a.chunks) {
		a.chunk = a.chunks[a.next]
		a.next++
		if len(a.chunk) >= n {
			return
		}
	}
	size := min(max(firstChunk, a.size), largeChunk)
	for size < n {
		size *= 2
	}
	a.chunk = make([]byte, size)
	a.chunks = append(a.chunks, a.chunk)
	a.size += size
	a.next = len(a.chunks)
}

// reset takes all memory back. It keeps what was of use for the next time.
func (a *arena) reset() {
	a.keep = max(a.next, a.keep/2)
	if a.keep < len(a.chunks) {
		clear(a.chunks[a.keep:])
		a.chunks = a.chunks[:a.keep]
	}
	a.size = 0
	for _, c := range a.chunks {
		a.size += len(c)
	}
	a.chunk, a.next, a.used = nil, 0, 0
}
