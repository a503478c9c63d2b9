package cdc

import (
	"bytes"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// maxwell reads a record that Maxwell has written.
func (d *Decoder) maxwell(dst []Change, r *record.Raw) ([]Change, *record.Problem) {
	if r.Value == nil {
		return dst, problem(codec.ClassNullValue, "", "the record has a null value, which the format does not have")
	}
	if p := d.outer.read(r.Value, "the value"); p != nil {
		return dst, p
	}
	kind, data := d.outer.value(outerType), d.outer.value(outerData)
	switch {
	case !isText(kind):
		return dst, problem(ClassBadEnvelope, "type", "type is absent or not a text")
	case isMaxwellMark(kind):
		d.counts.Ignored++
		return dst, nil
	case !isMaxwellChange(kind):
		return dst, problem(ClassUnknownOp, "type", "type is neither a change of a row nor a mark or a definition")
	case !isObject(data):
		return dst, problem(ClassBadEnvelope, "data", "data is not an object")
	}
	at, ok := micros(d.outer.value(outerTS), unitSecond)
	if !ok {
		return dst, badTime("ts")
	}
	if at == 0 {
		var p *record.Problem
		if at, p = recordTime(r); p != nil {
			return dst, p
		}
	}
	switch string(kind) {
	case `"delete"`:
		if p := d.rows.read(data, "data"); p != nil {
			return dst, p
		}
		return d.remove(dst, r, Change{Op: Delete, At: at})
	case `"update"`:
		if p := d.before(d.outer.value(outerOld), "old"); p != nil {
			return dst, p
		}
	}
	return d.put(dst, r, data, "data", Change{At: at, Snapshot: string(kind) == `"bootstrap-insert"`})
}

// isMaxwellChange tells whether a type is one of changes of rows.
func isMaxwellChange(kind []byte) bool {
	switch string(kind) {
	case `"insert"`, `"update"`, `"delete"`, `"bootstrap-insert"`:
		return true
	default:
		return false
	}
}

// isMaxwellMark tells whether a type is one of those that change no row.
func isMaxwellMark(kind []byte) bool {
	switch string(kind) {
	case `"bootstrap-start"`, `"bootstrap-complete"`:
		return true
	default:
		return bytes.HasPrefix(kind, []byte(`"table-`)) || bytes.HasPrefix(kind, []byte(`"database-`))
	}
}
