package table

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"millrace.dev/record"
)

// index finds the entries of keys. Readers take no lock: an entry does not change once they can see it, a slot gets others for
// the same key, and a larger array of slots takes the place of one that is full. With a million keys most of a look-up is
// waiting for memory, so that a slot holds the hash, and an entry, one line of a cache, the key if it is short.
type index struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]slot] // a power of two, less than three quarters in use
	gone  entry                  // stands in the slots of keys that are no more

	// Of the writer.
	used int // slots that are not empty
	live int // those of keys
}

// slot is empty as long as entry is nil; hash is not changed after that.
type slot struct {
	hash  uint64
	entry atomic.Pointer[entry]
}

// entry is what a table knows of a key: the last version, and all of them where there are more, or where the last one is not
// all that is to be known of it. It is immutable.
type entry struct {
	row      *record.Row // nil: deleted
	at       int64
	all      *[]version
	long     string // the key, if it does not fit short
	short    [inline]byte
	size     uint8 // of the key in short, or one of the constants
	snapshot bool
	older    bool
	guess    bool
}

const (
	inline    = 20
	longKey   = 0xFE
	noKey     = 0xFF
	fewestLog = 8 // an index has at least so many slots, as a power of two
)

func (x *index) init() {
	x.seed = maphash.MakeSeed()
	x.gone.size = noKey
	x.clear()
}

// clear removes all keys.
func (x *index) clear() {
	slots := make([]slot, 1<<fewestLog)
	x.used, x.live = 0, 0
	x.slots.Store(&slots)
}

// setKey makes key that of an entry which nobody can see yet.
func (e *entry) setKey(key string) {
	if len(key) <= inline {
		e.size = uint8(copy(e.short[:], key))
		return
	}
	e.long, e.size = key, longKey
}

// key returns the key of an entry.
func (e *entry) key() string {
	if e.size == longKey {
		return e.long
	}
	return unsafe.String(&e.short[0], int(e.size))
}

// has tells whether the entry is that of a key.
func (e *entry) has(key string) bool {
	if e.size <= inline {
		return string(e.short[:e.size]) == key
	}
	return e.size == longKey && e.long == key
}

// find returns the entry of a key, or nil.
func (x *index) find(key string) *entry {
	hash := maphash.String(x.seed, key)
	slots := *x.slots.Load()
	for i := hash; ; i++ {
		s := &slots[i&uint64(len(slots)-1)]
		e := s.entry.Load()
		if e == nil || s.hash == hash && e.has(key) {
			return e
		}
	}
}

// set makes e the entry of its key; nil removes it.
func (x *index) set(key string, e *entry) {
	hash := maphash.String(x.seed, key)
	slots := *x.slots.Load()
	for i := hash; ; i++ {
		s := &slots[i&uint64(len(slots)-1)]
		old := s.entry.Load()
		switch {
		case old == nil && e == nil:
			return
		case old == nil:
			s.hash = hash
			s.entry.Store(e)
			x.used++
			x.live++
			x.resize()
			return
		case s.hash == hash && old.has(key):
			if e == nil {
				e = &x.gone
				x.live--
			}
			s.entry.Store(e)
			x.resize()
			return
		}
	}
}

// resize moves the entries to other slots, if those in use are too many, or for the most part of keys that are no more.
func (x *index) resize() {
	n := len(*x.slots.Load())
	if 4*x.used < 3*n && (n == 1<<fewestLog || 8*x.live > n || 2*x.live > x.used) {
		return
	}
	size := 1 << max(fewestLog, bits.Len(uint(2*x.live)))
	slots := make([]slot, size)
	for i := range *x.slots.Load() {
		s := &(*x.slots.Load())[i]
		if e := s.entry.Load(); e != nil && e != &x.gone {
			at := s.hash
			for slots[at&uint64(size-1)].entry.Load() != nil {
				at++
			}
			to := &slots[at&uint64(size-1)]
			to.hash = s.hash
			to.entry.Store(e)
		}
	}
	x.used = x.live
	x.slots.Store(&slots)
}

// each calls fn for each entry until it returns false. Those of keys that fn sets or removes may come or not.
func (x *index) each(fn func(e *entry) bool) {
	slots := *x.slots.Load()
	for i := range slots {
		if e := slots[i].entry.Load(); e != nil && e != &x.gone && !fn(e) {
			return
		}
	}
}
