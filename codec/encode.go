package codec

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// JSONEncoder splices the prediction into a JSON object as its last field.
type JSONEncoder struct {
	member []byte // `"field":`
}

var _ Encoder = (*JSONEncoder)(nil)

// NewJSONEncoder returns an encoder that adds the prediction as the given field, which must be UTF-8 text
// that is not empty.
func NewJSONEncoder(field string) (*JSONEncoder, error) {
	if field == "" || !utf8.ValidString(field) {
		return nil, fmt.Errorf("codec: the prediction's field %q: want UTF-8 text that is not empty", field)
	}
	return &JSONEncoder{member: append(appendQuoted(nil, field), ':')}, nil
}

// Encode implements [Encoder]. The field goes right before the closing brace; every byte of value is kept,
// white space too.
func (e *JSONEncoder) Encode(dst, value []byte, prediction float64) []byte {
	end := bytes.LastIndexByte(value, '}')
	if end < 0 {
		panic("codec: the value is no JSON object, so no decoder has accepted it")
	}
	dst = append(dst, value[:end]...)
	last := end - 1
	for last > 0 && value[last] <= ' ' {
		last--
	}
	if value[last] != '{' { // an opening brace right here can only be the object's own
		dst = append(dst, ',')
	}
	dst = append(dst, e.member...)
	dst = AppendFloat(dst, prediction)
	return append(dst, value[end:]...)
}

// CSVEncoder adds the prediction to a CSV row as its last cell.
type CSVEncoder struct {
	comma byte
}

var _ Encoder = (*CSVEncoder)(nil)

// NewCSVEncoder returns an encoder for rows whose cells are separated by comma; 0 is ','.
func NewCSVEncoder(comma byte) (*CSVEncoder, error) {
	comma, err := checkComma(comma)
	if err != nil {
		return nil, err
	}
	return &CSVEncoder{comma: comma}, nil
}

// Encode implements [Encoder]. The cell goes to the end of the row, before its line end if value has one.
func (e *CSVEncoder) Encode(dst, value []byte, prediction float64) []byte {
	row := withoutLineEnd(value)
	dst = append(append(dst, row...), e.comma)
	dst = AppendFloat(dst, prediction)
	return append(dst, value[len(row):]...)
}

// checkComma returns the separator that an option asks for: a tab, a blank or an ASCII sign that is no part
// of a number.
func checkComma(comma byte) (byte, error) {
	alphanumeric := comma-'0' <= 9 || comma|0x20 >= 'a' && comma|0x20 <= 'z'
	switch {
	case comma == 0:
		return ',', nil
	case comma < ' ' && comma != '\t', comma >= 0x7F, alphanumeric, comma == '"', comma == '.', comma == '-', comma == '+':
		return 0, fmt.Errorf("codec: the separator of cells %q: want a tab, a blank or an ASCII sign other than \" . - +", rune(comma))
	}
	return comma, nil
}

// withoutLineEnd returns row without the \n or \r\n at its end, if there is one.
func withoutLineEnd(row []byte) []byte {
	n := len(row)
	if n > 0 && row[n-1] == '\n' {
		n--
		if n > 0 && row[n-1] == '\r' {
			n--
		}
	}
	return row[:n]
}
