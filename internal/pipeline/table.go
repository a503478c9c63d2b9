package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// Table says which fields of the schema come from the rows of a table instead of the record. The path looks nothing up:
// its driver does, between [Worker.Decode] and [Worker.Complete].
type Table struct {
	// Name names the table in problems.
	Name string
	// Key is the field of the record, of type enum or string, that holds the key of its row.
	Key string
	// Fields come from the row, which is a JSON object, by the same rules as from a record. What a record says of them is
	// not looked at.
	Fields []string
	// Required makes a record without a row one that gets no prediction, as it does if one of the Fields is required.
	// Default: the fields are missing
	Required bool
}

// ClassNoRow is the class of the problem of a record for which a table that is required has no row. Its stage is
// record.StageEnrich.
const ClassNoRow = "no_row"

// tableFields returns the fields of a schema that come from tables.
func tableFields(tables []Table) []string {
	var names []string
	for i := range tables {
		names = append(names, tables[i].Fields...)
	}
	return names
}

// joined fills the columns of a table's fields. It belongs to a worker.
type joined struct {
	table    Table
	key      int // of the schema
	keyType  record.Type
	fields   []int // of the schema, in the order of the batch of rows
	required bool
	decoder  codec.Decoder
	batch    *record.Batch // of the rows, with the fields alone
	rows     [][]byte      // by record; nil is none
	owners   []int         // the record of each row of the batch
}

// newJoined checks a table against the schema.
func newJoined(s *record.Schema, levels map[string][]string, t Table, maxBytes int) (*joined, error) {
	j := &joined{table: t, required: t.Required}
	fault := func(format string, args ...any) (*joined, error) {
		return nil, fmt.Errorf("table %s: "+format, append([]any{t.Name}, args...)...)
	}
	var ok bool
	if j.key, ok = s.Index(t.Key); !ok {
		return fault("the schema has no field %q", t.Key)
	}
	if j.keyType = s.Field(j.key).Type; j.keyType != record.Enum && j.keyType != record.String {
		return fault("the key %q is a field of type %s: want enum or string", t.Key, j.keyType)
	}
	var fields []record.Field
	for _, name := range t.Fields {
		i, ok := s.Index(name)
		if !ok {
			return fault("the schema has no field %q", name)
		}
		j.fields = append(j.fields, i)
		fields = append(fields, s.Field(i))
		j.required = j.required || s.Field(i).Required
	}
	own, err := record.NewSchema(fields...)
	if err != nil {
		return fault("%w", err)
	}
	if j.decoder, err = codec.NewJSON(own, codec.JSONOptions{MaxBytes: maxBytes}); err != nil {
		return fault("%w", err)
	}
	j.batch = record.NewBatch(own, levels)
	return j, nil
}

// newTables checks the tables of a path and returns what a worker needs for them.
func newTables(s *record.Schema, levels map[string][]string, o *Options) ([]*joined, error) {
	if len(o.Tables) > 0 && o.Format != JSON {
		return nil, errors.New("tables: the records have to be JSON")
	}
	names := tableFields(o.Tables)
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		return nil, errors.New("tables: a field comes from one table, once")
	}
	var list []*joined
	for _, t := range o.Tables {
		if slices.Contains(names, t.Key) {
			return nil, fmt.Errorf("table %s: the key %q comes from a table itself", t.Name, t.Key)
		}
		j, err := newJoined(s, levels, t, o.MaxBytes)
		if err != nil {
			return nil, err
		}
		list = append(list, j)
	}
	return list, nil
}

// begin makes ready for a batch of n records, none of which has a row yet.
func (j *joined) begin(n int) {
	clear(j.rows) // let go of the rows, also of those that are beyond the batch's end now
	j.rows = slices.Grow(j.rows[:0], n)[:n]
	clear(j.rows)
}

// keyOf returns the key of a record's row.
func (j *joined) keyOf(b *record.Batch, i int) (string, bool) {
	if b.Problem(i) != nil {
		return "", false
	}
	if j.keyType == record.String {
		t := b.Texts(j.key)
		return t.View(i), !t.Missing(i)
	}
	c := b.Codes(j.key)[i]
	if c == record.MissingCode {
		return "", false
	}
	return b.Dict(j.key).Level(c), true
}

// fill decodes the rows into the columns of b.
func (j *joined) fill(b *record.Batch) {
	j.batch.Reset()
	j.owners = j.owners[:0]
	for i, row := range j.rows {
		switch {
		case b.Problem(i) != nil:
		case row != nil:
			j.batch.Append(record.Raw{Value: row})
			j.owners = append(j.owners, i)
		case j.required:
			b.Reject(i, record.Problem{
				Stage: record.StageEnrich, Class: ClassNoRow, Field: j.table.Key, Reason: "the table " + j.table.Name + " has no row for the record",
			})
		}
	}
	j.decoder.Decode(j.batch)
	for r, i := range j.owners {
		if p := j.batch.Problem(r); p != nil {
			b.Reject(i, record.Problem{
				Stage: record.StageEnrich, Class: p.Class, Field: p.Field, Reason: "the row of the table " + j.table.Name + ": " + p.Reason,
			})
		}
	}
	for f, to := range j.fields {
		j.move(b, f, to)
	}
}

// move copies column f of the rows to a column of b.
func (j *joined) move(b *record.Batch, f, to int) {
	switch j.batch.Schema().Field(f).Type {
	case record.Numeric:
		from, column := j.batch.Numbers(f), b.Numbers(to)
		for r, i := range j.owners {
			column[i] = from[r]
		}
	case record.Enum:
		from, column := j.batch.Codes(f), b.Codes(to)
		levels, known := j.batch.Dict(f), b.Dict(to)
		for r, i := range j.owners {
			c := from[r]
			if int(c) >= known.Known() { // the known ones are the same in both
				level := levels.Level(c)
				c = known.Code(unsafe.Slice(unsafe.StringData(level), len(level)))
			}
			column[i] = c
		}
	case record.Time:
		from, column := j.batch.Times(f), b.Times(to)
		for r, i := range j.owners {
			column[i] = from[r]
		}
	case record.String:
		from, column := j.batch.Texts(f), b.Texts(to)
		for r, i := range j.owners {
			if !from.Missing(r) {
				column.Set(i, from.At(r))
			}
		}
	}
}

// KeyReader finds the key of a table's row in a record, for a driver that has to know it before the record comes to a
// [Worker]. It is for one goroutine at a time.
type KeyReader struct {
	j       joined
	decoder codec.Decoder
	batch   *record.Batch
}

// NewKeyReader returns the reader of the keys of a table in JSON records of a schema, of at most maxBytes bytes (0:
// 1 MiB).
func NewKeyReader(s *record.Schema, t Table, maxBytes int) (*KeyReader, error) {
	j, err := newJoined(s, nil, t, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	own, err := record.NewSchema(s.Field(j.key))
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	d, err := codec.NewJSON(own, codec.JSONOptions{MaxBytes: maxBytes})
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	return &KeyReader{j: joined{keyType: j.keyType}, decoder: d, batch: record.NewBatch(own, nil)}, nil
}

// Key returns the key of the row of a record, valid until the next call. It returns false if the record has none, or
// cannot be decoded, which the path finds out again.
func (k *KeyReader) Key(value []byte) (string, bool) {
	k.batch.Reset()
	k.batch.Append(record.Raw{Value: value})
	k.decoder.Decode(k.batch)
	return k.j.keyOf(k.batch, 0)
}
