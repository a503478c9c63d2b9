package window

import (
	"math"
	"slices"

	"millrace.dev/record"
)

// single reads the only value of argument a in tile i.
func (d *decoder) single(i, a int) {
	arg := &d.w.args[a]
	v := Value{kind: arg.kind, present: true}
	if arg.kind == Texts {
		v.bits = d.fixed()
	} else {
		v.bits = math.Float64bits(d.number())
	}
	at := int64(0)
	if arg.needs&needFirst != 0 {
		at = d.time(i)
	}
	if d.fault == "" {
		d.s.addToTile(i, a, at, v)
	}
}

// time reads a time in tile i.
func (d *decoder) time(i int) int64 {
	tile, offset := d.s.tiles[i].number, d.varint()
	at := tile*d.w.grid.hop + int64(offset)
	d.check(0 < offset && offset <= uint64(d.w.grid.hop) && d.w.grid.tile(at) == tile && at <= d.s.time,
		"a time is not in its tile, or later than the key's, or there is no such time")
	return at
}

// set reads the set of n values of a tile, n above 1.
func (d *decoder) set(s *set, n int64) {
	head := d.take(1)
	if head == nil {
		return
	}
	size := int(head[0])
	if size == 0 {
		d.registers(s, n)
		return
	}
	if !d.check(size <= maxHashes && int64(size) <= n && size*8 <= len(d.b), "a set has too many values") {
		return
	}
	s.hashes = slices.Grow(s.hashes[:0], size)
	ordered := true
	for i := range size {
		s.hashes = append(s.hashes, d.fixed())
		ordered = ordered && (i == 0 || s.hashes[i-1] < s.hashes[i])
	}
	d.check(ordered, "a set is out of order")
}

func (d *decoder) registers(s *set, n int64) {
	const packed = registers / 4 * 3
	if !d.check(len(d.b) >= packed && n > maxHashes, "a set is cut short, or has too many values") {
		return
	}
	s.regs = cleared(s.regs)
	highest := uint8(0)
	for i := range registers / 4 {
		four := uint32(d.b[3*i]) | uint32(d.b[3*i+1])<<8 | uint32(d.b[3*i+2])<<16
		for k := range 4 {
			r := uint8(four >> (6 * k) & 63)
			s.regs[4*i+k] = r
			highest = max(highest, r)
		}
	}
	d.b = d.b[packed:]
	d.check(highest <= maxRank, "a register is too high")
}

// sketch reads the cells of n values of a tile, n above 1.
func (d *decoder) sketch(s *sketch, n int64) {
	head := d.take(2)
	if head == nil {
		return
	}
	drop, size := head[0], int(head[1])
	if !d.check(0 < size && size <= maxCells && size*2 <= len(d.b), "there are no cells, or too many") ||
		!d.check(drop < 64 && (drop == 0 || n > maxCells), "too many bits are dropped") {
		return
	}
	s.drop, s.cells = drop, slices.Grow(s.cells[:0], maxCells+1)
	lowest, highest, left := uint64(0), order(math.MaxFloat64)>>drop, n
	for range size {
		more, others := d.varint(), d.varint()
		key := lowest + more
		if !d.check(lowest <= key && order(-math.MaxFloat64)>>drop <= key && key <= highest, "a cell is out of order, or holds no numbers") ||
			!d.check(others < uint64(left), "cells have more values than there are") {
			return
		}
		s.cells = append(s.cells, cell{key, int64(others) + 1})
		left -= int64(others) + 1
		lowest = key + 1
	}
	d.check(left == 0, "cells have fewer values than there are")
}

// latest reads the latest values of argument a.
func (d *decoder) latest(a int) {
	arg := &d.w.args[a]
	var n int64
	for i := range d.s.tiles {
		n += d.s.moments[i*len(d.w.args)+a].n
	}
	size := int(min(n, int64(arg.depth)))
	if !d.check(size*9 <= len(d.b), "it is cut short") {
		return
	}
	list := slices.Grow(d.s.latest[arg.latest][:0], size)[:size]
	at := d.s.time
	for i := size - 1; i >= 0; i-- {
		earlier := d.varint()
		list[i] = timed{at - int64(earlier), d.number()}
		if !d.check(list[i].at <= at && list[i].at != record.MissingTime && d.has(d.w.grid.tile(list[i].at)), "a value is out of order, or in no tile") {
			return
		}
		at = list[i].at
	}
	d.s.latest[arg.latest] = list
}

// has tells whether there is a tile.
func (d *decoder) has(number int64) bool {
	i := d.s.upTo(number)
	return i > 0 && d.s.tiles[i-1].number == number
}
