package streamtest

import (
	"fmt"
	"slices"
	"strings"

	"millrace.dev/record"
	"millrace.dev/stream"
)

// Output reads what the application writes to a topic. What was read through one output of a topic is read for all.
type Output[K, V any] struct {
	d      *Driver
	topic  *topic
	keys   stream.Codec[K]
	values stream.Codec[V]
}

// NewOutput returns the output of a topic. It ends the test where the application has no such topic.
func NewOutput[K, V any](d *Driver, topic string, keys stream.Codec[K], values stream.Codec[V]) *Output[K, V] {
	d.t.Helper()
	return &Output[K, V]{d: d, topic: d.known(topic), keys: keys, values: values}
}

// Len returns the number of records that are committed and were not read yet.
func (out *Output[K, V]) Len() int { return len(out.topic.written) - out.topic.read }

// Read returns the next record that is committed, in order of writing over all partitions, and whether there is one.
func (out *Output[K, V]) Read() (stream.Record[K, V], bool) {
	out.d.t.Helper()
	if out.Len() == 0 {
		return stream.Record[K, V]{}, false
	}
	raw := out.topic.written[out.topic.read]
	out.topic.read++
	r, err := decode(raw, out.keys, out.values)
	out.d.do(func() error { return err })
	return r, err == nil
}

// decode returns a record with its types. A codec of [stream.Nullable] sees nulls.
func decode[K, V any](raw record.Raw, keys stream.Codec[K], values stream.Codec[V]) (r stream.Record[K, V], err error) {
	r = stream.Record[K, V]{Timestamp: raw.Timestamp, Headers: raw.Headers, NullKey: raw.Key == nil, NullValue: raw.Value == nil}
	if !r.NullKey {
		if r.Key, err = keys.Decode(raw.Key); err != nil {
			return r, fmt.Errorf("decode the key of %s/%d/%d: %w", raw.Topic, raw.Partition, raw.Offset, err)
		}
	}
	if !r.NullValue {
		if r.Value, err = values.Decode(raw.Value); err != nil {
			return r, fmt.Errorf("decode the value of %s/%d/%d: %w", raw.Topic, raw.Partition, raw.Offset, err)
		}
	}
	return r, nil
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

// ReadValues returns the values of [Output.ReadAll]. That of a record without one is the zero V.
func (out *Output[K, V]) ReadValues() []V {
	out.d.t.Helper()
	var all []V
	for _, r := range out.ReadAll() {
		all = append(all, r.Value)
	}
	return all
}

// ReadTable returns the last value of each key of [Output.ReadAll], without those that were deleted.
func ReadTable[K comparable, V any](out *Output[K, V]) map[K]V {
	out.d.t.Helper()
	m := map[K]V{}
	for _, r := range out.ReadAll() {
		if r.NullValue {
			delete(m, r.Key)
		} else {
			m[r.Key] = r.Value
		}
	}
	return m
}

// Text returns the records of [Output.ReadAll] as text, a line for each, as [GoldenText] compares it: event time, key
// and value, and the headers in brackets where there are any.
func (out *Output[K, V]) Text() string {
	out.d.t.Helper()
	var b strings.Builder
	for _, r := range out.ReadAll() {
		fmt.Fprintf(&b, "%d %s %s", r.Timestamp, show(r.Key, r.NullKey), show(r.Value, r.NullValue))
		if len(r.Headers) > 0 {
			b.WriteString(" [")
			for i, h := range r.Headers {
				if i > 0 {
					b.WriteByte(' ')
				}
				fmt.Fprintf(&b, "%s=%s", h.Key, h.Value)
			}
			b.WriteByte(']')
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func show(x any, null bool) string {
	if null {
		return "null"
	}
	return strings.ReplaceAll(fmt.Sprintf("%+v", x), "\n", `\n`)
}

// Raw returns the committed records of a topic's partition as bytes.
func (d *Driver) Raw(topic string, partition int32) []record.Raw {
	d.t.Helper()
	t := d.known(topic)
	if partition < 0 || int(partition) >= len(t.partitions) {
		d.t.Fatalf("streamtest: topic %s has no partition %d, but %d partitions", topic, partition, len(t.partitions))
	}
	return slices.Clone(t.partitions[partition])
}
