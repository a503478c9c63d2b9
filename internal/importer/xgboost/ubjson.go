package xgboost

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"millrace.dev/internal/importer"
)

// UBJSON, as far as XGBoost writes it: values have a letter for their type, numbers are big-endian, texts and lists have a
// length that is itself a number with its letter, and lists of numbers may give the type once ($) before the count (#).

// isBinary tells UBJSON from JSON: the name of the first member has the letter of its length before it.
func isBinary(data []byte) bool {
	return len(data) > 1 && data[0] == '{' && (data[1] == 'L' || data[1] == 'l' || data[1] == 'I' || data[1] == 'i' || data[1] == 'U')
}

var errShort = errors.New("the file ends too early")

// transcoder writes UBJSON as JSON.
type transcoder struct {
	rest []byte
	out  []byte
}

// maxDepth is how deep values may be inside one another.
const maxDepth = 64

func toJSON(data []byte) ([]byte, error) {
	t := &transcoder{rest: data}
	if err := t.value(0); err != nil {
		return nil, fmt.Errorf("at byte %d: %w", len(data)-len(t.rest), err)
	}
	if len(t.rest) > 0 {
		return nil, fmt.Errorf("%d bytes past the end", len(t.rest))
	}
	return t.out, nil
}

func (t *transcoder) take(n int64) ([]byte, error) {
	if n < 0 || n > int64(len(t.rest)) {
		return nil, errShort
	}
	b := t.rest[:n]
	t.rest = t.rest[n:]
	return b, nil
}

func (t *transcoder) letter() (byte, error) {
	b, err := t.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// width returns how many bytes a number takes; 0 is no number.
func width(letter byte) int64 {
	switch letter {
	case 'i', 'U':
		return 1
	case 'I':
		return 2
	case 'l', 'd':
		return 4
	case 'L', 'D':
		return 8
	default:
		return 0
	}
}

func integer(letter byte, b []byte) int64 {
	switch letter {
	case 'i':
		return int64(int8(b[0]))
	case 'U':
		return int64(b[0])
	case 'I':
		return int64(int16(binary.BigEndian.Uint16(b)))
	case 'l':
		return int64(int32(binary.BigEndian.Uint32(b)))
	default:
		return int64(binary.BigEndian.Uint64(b))
	}
}

// number appends a number.
func (t *transcoder) number(letter byte) error {
	b, err := t.take(width(letter))
	if err != nil {
		return err
	}
	if len(t.out) > importer.MaxBytes {
		return fmt.Errorf("it is larger than %d bytes as JSON", importer.MaxBytes)
	}
	var x float64
	bits := 64
	switch letter {
	case 'd':
		x, bits = float64(math.Float32frombits(binary.BigEndian.Uint32(b))), 32
	case 'D':
		x = math.Float64frombits(binary.BigEndian.Uint64(b))
	default:
		t.out = strconv.AppendInt(t.out, integer(letter, b), 10)
		return nil
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("the number %v", x)
	}
	t.out = strconv.AppendFloat(t.out, x, 'g', -1, bits)
	return nil
}

// length reads a length.
func (t *transcoder) length() (int64, error) {
	letter, err := t.letter()
	if err != nil {
		return 0, err
	}
	if letter == 'd' || letter == 'D' || width(letter) == 0 {
		return 0, fmt.Errorf("a length of type %q", letter)
	}
	b, err := t.take(width(letter))
	if err != nil {
		return 0, err
	}
	return integer(letter, b), nil
}

func (t *transcoder) text() error {
	n, err := t.length()
	if err != nil {
		return err
	}
	b, err := t.take(n)
	if err != nil {
		return err
	}
	s, err := json.Marshal(string(b))
	t.out = append(t.out, s...)
	return err
}

func (t *transcoder) value(depth int) error {
	letter, err := t.letter()
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("values are more than %d deep", maxDepth)
	}
	switch letter {
	case 'S':
		return t.text()
	case 'T':
		t.out = append(t.out, "true"...)
	case 'F':
		t.out = append(t.out, "false"...)
	case 'Z':
		t.out = append(t.out, "null"...)
	case '[':
		return t.list(depth)
	case '{':
		return t.object(depth)
	default:
		if width(letter) == 0 {
			return fmt.Errorf("a value of type %q", letter)
		}
		return t.number(letter)
	}
	return nil
}

// next looks at the next letter without taking it.
func (t *transcoder) next() byte {
	if len(t.rest) == 0 {
		return 0
	}
	return t.rest[0]
}

func (t *transcoder) object(depth int) error {
	t.out = append(t.out, '{')
	for first := true; t.next() != '}'; first = false {
		if !first {
			t.out = append(t.out, ',')
		}
		if err := t.text(); err != nil {
			return err
		}
		t.out = append(t.out, ':')
		if err := t.value(depth + 1); err != nil {
			return err
		}
	}
	t.rest = t.rest[1:]
	t.out = append(t.out, '}')
	return nil
}

// list appends a list: of a type and a count, of a count, or up to its end.
func (t *transcoder) list(depth int) error {
	t.out = append(t.out, '[')
	var kind byte
	count := int64(-1)
	if t.next() == '$' {
		b, err := t.take(2)
		if err != nil {
			return err
		}
		if kind = b[1]; width(kind) == 0 || t.next() != '#' {
			return fmt.Errorf("a list of type %q", kind)
		}
	}
	if t.next() == '#' {
		t.rest = t.rest[1:]
		var err error
		if count, err = t.length(); err != nil {
			return err
		}
		if count < 0 || count > int64(len(t.rest)) { // a value takes a byte or more
			return errShort
		}
	}
	for i := int64(0); i != count && (count >= 0 || t.next() != ']'); i++ {
		if i > 0 {
			t.out = append(t.out, ',')
		}
		var err error
		if kind != 0 {
			err = t.number(kind)
		} else {
			err = t.value(depth + 1)
		}
		if err != nil {
			return err
		}
	}
	if count < 0 {
		t.rest = t.rest[1:]
	}
	t.out = append(t.out, ']')
	return nil
}
