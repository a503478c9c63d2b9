package stream

import (
	"time"

	"millrace.dev/internal/task"
)

// SlidingWindows are windows around the records of a key: each two records of a key that are at most the difference apart are in a
// window together, and each window is as long as the difference, with both of its ends in it.
type SlidingWindows struct{ difference, grace time.Duration }

// Sliding returns windows of the records of a key whose times differ by at most difference: for a record at t there is the window
// [t-difference, t], and once there is a record in it that is later, [t+1, t+1+difference]. Times are in whole milliseconds, the
// difference at least 0 and at most 60 years.
func Sliding(difference time.Duration) SlidingWindows { return SlidingWindows{difference: difference} }

// Grace is how far stream time may pass the end of a window before the window closes: a window [start, end] takes a record if
// end >= stream time - grace. Whole milliseconds, at most 60 years. Default: 0.
func (w SlidingWindows) Grace(d time.Duration) SlidingWindows {
	w.grace = d
	return w
}

// longestSliding is the longest difference or grace: retention is twice the difference and the grace.
const longestSliding = 2 * longest / 3

// check notes a fault of the declaration.
func (w SlidingWindows) check(t *Topology, op string) {
	whole := func(d time.Duration) bool { return d%time.Millisecond == 0 }
	switch {
	case w.difference < 0:
		t.fail(op, "the difference of sliding windows, %v, is negative", w.difference)
	case w.grace < 0:
		t.fail(op, "the grace of the windows, %v, is negative", w.grace)
	case max(w.difference, w.grace) > longestSliding:
		t.fail(op, "sliding windows of %v with a grace of %v: want at most 60 years of each", w.difference, w.grace)
	case !whole(w.difference) || !whole(w.grace):
		t.fail(op, "sliding windows of %v with a grace of %v: want whole milliseconds", w.difference, w.grace)
	}
}

func (w SlidingWindows) times() (least, grace time.Duration) {
	return 2*w.difference + w.grace, w.grace
}

// slidingRow reads a row of sliding windows from outside.
func slidingRow(difference int64) func(key, value []byte) (task.Row, bool, error) {
	return func(key, value []byte) (task.Row, bool, error) { return task.Row{}, false, nil }
}

type slidingRows[K comparable, A any] struct{}

func slidingRowsOf[K comparable, A any](b *builder, d *windowState[K, A]) *slidingRows[K, A] {
	return &slidingRows[K, A]{}
}

func (s *slidingRows[K, A]) get(k Windowed[K]) (r row[A], err error) { return r, nil }

type aggregateSliding[K comparable, V, A any] struct {
	*slidingRows[K, A]
	f    folding[K, V, A]
	ctx  *task.Context
	n    *node
	next edge[Windowed[K], Change[A]]
	out  Record[Windowed[K], Change[A]]
}

func (a *aggregateSliding[K, V, A]) process(r *Record[K, V]) error { return nil }
func (a *aggregateSliding[K, V, A]) Flush() error                  { return nil }
func (a *aggregateSliding[K, V, A]) Uncommitted() int              { return 0 }
func (a *aggregateSliding[K, V, A]) Advance(int64) error           { return nil }
func (a *aggregateSliding[K, V, A]) open() error                   { return nil }
