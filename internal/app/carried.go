package app

import (
	"encoding/binary"
	"errors"
	"math"

	"millrace.dev/record"
)

// carried is a record's value, nil for null, with what was found for it on its way to the model.
type carried struct {
	value   []byte
	windows []float64 // the aggregates of the windows, in the order of the plan; empty before the first is found
	row     []byte    // the row in the table that is partitioned; nil is none
	at      int64     // the event time as of which the row is looked up, in microseconds since 1970, or record.MissingTime
	change  []byte    // it is no record, but this change of the table; such values stay within a task
}

// carriedCodec is the codec of carried records in topics of the pipeline's own: a byte that says what is there, the
// event time if it is, the number of aggregates and the aggregates, the length of the row and the row, and the value.
type carriedCodec struct{}

const (
	carriesValue = 1 << iota
	carriesRow
	carriesTime
)

// Append appends the bytes of c.
func (carriedCodec) Append(dst []byte, c carried) ([]byte, error) {
	flags := byte(0)
	if c.value != nil {
		flags |= carriesValue
	}
	if c.row != nil {
		flags |= carriesRow
	}
	if c.at != record.MissingTime {
		flags |= carriesTime
	}
	if dst = append(dst, flags); c.at != record.MissingTime {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(c.at))
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.windows)))
	for _, x := range c.windows {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
	}
	dst = append(binary.AppendUvarint(dst, uint64(len(c.row))), c.row...)
	return append(dst, c.value...), nil
}

var errCarried = errors.New("these are not the bytes of a record on its way through the pipeline: was the topic written by another program?")

// Decode reads what Append has written.
func (carriedCodec) Decode(b []byte) (c carried, err error) {
	if len(b) == 0 {
		return c, errCarried
	}
	flags := b[0]
	b = b[1:]
	if c.at = record.MissingTime; flags&carriesTime != 0 {
		const size = 8
		if len(b) < size {
			return c, errCarried
		}
		c.at = int64(binary.LittleEndian.Uint64(b))
		b = b[size:]
	}
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size)/8 {
		return c, errCarried
	}
	b = b[size:]
	if n > 0 {
		c.windows = make([]float64, n)
		for i := range c.windows {
			c.windows[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
		b = b[8*n:]
	}
	n, size = binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return c, errCarried
	}
	b = b[size:]
	if flags&carriesRow != 0 {
		c.row = b[:n:n]
	}
	if b = b[n:]; flags&carriesValue != 0 {
		c.value = b
	} else if len(b) > 0 {
		return c, errCarried
	}
	return c, nil
}
