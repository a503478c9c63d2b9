package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// appendJSON appends the one JSON text that a bundle has for v: the fields in the order of their declaration,
// no white space, strings escaped only where JSON demands it. Texts are written here and not by encoding/json,
// whose choice of escapes has changed between releases of Go; v holds valid UTF-8.
func appendJSON(dst []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	for len(text) > 0 {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			return append(dst, text...), nil
		}
		dst = append(dst, text[:i]...)
		n := literal(text[i:])
		var s string
		if err := json.Unmarshal(text[i:i+n], &s); err != nil {
			return nil, err
		}
		dst, text = appendString(dst, s), text[i+n:]
	}
	return dst, nil
}

// literal returns the length of the JSON string that b begins with.
func literal(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// encodeJSON returns the content of a section that holds v.
func encodeJSON(v any) ([]byte, error) {
	b, err := appendJSON(nil, v)
	return append(b, '\n'), err
}

// decodeJSON reads one JSON text into v, and takes no fields that v does not have.
func decodeJSON(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return plain(err)
	}
	return nil
}

// decodeList reads a JSON array of at most limit values of type T; it holds no more than that in memory.
func decodeList[T any](data []byte, limit int) ([]T, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New("not a list")
	}
	rows := []T{}
	for d.More() {
		if len(rows) == limit {
			return nil, fmt.Errorf("more than %d", limit)
		}
		var r T
		if err := d.Decode(&r); err != nil {
			return nil, plain(err)
		}
		rows = append(rows, r)
	}
	if _, err := d.Token(); err != nil {
		return nil, plain(err)
	}
	return rows, nil
}

// plain names the end of the text what it is.
func plain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON text is cut off")
	}
	return err
}
