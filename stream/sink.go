package stream

import (
	"slices"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// SinkOption says how a topic is written.
type SinkOption interface{ applySink(*sinkOptions) }

type sinkOptions struct {
	partition  any // func(K, V, int) int
	provenance bool
}

type sinkOption func(*sinkOptions)

func (f sinkOption) applySink(o *sinkOptions) { f(o) }

// Provenance adds to each record a header millrace.source, the topic/partition/offset of the record that led to it.
func Provenance() SinkOption { return sinkOption(func(o *sinkOptions) { o.provenance = true }) }

type sink[K, V any] struct {
	ctx     *task.Context
	n       *node
	topic   func(K, V) string // nil for one topic
	keys    Codec[K]
	values  Codec[V]
	message task.Message
	key     []byte
	value   []byte
}

func (s *sink[K, V]) process(r *Record[K, V]) error {
	m := &s.message
	var err error
	if m.Key, s.key, err = encode(s.keys, s.key, r.Key, r.NullKey); err == nil {
		m.Value, s.value, err = encode(s.values, s.value, r.Value, r.NullValue)
	}
	if err != nil {
		d := s.n.problem(record.StageEncode, classUnencodable, "the record cannot be encoded")
		d.Letter = true
		s.ctx.Drop(d)
		return nil
	}
	if s.topic != nil {
		if m.Topic = s.topic(r.Key, r.Value); !slices.Contains(s.n.topics, m.Topic) {
			d := s.n.problem(record.StageProcess, classUnknownTopic, "the chosen topic is not one of those declared")
			d.Letter = true
			s.ctx.Drop(d)
			return nil
		}
	}
	m.Headers, m.Timestamp = r.Headers, r.Timestamp
	s.ctx.Send(s.n.id, m)
	m.Headers = nil
	return nil
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
	if topic == "" {
		s.n.t.fail("to", "no topic")
	}
	s.addSink("to", "", topic, opts, nil)
}

// ToChosen writes each record to the topic that choose names, one of topics, which are made known so that they can be
// checked before the application starts. The name is the node's.
func (s Stream[K, V]) ToChosen(name string, topics []string, choose func(K, V) string, opts ...SinkOption) {
	t := s.n.t
	if len(topics) == 0 {
		t.fail("to", "no topics")
	}
	s.addSink("to", name, "", opts, choose).topics = topics
}

func (s Stream[K, V]) addSink(op, name, topic string, opts []SinkOption, choose func(K, V) string) *node {
	var o sinkOptions
	for _, opt := range opts {
		opt.applySink(&o)
	}
	s.needCodecs(op)
	n := s.n.t.add(kindSink, name, s.n)
	n.topic = topic
	n.build = func(b *builder) []any {
		m := task.Message{Topic: topic, Partition: task.AnyPartition, Provenance: o.provenance}
		return []any{&sink[K, V]{ctx: b.ctx, n: n, topic: choose, keys: s.keys, values: s.values, message: m}}
	}
	return n
}
