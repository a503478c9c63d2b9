package store

import (
	"bytes"
	"hash/maphash"
	"unsafe"
)

// overlay holds the writes of one generation to one store: the last write of each key, found by hash in the time
// that a map takes, and in order for those who ask for order.
//
// Writes are numbered. A scan sees those up to the number at which it began: while one is under way, a write keeps
// the value that it replaces.
type overlay struct {
	seed    maphash.Seed
	entries []entry  // by the time of their key's first write
	table   []uint64 // open addressing: the hash's upper half, and below it the index in entries plus one; 0 is free
	order   order    // of entries[:ordered]
	ordered int
	fed     int   // how often order has changed
	spans   spans // the ranges that were deleted
	memory  arena
	seq     uint64 // the number of the last write
	pinned  uint64 // values of writes up to this number must stay as they are, since someone looks at them
	scans   int    // how many scans are under way
	usual   int    // how many entries the generations before have had
}

// entry is a key with its last write.
type entry struct {
	key, value []byte // value's memory is used again where it can be
	deleted    bool
	seq        uint64
	old        *version
}

// version is a value that a later write has replaced while a scan was under way.
type version struct {
	value   []byte
	deleted bool
	seq     uint64
	old     *version
}

// entryBytes is about what a key costs beside its bytes and those of its value.
const entryBytes = 96

const firstTable = 64

func newOverlay(seed maphash.Seed) *overlay { return &overlay{seed: seed} }

// empty tells whether there is no write.
func (o *overlay) empty() bool { return len(o.entries) == 0 && len(o.spans) == 0 }

// bytes returns about how much memory the writes take.
func (o *overlay) bytes() int64 {
	return int64(o.memory.used) + int64(len(o.entries))*entryBytes + int64(len(o.spans))*entryBytes
}

// held returns how much memory the generation has, in use or not.
func (o *overlay) held() int64 {
	return int64(max(o.memory.size, o.memory.used)) + int64(cap(o.entries))*int64(unsafe.Sizeof(entry{})) + int64(len(o.table))*8
}

// find returns the index of the key's entry, and the hash of the key.
func (o *overlay) find(key []byte) (id int, hash uint64) {
	if len(o.table) == 0 {
		return -1, 0
	}
	hash = maphash.Bytes(o.seed, key)
	mask := uint64(len(o.table) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := o.table[i]
		if slot == 0 {
			return -1, hash
		}
		if slot>>32 == hash>>32 {
			id := int(uint32(slot)) - 1
			if bytes.Equal(o.entries[id].key, key) {
				return id, hash
			}
		}
	}
}

// get returns the value of key where the generation says what it is; a value of nil is that there is none.
func (o *overlay) get(key []byte) (value []byte, known bool) {
	if id, _ := o.find(key); id >= 0 {
		return o.current(&o.entries[id]), true
	}
	return nil, len(o.spans) > 0 && o.spans.find(key) != nil
}

// current returns the value of an entry now, nil if it is deleted.
func (o *overlay) current(e *entry) []byte {
	if e.deleted {
		return nil
	}
	if len(o.spans) > 0 {
		if s := o.spans.find(e.key); s != nil && s.seq > e.seq {
			return nil
		}
	}
	return e.value
}

// put writes value to key; nil deletes it.
func (o *overlay) put(key, value []byte) {
	o.seq++
	id, hash := o.find(key)
	if id < 0 {
		o.insert(key, value, hash)
		return
	}
	e := &o.entries[id]
	pinned := e.seq <= o.pinned
	if pinned && o.scans > 0 {
		e.old = &version{value: e.value, deleted: e.deleted, seq: e.seq, old: e.old}
	}
	switch {
	case value == nil:
		if pinned {
			e.value = nil // someone still looks at its memory
		}
	case !pinned && len(value) <= cap(e.value):
		if e.value = append(e.value[:0], value...); e.value == nil {
			e.value = []byte{}
		}
	default:
		e.value = o.memory.copyOf(value, cap(e.value)*3/2) // what has grown may grow again
	}
	e.deleted, e.seq = value == nil, o.seq
}

func (o *overlay) insert(key, value []byte, hash uint64) {
	if len(o.entries)*4 >= len(o.table)*3 {
		o.rehash(max(firstTable, 2*len(o.table)))
		hash = maphash.Bytes(o.seed, key)
	}
	e := entry{key: o.memory.copyOf(key, 0), deleted: value == nil, seq: o.seq}
	if value != nil {
		e.value = o.memory.copyOf(value, 0)
	}
	o.entries = append(o.entries, e)
	o.place(hash, len(o.entries))
}

// place writes the slot of the entry with the index n-1.
func (o *overlay) place(hash uint64, n int) {
	mask := uint64(len(o.table) - 1)
	i := hash & mask
	for o.table[i] != 0 {
		i = (i + 1) & mask
	}
	o.table[i] = hash>>32<<32 | uint64(uint32(n))
}

func (o *overlay) rehash(size int) {
	o.table = make([]uint64, size)
	for id := range o.entries {
		o.place(maphash.Bytes(o.seed, o.entries[id].key), id+1)
	}
}

// deleteRange deletes [from, to), which is not empty; to nil is an open end.
func (o *overlay) deleteRange(from, to []byte) {
	o.seq++
	s := span{from: o.memory.copyOf(from, 0), seq: o.seq}
	if to != nil {
		s.to = o.memory.copyOf(to, 0)
	}
	o.spans = o.spans.add(s, o.scans > 0)
}

// arrange brings all entries into order.
func (o *overlay) arrange() {
	if o.ordered == len(o.entries) {
		return
	}
	o.fed++
	if o.ordered == 0 {
		o.order.fill(o.entries)
	} else {
		for id := o.ordered; id < len(o.entries); id++ {
			o.order.insert(o.entries, uint32(id))
		}
	}
	o.ordered = len(o.entries)
}

// pin keeps the values of all writes so far as they are.
func (o *overlay) pin() { o.pinned = o.seq }

// reset forgets all writes. Memory that they needed is kept for the next ones.
func (o *overlay) reset() {
	o.usual = max(len(o.entries), o.usual/2)
	if len(o.table) > 8*max(firstTable, o.usual) {
		o.table, o.entries, o.order = nil, nil, order{}
	}
	clear(o.table)
	clear(o.entries)
	o.entries = o.entries[:0]
	o.order.reset()
	o.memory.reset()
	o.ordered, o.spans, o.seq, o.pinned = 0, nil, 0, 0
	o.fed++
}

// each calls f with every entry in the order of keys. All entries must be in order.
func (o *overlay) each(f func(e *entry)) {
	for _, b := range o.order.blocks {
		for _, id := range b {
			f(&o.entries[id])
		}
	}
}

// at returns what the generation said of an entry's key after the write with the number seq, when ss were the ranges
// that were deleted.
func (o *overlay) at(e *entry, seq uint64, ss spans) (value []byte, known bool) {
	v := version{value: e.value, deleted: e.deleted, seq: e.seq, old: e.old}
	for v.seq > seq {
		if v.old == nil {
			return nil, false
		}
		v = *v.old
	}
	if v.deleted {
		return nil, true
	}
	if len(ss) > 0 {
		if s := ss.find(e.key); s != nil && s.seq > v.seq {
			return nil, true
		}
	}
	return v.value, true
}
