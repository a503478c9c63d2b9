package stream

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// processor gets the records of a node in a task. It must not change the record nor keep the pointer.
type processor[K, V any] interface {
	process(r *Record[K, V]) error
}

// edge leads to what comes after a node.
type edge[K, V any] struct {
	to    processor[K, V]
	ctx   *task.Context
	stats *task.NodeStats // of the node that to belongs to
}

// send passes a record on.
func (e *edge[K, V]) send(r *Record[K, V]) error {
	e.stats.Records++
	if e.ctx.Sampling() {
		return e.timed(r)
	}
	return e.to.process(r)
}

func (e *edge[K, V]) timed(r *Record[K, V]) error {
	start, outer := e.ctx.Enter()
	err := e.to.process(r)
	e.ctx.Leave(e.stats, start, outer)
	return err
}

// fanOut passes a record on to several nodes, in the order of their declaration.
type fanOut[K, V any] struct{ to []edge[K, V] }

func (f *fanOut[K, V]) process(r *Record[K, V]) error {
	for i := range f.to {
		if err := f.to[i].send(r); err != nil {
			return err
		}
	}
	return nil
}

// end is after the last node.
type end[K, V any] struct{}

func (end[K, V]) process(*Record[K, V]) error { return nil }

// builder makes the processors of a task.
type builder struct {
	ctx    *task.Context
	t      *Topology
	made   map[*node][]any
	stores map[storeKey]any // typed, by the node that has them
	life   []made
	apart  *node // that commits do not wait for, or nil
}

// made is a node's processor that takes part in the life of the task.
type made struct {
	id int
	x  any
}

// instance returns the processors of a node, by port.
func (b *builder) instance(n *node) []any {
	ps, ok := b.made[n]
	if !ok {
		ps = n.build(b)
		b.made[n] = ps
	}
	return ps
}

// lives has a node's processor take part in the life of the task: see [task.Processors].
func (b *builder) lives(n *node, x any) { b.life = append(b.life, made{n.id, x}) }

// next returns the edge from a node to those that get its records.
func next[K, V any](b *builder, n *node) edge[K, V] {
	var edges []edge[K, V]
	for _, c := range n.children {
		edges = append(edges, edgeTo[K, V](b, c.n, c.port))
	}
	switch len(edges) {
	case 0:
		return edge[K, V]{to: end[K, V]{}, ctx: b.ctx, stats: new(task.NodeStats)}
	case 1:
		return edges[0]
	default:
		return edge[K, V]{to: &fanOut[K, V]{edges}, ctx: b.ctx, stats: new(task.NodeStats)}
	}
}

// edgeTo returns the edge to a port of a node.
func edgeTo[K, V any](b *builder, n *node, port int) edge[K, V] {
	p := b.instance(n)[port]
	to, ok := p.(processor[K, V])
	if !ok {
		panic(fmt.Sprintf("stream: %s at %s, port %d: %T does not take %s", n.name, n.at, port, p, typesOf[K, V]()))
	}
	return edge[K, V]{to: to, ctx: b.ctx, stats: b.ctx.Stats(n.id)}
}

// Program compiles the topology for a driver.
func (t *Topology) Program() (*task.Program, error) {
	if err := t.Err(); err != nil {
		return nil, err
	}
	if err := t.conflicts(); err != nil {
		return nil, err
	}
	p := &task.Program{
		Name: t.name, DeadLetters: t.deadLetters, MaxIdle: t.maxIdle, IdleTimeout: t.idleTimeout,
	}
	groups, subOf := t.partition()
	for _, n := range t.nodes {
		p.Nodes = append(p.Nodes, n.describe(subOf))
		if n.global != nil {
			g := *n.global
			g.Node = n.id
			p.Globals = append(p.Globals, &g)
		}
	}
	for id, nodes := range groups {
		sub := t.sub(id, nodes)
		for _, s := range sub.Sources {
			if s.CarriesOrigin {
				p.Origins = append(p.Origins, s.Topic)
			}
		}
		p.Subs = append(p.Subs, sub)
	}
	return p, nil
}

// conflicts returns the faults of the topology as a whole.
func (t *Topology) conflicts() error {
	var errs []error
	fault := func(at, op, format string, args ...any) {
		errs = append(errs, &BuildError{At: at, Op: op, Msg: fmt.Sprintf(format, args...)})
	}
	if len(t.sources) == 0 {
		fault(t.at, "new topology", "%s reads no topic as a stream or a table", t.name)
	}
	globals := map[string]*node{}
	for _, n := range t.nodes {
		if n.global != nil {
			globals[n.topic] = n
		}
	}
	own := t.ownTopics()
	if of, is := own[t.deadLetters]; is {
		fault(t.at, "new topology", "the topic of the dead letters, %s, is the application's own, for what is declared at %s", t.deadLetters, of.at)
	}
	for _, n := range t.nodes {
		for _, topic := range append(slices.Clone(n.topics), n.topic) {
			of, ours := own[topic]
			switch sinks := n.kind == kindSink; {
			case topic == "" || n.internal:
			case ours && sinks:
				fault(n.at, n.kind, "topic %s is the application's own, for what is declared at %s: what else is written to it would be taken for that", topic, of.at)
			case ours && !of.changelog:
				fault(n.at, n.kind, "topic %s is the application's own, for what is declared at %s: its records are deleted when they were read there", topic, of.at)
			case topic == t.deadLetters && sinks:
				fault(n.at, n.kind, "topic %s is that of the dead letters: what else is in it could not be told apart", topic)
			case topic == t.deadLetters:
				fault(n.at, n.kind, "topic %s is that of the dead letters: a record that is dropped would be read again without end", topic)
			case sinks && globals[topic] != nil:
				fault(n.at, n.kind, "topic %s is read as a global table at %s: rows would be read before they are committed", topic, globals[topic].at)
			}
		}
	}
	groups, _ := t.partition()
	for _, g := range groups {
		i := slices.IndexFunc(g, func(n *node) bool { return n.inStep })
		for _, n := range g {
			if i >= 0 && n.source != nil && (len(n.children) != 1 || n.children[0].n != g[i]) {
				fault(n.at, n.kind, "topic %s is read for something else than the %s at %s, which takes records when all of its topics have some", n.topic, g[i].kind, g[i].at)
			}
		}
	}
	return errors.Join(errs...)
}

// ownTopic is a topic that the application makes for itself: a changelog, or one to repartition a stream.
type ownTopic struct {
	at        string // where what it is for was declared
	changelog bool
}

func (t *Topology) ownTopics() map[string]ownTopic {
	own, p := map[string]ownTopic{}, task.Program{Name: t.name}
	for _, n := range t.nodes {
		if n.internal {
			own[t.name+"-"+n.topic] = ownTopic{at: n.at}
		}
		for _, s := range n.stores {
			if s.Logged {
				own[p.Changelog(s.Name)] = ownTopic{n.at, true}
			}
		}
	}
	return own
}

// partition returns the sub-topologies: the nodes that are connected, in the order of their first node; and the number
// of each node's, -1 for global tables.
func (t *Topology) partition() (groups [][]*node, subOf []int) {
	root := make([]int, len(t.nodes))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			i = root[i]
		}
		return i
	}
	union := func(a, b int) {
		a, b = find(a), find(b)
		root[max(a, b)] = min(a, b)
	}
	for _, n := range t.nodes {
		for _, c := range n.children {
			union(n.id, c.n.id)
		}
		for _, o := range n.outs {
			union(n.id, o.id)
		}
		for _, r := range n.reads {
			if r.global == nil {
				union(n.id, r.id)
			}
		}
	}
	subOf = make([]int, len(t.nodes))
	number := map[int]int{}
	for _, n := range t.nodes {
		if n.global != nil {
			subOf[n.id] = -1
			continue
		}
		r := find(n.id)
		if _, ok := number[r]; !ok {
			number[r] = len(groups)
			groups = append(groups, nil)
		}
		subOf[n.id] = number[r]
		groups[number[r]] = append(groups[number[r]], n)
	}
	return groups, subOf
}

// uniqueName returns the node's name. That of a source is its topic, which an operator may be named after too: then the
// source steps back.
func (n *node) uniqueName() string {
	name := n.name
	taken := func(by *node) bool { return by != nil && by != n }
	for n.source != nil && (taken(n.t.names[name]) || taken(n.t.sources[name])) {
		name += "-source"
	}
	return name
}

func (n *node) describe(subOf []int) task.Node {
	d := task.Node{ID: n.id, Name: n.uniqueName(), Kind: n.kind, Sub: subOf[n.id], Topic: n.topic, At: n.at}
	if n.internal {
		d.Topic = n.t.name + "-" + n.topic
	}
	for _, s := range n.stores {
		d.Stores = append(d.Stores, s.Name)
	}
	for _, c := range n.children {
		if !slices.Contains(d.To, c.n.id) {
			d.To = append(d.To, c.n.id)
		}
	}
	for _, o := range n.outs {
		d.To = append(d.To, o.id)
	}
	for _, r := range n.reads {
		d.Reads = append(d.Reads, r.id)
	}
	return d
}

// sub compiles a sub-topology.
func (t *Topology) sub(id int, nodes []*node) *task.Subtopology {
	s := &task.Subtopology{ID: id}
	var sources []*node
	for _, n := range nodes {
		topic := n.topic
		if n.internal {
			topic = t.name + "-" + n.topic
		}
		switch {
		case n.source != nil:
			src := *n.source
			src.Node, src.Topic, src.Internal = n.id, topic, n.internal
			s.Sources = append(s.Sources, src)
			sources = append(sources, n)
		case n.kind == kindSink || n.kind == kindRepartition:
			for _, topic := range append(slices.Clone(n.topics), topic) {
				if topic != "" {
					s.Sinks = append(s.Sinks, task.Sink{Node: n.id, Topic: topic, Internal: n.internal})
				}
			}
		}
		s.Stores = append(s.Stores, n.stores...)
		s.InStep = s.InStep || n.inStep
	}
	s.Build = func(ctx *task.Context) (*task.Processors, error) {
		b := &builder{ctx: ctx, t: t, made: map[*node][]any{}, stores: map[storeKey]any{}, apart: apart(sources)}
		p := &task.Processors{}
		for _, n := range sources {
			l, ok := b.instance(n)[0].(task.Loader)
			if !ok {
				panic(fmt.Sprintf("stream: %s at %s is a source that loads nothing", n.name, n.at))
			}
			p.Sources = append(p.Sources, l)
		}
		// A node is declared after those that send to it, so that the order of declaration is an order to flush in.
		slices.SortFunc(b.life, func(a, b made) int { return cmp.Compare(a.id, b.id) })
		for _, m := range b.life {
			p.Nodes = append(p.Nodes, m.x)
			if a, ok := m.x.(task.Async); ok && b.apart != nil && m.id == b.apart.id {
				p.Apart = a
			}
		}
		return p, b.err()
	}
	return s
}

// apart returns the node that commits need not wait for: an asynchronous one that all records of the only source come to, by
// nodes that neither remember nor write anything. What it has not sent on can then be left out of a commit.
func apart(sources []*node) *node {
	if len(sources) != 1 {
		return nil
	}
	for n := sources[0]; ; n = n.children[0].n {
		switch {
		case n.async:
			return n
		case len(n.children) != 1 || len(n.outs) > 0 || len(n.stores) > 0 || n.source == nil && !forgetful(n.kind):
			return nil
		}
	}
}

// forgetful tells whether nodes of a kind make at most one record of one, which depends on that alone, and write nothing. (Of the
// several that flat-map makes some could have been sent on when a commit comes.)
func forgetful(kind string) bool {
	return slices.Contains([]string{"map-values", "map", "select-key", "filter", "filter-not", "peek"}, kind)
}

// err returns the first failure to read what a store holds.
func (b *builder) err() error {
	for _, m := range b.life {
		if o, ok := m.x.(interface{ open() error }); ok {
			if err := o.open(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Classes of dropped records.
const (
	classUndecodable = "undecodable"
	classUnreadable  = "batch_too_large"
	classNullKey     = "null_key"
	classNullValue   = "null_value"
	classNoTime      = "no_timestamp"
	classFuture      = "future_timestamp"
	classLate        = "late"
	classFunction    = "function_failed"
	classUnencodable = "unencodable"

	classUnknownTopic = "unknown_topic"
)

// problem makes a drop of a node.
func (n *node) problem(stage, class, reason string) task.Drop {
	return task.Drop{Node: n.id, Problem: record.Problem{Stage: stage, Class: class, Reason: reason}}
}

// aheadOf returns the highest event time that is not too far ahead of the clock.
func aheadOf(now time.Time, d time.Duration) int64 { return now.Add(d).UnixMilli() }
