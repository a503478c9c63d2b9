package query

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/task"
)

// Bounds of an ask.
const (
	// DefaultLimit and MaxLimit are how many rows an answer has.
	DefaultLimit = 100
	MaxLimit     = 1000
	maxKey       = 8 << 10 // bytes of a key, and of what an ask goes on after
)

// The parameters of a request.
const (
	paramKey       = "key"
	paramKeyBytes  = "key_base64"
	paramFrom      = "from"
	paramTo        = "to"
	paramStart     = "window_start"
	paramStartFrom = "window_start_from"
	paramStartTo   = "window_start_to"
	paramAt        = "window_at"
	paramPartition = "partition"
	paramLimit     = "limit"
	paramAfter     = "after"
	paramPartial   = "partial"
)

// ask is what somebody wants to know.
type ask struct {
	store      *source
	key        []byte // encoded; nil: of all keys
	from, to   []byte // encoded; nil is an open end
	low, high  int64  // the starts of windows, both included
	at         *int64 // a time that windows have to hold
	partitions []int32
	limit      int
	after      *mark
	partial    bool
}

// parameters reads the parameters of a request, of which only some are allowed.
func parameters(raw string, allowed ...string) (url.Values, error) {
	v, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errors.New("the parameters cannot be read: names and values are written as in a URL")
	}
	for name, values := range v {
		if !slices.Contains(allowed, name) {
			if len(allowed) == 0 {
				return nil, fmt.Errorf("there is no parameter %.40q here: there are none", name)
			}
			return nil, fmt.Errorf("there is no parameter %.40q here: there are %s", name, strings.Join(allowed, ", "))
		}
		if len(values) > 1 {
			return nil, fmt.Errorf("%s is given twice", name)
		}
	}
	return v, nil
}

// parseRow reads what asks for one row.
func parseRow(raw string, s *source) (*ask, error) {
	v, err := parameters(raw, paramKey, paramKeyBytes, paramStart, paramPartition)
	if err != nil {
		return nil, err
	}
	q := &ask{store: s, low: math.MinInt64, high: math.MaxInt64, limit: 1}
	if q.key, err = parseKey(v, s); err != nil {
		return nil, err
	}
	switch {
	case q.key == nil:
		return nil, fmt.Errorf("want the key: %s, or %s with its bytes", paramKey, paramKeyBytes)
	case s.windows() && !v.Has(paramStart):
		return nil, fmt.Errorf("the store has windows: want %s, the start of one; or ask for rows", paramStart)
	case !s.windows() && v.Has(paramStart):
		return nil, fmt.Errorf("%s: the store has no windows", paramStart)
	}
	if v.Has(paramStart) {
		if q.low, err = parseTime(v, paramStart); err != nil {
			return nil, err
		}
		q.high = q.low
	}
	return q, q.parsePartitions(v)
}

// parseRows reads what asks for rows.
func parseRows(raw string, s *source) (*ask, error) {
	v, err := parameters(raw, paramKey, paramKeyBytes, paramFrom, paramTo, paramStartFrom, paramStartTo, paramAt, paramPartition, paramLimit, paramAfter, paramPartial)
	if err != nil {
		return nil, err
	}
	q := &ask{store: s, low: math.MinInt64, high: math.MaxInt64, limit: DefaultLimit}
	if q.key, err = parseKey(v, s); err != nil {
		return nil, err
	}
	if err := q.parseRange(v); err != nil {
		return nil, err
	}
	if err := q.parseWindows(v); err != nil {
		return nil, err
	}
	if v.Has(paramLimit) {
		if q.limit, err = strconv.Atoi(v.Get(paramLimit)); err != nil || q.limit < 1 || q.limit > MaxLimit {
			return nil, fmt.Errorf("%s: want a number from 1 to %d", paramLimit, MaxLimit)
		}
	}
	if v.Has(paramAfter) {
		if q.after, err = parseMark(v.Get(paramAfter)); err != nil {
			return nil, err
		}
	}
	if v.Has(paramPartial) {
		if q.partial, err = strconv.ParseBool(v.Get(paramPartial)); err != nil {
			return nil, fmt.Errorf("%s: want true or false", paramPartial)
		}
	}
	return q, q.parsePartitions(v)
}

// parseKey returns the bytes of the key that is asked for, nil if none is.
func parseKey(v url.Values, s *source) ([]byte, error) {
	switch {
	case v.Has(paramKey) && v.Has(paramKeyBytes):
		return nil, fmt.Errorf("%s and %s: want one", paramKey, paramKeyBytes)
	case v.Has(paramKeyBytes):
		b, err := base64.StdEncoding.DecodeString(v.Get(paramKeyBytes))
		if err != nil || len(b) > maxKey {
			return nil, fmt.Errorf("%s: want at most %d bytes in base64", paramKeyBytes, maxKey)
		}
		return append([]byte{}, b...), nil
	case v.Has(paramKey):
		return s.parse(v, paramKey)
	default:
		return nil, nil
	}
}

func (q *ask) parseRange(v url.Values) (err error) {
	if !v.Has(paramFrom) && !v.Has(paramTo) {
		return nil
	}
	if q.key != nil {
		return fmt.Errorf("%s and %s are for all keys, not for one", paramFrom, paramTo)
	}
	if v.Has(paramFrom) {
		if q.from, err = q.store.parse(v, paramFrom); err != nil {
			return err
		}
	}
	if v.Has(paramTo) {
		if q.to, err = q.store.parse(v, paramTo); err != nil {
			return err
		}
	}
	if q.from != nil && q.to != nil && bytes.Compare(q.from, q.to) > 0 {
		return fmt.Errorf("%s comes after %s: no key is between them, in the order of their bytes, which is that of numbers too", paramFrom, paramTo)
	}
	return nil
}

func (q *ask) parseWindows(v url.Values) (err error) {
	if !q.store.windows() {
		for _, name := range []string{paramStartFrom, paramStartTo, paramAt} {
			if v.Has(name) {
				return fmt.Errorf("%s: the store has no windows", name)
			}
		}
		return nil
	}
	if v.Has(paramStartFrom) {
		if q.low, err = parseTime(v, paramStartFrom); err != nil {
			return err
		}
	}
	if v.Has(paramStartTo) {
		if q.high, err = parseTime(v, paramStartTo); err != nil {
			return err
		}
	}
	if q.low > q.high {
		return fmt.Errorf("%s is after %s: no window starts between them: swap them", paramStartFrom, paramStartTo)
	}
	if v.Has(paramAt) {
		at, err := parseTime(v, paramAt)
		if err != nil {
			return err
		}
		q.at = &at
		q.high = min(q.high, at)
		if size := q.store.size(); size > 0 && at > math.MinInt64+size {
			q.low = max(q.low, at-size)
		}
	}
	return nil
}

// parsePartitions reads which partitions are asked for: those that the request names, else that of the key, else all.
func (q *ask) parsePartitions(v url.Values) error {
	n := int32(min(q.store.partitions, math.MaxInt32)) //nolint:gosec // it is not negative
	if v.Has(paramPartition) {
		for text := range strings.SplitSeq(v.Get(paramPartition), ",") {
			p, err := strconv.ParseInt(text, 10, 32)
			if err != nil || p < 0 || n > 0 && int32(p) >= n {
				return fmt.Errorf("%s: want numbers from 0 to %d, with commas between", paramPartition, max(0, n-1))
			}
			q.partitions = append(q.partitions, int32(p))
		}
		slices.Sort(q.partitions)
		q.partitions = slices.Compact(q.partitions)
		return nil
	}
	if n == 0 {
		return nil
	}
	if q.key != nil {
		key := q.key
		if l := q.store.spec.Lookup; l != nil && l.PlacedBy != nil {
			key = l.PlacedBy(key)
		}
		q.partitions = []int32{task.Place(key, 0, int(n))}
		return nil
	}
	for p := range n {
		q.partitions = append(q.partitions, p)
	}
	return nil
}

// parseTime reads a time: milliseconds since 1970, or a date with a time and a zone.
func parseTime(v url.Values, name string) (int64, error) {
	text := v.Get(name)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, fmt.Errorf("%s: want milliseconds since 1970, or a time such as 2026-01-31T12:00:00Z", name)
	}
	return t.UnixMilli(), nil
}

// String returns the mark as an answer has it.
func (m mark) String() string {
	return base64.RawURLEncoding.EncodeToString(append(binary.AppendUvarint(nil, uint64(m.partition)), m.at...)) //nolint:gosec // it is not negative
}

func parseMark(text string) (*mark, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	p, n := binary.Uvarint(b)
	if err != nil || n <= 0 || p > math.MaxInt32 || len(b) > maxKey+64 {
		return nil, fmt.Errorf("%s: want what an answer has as next", paramAfter)
	}
	return &mark{append([]byte{}, b[n:]...), int32(p)}, nil
}
