package codec

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"millrace.dev/record"
)

// CSVOptions are the settings of a [CSV] decoder.
type CSVOptions struct {
	// Comma separates the cells of a row: an ASCII character. Default: ','.
	Comma byte
	// Reserved is the column that the prediction goes to; a header that has it already is an error of NewCSV.
	// Default: none.
	Reserved string
	// Undeclared are declared fields to be treated as if they were not: their cells are skipped. Default: none.
	Undeclared []string
	// MaxBytes is the largest length of a row. Default: DefaultMaxBytes.
	MaxBytes int
	// Missing are the texts, besides the empty cell, that mean a missing value in a numeric or a time field.
	// Empty but not nil is none. Default: NA, N/A, NaN, nan, null, NULL.
	Missing []string
	// MissingLevels are the texts, besides the empty cell, that mean a missing value in an enum or a string
	// field. Default: none.
	MissingLevels []string
}

const fieldSkip int32 = -1 // a column that is not declared

// CSV decodes records that are rows of one CSV file or topic. It does not allocate per row. The zero value is
// not usable.
type CSV struct {
	schema   *record.Schema
	columns  []column
	header   []int32 // of each cell, the position of its field in the schema, or fieldSkip
	required []int32 // required fields, as positions in the schema
	max      int
	missing  missingTexts // of numeric and time fields
	levels   missingTexts // of enum and string fields

	splitter // of the row at hand
}

var _ Decoder = (*CSV)(nil)

// NewCSV returns a decoder of rows whose cells are in the order of header. A column that comes twice, one
// that differs from a declared field only in case, a required field without a column, a header without any
// declared field, and a reserved column that is there already are errors, joined in one.
func NewCSV(s *record.Schema, header []string, o CSVOptions) (*CSV, error) {
	columns, err := newColumns(s)
	largest, errMax := checkMaxBytes(o.MaxBytes)
	comma, errComma := checkComma(o.Comma)
	if o.Missing == nil {
		o.Missing = []string{"NA", "N/A", "NaN", "nan", "null", "NULL"}
	}
	d := &CSV{
		schema: s, columns: columns, splitter: splitter{comma: comma}, max: largest,
		missing: newMissingTexts(o.Missing), levels: newMissingTexts(o.MissingLevels),
	}
	for i := range columns {
		if columns[i].required {
			d.required = append(d.required, int32(i))
		}
	}
	if err := errors.Join(err, errMax, errComma, checkReserved(o.Reserved), d.setHeader(header, o.Reserved, o.Undeclared)); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *CSV) setHeader(header []string, reserved string, undeclared []string) error {
	var errs []error
	names := newNames(d.schema, undeclared)
	seen := make(map[string]bool, len(header))
	declared := 0
	for _, name := range header {
		if seen[name] {
			errs = append(errs, fmt.Errorf("codec: the header has the column %q twice", name))
		}
		seen[name] = true
		if reserved != "" && name == reserved {
			errs = append(errs, fmt.Errorf("codec: the header already has the column %q that the prediction goes to", name))
		}
		field := fieldSkip
		if i, ok := d.schema.Index(name); ok && !slices.Contains(undeclared, name) {
			field = int32(i)
			declared++
		} else if other := names.otherCase([]byte(name)); other != "" {
			errs = append(errs, fmt.Errorf("codec: the header's column %q differs in case from the declared field %q", name, other))
		}
		d.header = append(d.header, field)
	}
	if declared == 0 {
		errs = append(errs, errors.New("codec: the header has none of the declared fields"))
	}
	for _, f := range d.required {
		if name := d.columns[f].name; !seen[name] && name != reserved && !slices.Contains(undeclared, name) {
			errs = append(errs, fmt.Errorf("codec: the header lacks the required field %q", name))
		}
	}
	return errors.Join(errs...)
}

// Decode implements [Decoder]. The value of a row may end in one line end.
func (d *CSV) Decode(b *record.Batch) {
	bind(d.columns, d.schema, b)
	for row := range b.Len() {
		if b.Problem(row) != nil {
			continue
		}
		d.fault = fault{}
		if !d.read(b.Raw(row).Value) || !d.row(row) {
			b.ClearRow(row)
			b.Reject(row, d.fault.problem())
		}
	}
}

// row sets the fields of a row from the cells. The fault of the first cell that has one is kept.
func (d *CSV) row(row int) bool {
	present := false
	for i, field := range d.header {
		if field == fieldSkip {
			continue
		}
		c, text := &d.columns[field], d.cells[i].text
		present = present || len(text) > 0
		if !d.value(c, row, text, d.cells[i].at) {
			return false
		}
	}
	if !present {
		d.fault.set(ClassNoFields, "", -1, "all cells of declared fields are empty")
	}
	return present
}

func (d *CSV) value(c *column, row int, text []byte, at int) bool {
	numeric := c.kind == record.Numeric || c.kind == record.Time
	if len(text) == 0 || numeric && d.missing.has(text) || !numeric && d.levels.has(text) {
		if c.required {
			d.fault.set(ClassMissingField, c.name, at, "the required field is empty or missing")
		}
		return !c.required
	}
	switch c.kind {
	case record.Numeric:
		return c.setNumber(row, text, at, &d.fault)
	case record.Enum:
		c.setLevel(row, text)
	case record.Time:
		return c.setTime(row, text, at, &d.fault)
	case record.String:
		c.texts.Set(row, text)
	}
	return true
}

// read finds the cells of a row, as many as the header has.
func (d *CSV) read(data []byte) bool {
	switch {
	case data == nil:
		d.fault.set(ClassNullValue, "", -1, "the record has a null value")
		return false
	case len(data) > d.max:
		d.fault = fault{class: ClassTooLarge, at: -1, what: TooLarge(d.max).Reason}
		return false
	case hasByteOrderMark(data):
		d.fault.set(ClassInvalidCSV, "", 0, "the row starts with a byte order mark")
		return false
	case !utf8.Valid(data):
		d.fault.set(ClassInvalidUTF8, "", firstInvalid(data), "the bytes of the row are not UTF-8")
		return false
	}
	if !d.split(withoutLineEnd(data)) {
		if at := len(d.cells); at < len(d.header) && d.header[at] != fieldSkip {
			d.fault.field = d.columns[d.header[at]].name
		}
		return false
	}
	if len(d.cells) != len(d.header) {
		d.fault.set(ClassWrongColumns, "", -1, fmt.Sprintf("the row has %d cells and the header %d", len(d.cells), len(d.header)))
		return false
	}
	return true
}

// missingTexts are the texts that stand for a missing value. Few cells start like one of them.
type missingTexts struct {
	texts []string
	first [256]bool
}

func newMissingTexts(texts []string) missingTexts {
	m := missingTexts{texts: slices.Clone(texts)}
	for _, t := range texts {
		if t != "" { // the empty cell is missing anyhow
			m.first[t[0]] = true
		}
	}
	return m
}

func (m *missingTexts) has(text []byte) bool {
	if !m.first[text[0]] {
		return false
	}
	return slices.Contains(m.texts, string(text))
}
