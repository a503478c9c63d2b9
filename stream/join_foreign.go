package stream

import "slices"

// JoinForeignKey joins each row of the left table with the row of the right table whose key foreignKey computes from it. The result is a
// table with the keys of the left one. It changes with the left row, which may come to have another foreign key, and for all rows of a
// foreign key with the right row. foreignKey returns false for a row that has none: it has no result, and counts as dropped. It has to give
// the same for the same.
//
// A left row tells the right table's side what it wants to know, through the topic <application>-<name>-subscription-repartition, when it
// comes, goes, or has another foreign key; answers and updates come back through <application>-<name>-response-repartition. The right side
// keeps who asked in the store <name>-subscriptions, and the left side the right row of each left row in the store <name>, so that an
// update of a left row that keeps its foreign key has its result at once. Until the answer for another foreign key is there, the row has
// the result that it had. Topics of the two tables may have different numbers of partitions; the right one has to be partitioned by the
// bytes that its codec makes of a key, as Kafka's own producers do it.
//
// A result has the later time of both sides, and where the right row changes the time of that update. It has the headers of the update.
// Updates of a [Versioned] table that come out of order change nothing; the result is not versioned. The codecs of all keys and values
// have to be known, that of the result is the standard one.
//
// The left rows cannot be windows, which is a fault: they expire without an update, and the right side would keep them for ever. With
// ToStream and ToTable they become a table with a [TTL]. Right rows can be: a row stays joined with a window that has expired, until it
// goes itself or has another foreign key.
func JoinForeignKey[K comparable, L any, F comparable, R, V any](left Table[K, L], right Table[F, R], name string, foreignKey func(K, L) (F, bool), joiner func(L, R) V, opts ...StoreOption) Table[K, V] {
	left.n.t.needs(kindJoinForeign, "joiner", joiner != nil)
	return addJoinForeign(left, right, name, foreignKey, func(l L, r R, _ bool) V { return joiner(l, r) }, false, opts)
}

// LeftJoinForeignKey joins each row of the left table with a row of the right table, as [JoinForeignKey] does. The joiner is told whether
// there is one: a row has a result also if it has no foreign key, or no right row has that. The result of a new left row waits for the
// answer of the right side all the same.
func LeftJoinForeignKey[K comparable, L any, F comparable, R, V any](left Table[K, L], right Table[F, R], name string, foreignKey func(K, L) (F, bool), joiner func(l L, r R, ok bool) V, opts ...StoreOption) Table[K, V] {
	left.n.t.needs(kindJoinForeign, "joiner", joiner != nil)
	return addJoinForeign(left, right, name, foreignKey, joiner, true, opts)
}

// The nodes of a join by foreign key: what the left rows ask for, what the right side answers, and the join of both.
const (
	kindSubscribe   = "subscribe"
	kindAnswer      = "answer"
	kindJoinForeign = "join-foreign-key"
)

func addJoinForeign[K comparable, L any, F comparable, R, V any](left Table[K, L], right Table[F, R], name string, foreignKey func(K, L) (F, bool), joiner func(L, R, bool) V, outer bool, opts []StoreOption) Table[K, V] {
	t, o := left.n.t, storeOptionsOf(opts)
	t.needs(kindJoinForeign, "foreignKey", foreignKey != nil)
	if left.grace != nil {
		t.fail(kindJoinForeign, "the rows of the left table are windows, which expire without an update: the right side would never forget them. Make a table with a TTL of them: ToStream and ToTable")
	}
	left.needCodecs(kindJoinForeign, "left")
	right.needCodecs(kindJoinForeign, "right")

	if o.emitOnCommit {
		t.fail(kindJoinForeign, "EmitOnCommit has no meaning here: give it to the tables that are joined")
	}
	if name == "" { // which is told once
		return Table[K, V]{n: t.addStateful(kindJoinForeign, name, left.n), keys: left.keys, values: standard[V]()}
	}

	asks := t.add(kindSubscribe, name+"-subscribe", left.n)
	asks.build = func(b *builder) []any {
		return []any{&subscribe[K, L, F]{
			ctx: b.ctx, n: asks, foreignKey: foreignKey, outer: outer, keys: left.keys, foreign: right.keys, next: next[[]byte, subscription](b, asks),
		}}
	}
	asked := Stream[[]byte, subscription]{n: asks, keys: foreignKeys[F]{Bytes(), right.keys}, values: subscriptionCodec{}}.
		follow(kindJoinForeign, name+"-subscription", nil)

	subscribers := t.add(kindAnswer, name+"-subscriptions", right.n, asked.n)
	if right.n != nil && right.n.t == t { // or it is told
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
	n.reading("left table", left.from...)
	n.store(o.spec(name))
	made := func(b *builder) *foreignRows[K, L, F, R, V] {
		return &foreignRows[K, L, F, R, V]{
			left: left.getter(b), known: kvOf(b, n, left.keys, knownCodec[L, R]{left.values, right.values}, o),
			foreignKey: foreignKey, joiner: joiner, outer: outer,
		}
	}
	n.build = func(b *builder) []any {
		j := &joinForeign[K, L, F, R, V]{
			foreignRows: *made(b), ctx: b.ctx, n: n, keys: left.keys, foreign: right.keys, values: right.values, next: next[K, Change[V]](b, n),
		}
		j.watch = watched[K](b, left.from, nil)
		b.lives(n, j)
		return []any{&joinForeignLeft[K, L, F, R, V]{j}, &joinForeignAnswer[K, L, F, R, V]{j}}
	}
	return Table[K, V]{
		n: n, keys: left.keys, values: standard[V](), from: append(slices.Clone(left.from), n),
		getter: func(b *builder) getter[K, V] { return made(b) },
	}
}

// needCodecs notes a fault if a codec of a table that op needs is not known.
func (t Table[K, V]) needCodecs(op, side string) {
	if t.n != nil && t.keys == nil {
		t.n.t.fail(op, "no codec of the keys of the %s table, which are %T", side, *new(K))
	}
	if t.n != nil && t.values == nil {
		t.n.t.fail(op, "no codec of the values of the %s table, which are %T: call Values before", side, *new(V))
	}
}
