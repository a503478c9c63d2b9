package cdc

import (
	"slices"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// The members that a transform adds to a flattened row.
const (
	metaDeleted = iota
	metaOp
	metaSourceTimes                               // the first of those of timeNames
	metaTimes       = metaSourceTimes + timeCount // as before
	metaCount       = metaTimes + timeCount
)

func metaNames() []string {
	return slices.Concat([]string{"__deleted", "__op"}, timeNames("__source_"), timeNames("__"))
}

// rowReader reads the row that a change shows.
type rowReader struct {
	section
	schema      *record.Schema
	key         int            // the span of the key
	meta        [metaCount]int // the spans of what a transform adds
	metaNames   []string
	unavailable *placeholders
	decoder     codec.Decoder
	batch       *record.Batch
	patched     []byte
	keep        []int // of the row at hand
	absent      []int
	lastKeep    []int // what was given away, and must not be changed
	lastAbsent  []int
}

// newRowReader returns a reader of rows with the columns of the options.
func newRowReader(o Options) (*rowReader, error) {
	r := &rowReader{schema: o.Schema}
	var names []string
	var fields []record.Field
	for i := range o.Schema.Len() {
		f := o.Schema.Field(i)
		names = append(names, f.Name)
		f.Required = false // whether a column is there is found out before the row is decoded
		fields = append(fields, f)
	}
	names, r.key = withName(names, o.Key)
	r.metaNames = metaNames()
	for i, name := range r.metaNames {
		names, r.meta[i] = withName(names, name) // it may be declared as a column, too
	}
	own, err := record.NewSchema(fields...)
	if err != nil {
		return nil, err
	}
	s, err := newSection(o.MaxBytes, names...)
	if err != nil {
		return nil, err
	}
	r.section = *s
	if r.decoder, err = codec.NewJSON(own, codec.JSONOptions{MaxBytes: o.MaxBytes}); err != nil {
		return nil, err
	}
	r.batch = record.NewBatch(own, nil)
	if o.Format == FormatDebezium {
		r.unavailable, err = newPlaceholders(o.Unavailable)
	}
	return r, err
}

// keyValue returns the bytes of the key's column, or nil.
func (r *rowReader) keyValue() []byte { return r.value(r.key) }

// forget makes the row at hand one without any column.
func (r *rowReader) forget() {
	clear(r.spans)
	r.object = nil
}

// row decodes the row that was read. keep and absent are not to be changed.
func (r *rowReader) row() (row *record.Row, keep, absent []int, p *record.Problem) {
	object := r.object
	r.keep, r.absent = r.keep[:0], r.absent[:0]
	for f := range r.schema.Len() {
		value := r.value(f)
		switch {
		case value == nil:
			r.absent = append(r.absent, f)
		case r.unavailable.is(value):
			r.keep = append(r.keep, f)
			continue
		case !isNull(value):
			continue
		}
		if field := r.schema.Field(f); field.Required {
			return nil, nil, nil, problem(ClassSchemaChanged, field.Name, "the row: the required column is absent or null")
		}
	}
	if len(r.keep) > 0 {
		object = r.withoutKept()
	}
	r.batch.Reset()
	r.batch.Append(record.Raw{Value: object})
	r.decoder.Decode(r.batch)
	if p := r.batch.Problem(0); p != nil {
		return nil, nil, nil, problem(classOfRow(p.Class), p.Field, "the row: "+p.Reason)
	}
	r.lastKeep, r.lastAbsent = stable(r.lastKeep, r.keep), stable(r.lastAbsent, r.absent)
	return record.RowOf(r.batch, 0), r.lastKeep, r.lastAbsent, nil
}

// withoutKept returns a copy of the row in which the values to keep are null.
func (r *rowReader) withoutKept() []byte {
	r.patched = append(r.patched[:0], r.object...)
	for _, f := range r.keep {
		value := r.spans[f].Of(r.patched)
		for i := copy(value, "null"); i < len(value); i++ {
			value[i] = ' '
		}
	}
	return r.patched
}

// classOfRow returns the class of a fault in a row: a column of another name or type is a change of the table's schema.
func classOfRow(class string) string {
	switch class {
	case codec.ClassWrongType, codec.ClassWrongCase, codec.ClassNoFields:
		return ClassSchemaChanged
	default:
		return class
	}
}

// stable returns a slice equal to now that stays as it is: last, if that is one. Rows of one topic mostly lack the same.
func stable(last, now []int) []int {
	if len(now) == 0 {
		return nil
	}
	if slices.Equal(last, now) {
		return last
	}
	return slices.Clone(now)
}
