package streamtest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"millrace.dev/stream"
)

// value is a key or value of a vector: a JSON scalar, or the key of a window. The zero value is null. It is
// comparable, so that it can be the key of tables.
type value struct {
	kind    kind
	text    string // of text, and of a window's key as text
	whole   int64
	decimal float64
	window  bool
	start   int64
	end     int64
}

type kind byte

const (
	null kind = iota
	text
	whole
	decimal
	boolean
)

func textOf(s string) value     { return value{kind: text, text: s} }
func wholeOf(n int64) value     { return value{kind: whole, whole: n} }
func decimalOf(f float64) value { return value{kind: decimal, decimal: f} }

// String returns the value as Java's String.valueOf prints it.
func (v value) String() string {
	s := "null"
	switch v.kind {
	case null:
	case text:
		s = v.text
	case whole:
		s = strconv.FormatInt(v.whole, 10)
	case decimal:
		s = strconv.FormatFloat(v.decimal, 'f', -1, 64)
		if !strings.ContainsAny(s, ".IN") {
			s += ".0"
		}
	case boolean:
		s = strconv.FormatBool(v.whole != 0)
	}
	if v.window {
		s = fmt.Sprintf("[%s@%d/%d]", s, v.start, v.end)
	}
	return s
}

// show returns the value as an error message prints it: text is quoted.
func (v value) show() string {
	if v.kind == text && !v.window {
		return strconv.Quote(v.text)
	}
	return v.String()
}

// number returns the value as a number, of whole or real numbers and of text that is one.
func (v value) number() (value, bool) {
	switch v.kind {
	case null, boolean:
	case whole, decimal:
		return v, true
	case text:
		if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
			return wholeOf(n), true
		}
		if f, err := strconv.ParseFloat(v.text, 64); err == nil {
			return decimalOf(f), true
		}
	}
	return value{}, false
}

// plus adds two numbers; b is subtracted where sign is negative.
func plus(a, b value, sign int64) (value, error) {
	x, ok := a.number()
	y, ok2 := b.number()
	switch {
	case !ok || !ok2:
		return value{}, fmt.Errorf("%s and %s are not both numbers", a.show(), b.show())
	case x.kind == whole && y.kind == whole:
		return wholeOf(x.whole + sign*y.whole), nil
	default:
		return decimalOf(x.float() + float64(sign)*y.float()), nil
	}
}

func (v value) float() float64 {
	if v.kind == whole {
		return float64(v.whole)
	}
	return v.decimal
}

// UnmarshalJSON reads a scalar, or {"windowed":key,"start":s,"end":e}.
func (v *value) UnmarshalJSON(b []byte) error {
	*v = value{}
	switch {
	case string(b) == "null":
		return nil
	case b[0] == '"':
		v.kind = text
		return json.Unmarshal(b, &v.text)
	case string(b) == "true" || string(b) == "false":
		*v = value{kind: boolean}
		if b[0] == 't' {
			v.whole = 1
		}
		return nil
	case b[0] == '{':
		var w struct {
			Windowed *value `json:"windowed"`
			Start    int64  `json:"start"`
			End      int64  `json:"end"`
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&w); err != nil || w.Windowed == nil {
			return fmt.Errorf("%s is not the key of a window: %w", b, err)
		}
		*v = w.Windowed.in(w.Start, w.End)
		return nil
	case b[0] == '[':
		return fmt.Errorf("%s is not a scalar", b)
	}
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		*v = wholeOf(n)
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	*v = decimalOf(f)
	return err
}

// in returns the key of a window.
func (v value) in(start, end int64) value {
	v.window, v.start, v.end = true, start, end
	return v
}

// valueCodec writes a value as its kind and its bytes; null is null.
type valueCodec struct{}

const windowFlag = 0x80

func (valueCodec) Append(dst []byte, v value) ([]byte, error) {
	if v == (value{}) {
		return nil, nil
	}
	if v.window {
		dst = append(dst, byte(v.kind)|windowFlag)
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.start))
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.end))
	} else {
		dst = append(dst, byte(v.kind))
	}
	switch v.kind {
	case text:
		dst = append(dst, v.text...)
	case decimal:
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(v.decimal))
	default:
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.whole))
	}
	return dst, nil
}

func (valueCodec) Decode(b []byte) (v value, err error) {
	if len(b) == 0 {
		return v, errors.New("no bytes")
	}
	v.kind, v.window = kind(b[0]&^windowFlag), b[0]&windowFlag != 0
	b = b[1:]
	if v.window {
		if len(b) < 16 {
			return v, errors.New("too short for a window")
		}
		v.start, v.end = int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
		b = b[16:]
	}
	switch {
	case v.kind == text:
		v.text = string(b)
	case len(b) != 8:
		return v, fmt.Errorf("%d bytes: want 8", len(b))
	case v.kind == decimal:
		v.decimal = math.Float64frombits(binary.BigEndian.Uint64(b))
	default:
		v.whole = int64(binary.BigEndian.Uint64(b))
	}
	return v, nil
}

func values() stream.Codec[value] { return valueCodec{} }
