package stream

import (
	"fmt"
	"runtime/debug"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Step is what several streams have at one event time, and what a function makes of it: see [InStep].
type Step[K, V, V2 any] struct {
	// In are the records, by stream; nil is that the stream has none. They must not be changed, nor be kept.
	In []*Record[K, V]
	// Of is the number of the stream whose record led to Out, or to an error: what comes of it names that one as its source. There has to be
	// such a record.
	Of int
	// Out is sent on.
	Out Record[K, V2]

	origin func(i int) (record.Raw, bool)
}

// Origin returns the record that led to In[i], and whether there is one: see [ProcessorContext.Origin]. It is valid until the function
// returns, and must not be changed.
func (s *Step[K, V, V2]) Origin(i int) (record.Raw, bool) { return s.origin(i) }

// InStep brings streams together that tell of the same things in the same order: the event times of each rise from record to record, as
// offsets do that [EventTime] takes for times, and f is called once for each time with the record that each stream has of it. It sends on
// Out. The streams, at least one, have to be topics as they are read, with equally many partitions, and nothing else can read them.
//
// What has the earliest time comes first, and it waits until every stream has a record of that time or a later one, for as long as it
// takes: it waits in the topics, not in memory. No commit comes between the records of one time, so that all streams are always as far as
// each other, and there is no state. A record whose time does not rise is a step by itself.
//
// f is called by one goroutine at a time for each partition. Where it returns an error the step is dropped as the policy says, without
// retries; a [Rejection] says how it is counted, and a [Stop] ends the application.
func InStep[K, V, V2 any](streams []Stream[K, V], name string, f func(*Step[K, V, V2]) error, policy ErrorPolicy) Stream[K, V2] {
	const op = "in-step"
	if len(streams) == 0 || streams[0].n == nil {
		panic("stream: " + caller() + ": InStep without streams")
	}
	t := streams[0].n.t
	t.checkPolicy(op, policy)
	t.needs(op, "f", f != nil)
	parents := make([]*node, len(streams))
	for i, s := range streams {
		if parents[i] = s.n; s.n != nil && (s.n.source == nil || s.n.internal) {
			t.fail(op, "the stream of %s is not a topic as it is read: event times of others need not rise", s.n.name)
		}
	}
	n := t.add(op, name, parents...)
	n.inStep = true
	n.build = func(b *builder) []any {
		m := &inStep[K, V, V2]{ctx: b.ctx, n: n, f: f, policy: policy, next: next[K, V2](b, n), records: make([]Record[K, V], len(streams)), sources: make([]record.Raw, len(streams))}
		m.step.In = make([]*Record[K, V], len(streams))
		m.step.origin = m.origin
		b.lives(n, m)
		ports := make([]any, len(streams))
		for i := range ports {
			ports[i] = &stepPort[K, V, V2]{m, i}
		}
		return ports
	}
	return Stream[K, V2]{n: n, keys: streams[0].keys, values: kept[V2](streams[0].values)}
}

// inStep collects the records of one time.
type inStep[K, V, V2 any] struct {
	ctx     *task.Context
	n       *node
	f       func(*Step[K, V, V2]) error
	policy  ErrorPolicy
	next    edge[K, V2]
	records []Record[K, V]
	sources []record.Raw
	step    Step[K, V, V2]
}

// stepPort takes the records of one stream.
type stepPort[K, V, V2 any] struct {
	of *inStep[K, V, V2]
	i  int
}

func (p *stepPort[K, V, V2]) process(r *Record[K, V]) error { //nolint:unparam // what others can return, processor has
	m := p.of
	m.records[p.i] = *r
	m.step.In[p.i] = &m.records[p.i]
	m.sources[p.i] = record.Raw{}
	if raw := m.ctx.Record(); raw != nil {
		m.sources[p.i] = *raw
	}
	return nil
}

func (m *inStep[K, V, V2]) origin(i int) (record.Raw, bool) {
	if m.step.In[i] == nil || m.sources[i].Topic == "" {
		return record.Raw{}, false
	}
	var own record.Raw
	return *m.ctx.OriginOf(&m.sources[i], &own), true
}

// Step has the function called with what was collected, and sends on what it makes of it.
func (m *inStep[K, V, V2]) Step() error {
	s := &m.step
	s.Of, s.Out = -1, Record[K, V2]{}
	err := m.guarded()
	if s.Of < 0 || s.Of >= len(s.In) || s.In[s.Of] == nil {
		if err == nil {
			err = fmt.Errorf("the function says that the record of stream %d led to its result, and there is none", s.Of)
		}
		s.Of = m.first()
	}
	was := m.ctx.SetRecord(&m.sources[s.Of])
	defer func() {
		m.ctx.SetRecord(was)
		clear(s.In)
		clear(m.records) // let go of what they refer to
		clear(m.sources)
	}()
	if err != nil {
		return m.n.failed(m.ctx, m.policy, err)
	}
	return m.next.send(&s.Out)
}

// first returns the first stream that has a record: one has, or there were no step.
func (m *inStep[K, V, V2]) first() int {
	for i, r := range m.step.In {
		if r != nil {
			return i
		}
	}
	return 0
}

// guarded makes an error of a panic, for the policy.
func (m *inStep[K, V, V2]) guarded() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return m.f(&m.step)
}
