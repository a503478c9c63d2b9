package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Type is the type of a field: one of the four that a pipeline file declares.
type Type uint8

// The types of a field.
const (
	// Numeric is a float64; NaN is missing.
	Numeric Type = iota + 1
	// Enum is one level of a small set of texts, held as a code of a [Dict]; [MissingCode] is missing.
	Enum
	// Time is an instant, held as microseconds since 1970-01-01 00:00:00 UTC; [MissingTime] is missing.
	Time
	// String is UTF-8 text, held in a [Texts] column.
	String
)

// String returns the name of t as a pipeline file spells it.
func (t Type) String() string {
	switch t {
	case Numeric:
		return "numeric"
	case Enum:
		return "enum"
	case Time:
		return "time"
	case String:
		return "string"
	default:
		return fmt.Sprintf("Type(%d)", uint8(t))
	}
}

// MarshalText returns the name of t; an unknown type is an error.
func (t Type) MarshalText() ([]byte, error) {
	if t < Numeric || t > String {
		return nil, fmt.Errorf("record: no such type: %d", uint8(t))
	}
	return []byte(t.String()), nil
}

// UnmarshalText sets t to the type that text names.
func (t *Type) UnmarshalText(text []byte) error {
	for c := Numeric; c <= String; c++ {
		if c.String() == string(text) {
			*t = c
			return nil
		}
	}
	return fmt.Errorf("record: no such type: %q: want numeric, enum, time or string", text)
}

// The layouts of a time field that are not layouts of package time: a number (or a text of digits) that counts from
// 1970-01-01 00:00:00 UTC on. [LayoutUnixDay] counts dates: it stands for the beginning of that day in the field's zone.
const (
	LayoutUnix      = "unix"     // seconds
	LayoutUnixMilli = "unix_ms"  // milliseconds
	LayoutUnixMicro = "unix_us"  // microseconds
	LayoutUnixDay   = "unix_day" // days, without a fraction
)

// IsCount tells whether layout is one of those that are numbers.
func IsCount(layout string) bool {
	switch layout {
	case LayoutUnix, LayoutUnixMilli, LayoutUnixMicro, LayoutUnixDay:
		return true
	default:
		return false
	}
}

// DefaultLayouts are the layouts of a time field that declares none: ISO 8601 with a zone, without one,
// and a date alone.
func DefaultLayouts() []string {
	return []string{time.RFC3339, time.DateTime, time.DateOnly}
}

// Field is one declared field of a record.
type Field struct {
	// Name is the field's name, as it stands in a JSON object or a CSV header. It is not empty.
	Name string `json:"name"`
	// Type is the field's type.
	Type Type `json:"type"`
	// Layouts are the accepted forms of a time field, tried in order, in the notation of package time, or
	// one of the Layout constants. Default: [DefaultLayouts].
	Layouts []string `json:"layouts,omitempty"`
	// Zone is the IANA name of the time zone of the layouts that carry none. Default: UTC.
	Zone string `json:"zone,omitempty"`
	// Quoted allows a numeric field of a JSON record to be a string that holds a JSON number.
	Quoted bool `json:"quoted,omitempty"`
	// Required makes a record without the field, or with a null there, a dead letter.
	Required bool `json:"required,omitempty"`
}

// MaxFields is the largest number of fields of a schema.
const MaxFields = 4096

// Schema is an ordered set of fields. It is immutable and safe for concurrent use.
type Schema struct {
	fields []Field
	index  map[string]int
	slots  []int  // by field: its position in the slice of a Row
	counts [3]int // of the numeric, time and text fields
}

// NewSchema returns the schema of fields in the given order. Every fault is reported, joined in one error.
func NewSchema(fields ...Field) (*Schema, error) {
	if len(fields) == 0 {
		return nil, errors.New("record: a schema needs at least one field")
	}
	if len(fields) > MaxFields {
		return nil, fmt.Errorf("record: %d fields: a schema holds at most %d", len(fields), MaxFields)
	}
	s := &Schema{fields: slices.Clone(fields), index: make(map[string]int, len(fields))}
	var errs []error
	for i := range s.fields {
		f := &s.fields[i]
		f.Layouts = slices.Clone(f.Layouts)
		if _, dup := s.index[f.Name]; dup {
			errs = append(errs, fmt.Errorf("record: field %q is declared twice", f.Name))
		}
		s.index[f.Name] = i
		errs = append(errs, f.validate()...)
		kind := 2
		switch f.Type {
		case Numeric:
			kind = 0
		case Time:
			kind = 1
		case Enum, String:
		}
		s.slots = append(s.slots, s.counts[kind])
		s.counts[kind]++
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func (f *Field) validate() []error {
	var errs []error
	if f.Name == "" || !utf8.ValidString(f.Name) {
		errs = append(errs, fmt.Errorf("record: field name %q: want UTF-8 text that is not empty", f.Name))
	}
	if f.Type < Numeric || f.Type > String {
		errs = append(errs, fmt.Errorf("record: field %q has no type", f.Name))
	}
	if f.Type != Time && (len(f.Layouts) > 0 || f.Zone != "") {
		errs = append(errs, fmt.Errorf("record: field %q: only a time field has layouts and a zone", f.Name))
	}
	if f.Type == Time && len(f.Layouts) == 0 {
		f.Layouts = DefaultLayouts()
	}
	if f.Type != Numeric && f.Quoted {
		errs = append(errs, fmt.Errorf("record: field %q: only a numeric field can be quoted", f.Name))
	}
	if f.Zone != "" {
		if _, err := time.LoadLocation(f.Zone); err != nil {
			errs = append(errs, fmt.Errorf("record: field %q: %w", f.Name, err))
		}
	}
	return errs
}

// Len returns the number of fields.
func (s *Schema) Len() int { return len(s.fields) }

// Field returns field i; its slices must not be changed.
func (s *Schema) Field(i int) Field { return s.fields[i] }

// Index returns the position of the field called name, and whether there is one.
func (s *Schema) Index(name string) (int, bool) {
	i, ok := s.index[name]
	return i, ok
}

// MarshalJSON writes the fields as an array, in order.
func (s *Schema) MarshalJSON() ([]byte, error) { return json.Marshal(s.fields) }

// UnmarshalJSON reads what [Schema.MarshalJSON] wrote, with the checks of [NewSchema].
func (s *Schema) UnmarshalJSON(b []byte) error {
	var fields []Field
	if err := json.Unmarshal(b, &fields); err != nil {
		return fmt.Errorf("record: schema: %w", err)
	}
	n, err := NewSchema(fields...)
	if err != nil {
		return err
	}
	*s = *n
	return nil
}
