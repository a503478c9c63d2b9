//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The data set: records 0 to n-1 of a stream, and the rows of a table. Both are functions of their numbers alone. The
// tables that change are in changes.go.
const (
	keys      = 10_000
	valueSize = 110                    // bytes
	step      = time.Millisecond       // of event time between records
	disorder  = 2 * time.Second        // by which a record's event time lies back at most
	window    = time.Minute            // of the tumbling count
	gap       = 10 * time.Second       // without a record ends a session
	epoch     = int64(1767225600000)   // ms: 2026-01-01T00:00:00Z, when the stream begins; on the edge of a window
	tableTime = epoch - int64(3600000) // ms: the rows of the table are older than all of the stream
)

// draw returns the numbers that make record i: what it lacks in randomness does not matter here.
func draw(i int) rand.PCG { return *rand.NewPCG(1, uint64(i)) } //nolint:gosec // i is not negative

// eventOf returns the key, as a number, and the event time, in ms, of record i.
func eventOf(i int) (key int, at int64) {
	d := draw(i)
	a := d.Uint64()
	key = int(a >> 32 * keys >> 32) //nolint:gosec // below keys
	back := int64(a & 0xffffffff * uint64(disorder/time.Millisecond) >> 32)
	return key, max(epoch, epoch+int64(i)*step.Milliseconds()-back)
}

func keyOf(key int) []byte { return fmt.Appendf(nil, "user-%05d", key) }

// keyNumber is the way back.
func keyNumber(key []byte) (int, error) {
	digits, ok := bytes.CutPrefix(key, []byte("user-"))
	n, err := strconv.Atoi(string(digits))
	if !ok || err != nil || n < 0 || n >= keys {
		return 0, fmt.Errorf("%q is not a key of the stream", key)
	}
	return n, nil
}

// appendValue appends the value of record i: its number, and letters that compress about as well as text does.
func appendValue(b []byte, i int) []byte {
	const letters = "etaoinshrdlucmfw"
	end := len(b) + valueSize
	b = fmt.Appendf(b, "%010d;", i)
	d := draw(i)
	d.Uint64() // is for eventOf
	for len(b) < end {
		for r := d.Uint64(); r != 0 && len(b) < end; r >>= 4 {
			b = append(b, letters[r&15])
		}
	}
	return b
}

// numberOf returns the number of the record whose value begins so.
func numberOf(value []byte) (i int, ok bool) {
	if len(value) < valueSize || value[10] != ';' {
		return 0, false
	}
	for _, c := range value[:10] {
		if c < '0' || c > '9' {
			return 0, false
		}
		i = i*10 + int(c-'0')
	}
	return i, true
}

func fillStream(i int, r *kgo.Record) {
	key, at := eventOf(i)
	r.Key, r.Value, r.Timestamp = keyOf(key), appendValue(make([]byte, 0, valueSize), i), time.UnixMilli(at)
}

func fillTable(i int, r *kgo.Record) {
	r.Key, r.Value, r.Timestamp = keyOf(i), rowOf(i), time.UnixMilli(tableTime+int64(i))
}

// rowOf returns the row of a key.
func rowOf(key int) []byte {
	return fmt.Appendf(nil, "city-%03d;segment-%02d;since-%d", key%271, key%13, 2000+key%25)
}

// counted is what is counted: a key, in the window that begins at start (ms), which is 0 where there are no windows. The end
// is set where it does not follow from the start: of sessions, whose ends are the times of their last records.
type counted struct {
	key        int
	start, end int64
}

// counts returns how often each key comes, all in all or in windows, in the first n records.
func counts(n int, windows bool) map[counted]int64 {
	all := map[counted]int64{}
	for i := range n {
		key, at := eventOf(i)
		c := counted{key: key}
		if windows {
			c.start = at - at%window.Milliseconds()
		}
		all[c]++
	}
	return all
}

// sessions returns how many records each session has, in the first n records.
func sessions(n int) map[counted]int64 {
	times := make([][]int64, keys)
	for i := range n {
		key, at := eventOf(i)
		times[key] = append(times[key], at)
	}
	all := map[counted]int64{}
	for key, times := range times {
		slices.Sort(times)
		first := 0
		for i := range times {
			if i == len(times)-1 || times[i+1]-times[i] > gap.Milliseconds() {
				all[counted{key, times[first], times[i]}] = int64(i + 1 - first)
				first = i + 1
			}
		}
	}
	return all
}
