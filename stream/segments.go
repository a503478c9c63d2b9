package stream

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"millrace.dev/internal/store"
)

// minSegment is the shortest segment: deleting one costs the store something.
const minSegment = 60_000

// segments is the rows of a store that matter for some time only. They lie by segment of time, and in it by key, time
// and sequence number, so that the rows of a key between two times are a short scan, and what has expired is a range.
//
// That is deleted in one step. Changelogs are not told of it, and have to forget by time; a restored store may hold what
// has expired, and deletes it again. Where the changelog cannot forget by time, told has the rows deleted one by one.
//
// What is in memory tells for most keys that have no rows that there is nothing to scan.
type segments struct {
	store    *store.Store
	prefix   byte // of the keys
	told     bool // the changelog is told of rows that have expired
	interval int64
	first    int64 // number of the first segment that was not deleted
	live     map[int64]*segment
	cursor   []byte // where what has expired and was not deleted yet begins
	from, to []byte
}

// segment is what is known of a segment that has rows.
type segment struct {
	unknown bool // it has rows that were there before the task began, or too many
	keys    keyFilter
	min     int64 // times of its rows, unless unknown
	max     int64
}

// open reads which segments there are. Rows are kept for retention milliseconds. in returns the time that put a row
// where it is: if the retention is another than that of the rows, or that is not known, they are put where they belong now. (It is
// written once: a changelog that forgets by time does not have it for ever.)
func (g *segments) open(retention int64, in func(key, value []byte) (int64, error)) error {
	g.interval, g.first, g.live = max(retention/2, minSegment), math.MinInt64, map[int64]*segment{}
	was := int64(0)
	m, err := newMeta(g.store, metaSegments, &was)
	if err != nil {
		return err
	}
	if was != g.interval {
		if err := g.arrange(in); err != nil {
			return err
		}
	}
	was = g.interval
	if err := m.flush(); err != nil {
		return err
	}
	return g.look()
}

// arrange moves each row to its segment.
func (g *segments) arrange(in func(key, value []byte) (int64, error)) error {
	return g.store.Scan([]byte{g.prefix}, []byte{g.prefix + 1}, func(key, value []byte) (bool, error) {
		t, err := in(key, value)
		if err != nil || len(key) < 1+timeBytes {
			return false, cmp.Or(err, errShortKey)
		}
		g.from = append(appendTime(append(g.from[:0], g.prefix), g.number(t)), key[1+timeBytes:]...)
		if bytes.Equal(g.from, key) {
			return true, nil
		}
		g.to = append(g.to[:0], value...)
		if err := g.store.Delete(key); err != nil {
			return false, err
		}
		return true, g.store.Put(g.from, g.to)
	})
}

// look finds the segments that have rows.
func (g *segments) look() error {
	from, to := []byte{g.prefix}, []byte{g.prefix + 1}
	for {
		found := false
		err := g.store.Scan(from, to, func(key, _ []byte) (bool, error) {
			if len(key) < 1+timeBytes {
				return false, errShortKey
			}
			n := timeOf(key[1:])
			g.live[n] = &segment{unknown: true}
			from, found = appendTime([]byte{g.prefix}, n+1), true
			return false, nil
		})
		if err != nil || !found {
			return err
		}
	}
}

// number returns the segment of a time.
func (g *segments) number(t int64) int64 {
	n := t / g.interval
	if t%g.interval < 0 {
		n--
	}
	return n
}

// segmentKey is a key as rows have it, with its hash.
type segmentKey struct {
	ref  []byte
	hash uint64
}

// set makes k the reference of a key.
func (k *segmentKey) set(key []byte) {
	k.ref = appendKeyRef(k.ref[:0], key)
	k.hash = hashKey(k.ref)
}

// row appends the beginning of the keys of rows.
func (g *segments) row(dst []byte, n int64, k *segmentKey, t int64) []byte {
	dst = appendTime(append(dst[:0], g.prefix), n)
	return appendTime(append(dst, k.ref...), t)
}

// put writes a row with a time and a sequence number to the segment of another time. It does nothing if that has
// expired.
func (g *segments) put(in int64, k *segmentKey, t, seq int64, value []byte) error {
	n := g.number(in)
	if n < g.first {
		return nil
	}
	s := g.live[n]
	if s == nil {
		s = &segment{min: t, max: t}
		g.live[n] = s
	}
	if !s.unknown {
		s.min, s.max = min(s.min, t), max(s.max, t)
		if !s.keys.add(k.hash) {
			s.unknown, s.keys = true, keyFilter{}
		}
	}
	g.from = appendTime(g.row(g.from, n, k, t), seq)
	return g.store.Put(g.from, value)
}

// get returns the value of a row, nil if there is none.
func (g *segments) get(in int64, k *segmentKey, t, seq int64) ([]byte, error) {
	g.from = appendTime(g.row(g.from, g.number(in), k, t), seq)
	return g.store.Get(g.from)
}

// delete removes a row.
func (g *segments) delete(in int64, k *segmentKey, t, seq int64) error {
	g.from = appendTime(g.row(g.from, g.number(in), k, t), seq)
	return g.store.Delete(g.from)
}

// mayHave tells whether a segment may have a row of a key with a time from lo to hi.
func (g *segments) mayHave(n int64, k *segmentKey, lo, hi int64) bool {
	s := g.live[n]
	return s != nil && (s.unknown || lo <= s.max && hi >= s.min && s.keys.has(k.hash))
}

// between appends the numbers of the segments of times from lo to hi that have rows, in their order: however long that is.
func (g *segments) between(dst []int64, lo, hi int64) []int64 {
	from, to := g.number(lo), g.number(hi)
	for n := range g.live {
		if n >= from && n <= to {
			dst = append(dst, n)
		}
	}
	slices.Sort(dst)
	return dst
}

// scan calls visit with the rows of a key in a segment whose times are from lo to hi.
func (g *segments) scan(n int64, k *segmentKey, lo, hi int64, visit func(key, value []byte) (bool, error)) error {
	g.bounds(n, k, lo, hi)
	return g.store.Scan(g.from, g.to, visit)
}

// scanReverse is scan, the latest first.
func (g *segments) scanReverse(n int64, k *segmentKey, lo, hi int64, visit func(key, value []byte) (bool, error)) error {
	g.bounds(n, k, lo, hi)
	return g.store.ScanReverse(g.from, g.to, visit)
}

func (g *segments) bounds(n int64, k *segmentKey, lo, hi int64) {
	g.from = g.row(g.from, n, k, lo)
	if hi < math.MaxInt64 {
		g.to = g.row(g.to, n, k, hi+1)
		return
	}
	g.to = appendTime(append(g.to[:0], g.prefix), n)
	g.to = successor(g.to, append(g.to, k.ref...))
}

// rowTimes returns time and sequence number of a row.
func rowTimes(key []byte) (t, seq int64, err error) {
	n := len(key) - 2*timeBytes
	if n < 1+timeBytes {
		return 0, 0, errShortKey
	}
	return timeOf(key[n:]), timeOf(key[n+timeBytes:]), nil
}

// last returns the number of the last segment that may have rows.
func (g *segments) last() int64 {
	last := int64(math.MinInt64)
	for n := range g.live {
		last = max(last, n)
	}
	return last
}

// expire deletes the segments that lie wholly before a time.
func (g *segments) expire(before int64) error {
	n := g.number(before)
	if n <= g.first && g.cursor == nil {
		return nil
	}
	gone := g.cursor != nil
	g.first = max(g.first, n)
	for k := range g.live {
		if k < g.first {
			gone = true
			delete(g.live, k)
		}
	}
	if !gone {
		return nil
	}
	end := appendTime([]byte{g.prefix}, g.first)
	if g.told {
		return g.deleteSome(end)
	}
	return g.store.DeleteRange([]byte{g.prefix}, end)
}

// expireAtOnce is how many rows are deleted at a time, where they are deleted one by one: a segment is not one long
// pause.
const expireAtOnce = 256

// deleteSome deletes rows that have expired, and notes where it has stopped.
func (g *segments) deleteSome(end []byte) error {
	if g.cursor == nil {
		g.cursor = []byte{g.prefix}
	}
	n := 0
	err := g.store.Scan(g.cursor, end, func(key, _ []byte) (bool, error) {
		if n++; n > expireAtOnce {
			g.from = append(g.from[:0], key...)
			return false, nil
		}
		return true, g.store.Delete(key)
	})
	if n > expireAtOnce {
		g.cursor = append(g.cursor[:0], g.from...)
	} else {
		g.cursor = nil
	}
	return err
}
