package stream

import (
	"bytes"
	"fmt"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// foreignRows is the rows of a join by foreign key: they are computed of the left rows and what those are joined with.
type foreignRows[K comparable, L any, F comparable, R, V any] struct {
	left       getter[K, L]
	state      *foreignState[K, L, R, V]
	foreignKey func(K, L) (F, bool)
	codec      Codec[F]
	joiner     func(L, R, bool) V
	found      foreignKey // memory
}

// foreign finds the foreign key of a left row. It returns false if there is one that cannot be encoded, which is as if there were none.
func (j *foreignRows[K, L, F, R, V]) foreign(f *foreignKey, k K, l L, exists bool) bool {
	f.ok = false
	if !exists {
		return true
	}
	key, ok := j.foreignKey(k, l)
	if !ok {
		return true
	}
	b, memory, err := encode(j.codec, f.bytes, key, false)
	f.bytes, f.ok = memory, err == nil && b != nil
	return f.ok
}

// get returns a row as it was sent on last, whatever the left row is by now: its update may not have come here yet.
func (j *foreignRows[K, L, F, R, V]) get(k K) (row[V], error) {
	s := j.state
	switch {
	case s.view == viewBefore && s.sending(k) != 0:
		return s.now.old, nil
	case s.view == viewLatest: // a row that has expired is not found
		if l, err := j.left.get(k); err != nil || !l.exists {
			return row[V]{timestamp: l.timestamp}, err
		}
	}
	l, err := j.seen(k)
	if err != nil || !l.exists {
		return row[V]{timestamp: l.timestamp}, err
	}
	j.foreign(&j.found, k, l.value, true)
	a, _, err := s.find(k, &j.found)
	if err != nil {
		return row[V]{}, err
	}
	return j.result(l, &a.match, j.found.ok), nil
}

// seen returns a left row as it is after the updates that have come here.
func (j *foreignRows[K, L, F, R, V]) seen(k K) (row[L], error) {
	j.state.left.asSeen(k)
	l, err := j.left.get(k)
	j.state.left.unseen()
	return l, err
}

// result returns the row that is made of a left row and what that is joined with. has says that it has a foreign key.
func (j *foreignRows[K, L, F, R, V]) result(l row[L], m *match[L, R], has bool) row[V] {
	switch {
	case m.kept:
		return row[V]{value: j.joiner(m.left, m.right, m.exists), timestamp: m.timestamp, exists: true}
	case !l.exists:
		return row[V]{timestamp: l.timestamp}
	case m.known:
		return row[V]{value: j.joiner(l.value, m.right, m.exists), timestamp: m.later(l.timestamp), exists: true}
	case j.state.outer && !has:
		return row[V]{value: j.joiner(l.value, m.right, false), timestamp: l.timestamp, exists: true}
	}
	return row[V]{timestamp: l.timestamp}
}

// later returns the later time of a left row and the right row that it is joined with.
func (m *match[L, R]) later(t int64) int64 {
	if m.exists {
		return max(t, m.timestamp)
	}
	return t
}

// joinForeign joins left rows with what the right side tells of their foreign keys.
//
// A left row whose foreign key others of the task have too is joined with what is known already, and asks for nothing. What is told of a
// foreign key comes in the order in which the right side knew of it. What was told for a subscription that has ended, and comes
// when there is another, is passed over: the answer to that one tells the same, or more.
type joinForeign[K comparable, L any, F comparable, R, V any] struct {
	*foreignRows[K, L, F, R, V]

	old  foreignRows[K, L, F, R, V] // for rows as they were, whose values may not be wanted
	ctx  *task.Context
	n    *node
	asks edge[[]byte, subscription]
	next edge[K, Change[V]]
	ask  Record[[]byte, subscription]
	out  Record[K, Change[V]]
}

// emit sends the change of a row on.
func (j *joinForeign[K, L, F, R, V]) emit(k K, old, now row[V], headers []Header) error {
	j.state.begin(k, old)
	defer j.state.end()
	j.out.Headers = headers
	return sendChange(&j.next, &j.out, k, old, now, now.timestamp)
}

func (j *joinForeign[K, L, F, R, V]) open() error { return j.state.open() }

// Flush writes what is known of right rows to the store.
func (j *joinForeign[K, L, F, R, V]) Flush() error {
	if err := j.state.meta.flush(); err != nil {
		return err
	}
	return j.state.rows.flush(nil)
}

// Uncommitted returns how many rows wait for Flush.
func (j *joinForeign[K, L, F, R, V]) Uncommitted() int { return j.state.rows.uncommitted() }

// subscribe tells the right side that left rows have a foreign key, or that none has it any more.
func (j *joinForeign[K, L, F, R, V]) subscribe(f *foreignKey, s subscription, timestamp int64) error {
	s.partition = j.ctx.ID().Partition
	j.ask = Record[[]byte, subscription]{Key: f.bytes, Value: s, Timestamp: timestamp}
	return j.asks.send(&j.ask)
}

// joinForeignLeft takes the changes of the left table.
type joinForeignLeft[K comparable, L any, F comparable, R, V any] struct {
	*joinForeign[K, L, F, R, V]

	was, now foreignKey // memory
}

func (j *joinForeignLeft[K, L, F, R, V]) process(r *Record[K, Change[L]]) error {
	c, was, now := &r.Value, &j.was, &j.now
	j.state.left.see(r.Key)
	if c.Stale || !c.HasOld && !c.HasNew {
		return nil
	}
	j.foreign(was, r.Key, c.Old, c.HasOld)
	switch encoded := j.foreign(now, r.Key, c.New, c.HasNew); {
	case !encoded:
		j.ctx.Drop(j.n.unencodable())
	case c.HasNew && !now.ok && !j.state.outer:
		j.ctx.Drop(j.n.problem(record.StageProcess, classNullKey, "the row has no foreign key"))
	}
	a, known, err := j.state.find(r.Key, was)
	if err != nil {
		return err
	}
	m := &a.match
	old := j.old.result(row[L]{value: c.Old, timestamp: r.Timestamp, exists: c.HasOld}, m, was.ok)
	switch {
	case was.is(now) && known != nil && known.row.value.answered:
		return j.emit(r.Key, old, j.result(row[L]{value: c.New, timestamp: r.Timestamp, exists: true}, m, true), r.Headers)
	case was.is(now) && known != nil:
		return j.state.await(r.Key, now, known, a, r.Headers, j.ctx.Record())
	case was.is(now): // the join was not there yet when the row had come
		return j.come(r, m, old)
	}
	if was.ok {
		if err := j.leave(r); err != nil {
			return err
		}
	}
	if now.ok {
		return j.come(r, m, old)
	}
	switch {
	case j.state.outer && c.HasNew:
		return j.emit(r.Key, old, j.result(row[L]{value: c.New, timestamp: r.Timestamp, exists: true}, &match[L, R]{}, false), r.Headers)
	case j.state.outer:
		return j.emit(r.Key, old, row[V]{timestamp: r.Timestamp}, r.Headers)
	case old.exists || was.ok && !c.HasNew:
		return j.emit(r.Key, old, row[V]{timestamp: m.later(r.Timestamp)}, r.Headers)
	}
	return nil
}

// leave lets a foreign key go that a row has had.
func (j *joinForeignLeft[K, L, F, R, V]) leave(r *Record[K, Change[L]]) error {
	c, err := j.state.asked(&j.was)
	if err != nil {
		return err
	}
	last, err := j.state.leave(r.Key, &j.was, c)
	if err != nil || !last {
		return err
	}
	number := c.row.value.number
	j.state.rows.mark(c)
	c.row = row[foreignRow[R]]{}
	return j.subscribe(&j.was, subscription{ends: true, number: number}, r.Timestamp)
}

// come joins a row that has come to have a foreign key. m is what it was joined with before.
func (j *joinForeignLeft[K, L, F, R, V]) come(r *Record[K, Change[L]], m *match[L, R], old row[V]) error {
	s, f := j.state, &j.now
	c, err := s.rows.at(string(f.bytes))
	if err != nil {
		return err
	}
	if c.row.exists && c.row.value.answered {
		with := s.toldOf(&c.row)
		if err := s.join(r.Key, f, c); err != nil {
			return err
		}
		now := j.result(row[L]{value: r.Value.New, timestamp: r.Timestamp, exists: true}, &with, true)
		if !now.exists && !j.was.ok {
			return nil
		}
		return j.emit(r.Key, old, now, r.Headers)
	}
	if !c.row.exists {
		s.asks++
		s.rows.mark(c)
		c.row = row[foreignRow[R]]{timestamp: r.Timestamp, exists: true, value: foreignRow[R]{number: uint64(s.asks)}}
		if err := j.subscribe(f, subscription{number: uint64(s.asks)}, r.Timestamp); err != nil {
			return err
		}
	}
	a := awaiting[L, R]{told: j.was.ok}
	if old.exists {
		a.match = *m
		if !m.kept {
			a.match.known, a.match.kept, a.match.left, a.match.timestamp = true, true, r.Value.Old, old.timestamp
		}
	}
	return s.await(r.Key, f, c, a, r.Headers, j.ctx.Record())
}

// joinForeignAnswer takes what the right side tells.
type joinForeignAnswer[K comparable, L any, F comparable, R, V any] struct {
	*joinForeign[K, L, F, R, V]

	has      foreignKey // memory
	from, to []byte
	told     told[L, R]
}

// told is what the right side has told of a foreign key.
type told[L, R any] struct {
	key     foreignKey
	update  bool
	time    int64
	headers []Header
	was     match[L, R] // what left rows were joined with that did not wait
	now     match[L, R]
}

func (j *joinForeignAnswer[K, L, F, R, V]) process(r *Record[[]byte, response]) error {
	if r.NullKey || r.NullValue {
		j.ctx.Drop(j.n.problem(record.StageDecode, classUndecodable, "the record is none of the application's"))
		return nil
	}
	s := j.state
	c, err := s.rows.at(string(r.Key))
	if err != nil || !c.row.exists || c.row.value.number != r.Value.number { // nobody asks any more, or asks anew
		return err
	}
	now := row[foreignRow[R]]{timestamp: r.Timestamp, exists: true, value: foreignRow[R]{
		number: r.Value.number, answered: true, exists: r.Value.exists, left: c.row.value.left,
	}}
	if r.Value.exists {
		if !r.Value.update {
			now.timestamp = r.Value.at
		}
		if now.value.right, err = s.waits.right.Decode(r.Value.value); err != nil {
			j.ctx.Drop(j.n.problem(record.StageDecode, classUndecodable, "the right row cannot be decoded"))
			return nil //nolint:nilerr // the record is dropped
		}
	}
	j.told = told[L, R]{key: foreignKey{true, r.Key}, update: r.Value.update, time: r.Timestamp, headers: r.Headers, was: s.toldOf(&c.row), now: s.toldOf(&now)}
	s.rows.mark(c)
	c.row = now
	j.from = append(j.from[:0], s.members(r.Key)...)
	j.to = successor(j.to, j.from)
	return s.store.Scan(j.from, j.to, func(key, value []byte) (bool, error) { return true, j.tell(key, value) })
}

// tell joins a left row with what was told of its foreign key.
func (j *joinForeignAnswer[K, L, F, R, V]) tell(key, value []byte) error {
	s, t := j.state, &j.told
	left := bytes.Clone(key[len(j.from):])
	k, err := s.keys.Decode(left)
	if err != nil {
		return fmt.Errorf("store %s: the key of a left row cannot be decoded: has its codec changed? Then give the join another name. %w", s.name, err)
	}
	waits := len(value) > 0
	a, h := awaiting[L, R]{told: true, match: t.was}, held{headers: t.headers}
	if waits {
		if a, h, err = s.decode(left, value); err != nil {
			return err
		}
		if err := s.store.Put(key, []byte{}); err != nil {
			return err
		}
	}
	l, err := j.seen(k)
	if err != nil || !l.exists {
		return err
	}
	if j.foreign(&j.has, k, l.value, true); !j.has.is(&t.key) {
		return nil
	}
	if l.timestamp == task.NoTime { // which is not known where a newer row waits: see SuppressUntilTimeLimit
		l.timestamp = t.time
	}
	old, now := j.old.result(l, &a.match, true), j.result(l, &t.now, true)
	if !now.exists && !a.told {
		return nil
	}
	if !waits {
		if t.update {
			now.timestamp = t.time
		}
		return j.emit(k, old, now, h.headers)
	}
	was := h.enter(j.ctx)
	err = j.emit(k, old, now, h.headers)
	j.ctx.SetRecord(was)
	return err
}
