package streamtest

import (
	"hash/fnv"

	"millrace.dev/record"
)

// topic is a topic as the driver keeps it.
type topic struct {
	name       string
	partitions [][]record.Raw // what is committed
	read       int            // by the test, in order of writing
	written    []record.Raw   // in order of writing
}

// place returns the partition of a record.
func (t *topic) place(key []byte, source int32) int32 {
	n := int32(len(t.partitions))
	if key == nil {
		return max(0, source) % n
	}
	h := fnv.New32a()
	_, _ = h.Write(key)
	return int32(h.Sum32() % uint32(n))
}

func (t *topic) append(r record.Raw) {
	r.Offset = int64(len(t.partitions[r.Partition]))
	t.partitions[r.Partition] = append(t.partitions[r.Partition], r)
	t.written = append(t.written, r)
}

// run is records of one partition.
type run []record.Raw

// Len returns the number of records.
func (r run) Len() int { return len(r) }

// Read fills raw with a record.
func (r run) Read(i int, raw *record.Raw) { *raw = r[i] }

// CaughtUp is always true: what is not there yet does not exist.
func (run) CaughtUp() bool { return true }
