package store

import (
	"bytes"
	"slices"
	"sort"
)

// table is an ordered map that never changes: a write makes a new one, which shares with the old what is
// alike in both. So who reads one needs no lock, and has a snapshot for nothing.
type table struct {
	blocks []*block // none of them empty
	len    int
	bytes  int64
}

// block is a run of neighbouring keys.
type block struct {
	items []item
	bytes int64
}

// item is a key with its value, in one piece of memory.
type item struct {
	data []byte
	klen int
}

// blockItems is how many items a block holds at most. A write copies its block, so it is small.
const blockItems = 32

// itemBytes is what an item costs beside its bytes.
const itemBytes = 32

func newItem(key, value []byte) item {
	data := make([]byte, len(key)+len(value))
	copy(data[copy(data, key):], value)
	return item{data, len(key)}
}

func (i *item) key() []byte   { return i.data[:i.klen:i.klen] }
func (i *item) value() []byte { return i.data[i.klen:] }

// spot is a position in a table: the item at blocks[block].items[at], or the end, with block == len(blocks).
type spot struct{ block, at int }

// blockOf returns the index of the block from the index lo on that has the key, if one has: the last that does not
// begin after it, or lo.
func (t *table) blockOf(key []byte, lo int) int {
	first, hi := lo, len(t.blocks)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bytes.Compare(t.blocks[mid].items[0].key(), key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(lo-1, first)
}

// seek returns the place of the first key that is not less than key.
func (t *table) seek(key []byte) spot {
	b := t.blockOf(key, 0)
	if b == len(t.blocks) {
		return spot{b, 0}
	}
	i := t.blocks[b].seek(key)
	if i == len(t.blocks[b].items) {
		return spot{b + 1, 0}
	}
	return spot{b, i}
}

// seek returns the index of the first item whose key is not less than key.
func (b *block) seek(key []byte) int {
	lo, hi := 0, len(b.items)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bytes.Compare(b.items[mid].key(), key) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// get returns the value of key, nil where there is none.
func (t *table) get(key []byte) []byte {
	b := t.blockOf(key, 0)
	if b == len(t.blocks) {
		return nil
	}
	blk := t.blocks[b]
	if i := blk.seek(key); i < len(blk.items) && bytes.Equal(blk.items[i].key(), key) {
		return blk.items[i].value()
	}
	return nil
}

// without returns the table without the keys from from to to; nil is an open end.
func (t *table) without(from, to []byte) *table {
	start, end := t.seek(from), spot{len(t.blocks), 0}
	if to != nil {
		end = t.seek(to)
	}
	if start.block > end.block || start.block == end.block && start.at >= end.at {
		return t
	}
	n := &table{blocks: make([]*block, 0, len(t.blocks)+1), len: t.len, bytes: t.bytes}
	n.blocks = append(n.blocks, t.blocks[:start.block]...)
	for b := start.block; b < min(end.block+1, len(t.blocks)); b++ {
		n.len -= len(t.blocks[b].items)
		n.bytes -= t.blocks[b].bytes
	}
	if start.at > 0 {
		n.push(t.blocks[start.block].items[:start.at])
	}
	if end.block < len(t.blocks) {
		n.push(t.blocks[end.block].items[end.at:])
		n.blocks = append(n.blocks, t.blocks[end.block+1:]...)
	}
	return n
}

// push adds items, which it copies, after all others.
func (t *table) push(items []item) {
	for len(items) > 0 {
		n := len(items)
		if n > blockItems {
			n = min(n-n/2, blockItems*3/4) // halves of one block, or blocks with room for what comes later
		}
		if last := len(t.blocks) - 1; last >= 0 && n+len(t.blocks[last].items) <= blockItems/2 {
			items = append(append([]item(nil), t.blocks[last].items...), items[:n]...)
			t.len -= len(t.blocks[last].items)
			t.bytes -= t.blocks[last].bytes
			t.blocks = t.blocks[:last]
			n = len(items)
		}
		b := &block{items: append(make([]item, 0, n), items[:n]...)}
		for i := range b.items {
			b.bytes += int64(len(b.items[i].data)) + itemBytes
		}
		t.blocks = append(t.blocks, b)
		t.len += n
		t.bytes += b.bytes
		items = items[n:]
	}
}

// write is one write to a table: a value, or nil to delete.
type write struct{ key, value []byte }

// with returns the table with the writes, which are in order and of different keys. It copies what it keeps of them.
func (t *table) with(writes []write) *table {
	if len(writes) == 0 {
		return t
	}
	n := &table{blocks: make([]*block, 0, len(t.blocks)+len(writes)/blockItems+1), len: t.len, bytes: t.bytes}
	var merged []item
	next := 0 // the first block of t that is not in n yet
	for len(writes) > 0 {
		var old []item
		b := t.blockOf(writes[0].key, next)
		n.blocks = append(n.blocks, t.blocks[next:b]...)
		count := len(writes)
		if b < len(t.blocks) {
			old = t.blocks[b].items
			n.len -= len(old)
			n.bytes -= t.blocks[b].bytes
			if b+1 < len(t.blocks) {
				limit := t.blocks[b+1].items[0].key()
				count = sort.Search(len(writes), func(i int) bool { return bytes.Compare(writes[i].key, limit) >= 0 })
			}
			next = b + 1
		}
		merged = merge(merged[:0], old, writes[:count])
		n.push(merged)
		writes = writes[count:]
	}
	if next < len(t.blocks) {
		n.blocks = append(n.blocks, t.blocks[next:]...)
	}
	return n
}

// merge appends old with the writes applied to dst.
func merge(dst, old []item, writes []write) []item {
	for i := range writes {
		w := &writes[i]
		for len(old) > 0 && bytes.Compare(old[0].key(), w.key) < 0 {
			dst = append(dst, old[0])
			old = old[1:]
		}
		if len(old) > 0 && bytes.Equal(old[0].key(), w.key) {
			old = old[1:]
		}
		if w.value != nil {
			dst = append(dst, newItem(w.key, w.value))
		}
	}
	return append(dst, old...)
}

// lastOfEach brings writes into order and leaves the last one of each key.
func lastOfEach(writes []write) []write {
	slices.SortStableFunc(writes, func(a, b write) int { return bytes.Compare(a.key, b.key) })
	n := 0
	for i := range writes {
		if i+1 == len(writes) || !bytes.Equal(writes[i].key, writes[i+1].key) {
			writes[n] = writes[i]
			n++
		}
	}
	return writes[:n]
}
