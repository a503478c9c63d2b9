package query

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// budget is how much is looked at for an answer: an ask goes on from there.
type budget struct {
	looks int // rows
	bytes int // of rows that are given, as JSON
}

// share returns the part of one partition of n.
func (b budget) share(n int) budget {
	return budget{max(1, min(maxLooks, b.looks/n)), max(1, min(maxBytes, b.bytes/n))}
}

// How much of a partition is looked at for one answer, and of all partitions that an instance is asked for.
const (
	maxLooks, allLooks = 100_000, 1_000_000
	maxBytes, allBytes = 1 << 20, 16 << 20
	// looksAtOnce is after how many rows it is asked whether there is still somebody who waits.
	looksAtOnce = 256
)

// windowBytes is what the key of a window begins with: start and end.
const windowBytes = 16

// reader looks at a partition of a store.
type reader struct {
	q         *ask
	ctx       context.Context //nolint:containedctx // of one call
	view      *store.View
	partition int32
	kept      task.Kept
	most      budget
	rows      []Row
	spent     budget
	end       []byte // up to where was looked, nil for all of it
}

// read returns the rows of a partition that are asked for, and up to which key in the store that is, nil for all of it.
func (q *ask) read(ctx context.Context, v *store.View, partition int32, most budget) (rows []Row, end []byte, err error) {
	r := &reader{q: q, ctx: ctx, view: v, partition: partition, most: most}
	if r.kept, err = q.store.spec.Kept(v.Get); err != nil {
		return nil, nil, err
	}
	l := q.store.spec.Lookup
	switch {
	case l != nil && l.Segment > 0 && q.key != nil:
		err = r.segments(l)
	case l != nil && l.Segment > 0:
		err = r.scan(l.Rows, successor(l.Rows))
	case l == nil || l.At == nil:
		err = r.scan(nil, nil)
	case l.Windows && q.key != nil:
		err = r.leap(l)
	case l.Windows:
		err = r.windows(l)
	case q.key != nil:
		from := l.At(nil, q.key, 0)
		err = r.scan(from, append(bytes.Clone(from), 0))
	default:
		from, to := l.At(nil, q.from, 0), successor(l.At(nil, nil, 0))
		if q.to != nil {
			to = l.At(nil, q.to, 0)
		}
		err = r.scan(from, to)
	}
	return r.rows, r.end, err
}

// resume returns the key in the store from which to look.
func (r *reader) resume(from []byte) []byte {
	a := r.q.after
	if a == nil {
		return from
	}
	after := a.at
	if r.partition <= a.partition {
		after = append(bytes.Clone(a.at), 0) // past it
	}
	if bytes.Compare(after, from) > 0 {
		return after
	}
	return from
}

// scan looks at the rows in a range of keys in the store.
func (r *reader) scan(from, to []byte) error {
	from = r.resume(from)
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil
	}
	return r.view.Scan(from, to, func(key, value []byte) (bool, error) { return r.look(key, value) })
}

// starts returns between which starts windows are asked for, and are there.
func (r *reader) starts() (low, high int64) { return max(r.q.low, r.kept.Floor), r.q.high }

// windows looks at the rows of windows of all keys, which lie by their starts.
func (r *reader) windows(l *task.Lookup) error {
	low, high := r.starts()
	if low > high {
		return nil
	}
	to := successor(l.At(nil, nil, math.MaxInt64))
	if high < math.MaxInt64 {
		to = l.At(nil, nil, high+1)
	}
	return r.scan(l.At(nil, nil, low), to)
}

// leap looks at the rows of windows of one key, which lie by their starts: from one to the next start that there is.
func (r *reader) leap(l *task.Lookup) error {
	low, high := r.starts()
	end := successor(l.At(nil, nil, math.MaxInt64))
	from := r.resume(l.At(nil, r.q.key, low))
	for more := true; more; {
		more = false
		err := r.view.Scan(from, end, func(key, value []byte) (bool, error) {
			row, ok, err := r.q.store.spec.Row(key, value)
			if err != nil || !ok {
				return false, err
			}
			start, inner := startOf(row.Key), row.Key[windowBytes:]
			if start > high {
				return false, nil
			}
			next := start
			switch order := bytes.Compare(inner, r.q.key); {
			case order == 0:
				if ok, err := r.look(key, value); !ok || err != nil {
					return false, err
				}
				next++
			case order > 0:
				next++
			}
			if r.spent.looks++; r.spent.looks > r.most.looks {
				r.stop(key)
				return false, nil
			}
			if next < start || next > high {
				return false, nil
			}
			from, more = l.At(from[:0:0], r.q.key, next), true
			return false, r.ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// segments looks at the rows of one key, which lie together in each segment: from one segment to the next that there is.
func (r *reader) segments(l *task.Lookup) error {
	ref := l.Of(nil, r.q.key)
	from, end := r.resume(l.Rows), successor(l.Rows)
	for r.end == nil {
		var segment []byte
		err := r.view.Scan(from, end, func(key, _ []byte) (bool, error) {
			segment = bytes.Clone(key[:min(l.Segment, len(key))])
			return false, r.ctx.Err()
		})
		if err != nil || segment == nil {
			return err
		}
		rows := append(bytes.Clone(segment), ref...)
		if err := r.scan(rows, successor(rows)); err != nil {
			return err
		}
		from = successor(segment)
	}
	return nil
}

func startOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key)) }

// stop ends the looking, with all rows given whose keys in the store are up to at.
func (r *reader) stop(at []byte) { r.end = bytes.Clone(at) }

// look takes a row if it is asked for, and tells whether to go on.
func (r *reader) look(key, value []byte) (bool, error) {
	if r.spent.looks++; r.spent.looks%looksAtOnce == 0 {
		if err := r.ctx.Err(); err != nil {
			return false, err
		}
	}
	row, ok, err := task.Row{}, true, error(nil)
	if f := r.q.store.spec.Row; f != nil {
		row, ok, err = f(key, value)
	}
	if err != nil {
		return false, fmt.Errorf("store %s: %w", r.q.store.spec.Name, err)
	}
	if ok && r.kept.Has(&row) && r.wants(&row) {
		r.take(key, &row)
	}
	// One more than is wanted is not looked for: whether there is one shows when it is asked for.
	if len(r.rows) == r.q.limit || r.spent.bytes >= r.most.bytes || r.spent.looks >= r.most.looks {
		r.stop(key)
		return false, nil
	}
	return true, nil
}

// wants tells whether a row is asked for.
func (r *reader) wants(row *task.Row) bool {
	q, key := r.q, row.Key
	if q.store.windows() {
		if len(key) < windowBytes {
			return false
		}
		start, end := startOf(key), startOf(key[8:])
		holds := q.at == nil || *q.at >= start && (*q.at < end || *q.at == end && q.store.spec.Lookup.EndIncluded)
		if start < q.low || start > q.high || !holds {
			return false
		}
		key = key[windowBytes:]
	}
	switch {
	case q.key != nil:
		return bytes.Equal(key, q.key)
	case q.from != nil && bytes.Compare(key, q.from) < 0:
		return false
	default:
		return q.to == nil || bytes.Compare(key, q.to) < 0
	}
}

// take takes a row into the answer. What cannot be decoded, or shown, is shown in base64 with the reason: other rows have to be seen.
func (r *reader) take(at []byte, row *task.Row) {
	out := Row{Timestamp: row.Timestamp, Partition: r.partition, At: bytes.Clone(at)}
	key, value := bytes.Clone(row.Key), bytes.Clone(row.Value) // what codecs decode may refer to its bytes
	if r.q.store.windows() {
		out.Window = &Window{startOf(key), startOf(key[8:])}
		key = key[windowBytes:]
	}
	show := func(what string, b []byte, by func([]byte) ([]byte, error)) json.RawMessage {
		shown, err := by(b)
		if err == nil && !json.Valid(shown) {
			err = errors.New("its codec makes what is no JSON")
		}
		if err == nil {
			return shown
		}
		if out.Error != "" {
			out.Error += "; "
		}
		out.Error += fmt.Sprintf("the %s cannot be shown: %v", what, err)
		return textOf(b)
	}
	if l := r.q.store.spec.Lookup; l != nil {
		out.Key, out.Value = show("key", key, l.Key), show("value", value, l.Value)
	} else {
		out.Key, out.Value = textOf(key), textOf(value)
	}
	r.rows = append(r.rows, out)
	r.spent.bytes += len(out.Key) + len(out.Value) + len(out.At) + len(out.Error)
}

// textOf returns bytes as JSON.
func textOf(b []byte) json.RawMessage {
	return json.RawMessage(`"` + base64.StdEncoding.EncodeToString(b) + `"`)
}

// successor returns the first key after all those that begin with prefix, nil if there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != math.MaxUint8 {
			next := bytes.Clone(prefix[:i+1])
			next[i]++
			return next
		}
	}
	return nil
}
