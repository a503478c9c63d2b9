package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
)

// Keyed makes of changes, and of look-ups, what a [Table] with the same options makes of them, where what is known of a key is
// kept elsewhere, as on disk. It cannot truncate: nobody tells it which keys there are. It is for one goroutine at a time.
type Keyed struct{ table *Table }

// Versions is what is known of one key. The zero value is nothing.
type Versions struct{ list []version }

// Moment is no versions of a key, but a time, to be kept beside them: see [Versions.Newest].
func Moment(at int64) *Versions { return &Versions{list: []version{{at: at}}} }

// Newest returns the time of the newest version, or math.MinInt64 if there is none.
func (v *Versions) Newest() int64 {
	if len(v.list) == 0 {
		return math.MinInt64
	}
	return v.list[len(v.list)-1].at
}

// Empty tells whether nothing is known of the key.
func (v *Versions) Empty() bool { return len(v.list) == 0 }

// NewKeyed returns a Keyed that has seen no change.
func NewKeyed(o Options) (*Keyed, error) {
	t, err := New(o)
	if err != nil {
		return nil, err
	}
	t.keyed = true
	return &Keyed{t}, nil
}

// Newest returns the newest time of all changes, in microseconds since 1970, from which history counts; math.MinInt64 before
// the first.
func (k *Keyed) Newest() int64 { return k.table.newest }

// Advance takes note of the time of a change, of any key.
func (k *Keyed) Advance(at int64) {
	if k.table.history == 0 {
		k.table.newest = max(k.table.newest, at)
		return
	}
	k.table.advance(at)
}

// Apply applies a change of the key that AppendChange has encoded.
func (k *Keyed) Apply(v *Versions, change []byte) error {
	one, rest, err := k.decodeVersion(change)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return errVersions
	}
	if !one.guess {
		k.Advance(one.at)
	}
	t := k.table
	if t.history != 0 {
		v.list, _ = t.insert("", t.forget(v.list), one)
		v.list = t.forget(v.list)
		return nil
	}
	var before *record.Row
	if len(v.list) > 0 {
		before = v.list[0].row
	}
	t.fill(&one, before, one.keep)
	one.keep = nil
	if v.list = v.list[:0]; one.row != nil {
		v.list = append(v.list, one)
	}
	return nil
}

// Forget drops of a key what has ended before the history, and tells whether there was such a thing.
func (k *Keyed) Forget(v *Versions) bool {
	if k.table.history == 0 {
		return false
	}
	n := len(v.list)
	v.list = k.table.forget(v.list)
	return len(v.list) < n
}

// Get returns the row of the key that was valid at a time: see [Table.Get].
func (k *Keyed) Get(v *Versions, at int64) *record.Row {
	switch n := len(v.list); {
	case n == 0:
		return nil
	case at == record.MissingTime || k.table.history == 0:
		return v.list[n-1].row
	default:
		return rowAt(v.list, at, k.table.horizon.Load())
	}
}

// Counts returns what has been counted.
func (k *Keyed) Counts() Counts { return k.table.Counts() }

// The first byte of an encoded version.
const (
	hasRow byte = 1 << iota
	isSnapshot
	isOlder
	isGuess
)

// AppendChange appends the bytes of a change that concerns one key: an upsert, or a delete.
func (k *Keyed) AppendChange(dst []byte, c *cdc.Change) []byte {
	if c.Op == cdc.Delete {
		return k.appendVersion(dst, &version{at: c.At, guess: c.Tombstone})
	}
	return k.appendVersion(dst, &version{row: c.Row, at: c.At, keep: c.Keep, snapshot: c.Snapshot})
}

// Append appends the bytes of v: of each version a byte that says what it has, the time, as many bytes as a varint says of the
// row if there is one, and the fields that it keeps, after their number.
func (k *Keyed) Append(dst []byte, v *Versions) []byte {
	for i := range v.list {
		dst = k.appendVersion(dst, &v.list[i])
	}
	return dst
}

func (k *Keyed) appendVersion(dst []byte, v *version) []byte {
	flags := byte(0)
	for _, f := range []struct {
		flag byte
		set  bool
	}{{hasRow, v.row != nil}, {isSnapshot, v.snapshot}, {isOlder, v.older}, {isGuess, v.guess}} {
		if f.set {
			flags |= f.flag
		}
	}
	dst = binary.LittleEndian.AppendUint64(append(dst, flags), uint64(v.at))
	dst = binary.AppendUvarint(dst, uint64(len(v.keep)))
	for _, f := range v.keep {
		dst = binary.AppendUvarint(dst, uint64(f))
	}
	if v.row == nil {
		return dst
	}
	row := k.table.schema.AppendRow(nil, v.row)
	return append(binary.AppendUvarint(dst, uint64(len(row))), row...)
}

var errVersions = errors.New("table: these are not the bytes of rows of this table: has another program, or one with another schema, written them?")

// Decode reads what Append has written for a table with the same schema. It keeps nothing of b.
func (k *Keyed) Decode(b []byte) (*Versions, error) {
	v := &Versions{}
	for len(b) > 0 {
		var one version
		var err error
		if one, b, err = k.decodeVersion(b); err != nil {
			return nil, err
		}
		if n := len(v.list); n > 0 && one.at <= v.list[n-1].at {
			return nil, errVersions
		}
		v.list = append(v.list, one)
	}
	return v, nil
}

// decodeVersion reads a version, and returns what follows it.
func (k *Keyed) decodeVersion(b []byte) (v version, rest []byte, err error) {
	const head = 9
	if len(b) < head || b[0] >= isGuess<<1 {
		return v, nil, errVersions
	}
	flags := b[0]
	v = version{at: int64(binary.LittleEndian.Uint64(b[1:])), snapshot: flags&isSnapshot != 0, older: flags&isOlder != 0, guess: flags&isGuess != 0}
	n, b, ok := uvarint(b[head:])
	if !ok || n > uint64(k.table.schema.Len()) {
		return v, nil, errVersions
	}
	last := -1
	for range n {
		var f uint64
		if f, b, ok = uvarint(b); !ok || f >= uint64(k.table.schema.Len()) || int(f) <= last {
			return v, nil, errVersions
		}
		last = int(f)
		v.keep = append(v.keep, last)
	}
	if flags&hasRow == 0 {
		return v, b, nil
	}
	if n, b, ok = uvarint(b); !ok || n > uint64(len(b)) || n > math.MaxInt32 {
		return v, nil, errVersions
	}
	if v.row, err = k.table.schema.DecodeRow(b[:n]); err != nil {
		return v, nil, fmt.Errorf("%w: %w", errVersions, err)
	}
	return v, b[n:], nil
}

func uvarint(b []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, false
	}
	return n, b[size:], true
}
