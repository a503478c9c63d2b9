package streamtest

import (
	"fmt"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// topic is a topic as the driver keeps it.
type topic struct {
	name       string
	partitions [][]record.Raw // what is committed
	written    []record.Raw   // by the application, in order
	read       int            // of written, by the test
}

// place returns the partition of a record, as Kafka's producers choose it.
func (t *topic) place(key []byte, source int32) int32 {
	return task.Place(key, source, len(t.partitions))
}

// append adds a record that the application has written.
func (t *topic) append(r record.Raw) {
	t.written = append(t.written, t.add(r))
}

// add adds a record, and returns it with its offset.
func (t *topic) add(r record.Raw) record.Raw {
	r.Offset = int64(len(t.partitions[r.Partition]))
	t.partitions[r.Partition] = append(t.partitions[r.Partition], r)
	return r
}

// source is the header that names the record which led to another.
func source(r *record.Raw) record.Header {
	return record.Header{Key: "millrace.source", Value: fmt.Appendf(nil, "%s/%d/%d", r.Topic, r.Partition, r.Offset)}
}

// run is records of one partition.
type run []record.Raw

// Len returns the number of records.
func (r run) Len() int { return len(r) }

// Read fills raw with a record.
func (r run) Read(i int, raw *record.Raw) { *raw = r[i] }

// CaughtUp is always true: what is not there yet does not exist.
func (run) CaughtUp() bool { return true }
