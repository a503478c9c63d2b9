//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// check looks at the committed records of an output topic: see at each one, in order within a partition, and finish at
// the end. Both return an error when an output is wrong.
type check interface {
	see(r *kgo.Record) error
	finish() error
}

// splits take the keys of outputs apart: the key of the stream, and the start of the window (ms), of sessions its end too.
type splits struct {
	window  func(key []byte) (of []byte, start int64, err error)
	session func(key []byte) (of []byte, start, end int64, err error)
}

// newCheck returns a check of what a row makes of n records. Under exactly-once no record may count twice; under
// at-least-once one may.
func newCheck(r row, n int, windowed splits) (check, error) {
	once := r.guarantee == exactlyOnce
	switch r.topology {
	case "map", "join":
		suffix := func(int) []byte { return []byte(";mapped") }
		if r.topology == "join" {
			suffix = func(key int) []byte { return append([]byte(";"), rowOf(key)...) }
		}
		return &recordCheck{once: once, suffix: suffix, seen: make([]bool, n), last: map[string]int{}}, nil
	case "count", "tumbling":
		c := &countCheck{once: once, every: !r.cached, records: n, want: counts(n, r.topology == "tumbling"), have: map[counted]int64{}}
		if r.topology == "tumbling" {
			c.windowed.window = windowed.window
		}
		return c, nil
	case "sessions":
		return &countCheck{
			once: once, every: !r.cached, records: n, want: sessions(n), have: map[counted]int64{}, windowed: splits{session: windowed.session},
			gone: map[counted]int64{},
		}, nil
	case "tables":
		return newPairCheck(once, false, stream{}, rows{recordsPerRow}, n), nil
	case "foreign-key":
		return newForeignCheck(once, n), nil
	default:
		return nil, errors.New("no such topology: " + r.topology)
	}
}

// recordCheck wants an output for each record: the record's key and time, and its value with something behind it.
type recordCheck struct {
	once   bool
	suffix func(key int) []byte
	seen   []bool
	last   map[string]int // number of the newest record, by key
}

func (c *recordCheck) see(r *kgo.Record) error {
	i, ok := numberOf(r.Value)
	if !ok || i >= len(c.seen) {
		return fmt.Errorf("output %q: no such record", r.Value)
	}
	key, at := eventOf(i)
	want := append(appendValue(nil, i), c.suffix(key)...)
	if !bytes.Equal(r.Key, keyOf(key)) || !bytes.Equal(r.Value, want) || r.Timestamp.UnixMilli() != at {
		return fmt.Errorf("output %q = %q at %d: want %q = %q at %d", r.Key, r.Value, r.Timestamp.UnixMilli(), keyOf(key), want, at)
	}
	last, before := c.last[string(r.Key)]
	switch {
	case c.once && c.seen[i]:
		return fmt.Errorf("record %d was written twice", i)
	case c.once && before && i < last:
		return fmt.Errorf("record %d was written after record %d of the same key", i, last)
	}
	c.seen[i], c.last[string(r.Key)] = true, i
	return nil
}

func (c *recordCheck) finish() error {
	lost, first := 0, 0
	for i, seen := range c.seen {
		if !seen {
			if lost == 0 {
				first = i
			}
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d records of %d have no output, the first one is %d", lost, len(c.seen), first)
	}
	return nil
}

// countCheck wants the newest output of each key to be the key's count: 8 bytes, most significant first. A session that
// others were merged with is deleted by an output without a value.
type countCheck struct {
	once, every   bool
	windowed      splits // the one that is set, if there are windows
	records, seen int
	want, have    map[counted]int64
	gone          map[counted]int64 // sessions that were deleted, with their last counts; nil where there are none
}

func (c *countCheck) see(r *kgo.Record) error {
	of, err := c.counted(r.Key)
	if err != nil {
		return err
	}
	if r.Value == nil && c.gone != nil {
		c.gone[of] = max(c.gone[of], c.have[of])
		delete(c.have, of)
		return nil
	}
	if len(r.Value) != 8 {
		return fmt.Errorf("count of %v: %d bytes: want 8", of, len(r.Value))
	}
	n := int64(binary.BigEndian.Uint64(r.Value)) //nolint:gosec // all 64 bits are the count's
	before := max(c.have[of], c.gone[of])
	switch {
	case c.once && n <= before:
		return fmt.Errorf("count of %v: %d after %d", of, n, before)
	case c.once && c.every && n != before+1 && c.gone == nil:
		return fmt.Errorf("count of %v: %d after %d: want each update", of, n, before)
	}
	c.have[of] = n
	c.seen++
	return nil
}

// counted reads the key of an output.
func (c *countCheck) counted(key []byte) (of counted, err error) {
	switch {
	case c.windowed.window != nil:
		key, of.start, err = c.windowed.window(key)
	case c.windowed.session != nil:
		key, of.start, of.end, err = c.windowed.session(key)
	}
	if err != nil {
		return of, err
	}
	of.key, err = keyNumber(key)
	return of, err
}

func (c *countCheck) finish() error {
	for of, want := range c.want {
		have := c.have[of]
		if have < want || c.once && have > want {
			return fmt.Errorf("count of %v: %d: want %d", of, have, want)
		}
	}
	if len(c.have) > len(c.want) {
		return fmt.Errorf("%d keys have counts: want %d", len(c.have), len(c.want))
	}
	if c.every && c.seen < c.records {
		return fmt.Errorf("%d updates were written: want %d", c.seen, c.records)
	}
	return nil
}
