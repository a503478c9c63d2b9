package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/record"
)

// ErrNotText means that a record is no UTF-8 text, so that no test can hold it.
var ErrNotText = errors.New("config: the record is not UTF-8 text, which a pipeline file is")

// AppendTest appends a test as an item of the list tests of a pipeline file. When it is read it is the same test: where
// a record can be written as a mapping it is, and else it is its JSON. Its lines are about 100 characters long at most,
// but for single texts. The error is [ErrNotText].
func (p *Pipeline) AppendTest(dst []byte, t *Test) ([]byte, error) {
	w := testWriter{p: p}
	w.line("  - name: ", yamlText(t.Name))
	w.line("    given:", "")
	if err := w.record(&t.Given.Record, t.DeadLetter); err != nil {
		return dst, err
	}
	w.tables(t.Given.Tables)
	w.windows(t.Given.Windows)
	if d := t.DeadLetter; d != nil {
		var items []string
		for _, part := range [][2]string{{"stage", d.Stage}, {"class", d.Class}, {"field", d.Field}} {
			if part[1] != "" {
				items = append(items, part[0]+": "+yamlText(part[1]))
			}
		}
		w.flow("    dead_letter: {", items)
		return append(dst, w.out.String()...), nil
	}
	if len(t.Expect) == 0 && t.Prediction == nil {
		w.line("    expect: {}", "") // it is no dead letter
	}
	if len(t.Expect) > 0 {
		w.line("    expect:", "")
		for i := range t.Expect {
			w.line("      "+yamlKey(t.Expect[i].Name)+": ", yamlValue(t.Expect[i].Want))
		}
	}
	if t.Prediction != nil {
		w.line("    prediction: ", yamlValue(t.Prediction.Want))
	}
	return append(dst, w.out.String()...), nil
}

// testWriter writes a test.
type testWriter struct {
	p   *Pipeline
	out strings.Builder
}

func (w *testWriter) line(head, text string) { w.out.WriteString(head + text + "\n") }

// flow writes items and the bracket that closes them, on lines of about the width of an excerpt.
func (w *testWriter) flow(head string, items []string) {
	indent := strings.Repeat(" ", len(head))
	text := head
	for i, item := range items {
		if i > 0 {
			text += ","
			if utf8.RuneCountInString(text)+1+utf8.RuneCountInString(item) > excerptWidth {
				w.line(text, "")
				text = indent
			} else {
				text += " "
			}
		}
		text += item
	}
	w.line(text, "}")
}

func (w *testWriter) record(r *record.Raw, dead *Rejection) error {
	if !utf8.Valid(r.Key) || !utf8.Valid(r.Value) {
		return ErrNotText
	}
	if len(r.Key) > 0 {
		w.line("      key: ", yamlText(string(r.Key)))
	}
	if r.Timestamp >= 0 {
		w.line("      timestamp: ", yamlText(time.UnixMilli(r.Timestamp).UTC().Format(time.RFC3339Nano)))
	}
	switch {
	case r.Value == nil:
		w.line("      record: ", "null")
		return nil
	case dead == nil || dead.Stage != record.StageDecode:
		if items, ok := w.fields(r.Value); ok {
			w.flow("      record: {", items)
			return nil
		}
	}
	w.line("      record: ", yamlQuoted(string(r.Value)))
	return nil
}

// fields returns the members of a JSON object, which the decoder takes, as a flow mapping; ok is false where that would be
// read as something else.
func (w *testWriter) fields(value []byte) (items []string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		key, err := d.Token()
		name, isText := key.(string)
		if err != nil || !isText {
			return nil, false
		}
		t, err := d.Token()
		if err != nil {
			return nil, false
		}
		var text string
		switch x := t.(type) {
		case nil:
			text = "null"
		case bool:
			text = strconv.FormatBool(x)
		case json.Number:
			text = x.String()
		case string:
			text = w.fieldText(name, x)
		default:
			return nil, false // values in values stay JSON
		}
		items = append(items, yamlKey(name)+": "+text)
	}
	return items, w.same(value, "{"+strings.Join(items, ", ")+"}")
}

// fieldText writes a text of a record: plain where that is a text by the schema.
func (w *testWriter) fieldText(name, text string) string {
	if i, ok := w.p.Schema.Index(name); ok && w.p.Schema.Field(i).Type == record.Time && !strings.ContainsAny(text, ": ") {
		if y := scalar(text); y == text || len(text) > 0 && strings.Trim(text, "0123456789-") == "" {
			return text
		}
	}
	return yamlText(text)
}

// same tells whether a flow mapping is read as a JSON object, apart from blanks and escapes.
func (w *testWriter) same(value []byte, text string) bool {
	ps := &problemList{}
	n := parseYAML(newSource("", 0, text), ps)
	if n == nil || len(ps.list) > 0 {
		return false
	}
	d := &decoder{p: w.p, ps: ps, env: func(string) (string, bool) { return "", false }}
	got := d.appendObject(nil, n, w.p.Schema)
	a, okA := tokens(value)
	b, okB := tokens(got)
	return okA && okB && len(ps.list) == 0 && slices.Equal(a, b)
}

// tokens takes JSON apart.
func tokens(value []byte) (list []json.Token, ok bool) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return list, true
		}
		if err != nil {
			return nil, false
		}
		list = append(list, t)
	}
}

func (w *testWriter) tables(tables map[string][]GivenRow) {
	head := false
	for i := range w.p.Tables {
		t := &w.p.Tables[i]
		rows, ok := tables[t.Name]
		if !ok {
			continue
		}
		if !head {
			w.line("      tables:", "")
			head = true
		}
		if len(rows) == 0 {
			w.line("        "+yamlKey(t.Name)+": ", "[]")
			continue
		}
		w.line("        "+yamlKey(t.Name)+":", "")
		for _, r := range rows {
			items := []string{yamlKey(rowKey(t)) + ": " + yamlQuoted(r.Key)}
			for f := range t.Schema.Len() {
				if name := t.Schema.Field(f).Name; name != rowKey(t) {
					items = append(items, yamlKey(name)+": "+yamlValue(CellValue(t.Schema, r.Row, f)))
				}
			}
			w.flow("          - {", items)
		}
	}
}

// CellValue returns column f of a row of a table.
func CellValue(s *record.Schema, r *record.Row, f int) feature.Value {
	slot := s.Slot(f)
	switch s.Field(f).Type {
	case record.Numeric:
		return feature.Value{Kind: feature.KindNumber, Number: r.Numbers[slot], Missing: math.IsNaN(r.Numbers[slot])}
	case record.Time:
		return feature.Value{Kind: feature.KindTime, Time: r.Times[slot], Missing: r.Times[slot] == record.MissingTime}
	default:
		return feature.Value{Kind: feature.KindText, Text: r.Texts[slot].S, Missing: !r.Texts[slot].OK}
	}
}

func (w *testWriter) windows(windows map[string]map[string]float64) {
	if len(windows) == 0 {
		return
	}
	w.line("      windows:", "")
	for i := range w.p.Windows {
		of := &w.p.Windows[i]
		values, ok := windows[of.Name]
		if !ok {
			continue
		}
		var items []string
		for _, a := range of.Aggregates {
			if x, ok := values[a.Name]; ok {
				items = append(items, yamlKey(a.Name)+": "+yamlValue(feature.Value{Kind: feature.KindNumber, Number: x, Missing: math.IsNaN(x) || math.IsInf(x, 0)}))
			}
		}
		w.flow("        "+yamlKey(of.Name)+": {", items)
	}
}

// yamlText returns a text as a value in a flow mapping.
func yamlText(s string) string {
	if y := scalar(s); y[0] != '"' && !strings.ContainsAny(y, "<>=") && !strings.HasSuffix(y, "-") {
		return y
	}
	return yamlQuoted(s)
}

// yamlKey returns a text as a key, in which a $ stands for itself.
func yamlKey(s string) string { return strings.ReplaceAll(yamlText(s), "$$", "$") }

// yamlQuoted returns a text in quotes: in single ones where it has double ones, as JSON does.
func yamlQuoted(s string) string {
	s = strings.ReplaceAll(s, "$", "$$")
	plain := &problemList{}
	newSource("", 0, s).checkText(plain)
	if strings.ContainsAny(s, `"\`) && !strings.ContainsAny(s, "\r\n\t") && len(plain.list) == 0 {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var b strings.Builder
	for _, r := range string(appendText(nil, s)) {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == bomRune || r == 0xfffe || r == 0xffff {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

const bomRune = 0xfeff

func yamlValue(v feature.Value) string {
	switch {
	case v.Missing:
		return "null"
	case v.Kind == feature.KindNumber:
		return string(codec.AppendFloat(nil, v.Number))
	case v.Kind == feature.KindBool:
		return strconv.FormatBool(v.Flag)
	case v.Kind == feature.KindTime:
		return yamlQuoted(time.UnixMicro(v.Time).UTC().Format(time.RFC3339Nano))
	default:
		return yamlQuoted(v.Text)
	}
}
