package stream

import (
	"fmt"
	"math"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// JoinWindow says which records of two streams belong together: those of the same key where the right one is at most
// Before older and at most After newer than the left one, in event time, both ends included; with all of Before, After and Grace 0 none do. They are whole
// milliseconds, and at most 90 years. One of Before and After may be negative, as long as Before is not later than After: {Before: -time.Second,
// After: time.Minute} takes what comes between a second and a minute later.
type JoinWindow struct {
	Before, After time.Duration
	// Grace is how long after the end of its window a record may still come and be joined, as stream time goes. Results
	// without a match wait for it. Default: 0.
	Grace time.Duration
	// EarlyUnmatched has a record that comes out of order, and finds no match, sent on at once when stream time has
	// passed the end of its window, and not only when it has passed the grace too: Kafka Streams does so, and may send a
	// record that is not late on without a match and then with one (KAFKA-19536). Default: a result without a match waits
	// for the grace.
	EarlyUnmatched bool
}

// Symmetric returns the window of records that are at most d apart.
func Symmetric(d time.Duration) JoinWindow { return JoinWindow{Before: d, After: d} }

// retention returns how long a record can be asked for, in milliseconds.
func (w JoinWindow) retention() int64 {
	return (max(0, w.Before) + max(0, w.After) + w.Grace).Milliseconds()
}

func (w JoinWindow) check(t *Topology, kind string) {
	switch {
	case w.Grace < 0:
		t.fail(kind, "the grace is negative")
	case max(w.Before, w.After, w.Grace) > longest || min(w.Before, w.After) < -longest:
		t.fail(kind, "the window or its grace is longer than 90 years")
	case w.Before+w.After < 0:
		t.fail(kind, "the window ends before it begins: Before+After is negative")
	case w.Before%time.Millisecond != 0 || w.After%time.Millisecond != 0 || w.Grace%time.Millisecond != 0:
		t.fail(kind, "the window is not in whole milliseconds")
	}
}

// Sides is what an outer join joins: one value of each stream, or one that has no match.
type Sides[L, R any] struct {
	Left     L
	Right    R
	HasLeft  bool
	HasRight bool
}

// JoinStream joins each record of one stream with each of the other that has the same key and lies in the window. The
// result has the higher of the two times, and the headers of the record that came last.
//
// Both streams are kept as long as they can be asked for, in the stores <name>-left and <name>-right, as the time of each
// stream goes: if one is behind, the other may be asked for what is older than its window and grace, by up to a day. Two
// records with the same key and time are two records. A side whose key has changed goes through a repartition topic first. A record
// without key or value is dropped; so is a late one, which is too old to be kept and finds nothing to be joined with.
// A stream may be joined with itself. Of opts only [InMemory] has a meaning.
func JoinStream[K, L, R, V any](left Stream[K, L], right Stream[K, R], name string, w JoinWindow, joiner func(L, R) V, opts ...StoreOption) Stream[K, V] {
	left.n.topology().needs("join-stream", "joiner", joiner != nil)
	return addJoinStream(left, right, streamJoin{kind: "join-stream", name: name, window: w}, func(s Sides[L, R]) V { return joiner(s.Left, s.Right) }, opts)
}

// LeftJoinStream is [JoinStream], and sends on each record of the left stream that has found no match when its window has
// closed: when stream time has passed the window and the grace. The joiner is told whether there is a match. A left
// record without a key is sent on at once, since it can have none.
//
// A late record can still find one that was sent on without a match, as in Kafka Streams: choose the grace so that there
// are none that matter.
//
// Records that wait for a match are kept in the store <name>-unmatched. The result without a match has the time and
// the headers of its record. Like Kafka Streams, it comes with a record that is not older than those before it, and
// can come somewhat later than it could: several are looked at together, about once a window.
func LeftJoinStream[K, L, R, V any](left Stream[K, L], right Stream[K, R], name string, w JoinWindow, joiner func(left L, right R, ok bool) V, opts ...StoreOption) Stream[K, V] {
	left.n.topology().needs("left-join-stream", "joiner", joiner != nil)
	return addJoinStream(left, right, streamJoin{kind: "left-join-stream", name: name, window: w, left: true}, func(s Sides[L, R]) V {
		return joiner(s.Left, s.Right, s.HasRight)
	}, opts)
}

// OuterJoinStream is [LeftJoinStream] for both sides: a record of either stream that has found no match is sent on.
func OuterJoinStream[K, L, R, V any](left Stream[K, L], right Stream[K, R], name string, w JoinWindow, joiner func(Sides[L, R]) V, opts ...StoreOption) Stream[K, V] {
	left.n.topology().needs("outer-join-stream", "joiner", joiner != nil)
	return addJoinStream(left, right, streamJoin{kind: "outer-join-stream", name: name, window: w, left: true, right: true}, joiner, opts)
}

// streamJoin is what is declared of a join of two streams.
type streamJoin struct {
	kind, name  string
	window      JoinWindow
	left, right bool // records of that side are sent on without a match
}

// The tags of the sides in the store of unmatched records. Of the same time the right ones go first, as in Kafka
// Streams.
const (
	tagRight byte = iota
	tagLeft
)

func addJoinStream[K, L, R, V any](left Stream[K, L], right Stream[K, R], d streamJoin, joiner func(Sides[L, R]) V, opts []StoreOption) Stream[K, V] {
	t := left.n.topology()
	d.window.check(t, d.kind)
	left.needCodecs(d.kind)
	right.needCodecs(d.kind)
	left, right = copartitionedBoth(left, right, d)
	n := t.addStateful(d.kind, d.name, left.n, right.n)
	o := storeOptionsOf(opts)
	if o.emitOnCommit {
		t.fail(d.kind, "EmitOnCommit is for tables: a join sends each result on")
	}
	if o.sized {
		t.fail(d.kind, "CacheRows has no meaning here: a join of streams keeps no rows decoded")
	}
	sameKeys(t, d.kind, "left stream", left.keys, "right one", right.keys)
	for _, side := range []string{"-left", "-right"} {
		s := o.spec(d.name + side)
		s.Retention = time.Duration(d.window.retention())*time.Millisecond + sideSlack
		n.store(s)
	}
	if d.left || d.right {
		n.store(o.spec(d.name + "-unmatched"))
	}
	n.build = func(b *builder) []any {
		j := &joinStream[K, V]{
			ctx: b.ctx, n: n, keys: left.keys, d: d, self: left.n == right.n, minTime: math.MaxInt64, streamTime: task.NoTime,
			next: next[K, V](b, n),
		}
		lr := &joinRows[L]{values: left.values, observed: task.NoTime, both: &j.streamTime}
		rr := &joinRows[R]{values: right.values, observed: task.NoTime, both: &j.streamTime}
		l := &joinSide[K, L, R, V]{
			j: j, tag: tagLeft, mine: lr, other: rr, outer: d.left, othersWait: d.right,
			before: d.window.Before.Milliseconds(), after: d.window.After.Milliseconds(),
			joiner: func(x L, y R, ok bool) V { return joiner(Sides[L, R]{Left: x, Right: y, HasLeft: true, HasRight: ok}) },
		}
		r := &joinSide[K, R, L, V]{
			j: j, tag: tagRight, mine: rr, other: lr, outer: d.right, othersWait: d.left,
			before: l.after, after: l.before,
			joiner: func(x R, y L, ok bool) V { return joiner(Sides[L, R]{Left: y, Right: x, HasLeft: ok, HasRight: true}) },
		}
		l.visit, r.visit = l.match, r.match
		j.sides = [2]joinHalf[K]{tagRight: r, tagLeft: l}
		b.lives(n, j)
		return []any{l, r}
	}
	return Stream[K, V]{n: n, keys: left.keys, values: standard[V]()}
}

// copartitionedBoth brings all records of a key to one partition. A stream that is joined with itself goes there once.
func copartitionedBoth[K, L, R any](left Stream[K, L], right Stream[K, R], d streamJoin) (Stream[K, L], Stream[K, R]) {
	if same, ok := any(left).(Stream[K, R]); ok && left.n == right.n && left.rekeyed {
		rep := same.copartitioned(d.kind, d.name, d.left || d.right)
		left.n, left.rekeyed = rep.n, false
		right.n, right.rekeyed = rep.n, false
		return left, right
	}
	return left.copartitioned(d.kind, d.name+"-left", d.left), right.copartitioned(d.kind, d.name+"-right", d.right)
}

// joinStream is what both sides of a join share.
type joinStream[K, V any] struct {
	ctx        *task.Context
	n          *node
	keys       Codec[K]
	d          streamJoin
	self       bool           // both sides are the same stream
	late       bool           // the left side of a stream joined with itself found the present record late
	sides      [2]joinHalf[K] // by tag
	unmatched  *timeline      // nil in an inner join
	meta       *meta          // of unmatched
	streamTime int64          // the highest time of both sides
	minTime    int64          // see closeWindows
	next       edge[K, V]
	out        Record[K, V]
	key        segmentKey // of the present record
	keyBytes   []byte     // the same, encoded; nil is null
	keyMemory  []byte
	held       []byte
}

// joinHalf is a side whatever its types.
type joinHalf[K any] interface {
	open() error
	flush() error
	emitUnmatched(k K, timestamp int64, h *held) error
	look() int64
}

// open reads what the stores hold.
func (j *joinStream[K, V]) open() error {
	for _, s := range j.sides {
		if err := s.open(); err != nil {
			return err
		}
	}
	j.ctx.Resume(j.streamTime)
	if !j.d.left && !j.d.right {
		return nil
	}
	s := j.ctx.Store(j.d.name + "-unmatched")
	var err error
	if j.meta, err = newMeta(s, metaOperator, &j.minTime); err != nil {
		return err
	}
	j.unmatched, err = openTimeline(s)
	return err
}

// Flush writes stream times and sequence numbers.
func (j *joinStream[K, V]) Flush() error {
	for _, s := range j.sides {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if j.meta == nil {
		return nil
	}
	return j.meta.flush()
}

// Advance sends on the unmatched records whose windows have closed without a record.
func (j *joinStream[K, V]) Advance(streamTime int64) error {
	if j.unmatched == nil || streamTime <= j.streamTime {
		return nil
	}
	j.streamTime = streamTime
	first := min(j.sides[tagLeft].look(), j.sides[tagRight].look()) + j.d.window.Grace.Milliseconds()
	if j.unmatched.low == math.MaxInt64 || j.unmatched.low+first >= streamTime {
		return nil
	}
	return j.closeWindows()
}

// mayClose tells whether it is worth looking for records whose windows have closed. It decides as Kafka Streams does,
// so that results come with the same records: by the time of the last record that was looked at, and by the window of
// the side that asks.
func (j *joinStream[K, V]) mayClose(look int64) bool {
	return j.minTime != math.MaxInt64 && j.minTime+look+j.d.window.Grace.Milliseconds() < j.streamTime
}

// closeWindows sends on the unmatched records whose windows have closed, in the order of their times.
func (j *joinStream[K, V]) closeWindows() error {
	var open [2]bool
	low := int64(math.MaxInt64) // of what stays
	j.minTime = math.MaxInt64
	err := j.unmatched.scan(func(e *timelineRow) (bool, error) {
		j.minTime = e.time
		if open[tagLeft] && open[tagRight] {
			return false, nil
		}
		if e.tag > tagLeft {
			return false, fmt.Errorf("the store %s-unmatched is damaged", j.d.name)
		}
		if e.time+j.sides[e.tag].look()+j.d.window.Grace.Milliseconds() >= j.streamTime {
			open[e.tag] = true
			low = min(low, e.time)
			return true, nil
		}
		if err := j.unmatched.store.Delete(e.raw); err != nil {
			return false, err
		}
		return true, j.emitHeld(e)
	})
	j.unmatched.low = low
	return err
}

// emitHeld sends on a record that has waited in vain.
func (j *joinStream[K, V]) emitHeld(e *timelineRow) error {
	key := e.clone()
	k, err := j.keys.Decode(key)
	if err != nil {
		return fmt.Errorf("a key in the store cannot be decoded: has its codec changed? %w", err)
	}
	h, err := heldOf(key, e.value)
	if err != nil {
		return err
	}
	was := h.enter(j.ctx)
	err = j.sides[e.tag].emitUnmatched(k, e.time, &h)
	j.ctx.SetRecord(was)
	return err
}

// unencodable is why a record cannot be kept.
func (n *node) unencodable() task.Drop {
	return n.problem(record.StageEncode, classUnencodable, "the record cannot be encoded")
}
