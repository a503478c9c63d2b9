package cdc

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// Format is how the records of a changelog topic are written.
type Format string

// The formats.
const (
	FormatDebezium Format = "debezium"
	FormatMaxwell  Format = "maxwell"
	FormatUpsert   Format = "upsert"
)

// Op is what a change does to a table.
type Op uint8

// The operations.
const (
	Upsert   Op = iota + 1 // the key has this row from now on
	Delete                 // the key has no row from now on
	Truncate               // no key has a row from now on
)

// Change is one change of a table. It keeps nothing of the record that it comes from.
type Change struct {
	Op  Op
	Key string // "" for a truncate
	// Row is the new row of an upsert, by the schema of the options; nil otherwise.
	Row *record.Row
	// Keep are fields of Row whose value the change does not tell: they have the value of the row before. Row has them as
	// missing. In ascending order, not to be changed; nil is none.
	Keep []int
	// Absent are fields of Row whose columns the record does not have at all, whereas a null is there. A column that was
	// there before has vanished from the database, unless the format leaves out nulls. As Keep.
	Absent []int
	// At is when the change was made, in microseconds since 1970-01-01 00:00:00 UTC.
	At int64
	// Snapshot tells that the row has been true since some time before At, which nobody knows.
	Snapshot bool
	// Tombstone tells that a delete does not say when it was made: At is the time of its record, which is later. The changes
	// of the key that come after it were made after it, whatever their time.
	Tombstone bool
}

// The classes of problems, beside those of package codec.
const (
	ClassNotJSON       = "not_json"       // key or value is no JSON, or ends too early
	ClassBadEnvelope   = "bad_envelope"   // JSON, but not what the format has around a row
	ClassUnknownOp     = "unknown_op"     // an operation that the format does not have
	ClassNoKey         = "no_key"         // the key's column is not there, or null, or not a text or a number
	ClassNoTime        = "no_time"        // neither the change nor the record has a time
	ClassFuture        = "future_time"    // the change is more than a day later than its record
	ClassSchemaChanged = "schema_changed" // the row does not have the declared columns, or not with their types
)

// DefaultUnavailable is what Debezium's setting unavailable.value.placeholder is by default.
const DefaultUnavailable = "__debezium_unavailable_value"

// Options are the settings of a [Decoder].
type Options struct {
	// Format is the format of the records. Required.
	Format Format
	// Key is the column that is the key of a row. It need not be in Schema. Required.
	Key string
	// Schema has the columns that are wanted. Required.
	Schema *record.Schema
	// Unavailable is what Debezium's setting unavailable.value.placeholder is. Default: DefaultUnavailable.
	Unavailable string
	// MaxBytes is the largest length of a record's key and of its value. Default: codec.DefaultMaxBytes.
	MaxBytes int
}

// Counts are of what a [Decoder] has read and taken for nothing.
type Counts struct {
	// Ignored are messages of applications, marks around a bootstrap, and definitions of tables and databases.
	Ignored int64
	// Tombstones are null values that follow a delete and name no key themselves.
	Tombstones int64
	// Keyless are updates that took away the key of a row.
	Keyless int64
}

// Decoder turns records into changes. It is for one goroutine at a time, and for the records of one topic.
type Decoder struct {
	format Format
	rows   *rowReader
	keys   *keyReader
	counts Counts

	outer  *section // of the value: an envelope, or {"schema":…,"payload":…} around one
	source *section // Debezium's source
	flat   bool     // the last record with a value was flattened
	moved  bool     // the record at hand shows the key before it, which is old
	old    []byte
}

// New returns a decoder. A schema with a layout of a time that cannot give a date is an error.
func New(o Options) (*Decoder, error) {
	switch {
	case o.Format != FormatDebezium && o.Format != FormatMaxwell && o.Format != FormatUpsert:
		return nil, fmt.Errorf("cdc: format %q: want %s, %s or %s", o.Format, FormatDebezium, FormatMaxwell, FormatUpsert)
	case o.Key == "" || !utf8.ValidString(o.Key):
		return nil, fmt.Errorf("cdc: key %q: want the name of a column", o.Key)
	case o.Schema == nil:
		return nil, errors.New("cdc: no schema")
	}
	d := &Decoder{format: o.Format}
	var errs [4]error
	d.rows, errs[0] = newRowReader(o)
	d.keys, errs[1] = newKeyReader(o)
	d.outer, errs[2] = newSection(o.MaxBytes, outerNames()...)
	d.source, errs[3] = newSection(o.MaxBytes, timeNames("")...)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("cdc: %w", err)
	}
	return d, nil
}

// Counts returns what the decoder has counted since it was made.
func (d *Decoder) Counts() Counts { return d.counts }

// Decode appends the changes that a record makes, at most two, and returns the extended slice. A record that cannot be read
// gives none, and a problem.
func (d *Decoder) Decode(dst []Change, r *record.Raw) ([]Change, *record.Problem) {
	var p *record.Problem
	n := len(dst)
	d.moved = false
	switch d.format {
	case FormatDebezium:
		dst, p = d.debezium(dst, r)
	case FormatMaxwell:
		dst, p = d.maxwell(dst, r)
	case FormatUpsert:
		dst, p = d.upsert(dst, r)
	}
	if p == nil {
		p = early(dst[n:], r)
	}
	if p != nil {
		return dst[:n], p
	}
	return dst, nil
}

// maxAhead is by how much a change may be later than its record: clocks differ, and so do zones that were taken for another.
const maxAhead = 24 * 60 * 60 * 1_000_000

// early returns the problem of a change that has not happened yet when its record was written. One of the far future would have
// a table forget all that is older than its history. The clock is that of the record, so that every reader decides alike.
func early(changes []Change, r *record.Raw) *record.Problem {
	for i := range changes {
		if at := changes[i].At; r.Timestamp >= 0 && at > maxAhead && at-maxAhead > r.Timestamp*1000 {
			return problem(ClassFuture, "", "the change is more than a day later than the record that tells it")
		}
	}
	return nil
}

// problem returns a problem of the stage of tables.
func problem(class, field, reason string) *record.Problem {
	return &record.Problem{Stage: record.StageTable, Class: class, Field: field, Reason: reason}
}

// section finds members of one object of a record.
type section struct {
	members *codec.Members
	spans   []codec.Span
	object  []byte
	count   int
}

func newSection(maxBytes int, names ...string) (*section, error) {
	m, err := codec.NewMembers(maxBytes, names...)
	if err != nil {
		return nil, err
	}
	return &section{members: m, spans: make([]codec.Span, len(names))}, nil
}

// read finds the members of an object, which is called what in reasons.
func (s *section) read(object []byte, what string) *record.Problem {
	s.object = object
	count, p := s.members.Find(object, s.spans)
	s.count = count
	if p == nil {
		return nil
	}
	class := p.Class
	switch class {
	case codec.ClassInvalidJSON, codec.ClassInvalidUTF8, codec.ClassTrailingBytes:
		class = ClassNotJSON
	case codec.ClassNotObject:
		class = ClassBadEnvelope
	}
	return problem(class, "", what+": "+p.Reason)
}

// value returns the bytes of a member, or nil.
func (s *section) value(i int) []byte { return s.spans[i].Of(s.object) }

// isNull tells whether a member is absent or null.
func isNull(value []byte) bool { return len(value) == 0 || value[0] == 'n' }

// isObject tells whether a member is an object.
func isObject(value []byte) bool { return len(value) > 0 && value[0] == '{' }

// isText tells whether a member is a string.
func isText(value []byte) bool { return len(value) > 0 && value[0] == '"' }

// The members of a value, beside a row's columns.
const (
	outerSchema = iota
	outerPayload
	outerOp
	outerBefore
	outerAfter
	outerSource
	outerType
	outerTS
	outerData
	outerOld
	outerTimes // the first of those of timeNames
)

func outerNames() []string {
	return append([]string{
		outerSchema: "schema", outerPayload: "payload", outerOp: "op", outerBefore: "before", outerAfter: "after",
		outerSource: "source", outerType: "type", outerTS: "ts", outerData: "data", outerOld: "old",
	}, timeNames("")...)
}

// unwrap reads the value of a record, without {"schema":…,"payload":…} around it. It returns nil for a null.
func (d *Decoder) unwrap(value []byte) ([]byte, *record.Problem) {
	if value == nil {
		return nil, nil
	}
	if p := d.outer.read(value, "the value"); p != nil {
		return nil, p
	}
	if d.outer.count != 2 || d.outer.value(outerSchema) == nil || d.outer.value(outerPayload) == nil {
		return value, nil
	}
	if value = d.outer.value(outerPayload); isNull(value) {
		return nil, nil
	}
	if p := d.outer.read(value, "the payload"); p != nil {
		return nil, p
	}
	return value, nil
}
