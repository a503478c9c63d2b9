package cdc

import (
	"bytes"

	"millrace.dev/record"
)

// debezium reads a record that Debezium has written.
func (d *Decoder) debezium(dst []Change, r *record.Raw) ([]Change, *record.Problem) {
	value, p := d.unwrap(r.Value)
	switch {
	case p != nil:
		return dst, p
	case value == nil:
		return d.tombstone(dst, r)
	case d.isEnvelope():
		d.flat = false
		return d.envelope(dst, r)
	default:
		d.flat = true
		return d.flattened(dst, value, r)
	}
}

// isEnvelope tells whether the value is an envelope. A row may have columns of these names, but not all as an envelope does.
func (d *Decoder) isEnvelope() bool {
	row := func(i int) bool { v := d.outer.value(i); return v != nil && (isNull(v) || isObject(v)) }
	op := d.outer.value(outerOp)
	switch {
	case isObject(d.outer.value(outerSource)):
		return op != nil || row(outerBefore) || row(outerAfter)
	default: // a transform may have taken source out
		return isText(op) && (row(outerBefore) && row(outerAfter) || isObject(d.outer.value(outerAfter)) || isObject(d.outer.value(outerBefore)))
	}
}

// envelope reads what is in d.outer.
func (d *Decoder) envelope(dst []Change, r *record.Raw) ([]Change, *record.Problem) {
	op := d.outer.value(outerOp)
	if !isText(op) {
		return dst, problem(ClassBadEnvelope, "op", "op is not a text")
	}
	if string(op) == `"m"` {
		d.counts.Ignored++
		return dst, nil
	}
	at, p := d.envelopeTime(r)
	if p != nil {
		return dst, p
	}
	switch string(op) {
	case `"t"`:
		return append(dst, Change{Op: Truncate, At: at}), nil
	case `"d"`:
		return d.envelopeDelete(dst, r, at)
	case `"u"`:
		if p = d.before(d.outer.value(outerBefore), "before"); p != nil {
			return dst, p
		}
	case `"c"`, `"r"`:
	default:
		return dst, problem(ClassUnknownOp, "op", "op is none of c, u, d, r, t and m")
	}
	after := d.outer.value(outerAfter)
	if !isObject(after) {
		return dst, problem(ClassBadEnvelope, "after", "after is not an object")
	}
	return d.put(dst, r, after, "after", Change{At: at, Snapshot: string(op) == `"r"`})
}

// envelopeDelete reads the delete that is in d.outer.
func (d *Decoder) envelopeDelete(dst []Change, r *record.Raw, at int64) ([]Change, *record.Problem) {
	d.rows.forget()
	if before := d.outer.value(outerBefore); !isNull(before) {
		if p := d.rows.read(before, "before"); p != nil {
			return dst, p
		}
	}
	return d.remove(dst, r, Change{Op: Delete, At: at})
}

// remove appends the delete of the row that d.rows has read, which may show no more than its key, or not even that.
func (d *Decoder) remove(dst []Change, r *record.Raw, c Change) ([]Change, *record.Problem) {
	key, ok, p := d.rowKey(r)
	if !ok && p == nil {
		key, p = d.keys.ofRecord(r.Key)
	}
	if p != nil {
		return dst, p
	}
	c.Key = string(key)
	return append(dst, c), nil
}

// rowKey returns the key of the row that d.rows has read: what its column says, else what the record's key says; false if the
// column is null.
func (d *Decoder) rowKey(r *record.Raw) (key []byte, ok bool, p *record.Problem) {
	value := d.rows.keyValue()
	switch {
	case value == nil || d.rows.unavailable.is(value):
		key, p = d.keys.ofRecord(r.Key)
	case isNull(value):
		return nil, false, nil
	default:
		key, p = d.keys.text(value)
	}
	return key, p == nil, p
}

// before notes the key of the row before an update in d.old, if it is known.
func (d *Decoder) before(row []byte, what string) *record.Problem {
	d.moved = false
	if isNull(row) {
		return nil
	}
	if p := d.rows.read(row, what); p != nil {
		return p
	}
	value := d.rows.keyValue()
	if isNull(value) || d.rows.unavailable.is(value) {
		return nil
	}
	key, p := d.keys.text(value)
	if p != nil {
		return p
	}
	d.old, d.moved = append(d.old[:0], key...), true
	return nil
}

// put appends the upsert of a row and, if the row before had another key, the delete of that one in front of it.
func (d *Decoder) put(dst []Change, r *record.Raw, row []byte, what string, c Change) ([]Change, *record.Problem) {
	if p := d.rows.read(row, what); p != nil {
		return dst, p
	}
	key, ok, p := d.rowKey(r)
	if p != nil {
		return dst, p
	}
	if d.moved && (!ok || !bytes.Equal(key, d.old)) {
		dst = append(dst, Change{Op: Delete, Key: string(d.old), At: c.At})
	}
	if !ok {
		if !d.moved {
			return dst, d.keys.missing("the key's column is null")
		}
		d.counts.Keyless++
		return dst, nil
	}
	c.Op, c.Key = Upsert, string(key)
	if c.Row, c.Keep, c.Absent, p = d.rows.row(); p != nil {
		return dst, p
	}
	return append(dst, c), nil
}

// flattened reads a row without an envelope.
func (d *Decoder) flattened(dst []Change, value []byte, r *record.Raw) ([]Change, *record.Problem) {
	if p := d.rows.read(value, "the row"); p != nil {
		return dst, p
	}
	at, exact, p := d.flattenedTime(r)
	if p != nil {
		return dst, p
	}
	deleted, op := d.rows.value(d.rows.meta[metaDeleted]), d.rows.value(d.rows.meta[metaOp])
	if string(deleted) == "true" || string(deleted) == `"true"` || string(op) == `"d"` {
		return d.remove(dst, r, Change{Op: Delete, At: at, Tombstone: !exact})
	}
	return d.put(dst, r, value, "the row", Change{At: at, Snapshot: string(op) == `"r"`})
}

// tombstone reads a null value. Between envelopes it may name its row by other columns than the table's key; the delete
// before it has told the key then.
func (d *Decoder) tombstone(dst []Change, r *record.Raw) ([]Change, *record.Problem) {
	key, p := d.keys.ofRecord(r.Key)
	if p != nil && p.Class == ClassNoKey && !d.flat {
		d.counts.Tombstones++
		return dst, nil
	}
	if p != nil {
		return dst, p
	}
	d.rows.forget()
	at, exact, p := d.flattenedTime(r)
	if p != nil {
		return dst, p
	}
	return append(dst, Change{Op: Delete, Key: string(key), At: at, Tombstone: !exact}), nil
}
