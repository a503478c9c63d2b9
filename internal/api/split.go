package api

import (
	"bytes"
	"errors"
	"fmt"
)

// mostRecords is how many records a request can have: beyond that what is kept of each would be more than the request itself.
const mostRecords = 1 << 14

// errManyRecords says that a request has too many records.
var errManyRecords = fmt.Errorf("there are more than %d records: send them in several requests", mostRecords)

// The errors of a body that is no list of records. What is wrong with a record is for its decoder to say.
var (
	errNoRecord = errors.New("there is no record")
	errList     = errors.New("want one JSON object, or a list of them: [{...}, {...}]")
)

// isList tells whether a body begins a JSON array.
func isList(body []byte) bool {
	i := skipSpace(body, 0)
	return i < len(body) && body[i] == '['
}

// splitList returns the elements of a JSON array, each without the white space around it. Whether an element is right is not looked
// at: it ends where its brackets are closed.
func splitList(body []byte) ([][]byte, error) {
	i := skipSpace(body, 0)
	if i == len(body) || body[i] != '[' {
		return nil, errList
	}
	var list [][]byte
	i = skipSpace(body, i+1)
	if i < len(body) && body[i] == ']' {
		return list, onlySpace(body, i+1)
	}
	for {
		from := i
		if i = element(body, i); i == from || i == len(body) {
			return nil, errList
		}
		if len(list) == mostRecords {
			return nil, errManyRecords
		}
		list = append(list, bytes.TrimRight(body[from:i], " \t\r\n"))
		switch body[i] {
		case ',':
			i = skipSpace(body, i+1)
		case ']':
			return list, onlySpace(body, i+1)
		default:
			return nil, errList
		}
	}
}

// element returns where the element that begins at i ends: at the comma or the bracket behind it, or where the body does.
func element(body []byte, i int) int {
	depth := 0
	for ; i < len(body); i++ {
		switch body[i] {
		case '"':
			if i = closing(body, i); i == len(body) {
				return i
			}
		case '{', '[':
			depth++
		case '}':
			depth--
		case ']':
			if depth--; depth < 0 {
				return i
			}
		case ',':
			if depth <= 0 {
				return i
			}
		}
	}
	return i
}

// closing returns where the quotation mark is that ends the string that begins at i, or the length of the body.
func closing(body []byte, i int) int {
	for i++; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(body)
}

// splitLines returns the lines of a body that are not blank, each without its end.
func splitLines(body []byte) ([][]byte, error) {
	var list [][]byte
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		if skipSpace(line, 0) == len(line) {
			continue
		}
		if len(list) == mostRecords {
			return nil, errManyRecords
		}
		list = append(list, line)
	}
	return list, nil
}

// skipSpace returns where the white space of JSON ends that begins at i.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// onlySpace wants nothing but white space from i on.
func onlySpace(b []byte, i int) error {
	if skipSpace(b, i) < len(b) {
		return errors.New("something follows the list of records")
	}
	return nil
}
