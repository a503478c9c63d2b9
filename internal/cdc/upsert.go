package cdc

import "millrace.dev/record"

// upsert reads a row, or a null that deletes it.
func (d *Decoder) upsert(dst []Change, r *record.Raw) ([]Change, *record.Problem) {
	at, p := recordTime(r)
	if p != nil {
		return dst, p
	}
	value, p := d.unwrap(r.Value)
	switch {
	case p != nil:
		return dst, p
	case value != nil:
		return d.put(dst, r, value, "the row", Change{At: at})
	}
	d.rows.forget()
	return d.remove(dst, r, Change{Op: Delete, At: at})
}
