package stream

import (
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// joinTable looks up a row for each record of a stream.
type joinTable[K comparable, V, T, V2 any] struct {
	ctx    *task.Context
	n      *node
	rows   getter[K, T]
	past   historian[K, T] // of a versioned table, else nil
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
		if j.past != nil {
			t, err = j.past.getAsOf(r.Key, r.Timestamp)
		} else {
			t, err = j.rows.get(r.Key)
		}
		if err != nil {
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

// JoinOption is an option of a join of a stream with a table: [Grace], or [InMemory] for the store that Grace needs.
type JoinOption interface{ applyJoin(*joinOptions) }

type joinOptions struct {
	grace  time.Duration
	store  []StoreOption
	waits  bool
	wanted bool // an option for the store was given
}

type graceOption time.Duration

func (g graceOption) applyJoin(o *joinOptions) { o.grace, o.waits = time.Duration(g), true }

func (f storeOption) applyJoin(o *joinOptions) { o.store, o.wanted = append(o.store, f), true }

// Grace has each record wait until the stream time of its stream, the highest time of its records, has passed its own
// by d, so that updates of the table that come late are known. Records are then joined in the order of their times,
// each with the row that was valid at its time: the table has to be [Versioned], with a history of d at least. A
// record that comes later than that is joined at once.
//
// Records wait in a store <name>-buffer, with their headers. Default: records are joined as they come.
func Grace(d time.Duration) JoinOption { return graceOption(d) }

// JoinTable joins each record with the row of its key. One that has none has no result, and does not count as dropped. With a [Versioned] table
// it is the row that was valid at the time of the record. The name is that of the repartition topic, should one be
// needed, and of the store if there is a [Grace].
//
// The result has the time and the headers of the record. A record without key or value is dropped.
func JoinTable[K comparable, V, T, V2 any](s Stream[K, V], t Table[K, T], name string, joiner func(V, T) V2, opts ...JoinOption) Stream[K, V2] {
	s.n.topology().needs(kindJoinTable, "joiner", joiner != nil)
	return addJoinTable(s, t, name, func(v V, t T, _ bool) V2 { return joiner(v, t) }, false, opts)
}

// LeftJoinTable joins each record with the row of its key, as [JoinTable] does. The joiner is told whether there is
// one. A record without a key has none.
func LeftJoinTable[K comparable, V, T, V2 any](s Stream[K, V], t Table[K, T], name string, joiner func(v V, t T, ok bool) V2, opts ...JoinOption) Stream[K, V2] {
	s.n.topology().needs(kindJoinTable, "joiner", joiner != nil)
	return addJoinTable(s, t, name, joiner, true, opts)
}

const kindJoinTable = "join-table"

func addJoinTable[K comparable, V, T, V2 any](s Stream[K, V], t Table[K, T], name string, joiner func(V, T, bool) V2, left bool, opts []JoinOption) Stream[K, V2] {
	var o joinOptions
	each(opts, func(opt JoinOption) { opt.applyJoin(&o) })
	o.check(s.n.topology(), kindJoinTable, t.history)
	s = s.copartitioned(kindJoinTable, name, left)
	sameKeys(s.n.topology(), kindJoinTable, "stream", s.keys, "table", t.keys)
	n := s.n.topology().add(kindJoinTable, name, s.n)
	n.reading("table", t.from...)
	buffered := o.grace > 0
	if buffered {
		o.declare(s, n, name)
	}
	n.build = func(b *builder) []any {
		j := &joinTable[K, V, T, V2]{ctx: b.ctx, n: n, rows: t.getter(b), past: t.pastOf(b), joiner: joiner, left: left, next: next[K, V2](b, n)}
		if !buffered {
			return []any{j}
		}
		g := &graceJoin[K, V]{
			ctx: b.ctx, n: n, join: j, keys: s.keys, values: s.values, grace: o.grace.Milliseconds(), observed: task.NoTime,
		}
		g.emit = g.release
		b.lives(n, g)
		return []any{g}
	}
	return Stream[K, V2]{n: n, keys: s.keys, values: standard[V2]()}
}

func (o *joinOptions) check(t *Topology, kind string, history time.Duration) {
	switch {
	case !o.waits && o.wanted:
		t.fail(kind, "an option for a store, and no Grace: the join has no store then")
	case !o.waits:
	case history == 0:
		t.fail(kind, "Grace needs a table that is Versioned: of any other the row at the time of a record is not known")
	case history < o.grace:
		t.fail(kind, "the grace %v is longer than the table's history %v", o.grace, history)
	}
	t.checkSpan(kind, "grace", o.grace)
	if s := storeOptionsOf(o.store); s.emitOnCommit || s.sized {
		t.fail(kind, "EmitOnCommit and CacheRows have no meaning here: the store of a Grace has the records that wait, and each is sent on when its time has come")
	}
}

// declare gives the join its store.
func (o *joinOptions) declare(s interface{ needCodecs(op string) }, n *node, name string) {
	s.needCodecs(n.kind)
	if name == "" {
		n.t.fail(n.kind, "no name: a join with Grace needs one, for its store to be found again when the topology changes")
	}
	n.store(storeOptionsOf(o.store).spec(name + "-buffer"))
}

// graceJoin has records wait for the updates of a table.
type graceJoin[K, V any] struct {
	ctx      *task.Context
	n        *node
	join     processor[K, V]
	keys     Codec[K]
	values   Codec[V]
	grace    int64
	observed int64 // the highest time of the records
	seq      int64
	meta     *meta
	waiting  *timeline
	emit     func(*timelineRow) error // release
	out      Record[K, V]
	key      []byte
	value    []byte
	held     []byte
}

func (g *graceJoin[K, V]) open() (err error) {
	s := g.ctx.Store(g.n.stores[0].Name)
	if g.meta, err = newMeta(s, metaOperator, &g.observed, &g.seq); err != nil {
		return err
	}
	g.waiting, err = openTimeline(s)
	g.ctx.Resume(g.observed)
	return err
}

// Flush writes stream time and sequence number.
func (g *graceJoin[K, V]) Flush() error { return g.meta.flush() }

func (g *graceJoin[K, V]) process(r *Record[K, V]) error {
	if r.NullKey || r.NullValue {
		return g.join.process(r) // there is nothing to wait for
	}
	if g.observed != task.NoTime && r.Timestamp < g.observed-g.grace {
		return g.join.process(r)
	}
	key, value, ok := g.encode(r)
	if !ok {
		g.ctx.Drop(g.n.unencodable())
		return nil
	}
	g.held = appendHeld(g.held[:0], key, value, r.Headers, g.ctx.Record())
	g.seq++
	if err := g.waiting.put(r.Timestamp, 0, key, g.seq, g.held); err != nil {
		return err
	}
	g.observed = max(g.observed, r.Timestamp)
	return g.waiting.take(g.observed-g.grace, g.emit)
}

// encode encodes a record that is to wait. It returns false if that is not possible.
func (g *graceJoin[K, V]) encode(r *Record[K, V]) (key, value []byte, ok bool) {
	var err error
	if key, g.key, err = encode(g.keys, g.key, r.Key, false); err == nil {
		value, g.value, err = encode(g.values, g.value, r.Value, false)
	}
	return key, value, err == nil
}

// Advance joins the records that have waited long enough without a record that says so.
func (g *graceJoin[K, V]) Advance(streamTime int64) error {
	if streamTime <= g.observed {
		return nil
	}
	g.observed = streamTime
	return g.waiting.take(g.observed-g.grace, g.emit)
}

// release joins a record that has waited.
func (g *graceJoin[K, V]) release(e *timelineRow) error {
	key := e.clone()
	h, err := heldOf(key, e.value)
	if err != nil {
		return err
	}
	g.out = Record[K, V]{Timestamp: e.time, Headers: h.headers}
	if g.out.Key, err = decodeKept(g.keys, key); err != nil {
		return err
	}
	if g.out.Value, err = decodeKept(g.values, h.value); err != nil {
		return err
	}
	was := h.enter(g.ctx)
	err = g.join.process(&g.out)
	g.ctx.SetRecord(was)
	return err
}
