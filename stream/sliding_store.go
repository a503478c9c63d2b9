package stream

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// slidingRows is the rows of sliding windows in a task. In the store they lie by time and in that by key, so that the
// windows of a key are a short scan, and expire in a range. In memory those of a key lie together, all that there are, in a
// cache: updates stay there until the flush before the commit, so that a row is encoded once for each.
//
// Where rows wait for their window to close, the store also has an entry for each by its time alone.
type slidingRows[K comparable, A any] struct {
	windowTimes
	name       string // for errors
	segments   segments
	keys       Codec[K]
	values     Codec[A]
	difference int64
	most       int  // rows in the cache, but for those that are held back
	hold       bool // updates are sent on by the flush

	cache   map[K]*slidingKey[K, A]
	clean   slidingKey[K, A]    // the ring of keys without changes: next was used last, prev is the first to go
	free    *slidingKey[K, A]   // to be used again
	dirty   []*slidingKey[K, A] // in the order in which they changed first
	rows    int                 // in the cache
	waiting int                 // of those, for the flush
	entry   int64               // what a key takes, but for its bytes and its windows
	perKey  int64               // for each byte of a key
	lengths lengths[A]
	account *store.Cache
	pressed bool // keys have to be flushed to be forgotten
	largest int  // keys since the map was made

	earliest int64 // no window that waits to be emitted begins before
	later    int64 // the first that waits on

	read    func(key, value []byte) (bool, error) // readRow
	reading *slidingKey[K, A]                     // what it reads
	numbers []int64                               // of segments
	key     segmentKey
	encoded []byte // a key
	stored  []byte // a key of the store
	value   []byte
}

// slidingKey is the windows of a key by their starts. One with changes is in no ring.
type slidingKey[K comparable, A any] struct {
	key        K
	list       []slidingWindow[A]
	dirty      bool
	fixed      int64             // what it takes without its windows
	bytes      int64             // what it takes, as the budget knows
	values     int64             // of that, what values have outside of the list
	waiting    int64             // what waits to be written
	held       int64             // of values, what was sent last
	prev, next *slidingKey[K, A] // next also links those that are free
}

// slidingWindow is a row: of which window, and how it stands. The row of a null aggregate is there without a value, since
// other windows are made of it. Its time is that of the newest record.
type slidingWindow[A any] struct {
	start int64
	row   row[A]
	sent  row[A] // if it is dirty: what it was before
	dirty bool   // it waits for the flush
	size  uint32 // how long the value is, encoded, as far as that is known
}

// prefixWaiting is the first byte of the entries of rows that wait for their window to close.
const prefixWaiting byte = 2

// slidingRow reads a row of sliding windows from outside.
func slidingRow(difference int64) func(key, value []byte) (task.Row, bool, error) {
	return func(key, value []byte) (r task.Row, ok bool, err error) {
		switch {
		case len(key) == 0 || key[0] != prefixRow:
			return r, false, nil
		case len(value) < timestampBytes+1:
			return r, false, errShortRow
		case value[timestampBytes]&rowNull != 0:
			return r, false, nil
		}
		start, _, err := rowTimes(key)
		if err != nil {
			return r, false, err
		}
		of, _, err := cutKeyRef(key[1+timeBytes:])
		if err != nil {
			return r, false, err
		}
		b := binary.BigEndian.AppendUint64(make([]byte, 0, windowBytes+len(of)), uint64(start))
		b = binary.BigEndian.AppendUint64(b, uint64(start+difference))
		at := int64(binary.BigEndian.Uint64(value))
		return task.Row{Key: append(b, of...), Value: value[timestampBytes+1:], Timestamp: at}, true, nil
	}
}

// slidingRowsOf returns the sliding windows of a node in a task.
func slidingRowsOf[K comparable, A any](b *builder, d *windowState[K, A]) *slidingRows[K, A] {
	key := storeKey{d.n, d.n.stores[0].Name}
	if s, ok := b.stores[key].(*slidingRows[K, A]); ok {
		return s
	}
	w, ok := d.w.(SlidingWindows)
	if !ok {
		panic(fmt.Sprintf("stream: %s at %s: windows %T", d.n.name, d.n.at, d.w))
	}
	s := &slidingRows[K, A]{
		windowTimes: windowTimesOf(w, &d.o), name: key.name, keys: d.keys, values: d.values,
		difference: w.difference.Milliseconds(), most: max(1, d.o.cached), hold: d.o.emitOnCommit,
		cache: map[K]*slidingKey[K, A]{}, earliest: math.MinInt64,
	}
	s.segments = segments{store: b.ctx.Store(key.name), prefix: prefixRow, told: s.forever}
	s.lengths = lengthsOf(d.values)
	if s.perKey = perByte(reflect.TypeFor[K]()); s.perKey > 0 {
		s.entry = pieceBytes
	}
	s.entry += entryOf[K](sizeOfType[slidingKey[K, A]]())
	s.account = s.segments.store.NewCache(s.shrink)
	s.closed = never
	s.clean.next, s.clean.prev = &s.clean, &s.clean
	s.read = s.readRow
	b.stores[key] = s
	return s
}

// openSegments finds out what the store has.
func (s *slidingRows[K, A]) openSegments() error {
	return s.segments.open(s.retention, func(key, _ []byte) (int64, error) {
		start, _, err := rowTimes(key)
		return start, err
	})
}

// openWaiting makes the entries of rows that wait where there are none yet, and removes those that are not kept any more.
func (s *slidingRows[K, A]) openWaiting() error {
	st, made := s.segments.store, int64(0)
	m, err := newMeta(st, metaWaiting, &made)
	if err != nil {
		return err
	}
	switch {
	case !s.onClose:
		made = 0
		err = st.Scan([]byte{prefixWaiting}, []byte{prefixWaiting + 1}, func(entry, _ []byte) (bool, error) { return true, st.Delete(entry) })
	case made == 0:
		made = 1
		err = st.Scan([]byte{prefixRow}, []byte{prefixRow + 1}, func(raw, _ []byte) (bool, error) {
			start, _, err := rowTimes(raw)
			if err != nil || start+s.difference < s.closed {
				return true, err
			}
			key, _, err := cutKeyRef(raw[1+timeBytes:])
			if err != nil {
				return false, err
			}
			return true, s.wait(start, key)
		})
	}
	if err != nil {
		return err
	}
	return m.flush()
}

// wait writes the entry of a row that waits.
func (s *slidingRows[K, A]) wait(start int64, key []byte) error {
	s.stored = append(appendTime(append(s.stored[:0], prefixWaiting), start), key...)
	return s.segments.store.Put(s.stored, []byte{})
}

func (s *slidingRows[K, A]) windowOf(k K, start int64) Windowed[K] {
	return Windowed[K]{Key: k, Start: start, End: start + s.difference}
}

// over tells whether the window that begins at a time takes no more records.
func (s *slidingRows[K, A]) over(start int64) bool { return start+s.difference < s.limit }

// floor returns where the windows begin that are kept. Of those before, none can be needed to make one that is open.
func (s *slidingRows[K, A]) floor() int64 {
	return slidingFloor(s.closed, s.newest, s.difference, s.retention, s.forever)
}

func slidingFloor(closed, newest, difference, retention int64, forever bool) int64 {
	switch {
	case newest == never:
		return never
	case forever && closed != never:
		return min(newest-retention, closed-difference)
	default:
		return newest - retention
	}
}

// slidingPlace is where a record belongs among the windows of its key.
type slidingPlace[A any] struct {
	first, end int // of those that hold its time

	left    int64 // the start of the window that ends with the record, or of the first one that there can be
	newLeft bool  // it is not there
	before  row[A]

	previous   int64 // the time of the record before
	between    int   // where the window that begins after that one belongs
	newBetween bool  // it is not there, and takes the record

	newAfter bool // the window that begins after the record is not there, and has records
	after    row[A]
}

// place finds the place of a record.
func (s *slidingRows[K, A]) place(k *slidingKey[K, A], t int64) (p slidingPlace[A]) {
	low := k.search(s.floor())
	if !s.hold && low > len(k.list)/2 {
		s.trim(k, low)
		low = 0
	}
	list := k.list
	p.end = len(list)
	for p.end > low && list[p.end-1].start > t {
		p.end--
	}
	p.left = max(0, t-s.difference)
	p.first = p.end
	for p.first > low && list[p.first-1].start >= p.left {
		p.first--
	}
	p.newLeft = p.first == p.end || list[p.first].start != p.left
	p.previous = never
	if !p.newLeft {
		p.previous = list[p.first].row.timestamp
	} else if p.first > low && list[p.first-1].row.timestamp >= p.left {
		p.before = list[p.first-1].row
		p.previous = p.before.timestamp
	}
	// If a later record is known, so is the window after the one before: the later record has made it.
	if p.previous >= p.left && p.previous < t {
		p.between = p.end
		for p.between > p.first && list[p.between-1].start > p.previous+1 {
			p.between--
		}
		p.newBetween = p.between == p.first || list[p.between-1].start <= p.previous
	}
	if p.end > p.first && list[p.end-1].row.timestamp > t && (p.end == len(list) || list[p.end].start != t+1) {
		p.newAfter, p.after = true, list[p.end-1].row
	}
	return p
}

// search returns the place of the first window that starts at a time or later.
func (k *slidingKey[K, A]) search(start int64) int {
	from, to := 0, len(k.list)
	for from < to {
		if m := (from + to) / 2; k.list[m].start < start {
			from = m + 1
		} else {
			to = m
		}
	}
	return from
}

// get returns the row of the window that starts at a time.
func (k *slidingKey[K, A]) get(start int64) row[A] {
	if i := k.search(start); i < len(k.list) && k.list[i].start == start {
		return k.list[i].row
	}
	return row[A]{}
}

// get returns the row of a key and window, for look-ups. They leave the cache as it is.
func (s *slidingRows[K, A]) get(k Windowed[K]) (r row[A], err error) {
	if k.End != k.Start+s.difference || k.Start < s.floor() {
		return r, nil
	}
	if c, ok := s.cache[k.Key]; ok {
		return c.get(k.Start), nil
	}
	if err := s.encode(k.Key); err != nil {
		return r, err
	}
	s.stored = appendTime(s.segments.row(s.stored, s.segments.number(k.Start), &s.key, k.Start), 0)
	b, err := s.segments.store.Get(s.stored)
	if err != nil || b == nil {
		return r, err
	}
	return s.decode(b)
}

func (s *slidingRows[K, A]) encode(k K) (err error) {
	if s.encoded, err = s.keys.Append(s.encoded[:0], k); err != nil {
		return fmt.Errorf("store %s: encode the key of a row: %w", s.name, err)
	}
	s.key.set(s.encoded)
	return nil
}

func (s *slidingRows[K, A]) decode(b []byte) (r row[A], err error) {
	if len(b) < timestampBytes+1 {
		return r, errShortRow
	}
	r.timestamp, r.exists = int64(binary.BigEndian.Uint64(b)), b[timestampBytes]&rowNull == 0
	if !r.exists {
		return r, nil
	}
	if r.value, err = s.values.Decode(append([]byte(nil), b[timestampBytes+1:]...)); err != nil {
		err = s.undecodable("a row", err)
	}
	return r, err
}

func (s *slidingRows[K, A]) undecodable(what string, err error) error {
	return fmt.Errorf("store %s: %s cannot be decoded: has its codec changed? Then give the store another name. %w", s.name, what, err)
}

// insert puts a window among those of its key, which is about to change.
func (s *slidingRows[K, A]) insert(k *slidingKey[K, A], at int, start int64) error {
	k.list = slices.Insert(k.list, at, slidingWindow[A]{start: start})
	s.rows++
	s.newest = max(s.newest, start)
	if !s.onClose {
		return nil
	}
	if err := s.encode(k.key); err != nil {
		return err
	}
	s.earliest = min(s.earliest, start)
	return s.wait(start, s.encoded)
}

// farOff is after all times.
const farOff int64 = math.MaxInt64 / 2

// takeOver calls visit with the entries of the windows that are over, by start and key, and with the one after them.
func (s *slidingRows[K, A]) takeOver(visit func(entry, _ []byte) (bool, error)) error {
	if !s.over(s.earliest) {
		return nil
	}
	s.later = farOff
	from := appendTime([]byte{prefixWaiting}, s.earliest)
	if err := s.segments.store.Scan(from, []byte{prefixWaiting + 1}, visit); err != nil {
		return err
	}
	s.earliest = s.later
	return nil
}

// taken removes an entry, and returns of which window it is. It is not ok if that is not over, nor are those that follow.
func (s *slidingRows[K, A]) taken(entry []byte) (k K, start int64, ok bool, err error) {
	if len(entry) < 1+timeBytes {
		return k, 0, false, errShortKey
	}
	if start = timeOf(entry[1:]); !s.over(start) {
		s.later = start
		return k, start, false, nil
	}
	if err := s.segments.store.Delete(entry); err != nil {
		return k, start, false, err
	}
	if k, err = s.keys.Decode(append([]byte(nil), entry[1+timeBytes:]...)); err != nil {
		err = s.undecodable("the key of a row", err)
	}
	return k, start, err == nil, err
}

// Uncommitted returns how many rows wait for the flush.
func (s *slidingRows[K, A]) Uncommitted() int { return s.waiting }

// keep deletes the rows that have expired, and writes down what the operator has to remember, whenever it has written
// rows: where a changelog loses its oldest records, what is remembered outlives the rows.
func (s *slidingRows[K, A]) keep() error {
	if !s.touched {
		return nil
	}
	s.touched = false
	if s.newest != never {
		first := s.segments.first
		if err := s.segments.expire(s.floor()); err != nil {
			return err
		}
		if first != s.segments.first {
			if err := s.shape.write(); err != nil { // or a changelog that forgets by time would lose it
				return err
			}
		}
	}
	return s.meta.write()
}
