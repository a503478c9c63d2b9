package stream

import (
	"fmt"
	"math"
	"time"

	"millrace.dev/internal/task"
)

// SlidingWindows are windows around the records of a key: each two records of a key that are at most the difference apart are in a
// window together, and each window is as long as the difference, with both of its ends in it.
type SlidingWindows struct{ difference, grace time.Duration }

// Sliding returns windows of the records of a key whose times differ by at most difference: for a record at t there is the window
// [t-difference, t], and once there is a record in it that is later, [t+1, t+1+difference]. Times are in whole milliseconds, the
// difference at least 0 and at most 60 years.
//
// A record updates each window that it is in: where n records of a key are within the difference that is about n, and n² for all of
// them. For many use [Hopping], where an update costs the same however many there are.
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

// aggregateSliding keeps a value for each key and sliding window.
//
// A window is made when the first record comes that it is for, of what others hold: the one that ends with the record has
// what the one before it holds, unless that is too old, and the one that begins after the record what the last one around
// it holds. So no record is kept, and each window has its values in the order in which they came.
type aggregateSliding[K comparable, V, A any] struct {
	*slidingRows[K, A]
	f     folding[K, V, A]
	ctx   *task.Context
	n     *node
	next  edge[Windowed[K], Change[A]]
	out   Record[Windowed[K], Change[A]]
	visit func(key, value []byte) (bool, error) // emit
}

func newSliding[K comparable, V, A any](b *builder, d *windowState[K, A], f folding[K, V, A]) *aggregateSliding[K, V, A] {
	a := &aggregateSliding[K, V, A]{slidingRows: slidingRowsOf(b, d), f: f, ctx: b.ctx, n: d.n, next: next[Windowed[K], Change[A]](b, d.n)}
	a.visit = a.emit
	return a
}

func (a *aggregateSliding[K, V, A]) process(r *Record[K, V]) error {
	switch {
	case r.NullKey:
		dropNullKey(a.ctx, a.n)
		return nil
	case r.NullValue:
		dropNullValue(a.ctx, a.n)
		return nil
	case r.Timestamp < 0 || r.Timestamp >= math.MaxInt64-2*a.difference:
		dropNoTime(a.ctx, a.n)
		return nil
	}
	a.touched = true
	a.advance(r.Timestamp)
	if a.over(r.Timestamp) { // so is each window that ends before t+difference
		dropLate(a.ctx, a.n, 1, 1)
		return nil
	}
	if err := a.add(r); err != nil {
		return err
	}
	return a.close(r.Headers)
}

// add adds a record to the windows of its key, the oldest first.
func (a *aggregateSliding[K, V, A]) add(r *Record[K, V]) error {
	k, err := a.at(r.Key)
	if err != nil {
		return err
	}
	p := a.place(k, r.Timestamp)
	windows, late := p.end-p.first, 0
	if p.newAfter {
		if err := a.insert(k, p.end, r.Timestamp+1); err != nil {
			return err
		}
	}
	if p.newBetween {
		if windows++; a.over(p.previous + 1) {
			late++
		} else if err := a.insert(k, p.between, p.previous+1); err != nil {
			return err
		} else {
			p.end++
		}
	}
	if p.newLeft {
		if windows++; a.over(p.left) {
			late++
		} else if err := a.insert(k, p.first, p.left); err != nil {
			return err
		} else {
			p.end++
		}
	}
	for i := p.first; i < p.end; i++ {
		if a.over(k.list[i].start) {
			late++
			continue
		}
		from := k.list[i].row
		if p.newLeft && k.list[i].start == p.left {
			from = p.before
		}
		now := a.f.fold(r, &from)
		now.timestamp = max(now.timestamp, from.timestamp) // also where the aggregate was null
		if err := a.set(k, i, now, r.Headers); err != nil {
			return err
		}
	}
	if p.newAfter {
		if err := a.set(k, p.end, p.after, r.Headers); err != nil {
			return err
		}
	}
	a.count(k)
	dropLate(a.ctx, a.n, late, windows)
	a.evict()
	return nil
}

// set sets the row of a window, and sends the update on unless that has to wait.
func (a *aggregateSliding[K, V, A]) set(k *slidingKey[K, A], i int, now row[A], headers []Header) error {
	w := &k.list[i]
	a.mark(k, w)
	old := w.row
	before := a.outside(w)
	w.row = now
	a.measure(k, w, before)
	if a.hold || a.onClose {
		return nil
	}
	a.out.Headers = headers
	return sendChange(&a.next, &a.out, a.windowOf(k.key, w.start), old, now, now.timestamp)
}

// close closes the windows that stream time has passed, and emits them where that has waited for it.
func (a *aggregateSliding[K, V, A]) close(headers []Header) error {
	if a.limit <= a.closed {
		return nil
	}
	if a.onClose {
		a.out.Headers = headers
		if err := a.takeOver(a.visit); err != nil {
			return err
		}
	}
	a.closed, a.touched = a.limit, true
	return nil
}

// emit sends on the row that an entry of those that waited is for.
func (a *aggregateSliding[K, V, A]) emit(entry, _ []byte) (bool, error) {
	k, start, ok, err := a.taken(entry)
	if !ok || start < a.floor() {
		return ok, err
	}
	c, err := a.at(k)
	if err != nil {
		return false, err
	}
	if r := c.get(start); r.exists {
		err = sendChange(&a.next, &a.out, a.windowOf(k, start), row[A]{}, r, r.timestamp)
	}
	return err == nil, err
}

// Advance closes windows when stream time has moved without a record.
func (a *aggregateSliding[K, V, A]) Advance(streamTime int64) error {
	a.advance(streamTime)
	return a.close(nil)
}

// Flush writes the updates to the store, and sends them on if that has waited for the commit.
func (a *aggregateSliding[K, V, A]) Flush() error {
	if a.hold {
		if err := a.sendHeld(); err != nil {
			return err
		}
	}
	if err := a.flush(); err != nil {
		return err
	}
	return a.keep()
}

// sendHeld sends on the updates that were held back, by keys in the order in which they changed.
func (a *aggregateSliding[K, V, A]) sendHeld() error {
	a.out.Headers = nil
	for _, k := range a.dirty {
		for i := range k.list {
			w := &k.list[i]
			if !w.dirty {
				continue
			}
			if err := sendChange(&a.next, &a.out, a.windowOf(k.key, w.start), w.sent, w.row, w.row.timestamp); err != nil {
				return err
			}
		}
	}
	return nil
}

// open reads what the operator remembers.
func (a *aggregateSliding[K, V, A]) open() error {
	if err := a.checkShape(a.n, a.segments.store, a.difference, 1); err != nil {
		return err
	}
	if err := a.openSegments(); err != nil {
		return fmt.Errorf("%s: %w", a.n.name, err)
	}
	if err := a.resume(a.ctx, a.n, a.segments.store); err != nil {
		return err
	}
	if err := a.openWaiting(); err != nil {
		return fmt.Errorf("%s: %w", a.n.name, err)
	}
	return nil
}
