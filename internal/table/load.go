package table

import (
	"errors"
	"fmt"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// Added counts what [Table.AddBatch] did with the rows of a batch. Each row is counted once.
type Added struct {
	Rows int // rows that the table has taken
	// Duplicates are those taken in the place of another with the same key and the same time.
	Duplicates int
	NoKey      int // the key is missing
	Rejected   int // the batch had rejected it
}

// AddBatch adds the rows of a batch of the table's schema, which it does not keep anything of. keyField is an enum or a string
// field; as with changes, an enum's level is the key, or a string as it stands. validFrom is the time field from which on a
// row is valid, or -1; where it is missing, or there is none, a row is valid from the beginning of time. Of the rows of a key
// with one time the last stands. A table without history keeps of each key the row with the latest time. It is not to be
// called beside itself or [Table.Apply].
func (t *Table) AddBatch(b *record.Batch, keyField, validFrom int) (Added, error) {
	var a Added
	if b.Schema() != t.schema {
		return a, errors.New("table: a batch of another schema than the table's")
	}
	if keyField < 0 || keyField >= t.schema.Len() {
		return a, fmt.Errorf("table: the key is field %d of %d", keyField, t.schema.Len())
	}
	if f := t.schema.Field(keyField); f.Type != record.Enum && f.Type != record.String {
		return a, fmt.Errorf("table: the key %q is a field of type %s: want enum or string", f.Name, f.Type)
	}
	if validFrom >= t.schema.Len() || validFrom >= 0 && t.schema.Field(validFrom).Type != record.Time {
		return a, fmt.Errorf("table: rows are to be valid from field %d on, which is no field of type time", validFrom)
	}
	for i := range b.Len() {
		if b.Problem(i) != nil {
			a.Rejected++
			continue
		}
		key, ok := keyOf(b, i, keyField)
		if !ok {
			a.NoKey++
			continue
		}
		v := version{row: record.RowOf(b, i), at: beginning}
		if validFrom >= 0 && b.Times(validFrom)[i] != record.MissingTime {
			v.at = b.Times(validFrom)[i]
		}
		t.advance(v.at)
		if t.put(key, v, true) {
			a.Duplicates++
		}
		a.Rows++
	}
	return a, nil
}

// keyOf returns the key of row i of a batch.
func keyOf(b *record.Batch, i, field int) (string, bool) {
	if b.Schema().Field(field).Type == record.String {
		text := b.Texts(field).At(i)
		return string(text), text != nil
	}
	code := b.Codes(field)[i]
	if code == record.MissingCode {
		return "", false
	}
	return string(codec.Level([]byte(b.Dict(field).Level(code)))), true
}
