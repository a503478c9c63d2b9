package stream

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/task"
)

// Topology is a stream application as it is being declared. It is for one goroutine at a time; once it is complete it
// can be run any number of times.
type Topology struct {
	name        string
	at          string // of New
	nodes       []*node
	errs        []error
	sources     map[string]*node // by topic
	names       map[string]*node // of nodes
	topics      map[string]*node // internal topics and stores, which share their names
	deadLetters string
	maxIdle     time.Duration
	idleTimeout time.Duration
	maxAhead    time.Duration
	takenAt     string // where a name was taken last
}

// node is an operator.
type node struct {
	id       int
	name     string
	kind     string
	at       string
	t        *Topology
	children []child
	reads    []*node
	topic    string
	internal bool     // the topic is a repartition topic, and its name lacks the application's
	topics   []string // of a sink that chooses
	types    string   // of a source's keys and values
	codecs   string   // the types of their codecs
	options  sourceOptions
	source   *task.Source
	stores   []task.StoreSpec
	outs     []*node // that get some of its records each, unlike children
	through  *node   // of a repartition topic's sink: its source
	nullKeys bool    // its records go to a join that wants those without a key
	global   *task.Global
	async    bool // it waits for something outside of the process
	expires  bool // rows of its stores can have a TTL
	inStep   bool // it takes the records of its sources by their times, those of one at once
	newOnly  bool // of an update of a row it does not look at what that was before, only at whether it was there
	// build makes the node in a task and returns its processors: one for each parent, by port.
	build func(b *builder) []any
}

// child is a node that gets the records of another, at one of its ports.
type child struct {
	n    *node
	port int
}

// TopologyOption configures a topology.
type TopologyOption func(*Topology)

// DeadLetters names the topic for records that are dropped, each with the reason in its headers. Default: dropped
// records are counted only.
func DeadLetters(topic string) TopologyOption { return func(t *Topology) { t.deadLetters = topic } }

// MaxIdle is how long a task that reads several topics waits for one that has no records at the moment, so that records
// are processed in the order of their times. Default: 0, only while the broker has records of it.
func MaxIdle(d time.Duration) TopologyOption { return func(t *Topology) { t.maxIdle = d } }

// IdleTimeout is after how long without any record the stream time of a task follows the clock, that much behind it, so
// that windows close. Records older than that are then late. Default: never; stream time moves with records alone.
func IdleTimeout(d time.Duration) TopologyOption { return func(t *Topology) { t.idleTimeout = d } }

// MaxAhead is how far a record's event time may be ahead of the clock. A record from further ahead is dropped, with
// class future_timestamp, before it moves stream time and makes every other record late. Default: 24 h.
func MaxAhead(d time.Duration) TopologyOption { return func(t *Topology) { t.maxAhead = d } }

const defaultMaxAhead = 24 * time.Hour

// New returns an empty topology. The name is the application's: its consumer group, and the prefix of its internal
// topics. Letters, digits, '.', '_' and '-'.
func New(name string, options ...TopologyOption) *Topology {
	t := &Topology{
		name: name, at: caller(), sources: map[string]*node{}, names: map[string]*node{}, topics: map[string]*node{},
		maxAhead: defaultMaxAhead,
	}
	each(options, func(o TopologyOption) { o(t) })
	if !validName(name) {
		t.fail("new topology", "name %q: want letters, digits, '.', '_' and '-', at most %d", name, maxName)
	}
	if t.deadLetters != "" {
		t.checkTopic("dead letters", t.deadLetters)
	}
	switch {
	case t.maxIdle < 0:
		t.fail("new topology", "MaxIdle of %v: want 0 or more", t.maxIdle)
	case t.idleTimeout < 0:
		t.fail("new topology", "IdleTimeout of %v: want more than 0, or 0 for never", t.idleTimeout)
	case t.maxAhead <= 0:
		t.fail("new topology", "MaxAhead of %v: want more than 0", t.maxAhead)
	}
	return t
}

// Name returns the name of the application.
func (t *Topology) Name() string { return t.name }

// BuildError is a fault of a declaration.
type BuildError struct {
	At  string // file:line of the call
	Op  string // the operator
	Msg string
}

// Error returns where and what.
func (e *BuildError) Error() string { return e.At + ": " + e.Op + ": " + e.Msg }

// Err returns the faults of the declarations so far, each a [*BuildError], joined in one error; nil if there are none.
// What runs or describes the topology also finds faults of the whole: that it reads no topic, or its own dead letters.
func (t *Topology) Err() error { return errors.Join(t.errs...) }

// fail notes a fault of the declaration.
func (t *Topology) fail(op, format string, args ...any) {
	t.errs = append(t.errs, &BuildError{At: caller(), Op: op, Msg: fmt.Sprintf(format, args...)})
}

// taken notes that a name is taken, once for each call: all names that are made of one are taken then.
func (t *Topology) taken(op, format string, args ...any) {
	if at := caller(); at != t.takenAt {
		t.takenAt = at
		t.fail(op, format, args...)
	}
}

// checkSpan notes a fault if the duration of an option cannot be.
func (t *Topology) checkSpan(op, what string, d time.Duration) {
	switch {
	case d < 0:
		t.fail(op, "the %s, %v, is negative", what, d)
	case d > longest:
		t.fail(op, "a %s of %v: want at most 90 years", what, d)
	case d%time.Millisecond != 0:
		t.fail(op, "a %s of %v: want whole milliseconds", what, d)
	}
}

// needs notes a fault if a function that op is to call is not there.
func (t *Topology) needs(op, what string, there bool) {
	if !there {
		t.fail(op, "%s is nil: want a function", what)
	}
}

const packagePath = "millrace.dev/stream."

// caller returns the file and line of the first call that came from outside of this package.
func caller() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		inside := strings.HasPrefix(f.Function, packagePath) && !strings.HasSuffix(f.File, "_test.go")
		if !inside || !more {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
	}
}

// maxName leaves room for prefix and suffix in the 249 bytes of a topic's name.
const maxName = 100

var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func validName(s string) bool { return len(s) <= maxName && validTopic(s) }

// maxTopic is how long the name of a topic can be.
const maxTopic = 249

func validTopic(s string) bool {
	return len(s) <= maxTopic && namePattern.MatchString(s) && s != "." && s != ".."
}

// checkTopic notes a fault if there is no topic, or none can have that name.
func (t *Topology) checkTopic(op, topic string) {
	switch {
	case topic == "":
		t.fail(op, "no topic")
	case !validTopic(topic):
		t.fail(op, "topic %q: want letters, digits, '.', '_' and '-', at most %d", topic, maxTopic)
	}
}

// add declares a node. An empty name is replaced by kind and number: for nodes that have no state.
func (t *Topology) add(kind, name string, parents ...*node) *node {
	if name != "" {
		t.checkName(kind, name)
	}
	return t.addDerived(kind, name, parents...)
}

// addDerived is add for a name that is made of one that was checked, and may be longer.
func (t *Topology) addDerived(kind, name string, parents ...*node) *node {
	n := &node{id: len(t.nodes), kind: kind, name: name, at: caller(), t: t}
	if name == "" {
		n.name = fmt.Sprintf("%s-%d", kind, n.id)
	}
	if other, ok := t.names[n.name]; ok {
		t.taken(kind, "the name %q is taken by the %s at %s", n.name, other.kind, other.at)
	}
	t.names[n.name] = n
	t.nodes = append(t.nodes, n)
	for port, p := range parents {
		if n.belongs(p, "stream") {
			p.children = append(p.children, child{n, port})
		}
	}
	return n
}

// reading notes that n looks up rows of other nodes: of none if there is no table, which is a fault.
func (n *node) reading(what string, of ...*node) {
	if len(of) == 0 {
		n.belongs(nil, what)
	}
	for _, of := range of {
		if n.belongs(of, what) && !slices.Contains(n.reads, of) {
			n.reads = append(n.reads, of)
		}
	}
}

// topology returns the topology of n, which is what a stream, a table or a group was declared by. It panics if that is none.
func (n *node) topology() *Topology {
	if n == nil {
		panic("stream: " + caller() + ": a stream, table or group that was not declared: it is the zero value")
	}
	return n.t
}

// belongs notes a fault if another node is not of the topology of n.
func (n *node) belongs(other *node, what string) bool {
	switch {
	case other == nil:
		n.t.fail(n.kind, "the %s was not declared: it is the zero value", what)
	case other.t != n.t:
		n.t.fail(n.kind, "the %s declared at %s belongs to another topology, %q", what, other.at, other.t.name)
	default:
		return true
	}
	return false
}

// addStateful declares a node whose name is part of the names of topics, and so has to be given.
func (t *Topology) addStateful(kind, name string, parents ...*node) *node {
	if name == "" {
		t.fail(kind, "no name: an operator with state needs one, for its store and topics to be found again when the topology changes")
	}
	return t.add(kind, name, parents...)
}

func (t *Topology) checkName(kind, name string) {
	if !validName(name) {
		t.fail(kind, "name %q: want letters, digits, '.', '_' and '-', at most %d", name, maxName)
	}
}

// store declares a state store of n.
func (n *node) store(s task.StoreSpec) {
	if other, ok := n.t.topics[s.Name]; ok {
		n.t.taken(n.kind, "the store %q is there already, of the %s at %s", s.Name, other.kind, other.at)
	}
	n.checkTTL(&s, n.expires)
	n.t.topics[s.Name] = n
	s.Node = n.id
	n.stores = append(n.stores, s)
}

// Option is an option of an operator: [Named], and [OnError] or an [ErrorPolicy] for [TryMapValues].
type Option interface{ applyNode(*nodeOptions) }

type nodeOptions struct {
	name    string
	policy  ErrorPolicy
	decided bool // there is a policy
}

// Named names an operator that needs no name, for descriptions, metrics and dead letters.
func Named(name string) Option { return named(name) }

type named string

func (n named) applyNode(o *nodeOptions) { o.name = string(n) }

// nameIn returns the name of an operator whose function cannot fail.
func (t *Topology) nameIn(op string, opts []Option) string {
	o := options(opts)
	if o.decided {
		t.fail(op, "an error policy has no meaning here: the function returns no error. Call TryMapValues or MapBatch")
	}
	return o.name
}

func options(opts []Option) (o nodeOptions) {
	each(opts, func(opt Option) { opt.applyNode(&o) })
	return o
}
