package record

import (
	"math"
	"unsafe"
)

// The missing values of an enum and a time column. The missing value of a numeric column is NaN.
const (
	MissingCode int32 = -1
	MissingTime int64 = math.MinInt64
)

// Dict maps the levels of an enum to codes 0, 1, ... in the order in which they came. Its first [Dict.Known]
// levels stay for good; the others live until [Dict.Reset]. A Dict is for one goroutine at a time.
type Dict struct {
	levels []string
	codes  map[string]int32
	known  int
}

// NewDict returns a dictionary whose known levels are the given ones, codes in that order. A level that
// comes twice keeps its first code.
func NewDict(known []string) *Dict {
	d := &Dict{codes: make(map[string]int32, len(known))}
	for _, l := range known {
		d.Code([]byte(l))
	}
	d.known = len(d.levels)
	return d
}

// Code returns the code of level, which it adds when it is new. It copies level.
func (d *Dict) Code(level []byte) int32 {
	if c, ok := d.codes[string(level)]; ok {
		return c
	}
	c := int32(len(d.levels))
	s := string(level)
	d.levels = append(d.levels, s)
	d.codes[s] = c
	return c
}

// Level returns the text of a code that Code returned since the last Reset.
func (d *Dict) Level(code int32) string { return d.levels[code] }

// Len returns the number of levels, the known ones and those added since.
func (d *Dict) Len() int { return len(d.levels) }

// Known returns the number of known levels: a code at or above it is an unseen level.
func (d *Dict) Known() int { return d.known }

// Reset forgets all but the known levels.
func (d *Dict) Reset() {
	for _, l := range d.levels[d.known:] {
		delete(d.codes, l)
	}
	clear(d.levels[d.known:])
	d.levels = d.levels[:d.known]
}

// Texts is a column of string values, held end to end in one buffer.
type Texts struct {
	data  []byte
	start []uint32
	size  []int32 // -1 is missing
}

// Len returns the number of rows.
func (t *Texts) Len() int { return len(t.size) }

// Missing tells whether row i has no value.
func (t *Texts) Missing(i int) bool { return t.size[i] < 0 }

// At returns the value of row i, or nil where it is missing. It is valid until the batch is reset and must
// not be changed.
func (t *Texts) At(i int) []byte {
	n := t.size[i]
	if n < 0 {
		return nil
	}
	s := t.start[i]
	return t.data[s : int(s)+int(n) : int(s)+int(n)]
}

// View returns the value of row i as a string that shares the column's memory: it is valid until the batch
// is reset. A missing value is "".
func (t *Texts) View(i int) string {
	b := t.At(i)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// Set sets row i to a copy of value.
func (t *Texts) Set(i int, value []byte) {
	t.start[i] = uint32(len(t.data))
	t.size[i] = int32(len(value))
	t.data = append(t.data, value...)
}

// Append adds a row whose value is missing.
func (t *Texts) Append() {
	t.start = append(t.start, 0)
	t.size = append(t.size, -1)
}

// Reset removes every row and keeps the memory.
func (t *Texts) Reset() { t.data, t.start, t.size = t.data[:0], t.start[:0], t.size[:0] }
