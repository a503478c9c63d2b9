// Package sample holds the records of a features topic: what a stream knew of a record when it predicted it, so that the
// same can be computed again elsewhere and compared, bit for bit. The format is in docs/topics.md.
package sample

import (
	"strconv"

	"millrace.dev/internal/stat"
)

// Rate is the share of records that are sampled, from 0 to 1.
type Rate float64

// Takes tells whether the record at some coordinates is sampled. It depends on nothing else, so that a record that is
// processed again, or by another instance, is sampled again or not at all.
func (r Rate) Takes(topic string, partition int32, offset int64) bool {
	switch {
	case r <= 0:
		return false
	case r >= 1:
		return true
	}
	var memory [128]byte
	b := append(append(memory[:0], topic...), 0)
	b = append(strconv.AppendInt(b, int64(partition), 10), 0)
	b = strconv.AppendInt(b, offset, 10)
	const all = 1 << 64 // hashes
	return stat.Hash64(string(b)) < uint64(float64(r)*all)
}
