package stream

import (
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// GlobalState is what a [GlobalStore] holds: a structure of one's own, made of all records of a topic. Apply is called by
// one goroutine at a time, beside functions that read.
type GlobalState interface {
	// Apply takes over a record of the topic, which it must not keep, or says why it cannot: the record is then counted
	// as dropped, and dead-lettered.
	Apply(r *record.Raw) *Rejection
	// Len returns the number of rows. A state that also has a method Bytes() int64 counts in the memory for state.
	Len() int
}

// GlobalStore is a structure of one's own, made of all records of a topic, of which every instance has the whole. Like a
// [GlobalTable] it is read before anything else is processed, and follows its topic from then on.
type GlobalStore[S GlobalState] struct {
	n    *node
	name string
}

// GlobalStoreFrom reads a topic into a global store. newState is called for each instance.
func GlobalStoreFrom[S GlobalState](t *Topology, name, topic string, newState func() S) GlobalStore[S] {
	const op = "global-store"
	t.checkTopic(op, topic)
	t.needs(op, "newState", newState != nil)
	n := t.addStateful(op, name)
	n.topic = topic
	n.global = &task.Global{Name: name, Topic: topic, New: func() task.GlobalTable { return &globalState[S]{newState()} }}
	return GlobalStore[S]{n: n, name: name}
}

func (g GlobalStore[S]) globalNode() *node { return g.n }

// In returns the state, to a function over batches whose options name the store among their Globals.
func (g GlobalStore[S]) In(in GlobalReader) S {
	s, ok := in.globalTable(g.name).(*globalState[S])
	if !ok {
		panic("stream: the global store " + g.name + " is of another type than the topology declares")
	}
	return s.state
}

// globalState is a state in the run time.
type globalState[S GlobalState] struct{ state S }

// Apply takes over a record.
func (g *globalState[S]) Apply(r *record.Raw) *record.Problem {
	if rejection := g.state.Apply(r); rejection != nil {
		p := record.Problem(*rejection)
		return &p
	}
	return nil
}

// Bytes returns how much memory the state says that it takes, 0 if it says nothing.
func (g *globalState[S]) Bytes() int64 {
	if s, ok := any(g.state).(interface{ Bytes() int64 }); ok {
		return s.Bytes()
	}
	return 0
}

// Len returns the number of rows.
func (g *globalState[S]) Len() int { return g.state.Len() }

// Each calls nothing: rows of a state of one's own cannot be looked at from outside.
func (g *globalState[S]) Each(func(key, value any) bool) {}
