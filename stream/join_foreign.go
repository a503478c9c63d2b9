package stream

import "slices"

// JoinForeignKey joins each row of the left table with the row of the right table whose key foreignKey computes from it. The result is a
// table with the keys of the left one. It changes with the left row, which may come to have another foreign key, and for all rows of a
// foreign key with the right row. foreignKey returns false for a row that has none: it has no result, and counts as dropped. It has to give
// the same for the same.
//
// A task of the left table asks the right table's side for a foreign key when the first of its rows comes to have it, through the topic
// <application>-<name>-subscription-repartition, and lets go of it with the last; answers and updates come back through
// <application>-<name>-response-repartition, one for each task that asks. The right side keeps who asks in the store
// <name>-subscriptions, and the left side what it was told of each foreign key, and which of its rows have it, in the store <name>. So a
// row whose foreign key others of the task have too, or that keeps its own, has its result at once. Until the answer for another is
// there, the row has the result that it had. Topics of the two tables may have different numbers of partitions; the right one has to
// be partitioned by the bytes that its codec makes of a key, as Kafka's own producers do it.
//
// A result has the later time of both sides, and where the right row changes the time of that update. It has the headers of the update
// that led to it. An inner join also sends the deletion of a result that was not there on: of a left row that had a foreign key, or comes
// to another, without a right row. Updates of a [Versioned] table that come out of order change nothing; the result is not versioned. The
// codecs of all keys and values have to be known, that of the result is the standard one. Of opts [CacheRows], which here is of foreign
// keys, and [InMemory] have a meaning.
//
// The left rows cannot be windows, which is a fault: they expire without an update, and the right side would be asked for them for ever.
// With ToStream and ToTable they become a table with a [TTL]. Right rows can be: a row stays joined with a window that has expired, until
// it goes itself or has another foreign key.
func JoinForeignKey[K comparable, L any, F comparable, R, V any](left Table[K, L], right Table[F, R], name string, foreignKey func(K, L) (F, bool), joiner func(L, R) V, opts ...StoreOption) Table[K, V] {
	left.n.topology().needs(kindJoinForeign, "joiner", joiner != nil)
	return addJoinForeign(left, right, name, foreignKey, func(l L, r R, _ bool) V { return joiner(l, r) }, false, opts)
}

// LeftJoinForeignKey joins each row of the left table with a row of the right table, as [JoinForeignKey] does. The joiner is told whether
// there is one: a row has a result also if it has no foreign key, or no right row has that. The result of a new left row waits for the
// answer of the right side all the same.
func LeftJoinForeignKey[K comparable, L any, F comparable, R, V any](left Table[K, L], right Table[F, R], name string, foreignKey func(K, L) (F, bool), joiner func(l L, r R, ok bool) V, opts ...StoreOption) Table[K, V] {
	left.n.topology().needs(kindJoinForeign, "joiner", joiner != nil)
	return addJoinForeign(left, right, name, foreignKey, joiner, true, opts)
}

// The nodes of a join by foreign key: what the left rows ask for, what the right side answers, and the join of both.
const (
	kindSubscribe   = "subscribe"
	kindAnswer      = "answer"
	kindJoinForeign = "join-foreign-key"
)

func addJoinForeign[K comparable, L any, F comparable, R, V any](left Table[K, L], right Table[F, R], name string, foreignKey func(K, L) (F, bool), joiner func(L, R, bool) V, outer bool, opts []StoreOption) Table[K, V] {
	t, o := left.n.topology(), storeOptionsOf(opts)
	t.needs(kindJoinForeign, "foreignKey", foreignKey != nil)
	if left.grace != nil {
		t.fail(kindJoinForeign, "the rows of the left table are windows, which expire without an update: the right side would never forget them. Make a table with a TTL of them: ToStream and ToTable")
	}
	needKey[F](t, kindJoinForeign)
	left.needCodecs(kindJoinForeign, "left")
	right.needCodecs(kindJoinForeign, "right")

	if isNullable(left.values) || isNullable(right.values) {
		t.fail(kindJoinForeign, "the codec of the values of a table is Nullable: map them to values that are there, or filter them before")
	}
	if o.emitOnCommit {
		t.fail(kindJoinForeign, "EmitOnCommit has no meaning here: give it to the tables that are joined")
	}
	if name == "" { // which is told once
		return Table[K, V]{n: t.addStateful(kindJoinForeign, name, left.n), keys: left.keys, values: standard[V](), from: left.from}
	}

	asks := t.addDerived(kindSubscribe, name+"-subscribe")
	asks.build = func(b *builder) []any {
		return []any{&merge[[]byte, subscription]{next[[]byte, subscription](b, asks)}}
	}
	asked := Stream[[]byte, subscription]{n: asks, keys: foreignKeys[F]{Bytes(), right.keys}, values: subscriptionCodec{}}.
		follow(kindJoinForeign, name+"-subscription", nil)

	subscribers := t.addDerived(kindAnswer, name+"-subscriptions", right.n, asked.n)
	subscribers.newOnly = true
	if right.n != nil && right.n.topology() == t { // or it is told
		subscribers.reading("right table", right.from...)
	}
	subscribers.store(o.spec(name + "-subscriptions"))
	subscribers.build = func(b *builder) []any {
		a := &answer[F, R]{
			ctx: b.ctx, n: subscribers, rows: right.getter(b), keys: right.keys, values: right.values, store: b.ctx.Store(name + "-subscriptions"),
			next: next[[]byte, response](b, subscribers),
		}
		a.watch = watched[F](b, right.from, nil)
		return []any{&answerRow[F, R]{a}, &answerSubscription[F, R]{a}}
	}
	answers := Stream[[]byte, response]{n: subscribers, keys: Bytes(), values: responseCodec{}}.
		follow(kindJoinForeign, name+"-response", func(r *Record[[]byte, response], _ int) int { return int(r.Value.partition) })

	n := t.addStateful(kindJoinForeign, name, left.n, answers.n)
	n.outs = []*node{asks}
	n.reading("left table", left.from...)
	n.store(o.spec(name))
	made := func(b *builder) *foreignRows[K, L, F, R, V] {
		return &foreignRows[K, L, F, R, V]{
			left: left.getter(b), state: foreignStateOf[K, L, R, V](b, n, left, right.values, o, outer),
			foreignKey: foreignKey, codec: right.keys, joiner: joiner,
		}
	}
	n.build = func(b *builder) []any {
		j := &joinForeign[K, L, F, R, V]{
			foreignRows: made(b), ctx: b.ctx, n: n, asks: edgeTo[[]byte, subscription](b, asks, 0), next: next[K, Change[V]](b, n),
		}
		if j.old = *j.foreignRows; !n.wantsOld() {
			j.old.joiner = func(L, R, bool) (v V) { return v }
		}
		b.lives(n, j)
		return []any{&joinForeignLeft[K, L, F, R, V]{joinForeign: j}, &joinForeignAnswer[K, L, F, R, V]{joinForeign: j}}
	}
	return Table[K, V]{
		n: n, keys: left.keys, values: standard[V](), from: append(slices.Clone(left.from), n),
		getter: func(b *builder) getter[K, V] { return made(b) },
	}
}

// needCodecs notes a fault if a codec of a table that op needs is not known.
func (t Table[K, V]) needCodecs(op, side string) {
	if t.n != nil && t.keys == nil {
		t.n.topology().fail(op, "no codec of the keys of the %s table, which are %T", side, *new(K))
	}
	if t.n != nil && t.values == nil {
		t.n.topology().fail(op, "no codec of the values of the %s table, which are %T: call Values before", side, *new(V))
	}
}
