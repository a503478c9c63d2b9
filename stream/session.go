package stream

import (
	"fmt"
	"math"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// SessionWindows are windows of activity: a session of a key begins and ends with a record, and between one record and
// the next there is never more than the gap. In a [Windowed] key both Start and End are times of records.
//
// A record joins all sessions of its key that its time is in, or at most the gap away from: they become one, which
// reaches from the first of their records to the last. One that finds none begins a session.
type SessionWindows struct{ gap, grace time.Duration }

// Sessions returns sessions that are more than gap apart. The gap is in whole milliseconds, at most 90 years.
func Sessions(gap time.Duration) SessionWindows { return SessionWindows{gap: gap} }

// Grace is how far stream time may pass the end of a session and the gap before the session closes: one that would end at
// end with the record in it takes the record if end >= stream time - gap - grace, where stream time is the highest event
// time that the operator has seen in its task, that of the record included. What comes later is dropped with class late. Of
// the sessions that are there a record joins only those with end > stream time - gap - grace, where stream time is that
// before the record. Whole milliseconds, at most 90 years. Default: 0.
func (w SessionWindows) Grace(d time.Duration) SessionWindows {
	w.grace = d
	return w
}

// check notes a fault of the declaration.
func (w SessionWindows) check(t *Topology, op string) {
	switch {
	case w.gap <= 0:
		t.fail(op, "the gap of the sessions, %v, is not positive", w.gap)
	case w.grace < 0:
		t.fail(op, "the grace of the sessions, %v, is negative", w.grace)
	case max(w.gap, w.grace) > longest:
		t.fail(op, "sessions with a gap of %v and a grace of %v: want at most 90 years of each", w.gap, w.grace)
	case w.gap%time.Millisecond != 0 || w.grace%time.Millisecond != 0:
		t.fail(op, "sessions with a gap of %v and a grace of %v: want whole milliseconds", w.gap, w.grace)
	}
}

// SessionGroup is a stream whose records are to be aggregated by key and session.
type SessionGroup[K comparable, V any] struct {
	g Grouped[K, V]
	w SessionWindows
}

// WindowedBySessions divides the groups of a stream by activity.
func WindowedBySessions[K comparable, V any](g Grouped[K, V], w SessionWindows) SessionGroup[K, V] {
	w.check(g.s.n.topology(), "windowed-by-sessions")
	return SessionGroup[K, V]{g, w}
}

// CountSessions counts the records of each key and session. As in Kafka Streams, it also counts a record without a value.
//
// A session whose bounds change is another row: the update of a session is the deletion of each row that the record has
// joined, with the time of that row's end, and then the new row, with the time of its own end. A record that changes no bounds, since it
// lies in one session, is one update of that row. So it is for [ReduceSessions] and [AggregateSessions]. Names are as with [Count].
func CountSessions[K comparable, V any](g SessionGroup[K, V], name string, opts ...WindowOption) Table[Windowed[K], int64] {
	sum := func(_ K, a, b int64) int64 { return a + b }
	return addSessions(g, "count-sessions", name, Int64(), opts, counting[K, V](), sum, true)
}

// ReduceSessions combines the values of each key and session: the first is the aggregate, and f adds each that follows, or
// the aggregate of a session that began later. A record without a value is dropped. For updates see [CountSessions].
func ReduceSessions[K comparable, V any](g SessionGroup[K, V], name string, f func(aggregate, value V) V, opts ...WindowOption) Table[Windowed[K], V] {
	g.g.s.n.topology().needs("reduce-sessions", "f", f != nil)
	merge := func(_ K, a, b V) V { return f(a, b) }
	return addSessions(g, "reduce-sessions", name, g.g.s.values, opts, reducing[K](f), merge, false)
}

// AggregateSessions adds the values of each key and session to an aggregate. For a record that finds no session add gets
// what initial returns, and for others what merge makes of that and of each session that the record joins, the oldest
// first. Neither may change what it is given, which is also the old value of an update: they return a new one. A record
// without a value is dropped; Kafka Streams calls the aggregator with null: for that, read the topic with [Nullable]. For
// updates see [CountSessions].
func AggregateSessions[K comparable, V, A any](g SessionGroup[K, V], name string, values Codec[A], initial func() A, add func(key K, value V, aggregate A) A, merge func(key K, a, b A) A, opts ...WindowOption) Table[Windowed[K], A] {
	t := g.g.s.n.topology()
	t.needs("aggregate-sessions", "initial", initial != nil)
	t.needs("aggregate-sessions", "add", add != nil)
	t.needs("aggregate-sessions", "merge", merge != nil)
	return addSessions(g, "aggregate-sessions", name, values, opts, folding[K, V, A]{initial: initial, add: add}, merge, false)
}

// addSessions declares an aggregation in sessions. nulls says that a record needs no value.
func addSessions[K comparable, V, A any](g SessionGroup[K, V], kind, name string, values Codec[A], opts []WindowOption, f folding[K, V, A], merge func(K, A, A) A, nulls bool) Table[Windowed[K], A] {
	t := g.g.s.n.topology()
	needAggregateCodecs(g.g, kind, values)
	f.isNull = nullOf(values)
	s := g.g.s.copartitioned(kind, name, false)
	n := t.addStateful(kind, name, s.n)
	d := declareSessions(n, name, g.w, s.keys, values, merge, opts)
	n.build = func(b *builder) []any {
		a := sessionAggregatorOf(b, d, f, nulls)
		b.lives(n, a)
		return []any{a}
	}
	return d.table()
}

// sessionState is the declaration of an aggregation in sessions: what is the same for all streams that go into it.
type sessionState[K comparable, A any] struct {
	n      *node
	w      SessionWindows
	keys   Codec[K]
	values Codec[A]
	merge  func(K, A, A) A
	o      windowOptions
}

// declareSessions declares the store of an aggregation in sessions, and notes faults of its options.
func declareSessions[K comparable, A any](n *node, name string, w SessionWindows, keys Codec[K], values Codec[A], merge func(K, A, A) A, opts []WindowOption) *sessionState[K, A] {
	d := &sessionState[K, A]{n: n, w: w, keys: keys, values: values, merge: merge, o: windowOptionsOf(opts)}
	d.o.check(n.t, n.kind, "sessions, their gap and their grace", d.closes())
	spec, retention := d.o.spec(name), max(d.o.retention, d.closes())
	if !d.o.emitOnClose {
		spec.Retention = retention
	}
	spec.Row = sessionRow
	n.store(lookedUpSessions(spec, keys, values, retention.Milliseconds()))
	return d
}

// closes returns how long after its end a session closes.
func (d *sessionState[K, A]) closes() time.Duration { return d.w.gap + d.w.grace }

// rows returns the sessions in a task.
func (d *sessionState[K, A]) rows(b *builder) *sessionRows[K, A] {
	return sessionRowsOf(b, d.n, d.keys, d.values, d.w, d.o)
}

// table returns the table of the sessions.
func (d *sessionState[K, A]) table() Table[Windowed[K], A] {
	closes := d.closes()
	return Table[Windowed[K], A]{
		n: d.n, keys: WindowedKey(d.keys), values: d.values, from: []*node{d.n}, grace: &closes, final: d.o.emitOnClose,
		getter: func(b *builder) getter[Windowed[K], A] { return d.rows(b) },
	}
}

// sessionAggregatorOf makes an aggregator in a task: those of one [sessionState] share their rows, and one of them takes
// part in the life of the task. nulls says that a record needs no value.
func sessionAggregatorOf[K comparable, V, A any](b *builder, d *sessionState[K, A], f folding[K, V, A], nulls bool) *aggregateSessions[K, V, A] {
	a := &aggregateSessions[K, V, A]{
		sessionRows: d.rows(b), f: f, merge: d.merge, nulls: nulls, ctx: b.ctx, n: d.n, next: next[Windowed[K], Change[A]](b, d.n),
	}
	a.take = a.emit
	return a
}

// aggregateSessions keeps a value for each key and session.
type aggregateSessions[K comparable, V, A any] struct {
	*sessionRows[K, A]
	f      folding[K, V, A]
	merge  func(K, A, A) A
	nulls  bool // a record needs no value
	ctx    *task.Context
	n      *node
	next   edge[Windowed[K], Change[A]]
	out    Record[Windowed[K], Change[A]]
	joined []session[A]               // what the present record has joined
	take   func(K, *session[A]) error // emit
}

func (a *aggregateSessions[K, V, A]) process(r *Record[K, V]) error {
	if r.NullKey {
		dropNullKey(a.ctx, a.n)
		return nil
	}
	if r.Timestamp < 0 || r.Timestamp > math.MaxInt64-2*a.gap {
		a.ctx.Drop(a.n.problem(record.StageProcess, classNoTime, "the record has no event time that a session can hold"))
		return nil
	}
	a.touched = true
	open := a.limit
	a.advance(r.Timestamp)
	if r.NullValue && !a.nulls {
		dropNullValue(a.ctx, a.n)
	} else if err := a.add(r, open); err != nil {
		return err
	}
	return a.close(r.Headers)
}

// add adds a record to the sessions that it joins, of those that end after open.
func (a *aggregateSessions[K, V, A]) add(r *Record[K, V], open int64) error {
	c, err := a.rows.at(r.Key)
	if err != nil {
		return err
	}
	of := &c.row.value
	now, i, j := of.find(r.Timestamp, a.gap, open)
	if now.end < a.limit {
		a.ctx.Drop(a.n.problem(record.StageProcess, classLate, "its session is closed"))
		return nil
	}
	a.joined = append(a.joined[:0], of.open[i:j]...)
	result := a.fold(r, a.joined)
	now.value = result.value
	// A row of the same bounds that takes no more records is replaced.
	if i == j && i > 0 && of.open[i-1].same(&now) {
		i--
		a.joined = append(a.joined, of.open[i])
	}
	if err := a.replace(c, i, j, &now, result.exists); err != nil {
		return err
	}
	if a.rows.hold || a.onClose {
		return nil
	}
	return a.update(r, &now, result)
}

// fold returns what becomes of the sessions that a record joins.
func (a *aggregateSessions[K, V, A]) fold(r *Record[K, V], joined []session[A]) row[A] {
	var old row[A]
	for i := range joined {
		s := &joined[i]
		switch {
		case old.exists:
			old.value = a.merge(r.Key, old.value, s.value)
		case a.f.initial != nil:
			old.value = a.merge(r.Key, a.f.initial(), s.value)
		default:
			old.value = s.value
		}
		old.exists, old.timestamp = true, s.end
	}
	return a.f.fold(r, &old)
}

// update sends on what a record has changed.
func (a *aggregateSessions[K, V, A]) update(r *Record[K, V], now *session[A], result row[A]) (err error) {
	a.out.Headers = r.Headers
	var old row[A]
	if joined := a.joined; now.start != now.end {
		for i := 0; i < len(joined) && err == nil; i++ {
			s := &joined[i]
			err = sendChange(&a.next, &a.out, sessionKey(r.Key, s), s.row(), row[A]{}, s.end)
		}
	} else if len(joined) > 0 { // the bounds stay: as with Kafka Streams, that is one update
		old = joined[0].row()
	}
	clear(a.joined)
	if err != nil {
		return err
	}
	return sendChange(&a.next, &a.out, sessionKey(r.Key, now), old, result, now.end)
}

func sessionKey[K comparable, A any](k K, s *session[A]) Windowed[K] {
	return Windowed[K]{Key: k, Start: s.start, End: s.end}
}

// close closes the sessions that stream time has passed, and emits them where that has waited for it.
func (a *aggregateSessions[K, V, A]) close(headers []Header) error {
	a.out.Headers = headers
	return a.takeClosed(a.take)
}

// emit sends on a session that has closed.
func (a *aggregateSessions[K, V, A]) emit(k K, s *session[A]) error {
	return sendChange(&a.next, &a.out, sessionKey(k, s), row[A]{}, s.row(), s.end)
}

// Advance closes sessions when stream time has moved without a record.
func (a *aggregateSessions[K, V, A]) Advance(streamTime int64) error {
	a.advance(streamTime)
	return a.close(nil)
}

// Flush writes the updates to the store, and sends them on if that has waited for the commit.
func (a *aggregateSessions[K, V, A]) Flush() error {
	a.out.Headers = nil
	err := a.write(func(k Windowed[K], old, now row[A]) error {
		return sendChange(&a.next, &a.out, k, old, now, k.End)
	})
	if err != nil {
		return err
	}
	return a.keep()
}

// open reads what the operator remembers.
func (a *aggregateSessions[K, V, A]) open() error {
	if err := a.remember(); err != nil {
		return fmt.Errorf("%s: %w", a.n.name, err)
	}
	if a.time != task.NoTime {
		a.ctx.Resume(a.time)
	}
	return nil
}
