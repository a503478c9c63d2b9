package stream

import (
	"fmt"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// SourceOption says how a topic is read.
type SourceOption interface {
	TableOption
	applySource(*sourceOptions)
}

type sourceOptions struct {
	start     task.Start
	eventTime any // func(*Record[K, V]) time.Time
	useClock  bool
	origin    bool
	broken    bool
	purge     bool
}

// like tells whether options are the same, as far as can be told: functions cannot be compared.
func (o *sourceOptions) like(other *sourceOptions) bool {
	return o.start == other.start && o.useClock == other.useClock && o.origin == other.origin && o.broken == other.broken && o.purge == other.purge && (o.eventTime == nil) == (other.eventTime == nil)
}

type sourceOption func(*sourceOptions)

func (f sourceOption) applySource(o *sourceOptions) { f(o) }

// StartLatest begins, where the application has committed nothing yet, at records that are written from then on.
// Default: at the oldest record.
func StartLatest() SourceOption {
	return sourceOption(func(o *sourceOptions) { o.start = task.Latest })
}

// EventTime takes the event time of a record from what it holds. A record for which f returns the zero time, or one
// before 1970, is dropped. f is not called for a record without a value, which keeps its timestamp. Default: the record's
// timestamp.
func EventTime[K, V any](f func(*Record[K, V]) time.Time) SourceOption {
	return sourceOption(func(o *sourceOptions) { o.eventTime = f })
}

// UseClock gives a record the time of the clock where its own event time is missing or too far ahead: see [MaxAhead].
// Default: such a record is dropped.
func UseClock() SourceOption { return sourceOption(func(o *sourceOptions) { o.useClock = true }) }

// WithOrigin reads a topic that was written with [KeepOrigin]: what comes of a record is the result of the one that led to it, as
// behind a repartition topic with [CarryOrigin]. Default: it is the result of the record of the topic.
func WithOrigin() SourceOption { return sourceOption(func(o *sourceOptions) { o.origin = true }) }

// KeepUnreadable gives a record whose batch becomes too large when it is decompressed as one without key and value, of which
// [ProcessorContext.Origin] says that it is unreadable. Default: such a record is dropped.
func KeepUnreadable() SourceOption { return sourceOption(func(o *sourceOptions) { o.broken = true }) }

// DeleteProcessed deletes records from the topic once what came of them is committed, as is done with repartition topics: for a topic that
// no other application reads. Default: they stay.
func DeleteProcessed() SourceOption { return sourceOption(func(o *sourceOptions) { o.purge = true }) }

// The kinds of nodes that the rest of the package asks for.
const (
	kindSource      = "source"
	kindSink        = "sink"
	kindRepartition = "repartition"
)

// From reads a topic as a stream of records. Reading a topic a second time gives the same stream: types, codecs and, if
// any are given again, options have to be the same.
func From[K, V any](t *Topology, topic string, key Codec[K], value Codec[V], opts ...SourceOption) Stream[K, V] {
	return Stream[K, V]{n: addSource(t, "stream", topic, key, value, opts), keys: key, values: value}
}

// addSource declares the source node of a topic, or finds the one that is there.
func addSource[K, V any](t *Topology, op, topic string, key Codec[K], value Codec[V], opts []SourceOption) *node {
	var o sourceOptions
	each(opts, func(opt SourceOption) { opt.applySource(&o) })
	t.checkTopic(op, topic)
	if key == nil || value == nil {
		t.fail(op, "topic %s: no codec of its keys or values", topic)
	}
	if n, ok := t.sources[topic]; ok {
		codecs := codecsOf(key, value)
		switch {
		case n.types != typesOf[K, V]():
			t.fail(op, "topic %s is read already, as %s at %s: read it once, and derive the rest", topic, n.types, n.at)
		case n.codecs != codecs:
			t.fail(op, "topic %s is read already, with codecs %s at %s, not %s: read it once, and derive the rest", topic, n.codecs, n.at, codecs)
		case len(opts) > 0 && !n.options.like(&o):
			t.fail(op, "topic %s is read already, with other options, at %s: give them there", topic, n.at)
		}
		if n.types == typesOf[K, V]() {
			return n
		}
	}
	extract, ok := o.eventTime.(func(*Record[K, V]) time.Time)
	if o.eventTime != nil && !ok {
		t.fail(op, "topic %s: EventTime takes %T, not records of %s", topic, o.eventTime, typesOf[K, V]())
	}
	t.needs(op, "the function of EventTime", !ok || extract != nil)
	n := t.add(kindSource, "")
	n.name, n.topic, n.types, n.codecs, n.options = topic, topic, typesOf[K, V](), codecsOf(key, value), o
	n.source = &task.Source{Start: o.start, CarriesOrigin: o.origin, Purge: o.purge}
	t.sources[topic] = n
	n.build = func(b *builder) []any {
		s := &sourceNode[K, V]{
			ctx: b.ctx, n: n, stats: b.ctx.Stats(n.id), key: key, value: value, extract: extract, useClock: o.useClock, carries: o.origin, broken: o.broken, maxAhead: t.maxAhead, next: next[K, V](b, n),
		}
		_, s.keyNull = key.(nullable)
		_, s.valueNull = value.(nullable)
		return []any{s}
	}
	return n
}

// typesOf names the types of key and value.
func typesOf[K, V any]() string { return fmt.Sprintf("%T, %T", *new(K), *new(V)) }

// codecsOf names the types of two codecs.
func codecsOf(key, value any) string { return codecName(key) + ", " + codecName(value) }

// sourceNode decodes the records of a topic.
type sourceNode[K, V any] struct {
	ctx       *task.Context
	n         *node
	stats     *task.NodeStats
	key       Codec[K]
	value     Codec[V]
	keyNull   bool // the codec decodes null
	valueNull bool
	extract   func(*Record[K, V]) time.Time
	useClock  bool
	carries   bool // the last header is the origin
	broken    bool // records that are unreadable are not dropped
	maxAhead  time.Duration
	next      edge[K, V]
	record    Record[K, V]
}

// Load decodes a record.
func (s *sourceNode[K, V]) Load(raw *record.Raw) (int64, bool, error) {
	s.stats.Records++
	if raw.Unreadable && !s.broken {
		s.ctx.Drop(s.n.problem(record.StageDecode, classUnreadable, "the batch that the record is in becomes too large when it is decompressed"))
		return 0, false, nil
	}
	r := &s.record
	*r = Record[K, V]{Timestamp: raw.Timestamp, Headers: raw.Headers}
	if s.carries {
		r.Headers = task.WithoutOrigin(raw.Headers)
	}
	var ok bool
	if r.Key, r.NullKey, ok = decodeOr(s.key, raw.Key, s.keyNull); !ok {
		s.ctx.Drop(s.n.problem(record.StageDecode, classUndecodable, "the key cannot be decoded"))
		return 0, false, nil
	}
	if r.Value, r.NullValue, ok = decodeOr(s.value, raw.Value, s.valueNull); !ok {
		s.ctx.Drop(s.n.problem(record.StageDecode, classUndecodable, "the value cannot be decoded"))
		return 0, false, nil
	}
	if s.extract != nil && !r.NullValue {
		if at := s.extract(r); at.IsZero() {
			r.Timestamp = -1
		} else {
			r.Timestamp = at.UnixMilli()
		}
	}
	return r.Timestamp, s.checkTime(), nil
}

// decodeOr decodes a key or a value. null says that there is none, ok that the codec could; sees that it decodes null.
func decodeOr[T any](c Codec[T], b []byte, sees bool) (v T, null, ok bool) {
	if b == nil && !sees {
		return v, true, true
	}
	v, err := c.Decode(b)
	return v, false, err == nil // what failed is told without the error, which may hold the value
}

// checkTime drops the record if its event time would do harm.
func (s *sourceNode[K, V]) checkTime() bool {
	now := s.ctx.Now()
	switch {
	case s.record.Timestamp >= 0 && s.record.Timestamp <= aheadOf(now, s.maxAhead):
		return true
	case s.useClock:
		s.record.Timestamp = now.UnixMilli()
		return true
	case s.record.Timestamp < 0:
		s.ctx.Drop(s.n.problem(record.StageDecode, classNoTime, "the record has no event time, or one before 1970"))
	default:
		s.ctx.Drop(s.n.problem(record.StageDecode, classFuture, "the event time is too far ahead of the clock"))
	}
	return false
}

// Push sends the record on.
func (s *sourceNode[K, V]) Push() error { return s.next.send(&s.record) }
