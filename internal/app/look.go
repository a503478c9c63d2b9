package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// How much of data is looked at to decide what its columns are, and how much of that is decoded to see whether a schema fits.
const (
	lookRows  = 50_000
	lookBytes = 64 << 20
	tryRows   = 2000
)

// look is what was seen of the first records of data.
type look struct {
	data    *source.Source
	columns []config.LookedColumn
	rows    int // that were looked at
	bad     int // of them, which are no records at all
	faults  map[string]int
	first   [][]byte // records that are some
}

// lookAt looks at the first records of data.
func lookAt(ctx context.Context, data *source.Source, maxBytes int) (*look, error) {
	header := data.Columns()
	if data.Format() != pipeline.CSV {
		header = nil
	}
	in, err := config.NewLook(header, maxBytes)
	if err != nil {
		return nil, &source.DataError{Path: data.Name(), Err: err}
	}
	l, size := &look{data: data, faults: map[string]int{}}, 0
	err = eachBatch(ctx, data, func(b *record.Batch) error {
		for i := range b.Len() {
			p, value := b.Problem(i), b.Raw(i).Value
			if p == nil {
				p = in.Add(value)
			}
			l.rows++
			if size += len(value); p != nil {
				l.bad++
				l.faults[p.Class]++
			} else if len(l.first) < tryRows {
				l.first = append(l.first, value)
			}
		}
		if l.rows >= lookRows || size >= lookBytes {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	switch {
	case l.rows == 0:
		return nil, &source.DataError{Path: data.Name(), Err: errors.New("it has no records")}
	case l.bad == l.rows:
		return nil, &source.DataError{
			Path: data.Name(), Err: fmt.Errorf("none of its first %d records can be decoded (%s)", l.rows, tallyClasses(l.faults)),
			Hint: "see whether the name of the file says what is in it, and what its first lines are",
		}
	}
	l.columns = in.Columns()
	return l, nil
}

func tallyClasses(by map[string]int) string {
	var parts []string
	for class, n := range by {
		parts = append(parts, fmt.Sprintf("%d: %s", n, class))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// column returns what was seen of a column.
func (l *look) column(name string) (*config.LookedColumn, bool) {
	i := slices.IndexFunc(l.columns, func(c config.LookedColumn) bool { return c.Field.Name == name })
	if i < 0 {
		return nil, false
	}
	return &l.columns[i], true
}

// inferred returns the fields that suit the data. Columns of objects and arrays have none.
func (l *look) inferred() []record.Field {
	var out []record.Field
	for _, c := range l.columns {
		if c.Nested < c.Values || c.Values == 0 {
			out = append(out, c.Field)
		}
	}
	return out
}

// alike returns the fields of the data that have the kinds of a profile where they can, for data beside which the data is seen.
func (l *look) alike(of *profile.Profile) []record.Field {
	out := l.inferred()
	for i := range out {
		c, ok := of.Column(out[i].Name)
		f, name := &out[i], out[i].Name
		if !ok {
			continue
		}
		switch {
		case c.Kind == profile.Number && f.Type != record.Numeric:
			seen, _ := l.column(name)
			*f = record.Field{Name: name, Type: record.Numeric, Quoted: seen.Texts > 0}
		case c.Kind == profile.Level:
			*f = record.Field{Name: name, Type: record.Enum}
		case c.Kind == profile.Text && f.Type != record.String:
			*f = record.Field{Name: name, Type: record.String}
		case c.Kind == profile.Time && f.Type != record.Time:
			*f = record.Field{Name: name, Type: record.Time}
		}
	}
	return out
}

// fit returns a schema of the declared fields that the data has, in which fields that most of the data does not fit have the
// types that were inferred, and the names of these. No field is required: what is missing is to be counted.
func (l *look) fit(declared []record.Field, maxBytes int) (s *record.Schema, changed []string, err error) {
	fields := slices.Clone(declared)
	for i := range fields {
		fields[i].Required = false
	}
	fields = slices.DeleteFunc(fields, func(f record.Field) bool { // in another case it is another column, which decoders refuse
		_, has := l.column(f.Name)
		return !has && slices.ContainsFunc(l.columns, func(c config.LookedColumn) bool { return strings.EqualFold(c.Field.Name, f.Name) })
	})
	if !slices.ContainsFunc(fields, func(f record.Field) bool { _, has := l.column(f.Name); return has }) {
		return nil, nil, &source.DataError{
			Path: l.data.Name(), Err: errors.New("it has none of the declared columns: its columns are " + l.names()),
			Hint: "see whether the pipeline file is of this data, or leave it out: the schema is inferred then",
		}
	}
	for range len(fields) + 1 {
		if s, err = record.NewSchema(fields...); err != nil {
			return nil, nil, err
		}
		unfit, err := l.unfit(s, maxBytes)
		if err != nil {
			return nil, nil, err
		}
		if len(unfit) == 0 {
			break
		}
		for i := range fields {
			name := fields[i].Name
			if c, ok := l.column(name); ok && slices.Contains(unfit, name) {
				if slices.Contains(changed, name) { // what was inferred does not fit either: this takes most
					fields[i] = record.Field{Name: name, Type: record.Enum}
					continue
				}
				fields[i] = c.Field
				changed = append(changed, name)
			}
		}
	}
	return s, changed, nil
}

// names lists the columns of the data.
func (l *look) names() string {
	var names []string
	for _, c := range l.columns {
		names = append(names, c.Field.Name)
	}
	const most = 20
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

// unfit returns the fields whose type more than half of the records do not fit.
func (l *look) unfit(s *record.Schema, maxBytes int) ([]string, error) {
	d, err := pipeline.NewDecoder(s, pipeline.Options{Format: l.data.Format(), Header: l.data.Columns(), MaxBytes: maxBytes})
	if err != nil {
		return nil, &source.DataError{Path: l.data.Name(), Err: err}
	}
	b, faults := record.NewBatch(s, nil), map[string]int{}
	for _, value := range l.first {
		b.Append(record.Raw{Value: value})
	}
	d.Decode(b)
	for i := range b.Len() {
		if p := b.Problem(i); p != nil && ofType(p.Class) {
			faults[p.Field]++
		}
	}
	var out []string
	for name, n := range faults {
		if 2*n > len(l.first) {
			out = append(out, name)
		}
	}
	return out, nil
}

// ofType tells whether a problem is one of a value that its field's type does not allow.
func ofType(class string) bool {
	switch class {
	case codec.ClassWrongType, codec.ClassInvalidNumber, codec.ClassInvalidTime, codec.ClassOutOfRange:
		return true
	default:
		return false
	}
}

// kindOf returns the kind that a field has in a profile.
func kindOf(t record.Type) profile.Kind {
	switch t {
	case record.Numeric:
		return profile.Number
	case record.Time:
		return profile.Time
	case record.Enum:
		return profile.Level
	default:
		return profile.Text
	}
}
