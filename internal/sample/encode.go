package sample

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"millrace.dev/feature"
	"millrace.dev/record"
)

// Version is the version of the format.
const Version = 1

// Encoder writes the samples of one model. It does not change, and is safe for concurrent use.
type Encoder struct {
	model, digest string
	tables        []feature.Table
	windows       []feature.WindowInfo
}

// NewEncoder returns an encoder for a model: what it is called, the digest of its bundle, and its plan.
func NewEncoder(model, digest string, p *feature.Plan) *Encoder {
	return &Encoder{model: model, digest: digest, tables: p.Tables(), windows: p.Windows()}
}

// Taken is what was known of a record.
type Taken struct {
	Record    *record.Raw // as it came; Value nil is null
	EventTime int64       // microseconds since 1970, or record.MissingTime
	Lookups   []Lookup
	Windows   [][]float64   // a list for each aggregate, in the plan's order; empty where there is none
	Frame     *record.Frame // the inputs of a batch
	Row       int           // the record's in Windows and Frame
	// Prediction is the prediction.
	Prediction float64
}

// Append appends the JSON text of a sample.
func (e *Encoder) Append(dst []byte, t *Taken) []byte {
	r := t.Record
	dst = append(dst, `{"version":`...)
	dst = strconv.AppendInt(dst, Version, 10)
	dst = appendText(append(dst, `,"topic":`...), r.Topic)
	dst = strconv.AppendInt(append(dst, `,"partition":`...), int64(r.Partition), 10)
	dst = strconv.AppendInt(append(dst, `,"offset":`...), r.Offset, 10)
	dst = appendBytes(dst, "key", r.Key)
	dst = strconv.AppendInt(append(dst, `,"timestamp":`...), r.Timestamp, 10)
	dst = append(dst, `,"event_time":`...)
	if t.EventTime == record.MissingTime {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, t.EventTime/1000, 10) // it is whole milliseconds
	}
	dst = appendText(append(dst, `,"model":`...), e.model)
	dst = appendText(append(dst, `,"digest":`...), e.digest)
	dst = appendBytes(dst, "value", r.Value)
	dst = e.appendLookups(dst, t.Lookups)
	dst = e.appendWindows(dst, t)
	dst = appendInputs(dst, t.Frame, t.Row)
	dst = appendNumber(append(dst, `,"prediction":`...), t.Prediction)
	return append(dst, '}')
}

func (e *Encoder) appendLookups(dst []byte, lookups []Lookup) []byte {
	dst = append(dst, `,"lookups":[`...)
	for k := range lookups {
		l := &lookups[k]
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"table":`...), e.tables[l.Table].Name)
		dst = appendText(append(dst, `,"key":`...), l.Key)
		dst = append(dst, `,"row":`...)
		if l.Row == nil {
			dst = append(dst, "null}"...)
		} else {
			dst = append(appendRow(dst, e.tables[l.Table].Schema, l.Row), '}')
		}
	}
	return append(dst, ']')
}

func appendRow(dst []byte, s *record.Schema, row *record.Row) []byte {
	dst = append(dst, '{')
	for f := range s.Len() {
		if f > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, s.Field(f).Name), ':')
		slot := s.Slot(f)
		switch s.Field(f).Type {
		case record.Numeric:
			dst = appendNumber(dst, row.Numbers[slot])
		case record.Time:
			if at := row.Times[slot]; at == record.MissingTime {
				dst = append(dst, "null"...)
			} else {
				dst = strconv.AppendInt(dst, at, 10)
			}
		case record.Enum, record.String:
			if x := row.Texts[slot]; x.OK {
				dst = appendText(dst, x.S)
			} else {
				dst = append(dst, "null"...)
			}
		}
	}
	return append(dst, '}')
}

func (e *Encoder) appendWindows(dst []byte, t *Taken) []byte {
	dst = append(dst, `,"windows":{`...)
	column := 0
	for k := range e.windows {
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, e.windows[k].Name), ":{"...)
		for a := range e.windows[k].Aggregates {
			if a > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendText(dst, e.windows[k].Aggregates[a].Name), ':')
			x := math.NaN()
			if column < len(t.Windows) {
				x = t.Windows[column][t.Row]
			}
			dst = appendNumber(dst, x)
			column++
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendInputs(dst []byte, frame *record.Frame, i int) []byte {
	dst = append(dst, `,"inputs":{`...)
	for k := range frame.Columns {
		c := &frame.Columns[k]
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, c.Name), ':')
		switch {
		case c.Type != record.Enum:
			dst = appendNumber(dst, c.Numbers[i])
		case c.Codes[i] < 0:
			dst = append(dst, "null"...)
		default:
			dst = appendText(dst, c.Levels[c.Codes[i]])
		}
	}
	return append(dst, '}')
}

// The texts of the numbers that JSON does not have.
const (
	infinite         = "Infinity"
	negativeInfinite = "-Infinity"
)

// appendNumber appends the shortest text that reads back as x, bit for bit; NaN is missing.
func appendNumber(dst []byte, x float64) []byte {
	switch {
	case x != x:
		return append(dst, "null"...)
	case math.IsInf(x, 1):
		return append(dst, `"`+infinite+`"`...)
	case math.IsInf(x, -1):
		return append(dst, `"`+negativeInfinite+`"`...)
	}
	return strconv.AppendFloat(dst, x, 'g', -1, 64)
}

// appendBytes appends a member with bytes: as text where they are UTF-8, so that people can read them, and in base64
// elsewhere. Null is left out.
func appendBytes(dst []byte, name string, b []byte) []byte {
	switch {
	case b == nil:
		return dst
	case utf8.Valid(b):
		dst = append(append(append(dst, `,"`...), name...), `":`...)
		return appendText(dst, string(b))
	default:
		dst = append(append(append(dst, `,"`...), name...), `_base64":"`...)
		return append(base64.StdEncoding.AppendEncode(dst, b), '"')
	}
}

// appendText appends s as a JSON string. Characters that mean something in HTML stay as they are.
func appendText(dst []byte, s string) []byte {
	if plain(s) {
		return append(append(append(dst, '"'), s...), '"')
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text can always be written
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// plain tells whether a text stands in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
