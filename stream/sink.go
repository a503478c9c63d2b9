package stream

import (
	"errors"
	"slices"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// SinkOption says how a topic is written.
type SinkOption interface{ applySink(*sinkOptions) }

type sinkOptions struct {
	partition  any // func(*Record[K, V], int) int
	provenance bool
	noLetters  bool
	origin     bool
	stop       bool
}

type sinkOption func(*sinkOptions)

func (f sinkOption) applySink(o *sinkOptions) { f(o) }

// Provenance adds to each record a header millrace.source, the topic/partition/offset of the record that led to it.
// Behind a repartition topic that is the record there, unless it was made with [CarryOrigin].
func Provenance() SinkOption { return sinkOption(func(o *sinkOptions) { o.provenance = true }) }

// WithoutLetters makes no dead letter of a record that the topic cannot take: it is counted as dropped. It is for a topic of
// notes beside another output, which is the record's result. Default: a dead letter, where the topology has a topic for them.
func WithoutLetters() SinkOption { return sinkOption(func(o *sinkOptions) { o.noLetters = true }) }

// KeepOrigin has each record carry the record that led to it, for an application that reads the topic with [WithOrigin]. It costs a
// header, as with [CarryOrigin]. Default: it does not.
func KeepOrigin() SinkOption { return sinkOption(func(o *sinkOptions) { o.origin = true }) }

// OrStop ends the application at a record that the topic cannot take, as [Stop] does: for a topic that must have all of them. Default:
// such a record is dropped.
func OrStop() SinkOption { return sinkOption(func(o *sinkOptions) { o.stop = true }) }

// PartitionBy chooses the partition of each record out of as many as its topic has: 0 to partitions-1, or a negative
// number to leave it to the default. A record for which f returns another one is dropped, with class unknown_partition.
// f must not change the record nor keep the pointer; it also sees records without key or value. It has to give the same
// for the same, or a record that is processed again after a failure goes elsewhere.
//
// A topic that is given more partitions while the application runs has those for f once the instance was started again.
// Default: by the key, as Kafka's own producers do, and of a window ([WindowedKey]) by the key without its start and end; a
// record without one goes to the partition with the number of its source's.
func PartitionBy[K, V any](f func(r *Record[K, V], partitions int) int) SinkOption {
	return sinkOption(func(o *sinkOptions) { o.partition = f })
}

type sink[K, V any] struct {
	ctx       *task.Context
	n         *node
	keyed     bool                         // a record without a key is dropped
	stop      bool                         // rather than drop a record
	topic     func(K, V) string            // nil for one topic
	partition func(*Record[K, V], int) int // nil for the default
	record    *Record[K, V]                // that is being written, for choose
	placer    placer                       // nil: the partition goes by all bytes of a key
	keys      Codec[K]
	values    Codec[V]
	message   task.Message
	key       []byte
	value     []byte
}

func (s *sink[K, V]) process(r *Record[K, V]) error {
	if s.keyed && r.NullKey {
		dropNullKey(s.ctx, s.n)
		return nil
	}
	if !s.encode(r) {
		if s.stop {
			return s.ctx.Stop(errors.New("its result cannot be encoded"))
		}
		s.ctx.Drop(s.n.unencodable())
		return nil
	}
	m := &s.message
	if s.topic != nil {
		if m.Topic = s.topic(r.Key, r.Value); !slices.Contains(s.n.topics, m.Topic) {
			s.ctx.Drop(s.n.problem(record.StageProcess, classUnknownTopic, "the chosen topic is not one of those declared"))
			return nil
		}
	}
	m.Headers, m.Timestamp, s.record = r.Headers, r.Timestamp, r
	defer func() { m.Headers, s.record = nil, nil }()
	if s.stop {
		return s.ctx.SendOrStop(m)
	}
	s.ctx.Send(s.n.id, m)
	return nil
}

// encode puts key and value into the message. It returns false if that is not possible.
func (s *sink[K, V]) encode(r *Record[K, V]) bool {
	m := &s.message
	var err error
	if m.Key, s.key, err = encode(s.keys, s.key, r.Key, r.NullKey); err != nil {
		return false
	}
	m.Value, s.value, err = encode(s.values, s.value, r.Value, r.NullValue)
	return err == nil
}

// placing returns the sink after it was told how partitions are chosen, if not by all bytes of a key.
func (s *sink[K, V]) placing() *sink[K, V] {
	s.placer, _ = s.keys.(placer)
	if s.partition != nil || s.placer != nil {
		s.message.Choose = s.choose
	}
	return s
}

// choose returns the partition of the record that is being written, or a negative number to leave it to the default.
func (s *sink[K, V]) choose(partitions int) int {
	if s.partition != nil {
		if p := s.partition(s.record, partitions); p >= 0 {
			return p
		}
	}
	if s.placer == nil || s.message.Key == nil {
		return -1
	}
	return int(task.Place(s.placer.PlacedBy(s.message.Key), 0, partitions))
}

// encode returns the bytes of v, which are nil for null, and the memory for the next call.
func encode[T any](c Codec[T], memory []byte, v T, null bool) (b, kept []byte, err error) {
	if null {
		return nil, memory, nil
	}
	if memory == nil {
		memory = make([]byte, 0, 64) // a codec that appends nothing to it has not made null of v
	}
	b, err = c.Append(memory[:0], v)
	if b == nil {
		return nil, memory, err
	}
	return b, b, err
}

// To writes the stream to a topic.
func (s Stream[K, V]) To(topic string, opts ...SinkOption) {
	s.n.topology().checkTopic("to", topic)
	s.addSink("to", "", topic, opts, nil)
}

// ToChosen writes each record to the topic that choose names, one of topics, which are made known so that they can be
// checked before the application starts. A record for which it names another one is dropped. Of a record without a value
// choose gets the zero V, so that deletions can be sent on by key. The name is the node's.
func (s Stream[K, V]) ToChosen(name string, topics []string, choose func(K, V) string, opts ...SinkOption) {
	t := s.n.topology()
	if len(topics) == 0 {
		t.fail("to", "no topics")
	}
	for _, topic := range topics {
		t.checkTopic("to", topic)
	}
	t.needs("to", "choose", choose != nil)
	s.addSink("to", name, "", opts, choose).topics = slices.Clone(topics)
}

func (s Stream[K, V]) addSink(op, name, topic string, opts []SinkOption, choose func(K, V) string) *node {
	var o sinkOptions
	each(opts, func(opt SinkOption) { opt.applySink(&o) })
	s.needCodecs(op)
	partition, ok := o.partition.(func(*Record[K, V], int) int)
	if o.partition != nil && !ok {
		s.n.topology().fail(op, "PartitionBy takes %T, not records of %s", o.partition, typesOf[K, V]())
	}
	s.n.topology().needs(op, "the function of PartitionBy", !ok || partition != nil)
	n := s.n.topology().add(kindSink, name, s.n)
	n.topic = topic
	n.build = func(b *builder) []any {
		m := task.Message{Topic: topic, Partition: task.AnyPartition, Provenance: o.provenance, NoLetter: o.noLetters, CarryOrigin: o.origin}
		sk := &sink[K, V]{ctx: b.ctx, n: n, topic: choose, partition: partition, stop: o.stop, keys: s.keys, values: s.values, message: m}
		return []any{sk.placing()}
	}
	return n
}
