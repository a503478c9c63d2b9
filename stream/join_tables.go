package stream

import (
	"slices"
	"time"
)

// JoinTables joins two tables by their keys: a table with a row for each key that has one in both. It is computed from
// the rows of the two when one of them changes or a row is looked up, and has no store. joiner has to give the same for
// the same, and must not change what it is given.
//
// Both tables can be any: read from a topic, aggregated, of windows, filtered, joined before, and twice the same. They
// are to be partitioned alike; topics of different numbers of partitions are a fault when the application starts.
//
// A result has the later of the times of the two rows, and the headers of the record that led to it; where a row has
// gone, the later of the times of its deletion and of the other row. An update is sent on where there is a result or
// was one, also if it is the same as before; and a deletion of what was not there where the other table has a row, as
// in Kafka Streams. An update of a [Versioned] table that comes out of order has no result,
// and the table that is joined is not versioned. The rows of a table that emits late ([EmitOnCommit], [EmitOnClose])
// are joined as it has sent them on.
//
// Windows expire without an update, each side by its own stream time and [Retention], and a result stays as it was sent on
// last. Where one side can still change when the other has expired, what is said of the result before is of that side alone:
// keep both as long as either takes records.
func JoinTables[K comparable, L, R, V any](left Table[K, L], right Table[K, R], joiner func(L, R) V, opts ...Option) Table[K, V] {
	left.n.topology().needs("join-tables", "joiner", joiner != nil)
	return addJoinTables(left, right, tablesJoin{kind: "join-tables"}, func(s Sides[L, R]) V { return joiner(s.Left, s.Right) }, opts)
}

// LeftJoinTables is [JoinTables] with a row for each key of the left table. The joiner is told whether there is one in
// the right table too.
func LeftJoinTables[K comparable, L, R, V any](left Table[K, L], right Table[K, R], joiner func(l L, r R, ok bool) V, opts ...Option) Table[K, V] {
	left.n.topology().needs("left-join-tables", "joiner", joiner != nil)
	return addJoinTables(left, right, tablesJoin{kind: "left-join-tables", left: true}, func(s Sides[L, R]) V {
		return joiner(s.Left, s.Right, s.HasRight)
	}, opts)
}

// OuterJoinTables is [JoinTables] with a row for each key of either table.
func OuterJoinTables[K comparable, L, R, V any](left Table[K, L], right Table[K, R], joiner func(Sides[L, R]) V, opts ...Option) Table[K, V] {
	left.n.topology().needs("outer-join-tables", "joiner", joiner != nil)
	return addJoinTables(left, right, tablesJoin{kind: "outer-join-tables", left: true, right: true}, joiner, opts)
}

// tablesJoin is what is declared of a join of two tables.
type tablesJoin struct {
	kind        string
	left, right bool // rows of that side are in the result without a match
}

func addJoinTables[K comparable, L, R, V any](left Table[K, L], right Table[K, R], d tablesJoin, joiner func(Sides[L, R]) V, opts []Option) Table[K, V] {
	t := left.n.topology()
	sameKeys(t, d.kind, "left table", left.keys, "right one", right.keys)
	n := t.add(d.kind, t.nameIn(d.kind, opts), left.n)
	n.reading("table", left.from...)
	n.reading("table", right.from...)
	if right.n != nil && right.n.topology() == t {
		right.n.children = append(right.n.children, child{n, 1})
	}
	rows := func(b *builder) joinedRows[K, L, R, V] {
		return joinedRows[K, L, R, V]{left: left.getter(b), right: right.getter(b), d: d, joiner: joiner}
	}
	n.build = func(b *builder) []any {
		j := &joinTables[K, L, R, V]{joinedRows: rows(b), next: next[K, Change[V]](b, n)}
		if j.old = j.joinedRows; !n.wantsOld() {
			j.old.joiner = func(Sides[L, R]) (v V) { return v }
		}
		j.watch = watched[K](b, left.from, right.from)
		return []any{leftTable[K, L, R, V]{j}, rightTable[K, L, R, V]{j}}
	}
	from := slices.Clone(left.from)
	for _, of := range right.from {
		if !slices.Contains(from, of) {
			from = append(from, of)
		}
	}
	return Table[K, V]{
		n: n, keys: left.keys, values: standard[V](), from: from, grace: later(left.grace, right.grace),
		getter: func(b *builder) getter[K, V] {
			r := rows(b)
			return &r
		},
	}
}

// later returns the longer of two graces, nil if there is none.
func later(a, b *time.Duration) *time.Duration {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// joinedRows computes the rows of a join.
type joinedRows[K comparable, L, R, V any] struct {
	left   getter[K, L]
	right  getter[K, R]
	d      tablesJoin
	joiner func(Sides[L, R]) V
}

// get returns the row of a key.
func (j *joinedRows[K, L, R, V]) get(k K) (row[V], error) {
	l, r, err := j.sides(k)
	if err != nil {
		return row[V]{}, err
	}
	return j.join(&l, &r), nil
}

func (j *joinedRows[K, L, R, V]) sides(k K) (l row[L], r row[R], err error) {
	if l, err = j.left.get(k); err == nil {
		r, err = j.right.get(k)
	}
	return l, r, err
}

// join joins two rows. The time of a result that is not there is not told.
func (j *joinedRows[K, L, R, V]) join(l *row[L], r *row[R]) (out row[V]) {
	if !l.exists && !r.exists || !l.exists && !j.d.right || !r.exists && !j.d.left {
		return out
	}
	s := Sides[L, R]{HasLeft: l.exists, HasRight: r.exists}
	if l.exists {
		s.Left, out.timestamp = l.value, l.timestamp
	}
	if r.exists {
		s.Right, out.timestamp = r.value, max(out.timestamp, r.timestamp)
	}
	out.value, out.exists = j.joiner(s), true
	return out
}

// joinTables sends on the rows of a join that change.
type joinTables[K comparable, L, R, V any] struct {
	joinedRows[K, L, R, V]
	old   joinedRows[K, L, R, V] // for rows as they were, whose values may not be wanted
	watch *watch[K]              // nil if no update can be in the rows of both sides at once
	next  edge[K, Change[V]]
	out   Record[K, Change[V]]
}

// leftTable takes the updates of the left table.
type leftTable[K comparable, L, R, V any] struct{ j *joinTables[K, L, R, V] }

func (p leftTable[K, L, R, V]) process(r *Record[K, Change[L]]) error {
	j, c := p.j, &r.Value
	if c.Stale {
		return nil
	}
	if j.watch != nil {
		return j.tangled(r.Key, r.Timestamp, r.Headers, true, j.d.left && (c.HasOld || c.HasNew))
	}
	other, err := j.right.get(r.Key)
	if err != nil {
		return err
	}
	old := j.old.join(&row[L]{value: c.Old, exists: c.HasOld}, &other)
	now := j.join(&row[L]{value: c.New, exists: c.HasNew}, &other)
	if !old.exists && !now.exists && !other.exists {
		return nil
	}
	return j.send(r.Key, &old, &now, timeWith(r.Timestamp, &other), r.Headers)
}

// rightTable takes the updates of the right table.
type rightTable[K comparable, L, R, V any] struct{ j *joinTables[K, L, R, V] }

func (p rightTable[K, L, R, V]) process(r *Record[K, Change[R]]) error {
	j, c := p.j, &r.Value
	if c.Stale {
		return nil
	}
	if j.watch != nil {
		return j.tangled(r.Key, r.Timestamp, r.Headers, false, j.d.right && (c.HasOld || c.HasNew))
	}
	other, err := j.left.get(r.Key)
	if err != nil {
		return err
	}
	old := j.old.join(&other, &row[R]{value: c.Old, exists: c.HasOld})
	now := j.join(&other, &row[R]{value: c.New, exists: c.HasNew})
	if !old.exists && !now.exists && !other.exists {
		return nil
	}
	return j.send(r.Key, &old, &now, timeWith(r.Timestamp, &other), r.Headers)
}

// timeWith returns the time of a result: of an update, or of the row that it meets if that is later.
func timeWith[V any](t int64, r *row[V]) int64 {
	if r.exists {
		return max(t, r.timestamp)
	}
	return t
}

// tangled sends on the row of a key where an update of one side may be one of the other too. told says that the side that
// tells of it needs no match, and has or had a row.
func (j *joinTables[K, L, R, V]) tangled(k K, timestamp int64, headers []Header, left, told bool) error {
	j.watch.show(viewSent)
	defer j.watch.show(viewLatest)
	l, r, err := j.sides(k)
	if err != nil {
		return err
	}
	now := j.join(&l, &r)
	old, changed := now, j.watch.before(k)
	if changed {
		if old, err = j.old.get(k); err != nil {
			return err
		}
	}
	j.watch.show(viewLatest)
	match := left && r.exists || !left && l.exists
	if !old.exists && !now.exists && !told && (!match || !changed) {
		return nil
	}
	return j.send(k, &old, &now, timeWith(timeWith(timestamp, &l), &r), headers)
}

func (j *joinTables[K, L, R, V]) send(k K, old, now *row[V], timestamp int64, headers []Header) error {
	j.out.Headers = headers
	return sendChange(&j.next, &j.out, k, *old, *now, timestamp)
}
