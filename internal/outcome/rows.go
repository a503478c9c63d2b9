package outcome

import (
	"encoding/binary"
	"errors"
	"math"
)

// Rows is an ordered map of bytes, which the caller commits together with what it was told: the state of a [Joiner] or a [Tally]. Keys
// order by their bytes. A value that was given must not change.
type Rows interface {
	Get(key string) (value []byte, ok bool, err error)
	Put(key string, value []byte) error
	Delete(key string) error
	// Range calls f with every row whose key is not below from and below to, in the order of the keys, until it returns false. f may
	// change the rows; it sees what was there when Range was called.
	Range(from, to string, f func(key string, value []byte) (bool, error)) error
}

// errRow is met if somebody else has written the rows: they are the application's own, and committed.
var errRow = errors.New("outcome: a row of the state cannot be read: was it written by a later version? Then run that, or delete the application's changelogs and its group")

// appendTime appends a time so that times order as their bytes do.
func appendTime(dst []byte, at int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(at)^1<<63)
}

// timeOf returns the time at the beginning of b, which has one.
func timeOf(b string) int64 {
	var x uint64
	for i := range timeBytes {
		x = x<<8 | uint64(b[i])
	}
	return int64(x ^ 1<<63) //nolint:gosec // it was one
}

const timeBytes = 8

// appendRef appends a key so that no such sequence is the beginning of another.
func appendRef(dst []byte, key string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(key))), key...)
}

// after returns a time later than at, where there is one.
func after(at int64) int64 {
	if at == math.MaxInt64 {
		return at
	}
	return at + 1
}

// The writing of rows.

func appendText(dst []byte, s string) []byte { return appendRef(dst, s) }

func appendNumber(dst []byte, x float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(x))
}

// reader reads a row. After a fault it gives zeros, and says so at the end.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) int() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) text() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) number() float64 {
	if len(r.b) < 8 {
		r.bad, r.b = true, nil
		return 0
	}
	x := math.Float64frombits(binary.BigEndian.Uint64(r.b))
	r.b = r.b[8:]
	return x
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

// end returns an error if the row was not what was read.
func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return errRow
	}
	return nil
}
