package stream

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"millrace.dev/internal/task"
)

// shown is a codec that says itself how queries show its values.
type shown[T any] interface {
	JSON(v T) ([]byte, error)
}

// lookedUp has the rows of a store be found by key from outside, and shown with the types that they have.
func lookedUp[K, V any](s task.StoreSpec, keys Codec[K], values Codec[V]) task.StoreSpec {
	if keys == nil || values == nil { // a fault that is told elsewhere
		return s
	}
	s.Lookup = &task.Lookup{
		ParseKey: func(dst []byte, text string) ([]byte, error) { return appendParsed(dst, keys, text) },
		Key:      func(b []byte) ([]byte, error) { return decodedJSON(keys, b) },
		Value:    func(b []byte) ([]byte, error) { return decodedJSON(values, b) },
		PlacedBy: func(key []byte) []byte { return placedBy(keys, key) },
		At:       func(dst, key []byte, _ int64) []byte { return append(append(dst, prefixRow), key...) },
	}
	return s
}

// lookedUpWindows is lookedUp for windows of one size, whose keys in the store are those of timeFirst. floor returns from the
// start of the newest window where those begin that are kept.
func lookedUpWindows[K, V any](s task.StoreSpec, keys Codec[K], values Codec[V], size int64, floor func(newest int64) int64) task.StoreSpec {
	s = lookedUp(s, keys, values)
	if s.Lookup == nil {
		return s
	}
	s.Lookup.Windows, s.Lookup.Size = true, size
	s.Lookup.At = func(dst, key []byte, start int64) []byte {
		return append(appendTime(append(dst, prefixRow), start), key...)
	}
	s.Lookup.Floor = func(get func(key []byte) ([]byte, error)) (int64, error) {
		b, err := get([]byte{prefixMeta, metaOperator})
		if err != nil || b == nil {
			return math.MinInt64, err
		}
		if len(b) < timeBytes {
			return 0, errShortRow
		}
		return floor(timeOf(b[len(b)-timeBytes:])), nil // the newest is the last of what is remembered: see remember
	}
	return s
}

// appendParsed appends the bytes of the key that a text stands for: the text itself for strings, a number, base64 for bytes, and
// else JSON.
func appendParsed[K any](dst []byte, c Codec[K], text string) ([]byte, error) {
	var k K
	var err error
	switch p := any(&k).(type) {
	case *string:
		*p = text
	case *int64:
		*p, err = strconv.ParseInt(text, 10, 64)
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
	case *[]byte:
		*p, err = base64.StdEncoding.DecodeString(text)
	default:
		err = json.Unmarshal([]byte(text), &k)
	}
	if err != nil {
		return dst, err
	}
	return c.Append(dst, k)
}

// decodedJSON returns the value of some bytes as JSON. Numbers that JSON does not have are texts.
func decodedJSON[T any](c Codec[T], b []byte) ([]byte, error) {
	v, err := c.Decode(b)
	if err != nil {
		return nil, err
	}
	if s, ok := c.(shown[T]); ok {
		return s.JSON(v)
	}
	switch v := any(v).(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return json.Marshal(strconv.FormatFloat(v, 'g', -1, 64))
		}
	case string:
		if !utf8.ValidString(v) {
			return json.Marshal([]byte(v)) // JSON has no such text
		}
	}
	return json.Marshal(v)
}
