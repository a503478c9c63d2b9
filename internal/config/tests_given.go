package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// recordJSON returns the value of a record: a text as it is, or the JSON object of a mapping, typed by the schema.
func (l *testLinter) recordJSON(n *node, path string) []byte {
	switch n.kind {
	case scalarNode:
		if !l.expand(n) || n.null && n.style == plainStyle {
			return nil
		}
		return []byte(n.text)
	case mappingNode:
		return l.appendObject(nil, n, l.p.Schema)
	default:
		l.report(n, path+": a record is a mapping of fields, or its JSON as one text", "")
		return nil
	}
}

// appendObject appends the JSON object of a mapping, the fields of which are typed by a schema; nil types none.
func (d *decoder) appendObject(dst []byte, n *node, s *record.Schema) []byte {
	dst = append(dst, '{')
	for i, p := range n.pairs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, p.key.yaml), ':')
		var f record.Field
		if s != nil {
			if k, ok := s.Index(p.key.yaml); ok {
				f = s.Field(k)
			}
		}
		dst = d.appendValue(dst, p.value, &f)
	}
	return append(dst, '}')
}

// appendValue appends the JSON of a value. What stands in quotes is a text. What does not is one too where the field is a
// string, or a time that is not counted; else it is what it looks like.
func (d *decoder) appendValue(dst []byte, n *node, f *record.Field) []byte {
	switch n.kind {
	case mappingNode:
		return d.appendObject(dst, n, nil)
	case listNode:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = d.appendValue(dst, item, &record.Field{})
		}
		return append(dst, ']')
	default:
	}
	if !d.expand(n) {
		return append(dst, "null"...) // which was reported
	}
	text := f.Type == record.String || f.Type == record.Time
	if f.Type == record.Time {
		for _, layout := range f.Layouts {
			text = text && !record.IsCount(layout)
		}
	}
	switch {
	case n.style != plainStyle:
	case n.null:
		return append(dst, "null"...)
	case !text && (n.text == "true" || n.text == "false" || isNumber(n.text)):
		return append(dst, n.text...)
	}
	return appendText(dst, n.text)
}

// isNumber tells whether s is a number in JSON.
func isNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}

func appendText(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("config: a text that JSON cannot hold: " + err.Error())
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// tables reads the rows of tables.
func (l *testLinter) tables(path string, t *Test, tables value) {
	for i, name := range tables.names {
		at, n := path+"."+name, tables.list[i].node
		of := l.p.Table(name)
		switch {
		case of == nil:
			var known []string
			for k := range l.p.Tables {
				known = append(known, l.p.Tables[k].Name)
			}
			l.reportKey(at, at+": the pipeline has no table "+quote(name), meant(name, known, "declare it under tables"))
			continue
		case n.kind != listNode:
			l.report(n, at+": want a list of rows", "such as ["+rowExample(of)+"]")
			continue
		}
		reader, err := newRowReader(of)
		if err != nil {
			l.report(n, at+": "+err.Error(), "")
			continue
		}
		if t.Given.Tables == nil {
			t.Given.Tables = map[string][]GivenRow{}
		}
		t.Given.Tables[name] = []GivenRow{} // the name alone says that the table has no row
		for k, item := range n.items {
			if row, ok := l.row(item, fmt.Sprintf("%s[%d]", at, k), reader); ok {
				t.Given.Tables[name] = append(t.Given.Tables[name], row)
			}
		}
	}
}

func rowExample(t *Table) string {
	return fmt.Sprintf("{%s: ..., %s: ...}", rowKey(t), t.Schema.Field(0).Name)
}

// rowKey returns what the key of a row is called in a test.
func rowKey(t *Table) string {
	if t.Key == "" {
		return "key"
	}
	return t.Key
}

// rowReader reads the rows of a table as JSON, by the rules of records. Times can also stand in RFC 3339, whatever the
// layouts of the table.
type rowReader struct {
	table     *Table
	key       string
	names     []string // of the columns, and the key
	row       *record.Batch
	keys      *record.Batch
	decode    codec.Decoder
	decodeKey codec.Decoder
}

func newRowReader(t *Table) (*rowReader, error) {
	r := &rowReader{table: t, key: rowKey(t)}
	var fields []record.Field
	for i := range t.Schema.Len() {
		f := t.Schema.Field(i)
		if f.Type == record.Time {
			f.Layouts = append(append([]string(nil), f.Layouts...), time.RFC3339)
		}
		fields, r.names = append(fields, f), append(r.names, f.Name)
	}
	key := record.Field{Name: r.key, Type: record.Enum}
	if i, ok := t.Schema.Index(r.key); !ok {
		r.names = append(r.names, r.key)
	} else if t.Schema.Field(i).Type == record.String {
		key.Type = record.String // the text as it stands
	}
	for _, part := range []struct {
		batch   **record.Batch
		decoder *codec.Decoder
		fields  []record.Field
	}{{&r.row, &r.decode, fields}, {&r.keys, &r.decodeKey, []record.Field{key}}} {
		s, err := record.NewSchema(part.fields...)
		if err != nil {
			return nil, err
		}
		*part.batch = record.NewBatch(s, nil)
		if *part.decoder, err = codec.NewJSON(s, codec.JSONOptions{}); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// row reads a row.
func (l *testLinter) row(n *node, path string, r *rowReader) (row GivenRow, ok bool) {
	if n.kind != mappingNode {
		l.report(n, path+": a row is a mapping of columns", "such as "+rowExample(r.table))
		return row, false
	}
	ok = true
	for _, p := range n.pairs {
		found := false
		for _, name := range r.names {
			found = found || name == p.key.yaml
		}
		if !found {
			l.report(p.key, fmt.Sprintf("%s: the table has no column %s", path, quote(p.key.yaml)), meant(p.key.yaml, r.names, "it has "+shortened(r.names)))
			ok = false
		}
	}
	if !ok {
		return row, false
	}
	value := l.appendObject(nil, n, r.row.Schema())
	problem := decodeOne(r.row, r.decode, value)
	if problem != nil && problem.Class != codec.ClassNoFields { // a row may have nothing but its key
		at := n
		if p := n.get(problem.Field); p != nil {
			at = p.value
		}
		l.report(at, fmt.Sprintf("%s.%s: %s", path, problem.Field, withoutOffset(problem.Reason)), "")
		return row, false
	}
	var key record.Text
	if decodeOne(r.keys, r.decodeKey, value) == nil {
		key = record.RowOf(r.keys, 0).Texts[0]
	}
	if !key.OK {
		l.report(n, path+" has no key", "add "+r.key+": the key of the row")
		return row, false
	}
	row = GivenRow{Key: key.S, Row: record.RowOf(r.row, 0), From: record.MissingTime}
	if i, ok := r.row.Schema().Index(r.table.ValidFrom); ok {
		row.From = r.row.Times(i)[0]
	}
	return row, true
}

func decodeOne(b *record.Batch, d codec.Decoder, value []byte) *record.Problem {
	b.Reset()
	b.Append(record.Raw{Value: value, Timestamp: -1})
	d.Decode(b)
	return b.Problem(0)
}

// withoutOffset takes the place in the JSON, which nobody has seen, out of a reason.
func withoutOffset(reason string) string {
	if rest, ok := strings.CutPrefix(reason, "byte "); ok {
		if _, text, ok := strings.Cut(rest, ": "); ok {
			return text
		}
	}
	return reason
}
