package bitplane

import "golang.org/x/sys/cpu"

// Kernels returns the kernels that this machine can run, the fastest first.
func Kernels() []Kernel {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ {
		return []Kernel{{Name: "avx512", Union: unionAVX512, Add: addAVX512}, Portable()}
	}
	return []Kernel{Portable()}
}

func unionAVX512(dst, tables []Plane, picks []uint16, _ int) {
	if len(dst) > 0 && len(picks) > 0 {
		unions(&dst[0], len(dst), &tables[0], &picks[0], len(picks)/len(dst))
	}
}

func addAVX512(t *Tree, cuts []Plane, s *Scratch, sums *[Rows]float64, rows int) {
	if rows == 0 {
		return
	}
	if len(cuts) == 0 { // no tree has a split
		cuts = s.planes[:]
	}
	follow(t, &cuts[0], s)
	if t.planes <= 5 {
		lookUp((*[32]float64)(t.values), s, sums, (rows+63)/64)
	} else {
		add8((*[MaxLeaves]float64)(t.values), s, sums, rows)
	}
}

// unions sets each of n planes to the union of the tables that are picked for it. The number of picks for each is
// even and at least 2.
//
//go:noescape
func unions(dst *Plane, n int, tables *Plane, picks *uint16, each int)

// follow makes the planes of the leaves' numbers.
//
//go:noescape
func follow(t *Tree, cuts *Plane, s *Scratch)

// lookUp adds the values of the leaves of a tree that has at most 5 planes to the sums of 64 rows for each word; there
// must be one.
//
//go:noescape
func lookUp(values *[32]float64, s *Scratch, sums *[Rows]float64, words int)
