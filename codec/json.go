package codec

import (
	"errors"
	"fmt"
	"slices"

	"millrace.dev/record"
)

// JSONOptions are the settings of a [JSON] decoder.
type JSONOptions struct {
	// Reserved is the field that the prediction goes to: a record that has it is rejected, even if the schema
	// declares it. Default: none.
	Reserved string
	// Undeclared are declared fields to be treated as if they were not: their values are validated and skipped.
	// Default: none.
	Undeclared []string
	// MaxBytes is the largest length of a record. Default: DefaultMaxBytes.
	MaxBytes int
}

// JSON decodes records that are JSON objects. It does not allocate per record once it has seen the keys of
// the feed. The zero value is not usable.
type JSON struct {
	schema   *record.Schema
	columns  []column
	required []*key // of the required fields
	keys     *keyTable
	names    names
	set      keySet // keys that the table does not hold, and those of nested objects
	max      int

	// The record at hand.
	number  uint64
	objects uint32
	row     int
	fault   fault
	scratch []byte
}

var _ Decoder = (*JSON)(nil)

// NewJSON returns a decoder of JSON records with the fields of s. A layout of a time field that cannot give a
// date is an error.
func NewJSON(s *record.Schema, o JSONOptions) (*JSON, error) {
	columns, err := newColumns(s)
	largest, errMax := checkMaxBytes(o.MaxBytes)
	if err := errors.Join(err, errMax, checkReserved(o.Reserved)); err != nil {
		return nil, err
	}
	d := &JSON{
		schema: s, columns: columns, keys: newKeyTable(columns, o.Reserved, o.Undeclared),
		names: newNames(s, o.Undeclared), set: newKeySet(), max: largest,
	}
	for i := range columns {
		if columns[i].required && columns[i].name != o.Reserved && !slices.Contains(o.Undeclared, columns[i].name) {
			d.required = append(d.required, d.keys.index[columns[i].name])
		}
	}
	return d, nil
}

// Decode implements [Decoder].
func (d *JSON) Decode(b *record.Batch) {
	bind(d.columns, d.schema, b)
	for row := range b.Len() {
		if b.Problem(row) != nil {
			continue
		}
		if !d.record(b.Raw(row).Value, row) {
			b.ClearRow(row)
			b.Reject(row, d.fault.problem())
		}
	}
}

// record decodes one record into a row.
func (d *JSON) record(data []byte, row int) bool {
	d.fault = fault{}
	d.row, d.objects = row, 0
	d.number++
	d.set.reset()
	d.keys.forget()
	i, ok := d.open(data)
	if !ok {
		return false
	}
	i, present := d.fields(data, i)
	if i < 0 {
		return false
	}
	if i = skipSpace(data, i); i < len(data) {
		d.fault.set(ClassTrailingBytes, "", i, "something follows the object")
		return false
	}
	if present == 0 {
		d.fault.set(ClassNoFields, "", -1, "the record has none of the declared fields")
		return false
	}
	for _, k := range d.required {
		if k.seen != d.number {
			d.fault.set(ClassMissingField, k.name, -1, "the required field is absent")
			return false
		}
	}
	return true
}

// open returns the offset after the brace that opens the record.
func (d *JSON) open(data []byte) (int, bool) {
	if data == nil {
		d.fault.set(ClassNullValue, "", -1, "the record has a null value")
		return 0, false
	}
	if len(data) > d.max {
		d.fault = fault{class: ClassTooLarge, at: -1, what: TooLarge(d.max).Reason}
		return 0, false
	}
	i := skipSpace(data, 0)
	if i < len(data) && data[i] == '{' {
		return i + 1, true
	}
	switch {
	case i == len(data):
		d.fault.set(ClassInvalidJSON, "", i, "the record is empty")
	case hasByteOrderMark(data):
		d.fault.set(ClassInvalidJSON, "", 0, "the record starts with a byte order mark")
	case d.skip(data, i, 0) >= 0: // a fault of the value itself stands
		d.fault.set(ClassNotObject, "", i, "the record is not an object")
	}
	return 0, false
}

// fields reads the fields of the record from data[i] to its closing brace, and returns the offset after it
// and how many of the fields are declared; -1 on a fault.
func (d *JSON) fields(data []byte, i int) (end, present int) {
	if i = skipSpace(data, i); i < len(data) && data[i] == '}' {
		return i + 1, 0
	}
	for k := &d.keys.start; ; {
		at, previous := i, k
		k = k.next
		if k.matches(data, i) {
			i += k.size
		} else {
			if k, i = d.key(data, i); i < 0 {
				return -1, 0
			}
			previous.next = k
		}
		if k.seen == d.number && k != &d.keys.other {
			d.duplicate(at, k)
			return -1, 0
		}
		k.seen = d.number
		i = skipBlank(data, i)
		if k.column != nil {
			present++
			i = d.value(data, i, k.column)
		} else {
			i = d.skip(data, i, 1)
		}
		if i < 0 || k.reserved {
			d.failed(at, k)
			return -1, 0
		}
		if i < len(data) && data[i] == ',' {
			i = skipBlank(data, i+1)
			continue
		}
		var more bool
		if i, more = d.next(data, i, '}'); !more {
			return i, present
		}
	}
}

// next reads what comes after a member or an element: a comma, after which it returns the offset of the next
// one and true, or the closing byte, after which it returns the offset behind it; -1 on a fault.
func (d *JSON) next(data []byte, i int, closing byte) (int, bool) {
	if i < len(data) && data[i] <= ' ' {
		i = skipSpace(data, i)
	}
	switch {
	case i >= len(data):
		d.fault.set(ClassInvalidJSON, "", i, "the record ends inside an object or an array")
	case data[i] == ',':
		return skipBlank(data, i+1), true
	case data[i] == closing:
		return i + 1, false
	default:
		d.fault.set(ClassInvalidJSON, "", i, "a comma or a closing bracket is missing")
	}
	return -1, false
}

// key reads a key that was not predicted, and its colon. It returns the offset after the colon; -1 on a fault.
func (d *JSON) key(data []byte, i int) (*key, int) {
	at := i
	name, i := d.name(data, i)
	if i < 0 {
		return nil, -1
	}
	if k, ok := d.keys.index[string(name)]; ok {
		return k, i
	}
	if declared := d.names.otherCase(name); declared != "" {
		d.fault.set(ClassWrongCase, declared, at, wrongCase(declared))
		return nil, -1
	}
	k := d.keys.learn(name)
	if k == &d.keys.other && !d.set.add(0, name) {
		d.duplicate(at, k)
		return nil, -1
	}
	return k, i
}

// name reads a key and its colon. The name is valid until the next text with escapes.
func (d *JSON) name(data []byte, i int) (name []byte, end int) {
	if i >= len(data) || data[i] != '"' {
		d.fault.set(ClassInvalidJSON, "", i, "a key is missing")
		return nil, -1
	}
	name, i = d.text(data, i+1)
	if i < 0 {
		return nil, -1
	}
	i = skipSpace(data, i)
	if i >= len(data) || data[i] != ':' {
		d.fault.set(ClassInvalidJSON, "", i, "a colon is missing")
		return nil, -1
	}
	return name, i + 1
}

// text reads a string from the byte after its opening quote and returns what it says and the offset after it;
// -1 on a fault. What it says is valid until the next text with escapes.
func (d *JSON) text(data []byte, i int) (text []byte, end int) {
	// Most strings are plain to their end.
	end = plainText(data, i)
	if end < len(data) && data[end] == '"' {
		return data[i:end], end + 1
	}
	end, escaped := scanText(data, end, &d.fault)
	if end < 0 {
		return nil, -1
	}
	if !escaped {
		return data[i:end], end + 1
	}
	d.scratch = unescape(d.scratch[:0], data[i:end])
	return d.scratch, end + 1
}

// duplicate reports that the top level has a key twice.
func (d *JSON) duplicate(at int, k *key) {
	name := ""
	if k.column != nil || k.reserved {
		name = k.name
	}
	d.fault.set(ClassDuplicateKey, name, at, "the object has this key twice")
}

// failed completes the fault of a field, whose key is at the given offset.
func (d *JSON) failed(at int, k *key) {
	if k.column != nil {
		d.fault.field = k.name
	}
	if k.reserved {
		d.fault.set(ClassFieldExists, k.name, at, "the record already has the field that the prediction goes to")
	}
}

// value reads the value of a declared field and returns the offset after it; -1 on a fault.
func (d *JSON) value(data []byte, i int, c *column) int {
	switch c.kind {
	case record.Numeric:
		if v, end := fastNumber(data, i); end > 0 {
			c.numbers[d.row] = v
			return end
		}
		return d.slowNumber(data, i, c)
	case record.Enum:
		return d.level(data, i, c)
	case record.Time:
		return d.time(data, i, c)
	case record.String:
		return d.string(data, i, c)
	}
	panic("codec: a field without a type")
}

// isNumber tells whether the value that starts with b is a number.
func isNumber(b byte) bool { return b == '-' || b-'0' <= 9 }

// slowNumber reads the value of a numeric field that fastNumber left alone.
func (d *JSON) slowNumber(data []byte, i int, c *column) int {
	if i < len(data) && data[i] == '"' && c.quoted {
		text, end := d.text(data, i+1)
		if end < 0 || !c.setNumber(d.row, text, i, &d.fault) {
			return -1
		}
		return end
	}
	if i >= len(data) || !isNumber(data[i]) {
		return d.null(data, i, c)
	}
	n, end := d.decimal(data, i)
	if end < 0 {
		return -1
	}
	v, ok := n.float(data[i:end])
	if !ok {
		d.fault.set(ClassOutOfRange, c.name, i, outOfRange(n))
		return -1
	}
	c.numbers[d.row] = v
	return end
}

// decimal reads a number and returns the offset after it; -1 on a fault.
func (d *JSON) decimal(data []byte, i int) (n decimal, end int) {
	n, end, ok := scanDecimal(data, i)
	if !ok {
		d.fault.set(ClassInvalidJSON, "", end, "no number is spelled like this")
		return n, -1
	}
	return n, end
}

// level reads the value of an enum.
func (d *JSON) level(data []byte, i int, c *column) int {
	if i >= len(data) {
		return d.null(data, i, c)
	}
	switch b := data[i]; {
	case b == '"':
		text, end := d.text(data, i+1)
		if end >= 0 {
			c.setLevel(d.row, text)
		}
		return end
	case isNumber(b):
		if end := shortInteger(data, i); end > 0 {
			c.setLevel(d.row, data[i:end])
			return end
		}
		n, end := d.decimal(data, i)
		if end < 0 {
			return -1
		}
		if !n.plain {
			d.fault.set(ClassWrongType, c.name, i, "a number with an exponent has many spellings and so is no level of an enum")
			return -1
		}
		c.setLevel(d.row, data[i:end])
		return end
	case b == 't' || b == 'f':
		end := d.skip(data, i, 1)
		if end >= 0 {
			c.setLevel(d.row, data[i:end])
		}
		return end
	}
	return d.null(data, i, c)
}

// time reads the value of a time field.
func (d *JSON) time(data []byte, i int, c *column) int {
	if i >= len(data) {
		return d.null(data, i, c)
	}
	switch b := data[i]; {
	case b == '"':
		text, end := d.text(data, i+1)
		if end < 0 || !c.setTime(d.row, text, i, &d.fault) {
			return -1
		}
		return end
	case c.layouts.count && isNumber(b):
		n, end := d.decimal(data, i)
		if end < 0 {
			return -1
		}
		micros, ok := c.layouts.number(n)
		if !ok {
			d.fault.set(ClassOutOfRange, c.name, i, "the time is not within the years 0 to 9999")
			return -1
		}
		c.times[d.row] = micros
		return end
	}
	return d.null(data, i, c)
}

// string reads the value of a string field.
func (d *JSON) string(data []byte, i int, c *column) int {
	if i >= len(data) || data[i] != '"' {
		return d.null(data, i, c)
	}
	text, end := d.text(data, i+1)
	if end >= 0 {
		c.texts.Set(d.row, text)
	}
	return end
}

// null reads a null. Any other value has a type that the field does not allow, or is none.
func (d *JSON) null(data []byte, i int, c *column) int {
	end := d.skip(data, i, 1)
	if end < 0 {
		return -1
	}
	if data[i] != 'n' {
		d.fault.set(ClassWrongType, c.name, i, fmt.Sprintf("%s field cannot be %s", withArticle(c.kind), kindOf(data[i])))
		return -1
	}
	if c.required {
		d.fault.set(ClassMissingField, c.name, i, "the required field is null")
		return -1
	}
	return end
}

func withArticle(t record.Type) string {
	if t == record.Enum {
		return "an enum"
	}
	return "a " + t.String()
}

// kindOf names the kind of a JSON value by its first byte.
func kindOf(first byte) string {
	switch first {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	default:
		return "a number"
	}
}

func hasByteOrderMark(data []byte) bool {
	return len(data) >= 3 && data[0] == 0xEF && data[1] == 0xBB && data[2] == 0xBF
}
