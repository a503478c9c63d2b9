package stream

import (
	"fmt"
	"slices"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Buffer is how many rows may wait in a suppressed table, in each task, and what is done with more. The zero Buffer is
// [Unbounded].
type Buffer struct {
	records, bytes     int64
	byRecords, byBytes bool
	full               whenFull
}

// whenFull is what is done when a buffer is full.
type whenFull byte

const (
	whenFullDefault whenFull = iota
	whenFullEmit
	whenFullStop
)

// Unbounded returns a buffer that is never full. It is kept in a store, on disk unless that is [InMemory].
func Unbounded() Buffer { return Buffer{} }

// MaxRecords returns a buffer in which n rows can wait.
func MaxRecords(n int64) Buffer { return Buffer{}.WithMaxRecords(n) }

// MaxBytes returns a buffer in which rows of n bytes can wait: those of encoded keys, values and headers.
func MaxBytes(n int64) Buffer { return Buffer{}.WithMaxBytes(n) }

// WithMaxRecords has the buffer be full also when more than n rows wait.
func (b Buffer) WithMaxRecords(n int64) Buffer {
	b.records, b.byRecords = n, true
	return b
}

// WithMaxBytes has the buffer be full also when the rows that wait have more than n bytes, as [MaxBytes] counts.
func (b Buffer) WithMaxBytes(n int64) Buffer {
	b.bytes, b.byBytes = n, true
	return b
}

// EmitEarlyWhenFull sends rows on before their time when the buffer is full, those first whose time would come first. It
// is for [SuppressUntilTimeLimit], and is the default there.
func (b Buffer) EmitEarlyWhenFull() Buffer {
	b.full = whenFullEmit
	return b
}

// ShutDownWhenFull ends the application at the record that the buffer has no room for, as [Stop] does: what came before is
// committed; of a table with [EmitOnCommit], whose rows come at a commit, what came before the last one is. Started again with a larger
// limit it goes on. It is the default of [SuppressUntilWindowCloses].
func (b Buffer) ShutDownWhenFull() Buffer {
	b.full = whenFullStop
	return b
}

// over tells whether rows are more than the buffer takes.
func (b *Buffer) over(rows, bytes int64) bool {
	return b.byRecords && rows > b.records || b.byBytes && bytes > b.bytes
}

// SuppressUntilWindowCloses sends each window on once, when it is final: as soon as stream time has reached its end and the
// grace after it. A window whose row was deleted before sends nothing. Stream time is the highest time of an update of the
// table. The table has to be one of windows, also filtered or mapped: what tells when they close is the grace they were declared
// with. One that sends windows on when they close already, by [EmitOnClose] or suppressed before, is a fault.
//
// The result has the time and the headers of the last update of the window, and names that one's record as its source.
// Windows that close at the same time are sent in the order of their ends, starts, and keys' bytes. Rows wait in a store of
// that name, with a changelog: as they were at the last commit they are there after a crash, and a window is sent on once
// all the same. Of opts only [InMemory] has a meaning.
//
// Sliding windows and sessions still take records with the very time at which they are sent on. An update by one that comes
// then is dropped with class late, and is in the row of the aggregation alone; Kafka Streams sends the window on again.
// [EmitOnClose] waits a millisecond longer, and has the record in its result.
//
// Where windows are joined with a table that goes on changing when they are closed, each change of a closed one is sent on, but not
// its deletion: what was sent of a window stays.
//
// A look-up of the table, by a join, sees a window as soon as it was sent on, and for as long as the aggregation keeps it.
//
// Where the table is an aggregation in windows, [EmitOnClose] does the same without a second store, with half the work.
// This is for the rest: if the updates of the table are needed too, if rows are to be filtered or mapped before, or if the
// number of rows that wait has to have a bound.
func SuppressUntilWindowCloses[K comparable, V any](t Table[Windowed[K], V], name string, buffer Buffer, opts ...StoreOption) Table[Windowed[K], V] {
	const op = "suppress-until-window-closes"
	d := suppression[Windowed[K]]{kind: op, name: name, buffer: buffer, final: true, end: func(k Windowed[K]) int64 { return k.End }}
	switch {
	case t.final:
		t.n.topology().fail(op, "the table sends each window on once already, when it closes: it has EmitOnClose, or was suppressed before")
	case t.grace == nil:
		t.n.topology().fail(op, "the rows of the table are not those of windows, or it is not known when they close: suppress a table that CountWindows or the like has made, also filtered or mapped, or call SuppressUntilTimeLimit")
	default:
		d.wait = t.grace.Milliseconds()
	}
	if buffer.full == whenFullEmit {
		t.n.topology().fail(op, "EmitEarlyWhenFull would send windows on that are not final: give the buffer ShutDownWhenFull, or call SuppressUntilTimeLimit")
	}
	if d.buffer.full == whenFullDefault {
		d.buffer.full = whenFullStop
	}
	out := addSuppress(t, d, opts)
	out.final = true
	return out
}

// SuppressUntilTimeLimit sends an updated row on when stream time has moved on by wait since the first update that has not
// been sent on: once, as the last update left it. A row that was deleted is sent on as a deletion, also where it came and
// went in that time. Stream time is the highest time of an update of the table; wait is in whole milliseconds, and at most
// 90 years.
//
// The result has the time and the headers of the last update, and names that one's record as its source. What follows the
// table, such as a grouping, is told the row that was sent on last as the old one. Rows are sent in the order of their
// first updates, those of one time in that of their keys' bytes. They wait in a store of that name, with a changelog. Of
// opts only [InMemory] has a meaning.
//
// A look-up of the table, by a join, sees the row that was sent on last: what is written is only seen when its time has
// come. Where a newer row waits, the time of that row is not known any more, and a result has that of the other side.
func SuppressUntilTimeLimit[K comparable, V any](t Table[K, V], name string, wait time.Duration, buffer Buffer, opts ...StoreOption) Table[K, V] {
	const op = "suppress-until-time-limit"
	t.n.topology().checkSpan(op, "wait", wait)
	if buffer.full == whenFullDefault {
		buffer.full = whenFullEmit
	}
	return addSuppress(t, suppression[K]{kind: op, name: name, buffer: buffer, wait: wait.Milliseconds()}, opts)
}

// suppression is what is declared of a suppressed table.
type suppression[K any] struct {
	kind, name string
	buffer     Buffer
	wait       int64         // how far stream time has to pass the time by which a row waits
	end        func(K) int64 // that time; nil: that of the first update
	final      bool          // deletions are not sent on
}

func addSuppress[K comparable, V any](t Table[K, V], d suppression[K], opts []StoreOption) Table[K, V] {
	top := t.n.topology()
	Stream[K, V]{n: t.n, keys: t.keys, values: t.values}.needCodecs(d.kind)
	o := storeOptionsOf(opts)
	switch {
	case o.emitOnCommit:
		top.fail(d.kind, "EmitOnCommit has no meaning here: a row is sent on when its time has come")
	case o.sized:
		top.fail(d.kind, "CacheRows has no meaning here: rows wait in the store")
	case d.buffer.records < 0 || d.buffer.bytes < 0:
		top.fail(d.kind, "the limit of the buffer is negative")
	case t.past != nil:
		top.fail(d.kind, "the table is versioned: its updates of the past cannot wait")
	case d.buffer.full != whenFullEmit && (d.buffer.byRecords && d.buffer.records == 0 || d.buffer.byBytes && d.buffer.bytes == 0):
		top.fail(d.kind, "a buffer without room for a record would end the application at the first")
	}
	n := top.addStateful(d.kind, d.name, t.n)
	n.store(o.spec(d.name))
	rows := func(b *builder) *waitingRows[K, V] {
		key := storeKey{n, d.name}
		if w, ok := b.stores[key].(*waitingRows[K, V]); ok {
			return w
		}
		w := &waitingRows[K, V]{name: d.name, keys: t.keys, values: t.values, end: d.end, observed: task.NoTime, key: make([]byte, 0, 64)}
		b.stores[key] = w
		return w
	}
	n.build = func(b *builder) []any {
		s := &suppress[K, V]{waitingRows: rows(b), ctx: b.ctx, n: n, d: d, next: next[K, Change[V]](b, n)}
		s.visit = s.release
		b.lives(n, s)
		return []any{s}
	}
	return Table[K, V]{
		n: n, keys: t.keys, values: t.values, from: append(slices.Clone(t.from), n), grace: t.grace, final: t.final,
		getter: func(b *builder) getter[K, V] { return suppressedRows[K, V]{rows(b), t.getter(b)} },
	}
}

// suppressedRows looks up the rows that were sent on last.
type suppressedRows[K comparable, V any] struct {
	waiting *waitingRows[K, V]
	of      getter[K, V]
}

// get returns what a row was before it began to wait; if it does not wait, that is the row of the table itself.
func (s suppressedRows[K, V]) get(k K) (row[V], error) {
	r, ok, err := s.waiting.sent(k)
	if ok || err != nil {
		return r, err
	}
	return s.of.get(k)
}

// suppress has updates of a table wait.
type suppress[K comparable, V any] struct {
	*waitingRows[K, V]
	ctx   *task.Context
	n     *node
	d     suppression[K]
	later bool // rows have come by a flush, or time has moved by the clock, and nothing was sent on yet
	next  edge[K, Change[V]]
	out   Record[K, Change[V]]
	visit func(*timelineRow) (bool, error) // release
	first int64                            // of the rows that stay, as far as release has come
}

func (s *suppress[K, V]) open() error {
	if err := s.waitingRows.open(s.ctx.Store(s.d.name)); err != nil {
		return fmt.Errorf("%s: %w", s.n.name, err)
	}
	s.ctx.Resume(s.observed)
	return nil
}

func (s *suppress[K, V]) process(r *Record[K, Change[V]]) error {
	if sent, err := s.wasSent(r.Key); err != nil {
		return fmt.Errorf("%s: %w", s.n.name, err)
	} else if sent {
		s.ctx.Drop(s.n.problem(record.StageProcess, classLate, "its window was sent on"))
		return nil
	}
	s.observed = max(s.observed, r.Timestamp)
	if err := s.put(r, s.ctx.Record()); err != nil {
		return fmt.Errorf("%s: %w", s.n.name, err)
	}
	if s.ctx.Record() == nil {
		// The table is being flushed, or moved on by the clock. Its updates do not come in the order of time then: what
		// closes a window can come before the window's last update.
		s.later = true
		return nil
	}
	return s.emit()
}

// Advance has what is due be sent on by the flush when stream time has moved without a record: until then the table may hold
// back updates of it.
func (s *suppress[K, V]) Advance(streamTime int64) error {
	s.observed, s.later = max(s.observed, streamTime), true
	return nil
}

// Uncommitted tells whether a row waits for nothing but the flush.
func (s *suppress[K, V]) Uncommitted() int {
	if s.later && s.rows > 0 && s.due(s.line.low) {
		return 1
	}
	return 0
}

// Flush sends on what other flushes have made due, and writes what is to be remembered.
func (s *suppress[K, V]) Flush() error {
	if s.later {
		s.later = false
		if err := s.emit(); err != nil {
			return err
		}
	}
	return s.meta.flush()
}

// due tells whether a row of a time is to be sent on.
func (s *suppress[K, V]) due(t int64) bool {
	return t <= s.observed-s.d.wait || s.d.buffer.full == whenFullEmit && s.d.buffer.over(s.rows, s.bytes)
}

// emit sends on what is due, the earliest first.
func (s *suppress[K, V]) emit() error {
	if s.observed == task.NoTime {
		return nil
	}
	if err := s.forgetSent(s.observed - s.d.wait); err != nil {
		return fmt.Errorf("%s: %w", s.n.name, err)
	}
	if s.rows > 0 && s.due(s.line.low) {
		s.first = noRow
		if err := s.line.scan(s.visit); err != nil {
			return err
		}
		s.line.low = s.first
	}
	if s.d.buffer.over(s.rows, s.bytes) {
		return s.ctx.Stop(fmt.Errorf("%s: %w", s.n.name, s.full()))
	}
	return nil
}

// release sends a row on if it is due.
func (s *suppress[K, V]) release(e *timelineRow) (bool, error) {
	if !s.due(e.time) {
		s.first = e.time
		return false, nil
	}
	w, err := s.take(e)
	if err != nil {
		return false, fmt.Errorf("%s: %w", s.n.name, err)
	}
	if s.d.final && !w.change.HasNew {
		return true, nil
	}
	if s.d.final && e.time == s.observed-s.d.wait {
		if err := s.noteSent(e); err != nil {
			return false, fmt.Errorf("%s: %w", s.n.name, err)
		}
	}
	s.out = Record[K, Change[V]]{Key: w.key, Value: w.change, Timestamp: w.timestamp, Headers: w.held.headers}
	old := row[V]{value: w.change.Old, timestamp: task.NoTime, exists: w.change.HasOld}
	s.flight = updating[K, V]{number: s.flight.number + 1, open: true, key: w.key, old: old}
	s.now = row[V]{value: w.change.New, timestamp: w.timestamp, exists: w.change.HasNew}
	was := w.held.enter(s.ctx)
	err = s.next.send(&s.out)
	s.ctx.SetRecord(was)
	s.flight.open = false
	return true, err
}

// full says why the application ends.
func (s *suppress[K, V]) full() error {
	b := &s.d.buffer
	limit, more := fmt.Sprintf("%d rows", b.records), "WithMaxRecords"
	if b.byBytes && s.bytes > b.bytes {
		limit, more = fmt.Sprintf("%d bytes", b.bytes), "WithMaxBytes"
	}
	hint := "give the windows less grace"
	if !s.d.final {
		hint = "shorten the wait, or give it EmitEarlyWhenFull"
	}
	return fmt.Errorf("the buffer is full: %d rows of %d bytes wait, and its limit is %s. Raise that with %s, or %s", s.rows, s.bytes, limit, more, hint)
}
