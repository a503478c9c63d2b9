package streamtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// Option says how a driver is set up.
type Option func(*options)

type options struct {
	partitions   int
	partitionsOf map[string]int
	start        time.Time
	byHand       bool
	keepErrors   bool
	onDisk       bool
	log          *slog.Logger
}

// Partitions sets the number of partitions of the topics named, or of all others. Repartition topics have as many as
// they would have on Kafka. Default: 1.
func Partitions(n int, topics ...string) Option {
	return func(o *options) {
		if len(topics) == 0 {
			o.partitions = n
		}
		for _, t := range topics {
			o.partitionsOf[t] = n
		}
	}
}

// StartAt sets the clock. Default: 2030-01-01 00:00:00 UTC.
func StartAt(at time.Time) Option { return func(o *options) { o.start = at } }

// CommitByHand commits only when the test says so. Default: after each record, as Kafka Streams' TopologyTestDriver.
func CommitByHand() Option { return func(o *options) { o.byHand = true } }

// KeepErrors keeps an error of the topology or of its functions for [Driver.Err], instead of failing the test with it.
func KeepErrors() Option { return func(o *options) { o.keepErrors = true } }

// OnDisk keeps the state in a folder, as on Kafka, so that a crash leaves what the disk has. Default: in memory, and
// after a crash everything is restored from the changelogs.
func OnDisk() Option { return func(o *options) { o.onDisk = true } }

// LogTo gives the topology a logger. Default: nothing is logged.
func LogTo(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// Driver runs a topology. It is for one goroutine at a time.
//
// A fault of the topology, an error of one of its functions or a panic in one fails the test, unless [KeepErrors] says
// otherwise: then the application has ended with it, as after [Driver.Crash], which also starts it again.
type Driver struct {
	t          testing.TB
	program    *task.Program
	declared   bool // the topology has no fault
	o          options
	folder     string // of the state; "" is in memory
	now        time.Time
	topics     map[string]*topic
	db         *store.DB
	tasks      map[task.ID]*running
	globals    map[string]task.GlobalTable
	globalRead map[string][]int
	changelogs map[changelog]*changes
	offsets    map[position]int // committed
	drops      []Drop
	fault      *fault // that is to come
	epoch      int64
	idle       bool // nothing was processed since the last commit
	err        error
	ctx        context.Context //nolint:containedctx // the life of the application, which the test ends
	cancel     context.CancelFunc
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
	Node    string     // the operator
	Record  record.Raw // the record of the source that was being processed; its Topic is "" if none was
	Problem record.Problem
	Count   int // how often it counts: for a late record the number of windows that were closed to it; else 1
}

// New makes a driver, which ends with the test.
func New(t testing.TB, topology *stream.Topology, opts ...Option) *Driver {
	t.Helper()
	o := options{partitions: 1, partitionsOf: map[string]int{}, start: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, opt := range opts {
		opt(&o)
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{
		t: t, o: o, now: o.start, topics: map[string]*topic{}, tasks: map[task.ID]*running{},
		globals: map[string]task.GlobalTable{}, globalRead: map[string][]int{},
		changelogs: map[changelog]*changes{}, offsets: map[position]int{}, program: &task.Program{},
	}
	if o.onDisk {
		d.folder = t.TempDir()
	}
	t.Cleanup(d.close)
	d.do(func() error { return d.begin(topology) })
	return d
}

// do calls f, unless the application has ended, and takes care of its error.
func (d *Driver) do(f func() error) {
	d.t.Helper()
	if d.err != nil {
		return
	}
	if d.err = f(); d.err != nil && !d.o.keepErrors {
		d.t.Fatalf("streamtest: %v", d.err)
	}
}

// Err returns the error with which the application has ended, nil while it runs: see [KeepErrors].
func (d *Driver) Err() error { return d.err }

// begin makes the topics and starts the tasks.
func (d *Driver) begin(topology *stream.Topology) error {
	p, err := topology.Program()
	if err != nil {
		return err
	}
	d.program = p
	for name, n := range d.o.partitionsOf {
		if n <= 0 {
			return fmt.Errorf("topic %s has %d partitions", name, n)
		}
	}
	if d.o.partitions <= 0 {
		return fmt.Errorf("topics have %d partitions", d.o.partitions)
	}
	partitions, err := p.Partitions(d.partitionsOf)
	if err != nil {
		return err
	}
	for name, n := range partitions {
		d.topics[name] = &topic{name: name, partitions: make([][]record.Raw, n)}
	}
	for _, s := range p.Subs {
		for _, k := range s.Sinks {
			d.topic(k.Topic)
		}
	}
	if p.DeadLetters != "" {
		d.topic(p.DeadLetters)
	}
	for name := range d.o.partitionsOf {
		if d.topics[name] == nil && !slices.ContainsFunc(p.Globals, func(g *task.Global) bool { return g.Topic == name }) {
			return fmt.Errorf("partitions of topic %s, which the application neither reads nor writes; there are %v", name, d.Topics())
		}
	}
	d.declared = true
	return d.run()
}

func (d *Driver) partitionsOf(name string) int {
	if n, ok := d.o.partitionsOf[name]; ok {
		return n
	}
	return d.o.partitions
}

// topic returns a topic, making it if it is not there.
func (d *Driver) topic(name string) *topic {
	t, ok := d.topics[name]
	if !ok {
		t = &topic{name: name, partitions: make([][]record.Raw, d.partitionsOf(name))}
		d.topics[name] = t
	}
	return t
}

// known returns a topic that the topology reads or writes, and ends the test where there is none of that name.
func (d *Driver) known(name string) *topic {
	d.t.Helper()
	if d.declared && d.topics[name] == nil {
		d.t.Fatalf("streamtest: the application neither reads nor writes a topic %s; there are %v", name, d.Topics())
	}
	return d.topic(name)
}

// run starts the application, which reads its global tables before anything else.
func (d *Driver) run() (err error) {
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.idle = true
	if d.db, err = store.Open(d.folder, store.Options{}); err != nil {
		return err
	}
	for _, g := range d.program.Globals {
		d.globals[g.Name] = g.New()
		d.globalRead[g.Name] = make([]int, len(d.topic(g.Topic).partitions))
	}
	if err := d.applyGlobals(false); err != nil {
		return err
	}
	return d.open()
}

// end ends the application where it stands.
func (d *Driver) end() error {
	if d.cancel != nil {
		d.cancel()
	}
	var errs []error
	for _, r := range d.inOrder() {
		if err := r.stop(); err != nil {
			errs = append(errs, err)
		}
	}
	clear(d.tasks)
	if d.db != nil {
		if err := d.db.Close(); err != nil {
			errs = append(errs, err)
		}
		d.db = nil
	}
	if len(errs) > 0 {
		return fmt.Errorf("close: %w", errs[0])
	}
	return nil
}

func (d *Driver) close() {
	if err := d.end(); err != nil {
		d.t.Errorf("streamtest: %v", err)
	}
}

// open starts the tasks that are not running.
func (d *Driver) open() error {
	for _, sub := range d.program.Subs {
		n := 0
		for _, s := range sub.Sources {
			n = max(n, len(d.topics[s.Topic].partitions))
		}
		for p := range n {
			if id := (task.ID{Sub: sub.ID, Partition: int32(p)}); d.tasks[id] == nil {
				if err := d.start(id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// start restores a task's state and starts it.
func (d *Driver) start(id task.ID) error {
	state, err := d.db.Task(id.String())
	if err != nil {
		return err
	}
	sub := d.program.Subs[id.Sub]
	r := &running{
		driver: d, id: id, state: state, changes: map[string][]store.Entry{}, fed: make([]int, len(sub.Sources)),
	}
	r.rewind()
	if r.task, err = task.New(d.program, id, task.Env{
		Context: d.ctx, Output: r, State: state, Globals: d.globals, Now: func() time.Time { return d.now },
		Log: d.o.log, Wake: func() {}, Steady: true,
	}); err != nil {
		return errors.Join(err, state.Close())
	}
	d.tasks[id] = r
	for _, s := range sub.Stores {
		if err := d.restore(state, s, id.Partition); err != nil {
			return fmt.Errorf("task %s: restore store %s: %w", id, s.Name, err)
		}
	}
	r.task.SetEpoch(d.epoch)
	return r.task.Start()
}

// rewind makes the next record of each source that which comes after the committed ones.
func (r *running) rewind() {
	for i, s := range r.sources() {
		r.fed[i] = r.driver.offsets[position{s.Topic, r.id.Partition}]
	}
}

func (r *running) sources() []task.Source { return r.driver.program.Subs[r.id.Sub].Sources }

// stop ends a task; what it has not committed is gone.
func (r *running) stop() error {
	r.task.Close()
	r.state.Rollback()
	if err := r.state.Close(); err != nil {
		return fmt.Errorf("task %s: %w", r.id, err)
	}
	return nil
}

// inOrder returns the tasks by sub-topology and partition.
func (d *Driver) inOrder() []*running {
	return slices.SortedFunc(maps.Values(d.tasks), func(a, b *running) int {
		if a.id.Sub != b.id.Sub {
			return a.id.Sub - b.id.Sub
		}
		return int(a.id.Partition - b.id.Partition)
	})
}

// SetEpoch has all tasks compute with an epoch, which [stream.Batch] and [stream.ProcessorContext] tell functions: what was
// processed since the last commit keeps the one before, and what comes after the next commit, or a crash, has this one. If
// nothing was processed since the last commit, it holds at once. A lower epoch than the last is ignored, as on Kafka.
func (d *Driver) SetEpoch(n int64) {
	d.epoch = max(d.epoch, n)
	if d.idle {
		d.takeUp()
	}
}

func (d *Driver) takeUp() {
	for _, r := range d.tasks {
		r.task.SetEpoch(d.epoch)
	}
}

// Now returns the time of the clock.
func (d *Driver) Now() time.Time { return d.now }

// Drops returns the records that were dropped by what is committed.
func (d *Driver) Drops() []Drop { return slices.Clone(d.drops) }

// Dropped returns the sums of [Drop.Count] for what is committed, by operator and class: "counts/late".
func (d *Driver) Dropped() map[string]int {
	n := map[string]int{}
	for _, x := range d.drops {
		n[x.Node+"/"+x.Problem.Class] += x.Count
	}
	return n
}

// Topics returns the names of the topics that there are, repartition topics among them.
func (d *Driver) Topics() []string { return slices.Sorted(maps.Keys(d.topics)) }

// Tasks returns the ids of the tasks, such as 0_3: sub-topology and partition.
func (d *Driver) Tasks() []string {
	var ids []string
	for _, r := range d.inOrder() {
		ids = append(ids, r.id.String())
	}
	return ids
}
