package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
)

// Pasts reads and writes what is known of single keys as bytes, for a driver that keeps them itself: the versions of one key,
// by the rules of a [Table] with the same options. It knows nothing of other keys: what a key's past forgets goes by the
// newest change of that key, and there are no truncates. It is immutable, and safe for concurrent use.
type Pasts struct {
	schema  *record.Schema
	history int64
	print   uint32 // of the schema
}

// MaxPastBytes bounds the past of a key: beyond it the oldest versions are forgotten, however long the history.
const MaxPastBytes = 256 << 10

// ErrPast means that bytes are not the past of a key in a table of this schema.
var ErrPast = errors.New("table: these are not the rows of a key by the columns of the table")

// NewPasts returns the pasts of the keys of a table.
func NewPasts(o Options) (*Pasts, error) {
	t, err := New(o)
	if err != nil {
		return nil, err
	}
	p := &Pasts{schema: o.Schema, history: t.history}
	var columns []byte
	for i := range o.Schema.Len() {
		f := o.Schema.Field(i)
		columns = fmt.Appendf(columns, "%q %d\n", f.Name, f.Type)
	}
	p.print = crc32.ChecksumIEEE(columns)
	return p, nil
}

// scratch returns a table in which the versions of one key can be worked on; it has no index.
func (p *Pasts) scratch(newest int64) *Table {
	t := &Table{schema: p.schema, history: p.history, newest: math.MinInt64}
	t.horizon.Store(math.MinInt64)
	t.advance(newest)
	return t
}

// Apply returns the past of a key after a change of it, an upsert or a delete; nil stands for a key of which nothing is
// known, before and after. It keeps nothing of the change, and does not change past.
func (p *Pasts) Apply(past []byte, c *cdc.Change) ([]byte, error) {
	newest, versions, err := p.decode(past)
	if err != nil {
		return nil, err
	}
	v := version{at: c.At, guess: c.Op == cdc.Delete && c.Tombstone}
	if c.Op == cdc.Upsert {
		v = version{row: c.Row, at: c.At, keep: c.Keep, snapshot: c.Snapshot}
	}
	if !c.Tombstone { // its time is its record's, which may be far from those of the database
		newest = max(newest, c.At)
	}
	t := p.scratch(newest)
	if p.history == 0 {
		var before *record.Row
		if len(versions) > 0 {
			before = versions[0].row
		}
		t.fill(&v, before, v.keep)
		if v.keep = nil; v.row == nil {
			return nil, nil
		}
		return p.encode(newest, []version{v}), nil
	}
	versions, _ = t.insert(c.Key, t.forget(versions), v)
	versions = t.forget(versions)
	for len(versions) > 0 {
		b := p.encode(newest, versions)
		if len(b) <= MaxPastBytes || len(versions) == 1 {
			return b, nil
		}
		versions = slices.Clone(versions[max(1, len(versions)/8):])
		versions[0].snapshot, versions[0].older = false, true
	}
	return nil, nil
}

// Get returns the bytes of the row that was valid at a time, as record.Schema.AppendRow has them, or nil if there was none.
// record.MissingTime asks for the latest. The result refers to past.
func (p *Pasts) Get(past []byte, at int64) ([]byte, error) {
	r, err := p.read(past)
	if err != nil || r.n == 0 {
		return nil, err
	}
	horizon := int64(math.MinInt64)
	if p.history > 0 && r.newest > math.MinInt64+p.history {
		horizon = r.newest - p.history
	}
	latest := at == record.MissingTime || p.history == 0
	var found []byte
	for i := range r.n {
		v, row, err := r.next()
		if err != nil {
			return nil, err
		}
		switch {
		case latest || v.at <= at, i == 0 && v.snapshot:
			found = row
		case i > 0 && v.at <= horizon:
			return nil, nil // what was valid then has ended too long ago
		default:
			return found, nil
		}
	}
	return found, nil
}

// Check tells whether bytes are the past of a key, by the error.
func (p *Pasts) Check(past []byte) error {
	_, _, err := p.decode(past)
	return err
}

// The flags of a version.
const (
	pastRow = 1 << iota
	pastSnapshot
	pastOlder
	pastGuess
)

// encode returns the bytes of versions: a print of the schema, the time of the newest change but tombstones, the number of versions, and for
// each its flags, its time, what it keeps and its row.
func (p *Pasts) encode(newest int64, versions []version) []byte {
	b := binary.LittleEndian.AppendUint32(nil, p.print)
	b = binary.AppendVarint(b, newest)
	b = binary.AppendUvarint(b, uint64(len(versions)))
	var row []byte
	for i := range versions {
		v := &versions[i]
		flags := byte(0)
		for bit, on := range map[byte]bool{pastRow: v.row != nil, pastSnapshot: v.snapshot, pastOlder: v.older, pastGuess: v.guess} {
			if on {
				flags |= bit
			}
		}
		b = binary.AppendVarint(append(b, flags), v.at)
		b = binary.AppendUvarint(b, uint64(len(v.keep)))
		for _, f := range v.keep {
			b = binary.AppendUvarint(b, uint64(f))
		}
		if v.row != nil {
			row = p.schema.AppendRow(row[:0], v.row)
			b = append(binary.AppendUvarint(b, uint64(len(row))), row...)
		}
	}
	return b
}

// decode returns what encode has written.
func (p *Pasts) decode(b []byte) (newest int64, versions []version, err error) {
	r, err := p.read(b)
	if err != nil {
		return 0, nil, err
	}
	for range r.n {
		v, row, err := r.next()
		if err != nil {
			return 0, nil, err
		}
		if row != nil {
			if v.row, err = p.schema.DecodeRow(row); err != nil {
				return 0, nil, ErrPast
			}
		}
		versions = append(versions, v)
	}
	if len(r.b) > 0 {
		return 0, nil, ErrPast
	}
	return r.newest, versions, nil
}

// pastReader reads the versions of a key one by one.
type pastReader struct {
	b      []byte
	newest int64
	n      int // versions
	fields int
}

// read begins to read a past; nil has no versions.
func (p *Pasts) read(b []byte) (r pastReader, err error) {
	if b == nil {
		return pastReader{newest: math.MinInt64}, nil
	}
	if len(b) < 4 || binary.LittleEndian.Uint32(b) != p.print {
		return r, ErrPast
	}
	r = pastReader{b: b[4:], fields: p.schema.Len()}
	if r.newest, err = r.varint(); err != nil {
		return r, err
	}
	n, err := r.uvarint(uint64(len(r.b)))
	r.n = int(n)
	return r, err
}

func (r *pastReader) varint() (int64, error) {
	x, size := binary.Varint(r.b)
	if size <= 0 {
		return 0, ErrPast
	}
	r.b = r.b[size:]
	return x, nil
}

// uvarint reads a number that is at most most.
func (r *pastReader) uvarint(most uint64) (uint64, error) {
	x, size := binary.Uvarint(r.b)
	if size <= 0 || x > most {
		return 0, ErrPast
	}
	r.b = r.b[size:]
	return x, nil
}

// next returns the next version, without its row, and the bytes of that.
func (r *pastReader) next() (v version, row []byte, err error) {
	if len(r.b) == 0 || r.b[0] >= pastGuess<<1 {
		return v, nil, ErrPast
	}
	flags := r.b[0]
	r.b = r.b[1:]
	v.snapshot, v.older, v.guess = flags&pastSnapshot != 0, flags&pastOlder != 0, flags&pastGuess != 0
	if v.at, err = r.varint(); err != nil {
		return v, nil, err
	}
	n, err := r.uvarint(uint64(r.fields))
	if err != nil {
		return v, nil, err
	}
	for range n {
		f, err := r.uvarint(uint64(r.fields - 1))
		if err != nil {
			return v, nil, err
		}
		v.keep = append(v.keep, int(f))
	}
	if flags&pastRow == 0 {
		return v, nil, nil
	}
	size, err := r.uvarint(math.MaxInt32)
	if err != nil || size > uint64(len(r.b)) {
		return v, nil, ErrPast
	}
	row, r.b = r.b[:size:size], r.b[size:]
	return v, row, nil
}
