package stream

import (
	"bytes"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// foreignRows is the rows of a join by foreign key: they are computed of the left rows and what those were joined with.
type foreignRows[K comparable, L any, F comparable, R, V any] struct {
	left       getter[K, L]
	known      *kvStore[K, known[L, R]]
	foreignKey func(K, L) (F, bool)
	joiner     func(L, R, bool) V
	outer      bool
}

func (j *foreignRows[K, L, F, R, V]) get(k K) (row[V], error) {
	l, err := j.left.get(k)
	if err != nil || !l.exists {
		return row[V]{timestamp: l.timestamp}, err
	}
	with, err := j.known.get(k)
	if err != nil {
		return row[V]{}, err
	}
	return j.result(k, l, with), nil
}

// result returns the row that is made of a left row. with is what that was joined with, and no row if nothing is known of a right row.
func (j *foreignRows[K, L, F, R, V]) result(k K, l row[L], with row[known[L, R]]) row[V] {
	w := &with.value
	switch {
	case with.exists && w.waits:
		return row[V]{value: j.joiner(w.left, w.right, w.exists), timestamp: with.timestamp, exists: true}
	case !l.exists:
		return row[V]{timestamp: l.timestamp}
	case with.exists:
		return row[V]{value: j.joiner(l.value, w.right, w.exists), timestamp: laterOf(l.timestamp, with), exists: true}
	case j.outer:
		if _, ok := j.foreignKey(k, l.value); !ok {
			return row[V]{value: j.joiner(l.value, w.right, false), timestamp: l.timestamp, exists: true}
		}
	}
	return row[V]{timestamp: l.timestamp}
}

// laterOf returns the later time of a left row and the right row that it is joined with.
func laterOf[L, R any](t int64, with row[known[L, R]]) int64 {
	if with.exists && with.value.exists {
		return max(t, with.timestamp)
	}
	return t
}

// joinForeign joins left rows with what the right side tells of their foreign keys.
//
// A response is of the present foreign key, or nobody has a use for it: what it says of that is true whenever it was asked for, since what
// comes of one foreign key comes in the order in which the right side knew of it. A left row that keeps its foreign key is joined with
// what is known already.
type joinForeign[K comparable, L any, F comparable, R, V any] struct {
	foreignRows[K, L, F, R, V]

	ctx     *task.Context
	n       *node
	keys    Codec[K]
	foreign Codec[F]
	values  Codec[R]
	watch   *watch[K] // of the left table, for its rows as it has sent them on
	next    edge[K, Change[V]]
	out     Record[K, Change[V]]
	memory  []byte
}

// emit sends the change of a row on. with is what was known of the right row before.
func (j *joinForeign[K, L, F, R, V]) emit(k K, with row[known[L, R]], old, now row[V], headers []Header) error {
	j.known.begin(k, with)
	defer j.known.end()
	j.out.Headers = headers
	return sendChange(&j.next, &j.out, k, old, now, now.timestamp)
}

// Flush writes what is known of right rows to the store.
func (j *joinForeign[K, L, F, R, V]) Flush() error { return j.known.flush(nil) }

// Uncommitted returns how many rows wait for Flush.
func (j *joinForeign[K, L, F, R, V]) Uncommitted() int { return j.known.uncommitted() }

// joinForeignLeft takes the changes of the left table.
type joinForeignLeft[K comparable, L any, F comparable, R, V any] struct{ *joinForeign[K, L, F, R, V] }

func (j joinForeignLeft[K, L, F, R, V]) process(r *Record[K, Change[L]]) error {
	c := &r.Value
	if c.Stale || !c.HasOld && !c.HasNew {
		return nil
	}
	e, err := j.known.at(r.Key)
	if err != nil {
		return err
	}
	if !c.HasOld && e.row.exists { // of a row that went without a word
		j.forget(e)
	}
	with := e.row
	old := j.result(r.Key, row[L]{value: c.Old, timestamp: r.Timestamp, exists: c.HasOld}, with)
	was, had := foreignOf(j.foreignKey, r.Key, c.Old, c.HasOld)
	now, has := foreignOf(j.foreignKey, r.Key, c.New, c.HasNew)
	switch {
	case has && had && was == now:
		return j.same(r, old, with)
	case has: // another one, or the first
		if old.exists && !with.value.waits {
			j.known.mark(e)
			e.row = row[known[L, R]]{timestamp: old.timestamp, exists: true, value: known[L, R]{
				right: with.value.right, exists: with.value.exists, waits: true, left: c.Old,
			}}
		}
		return nil
	}
	j.forget(e)
	gone := row[V]{timestamp: r.Timestamp}
	switch {
	case j.outer && c.HasNew:
		return j.emit(r.Key, with, old, j.result(r.Key, row[L]{value: c.New, timestamp: r.Timestamp, exists: true}, row[known[L, R]]{}), r.Headers)
	case j.outer || old.exists || had && !c.HasNew:
		if !j.outer {
			gone.timestamp = laterOf(r.Timestamp, with)
		}
		return j.emit(r.Key, with, old, gone, r.Headers)
	}
	return nil
}

// same joins a row that has kept its foreign key.
func (j joinForeignLeft[K, L, F, R, V]) same(r *Record[K, Change[L]], old row[V], with row[known[L, R]]) error {
	if with.value.waits || j.outer && !with.exists {
		return nil // the answer is on its way
	}
	return j.emit(r.Key, with, old, j.result(r.Key, row[L]{value: r.Value.New, timestamp: r.Timestamp, exists: true}, with), r.Headers)
}

// forget deletes what is known of a right row.
func (j *joinForeign[K, L, F, R, V]) forget(e *cached[K, known[L, R]]) {
	if e.row.exists {
		j.known.mark(e)
		e.row = row[known[L, R]]{}
	}
}

// joinForeignAnswer takes what the right side tells.
type joinForeignAnswer[K comparable, L any, F comparable, R, V any] struct{ *joinForeign[K, L, F, R, V] }

func (j joinForeignAnswer[K, L, F, R, V]) process(r *Record[[]byte, response]) error {
	if r.NullKey || r.NullValue {
		dropNullKey(j.ctx, j.n)
		return nil
	}
	k, err := j.keys.Decode(r.Key)
	if err != nil {
		j.ctx.Drop(j.n.problem(record.StageDecode, classUndecodable, "the key cannot be decoded"))
		return nil //nolint:nilerr // the record is dropped
	}
	j.watch.show(viewSent)
	l, err := j.left.get(k)
	j.watch.show(viewLatest)
	if err != nil || !l.exists || !j.asks(k, l.value, r.Value.foreign) {
		return err
	}
	if l.timestamp == task.NoTime { // which is not known where a newer row waits: see SuppressUntilTimeLimit
		l.timestamp = r.Timestamp
	}
	now := row[known[L, R]]{timestamp: r.Timestamp, exists: r.Value.exists || j.outer, value: known[L, R]{exists: r.Value.exists}}
	if r.Value.exists {
		if !r.Value.update {
			now.timestamp = r.Value.at
		}
		if now.value.right, err = j.values.Decode(r.Value.value); err != nil {
			j.ctx.Drop(j.n.problem(record.StageDecode, classUndecodable, "the right row cannot be decoded"))
			return nil //nolint:nilerr // the record is dropped
		}
	}
	e, err := j.known.at(k)
	if err != nil {
		return err
	}
	with := e.row
	old := j.result(k, l, with)
	if e.row.exists || now.exists {
		j.known.mark(e)
		e.row = now
	}
	result := j.result(k, l, now)
	if r.Value.update {
		result.timestamp = r.Timestamp
	}
	return j.emit(k, with, old, result, r.Headers)
}

// asks tells whether a left row has a foreign key.
func (j *joinForeign[K, L, F, R, V]) asks(k K, l L, foreign []byte) bool {
	f, ok := j.foreignKey(k, l)
	if !ok {
		return false
	}
	b, memory, err := encode(j.foreign, j.memory, f, false)
	j.memory = memory
	return err == nil && bytes.Equal(b, foreign)
}
