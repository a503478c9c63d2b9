package serve

// fifo is a list that is added to at its end, and taken from at its beginning, in constant time. It keeps its memory.
type fifo[T any] struct {
	ring  []T // of a length that is a power of 2, or none
	first int
	n     int
}

func (f *fifo[T]) push(v T) {
	if f.n == len(f.ring) {
		larger := make([]T, max(8, 2*len(f.ring)))
		for i := range f.n {
			larger[i] = *f.at(i)
		}
		f.ring, f.first = larger, 0
	}
	f.n++
	*f.at(f.n - 1) = v
}

// at returns the element that comes i-th.
func (f *fifo[T]) at(i int) *T { return &f.ring[(f.first+i)&(len(f.ring)-1)] }

// pop takes the first element; there is one.
func (f *fifo[T]) pop() T {
	v := *f.at(0)
	*f.at(0) = *new(T)
	f.first++
	f.n--
	return v
}
