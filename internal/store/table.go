package store

import (
	"bytes"
	"slices"
	"sort"
)

// table is an ordered map that never changes: a write makes a new one, which shares with the old what is alike in
// both. So who reads one needs no lock, and has a snapshot for nothing.
//
// Looking at a key costs a trip to memory, so a table knows what all its keys begin with, and of each key the
// eight bytes that follow, its head: these decide most comparisons.
type table struct {
	prefix []byte // all keys begin with it
	blocks []blockRef
	len    int
	bytes  int64
}

// blockRef is a block with the head of its first key.
type blockRef struct {
	head uint64
	*block
}

// block is a run of neighbouring keys, at least one.
type block struct {
	items []item
	bytes int64
}

// item is a key with its value, in one piece of memory.
type item struct {
	head uint64
	data []byte
	klen int
}

// blockItems is how many items a block holds at most. A write copies its block, so it is small.
const blockItems = 32

// itemBytes is what an item costs beside its bytes.
const itemBytes = 40

func (i *item) key() []byte   { return i.data[:i.klen:i.klen] }
func (i *item) value() []byte { return i.data[i.klen:] }

// target is a key that is looked for, with its head.
type target struct {
	key  []byte
	head uint64
}

// target prepares a search for key. Where key does not begin as all keys of the table do, it is not ok, and after
// says whether it comes after all of them or before.
func (t *table) target(key []byte) (k target, ok, after bool) {
	n := len(t.prefix)
	if len(key) >= n && string(key[:n]) == string(t.prefix) {
		return target{key, head(key[n:])}, true, false
	}
	return target{}, false, bytes.Compare(key, t.prefix) > 0
}

// less tells whether i comes before k.
func (i *item) less(k *target) bool {
	return i.head < k.head || i.head == k.head && bytes.Compare(i.key(), k.key) < 0
}

// spot is a position in a table: the item at blocks[block].items[at], or the end, with block == len(blocks).
type spot struct{ block, at int }

func (t *table) end() spot { return spot{len(t.blocks), 0} }

// blockOf returns the index of the block from the index lo on that has the key, if one has: the last that does not
// begin after it, or lo.
func (t *table) blockOf(k *target, lo int) int {
	first, hi := lo, len(t.blocks)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		b := &t.blocks[mid]
		if b.head < k.head || b.head == k.head && bytes.Compare(b.items[0].key(), k.key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(lo-1, first)
}

// seek returns the place of the first key that is not less than key.
func (t *table) seek(key []byte) spot {
	k, ok, after := t.target(key)
	switch {
	case after:
		return t.end()
	case !ok:
		return spot{}
	}
	b := t.blockOf(&k, 0)
	if b == len(t.blocks) {
		return t.end()
	}
	i := t.blocks[b].seek(&k)
	if i == len(t.blocks[b].items) {
		return spot{b + 1, 0}
	}
	return spot{b, i}
}

// seek returns the index of the first item that does not come before k.
func (b *block) seek(k *target) int {
	lo, hi := 0, len(b.items)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if b.items[mid].less(k) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// get returns the value of key, nil where there is none.
func (t *table) get(key []byte) []byte {
	k, ok, _ := t.target(key)
	if !ok || len(t.blocks) == 0 {
		return nil
	}
	b := t.blocks[t.blockOf(&k, 0)]
	if i := b.seek(&k); i < len(b.items) && b.items[i].head == k.head && bytes.Equal(b.items[i].key(), key) {
		return b.items[i].value()
	}
	return nil
}

// without returns the table without the keys from from to to; nil is an open end.
func (t *table) without(from, to []byte) *table {
	start, end := t.seek(from), t.end()
	if to != nil {
		end = t.seek(to)
	}
	if start.block > end.block || start.block == end.block && start.at >= end.at {
		return t
	}
	n := &table{prefix: t.prefix, blocks: make([]blockRef, 0, len(t.blocks)+1), len: t.len, bytes: t.bytes}
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
	if last := len(t.blocks) - 1; last >= 0 && len(items) > 0 && len(items)+len(t.blocks[last].items) <= blockItems/2 {
		b := t.blocks[last] // two small blocks become one
		items = slices.Concat(b.items, items)
		t.blocks = t.blocks[:last]
		t.len -= len(b.items)
		t.bytes -= b.bytes
	}
	for len(items) > 0 {
		n := len(items)
		if n > blockItems {
			n = min(n-n/2, blockItems*3/4) // halves of one block, or blocks with room for what comes later
		}
		b := &block{items: slices.Clone(items[:n])}
		for i := range b.items {
			b.bytes += int64(len(b.items[i].data)) + itemBytes
		}
		t.blocks = append(t.blocks, blockRef{b.items[0].head, b})
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
	t = t.accept(writes)
	n := &table{prefix: t.prefix, blocks: make([]blockRef, 0, len(t.blocks)+len(writes)/blockItems+1), len: t.len, bytes: t.bytes}
	var merged []item
	next := 0 // the first block of t that is not in n yet
	for len(writes) > 0 {
		var old []item
		k, _, _ := t.target(writes[0].key)
		b := t.blockOf(&k, next)
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
		merged = merge(merged[:0], old, writes[:count], len(t.prefix))
		n.push(merged)
		writes = writes[count:]
	}
	if next < len(t.blocks) {
		n.blocks = append(n.blocks, t.blocks[next:]...)
	}
	return n
}

// accept returns the table with a prefix that the keys of the writes have, too.
func (t *table) accept(writes []write) *table {
	prefix := t.prefix
	if t.len == 0 {
		prefix = writes[0].key
	}
	n := len(prefix)
	for i := range writes {
		n = alike(prefix[:n], writes[i].key)
	}
	if t.len > 0 && n == len(prefix) {
		return t
	}
	// The first writes decide what keys begin with; a change later on costs a copy of the table.
	c := &table{prefix: bytes.Clone(prefix[:n]), blocks: make([]blockRef, 0, len(t.blocks)), len: t.len, bytes: t.bytes}
	for _, b := range t.blocks {
		b = blockRef{0, &block{slices.Clone(b.items), b.bytes}}
		for i := range b.items {
			b.items[i].head = head(b.items[i].key()[n:])
		}
		b.head = b.items[0].head
		c.blocks = append(c.blocks, b)
	}
	return c
}

// merge appends old with the writes applied to dst. All keys begin with the same prefix bytes.
func merge(dst, old []item, writes []write, prefix int) []item {
	for i := range writes {
		w := &writes[i]
		k := target{w.key, head(w.key[prefix:])}
		for len(old) > 0 && old[0].less(&k) {
			dst = append(dst, old[0])
			old = old[1:]
		}
		if len(old) > 0 && bytes.Equal(old[0].key(), w.key) {
			old = old[1:]
		}
		if w.value != nil {
			data := make([]byte, len(w.key)+len(w.value))
			copy(data[copy(data, w.key):], w.value)
			dst = append(dst, item{k.head, data, len(w.key)})
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
