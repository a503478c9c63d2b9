package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// Look decides what the columns of data are, by the rules of [Infer], from records that it is shown: rows of CSV, or JSON
// objects. It is for one goroutine at a time.
type Look struct {
	names   []string
	columns map[string]*looked
	csv     *codec.CSV // nil for JSON
	batch   *record.Batch
	members *codec.Members
	rows    int
	text    []byte
}

// looked is what was seen of a column.
type looked struct {
	profile *profile
	column  LookedColumn
	from    int // the row in which it came first
	places  int // rows that have it
}

// LookedColumn is what was seen of a column, and the field that suits it.
type LookedColumn struct {
	Field record.Field
	// Seen says in words what the values are, and so why the field has its type.
	Seen string
	// Values is how many records have one, Missing how many have none: no member, a null, an empty cell, and what stands
	// for one in numbers and times.
	Values, Missing int
	// The values by what they are in JSON. In CSV all are texts.
	Numbers, Texts, Booleans, Nested int
	// Numeric is how many values are numbers as they stand, Quoted how many would be without the quotes of JSON, and
	// Formatted how many would be without white space, separators of thousands, a sign of a currency or of percent.
	Numeric, Quoted, Formatted int
}

// NewLook returns a look at records. header has the columns of CSV; nil stands for JSON.
func NewLook(header []string, maxBytes int) (*Look, error) {
	l := &Look{columns: map[string]*looked{}}
	if header == nil {
		var err error
		l.members, err = codec.NewMembers(maxBytes)
		return l, err
	}
	fields := make([]record.Field, len(header))
	for i, name := range header {
		fields[i] = record.Field{Name: name, Type: record.String}
		l.column(name)
	}
	schema, err := record.NewSchema(fields...)
	if err != nil {
		return nil, err
	}
	l.batch = record.NewBatch(schema, nil)
	l.csv, err = codec.NewCSV(schema, header, codec.CSVOptions{MaxBytes: maxBytes})
	return l, err
}

func (l *Look) column(name string) *looked {
	c := l.columns[name]
	if c == nil && len(l.names) < record.MaxFields {
		c = &looked{profile: newProfile(name), from: l.rows}
		l.names = append(l.names, name)
		l.columns[name] = c
	}
	return c
}

// Add looks at one more record. It returns what is wrong with one that is no CSV row or JSON object at all, of which it keeps
// nothing.
func (l *Look) Add(value []byte) *record.Problem {
	if l.csv != nil {
		return l.addRow(value)
	}
	if p := l.members.Each(value, func([]byte, codec.Span) {}); p != nil {
		return p
	}
	p := l.members.Each(value, func(name []byte, at codec.Span) {
		if c := l.column(string(name)); c != nil {
			l.text = c.addJSON(at.Of(value), l.text)
		}
	})
	l.rows++
	return p
}

func (l *Look) addRow(value []byte) *record.Problem {
	l.batch.Reset()
	l.batch.Append(record.Raw{Value: value})
	l.csv.Decode(l.batch)
	if p := l.batch.Problem(0); p != nil {
		return p
	}
	for i, name := range l.names {
		texts := l.batch.Texts(i)
		c := l.columns[name]
		c.places++
		if texts.Missing(0) {
			c.profile.add("", true)
			continue
		}
		c.column.Texts++
		c.add(texts.View(0))
	}
	l.rows++
	return nil
}

// addJSON takes a value as its JSON, and returns scratch.
func (c *looked) addJSON(value, scratch []byte) []byte {
	c.places++
	switch value[0] {
	case 'n':
		c.profile.add("", true)
	case '"':
		scratch = codec.AppendText(scratch[:0], value)
		c.column.Texts++
		before := c.column.Numeric
		c.add(string(scratch))
		c.column.Quoted += c.column.Numeric - before
		c.column.Numeric = before
	case '{', '[':
		c.column.Nested++
		c.profile.add("{", false)
	case 't', 'f':
		c.column.Booleans++
		c.profile.add(string(value), false)
	default:
		c.column.Numbers++
		c.add(string(value))
	}
	return scratch
}

func (c *looked) add(text string) {
	if _, ok := number(text); ok {
		c.column.Numeric++
	} else if _, ok := number(unformatted(text)); ok {
		c.column.Formatted++
	}
	c.profile.add(text, false)
}

// unformatted returns a number without what people put into numbers for people.
func unformatted(text string) string {
	text = strings.TrimSpace(text)
	if len(text) == 0 || len(text) > 40 || !strings.ContainsAny(text, "0123456789") {
		return text
	}
	for _, sign := range []string{"$", "€", "£", "¥", "+"} {
		text = strings.TrimSpace(strings.TrimPrefix(text, sign))
	}
	for _, sign := range []string{"%", "€"} {
		text = strings.TrimSpace(strings.TrimSuffix(text, sign))
	}
	return strings.NewReplacer(",", "", " ", "", "'", "", "\u00a0", "", "\u202f", "").Replace(text)
}

// Rows returns how many records were looked at, those left out that were none.
func (l *Look) Rows() int { return l.rows }

// Columns returns what was seen, in the order in which columns came.
func (l *Look) Columns() []LookedColumn {
	out := make([]LookedColumn, 0, len(l.names))
	for _, name := range l.names {
		c := l.columns[name]
		out = append(out, c.decide(l.csv == nil, l.rows-c.places))
	}
	return out
}

// decide returns the field that suits the column, which absent records do not have.
func (c *looked) decide(isJSON bool, absent int) LookedColumn {
	seen, out := *c.profile, c.column
	p := &seen
	p.rows, p.missing = p.rows+absent, p.missing+absent
	in := p.column(false)
	out.Field = record.Field{Name: p.name, Type: in.Type}
	out.Seen, out.Missing, out.Values = in.Seen, in.Missing, p.rows-in.Missing
	times := p.times && p.values() > 0
	switch {
	case times:
		out.Field.Type, out.Seen, out.Missing = record.Time, p.period()+", written as "+layoutName(p.layout), p.missing+p.absences
	case len(p.others) == 1 && p.values() > 0:
		out.Field.Type, out.Field.Layouts = record.Time, slices.Clone(p.others)
		out.Seen = "times, written as " + p.others[0]
	case len(p.others) > 1 && p.values() > 0:
		out.Seen = fmt.Sprintf("times perhaps, but as %s or as %s", p.others[0], p.others[1])
	default:
	}
	if isJSON {
		out.suitJSON(p)
	}
	return out
}

// suitJSON mends what the rules for cells, all of which are texts, do not know about JSON.
func (c *LookedColumn) suitJSON(p *profile) {
	kinds := 0
	for _, n := range []int{c.Numbers, c.Texts, c.Booleans, c.Nested} {
		if n > 0 {
			kinds++
		}
	}
	switch {
	case kinds == 0:
	case c.Nested > 0:
		c.Seen = "objects or arrays, which are no values of a column"
		c.Field = record.Field{Name: c.Field.Name, Type: record.Enum}
	case kinds > 1 && c.Field.Type != record.Numeric:
		c.Seen = "values of several kinds: " + c.kinds()
		c.Field = record.Field{Name: c.Field.Name, Type: record.Enum} // which takes texts, numbers and booleans
	case c.Field.Type == record.Numeric:
		c.Field.Quoted = c.Texts > 0
	case c.Field.Type == record.String && c.Texts == 0:
		c.Field.Type = record.Enum
	case c.Field.Type == record.String && p.numbers && p.values() > 0:
		c.Field.Type, c.Field.Quoted = record.Numeric, true
	default:
	}
}

// kinds counts the values by what they are in JSON, in words.
func (c *LookedColumn) kinds() string {
	var parts []string
	for _, k := range []struct {
		n    int
		word string
	}{{c.Numbers, "number"}, {c.Texts, "text"}, {c.Booleans, "boolean"}, {c.Nested, "object or array"}} {
		if k.n > 0 {
			parts = append(parts, plural(k.n, k.word))
		}
	}
	return strings.Join(parts, ", ")
}

// Kinds says in words how many values are numbers, texts, booleans and nested, if a JSON column has values of more than one
// of these; else it is "".
func (c *LookedColumn) Kinds() string {
	if s := c.kinds(); strings.Contains(s, ", ") {
		return s
	}
	return ""
}

// layoutName is a layout as people know it.
func layoutName(layout string) string {
	if layout == time.RFC3339 {
		return "RFC 3339"
	}
	return layout
}
