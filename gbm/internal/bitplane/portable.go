package bitplane

import "math"

// Portable returns the kernel that runs everywhere.
func Portable() Kernel { return Kernel{Name: "portable", Union: unionPortable, Add: addPortable} }

// used returns how many halves of a plane rows take.
func used(rows int) int { return (min(rows, Rows) + halfRows - 1) / halfRows }

func unionPortable(dst, tables []Plane, picks []uint16, rows int) {
	for each := len(picks) / max(1, len(dst)); len(dst) > 0; dst, picks = dst[1:], picks[each:] {
		for h := range used(rows) {
			union(&dst[0], tables, picks[:each], h)
		}
	}
}

// union is a function of its own, and so are the loops below, so that their variables are in registers.
//
//go:noinline
func union(dst *Plane, tables []Plane, picks []uint16, h int) {
	h &= halves - 1 // so that the compiler knows
	var a, b, c, d uint64
	for _, i := range picks {
		t := &tables[i][h]
		a |= t[0]
		b |= t[1]
		c |= t[2]
		d |= t[3]
	}
	dst[h][0], dst[h][1], dst[h][2], dst[h][3] = a, b, c, d
}

func addPortable(t *Tree, cuts []Plane, s *Scratch, sums *[Rows]float64, rows int) {
	for h := range used(rows) {
		t.followHalf(cuts, s, h%halves)
	}
	if t.planes <= 5 {
		add5((*[32]float64)(t.values), s, sums, rows)
	} else {
		add8((*[MaxLeaves]float64)(t.values), s, sums, rows)
	}
}

// followHalf makes the planes of the leaves' numbers for one half of the rows.
func (t *Tree) followHalf(cuts []Plane, s *Scratch, h int) {
	h &= halves - 1
	for i := range MaxPlanes {
		s.planes[i][h] = half{}
	}
	s.reach[0][h] = half{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
	followInner(t.inner, cuts, s, h)
	followBottom(t.bottom, cuts, s, h)
	for _, step := range t.extra {
		from, plane := &s.reach[step.from%uint16(len(s.reach))][h], &s.planes[step.plane%uint16(len(s.planes))][h]
		for i := range plane {
			plane[i] |= from[i]
		}
	}
}

func followInner(steps []innerStep, cuts []Plane, s *Scratch, h int) {
	h &= halves - 1
	next := uint(1)
	for _, step := range steps {
		cut, from := &cuts[step.cut][h], &s.reach[step.from%uint16(len(s.reach))][h]
		left, right := &s.reach[next%uint(len(s.reach))][h], &s.reach[(next+1)%uint(len(s.reach))][h]
		plane := &s.planes[step.plane%uint16(len(s.planes))][h]
		f := from[0]
		r := f & cut[0]
		left[0], right[0] = f^r, r
		plane[0] |= r
		f = from[1]
		r = f & cut[1]
		left[1], right[1] = f^r, r
		plane[1] |= r
		f = from[2]
		r = f & cut[2]
		left[2], right[2] = f^r, r
		plane[2] |= r
		f = from[3]
		r = f & cut[3]
		left[3], right[3] = f^r, r
		plane[3] |= r
		next += 2
	}
}

//go:noinline
func followBottom(steps []bottomStep, cuts []Plane, s *Scratch, h int) {
	h &= halves - 1
	var a, b, c, d uint64
	for _, step := range steps {
		cut, from := &cuts[step.cut][h], &s.reach[step.from%uint16(len(s.reach))][h]
		a |= cut[0] & from[0]
		b |= cut[1] & from[1]
		c |= cut[2] & from[2]
		d |= cut[3] & from[3]
	}
	lowest := &s.planes[0][h]
	lowest[0] |= a
	lowest[1] |= b
	lowest[2] |= c
	lowest[3] |= d
}

// add5 looks up the leaves of a tree that has at most 5 planes.
func add5(values *[32]float64, s *Scratch, sums *[Rows]float64, rows int) {
	for w := range (rows + 63) / 64 {
		h, k := w/halfWords%halves, w%halfWords
		p0, p1, p2, p3, p4 := s.planes[0][h][k], s.planes[1][h][k], s.planes[2][h][k], s.planes[3][h][k], s.planes[4][h][k]
		out := (*[64]float64)(sums[w%Words*64:])
		for g := 0; g < 64; g += 8 {
			x := spread[uint8(p4)]
			x = x<<1 | spread[uint8(p3)]
			x = x<<1 | spread[uint8(p2)]
			x = x<<1 | spread[uint8(p1)]
			x = x<<1 | spread[uint8(p0)]
			o := (*[8]float64)(out[g:])
			o[0] += values[x%32]
			o[1] += values[x>>8%32]
			o[2] += values[x>>16%32]
			o[3] += values[x>>24%32]
			o[4] += values[x>>32%32]
			o[5] += values[x>>40%32]
			o[6] += values[x>>48%32]
			o[7] += values[x>>56%32]
			p0, p1, p2, p3, p4 = p0>>8, p1>>8, p2>>8, p3>>8, p4>>8
		}
	}
}

// add8 looks up the leaves of any tree.
func add8(values *[MaxLeaves]float64, s *Scratch, sums *[Rows]float64, rows int) {
	for w := range (rows + 63) / 64 {
		h, k := w/halfWords%halves, w%halfWords
		p0, p1, p2, p3 := s.planes[0][h][k], s.planes[1][h][k], s.planes[2][h][k], s.planes[3][h][k]
		p4, p5, p6, p7 := s.planes[4][h][k], s.planes[5][h][k], s.planes[6][h][k], s.planes[7][h][k]
		out := (*[64]float64)(sums[w%Words*64:])
		for g := 0; g < 64; g += 8 {
			x := spread[uint8(p7)]
			x = x<<1 | spread[uint8(p6)]
			x = x<<1 | spread[uint8(p5)]
			x = x<<1 | spread[uint8(p4)]
			x = x<<1 | spread[uint8(p3)]
			x = x<<1 | spread[uint8(p2)]
			x = x<<1 | spread[uint8(p1)]
			x = x<<1 | spread[uint8(p0)]
			o := (*[8]float64)(out[g:])
			o[0] += values[uint8(x)]
			o[1] += values[uint8(x>>8)]
			o[2] += values[uint8(x>>16)]
			o[3] += values[uint8(x>>24)]
			o[4] += values[uint8(x>>32)]
			o[5] += values[uint8(x>>40)]
			o[6] += values[uint8(x>>48)]
			o[7] += values[uint8(x>>56)]
			p0, p1, p2, p3, p4, p5, p6, p7 = p0>>8, p1>>8, p2>>8, p3>>8, p4>>8, p5>>8, p6>>8, p7>>8
		}
	}
}

// spread gives each bit of a byte a byte of its own.
var spread = func() (t [256]uint64) { //nolint:gochecknoglobals // a table that nothing changes
	for b := range uint64(len(t)) {
		for i := range 8 {
			t[b] |= b >> i & 1 << (8 * i)
		}
	}
	return t
}()
