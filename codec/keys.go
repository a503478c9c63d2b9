package codec

import (
	"bytes"
	"hash/maphash"
)

// Records of a topic have their keys in the same order nearly always. keyTable remembers the keys that it has seen,
// and which key followed which, so that a key costs one comparison. Each key carries the number of
// the record in which it came last: that finds duplicates.
//
// Keys that the table has no room for (a feed may have keys without end) go to a keySet instead.
type keyTable struct {
	keys     []key
	index    map[string]int32 // by name, without escapes
	declared int              // keys up to here stay for good
	misses   int              // keys that found no room since the last forget
}

type key struct {
	name  string
	raw   string // `"name":`, the usual spelling
	seen  uint64 // number of the last record that had the key
	next  int32  // the key that came after it
	field int32  // position in the schema, or one of the following
}

const (
	fieldSkip     int32 = -1 // an undeclared field
	fieldReserved int32 = -2 // the field that the prediction goes to
)

const (
	keyStart int32 = 0 // what precedes the first key of a record
	keyOther int32 = 1 // stands for all keys that the table does not hold

	maxLearnedKeys   = 512
	maxLearnedLength = 128
	missesToForget   = 1 << 16
)

func newKeyTable(columns []column, reserved string) keyTable {
	t := keyTable{index: make(map[string]int32)}
	// No JSON key is spelled like these two, so they are never predicted right.
	t.keys = append(t.keys, key{raw: "start", next: keyOther}, key{raw: "other", next: keyOther, field: fieldSkip})
	for i := range columns {
		t.add(columns[i].name, int32(i))
	}
	if reserved != "" {
		if k, ok := t.index[reserved]; ok {
			t.keys[k].field = fieldReserved
		} else {
			t.add(reserved, fieldReserved)
		}
	}
	t.declared = len(t.keys)
	return t
}

func (t *keyTable) add(name string, field int32) int32 {
	k := int32(len(t.keys))
	t.keys = append(t.keys, key{name: name, raw: string(appendQuoted(nil, name)) + ":", next: keyOther, field: field})
	t.index[name] = k
	return k
}

// learn adds an undeclared key, or returns keyOther when there is no room for it.
func (t *keyTable) learn(name []byte) int32 {
	if len(name) > maxLearnedLength {
		return keyOther
	}
	if len(t.keys)-t.declared >= maxLearnedKeys {
		t.misses++
		return keyOther
	}
	return t.add(string(name), fieldSkip)
}

// forget drops the learned keys when many others have been wanting their place. It is called between records.
func (t *keyTable) forget() {
	if t.misses < missesToForget {
		return
	}
	t.misses = 0
	for name, k := range t.index {
		if int(k) >= t.declared {
			delete(t.index, name)
		}
	}
	t.keys = t.keys[:t.declared]
	for i := range t.keys {
		t.keys[i].next = keyOther
	}
}

// keySet holds the keys of the objects of one record, to find the ones that come twice. It is a hash table
// with open addressing; a slot of an earlier record counts as empty. The seed is random, so that nobody can make keys that collide.
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
