package stream

import (
	"fmt"
	"math"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// TTL deletes a row when it is older than the stream time of its operator by more than d: of a table, an aggregation or a
// [NewStore]. Whole milliseconds, at most 90 years. Default: rows stay.
//
// A row has the time of its last update; one of a NewStore that of the stream when it was put, which for that is the
// highest time of a record that the operator has processed. Stream time is kept with the rows, and moves with the records
// of the operator and with [IdleTimeout]: where neither comes nothing expires. A record that is itself too old is dropped
// with class late.
//
// The deletion is an update like any other: joins, groups and sinks see it, with the time from which the row was gone. It is
// sent on when the row's key has a record again, and else before stream time is another sixteenth of d further; where much
// expires at once, a part of it with each record. A look-up, by a join with a stream or from outside, does not find the row
// meanwhile. A join with another table has it until its deletion is sent on, so that each result is taken back as it was.
//
// It is not for windows, which have a [Retention], nor for [Versioned] tables, which have their history.
func TTL(d time.Duration) StoreOption {
	return storeOption(func(o *storeOptions) { o.ttl, o.expires = d, true })
}

// checkTTL notes a fault if a store of n is to lose rows that are old, and cannot.
func (n *node) checkTTL(s *task.StoreSpec, able bool) {
	switch {
	case !s.Expires:
	case !able:
		n.t.fail(n.kind, "TTL is for tables, aggregations by key and stores of processors. A table that is joined or suppressed follows its rows: give it to that; windows have Retention, versioned tables their history")
	case s.TTL < time.Millisecond || s.TTL%time.Millisecond != 0 || s.TTL > longest:
		n.t.fail(n.kind, "a TTL of %v: want whole milliseconds, at most 90 years", s.TTL)
	}
}

// expiry tells which rows of a [kvStore] are too old, and finds them: beside the rows the store has an entry for each, by
// the segment of its time. An entry moves when its row gets a time in another segment, which is once for many updates, and
// is written at once, not by the flush: so what is found does not depend on the commits.
type expiry struct {
	store    *store.Store
	ttl      int64 // milliseconds, as all that follows
	interval int64 // the length of a segment
	made     int64 // that of those in the store
	time     int64 // the stream time
	floor    int64 // rows with an earlier time are gone
	due      int64 // up to this stream time there is no segment of which all rows are gone
	cursor   []byte
	meta     *meta // time and made in the store
	key      []byte
}

// segmentsOfTTL is how many segments there are to a TTL.
const segmentsOfTTL = 16

func newExpiry(s *store.Store, ttl time.Duration) *expiry {
	ms := ttl.Milliseconds()
	return &expiry{store: s, ttl: ms, interval: max(1, ms/segmentsOfTTL), time: task.NoTime, floor: never, due: never}
}

// advance moves stream time on.
func (x *expiry) advance(t int64) {
	if t > x.time {
		x.time = t
		x.floor = max(t, never+x.ttl) - x.ttl
	}
}

// gone tells whether a row of a time is too old.
func (x *expiry) gone(t int64) bool { return t < x.floor }

// behind tells whether there are rows to delete.
func (x *expiry) behind() bool { return x.time != task.NoTime && x.time >= x.due }

// number returns the segment of a time.
func (x *expiry) number(t int64) int64 {
	n := t / x.interval
	if t%x.interval < 0 {
		n--
	}
	return n
}

// Entries begin with prefixMeta and metaEntry, the bytes of numbers, so that they come before the rows in a changelog: a row is
// not without its entry if that ends in between. The number of the segment and the key follow.
const (
	entryPrefix = 2
	entryHead   = entryPrefix + timeBytes
)

// entry returns the entry of a key in a segment. It is valid until the next call.
func (x *expiry) entry(n int64, key []byte) []byte {
	x.key = append(appendTime(append(x.key[:0], prefixMeta, metaEntry), n), key...)
	return x.key
}

// open reads the stream time, and writes the entries if they are not there, or for another interval.
func (x *expiry) open() (err error) {
	was := x.time
	if x.meta, err = newMeta(x.store, metaExpiry, &was, &x.made); err != nil {
		return err
	}
	x.meta.fields[0] = &x.time
	x.advance(was)
	if x.made == x.interval {
		return nil
	}
	if err := dropEntries(x.store); err != nil {
		return err
	}
	x.made = x.interval
	return x.store.Scan([]byte{prefixRow}, []byte{prefixRow + 1}, func(key, value []byte) (bool, error) {
		r, _, err := tableRow(key, value)
		if err != nil {
			return false, err
		}
		return true, x.store.Put(x.entry(x.number(r.Timestamp), r.Key), []byte{})
	})
}

// dropEntries deletes all entries of a store.
func dropEntries(s *store.Store) error {
	return s.Scan([]byte{prefixMeta, metaEntry}, []byte{prefixMeta, metaEntry + 1}, func(key, _ []byte) (bool, error) {
		return true, s.Delete(key)
	})
}

// indexed moves the entry of a row that has changed.
func (s *kvStore[K, V]) indexed(k K, old, now rowTime) error {
	x := s.ttl
	from, to := x.number(old.timestamp), x.number(now.timestamp)
	if !old.exists && !now.exists || old.exists && now.exists && from == to {
		return nil
	}
	if err := s.encodeKey(k); err != nil {
		return err
	}
	if old.exists {
		if err := s.store.Delete(x.entry(from, s.key[1:])); err != nil {
			return err
		}
	}
	if !now.exists {
		return nil
	}
	return s.store.Put(x.entry(to, s.key[1:]), []byte{})
}

// rowTime is what there is to know of a row to find it when it is old.
type rowTime struct {
	timestamp int64
	exists    bool
}

func (r *row[V]) times() rowTime { return rowTime{r.timestamp, r.exists} }

// fresh returns the cached row of a key, which it deletes if it is too old.
func (s *kvStore[K, V]) fresh(k K) (*cached[K, V], error) {
	c, err := s.at(k)
	if err != nil || !c.row.exists || !s.ttl.gone(c.row.timestamp) {
		return c, err
	}
	if err := s.indexed(k, c.row.times(), rowTime{}); err != nil {
		return nil, err
	}
	if err := s.remove(c); err != nil {
		return nil, err
	}
	return s.at(k)
}

// remove deletes a row that is too old, and sends that on.
func (s *kvStore[K, V]) remove(c *cached[K, V]) error {
	s.mark(c)
	k, old := c.key, c.row
	c.row = row[V]{timestamp: old.timestamp + s.ttl.ttl + 1}
	if s.hold || s.expired == nil {
		return nil
	}
	return s.expired(k, old, c.row)
}

// expire deletes some of the rows that are too old.
func (s *kvStore[K, V]) expire() error {
	x := s.ttl
	if !x.behind() {
		return nil
	}
	n := x.number(x.floor) // of the first segment that has, or can get, rows that are not too old
	end := append([]byte(nil), x.entry(n, nil)...)
	from := append([]byte(nil), x.cursor...)
	if x.cursor == nil {
		from = []byte{prefixMeta, metaEntry}
	}
	left := expireAtOnce
	err := x.store.Scan(from, end, func(key, _ []byte) (bool, error) {
		if left--; left < 0 {
			x.cursor = append(x.cursor[:0], key...)
			return false, nil
		}
		return true, s.expireEntry(append([]byte(nil), key...))
	})
	if err == nil && left >= 0 {
		x.cursor = append(x.cursor[:0], end...)
		x.due = (n+1)*x.interval + x.ttl
	}
	return err
}

// expireEntry deletes the row of an entry, if it is still that row's.
func (s *kvStore[K, V]) expireEntry(entry []byte) error {
	if err := s.store.Delete(entry); err != nil {
		return err
	}
	if len(entry) < entryHead {
		return errShortKey
	}
	k, err := s.keys.Decode(entry[entryHead:])
	if err != nil {
		return fmt.Errorf("store %s: the key of a row cannot be decoded: has its codec changed? Then give the store another name. %w", s.name, err)
	}
	c, err := s.at(k)
	if err != nil || !c.row.exists || s.ttl.number(c.row.timestamp) != timeOf(entry[entryPrefix:]) {
		return err
	}
	return s.remove(c)
}

// aging is the part of a store with a TTL, or of one that has had one, in the life of the task.
type aging[K comparable, V any] struct {
	kv  *kvStore[K, V]
	ctx *task.Context
}

// open reads what the store remembers of time. The entries of a TTL that there is no more are deleted: they would be wrong
// should it come back.
func (a *aging[K, V]) open() error {
	if x := a.kv.ttl; x != nil {
		if err := x.open(); err != nil {
			return fmt.Errorf("store %s: %w", a.kv.name, err)
		}
		if x.time != task.NoTime {
			a.ctx.Resume(x.time)
		}
		return nil
	}
	key := []byte{prefixMeta, metaExpiry}
	b, err := a.kv.store.Get(key)
	if err != nil || b == nil {
		return err
	}
	if err := dropEntries(a.kv.store); err != nil {
		return err
	}
	return a.kv.store.Delete(key)
}

// Flush writes the stream time.
func (a *aging[K, V]) Flush() error {
	if a.kv.ttl == nil {
		return nil
	}
	return a.kv.ttl.meta.flush()
}

// Advance deletes rows when stream time has moved without a record.
func (a *aging[K, V]) Advance(streamTime int64) error {
	if a.kv.ttl == nil {
		return nil
	}
	a.kv.ttl.advance(streamTime)
	return a.kv.expire()
}

// Next has Tick called as long as there are rows to delete.
func (a *aging[K, V]) Next() time.Time {
	if a.kv.ttl == nil || !a.kv.ttl.behind() {
		return time.Time{}
	}
	return a.ctx.Now()
}

// Tick deletes some of the rows that are too old.
func (a *aging[K, V]) Tick(time.Time) error { return a.kv.expire() }

// ages has a store lose rows by age, if its options say so.
func (s *kvStore[K, V]) ages(b *builder, n *node, o storeOptions) {
	if o.expires {
		s.ttl = newExpiry(s.store, o.ttl)
	}
	b.lives(n, &aging[K, V]{s, b.ctx})
}

// expiring stands before an operator whose rows have a TTL.
type expiring[K comparable, V, A any] struct {
	of     processor[K, V]
	rows   *kvStore[K, A]
	ctx    *task.Context
	n      *node
	amends bool // a record that is too old changes a row that is there
}

// withTTL returns the processor that gets the records of an operator: if its rows have a TTL, one that deletes them before.
func withTTL[K comparable, V, A any](b *builder, n *node, of processor[K, V], rows *kvStore[K, A], next *edge[K, Change[A]], out *Record[K, Change[A]]) any {
	if rows.ttl == nil {
		return of
	}
	rows.expired = func(k K, old, now row[A]) error {
		out.Headers = nil
		return rows.send(next, out, k, old, now, now.timestamp)
	}
	_, amends := of.(interface{ amends() })
	return &expiring[K, V, A]{of: of, rows: rows, ctx: b.ctx, n: n, amends: amends}
}

func (e *expiring[K, V, A]) process(r *Record[K, V]) error {
	if r.NullKey {
		return e.of.process(r)
	}
	x := e.rows.ttl
	x.advance(r.Timestamp)
	if err := e.rows.expire(); err != nil {
		return err
	}
	if x.gone(r.Timestamp) && !e.amends {
		e.ctx.Drop(e.n.problem(record.StageProcess, classLate, "the record is older than the TTL"))
		return nil
	}
	c, err := e.rows.fresh(r.Key)
	if err != nil {
		return err
	}
	if x.gone(r.Timestamp) && !c.row.exists {
		e.ctx.Drop(e.n.problem(record.StageProcess, classLate, "the update is older than the TTL, and its group is gone"))
		return nil
	}
	old := c.row.times()
	if err := e.of.process(r); err != nil {
		return err
	}
	if c, err = e.rows.at(r.Key); err != nil {
		return err
	}
	return e.rows.indexed(r.Key, old, c.row.times())
}

// put sets a row of a processor's store.
func (s *kvStore[K, V]) put(k K, r row[V], now time.Time) error {
	c, err := s.at(k)
	if err != nil {
		return err
	}
	s.mark(c)
	if s.ttl == nil {
		c.row = r
		return nil
	}
	if r.timestamp = s.ttl.time; r.timestamp == task.NoTime { // before the first record
		r.timestamp = min(now.UnixMilli(), math.MaxInt64/2)
	}
	old := c.row.times()
	c.row = r
	return s.indexed(k, old, r.times())
}
