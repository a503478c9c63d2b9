package stream

import (
	"errors"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// subscribe tells the right side of a join by foreign key what the left rows ask for.
type subscribe[K comparable, L any, F comparable] struct {
	ctx        *task.Context
	n          *node
	foreignKey func(K, L) (F, bool)
	outer      bool
	keys       Codec[K]
	foreign    Codec[F]
	next       edge[[]byte, subscription]
	out        Record[[]byte, subscription]
	key        []byte // memory
	to         []byte
}

func (s *subscribe[K, L, F]) process(r *Record[K, Change[L]]) error {
	c := &r.Value
	if c.Stale {
		return nil
	}
	was, had := foreignOf(s.foreignKey, r.Key, c.Old, c.HasOld)
	now, has := foreignOf(s.foreignKey, r.Key, c.New, c.HasNew)
	if c.HasNew && !has && !s.outer {
		dropNoForeign(s.ctx, s.n)
	}
	if had == has && was == now {
		return nil
	}
	key, memory, err := encode(s.keys, s.key, r.Key, false)
	if s.key = memory; err != nil || key == nil {
		s.ctx.Drop(s.n.unencodable())
		return nil //nolint:nilerr // the record is dropped
	}
	s.out.Headers, s.out.Timestamp = r.Headers, r.Timestamp
	if had {
		if err := s.send(was, subscription{ends: true, key: key}); err != nil {
			return err
		}
	}
	if !has {
		return nil
	}
	// What the row was joined with before is to be replaced, also by nothing.
	return s.send(now, subscription{always: s.outer || had, key: key})
}

func (s *subscribe[K, L, F]) send(to F, sub subscription) (err error) {
	if s.out.Key, s.to, err = encode(s.foreign, s.to, to, false); err != nil || s.out.Key == nil {
		s.ctx.Drop(s.n.unencodable())
		return nil //nolint:nilerr // the record is dropped
	}
	sub.partition = s.ctx.ID().Partition
	s.out.Value = sub
	return s.next.send(&s.out)
}

// foreignOf returns the foreign key of a row, if there is one.
func foreignOf[K, L, F any](f func(K, L) (F, bool), k K, v L, exists bool) (foreign F, ok bool) {
	if exists {
		if foreign, ok = f(k, v); ok {
			return foreign, true
		}
	}
	return *new(F), false
}

// dropNoForeign counts a row that has no foreign key.
func dropNoForeign(ctx *task.Context, n *node) {
	ctx.Drop(n.problem(record.StageProcess, classNullKey, "the row has no foreign key"))
}

// answer keeps which left rows ask for which right rows, and tells them. A subscription lies in the store by foreign key and then by the
// key of the left row, so that those of a foreign key are one scan; its value is the left row's partition.
type answer[F comparable, R any] struct {
	ctx    *task.Context
	n      *node
	rows   getter[F, R]
	keys   Codec[F]
	values Codec[R]
	watch  *watch[F] // of the right table, for its rows as it has sent them on
	store  *store.Store
	next   edge[[]byte, response]
	out    Record[[]byte, response]
	key    []byte // memory
	to     []byte
	bytes  []byte
	value  []byte
}

var errShortSubscription = errors.New("a subscription in the store is damaged")

// subscribers makes the beginning of the keys of a foreign key's subscriptions.
func (a *answer[F, R]) subscribers(foreign []byte) {
	a.key = appendKeyRef(append(a.key[:0], prefixRow), foreign)
}

// set makes the response of a right row. It returns false if the row cannot be encoded.
func (a *answer[F, R]) set(foreign []byte, value R, exists, update bool) bool {
	a.out.Value = response{update: update, exists: exists, foreign: foreign}
	if !exists {
		return true
	}
	var err error
	a.out.Value.value, a.value, err = encode(a.values, a.value, value, false)
	if err != nil {
		a.ctx.Drop(a.n.unencodable())
	}
	return err == nil
}

// answerRow takes the changes of the right table.
type answerRow[F comparable, R any] struct{ *answer[F, R] }

func (a answerRow[F, R]) process(r *Record[F, Change[R]]) (err error) {
	if r.Value.Stale {
		return nil
	}
	var foreign []byte
	if foreign, a.bytes, err = encode(a.keys, a.bytes, r.Key, false); err != nil {
		a.ctx.Drop(a.n.unencodable())
		return nil //nolint:nilerr // the record is dropped
	}
	if !a.set(foreign, r.Value.New, r.Value.HasNew, true) {
		return nil
	}
	a.out.Headers, a.out.Timestamp = r.Headers, r.Timestamp
	a.subscribers(foreign)
	from := len(a.key)
	a.to = successor(a.to, a.key)
	return a.store.Scan(a.key, a.to, func(key, value []byte) (bool, error) {
		partition, rest, ok := cutPartition(value)
		if !ok || len(rest) > 0 {
			return false, errShortSubscription
		}
		a.out.Key, a.out.Value.partition = key[from:], partition
		return true, a.next.send(&a.out)
	})
}

// answerSubscription takes subscriptions.
type answerSubscription[F comparable, R any] struct{ *answer[F, R] }

func (a answerSubscription[F, R]) process(r *Record[[]byte, subscription]) error {
	if r.NullKey || r.NullValue {
		dropNullKey(a.ctx, a.n)
		return nil
	}
	s := &r.Value
	f, err := a.keys.Decode(r.Key)
	if err != nil {
		a.ctx.Drop(a.n.problem(record.StageDecode, classUndecodable, "the foreign key cannot be decoded"))
		return nil //nolint:nilerr // the record is dropped
	}
	a.subscribers(r.Key)
	a.key = append(a.key, s.key...)
	if s.ends {
		return a.store.Delete(a.key)
	}
	a.bytes = appendPartition(a.bytes[:0], s.partition)
	if err := a.store.Put(a.key, a.bytes); err != nil {
		return err
	}
	a.watch.show(viewSent)
	row, err := a.rows.get(f)
	a.watch.show(viewLatest)
	if err != nil || !row.exists && !s.always || !a.set(r.Key, row.value, row.exists, false) {
		return err
	}
	a.out.Value.at = row.timestamp
	a.out.Headers, a.out.Timestamp = r.Headers, r.Timestamp // of what led to it, however old the right row is
	a.out.Key, a.out.Value.partition = s.key, s.partition
	return a.next.send(&a.out)
}
