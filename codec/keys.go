package codec

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// Records of a topic have their keys in the same order nearly always. keyTable remembers the keys that it has
// seen, and which key followed which, so that a key costs one comparison. Each key carries the number of the
// record in which it came last: that finds duplicates.
//
// Keys that the table has no room for (a feed may have keys without end) go to a keySet instead.
type keyTable struct {
	start   key             // what precedes the first key of a record
	other   key             // stands for all keys that the table does not hold
	index   map[string]*key // by name, without escapes
	learned int             // how many of index are undeclared
	misses  int             // keys that found no room since the last forget
	wait    int             // how many misses it takes to forget
}

type key struct {
	// The first and the last eight bytes of raw, which overlap if it has fewer than 16; if it has fewer than
	// eight, both are all of it, and mask is only as long.
	head, tail, mask uint64

	tailAt   int     // where tail is in raw; beyond any record for a key that is never there
	size     int     // length of raw
	seen     uint64  // number of the last record that had the key
	next     *key    // the key that came after it
	column   *column // where the value goes; nil for an undeclared field
	reserved bool    // the prediction goes here
	name     string
	raw      string // `"name":`, the usual spelling
}

const (
	maxLearnedKeys   = 512
	maxLearnedLength = 128
	firstWait        = 1 << 16
)

func newKeyTable(columns []column, reserved string, undeclared []string) *keyTable {
	t := &keyTable{index: make(map[string]*key), wait: firstWait}
	t.other.tailAt = largestMaxBytes
	t.start.next, t.other.next = &t.other, &t.other
	for i := range columns {
		if k := t.add(columns[i].name); !slices.Contains(undeclared, columns[i].name) {
			k.column = &columns[i]
		}
	}
	if reserved != "" {
		k := t.index[reserved]
		if k == nil {
			k = t.add(reserved)
		}
		k.column, k.reserved = nil, true
	}
	return t
}

func (t *keyTable) add(name string) *key {
	raw := string(appendQuoted(nil, name)) + ":"
	k := &key{name: name, raw: raw, size: len(raw), next: &t.other}
	var padded [8]byte
	n := copy(padded[:], raw)
	k.head = binary.LittleEndian.Uint64(padded[:])
	k.mask = ^uint64(0) >> (64 - 8*n)
	k.tail = k.head
	if k.size > 8 {
		k.tailAt = k.size - 8
		k.tail = binary.LittleEndian.Uint64([]byte(raw[k.tailAt:]))
	}
	t.index[name] = k
	return k
}

// matches tells whether the key is at data[i].
func (k *key) matches(data []byte, i int) bool {
	tail := i + k.tailAt
	if len(data)-tail < 8 {
		return false // so close to the end of the record it is looked up
	}
	differ := (binary.LittleEndian.Uint64(data[i:]) ^ k.head) | (binary.LittleEndian.Uint64(data[tail:]) ^ k.tail)
	return differ&k.mask == 0 && (k.tailAt <= 8 || k.middle(data[i+8:tail]))
}

// middle compares what lies between head and tail.
func (k *key) middle(data []byte) bool { return string(data) == k.raw[8:k.tailAt] }

// learn adds an undeclared key, or returns other when there is no room for it.
func (t *keyTable) learn(name []byte) *key {
	if len(name) > maxLearnedLength {
		return &t.other
	}
	if t.learned >= maxLearnedKeys {
		t.misses++
		return &t.other
	}
	t.learned++
	return t.add(string(name))
}

// forget drops the learned keys when many others have been wanting their place: the feed may have changed. It
// waits twice as long each time, since it may also have more keys than there is room for. It is called
// between records.
func (t *keyTable) forget() {
	if t.misses < t.wait {
		return
	}
	t.start.next = &t.other
	for name, k := range t.index {
		k.next = &t.other
		if k.column == nil && !k.reserved {
			delete(t.index, name)
		}
	}
	t.learned, t.misses = 0, 0
	t.wait *= 2
}

// keySet holds the keys of the objects of one record, to find the ones that come twice. It is a hash table
// with open addressing; a slot of an earlier record counts as empty. The seed is random, so that nobody can
// make keys that collide.
type keySet struct {
	seed   maphash.Seed
	slots  []keySlot
	used   int
	record uint64
	text   []byte // the keys, end to end
}

type keySlot struct {
	record     uint64
	object     uint32
	hash       uint32
	start, end uint32 // in text
}

func newKeySet() keySet {
	return keySet{seed: maphash.MakeSeed(), slots: make([]keySlot, 64)}
}

// reset empties the set.
func (s *keySet) reset() {
	s.record++
	s.used, s.text = 0, s.text[:0]
}

// add adds a key of one object of the record; false if it is there already. It copies name.
func (s *keySet) add(object uint32, name []byte) bool {
	if 2*s.used >= len(s.slots) {
		s.grow()
	}
	hash := uint32(maphash.Bytes(s.seed, name)) ^ object*0x9E3779B1
	mask := uint32(len(s.slots) - 1)
	i := hash & mask
	for ; s.slots[i].record == s.record; i = (i + 1) & mask {
		if o := &s.slots[i]; o.hash == hash && o.object == object && bytes.Equal(s.text[o.start:o.end], name) {
			return false
		}
	}
	start := uint32(len(s.text))
	s.text = append(s.text, name...)
	s.slots[i] = keySlot{record: s.record, object: object, hash: hash, start: start, end: uint32(len(s.text))}
	s.used++
	return true
}

func (s *keySet) grow() {
	old := s.slots
	s.slots = make([]keySlot, 2*len(old))
	mask := uint32(len(s.slots) - 1)
	for _, o := range old {
		if o.record != s.record {
			continue
		}
		i := o.hash & mask
		for s.slots[i].record == s.record {
			i = (i + 1) & mask
		}
		s.slots[i] = o
	}
}
