package stream

import (
	"bytes"
	"encoding/binary"
	"errors"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// answer keeps which tasks of the left side ask for which right rows, and tells them. A subscription lies in the store by foreign key and
// then by the partition of the left rows, so that those of a foreign key are one scan; its value is its number.
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

var errStoredSubscription = errors.New("a subscription in the store is damaged")

// subscribers makes the beginning of the keys of a foreign key's subscriptions.
func (a *answer[F, R]) subscribers(foreign []byte) {
	a.key = appendKeyRef(append(a.key[:0], prefixRow), foreign)
}

// set makes the response of a right row. It returns false if the row cannot be encoded.
func (a *answer[F, R]) set(foreign []byte, value R, exists, update bool) bool {
	a.out.Key, a.out.Value = foreign, response{update: update, exists: exists}
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
		partition, rest, ok := cutPartition(key[from:])
		in := heldReader{b: value}
		number := in.uvarint()
		if !ok || len(rest) > 0 || in.err != nil || len(in.b) > 0 {
			return false, errStoredSubscription
		}
		a.out.Value.partition, a.out.Value.number = partition, number
		return true, a.next.send(&a.out)
	})
}

// answerSubscription takes subscriptions.
type answerSubscription[F comparable, R any] struct{ *answer[F, R] }

func (a answerSubscription[F, R]) process(r *Record[[]byte, subscription]) error {
	if r.NullKey || r.NullValue {
		a.ctx.Drop(a.n.problem(record.StageDecode, classUndecodable, "the record is none of the application's"))
		return nil
	}
	s := &r.Value
	f, err := a.keys.Decode(r.Key)
	if err != nil {
		a.ctx.Drop(a.n.problem(record.StageDecode, classUndecodable, "the foreign key cannot be decoded"))
		return nil //nolint:nilerr // the record is dropped
	}
	a.subscribers(r.Key)
	a.key = appendPartition(a.key, s.partition)
	a.bytes = binary.AppendUvarint(a.bytes[:0], s.number)
	if s.ends {
		if b, err := a.store.Get(a.key); err != nil || !bytes.Equal(b, a.bytes) { // there is another by now
			return err
		}
		return a.store.Delete(a.key)
	}
	if err := a.store.Put(a.key, a.bytes); err != nil {
		return err
	}
	a.watch.show(viewSent)
	row, err := a.rows.get(f)
	a.watch.show(viewLatest)
	if err != nil || !a.set(r.Key, row.value, row.exists, false) {
		return err
	}
	a.out.Value.at, a.out.Value.partition, a.out.Value.number = row.timestamp, s.partition, s.number
	a.out.Headers, a.out.Timestamp = r.Headers, r.Timestamp // of what led to it, however old the right row is
	return a.next.send(&a.out)
}
