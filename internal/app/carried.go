package app

import (
	"encoding/binary"
	"errors"
	"math"
)

// carried is a record's value, nil for null, with what was found for it on its way to the model.
type carried struct {
	value   []byte
	windows []float64 // the aggregates of the windows, in the order of the plan; empty before the first is found
	at      int64     // the event time, in microseconds since 1970, on the way to the table that is partitioned; else 0
	row     []byte    // the row in that table; nil is none
}

// carriedCodec is the codec of carried records in topics of the pipeline's own: a byte that says what is there, the
// event time, the number of aggregates and the aggregates, the length of the row and the row, and the value.
type carriedCodec struct{}

const (
	carriesValue = 1 << iota
	carriesRow
	carriesEnd
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
	dst = binary.AppendVarint(append(dst, flags), c.at)
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
	if len(b) == 0 || b[0] >= carriesEnd {
		return c, errCarried
	}
	flags := b[0]
	at, size := binary.Varint(b[1:])
	if size <= 0 {
		return c, errCarried
	}
	c.at, b = at, b[1+size:]
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
	} else if n > 0 {
		return c, errCarried
	}
	if b = b[n:]; flags&carriesValue != 0 {
		c.value = b
	} else if len(b) > 0 {
		return c, errCarried
	}
	return c, nil
}
