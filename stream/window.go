package stream

import (
	"fmt"
	"math"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Windows say how [WindowedBy] divides time: [TimeWindows] or [SlidingWindows].
type Windows interface {
	// check notes a fault of the declaration.
	check(t *Topology, op string)
	// times returns how long the rows of windows have to be kept, and the grace, which is part of that.
	times() (least, grace time.Duration)
}

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

func (w TimeWindows) times() (least, grace time.Duration) { return w.size + w.grace, w.grace }

// longest is the longest time that a window, its grace or its retention takes: three of them fit in a [time.Duration].
const longest = 90 * 365 * 24 * time.Hour

// mostWindows is in how many hopping windows a record may be: it is added to each of them.
const mostWindows = 10_000

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
	case w.size/w.advance > mostWindows:
		t.fail(op, "windows of %v that advance by %v: a record would be in %d of them, want at most %d", w.size, w.advance, w.size/w.advance, mostWindows)
	case max(w.size, w.grace) > longest:
		t.fail(op, "windows of %v with a grace of %v: want at most 90 years of each", w.size, w.grace)
	case !whole(w.size) || !whole(w.advance) || !whole(w.grace):
		t.fail(op, "windows of %v that advance by %v, with a grace of %v: want whole milliseconds", w.size, w.advance, w.grace)
	}
}

// WindowedGroup is a stream whose records are to be aggregated by key and window.
type WindowedGroup[K comparable, V any] struct {
	g Grouped[K, V]
	w Windows
}

// WindowedBy divides the groups of a stream by time.
func WindowedBy[K comparable, V any](g Grouped[K, V], w Windows) WindowedGroup[K, V] {
	return WindowedGroup[K, V]{g, checkWindows(g.s.n.topology(), "windowed-by", w)}
}

// checkWindows notes faults of windows, and returns some.
func checkWindows(t *Topology, op string, w Windows) Windows {
	if w == nil {
		t.fail(op, "no windows: want Tumbling, Hopping or Sliding")
		return TimeWindows{}
	}
	w.check(t, op)
	return w
}

// CountWindows counts the records of each key and window. Unlike [Count], and as in Kafka Streams, it also counts a record
// without a value in [TimeWindows]; in [SlidingWindows] it is dropped, and does not move stream time.
func CountWindows[K comparable, V any](g WindowedGroup[K, V], name string, opts ...WindowOption) Table[Windowed[K], int64] {
	return addWindows(g, "count-windows", name, Int64(), opts, counting[K, V](), true)
}

// ReduceWindows combines the values of each key and window: the first is the aggregate, and f adds each that follows. A
// record without a value is dropped.
func ReduceWindows[K comparable, V any](g WindowedGroup[K, V], name string, f func(aggregate, value V) V, opts ...WindowOption) Table[Windowed[K], V] {
	g.g.s.n.topology().needs("reduce-windows", "f", f != nil)
	return addWindows(g, "reduce-windows", name, g.g.s.values, opts, reducing[K](f), false)
}

// AggregateWindows adds the values of each key and window to an aggregate that begins as initial returns it. add must not
// change the aggregate it is given, which is also the old one of the update: it returns a new one. A record without a value is dropped; in time windows Kafka Streams calls the aggregator with null: for that, read the topic with [Nullable].
func AggregateWindows[K comparable, V, A any](g WindowedGroup[K, V], name string, values Codec[A], initial func() A, add func(key K, value V, aggregate A) A, opts ...WindowOption) Table[Windowed[K], A] {
	g.g.s.n.topology().needs("aggregate-windows", "initial", initial != nil)
	g.g.s.n.topology().needs("aggregate-windows", "add", add != nil)
	return addWindows(g, "aggregate-windows", name, values, opts, folding[K, V, A]{initial: initial, add: add}, false)
}

// addWindows declares an aggregation in windows. nulls says that a record needs no value.
func addWindows[K comparable, V, A any](g WindowedGroup[K, V], kind, name string, values Codec[A], opts []WindowOption, f folding[K, V, A], nulls bool) Table[Windowed[K], A] {
	t := g.g.s.n.topology()
	needAggregateCodecs(g.g, kind, values)
	f.isNull = nullOf(values)
	s := g.g.s.copartitioned(kind, name, false)
	n := t.addStateful(kind, name, s.n)
	w := declareWindows(n, name, g.w, s.keys, values, opts)
	n.build = func(b *builder) []any {
		a := aggregatorOf(b, w, f, nulls)
		b.lives(n, a)
		return []any{a}
	}
	return w.table()
}

// windowState is the declaration of an aggregation in windows: what is the same for all streams that go into it.
type windowState[K comparable, A any] struct {
	n      *node
	w      Windows
	keys   Codec[K]
	values Codec[A]
	o      windowOptions
}

// declareWindows declares the store of an aggregation in windows, and notes faults of its options.
func declareWindows[K comparable, A any](n *node, name string, w Windows, keys Codec[K], values Codec[A], opts []WindowOption) *windowState[K, A] {
	o := windowOptionsOf(opts)
	least, _ := w.times()
	o.check(n.t, n.kind, "windows and their grace", least)
	spec := o.spec(name)
	if !o.forever() {
		spec.Retention = o.retentionOf(w)
	}
	switch w := w.(type) {
	case TimeWindows:
		size, retention := w.size.Milliseconds(), o.retentionOf(w).Milliseconds()
		spec.Row = windowRow(size)
		spec = lookedUpWindows(spec, keys, values, size, func(newest int64) int64 { return floorOf(newest, retention, o.emitOnClose) })
	case SlidingWindows:
		difference, retention, forever := w.difference.Milliseconds(), o.retentionOf(w).Milliseconds(), o.forever()
		spec.Row = slidingRow(difference)
		spec = lookedUpSliding(spec, keys, values, difference, func(closed, newest int64) int64 {
			return slidingFloor(closed, newest, difference, retention, forever)
		})
	}
	n.store(spec)
	return &windowState[K, A]{n: n, w: w, keys: keys, values: values, o: o}
}

// table returns the table of the windows.
func (d *windowState[K, A]) table() Table[Windowed[K], A] {
	_, grace := d.w.times()
	return Table[Windowed[K], A]{
		n: d.n, keys: WindowedKey(d.keys), values: d.values, from: []*node{d.n}, grace: &grace, final: d.o.emitOnClose,
		getter: func(b *builder) getter[Windowed[K], A] {
			if w, ok := d.w.(TimeWindows); ok {
				return windowRowsOf(b, d, w)
			}
			return slidingRowsOf(b, d)
		},
	}
}

// windowAggregator adds records of a stream to windows in a task. Those of one [windowState] share their rows: one of them takes
// part in the life of the task.
type windowAggregator[K, V any] interface {
	processor[K, V]
	Flush() error
	Uncommitted() int
	Advance(streamTime int64) error
	open() error
}

// aggregatorOf makes an aggregator in a task. nulls says that a record needs no value.
func aggregatorOf[K comparable, V, A any](b *builder, d *windowState[K, A], f folding[K, V, A], nulls bool) windowAggregator[K, V] {
	w, ok := d.w.(TimeWindows)
	if !ok {
		return newSliding(b, d, f)
	}
	return &aggregateWindows[K, V, A]{
		windowRows: windowRowsOf(b, d, w), f: f, nulls: nulls, ctx: b.ctx, n: d.n, next: next[Windowed[K], Change[A]](b, d.n),
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
		dropNoTime(a.ctx, a.n)
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
	dropLate(a.ctx, a.n, late, windows)
	return nil
}

// dropLate drops the present record if some of its windows are closed to it.
func dropLate(ctx *task.Context, n *node, late, windows int) {
	if late == 0 {
		return
	}
	d := n.problem(record.StageProcess, classLate, "its window is closed")
	if d.Count = late; windows > 1 {
		d.Problem.Reason = fmt.Sprintf("%d of its %d windows are closed", late, windows)
	}
	ctx.Drop(d)
}

// dropNoTime drops the present record for its event time.
func dropNoTime(ctx *task.Context, n *node) {
	ctx.Drop(n.problem(record.StageProcess, classNoTime, "the record has no event time that a window can hold"))
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
	return a.rows.send(&a.next, &a.out, k, old, c.row, c.row.timestamp)
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
		return true, a.rows.send(&a.next, &a.out, k, row[A]{}, r, r.timestamp)
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
	if err := a.checkShape(a.n, a.rows.store, a.size, a.every); err != nil {
		return err
	}
	return a.resume(a.ctx, a.n, a.rows.store)
}
