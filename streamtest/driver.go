package streamtest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// Option says how a driver is set up.
type Option func(*Driver)

// Partitions sets the number of partitions of the topics named, or of all others. Default: 1
func Partitions(n int, topics ...string) Option {
	return func(d *Driver) {
		if len(topics) == 0 {
			d.defaultPartitions = n
		}
		for _, t := range topics {
			d.partitionsOf[t] = n
		}
	}
}

// StartAt sets the clock. Default: 2030-01-01 00:00:00 UTC
func StartAt(at time.Time) Option { return func(d *Driver) { d.now = at } }

// CommitByHand commits only when the test says so. Default: after each record, as Kafka Streams' TopologyTestDriver
func CommitByHand() Option { return func(d *Driver) { d.byHand = true } }

// Driver runs a topology. It is for one goroutine at a time.
type Driver struct {
	t                 testing.TB
	program           *task.Program
	defaultPartitions int
	partitionsOf      map[string]int
	now               time.Time
	byHand            bool
	topics            map[string]*topic
	db                *store.DB
	tasks             map[task.ID]*running
	globals           map[string]task.GlobalTable
	globalRead        map[string][]int
	changelogs        map[changelog]*entries
	offsets           map[position]int // committed
	drops             []Drop
	cancel            context.CancelFunc
	ctx               context.Context
}

// changelog names a partition of a store's changelog.
type changelog struct {
	store     string
	partition int32
}

// entries is a compacted changelog.
type entries struct {
	byKey map[string][]byte
	next  int64
}

// running is a task with what it has written since the last commit.
type running struct {
	driver  *Driver
	id      task.ID
	task    *task.Task
	state   *store.Task
	fed     []int // records of each source that the task was given
	out     []record.Raw
	changes map[string][]store.Entry
	drops   []Drop
}

// Drop is a record that was dropped.
type Drop struct {
	Node    string // the operator
	Record  record.Raw
	Problem record.Problem
}

// New makes a driver, which ends with the test. A fault of the topology fails the test.
func New(t testing.TB, topology *stream.Topology, options ...Option) *Driver {
	t.Helper()
	p, err := topology.Program()
	if err != nil {
		t.Fatalf("streamtest: %v", err)
	}
	d := &Driver{
		t: t, program: p, defaultPartitions: 1, partitionsOf: map[string]int{}, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		topics: map[string]*topic{}, tasks: map[task.ID]*running{}, globals: map[string]task.GlobalTable{},
		globalRead: map[string][]int{}, changelogs: map[changelog]*entries{}, offsets: map[position]int{},
	}
	for _, o := range options {
		o(d)
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if d.db, err = store.Open("", store.Options{}); err != nil {
		t.Fatalf("streamtest: %v", err)
	}
	for _, g := range p.Globals {
		d.globals[g.Name] = g.New()
		d.globalRead[g.Name] = make([]int, len(d.topic(g.Topic).partitions))
	}
	d.open()
	t.Cleanup(d.close)
	return d
}

func (d *Driver) close() {
	d.cancel()
	for _, r := range d.tasks {
		r.task.Close()
		_ = r.state.Close()
	}
	if err := d.db.Close(); err != nil {
		d.t.Errorf("streamtest: close: %v", err)
	}
}

// topic returns a topic, making it if it is not there.
func (d *Driver) topic(name string) *topic {
	if t, ok := d.topics[name]; ok {
		return t
	}
	n, ok := d.partitionsOf[name]
	if !ok {
		n = d.defaultPartitions
	}
	t := &topic{name: name, partitions: make([][]record.Raw, n)}
	d.topics[name] = t
	return t
}

// open starts the tasks that are not running.
func (d *Driver) open() {
	for _, sub := range d.program.Subs {
		n := 0
		for _, s := range sub.Sources {
			n = max(n, len(d.topic(s.Topic).partitions))
		}
		for p := range n {
			if id := (task.ID{Sub: sub.ID, Partition: int32(p)}); d.tasks[id] == nil {
				if err := d.start(id); err != nil {
					d.t.Fatalf("streamtest: %v", err)
				}
			}
		}
	}
}

// start restores a task's state and starts it.
func (d *Driver) start(id task.ID) error {
	state, err := d.db.Task(id.String())
	if err != nil {
		return err
	}
	sub := d.program.Subs[id.Sub]
	r := &running{
		driver: d, id: id, state: state, changes: map[string][]store.Entry{},
		fed: make([]int, len(sub.Sources)),
	}
	for i, s := range sub.Sources {
		r.fed[i] = d.committed(id, s.Topic)
	}
	if r.task, err = task.New(d.program, id, task.Env{
		Context: d.ctx, Output: r, State: state, Globals: d.globals, Now: func() time.Time { return d.now },
		Log: slog.New(slog.DiscardHandler), Wake: func() {},
	}); err != nil {
		return err
	}
	for _, s := range sub.Stores {
		if err := d.restore(state, s, id.Partition); err != nil {
			return err
		}
	}
	d.tasks[id] = r
	return r.task.Start()
}
