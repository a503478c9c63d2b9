package oip

// slabs is memory for the elements of many small tensors: a request with a row has a tensor of one element for each
// field, and one piece of memory for all of them costs less than one each.
type slabs struct {
	bools  slab[bool]
	uints  slab[uint64]
	ints   slab[int64]
	floats slab[float64]
	texts  slab[[]byte]
}

// slabLen is the number of elements of a slab.
const slabLen = 64

type slab[T any] struct{ free []T }

// take returns n zeros, whose capacity is n.
func (s *slab[T]) take(n int) []T {
	if n > len(s.free) {
		if n >= slabLen/4 {
			return make([]T, n)
		}
		s.free = make([]T, slabLen)
	}
	part := s.free[:n:n]
	s.free = s.free[n:]
	return part
}
