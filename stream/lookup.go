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
	if s.Expires {
		s.Lookup.Since = sinceOf(metaExpiry, s.TTL.Milliseconds())
	}
	return s
}

// lookup reads the numbers of a meta from what get finds in a store, nil if they are not there.
func lookup(get func(key []byte) ([]byte, error), id byte) (numbers []int64, err error) {
	b, err := get([]byte{prefixMeta, id})
	if len(b)%timeBytes != 0 {
		return nil, errShortRow
	}
	for ; len(b) > 0; b = b[timeBytes:] {
		numbers = append(numbers, timeOf(b))
	}
	return numbers, err
}

// sinceOf returns how to read which rows are kept where these are kept for a time: stream time is the first number of a meta.
func sinceOf(id byte, kept int64) func(get func(key []byte) ([]byte, error)) (int64, error) {
	return func(get func(key []byte) ([]byte, error)) (int64, error) {
		n, err := lookup(get, id)
		if err != nil || n == nil || n[0] < never+kept {
			return never, err
		}
		return n[0] - kept, nil
	}
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
		n, err := lookup(get, metaOperator)
		if err != nil || n == nil {
			return never, err
		}
		return floor(n[len(n)-1]), nil // see windowTimes.resume
	}
	return s
}

// lookedUpSegments is lookedUp for windows with their ends in them, whose rows lie in [segments].
func lookedUpSegments[K, V any](s task.StoreSpec, keys Codec[K], values Codec[V]) task.StoreSpec {
	s = lookedUp(s, keys, values)
	if l := s.Lookup; l != nil {
		l.Windows, l.EndIncluded, l.At = true, true, nil
		l.Segment, l.Of, l.Rows = 1+timeBytes, appendKeyRef, []byte{prefixRow}
	}
	return s
}

// lookedUpSliding is lookedUpSegments for sliding windows. floor returns from the times up to which windows have been closed and of
// the newest window where those begin that are kept.
func lookedUpSliding[K, V any](s task.StoreSpec, keys Codec[K], values Codec[V], difference int64, floor func(closed, newest int64) int64) task.StoreSpec {
	s = lookedUpSegments(s, keys, values)
	if s.Lookup == nil {
		return s
	}
	s.Lookup.Size = difference
	s.Lookup.Floor = func(get func(key []byte) ([]byte, error)) (int64, error) {
		n, err := lookup(get, metaOperator)
		if err != nil || n == nil {
			return never, err
		}
		if len(n) < 3 {
			return never, errShortRow
		}
		return floor(n[1], n[2]), nil // see windowTimes.resume
	}
	return s
}

// lookedUpSessions is lookedUpSegments for sessions, whose rows are kept for a time after their end.
func lookedUpSessions[K, V any](s task.StoreSpec, keys Codec[K], values Codec[V], retention int64) task.StoreSpec {
	s = lookedUpSegments(s, keys, values)
	if s.Lookup != nil {
		s.Lookup.Since = sinceOf(metaOperator, retention) // see sessionRows.remember
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
