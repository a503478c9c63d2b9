package stream

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Batch is a run of records of one task, in order, and what a function makes of them.
type Batch[K, V, V2 any] struct {
	In  []Record[K, V]
	Out []Result[V2] // one for each of In, empty when the function is called
	// Memory is for results that need some. It is the function's until the results were sent on, and is given to a
	// later batch then, so that a function that appends to Memory[:0] and keeps the result here allocates little.
	Memory []byte
	// Epoch is the epoch of the task for all of In: see [ProcessorContext.Epoch]. A batch keeps the one that it began with.
	Epoch int64

	global func(name string) task.GlobalTable
	origin func(i int) (record.Raw, bool)
}

// Origin returns the record that led to In[i], and whether there is one: see [ProcessorContext.Origin]. It is valid until
// the function returns, and must not be changed.
func (b *Batch[K, V, V2]) Origin(i int) (record.Raw, bool) { return b.origin(i) }

// Result is what a function over batches makes of a record.
type Result[V2 any] struct {
	Value   V2
	Null    bool     // the result has no value
	Headers []Header // those of the result; must not change. Default: those of the record
	// Err says that the record cannot be taken: it is treated as the operator's [ErrorPolicy] says, without retries.
	// A [Rejection] says how it is counted.
	Err error
}

// BatchOptions say how a function over batches is called.
type BatchOptions struct {
	// MaxSize is the largest number of records in a batch. Default: 1000
	MaxSize int
	// MaxBytes is the size of keys, values and headers above which a batch takes no more records. Default: none
	MaxBytes int
	// MaxWait is how long a batch waits for more records when there are none at the moment. A commit does not wait.
	// Default: 0, what is there goes at once
	MaxWait time.Duration
	// Concurrency is the number of batches that the function is called with at a time, over all tasks of an instance; with
	// Async of each task. Default: 1
	Concurrency int
	// Async is for a function that waits for something outside of the process, such as another server, and may wait long.
	// What a task has under way then holds up that task alone: a commit leaves those records out, which are read again if the
	// process ends, and the other tasks are read, processed and committed as ever. That needs a way from one source to the
	// operator without state, processors of one's own and branches; elsewhere commits wait for the function. A function that
	// is waited for must return when its context ends, which is also when the task goes. Default: false, commits wait
	Async bool
	// OnError is what becomes of the records of a batch for which the function returns an error. Default: Fail
	OnError ErrorPolicy
	// Globals are the global tables in which the function looks up rows: see [GlobalTable.Get]. Default: none
	Globals []GlobalRef
}

// GlobalRef is a [GlobalTable] of any type.
type GlobalRef interface{ globalNode() *node }

const defaultBatchSize = 1000

// MapBatch calls f with batches of records, several at a time, and sends on what it makes of them in the order of the
// records. Commits wait for it, so that exactly-once holds for its results too. When Concurrency is used up and another
// batch is full, the task waits.
//
// f is called by several goroutines at a time. A panic in it is an error, which the operator's [ErrorPolicy] is for. Its
// context ends when the results are not wanted any more.
func MapBatch[K, V, V2 any](s Stream[K, V], name string, f func(context.Context, *Batch[K, V, V2]) error, o BatchOptions) Stream[K, V2] {
	const op = "map-batch"
	t := s.n.topology()
	t.checkPolicy(op, o.OnError)
	t.needs(op, "f", f != nil)
	if o.MaxSize < 0 || o.MaxBytes < 0 || o.MaxWait < 0 || o.Concurrency < 0 {
		t.fail(op, "a bound is negative")
		o = BatchOptions{}
	}
	if o.MaxSize == 0 {
		o.MaxSize = defaultBatchSize
	}
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
	slots := make(chan struct{}, o.Concurrency)
	out := derive(s, op, name, func(b *builder, n *node, next edge[K, V2]) processor[K, V] {
		m := &mapBatch[K, V, V2]{ctx: b.ctx, n: n, f: f, o: o, slots: slots, next: next, apart: b.apart == n}
		if o.Async {
			m.slots = make(chan struct{}, o.Concurrency)
		}
		m.until, m.cancel = context.WithCancel(b.ctx.Done())
		b.lives(n, m)
		return m
	})
	out.n.async = o.Async
	for _, g := range o.Globals {
		if g == nil {
			t.fail(op, "a global table is nil")
			continue
		}
		out.n.reading("global table", g.globalNode())
	}
	return out
}

// mapBatch collects records and has a function called with them.
type mapBatch[K, V, V2 any] struct {
	ctx    *task.Context
	n      *node
	f      func(context.Context, *Batch[K, V, V2]) error
	o      BatchOptions
	slots  chan struct{}
	next   edge[K, V2]
	apart  bool            // commits do not wait
	until  context.Context //nolint:containedctx // ends with the task
	cancel context.CancelFunc
	open   *flight[K, V, V2]
	bytes  int                 // of open
	since  time.Time           // of the open batch's first record
	going  []*flight[K, V, V2] // in order
	idle   []*flight[K, V, V2] // to be used again
	left   sync.WaitGroup
	out    Record[K, V2]
}

// flight is a batch on its way.
type flight[K, V, V2 any] struct {
	batch   Batch[K, V, V2]
	sources []record.Raw
	headers []Header // of the records, whose own are not theirs to keep
	err     error
	done    chan struct{} // one token when f has returned
}

func (m *mapBatch[K, V, V2]) process(r *Record[K, V]) error {
	if m.open == nil {
		m.open = m.flight()
		m.open.batch.Epoch = m.ctx.Epoch()
		m.since = m.ctx.Now()
	}
	fl := m.open
	fl.batch.In = append(fl.batch.In, *r)
	var source record.Raw
	if raw := m.ctx.Record(); raw != nil {
		source = *raw
		source.Headers = fl.keep(raw.Headers)
	}
	fl.sources = append(fl.sources, source)
	fl.batch.In[len(fl.batch.In)-1].Headers = fl.keep(r.Headers)
	if m.o.MaxBytes > 0 {
		m.bytes += size(&source)
	}
	if !m.ripe() || m.apart && m.busy() {
		return nil
	}
	return m.submit()
}

// size returns the bytes of a record's key, value and headers.
func size(r *record.Raw) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// ripe tells whether the open batch takes no more records.
func (m *mapBatch[K, V, V2]) ripe() bool {
	return m.open != nil && (len(m.open.batch.In) >= m.o.MaxSize || m.o.MaxBytes > 0 && m.bytes >= m.o.MaxBytes)
}

// busy tells whether as many batches are under way as there may be: an open one then waits, and the task is not held up by it.
func (m *mapBatch[K, V, V2]) busy() bool { return len(m.going) >= m.o.Concurrency }

// Full tells whether the operator takes no more records.
func (m *mapBatch[K, V, V2]) Full() bool { return m.apart && m.ripe() && m.busy() && !m.ctx.Steady() }

// UnderWay returns how many records were taken whose results were not sent on, and the first of them.
func (m *mapBatch[K, V, V2]) UnderWay() (n int, first *record.Raw) {
	for _, fl := range m.going {
		n += len(fl.sources)
	}
	if m.open != nil {
		n += len(m.open.sources)
	}
	switch {
	case len(m.going) > 0:
		first = &m.going[0].sources[0]
	case m.open != nil:
		first = &m.open.sources[0]
	}
	return n, first
}

// keep returns a copy of headers.
func (fl *flight[K, V, V2]) keep(hs []Header) []Header {
	if len(hs) == 0 {
		return nil
	}
	i := len(fl.headers)
	fl.headers = append(fl.headers, hs...) // what grew out of the old memory keeps that alive
	return fl.headers[i:len(fl.headers):len(fl.headers)]
}

func (m *mapBatch[K, V, V2]) flight() *flight[K, V, V2] {
	if n := len(m.idle); n > 0 {
		fl := m.idle[n-1]
		m.idle = m.idle[:n-1]
		return fl
	}
	fl := &flight[K, V, V2]{done: make(chan struct{}, 1)}
	fl.batch.global = m.ctx.Global
	fl.batch.origin = func(i int) (record.Raw, bool) {
		if fl.sources[i].Topic == "" {
			return record.Raw{}, false
		}
		var own record.Raw
		return *m.ctx.OriginOf(&fl.sources[i], &own), true
	}
	return fl
}

// submit sends the open batch on its way, after it has waited for room.
func (m *mapBatch[K, V, V2]) submit() error {
	for len(m.going) > m.o.Concurrency {
		if err := m.land(); err != nil {
			return err
		}
	}
	fl := m.open
	m.open, m.bytes = nil, 0
	m.going = append(m.going, fl)
	fl.batch.Out = append(fl.batch.Out[:0], make([]Result[V2], len(fl.batch.In))...)
	m.left.Go(func() {
		fl.err = m.call(m.until, fl)
		fl.done <- struct{}{}
		m.ctx.Wake()
	})
	return nil
}

// call calls the function when there is a slot, again as often as the policy says.
func (m *mapBatch[K, V, V2]) call(ctx context.Context, fl *flight[K, V, V2]) error {
	for try := 0; ; try++ {
		select {
		case m.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := m.guarded(ctx, fl)
		<-m.slots
		if err == nil || try >= m.o.OnError.Retries || ctx.Err() != nil {
			return err
		}
		fl.batch.Out = append(fl.batch.Out[:0], make([]Result[V2], len(fl.batch.In))...)
	}
}

// guarded makes an error of a panic, which would end the process here.
func (m *mapBatch[K, V, V2]) guarded(ctx context.Context, fl *flight[K, V, V2]) (err error) {
	in := fl.batch.In
	defer func() {
		fl.batch.In = in
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	err = m.f(ctx, &fl.batch)
	if n := len(fl.batch.Out); err == nil && n != len(in) {
		err = fmt.Errorf("the function has left %d results for %d records: want one in Out for each of In", n, len(in))
	}
	return err
}

// land waits for the oldest batch and sends its results on.
func (m *mapBatch[K, V, V2]) land() error {
	fl := m.going[0]
	select {
	case <-fl.done:
	case <-m.ctx.Done().Done():
		return m.ctx.Done().Err()
	}
	if fl.err != nil && m.until.Err() != nil { // nobody waits for the result any more: that says nothing of the records
		return m.until.Err()
	}
	m.going[0] = nil
	m.going = m.going[1:]
	if err := m.forward(fl); err != nil {
		return err
	}
	clear(fl.batch.In) // let go of what they refer to
	clear(fl.batch.Out)
	clear(fl.sources)
	clear(fl.headers)
	fl.batch.In, fl.batch.Out, fl.sources, fl.headers = fl.batch.In[:0], fl.batch.Out[:0], fl.sources[:0], fl.headers[:0]
	m.idle = append(m.idle, fl)
	return nil
}

func (m *mapBatch[K, V, V2]) forward(fl *flight[K, V, V2]) error {
	was := m.ctx.SetRecord(nil)
	defer m.ctx.SetRecord(was)
	for i := range fl.batch.In {
		if fl.sources[i].Topic != "" {
			m.ctx.SetRecord(&fl.sources[i])
		}
		err := fl.err
		if err == nil {
			err = fl.batch.Out[i].Err
		}
		if err != nil {
			if err := m.n.failed(m.ctx, m.o.OnError, err); err != nil {
				return err
			}
			continue
		}
		in, res := &fl.batch.In[i], &fl.batch.Out[i]
		m.out = Record[K, V2]{
			Key: in.Key, Value: res.Value, Timestamp: in.Timestamp, Headers: in.Headers, NullKey: in.NullKey, NullValue: res.Null,
		}
		if res.Headers != nil {
			m.out.Headers = res.Headers
		}
		if err := m.next.send(&m.out); err != nil {
			return err
		}
	}
	return nil
}

// Poll sends the results on that are there.
func (m *mapBatch[K, V, V2]) Poll() error {
	for len(m.going) > 0 && (len(m.going[0].done) > 0 || m.ctx.Steady()) {
		if err := m.land(); err != nil {
			return err
		}
	}
	if m.apart && m.ripe() && !m.busy() {
		return m.submit()
	}
	return nil
}

// Settle is Flush for a commit that does not wait for batches under way.
func (m *mapBatch[K, V, V2]) Settle() error { return m.Poll() }

// Drained is called when there are no more records at the moment.
func (m *mapBatch[K, V, V2]) Drained() error {
	if m.open != nil && m.o.MaxWait == 0 && (!m.apart || !m.busy()) {
		return m.submit()
	}
	return nil
}

// Next returns when the open batch has waited long enough.
func (m *mapBatch[K, V, V2]) Next() time.Time {
	if m.open == nil || m.o.MaxWait == 0 || m.apart && m.busy() {
		return time.Time{}
	}
	return m.since.Add(m.o.MaxWait)
}

// Tick sends the open batch on its way.
func (m *mapBatch[K, V, V2]) Tick(time.Time) error {
	if m.open == nil || m.apart && m.busy() {
		return nil
	}
	return m.submit()
}

// Flush waits for all batches.
func (m *mapBatch[K, V, V2]) Flush() error {
	if m.open != nil {
		if err := m.submit(); err != nil {
			return err
		}
	}
	for len(m.going) > 0 {
		if err := m.land(); err != nil {
			return err
		}
	}
	return nil
}

// Close ends what is under way, and waits for the function to return.
func (m *mapBatch[K, V, V2]) Close() {
	m.cancel()
	m.left.Wait()
}
