package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"millrace.dev/feature"
	"millrace.dev/record"
)

// This file has what golden rows are made of: values, rows of tables, and how they are written.

// Kind is the kind of a [Value].
type Kind uint8

// The kinds of a value.
const (
	// Missing is a value that is not there, or an enum level that training has not seen.
	Missing Kind = iota
	// Number is the value of a numeric input.
	Number
	// Level is the value of an enum input, or a text of a table.
	Level
	// Instant is a time of a table.
	Instant
)

// Value is the value of one input of the model. Two values are the same when they are ==.
type Value struct {
	Kind  Kind
	Bits  uint64 // of a Number: its IEEE 754 bits, as math.Float64bits gives them; of an Instant: microseconds since 1970
	Level string // of a Level: its text
}

// String shows a value with its bits.
func (v Value) String() string {
	switch v.Kind {
	case Missing:
		return "missing"
	case Number:
		return showNumber(math.Float64frombits(v.Bits))
	case Level:
		return "level " + strconv.Quote(v.Level)
	case Instant:
		return time.UnixMicro(int64(v.Bits)).UTC().Format(time.RFC3339Nano)
	default:
		return fmt.Sprintf("Kind(%d)", uint8(v.Kind))
	}
}

func showNumber(x float64) string { return fmt.Sprintf("%v (bits %016x)", x, math.Float64bits(x)) }

// NewNumber returns a number as a value; NaN is missing.
func NewNumber(x float64) Value {
	if math.IsNaN(x) {
		return Value{}
	}
	return Value{Kind: Number, Bits: math.Float64bits(x)}
}

// Float returns the number that v is, or NaN.
func (v Value) Float() float64 {
	if v.Kind != Number {
		return math.NaN()
	}
	return math.Float64frombits(v.Bits)
}

func (v Value) check(c *record.Column) error {
	switch v.Kind {
	case Missing:
		if v != (Value{}) {
			return errors.New("a missing value with a value")
		}
	case Number:
		if c.Type != record.Numeric || v.Level != "" || math.IsNaN(math.Float64frombits(v.Bits)) {
			return errors.New("not a number of a numeric input")
		}
	case Level:
		if c.Type != record.Enum || v.Bits != 0 {
			return errors.New("not a level of an enum input")
		}
		return checkTexts(v.Level)
	default:
		return fmt.Errorf("no such kind of value: %d", v.Kind)
	}
	return nil
}

// GoldenTableRow is a row of a table as a golden row has it.
type GoldenTableRow struct {
	Table string
	Key   string
	// Cells has a value for each column of the table's schema: a Number, a Level for a text, an Instant, or Missing.
	Cells []Value
}

// NewGoldenTableRow returns what a golden row keeps of a row.
func NewGoldenTableRow(t feature.Table, key string, row *record.Row) GoldenTableRow {
	g := GoldenTableRow{Table: t.Name, Key: strings.Clone(key)}
	for f := range t.Schema.Len() {
		v, slot := Value{}, t.Schema.Slot(f)
		switch t.Schema.Field(f).Type {
		case record.Numeric:
			v = NewNumber(row.Numbers[slot])
		case record.Time:
			if at := row.Times[slot]; at != record.MissingTime {
				v = Value{Kind: Instant, Bits: uint64(at)}
			}
		case record.Enum, record.String:
			if x := row.Texts[slot]; x.OK {
				v = Value{Kind: Level, Level: x.S}
			}
		}
		g.Cells = append(g.Cells, v)
	}
	return g
}

// Row returns the row. The cells are those of a checked golden row.
func (g *GoldenTableRow) Row(s *record.Schema) *record.Row {
	r := &record.Row{}
	for f := range s.Len() {
		v := g.Cells[f]
		switch s.Field(f).Type {
		case record.Numeric:
			r.Numbers = append(r.Numbers, v.Float())
		case record.Time:
			at := record.MissingTime
			if v.Kind == Instant {
				at = int64(v.Bits)
			}
			r.Times = append(r.Times, at)
		case record.Enum, record.String:
			r.Texts = append(r.Texts, record.Text{S: v.Level, OK: v.Kind == Level})
		}
	}
	return r
}

// check wants a row of one of the tables of a plan.
func (g *GoldenTableRow) check(tables []feature.Table) error {
	i := slices.IndexFunc(tables, func(t feature.Table) bool { return t.Name == g.Table })
	if i < 0 || len(g.Cells) != tables[i].Schema.Len() {
		return fmt.Errorf("a row of a table %q that the plan does not have so", g.Table)
	}
	for f, v := range g.Cells {
		want := Level
		switch tables[i].Schema.Field(f).Type {
		case record.Numeric:
			want = Number
		case record.Time:
			want = Instant
		case record.Enum, record.String:
		}
		if v.Kind != Missing && v.Kind != want {
			return fmt.Errorf("a row of the table %q: %s", g.Table, v)
		}
	}
	return checkTexts(g.Key)
}

// goldenJSON is a golden row in a file. The value is text where it is UTF-8, so that people can read it, and
// base64 elsewhere.
type goldenJSON struct {
	Text       *string      `json:"text,omitempty"`
	Base64     *[]byte      `json:"base64,omitempty"`
	Features   []*valueJSON `json:"features,omitempty"`
	Prediction *string      `json:"prediction,omitempty"`
	Rejected   *Rejection   `json:"rejected,omitempty"`
	Rows       []rowJSON    `json:"rows,omitempty"`
	Windows    []*valueJSON `json:"windows,omitempty"`
}

type rowJSON struct {
	Table string       `json:"table"`
	Key   string       `json:"key"`
	Cells []*valueJSON `json:"cells"`
}

type valueJSON struct {
	Bits    *string `json:"bits,omitempty"`
	Level   *string `json:"level,omitempty"`
	Instant *int64  `json:"time,omitempty"`
}

// MarshalJSON writes the row as docs/formats/bundle.md says.
func (g GoldenRow) MarshalJSON() ([]byte, error) {
	j := goldenJSON{Rejected: g.Rejected}
	switch {
	case g.Value == nil:
	case utf8.Valid(g.Value):
		s := string(g.Value)
		j.Text = &s
	default:
		j.Base64 = &g.Value
	}
	if g.Rejected == nil {
		bits := formatBits(math.Float64bits(g.Prediction))
		j.Prediction = &bits
	}
	j.Features, j.Windows = valuesJSON(g.Features), valuesJSON(g.Windows)
	for i := range g.Rows {
		r := &g.Rows[i]
		j.Rows = append(j.Rows, rowJSON{r.Table, r.Key, valuesJSON(r.Cells)})
	}
	return json.Marshal(j)
}

func valuesJSON(values []Value) []*valueJSON {
	var out []*valueJSON
	for _, v := range values {
		var j *valueJSON
		switch v.Kind {
		case Number:
			bits := formatBits(v.Bits)
			j = &valueJSON{Bits: &bits}
		case Level:
			j = &valueJSON{Level: &v.Level}
		case Instant:
			at := int64(v.Bits)
			j = &valueJSON{Instant: &at}
		default:
		}
		out = append(out, j)
	}
	return out
}

func readValues(list []*valueJSON) ([]Value, error) {
	var out []Value
	for _, j := range list {
		v, err := j.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// UnmarshalJSON reads what [GoldenRow.MarshalJSON] wrote.
func (g *GoldenRow) UnmarshalJSON(b []byte) error {
	var j goldenJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*g = GoldenRow{Rejected: j.Rejected}
	switch {
	case j.Text != nil:
		g.Value = []byte(*j.Text)
	case j.Base64 != nil:
		g.Value = *j.Base64
	}
	if j.Prediction != nil {
		bits, err := parseBits(*j.Prediction)
		if err != nil {
			return err
		}
		g.Prediction = math.Float64frombits(bits)
	}
	var err error
	if g.Features, err = readValues(j.Features); err != nil {
		return err
	}
	if g.Windows, err = readValues(j.Windows); err != nil {
		return err
	}
	for _, r := range j.Rows {
		cells, err := readValues(r.Cells)
		if err != nil {
			return err
		}
		g.Rows = append(g.Rows, GoldenTableRow{r.Table, r.Key, cells})
	}
	return nil
}

func (j *valueJSON) value() (Value, error) {
	switch {
	case j == nil:
		return Value{}, nil
	case j.Level != nil:
		return Value{Kind: Level, Level: *j.Level}, nil
	case j.Instant != nil:
		return Value{Kind: Instant, Bits: uint64(*j.Instant)}, nil
	case j.Bits != nil:
		bits, err := parseBits(*j.Bits)
		return Value{Kind: Number, Bits: bits}, err
	default:
		return Value{}, errors.New("a feature is null, or has bits or a level")
	}
}

func formatBits(bits uint64) string { return fmt.Sprintf("%016x", bits) }

func parseBits(s string) (uint64, error) {
	bits, err := strconv.ParseUint(s, 16, 64)
	if err != nil || formatBits(bits) != s {
		return 0, errors.New("bits are 16 hexadecimal digits")
	}
	return bits, nil
}
