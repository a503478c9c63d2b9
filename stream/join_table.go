package stream

import (
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// joinTable looks up a row for each record of a stream.
type joinTable[K comparable, V, T, V2 any] struct {
	ctx    *task.Context
	n      *node
	rows   getter[K, T]
	joiner func(V, T, bool) V2
	left   bool
	next   edge[K, V2]
	out    Record[K, V2]
}

func (j *joinTable[K, V, T, V2]) process(r *Record[K, V]) error {
	if r.NullValue {
		j.ctx.Drop(j.n.problem(record.StageProcess, classNullValue, "the record has no value to join"))
		return nil
	}
	var t row[T]
	if !r.NullKey {
		var err error
		if t, err = j.rows.get(r.Key); err != nil {
			return err
		}
	} else if !j.left {
		dropNullKey(j.ctx, j.n)
		return nil
	}
	if !t.exists && !j.left {
		return nil
	}
	j.out = Record[K, V2]{Key: r.Key, Value: j.joiner(r.Value, t.value, t.exists), Timestamp: r.Timestamp, Headers: r.Headers, NullKey: r.NullKey}
	return j.next.send(&j.out)
}

// JoinTable joins each record with the row of its key, and drops the records that have none. The name is that of the
// repartition topic, should one be needed.
func JoinTable[K comparable, V, T, V2 any](s Stream[K, V], t Table[K, T], name string, joiner func(V, T) V2) Stream[K, V2] {
	return addJoinTable(s, t, name, func(v V, t T, _ bool) V2 { return joiner(v, t) }, false)
}

// LeftJoinTable joins each record with the row of its key. The joiner is told whether there is one.
func LeftJoinTable[K comparable, V, T, V2 any](s Stream[K, V], t Table[K, T], name string, joiner func(v V, t T, ok bool) V2) Stream[K, V2] {
	return addJoinTable(s, t, name, joiner, true)
}

func addJoinTable[K comparable, V, T, V2 any](s Stream[K, V], t Table[K, T], name string, joiner func(V, T, bool) V2, left bool) Stream[K, V2] {
	kind := "join-table"
	s = s.copartitioned(kind, name, left)
	n := s.n.t.add(kind, name, s.n)
	n.reads = []*node{t.from}
	n.build = func(b *builder) []any {
		return []any{&joinTable[K, V, T, V2]{ctx: b.ctx, n: n, rows: t.getter(b), joiner: joiner, left: left, next: next[K, V2](b, n)}}
	}
	return Stream[K, V2]{n: n, keys: s.keys, values: standard[V2]()}
}
