package stream

import (
	"fmt"
	"math"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// TimeWindows are windows of one size that begin at multiples of their advance since 1970-01-01 00:00:00 UTC, none of
// them before. A window holds the records from its start up to but not including its end.
type TimeWindows struct{ size, advance, grace time.Duration }

// Tumbling returns windows that follow one another without a gap. The size is in whole milliseconds, at most 90 years.
func Tumbling(size time.Duration) TimeWindows { return TimeWindows{size: size, advance: size} }

// Hopping returns windows that overlap: one begins with every advance, so that a record is in about size/advance of them.
// Both are in whole milliseconds; the size is at most 90 years, the advance at most the size.
func Hopping(size, advance time.Duration) TimeWindows {
	return TimeWindows{size: size, advance: advance}
}

// Grace is how far stream time may pass the end of a window before the window closes: a window [start, end) takes a record
// if end > stream time - grace, where stream time is the highest event time that the operator has seen in its task, that
// of the record included. What comes later is dropped with class late, and counts once for each window that is closed to
// it. Whole milliseconds, at most 90 years. Default: 0.
func (w TimeWindows) Grace(d time.Duration) TimeWindows {
	w.grace = d
	return w
}

// longest is the longest time that a window, its grace or its retention takes: three of them fit in a [time.Duration].
const longest = 90 * 365 * 24 * time.Hour

// check notes a fault of the declaration.
func (w TimeWindows) check(t *Topology, op string) {
	whole := func(d time.Duration) bool { return d%time.Millisecond == 0 }
	switch {
	case w.size <= 0:
		t.fail(op, "the size of the windows, %v, is not positive", w.size)
	case w.advance <= 0 || w.advance > w.size:
		t.fail(op, "the advance of the windows, %v: want more than 0 and at most the size, %v", w.advance, w.size)
	case w.grace < 0:
		t.fail(op, "the grace of the windows, %v, is negative", w.grace)
	case max(w.size, w.grace) > longest:
		t.fail(op, "windows of %v with a grace of %v: want at most 90 years of each", w.size, w.grace)
	case !whole(w.size) || !whole(w.advance) || !whole(w.grace):
		t.fail(op, "windows of %v that advance by %v, with a grace of %v: want whole milliseconds", w.size, w.advance, w.grace)
	}
}

// WindowedGroup is a stream whose records are to be aggregated by key and window.
type WindowedGroup[K comparable, V any] struct {
	g Grouped[K, V]
	w TimeWindows
}

// WindowedBy divides the groups of a stream by time.
func WindowedBy[K comparable, V any](g Grouped[K, V], w TimeWindows) WindowedGroup[K, V] {
	w.check(g.s.n.t, "windowed-by")
	return WindowedGroup[K, V]{g, w}
}

// CountWindows counts the records of each key and window. Unlike [Count], and as in Kafka Streams, it also counts a record
// without a value.
func CountWindows[K comparable, V any](g WindowedGroup[K, V], name string, opts ...WindowOption) Table[Windowed[K], int64] {
	return addWindows(g, "count-windows", name, Int64(), opts, counting[K, V](), true)
}

// ReduceWindows combines the values of each key and window: the first is the aggregate, and f adds each that follows. A
// record without a value is dropped.
func ReduceWindows[K comparable, V any](g WindowedGroup[K, V], name string, f func(aggregate, value V) V, opts ...WindowOption) Table[Windowed[K], V] {
	g.g.s.n.t.needs("reduce-windows", "f", f != nil)
	return addWindows(g, "reduce-windows", name, g.g.s.values, opts, reducing[K](f), false)
}

// AggregateWindows adds the values of each key and window to an aggregate that begins as initial returns it. add may change
// the aggregate it is given only if what it returns does not share memory with it. A record without a value is dropped;
// Kafka Streams calls the aggregator with null: for that, read the topic with [Nullable].
func AggregateWindows[K comparable, V, A any](g WindowedGroup[K, V], name string, values Codec[A], initial func() A, add func(key K, value V, aggregate A) A, opts ...WindowOption) Table[Windowed[K], A] {
	g.g.s.n.t.needs("aggregate-windows", "initial", initial != nil)
	g.g.s.n.t.needs("aggregate-windows", "add", add != nil)
	return addWindows(g, "aggregate-windows", name, values, opts, folding[K, V, A]{initial: initial, add: add}, false)
}

// addWindows declares an aggregation in windows. nulls says that a record needs no value.
func addWindows[K comparable, V, A any](g WindowedGroup[K, V], kind, name string, values Codec[A], opts []WindowOption, f folding[K, V, A], nulls bool) Table[Windowed[K], A] {
	t := g.g.s.n.t
	needAggregateCodecs(g.g, kind, values)
	f.isNull = nullOf(values)
	o := windowOptionsOf(opts)
	if o.emitOnClose && o.emitOnCommit {
		t.fail(kind, "EmitOnClose and EmitOnCommit: a window is emitted at one or at the other")
	}
	if least := g.w.size + g.w.grace; o.retention != 0 && o.retention < least {
		t.fail(kind, "a retention of %v is too short: windows and their grace take %v", o.retention, least)
	} else if o.retention > 2*longest {
		t.fail(kind, "a retention of %v: want at most 180 years", o.retention)
	}
	s := g.g.s.copartitioned(kind, name, false)
	n := t.addStateful(kind, name, s.n)
	spec := o.spec(name)
	if !o.forever() {
		spec.Retention = o.retentionOf(g.w)
	}
	spec.Row = windowRow(g.w.size.Milliseconds())
	size, retention := g.w.size.Milliseconds(), o.retentionOf(g.w).Milliseconds()
	n.store(lookedUpWindows(spec, s.keys, values, size, func(newest int64) int64 { return floorOf(newest, retention, o.emitOnClose) }))
	rows := func(b *builder) *windowRows[K, A] { return windowRowsOf(b, n, s.keys, values, g.w, o) }
	n.build = func(b *builder) []any {
		a := &aggregateWindows[K, V, A]{
			windowRows: rows(b), f: f, nulls: nulls, ctx: b.ctx, n: n, next: next[Windowed[K], Change[A]](b, n),
		}
		b.lives(n, a)
		return []any{a}
	}
	return Table[Windowed[K], A]{
		n: n, keys: WindowedKey(s.keys), values: values, from: []*node{n}, grace: &g.w.grace,
		getter: func(b *builder) getter[Windowed[K], A] { return rows(b) },
	}
}

// aggregateWindows keeps a value for each key and window.
type aggregateWindows[K comparable, V, A any] struct {
	*windowRows[K, A]
	f     folding[K, V, A]
	nulls bool // a record needs no value
	ctx   *task.Context
	n     *node
	next  edge[Windowed[K], Change[A]]
	out   Record[Windowed[K], Change[A]]
}

func (a *aggregateWindows[K, V, A]) process(r *Record[K, V]) error {
	if r.NullKey {
		dropNullKey(a.ctx, a.n)
		return nil
	}
	if r.Timestamp < 0 || r.Timestamp > math.MaxInt64-2*a.size {
		a.ctx.Drop(a.n.problem(record.StageProcess, classNoTime, "the record has no event time that a window can hold"))
		return nil
	}
	a.touched = true
	a.advance(r.Timestamp)
	newest := max(a.newest, r.Timestamp-r.Timestamp%a.every)
	if r.NullValue && !a.nulls {
		dropNullValue(a.ctx, a.n)
	} else if err := a.add(r); err != nil {
		return err
	}
	err := a.close(newest, r.Headers)
	a.newest = newest
	return err
}

// add adds a record to its windows, the oldest first.
func (a *aggregateWindows[K, V, A]) add(r *Record[K, V]) error {
	late, windows := 0, 0
	for start := a.first(r.Timestamp); start <= r.Timestamp; start += a.every {
		windows++
		if start+a.size <= a.limit {
			late++
			continue
		}
		if err := a.update(r, Windowed[K]{Key: r.Key, Start: start, End: start + a.size}); err != nil {
			return err
		}
	}
	if late > 0 {
		d := a.n.problem(record.StageProcess, classLate, "its window is closed")
		if d.Count = late; windows > 1 {
			d.Problem.Reason = fmt.Sprintf("%d of its %d windows are closed", late, windows)
		}
		a.ctx.Drop(d)
	}
	return nil
}

// update adds a record to a window.
func (a *aggregateWindows[K, V, A]) update(r *Record[K, V], k Windowed[K]) error {
	c, err := a.rows.at(k)
	if err != nil {
		return err
	}
	a.rows.mark(c)
	old := c.row
	c.row = a.f.fold(r, &old)
	if a.rows.hold || a.onClose {
		return nil
	}
	a.out.Headers = r.Headers
	return sendChange(&a.next, &a.out, k, old, c.row, c.row.timestamp)
}

// close closes the windows that stream time has passed, and emits them where that has waited for it. newest is the start
// of the newest window.
func (a *aggregateWindows[K, V, A]) close(newest int64, headers []Header) error {
	if a.lastClosed(a.limit) == a.lastClosed(a.closed) {
		return nil
	}
	from, to := a.closed-a.size+1, a.limit-a.size
	a.closed, a.touched = a.limit, true
	if !a.onClose {
		return nil
	}
	if !a.forever {
		from = max(from, a.floor(newest))
	}
	a.out.Headers = headers
	return a.between(from, to, func(k Windowed[K], r row[A]) (bool, error) {
		return true, sendChange(&a.next, &a.out, k, row[A]{}, r, r.timestamp)
	})
}

// Advance closes windows when stream time has moved without a record.
func (a *aggregateWindows[K, V, A]) Advance(streamTime int64) error {
	a.advance(streamTime)
	return a.close(a.newest, nil)
}

// Flush writes the updates to the store, and sends them on if that has waited for the commit.
func (a *aggregateWindows[K, V, A]) Flush() error {
	if err := flushRows(a.rows, &a.next, &a.out); err != nil {
		return err
	}
	return a.keep()
}

// open reads what the operator remembers.
func (a *aggregateWindows[K, V, A]) open() error {
	if err := a.remember(); err != nil {
		return fmt.Errorf("%s: %w", a.n.name, err)
	}
	if a.time != task.NoTime {
		a.ctx.Resume(a.time)
	}
	return nil
}
