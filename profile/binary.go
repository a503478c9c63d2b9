package profile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"millrace.dev/internal/stat"
)

// counterFormat is the first byte of a counter as bytes.
const counterFormat = 1

// AppendBinary appends what was counted to b, and never fails: some dozens of bytes for a column, of bins only those that hold something. The
// bytes depend on the rows alone, not on their order, nor on how they were merged. They mean something together with the same profile only: see
// [Counter.MergeBinary].
//
// They are: the byte 1; the rows; the number of columns; and for each its rows, the missing ones, for numbers and times their moments
// (package stat), and the number of bins that hold something, each as the number of empty bins before it and its count. All
// are uvarints but for the moments.
func (c *Counter) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, counterFormat)
	b = binary.AppendUvarint(b, c.rows)
	b = binary.AppendUvarint(b, uint64(len(c.columns)))
	for i := range c.columns {
		col := &c.columns[i]
		b = binary.AppendUvarint(b, col.rows)
		b = binary.AppendUvarint(b, col.missing)
		if col.numeric() {
			var err error
			if b, err = col.moments.AppendBinary(b); err != nil {
				return nil, err
			}
		}
		b = appendCounts(b, col.counts)
	}
	return b, nil
}

func (c *counting) numeric() bool { return c.kind == Number || c.kind == Time }

func appendCounts(b []byte, counts []uint64) []byte {
	used := 0
	for _, n := range counts {
		if n > 0 {
			used++
		}
	}
	b = binary.AppendUvarint(b, uint64(used))
	gap := uint64(0)
	for _, n := range counts {
		if n == 0 {
			gap++
			continue
		}
		b = binary.AppendUvarint(binary.AppendUvarint(b, gap), n)
		gap = 0
	}
	return b
}

// maxCounted is more rows than any program counts: what says so is no counter.
const maxCounted = 1 << 53

// ErrCounter says that bytes are not those of a counter into the bins of this profile.
var ErrCounter = errors.New("these are no counts for this profile")

// MergeBinary adds what a counter has written, into bins of the same profile. If the bytes are those of no such counter the
// error is [ErrCounter], and nothing was added.
func (c *Counter) MergeBinary(b []byte) error {
	o := Counter{of: c.of, columns: make([]counting, len(c.columns))}
	if len(b) == 0 || b[0] != counterFormat {
		return fmt.Errorf("profile: %w", ErrCounter)
	}
	r := reader{b: b[1:]}
	if o.rows = r.uvarint(); o.rows > maxCounted {
		r.failed = true
	}
	if r.uvarint() != uint64(len(c.columns)) {
		r.failed = true
	}
	for i := range o.columns {
		col := &o.columns[i]
		col.rows, col.missing = r.uvarint(), r.uvarint()
		r.failed = r.failed || col.missing > col.rows || col.rows > o.rows
		present := col.rows - col.missing
		if c.columns[i].numeric() {
			col.moments = r.moments()
			r.failed = r.failed || uint64(col.moments.N()) > present
		}
		col.counts = make([]uint64, len(c.columns[i].counts))
		if sum := r.counts(col.counts, present); len(col.counts) > 0 && sum != present {
			r.failed = true
		}
	}
	if r.failed || len(r.b) > 0 {
		return fmt.Errorf("profile: %w", ErrCounter)
	}
	c.Merge(&o)
	return nil
}

// reader reads numbers as long as they are there.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.failed, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) moments() stat.Moments {
	m, rest, err := stat.DecodeMoments(r.b)
	if err != nil {
		r.failed, r.b = true, nil
		return m
	}
	r.b = rest
	return m
}

// counts reads counts, and returns their sum, which is most at most.
func (r *reader) counts(counts []uint64, most uint64) (sum uint64) {
	at := uint64(0)
	for range r.uvarint() {
		gap, n := r.uvarint(), r.uvarint()
		if r.failed || at >= uint64(len(counts)) || gap >= uint64(len(counts))-at || n > most-sum {
			r.failed = true
			return sum
		}
		at += gap
		counts[at] = n
		sum += n
		at++
	}
	return sum
}
