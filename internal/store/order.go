package store

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// order keeps the entries of an overlay in the order of their keys: blocks of indices, each block in order and all
// of a block before those of the next. Two levels are enough, since a generation has thousands of keys, and cost
// less than a tree of many.
type order struct {
	blocks [][]uint32
	spare  [][]uint32 // blocks to be used again
	sorted []sortable // for fill
}

// blockLen is how many indices a block holds at most.
const blockLen = 256

// sortable is an index with the first bytes of its key that differ, which decide most comparisons.
type sortable struct {
	head uint64
	id   uint32
}

// place is a position in an order: the entry at blocks[block][at], or the end.
type place struct{ block, at int }

// seek returns the place of the first key that is not less than key.
func (o *order) seek(entries []entry, key []byte) place {
	lo, hi := 0, len(o.blocks)
	for lo < hi { // the first block whose last key is not less
		mid := int(uint(lo+hi) >> 1)
		b := o.blocks[mid]
		if bytes.Compare(entries[b[len(b)-1]].key, key) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(o.blocks) {
		return place{lo, 0}
	}
	b, i, n := o.blocks[lo], 0, len(o.blocks[lo])
	for i < n {
		mid := int(uint(i+n) >> 1)
		if bytes.Compare(entries[b[mid]].key, key) < 0 {
			i = mid + 1
		} else {
			n = mid
		}
	}
	return place{lo, i}
}

// end returns the place after the last key.
func (o *order) end() place { return place{len(o.blocks), 0} }

// next returns the place after p, which is not the end.
func (o *order) next(p place) place {
	if p.at++; p.at == len(o.blocks[p.block]) {
		return place{p.block + 1, 0}
	}
	return p
}

// prev returns the place before p, and whether there is one.
func (o *order) prev(p place) (place, bool) {
	if p.at > 0 {
		return place{p.block, p.at - 1}, true
	}
	if p.block == 0 {
		return p, false
	}
	return place{p.block - 1, len(o.blocks[p.block-1]) - 1}, true
}

func (o *order) block() []uint32 {
	if n := len(o.spare); n > 0 {
		b := o.spare[n-1]
		o.spare = o.spare[:n-1]
		return b[:0]
	}
	return make([]uint32, 0, blockLen)
}

// insert puts the entry id, whose key the order does not have, in its place.
func (o *order) insert(entries []entry, id uint32) {
	if len(o.blocks) == 0 {
		o.blocks = append(o.blocks, append(o.block(), id))
		return
	}
	p := o.seek(entries, entries[id].key)
	if p.block == len(o.blocks) {
		p.block--
		p.at = len(o.blocks[p.block])
	}
	b := o.blocks[p.block]
	if len(b) == blockLen {
		half := blockLen / 2
		if p.block == len(o.blocks)-1 && p.at == blockLen {
			half = blockLen - 1 // ascending keys fill their blocks
		}
		right := append(o.block(), b[half:]...)
		b = b[:half]
		o.blocks[p.block] = b
		o.blocks = slices.Insert(o.blocks, p.block+1, right)
		if p.at > half {
			p.block++
			p.at -= half
			b = right
		}
	}
	o.blocks[p.block] = slices.Insert(b, p.at, id)
}

// fill makes the order hold the entries from the first on, all of them at once. It must be empty.
func (o *order) fill(entries []entry) {
	common := commonPrefix(entries)
	o.sorted = o.sorted[:0]
	for id := range entries {
		o.sorted = append(o.sorted, sortable{head(entries[id].key[common:]), uint32(id)})
	}
	slices.SortFunc(o.sorted, func(a, b sortable) int {
		if a.head != b.head {
			if a.head < b.head {
				return -1
			}
			return 1
		}
		return bytes.Compare(entries[a.id].key, entries[b.id].key)
	})
	const full = blockLen * 3 / 4 // room for those that come later
	for part := range slices.Chunk(o.sorted, full) {
		b := o.block()
		for _, s := range part {
			b = append(b, s.id)
		}
		o.blocks = append(o.blocks, b)
	}
}

// reset makes the order empty.
func (o *order) reset() {
	o.spare = append(o.spare[:0], o.blocks...)
	clear(o.blocks)
	o.blocks = o.blocks[:0]
}

// commonPrefix returns how many bytes the keys of all entries begin with alike.
func commonPrefix(entries []entry) int {
	if len(entries) == 0 {
		return 0
	}
	first := entries[0].key
	for i := range entries {
		first = first[:alike(first, entries[i].key)]
	}
	return len(first)
}

// alike returns how many bytes a and b begin with alike.
func alike(a, b []byte) int {
	n := min(len(a), len(b))
	if bytes.Equal(a[:n], b[:n]) {
		return n
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i
}

// head returns the first eight bytes of key as a number that orders as they do; missing ones count as zero, so that
// equal heads decide nothing.
func head(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}
