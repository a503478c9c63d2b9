package streamtest

import (
	"maps"
	"slices"

	"millrace.dev/record"
	"millrace.dev/stream"
)

// Input writes to a topic that the application reads.
type Input[K, V any] struct {
	d      *Driver
	topic  *topic
	keys   stream.Codec[K]
	values stream.Codec[V]
}

// NewInput returns the input of a topic.
func NewInput[K, V any](d *Driver, topic string, keys stream.Codec[K], values stream.Codec[V]) *Input[K, V] {
	return &Input[K, V]{d: d, topic: d.topic(topic), keys: keys, values: values}
}

// Pipe writes a record with an event time in milliseconds, and has it processed.
func (in *Input[K, V]) Pipe(key K, value V, timestamp int64) {
	in.d.t.Helper()
	in.PipeRecord(stream.Record[K, V]{Key: key, Value: value, Timestamp: timestamp})
}

// PipeRecord writes a record, and has it processed.
func (in *Input[K, V]) PipeRecord(r stream.Record[K, V]) {
	in.d.t.Helper()
	in.pipe(r, -1)
}

// PipeTo writes a record to a partition whatever its key, and has it processed.
func (in *Input[K, V]) PipeTo(partition int32, r stream.Record[K, V]) {
	in.d.t.Helper()
	in.pipe(r, partition)
}

func (in *Input[K, V]) pipe(r stream.Record[K, V], partition int32) {
	in.d.t.Helper()
	raw := record.Raw{Topic: in.topic.name, Headers: r.Headers, Timestamp: r.Timestamp}
	raw.Key = encode(in.d, in.keys, r.Key, r.NullKey)
	raw.Value = encode(in.d, in.values, r.Value, r.NullValue)
	if raw.Partition = partition; partition < 0 {
		raw.Partition = in.topic.place(raw.Key, 0)
	}
	in.topic.append(raw)
	in.d.settle()
}

func encode[T any](d *Driver, c stream.Codec[T], v T, null bool) []byte {
	d.t.Helper()
	if null {
		return nil
	}
	b, err := c.Append([]byte{}, v) // what is nil then is null
	if err != nil {
		d.t.Fatalf("streamtest: encode: %v", err)
	}
	return b
}

// PipeRaw writes bytes as they are to a topic, and has them processed. Partition, topic and offset are set by it.
func (d *Driver) PipeRaw(name string, r record.Raw) {
	d.t.Helper()
	t := d.topic(name)
	r.Topic, r.Partition = name, t.place(r.Key, 0)
	t.append(r)
	d.settle()
}

// Output reads a topic that the application writes.
type Output[K, V any] struct {
	d      *Driver
	topic  *topic
	keys   stream.Codec[K]
	values stream.Codec[V]
}

// NewOutput returns the output of a topic, from its beginning.
func NewOutput[K, V any](d *Driver, topic string, keys stream.Codec[K], values stream.Codec[V]) *Output[K, V] {
	return &Output[K, V]{d: d, topic: d.topic(topic), keys: keys, values: values}
}

// Read returns the next record that is committed, and whether there is one.
func (out *Output[K, V]) Read() (stream.Record[K, V], bool) {
	out.d.t.Helper()
	if out.topic.read == len(out.topic.written) {
		return stream.Record[K, V]{}, false
	}
	raw := out.topic.written[out.topic.read]
	out.topic.read++
	r := stream.Record[K, V]{Timestamp: raw.Timestamp, Headers: raw.Headers, NullKey: raw.Key == nil, NullValue: raw.Value == nil}
	var err error
	if !r.NullKey {
		if r.Key, err = out.keys.Decode(raw.Key); err != nil {
			out.d.t.Fatalf("streamtest: decode the key of %s/%d/%d: %v", raw.Topic, raw.Partition, raw.Offset, err)
		}
	}
	if !r.NullValue {
		if r.Value, err = out.values.Decode(raw.Value); err != nil {
			out.d.t.Fatalf("streamtest: decode the value of %s/%d/%d: %v", raw.Topic, raw.Partition, raw.Offset, err)
		}
	}
	return r, true
}

// ReadAll returns the records that are committed and were not read yet.
func (out *Output[K, V]) ReadAll() []stream.Record[K, V] {
	out.d.t.Helper()
	var all []stream.Record[K, V]
	for {
		r, ok := out.Read()
		if !ok {
			return all
		}
		all = append(all, r)
	}
}

// Raw returns the committed records of a topic's partition as bytes.
func (d *Driver) Raw(topic string, partition int32) []record.Raw {
	return slices.Clone(d.topic(topic).partitions[partition])
}

// Drops returns the records that were dropped by what is committed.
func (d *Driver) Drops() []Drop { return slices.Clone(d.drops) }

// Topics returns the names of the topics that there are.
func (d *Driver) Topics() []string { return slices.Sorted(maps.Keys(d.topics)) }
