package stream

import (
	"bytes"
	"math"

	"millrace.dev/internal/store"
)

// timeline is the rows of a store in the order of their times; of equal times in that of their tags, keys and sequence
// numbers. It is for records that wait for stream time: rows are removed one by one, and the changelog is told.
type timeline struct {
	store *store.Store
	low   int64 // no row has a lower time; math.MaxInt64 when there is none
	key   []byte
	from  []byte
}

// openTimeline finds the first row.
func openTimeline(s *store.Store) (*timeline, error) {
	l := &timeline{store: s, low: math.MinInt64}
	first := int64(math.MaxInt64)
	err := l.scan(func(e *timelineRow) (bool, error) {
		first = e.time
		return false, nil
	})
	l.low = first
	return l, err
}

// timelineRow is a row of a timeline. Its slices are valid until the visit ends.
type timelineRow struct {
	time  int64
	tag   byte
	key   []byte // nil is null
	seq   int64
	value []byte
	raw   []byte // the key in the store
}

func (l *timeline) encode(t int64, tag byte, key []byte, seq int64) {
	b := append(appendTime(append(l.key[:0], prefixRow), t), tag)
	if key == nil {
		b = append(b, 0)
	} else {
		b = append(append(b, 1), key...)
	}
	l.key = appendTime(b, seq)
}

// timelineBytes is the length of a row's key without the key.
const timelineBytes = 1 + timeBytes + 1 + 1 + timeBytes

func (e *timelineRow) decode(raw, value []byte) error {
	n := len(raw) - timeBytes
	if len(raw) < timelineBytes {
		return errShortKey
	}
	*e = timelineRow{time: timeOf(raw[1:]), tag: raw[1+timeBytes], seq: timeOf(raw[n:]), value: value, raw: raw}
	if raw[2+timeBytes] != 0 {
		e.key = raw[3+timeBytes : n : n]
	}
	return nil
}

// put adds a row.
func (l *timeline) put(t int64, tag byte, key []byte, seq int64, value []byte) error {
	l.low = min(l.low, t)
	l.encode(t, tag, key, seq)
	return l.store.Put(l.key, value)
}

// get returns the value of a row, nil if it is not there. It is valid until the store is used again.
func (l *timeline) get(t int64, tag byte, key []byte, seq int64) ([]byte, error) {
	if t < l.low {
		return nil, nil
	}
	l.encode(t, tag, key, seq)
	return l.store.Get(l.key)
}

// remove removes a row if it is there.
func (l *timeline) remove(t int64, tag byte, key []byte, seq int64) error {
	b, err := l.get(t, tag, key, seq)
	if err != nil || b == nil {
		return err
	}
	return l.store.Delete(l.key)
}

// scan calls visit with the rows until it returns false. visit may remove the row that it is given.
func (l *timeline) scan(visit func(e *timelineRow) (bool, error)) error {
	if l.low == math.MaxInt64 {
		return nil
	}
	l.from = appendTime(append(l.from[:0], prefixRow), l.low) // what was removed lies before it: do not go over that
	var e timelineRow
	return l.store.Scan(l.from, []byte{prefixRow + 1}, func(key, value []byte) (bool, error) {
		if err := e.decode(key, value); err != nil {
			return false, err
		}
		return visit(&e)
	})
}

// take calls visit with the rows up to and including a time, and removes each before.
func (l *timeline) take(until int64, visit func(e *timelineRow) error) error {
	if l.low > until {
		return nil
	}
	low := int64(math.MaxInt64)
	err := l.scan(func(e *timelineRow) (bool, error) {
		if e.time > until {
			low = e.time
			return false, nil
		}
		if err := l.store.Delete(e.raw); err != nil {
			return false, err
		}
		return true, visit(e)
	})
	l.low = low
	return err
}

// clone returns the key of a row as one that stays.
func (e *timelineRow) clone() []byte { return bytes.Clone(e.key) }
