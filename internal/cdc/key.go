package cdc

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// The members of a record's key.
const (
	keySchema = iota
	keyPayload
	keyPrimary // as Maxwell names it
)

// wrapped is the name of a text in an object around it.
const wrapped = "text"

// keyReader makes the text of a row's key.
type keyReader struct {
	section
	column string
	member int  // the span of the column
	exact  bool // the column is a string: its text stands as it is
	plain  bool // the record's key may be a text alone
	buf    []byte

	wrapper *section // of an object around a text alone, which has to be one of JSON
	around  []byte
}

func newKeyReader(o Options) (*keyReader, error) {
	k := &keyReader{column: o.Key, plain: o.Format == FormatUpsert}
	if i, ok := o.Schema.Index(o.Key); ok {
		k.exact = o.Schema.Field(i).Type == record.String
	}
	names := []string{keySchema: "schema", keyPayload: "payload", keyPrimary: "pk." + strings.ToLower(o.Key)}
	names, k.member = withName(names, o.Key)
	outer, err := newSection(o.MaxBytes, names...)
	if err != nil {
		return nil, err
	}
	k.section = *outer
	k.wrapper, err = newSection(0, wrapped)
	return k, err
}

// withName returns names with name among them, and its place.
func withName(names []string, name string) ([]string, int) {
	if i := slices.Index(names, name); i >= 0 {
		return names, i
	}
	return append(names, name), len(names)
}

func (k *keyReader) missing(reason string) *record.Problem {
	return problem(ClassNoKey, k.column, reason)
}

// text returns the key that a column's value stands for. It is valid until the next call.
func (k *keyReader) text(value []byte) ([]byte, *record.Problem) {
	switch c := value[0]; {
	case c == '"':
		k.buf = codec.AppendText(k.buf[:0], value)
		return k.canonical(k.buf), nil
	case c == '{' || c == '[':
		return nil, k.missing("the key's column is an object or an array")
	case k.exact:
		return nil, problem(ClassSchemaChanged, k.column, "the key's column is declared as a string and is none")
	case c == 't' || c == 'f':
		return value, nil
	case bytes.ContainsAny(value, "eE"):
		return nil, k.missing("the key is a number with an exponent, which has many spellings")
	}
	return codec.Level(value), nil
}

// canonical returns the one spelling of a key.
func (k *keyReader) canonical(text []byte) []byte {
	if k.exact {
		return text
	}
	return codec.Level(text)
}

// ofRecord returns the key that a record's key holds. It is valid until the next call.
func (k *keyReader) ofRecord(key []byte) ([]byte, *record.Problem) {
	first := bytes.TrimLeft(key, " \t\r\n")
	switch {
	case len(first) == 0:
		return nil, k.missing("neither the row nor the record's key has it: the record has no key")
	case first[0] != '{' && k.plain:
		return k.plainText(key)
	case first[0] != '{':
		return nil, k.missing("neither the row nor the record's key has it: the record's key is no JSON object")
	}
	if p := k.read(key, "the record's key"); p != nil {
		return nil, p
	}
	if k.count == 2 && k.value(keySchema) != nil && k.value(keyPayload) != nil {
		payload := k.value(keyPayload)
		if !isObject(payload) && k.plain && !isNull(payload) {
			return k.text(payload)
		}
		if !isObject(payload) {
			return nil, k.missing("neither the row nor the record's key has it: the key's payload is no object")
		}
		if p := k.read(payload, "the payload of the record's key"); p != nil {
			return nil, p
		}
	}
	for _, i := range [...]int{k.member, keyPrimary} {
		if value := k.value(i); !isNull(value) {
			return k.text(value)
		}
	}
	return nil, k.missing("neither the row nor the record's key has it, or it is null")
}

// plainText returns the text that a record's key is: a JSON string says it, anything else is it.
func (k *keyReader) plainText(key []byte) ([]byte, *record.Problem) {
	if !utf8.Valid(key) {
		return nil, k.missing("the record's key is not UTF-8 text")
	}
	if key[0] == '"' {
		k.around = append(append(append(k.around[:0], `{"`+wrapped+`":`...), key...), '}')
		if p := k.wrapper.read(k.around, "the record's key"); p == nil && k.wrapper.count == 1 {
			return k.text(k.wrapper.value(0))
		}
	}
	return k.canonical(key), nil
}
