package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// KeyValue is a key with its value.
type KeyValue[K, V any] struct {
	Key   K
	Value V
}

// KV makes a [KeyValue].
func KV[K, V any](k K, v V) KeyValue[K, V] { return KeyValue[K, V]{k, v} }

// derive declares a node that changes types. Where one stays its codec stays.
func derive[K, V, K2, V2 any](s Stream[K, V], kind, name string, build func(b *builder, n *node, next edge[K2, V2]) processor[K, V]) Stream[K2, V2] {
	n := s.n.topology().add(kind, name, s.n)
	n.build = func(b *builder) []any { return []any{build(b, n, next[K2, V2](b, n))} }
	return Stream[K2, V2]{n: n, keys: kept[K2](s.keys), values: kept[V2](s.values), rekeyed: s.rekeyed}
}

type mapValues[K, V, V2 any] struct {
	f    func(V) V2
	next edge[K, V2]
	out  Record[K, V2]
}

func (m *mapValues[K, V, V2]) process(r *Record[K, V]) error {
	m.out.Key, m.out.Timestamp, m.out.Headers, m.out.NullKey = r.Key, r.Timestamp, r.Headers, r.NullKey
	if m.out.NullValue = r.NullValue; r.NullValue {
		m.out.Value = *new(V2)
	} else {
		m.out.Value = m.f(r.Value)
	}
	return m.next.send(&m.out)
}

// MapValues changes the value of each record. A record without one stays without.
func MapValues[K, V, V2 any](s Stream[K, V], f func(V) V2, opts ...Option) Stream[K, V2] {
	s.n.topology().needs("map-values", "f", f != nil)
	return derive(s, "map-values", s.n.topology().nameIn("map-values", opts), func(_ *builder, _ *node, next edge[K, V2]) processor[K, V] {
		return &mapValues[K, V, V2]{f: f, next: next}
	})
}

type mapValuesWithKey[K, V, V2 any] struct {
	f    func(K, V) V2
	next edge[K, V2]
	out  Record[K, V2]
}

func (m *mapValuesWithKey[K, V, V2]) process(r *Record[K, V]) error {
	m.out.Key, m.out.Timestamp, m.out.Headers, m.out.NullKey = r.Key, r.Timestamp, r.Headers, r.NullKey
	if m.out.NullValue = r.NullValue; r.NullValue {
		m.out.Value = *new(V2)
	} else {
		m.out.Value = m.f(r.Key, r.Value)
	}
	return m.next.send(&m.out)
}

// MapValuesWithKey is [MapValues] with a function that also sees the key, which must not change: records stay where they
// are.
func MapValuesWithKey[K, V, V2 any](s Stream[K, V], f func(K, V) V2, opts ...Option) Stream[K, V2] {
	s.n.topology().needs("map-values", "f", f != nil)
	return derive(s, "map-values", s.n.topology().nameIn("map-values", opts), func(_ *builder, _ *node, next edge[K, V2]) processor[K, V] {
		return &mapValuesWithKey[K, V, V2]{f: f, next: next}
	})
}

type mapRecords[K, V, K2, V2 any] struct {
	ctx  *task.Context
	n    *node
	f    func(K, V) (K2, V2)
	next edge[K2, V2]
	out  Record[K2, V2]
}

func (m *mapRecords[K, V, K2, V2]) process(r *Record[K, V]) error {
	if r.NullValue {
		m.ctx.Drop(m.n.problem(record.StageProcess, classNullValue, "the record has no value to map"))
		return nil
	}
	m.out.Timestamp, m.out.Headers = r.Timestamp, r.Headers
	m.out.Key, m.out.Value = m.f(r.Key, r.Value)
	return m.next.send(&m.out)
}

// Map changes key and value of each record. What then needs all records of a key in one partition repartitions first.
// A record without a value is dropped.
func Map[K, V, K2, V2 any](s Stream[K, V], f func(K, V) (K2, V2), opts ...Option) Stream[K2, V2] {
	s.n.topology().needs("map", "f", f != nil)
	out := derive(s, "map", s.n.topology().nameIn("map", opts), func(b *builder, n *node, next edge[K2, V2]) processor[K, V] {
		return &mapRecords[K, V, K2, V2]{ctx: b.ctx, n: n, f: f, next: next}
	})
	out.rekeyed = true
	return out
}

// SelectKey changes the key of each record, as [Map] does.
func SelectKey[K, V, K2 any](s Stream[K, V], f func(K, V) K2, opts ...Option) Stream[K2, V] {
	s.n.topology().needs("select-key", "f", f != nil)
	out := derive(s, "select-key", s.n.topology().nameIn("select-key", opts), func(b *builder, n *node, next edge[K2, V]) processor[K, V] {
		return &mapRecords[K, V, K2, V]{ctx: b.ctx, n: n, f: func(k K, v V) (K2, V) { return f(k, v), v }, next: next}
	})
	out.values, out.rekeyed = s.values, true
	return out
}

type flatMap[K, V, K2, V2 any] struct {
	ctx  *task.Context
	n    *node
	f    func(K, V) []KeyValue[K2, V2]
	next edge[K2, V2]
	out  Record[K2, V2]
}

func (m *flatMap[K, V, K2, V2]) process(r *Record[K, V]) error {
	if r.NullValue {
		m.ctx.Drop(m.n.problem(record.StageProcess, classNullValue, "the record has no value to map"))
		return nil
	}
	for _, kv := range m.f(r.Key, r.Value) {
		m.out.Key, m.out.Value, m.out.Timestamp, m.out.Headers = kv.Key, kv.Value, r.Timestamp, r.Headers
		if err := m.next.send(&m.out); err != nil {
			return err
		}
	}
	return nil
}

// FlatMap makes any number of records of each, as [Map] makes one. The slice that f returns is f's again after its next
// call.
func FlatMap[K, V, K2, V2 any](s Stream[K, V], f func(K, V) []KeyValue[K2, V2], opts ...Option) Stream[K2, V2] {
	s.n.topology().needs("flat-map", "f", f != nil)
	out := derive(s, "flat-map", s.n.topology().nameIn("flat-map", opts), func(b *builder, n *node, next edge[K2, V2]) processor[K, V] {
		return &flatMap[K, V, K2, V2]{ctx: b.ctx, n: n, f: f, next: next}
	})
	out.rekeyed = true
	return out
}

type flatMapValues[K, V, V2 any] struct {
	f    func(K, V) []V2
	next edge[K, V2]
	out  Record[K, V2]
}

func (m *flatMapValues[K, V, V2]) process(r *Record[K, V]) error {
	m.out.Key, m.out.Timestamp, m.out.Headers, m.out.NullKey, m.out.NullValue = r.Key, r.Timestamp, r.Headers, r.NullKey, r.NullValue
	if r.NullValue {
		m.out.Value = *new(V2)
		return m.next.send(&m.out)
	}
	for _, v := range m.f(r.Key, r.Value) {
		m.out.Value = v
		if err := m.next.send(&m.out); err != nil {
			return err
		}
	}
	return nil
}

// FlatMapValues makes any number of records of each, with the same key. A record without a value passes as it is. The
// slice that f returns is f's again after its next call.
func FlatMapValues[K, V, V2 any](s Stream[K, V], f func(V) []V2, opts ...Option) Stream[K, V2] {
	s.n.topology().needs("flat-map-values", "f", f != nil)
	return FlatMapValuesWithKey(s, func(_ K, v V) []V2 { return f(v) }, opts...)
}

// FlatMapValuesWithKey is [FlatMapValues] with a function that also sees the key, which must not change.
func FlatMapValuesWithKey[K, V, V2 any](s Stream[K, V], f func(K, V) []V2, opts ...Option) Stream[K, V2] {
	s.n.topology().needs("flat-map-values", "f", f != nil)
	return derive(s, "flat-map-values", s.n.topology().nameIn("flat-map-values", opts), func(_ *builder, _ *node, next edge[K, V2]) processor[K, V] {
		return &flatMapValues[K, V, V2]{f: f, next: next}
	})
}

// ErrorPolicy says what becomes of a record for which a function returns an error. The error is not told in the counts
// and dead letters, since it may hold a value of the record: see [Rejection].
type ErrorPolicy struct {
	// Retries is how often the function is called again first, at once.
	Retries int
	Then    Action
}

// Action is what is done when a function has failed for good.
type Action int

// The actions.
const (
	Fail       Action = iota // the application stops with the error
	Skip                     // the record is dropped: counted, and a dead letter where the topology has them
	DeadLetter               // the same, and a topology without dead letters is at fault
)

func (p ErrorPolicy) applyNode(o *nodeOptions) { o.policy, o.decided = p, true }

// OnError is the policy without retries. Default: Fail.
func OnError(a Action) ErrorPolicy { return ErrorPolicy{Then: a} }

// checkPolicy notes a fault if a policy cannot be followed.
func (t *Topology) checkPolicy(op string, p ErrorPolicy) {
	if p.Then == DeadLetter && t.deadLetters == "" {
		t.fail(op, "dead letters need a topic: give the topology DeadLetters")
	}
	if p.Retries < 0 {
		t.fail(op, "retries are negative")
	}
	if p.Then < Fail || p.Then > DeadLetter {
		t.fail(op, "action %d: want Fail, Skip or DeadLetter", p.Then)
	}
}

// failed applies a policy after the last retry: it drops the present record, or returns the error.
func (n *node) failed(ctx *task.Context, p ErrorPolicy, err error) error {
	if s, ok := errors.AsType[*Stop](err); ok {
		return ctx.Stop(s.Err)
	}
	if p.Then == Fail {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	d := n.problem(record.StageProcess, classFunction, "the function failed")
	if r, ok := errors.AsType[*Rejection](err); ok {
		d.Problem = record.Problem{Stage: r.Stage, Class: r.Class, Field: r.Field, Reason: r.Reason}
	} else if l := ctx.Log(); l.Enabled(ctx.Done(), slog.LevelDebug) { // it may have data of the record in it, which letters and logs are spared
		l.LogAttrs(ctx.Done(), slog.LevelDebug, "a record is dropped: a function failed", slog.String("node", n.name), slog.Any("error", err))
	}
	ctx.Drop(d)
	return nil
}

// Stop is an error that ends the application at a record, whatever the operator's [ErrorPolicy] is, without retries: what came
// before in the partition is committed, and the record is not. An application that is started again meets it again.
type Stop struct{ Err error }

// Error returns the cause's text.
func (s *Stop) Error() string { return s.Err.Error() }

// Unwrap returns the cause.
func (s *Stop) Unwrap() error { return s.Err }

// Rejection is an error that says how a record that a function cannot take appears in the counts and in the dead
// letters. Reason must not hold a value of the record.
type Rejection record.Problem

// Error returns the reason.
func (r *Rejection) Error() string { return r.Stage + ": " + r.Class + ": " + r.Reason }

type tryMapValues[K, V, V2 any] struct {
	ctx    *task.Context
	n      *node
	policy ErrorPolicy
	f      func(context.Context, K, V) (V2, error)
	next   edge[K, V2]
	out    Record[K, V2]
}

func (m *tryMapValues[K, V, V2]) process(r *Record[K, V]) (err error) {
	m.out.Key, m.out.Timestamp, m.out.Headers, m.out.NullKey = r.Key, r.Timestamp, r.Headers, r.NullKey
	m.out.Value, m.out.NullValue = *new(V2), r.NullValue
	if !r.NullValue {
		for try := 0; ; try++ {
			if m.out.Value, err = m.f(m.ctx.Done(), r.Key, r.Value); err == nil {
				break
			}
			if stop := (*Stop)(nil); try >= m.policy.Retries || errors.As(err, &stop) || m.ctx.Done().Err() != nil {
				return m.n.failed(m.ctx, m.policy, err)
			}
		}
	}
	return m.next.send(&m.out)
}

// TryMapValues is [MapValues] with a function that can fail: see [OnError] and [ErrorPolicy]. Its context ends when the
// result is not wanted any more. The task waits for it; to call something that takes its time use [MapBatch].
func TryMapValues[K, V, V2 any](s Stream[K, V], f func(context.Context, V) (V2, error), opts ...Option) Stream[K, V2] {
	s.n.topology().needs("try-map-values", "f", f != nil)
	return TryMapValuesWithKey(s, func(ctx context.Context, _ K, v V) (V2, error) { return f(ctx, v) }, opts...)
}

// TryMapValuesWithKey is [TryMapValues] with a function that also sees the key, which must not change.
func TryMapValuesWithKey[K, V, V2 any](s Stream[K, V], f func(context.Context, K, V) (V2, error), opts ...Option) Stream[K, V2] {
	s.n.topology().needs("try-map-values", "f", f != nil)
	o := options(opts)
	s.n.topology().checkPolicy("try-map-values", o.policy)
	return derive(s, "try-map-values", o.name, func(b *builder, n *node, next edge[K, V2]) processor[K, V] {
		return &tryMapValues[K, V, V2]{ctx: b.ctx, n: n, policy: o.policy, f: f, next: next}
	})
}
