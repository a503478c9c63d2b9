package app

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"millrace.dev/codec"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// rows reads a data file record by record: next returns a record's key, which may be nil, and its value, and then io.EOF.
type rows struct {
	next func() (key, value []byte, err error)
}

// newRows reads f, the file of o. Of a CSV file it makes JSON objects, by the types of schema, which may be nil.
func newRows(f *os.File, o ProduceOptions, schema *record.Schema) (*rows, error) {
	format, err := batch.FormatOf(o.File)
	if err != nil {
		return nil, err
	}
	if format == pipeline.JSON {
		if len(o.Drop) > 0 {
			return nil, &Error{Code: Usage, Op: "produce", Err: errors.New("--drop leaves out columns of a CSV file: the lines of a JSON file are written as they are")}
		}
		l, err := codec.NewLineReader(f, 0)
		if err != nil {
			return nil, err
		}
		return &rows{func() ([]byte, []byte, error) {
			value, err := l.Next()
			return keyOf(value, o.Key), value, err
		}}, nil
	}
	t, err := newTable(f, o, schema)
	if err != nil {
		return nil, &batch.DataError{Path: o.File, Err: err}
	}
	return &rows{t.next}, nil
}

// keyOf returns the text of a field of a JSON object, or nil where it is not there or null.
func keyOf(value []byte, field string) []byte {
	if field == "" {
		return nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil {
		return nil
	}
	raw := object[field]
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []byte(text)
	}
	return raw
}

// table makes JSON objects of the rows of a CSV file.
type table struct {
	csv     *csv.Reader
	columns []column
	key     int // the column that becomes the key, or -1
}

// column is a column of a CSV file.
type column struct {
	prefix []byte // the key of the object's member, with the colon
	drop   bool
	typed  bool // the schema has it, as field
	field  record.Field
}

func newTable(r io.Reader, o ProduceOptions, schema *record.Schema) (*table, error) {
	b := bufio.NewReader(r)
	if mark, err := b.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = b.Discard(len(mark)) // they were peeked at
	}
	t := &table{csv: csv.NewReader(b), key: -1}
	t.csv.ReuseRecord = true
	header, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty: it needs a header")
	}
	if err != nil {
		return nil, t.fault(err)
	}
	for _, name := range append(slices.Clone(o.Drop), o.Key) {
		if name != "" && !slices.Contains(header, name) {
			return nil, fmt.Errorf("it has no column %q: its columns are %s", name, strings.Join(header, ", "))
		}
	}
	for i, name := range header {
		if !utf8.ValidString(name) {
			return nil, errors.New("its header is not UTF-8")
		}
		if slices.Contains(header[:i], name) {
			return nil, fmt.Errorf("it has the column %q twice", name)
		}
		if name == o.Key {
			t.key = i
		}
		c := column{prefix: append(appendText(nil, name), ':'), drop: slices.Contains(o.Drop, name)}
		if schema != nil {
			if j, ok := schema.Index(name); ok {
				c.field, c.typed = schema.Field(j), true
			}
		}
		t.columns = append(t.columns, c)
	}
	return t, nil
}

func (t *table) next() (key, value []byte, err error) {
	cells, err := t.csv.Read()
	if err != nil {
		return nil, nil, t.fault(err)
	}
	for i, cell := range cells {
		if !utf8.ValidString(cell) {
			line, _ := t.csv.FieldPos(i)
			return nil, nil, fmt.Errorf("line %d: the bytes are not UTF-8", line)
		}
	}
	if t.key >= 0 && cells[t.key] != "" {
		key = []byte(cells[t.key])
	}
	return key, t.object(cells), nil
}

// fault says where a row is wrong.
func (t *table) fault(err error) error {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		if errors.Is(e.Err, csv.ErrFieldCount) {
			return fmt.Errorf("line %d: it has not as many cells as the header", e.StartLine)
		}
		return fmt.Errorf("line %d, column %d: %w", e.Line, e.Column, e.Err)
	}
	return err
}

// object returns a row as a JSON object without the cells that are empty or stand for a missing value.
func (t *table) object(cells []string) []byte {
	out := []byte{'{'}
	for i, cell := range cells {
		c := &t.columns[i]
		if c.drop || c.missing(cell) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, c.prefix...)
		if c.number(cell) {
			out = append(out, cell...)
		} else {
			out = appendText(out, cell)
		}
	}
	return append(out, '}')
}

// missing tells whether a cell holds no value: what the path takes for none in the rows of a CSV file.
func (c *column) missing(cell string) bool {
	switch cell {
	case "":
		return true
	case "NA", "N/A", "NaN", "nan", "null", "NULL":
		return c.typed && (c.field.Type == record.Numeric || c.field.Type == record.Time)
	default:
		return false
	}
}

// number tells whether a cell becomes a JSON number: one that is spelled like it, unless the schema wants text.
func (c *column) number(cell string) bool {
	if cell[0] != '-' && (cell[0] < '0' || cell[0] > '9') || strings.ContainsAny(cell, " \t\r\n") || !json.Valid([]byte(cell)) {
		return false
	}
	if !c.typed {
		return true
	}
	switch c.field.Type {
	case record.Enum:
		return !strings.ContainsAny(cell, "eE") // such a number is no level
	case record.Time:
		return slices.ContainsFunc(c.field.Layouts, record.IsCount)
	case record.String:
		return false
	default:
		return true
	}
}

// appendText appends s as a JSON string. Characters that mean something in HTML stay as they are.
func appendText(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text can always be written
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}
