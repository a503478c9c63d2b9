package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Processor is an operator of one's own, in a task. Its methods are called by one goroutine at a time.
type Processor[K, V, K2, V2 any] interface {
	// Init is called before the first record, and again with another Processor after a round was undone: what is not in
	// a store is gone then.
	Init(*ProcessorContext[K2, V2]) error
	// Process takes a record. It must not change it, nor keep the pointer.
	Process(*Record[K, V]) error
}

// Flusher is a [Processor] that has something to send on before each commit: what it has put together of the records since
// the last one, say. It can then do without a store: what is sent on and the records that led to it are committed at
// once, and a round that is undone begins with another Processor. There is no record at hand during the call.
type Flusher interface {
	// Flush is called when all records before the commit were processed, and before stores are written.
	Flush() error
}

// ProcessorContext is what a [Processor] can do. It is for the goroutine that calls the processor.
type ProcessorContext[K2, V2 any] struct {
	n    *node
	ctx  *task.Context
	next *edge[K2, V2]
	b    *builder
}

// Forward sends a record on, with the time and the headers that it has: a Timestamp that was not set is 1970.
func (c *ProcessorContext[K2, V2]) Forward(r *Record[K2, V2]) error { return c.next.send(r) }

// Drop counts the record at hand as dropped by this operator, for a reason, and writes a dead letter where the topology
// has a topic for them.
func (c *ProcessorContext[K2, V2]) Drop(r Rejection) {
	c.ctx.Drop(task.Drop{Node: c.n.id, Problem: record.Problem(r)})
}

// StreamTime returns the highest event time that the task has seen, in milliseconds; before the first record it is the
// lowest int64.
func (c *ProcessorContext[K2, V2]) StreamTime() int64 { return c.ctx.StreamTime() }

// Now returns the time of the clock.
func (c *ProcessorContext[K2, V2]) Now() time.Time { return c.ctx.Now() }

// Epoch returns a number that says what to compute with, where the application may change that while it runs: it is the same
// for all records between two commits, and never decreases for the records of a task. 0 for an application that does not.
func (c *ProcessorContext[K2, V2]) Epoch() int64 { return c.ctx.Epoch() }

// Origin returns the record that led to the one at hand, and whether there is one: the record of the task's source as it
// came, or the one that it carries, where it was repartitioned with [CarryOrigin]. It is valid during the call of Process.
func (c *ProcessorContext[K2, V2]) Origin() (record.Raw, bool) {
	var own record.Raw
	if r := c.ctx.Origin(&own); r != nil {
		return *r, true
	}
	return record.Raw{}, false
}

// Log returns the logger of the application.
func (c *ProcessorContext[K2, V2]) Log() *slog.Logger { return c.ctx.Log() }

// Context returns a context that ends when the task does.
func (c *ProcessorContext[K2, V2]) Context() context.Context { return c.ctx.Done() }

// Partition returns the partition of the task.
func (c *ProcessorContext[K2, V2]) Partition() int32 { return c.ctx.ID().Partition }

// Punctuation is a function that is called again and again.
type Punctuation struct{ s *task.Schedule }

// Cancel ends the calls.
func (p Punctuation) Cancel() { p.s.Stop() }

// OnStreamTime has f called with the stream time after the next record, and then whenever stream time has come to another
// multiple of interval since 1970-01-01 00:00:00 UTC, at most once for a record. The interval is at least a millisecond.
func (c *ProcessorContext[K2, V2]) OnStreamTime(interval time.Duration, f func(timestamp int64) error) Punctuation {
	return Punctuation{c.ctx.OnStreamTime(interval, c.named(f))}
}

// OnWallClock has f called, with the time of the clock in milliseconds, once for each interval at most, which is at least
// a millisecond.
func (c *ProcessorContext[K2, V2]) OnWallClock(interval time.Duration, f func(timestamp int64) error) Punctuation {
	return Punctuation{c.ctx.OnWallClock(interval, c.named(f))}
}

// named has errors of a punctuation tell whose it is.
func (c *ProcessorContext[K2, V2]) named(f func(timestamp int64) error) func(timestamp int64) error {
	if f == nil {
		return func(int64) error { return c.n.wrap(errors.New("the function of a punctuation is nil")) }
	}
	return func(timestamp int64) error { return c.n.wrap(f(timestamp)) }
}

// wrap says at which operator an error was met.
func (n *node) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", n.name, err)
}

// Store is a key-value store of processors. Declare one with [NewStore].
type Store[K comparable, V any] struct {
	name   string
	keys   Codec[K]
	values Codec[V]
	o      storeOptions
	n      *node // the processor that has it
}

// NewStore declares a store for [Process]. A store belongs to one operator.
func NewStore[K comparable, V any](name string, keys Codec[K], values Codec[V], opts ...StoreOption) *Store[K, V] {
	return &Store[K, V]{name: name, keys: keys, values: values, o: storeOptionsOf(opts)}
}

// StoreRef is a store of any type.
type StoreRef interface {
	declare(n *node)
	flusher(b *builder) rowHolder
}

func (s *Store[K, V]) declare(n *node) {
	const op = "store"
	if s == nil {
		n.t.fail("process", "a store is nil")
		return
	}
	n.t.checkName(op, s.name)
	needKey[K](n.t, op)
	switch {
	case s.keys == nil || s.values == nil:
		n.t.fail(op, "the store %q has no codec of its keys or values", s.name)
	case s.o.emitOnCommit:
		n.t.fail(op, "the store %q: EmitOnCommit is for tables, a processor sends on what it forwards", s.name)
	case s.n != nil:
		n.t.fail(op, "the store %q belongs to the operator at %s: declare one for each", s.name, s.n.at)
		return
	}
	s.n, n.expires = n, true
	n.store(lookedUp(s.o.table(s.name), s.keys, s.values))
}

// storeKey tells the stores of one node apart.
type storeKey struct {
	n    *node
	name string
}

func (s *Store[K, V]) in(b *builder) *kvStore[K, V] {
	key := storeKey{s.n, s.name}
	if kv, ok := b.stores[key].(*kvStore[K, V]); ok {
		return kv
	}
	kv := newKVStore(s.name, b.ctx.Store(s.name), s.keys, s.values, s.o.cached)
	kv.ages(b, s.n, s.o)
	b.stores[key] = kv
	return kv
}

// rowHolder is a store of any type in a task.
type rowHolder interface {
	task.Flusher
	task.Holder
	// age moves the stream time of a store with a TTL on; it returns false where there is none.
	age(t int64) (bool, error)
}

type storeFlusher[K comparable, V any] struct{ kv *kvStore[K, V] }

func (f storeFlusher[K, V]) Flush() error     { return f.kv.flush(nil) }
func (f storeFlusher[K, V]) Uncommitted() int { return f.kv.uncommitted() }

func (f storeFlusher[K, V]) age(t int64) (bool, error) {
	if f.kv.ttl == nil {
		return false, nil
	}
	f.kv.ttl.advance(t)
	return true, f.kv.expire()
}

func (s *Store[K, V]) flusher(b *builder) rowHolder { return storeFlusher[K, V]{s.in(b)} }

// State is a [Store] in a task.
type State[K comparable, V any] struct {
	kv  *kvStore[K, V]
	ctx *task.Context
	err error // why there is no store
}

// Open returns a store that was given to [Process], for the task of the context. The methods of one that was not given
// to this operator return an error.
func Open[K comparable, V, K2, V2 any](c *ProcessorContext[K2, V2], s *Store[K, V]) *State[K, V] {
	if s.n != c.n {
		return &State[K, V]{err: fmt.Errorf("the store %q was not given to the operator %s at %s: name it in the call of Process", s.name, c.n.name, c.n.at)}
	}
	return &State[K, V]{kv: s.in(c.b), ctx: c.ctx}
}

// Get returns the value of a key, and whether there is one.
func (s *State[K, V]) Get(k K) (V, bool, error) {
	if s.err != nil {
		return *new(V), false, s.err
	}
	r, err := s.kv.get(k)
	return r.value, r.exists, err
}

// Put sets the value of a key.
func (s *State[K, V]) Put(k K, v V) error { return s.set(k, row[V]{value: v, exists: true}) }

// Delete removes a key.
func (s *State[K, V]) Delete(k K) error { return s.set(k, row[V]{}) }

func (s *State[K, V]) set(k K, r row[V]) error {
	if s.err != nil {
		return s.err
	}
	return s.kv.put(k, r, s.ctx.Now())
}

// All calls f with every key and value, in the order of the keys' bytes, until it returns false. f may change the
// store; it sees what was there when All was called.
func (s *State[K, V]) All(f func(K, V) (bool, error)) error {
	if s.err != nil {
		return s.err
	}
	return s.kv.scan([]byte{prefixRow}, []byte{prefixRow + 1}, func(k K, r row[V]) (bool, error) { return f(k, r.value) })
}

// Range is [State.All] for the keys from from up to and not including to, in the order of their bytes.
func (s *State[K, V]) Range(from, to K, f func(K, V) (bool, error)) error {
	if s.err != nil {
		return s.err
	}
	low, err := s.kv.bytesOf(from)
	if err != nil {
		return err
	}
	high, err := s.kv.bytesOf(to)
	if err != nil {
		return err
	}
	return s.kv.scan(low, high, func(k K, r row[V]) (bool, error) { return f(k, r.value) })
}

// Process hands a stream to processors of one's own: supplier is called for each task. The stores are for them alone.
func Process[K, V, K2, V2 any](s Stream[K, V], name string, supplier func() Processor[K, V, K2, V2], stores ...StoreRef) Stream[K2, V2] {
	t := s.n.topology()
	t.needs("process", "supplier", supplier != nil)
	if len(stores) > 0 && name == "" {
		t.fail("process", "no name: an operator with stores needs one")
	}
	out := derive(s, "process", name, func(b *builder, n *node, next edge[K2, V2]) processor[K, V] {
		p := &process[K, V, K2, V2]{p: supplier(), next: next}
		if p.p == nil {
			p.p = noProcessor[K, V, K2, V2]{}
		}
		p.ctx = &ProcessorContext[K2, V2]{n: n, ctx: b.ctx, next: &p.next, b: b}
		for _, st := range stores {
			f := st.flusher(b)
			p.stores = append(p.stores, f)
			if aged, _ := f.age(task.NoTime); aged {
				p.aged = append(p.aged, f)
			}
		}
		b.lives(n, p)
		return p
	})
	for _, st := range stores {
		if st == nil {
			t.fail("process", "a store is nil")
			continue
		}
		st.declare(out.n)
	}
	out.rekeyed = true
	return out
}

type process[K, V, K2, V2 any] struct {
	p      Processor[K, V, K2, V2]
	ctx    *ProcessorContext[K2, V2]
	stores []rowHolder
	aged   []rowHolder // those with a TTL
	next   edge[K2, V2]
}

// noProcessor stands for one that a supplier has not made.
type noProcessor[K, V, K2, V2 any] struct{}

var errNoProcessor = errors.New("the supplier has returned nil: want a processor for each call")

func (noProcessor[K, V, K2, V2]) Init(*ProcessorContext[K2, V2]) error { return errNoProcessor }
func (noProcessor[K, V, K2, V2]) Process(*Record[K, V]) error          { return errNoProcessor }

func (p *process[K, V, K2, V2]) open() error { return p.ctx.n.wrap(p.p.Init(p.ctx)) }

func (p *process[K, V, K2, V2]) process(r *Record[K, V]) error {
	for _, s := range p.aged {
		if _, err := s.age(r.Timestamp); err != nil {
			return err
		}
	}
	return p.ctx.n.wrap(p.p.Process(r))
}

// Flush has the processor finish, and writes the stores' changes.
func (p *process[K, V, K2, V2]) Flush() error {
	if f, ok := p.p.(Flusher); ok {
		if err := p.ctx.n.wrap(f.Flush()); err != nil {
			return err
		}
	}
	for _, s := range p.stores {
		if err := s.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// Uncommitted returns how many rows of the stores wait for Flush.
func (p *process[K, V, K2, V2]) Uncommitted() int {
	n := 0
	for _, s := range p.stores {
		n += s.Uncommitted()
	}
	return n
}
