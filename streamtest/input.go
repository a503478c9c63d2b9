package streamtest

import (
	"fmt"
	"time"

	"millrace.dev/record"
	"millrace.dev/stream"
)

// Input writes to a topic that the application reads.
type Input[K, V any] struct {
	d      *Driver
	topic  *topic
	keys   stream.Codec[K]
	values stream.Codec[V]
	clock  bool
	next   int64
	step   time.Duration
}

// NewInput returns the input of a topic. It ends the test where the application has no such topic.
func NewInput[K, V any](d *Driver, topic string, keys stream.Codec[K], values stream.Codec[V]) *Input[K, V] {
	d.t.Helper()
	return &Input[K, V]{d: d, topic: d.known(topic), keys: keys, values: values, clock: true}
}

// Times sets the event times of [Input.PipeNext]: start, and for each that follows a step more. Default: the driver's
// clock.
func (in *Input[K, V]) Times(start time.Time, step time.Duration) {
	in.clock, in.next, in.step = false, start.UnixMilli(), step
}

// PipeNext writes a record with the next event time, and has it processed.
func (in *Input[K, V]) PipeNext(key K, value V) {
	in.d.t.Helper()
	at := in.d.now.UnixMilli()
	if !in.clock {
		at = in.next
		in.next += in.step.Milliseconds()
	}
	in.Pipe(key, value, at)
}

// Pipe writes a record with an event time in milliseconds, and has it processed.
func (in *Input[K, V]) Pipe(key K, value V, timestamp int64) {
	in.d.t.Helper()
	in.PipeRecord(stream.Record[K, V]{Key: key, Value: value, Timestamp: timestamp})
}

// PipeRecord writes a record, and has it processed.
func (in *Input[K, V]) PipeRecord(r stream.Record[K, V]) {
	in.d.t.Helper()
	in.pipe(anyPartition, r)
}

// PipeTo writes a record to a partition whatever its key, and has it processed.
func (in *Input[K, V]) PipeTo(partition int32, r stream.Record[K, V]) {
	in.d.t.Helper()
	in.pipe(partition, r)
}

// PipeAll writes records, and then has them processed together.
func (in *Input[K, V]) PipeAll(records ...stream.Record[K, V]) {
	in.d.t.Helper()
	in.pipe(anyPartition, records...)
}

const anyPartition int32 = -1

func (in *Input[K, V]) pipe(partition int32, records ...stream.Record[K, V]) {
	in.d.t.Helper()
	in.d.do(func() error {
		for _, r := range records {
			raw := record.Raw{Topic: in.topic.name, Headers: r.Headers, Timestamp: r.Timestamp, Partition: partition}
			var err error
			if raw.Key, err = encode(in.keys, r.Key, r.NullKey); err != nil {
				return fmt.Errorf("encode a key for %s: %w", in.topic.name, err)
			}
			if raw.Value, err = encode(in.values, r.Value, r.NullValue); err != nil {
				return fmt.Errorf("encode a value for %s: %w", in.topic.name, err)
			}
			if partition == anyPartition {
				raw.Partition = in.topic.place(placedBy(in.keys, raw.Key), 0)
			}
			if err := in.topic.write(raw); err != nil {
				return err
			}
		}
		return in.d.settle()
	})
}

// write appends a record from outside.
func (t *topic) write(r record.Raw) error {
	if r.Partition == anyPartition {
		r.Partition = t.place(r.Key, 0)
	}
	if r.Partition < 0 || int(r.Partition) >= len(t.partitions) {
		return fmt.Errorf("topic %s has no partition %d, but %d partitions", t.name, r.Partition, len(t.partitions))
	}
	t.add(r)
	return nil
}

// placedBy returns which of the bytes of a key its partition goes by: of a window those of the key itself.
func placedBy[K any](c stream.Codec[K], key []byte) []byte {
	if p, ok := c.(interface{ PlacedBy(key []byte) []byte }); ok && key != nil {
		return p.PlacedBy(key)
	}
	return key
}

func encode[T any](c stream.Codec[T], v T, null bool) ([]byte, error) {
	if null {
		return nil, nil
	}
	return c.Append([]byte{}, v) // what is nil then is null
}

// PipeRaw writes bytes as they are to a topic, and has them processed. Topic and offset of the record are set by it,
// and the partition by the key.
func (d *Driver) PipeRaw(name string, r record.Raw) {
	d.t.Helper()
	t := d.known(name)
	d.do(func() error {
		r.Topic, r.Partition = name, anyPartition
		if err := t.write(r); err != nil {
			return err
		}
		return d.settle()
	})
}
