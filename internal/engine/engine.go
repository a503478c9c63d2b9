package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Guarantee is what a failure can do to the output.
type Guarantee string

// The guarantees.
const (
	ExactlyOnce Guarantee = "exactly_once"  // nothing: each record of the source has one committed result
	AtLeastOnce Guarantee = "at_least_once" // some results may come twice, and the second time out of order
)

// Options configure an [Engine].
type Options struct {
	Client  *kafka.Client
	Program *task.Program // what to run
	// Group is the consumer group: instances of one application have the same. Default: the program's name
	Group string
	// StateDir is the folder for the state of tasks. It is for this process alone, and can be deleted when the process
	// does not run: state is then restored from the changelogs. Default: none; state is in memory, and each start
	// restores all of it
	StateDir string
	// StateBytes bounds the memory of the state folder's caches. Default: that of store.Options
	StateBytes int64
	// Threads is the number of goroutines that run tasks. Default: one for each processor
	Threads int
	// Guarantee. Default: ExactlyOnce
	Guarantee Guarantee
	// InstanceID names this instance for good: it must differ between the instances of a group and stay the same
	// when an instance is started again, which then takes over at once from its dead predecessor. Default: none;
	// the host's name and a random suffix serve as the name, and a predecessor's timeouts have to pass.
	InstanceID string
	// CommitInterval is how long results wait for one another in a transaction: a result can be read about that
	// much later at most. Default: 100 ms
	CommitInterval time.Duration
	// MaxQueued bounds the records that were read and wait, in all. Default: 20,000
	MaxQueued int
	// SessionTimeout and TransactionTimeout are those of kafka.SessionConfig, with its defaults.
	SessionTimeout, TransactionTimeout time.Duration
	// Compression of the output: none, snappy, lz4 or zstd. Default: snappy
	Compression string
	// Version of the program, for the dead letters. Default: none
	Version string
	// LetterHeaders are added to each dead letter. Default: none
	LetterHeaders []record.Header
	// Log. Default: nothing is logged
	Log *slog.Logger
	// Now is the clock, for latencies and for records without a usable timestamp. Default: time.Now
	Now func() time.Time
}

const (
	defaultCommitInterval = 100 * time.Millisecond
	defaultMaxQueued      = 20_000
	// minLetterBytes is what a dead letter without the record's own bytes takes at most.
	minLetterBytes = 4096
)

func (o *Options) setDefaults() {
	if o.Guarantee == "" {
		o.Guarantee = ExactlyOnce
	}
	if o.CommitInterval == 0 {
		o.CommitInterval = defaultCommitInterval
	}
	if o.MaxQueued == 0 {
		o.MaxQueued = defaultMaxQueued
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Group == "" {
		o.Group = o.Program.Name
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Validate reports every fault of the options, joined in one error.
func (o *Options) Validate() error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, &kafka.Error{Code: kafka.CodeConfig, Op: "configure engine", Err: fmt.Errorf(format, args...)})
	}
	if o.Client == nil {
		fault("no client")
	}
	if o.Program == nil {
		fault("no program")
		return errors.Join(errs...)
	}
	for _, w := range writtenTopics(o.Program) {
		if slices.Contains(globalTopics(o.Program), w) {
			fault("topic %s is written, and read as a global table: it would be read before it is committed", w)
		}
	}
	if l := o.Program.DeadLetters; l != "" && slices.Contains(readTopics(o.Program), l) {
		fault("topic %s is read, and is the dead-letter topic: a record that fails would be read again without end", l)
	}
	if l := o.Program.DeadLetters; l != "" && slices.Contains(writtenTopics(o.Program), l) {
		fault("topic %s is written, and is the dead-letter topic: its records could not be told apart", l)
	}
	if o.Guarantee != "" && o.Guarantee != ExactlyOnce && o.Guarantee != AtLeastOnce {
		fault("guarantee %q: want %s or %s", o.Guarantee, ExactlyOnce, AtLeastOnce)
	}
	if o.CommitInterval < 0 || o.MaxQueued < 0 || o.Threads < 0 || o.SessionTimeout < 0 || o.TransactionTimeout < 0 {
		fault("an interval or a bound is negative")
	}
	return errors.Join(errs...)
}

// Engine runs one program. Create one with [New].
type Engine struct {
	options  Options
	program  *task.Program
	instance string
	session  kafka.SessionConfig
	turn     chan struct{}          // holds a token when nobody uses topics and missing
	topics   map[string]kafka.Topic // as they were when the engine first saw them
	missing  int                    // how often in a row a topic that was there was not
	stats    *recorder
	db       *store.DB
	current  atomic.Pointer[kafka.Session] // for the monitor
	changes  changes
	closed   map[string]time.Time // when tasks that have state here were closed
	// condemned are records that the brokers refused to take in one form, by what form is next. Tasks read it; the
	// loop changes it while no task works.
	condemned map[coordinates]verdict
	// shrunk are the largest batches of topics that refused what their configuration was believed to allow.
	shrunk map[string]int
}

// New returns an engine that is ready to [Engine.Run].
func New(o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.setDefaults()
	e := &Engine{
		options: o, program: o.Program, instance: o.InstanceID, stats: newRecorder(o.Now, o.Program), turn: make(chan struct{}, 1),
		closed: map[string]time.Time{}, condemned: map[coordinates]verdict{}, shrunk: map[string]int{},
	}
	e.turn <- struct{}{}
	if e.instance == "" {
		e.instance = randomInstance()
	}
	e.session = kafka.SessionConfig{
		Group: o.Group, ExactlyOnce: o.Guarantee == ExactlyOnce, Paused: true,
		InstanceID: o.InstanceID, SessionTimeout: o.SessionTimeout, TransactionTimeout: o.TransactionTimeout,
		Compression: o.Compression, Changed: e.changed, Skipped: e.skipped,
	}
	for _, sub := range o.Program.Subs {
		var set []string
		for _, s := range sub.Sources {
			e.session.Topics = append(e.session.Topics, kafka.SourceTopic{Name: s.Topic, Start: kafka.Start(s.Start)})
			set = append(set, s.Topic)
		}
		e.session.Copartitioned = append(e.session.Copartitioned, set)
	}
	if e.session.ExactlyOnce {
		e.session.TransactionalID = o.Group + "-" + e.instance
	}
	return e, e.session.Validate()
}

func randomInstance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "millrace"
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(host) + "-" + hex.EncodeToString(b[:])
}

// Instance returns the name of this instance.
func (e *Engine) Instance() string { return e.instance }

// TransactionalID returns the transactional id that this instance writes under, "" under at-least-once. Every
// instance's begins with the group's name, so that an ACL can name them all by that prefix.
func (e *Engine) TransactionalID() string { return e.session.TransactionalID }

// Stats returns what the engine has done so far. It is safe for concurrent use.
func (e *Engine) Stats() Stats { return e.stats.snapshot() }

// Pauses between tries to get a working session, and how often they are worth a line in the log in the long run.
const (
	minPause = 200 * time.Millisecond
	maxPause = 2 * time.Second
	sayEvery = time.Minute
)

// Run processes the source topic until ctx is cancelled, and then returns nil once the batch in hand is
// committed and the group left. It returns an error, a [*kafka.Error] mostly, when going on needs a person. It
// may be called once.
func (e *Engine) Run(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			e.stats.setState(Failed)
			return
		}
		e.stats.setState(Stopped)
	}()
	if e.db, err = e.openState(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.closeState()) }()
	run, cancel := context.WithCancelCause(ctx)
	monitor := make(chan struct{})
	go func() {
		defer close(monitor)
		e.monitor(run, cancel)
	}()
	defer func() {
		cancel(nil)
		<-monitor
	}()
	backoff := kafka.Backoff{Min: minPause, Max: maxPause}
	var said time.Time
	for try := 1; ; try++ {
		committed := e.stats.commits()
		err := e.attempt(run)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				e.options.Log.LogAttrs(ctx, slog.LevelWarn, "the last records were not committed; the next run does them again", slog.Any("error", err))
			}
			return nil
		}
		if run.Err() != nil { // the monitor has found something that no session mends
			err = context.Cause(run)
		}
		if w, ok := errors.AsType[*kafka.WriteError](err); e.stats.commits() != committed || ok && w.TooLarge() {
			try = 1 // something was committed or learned
		}
		if _, ok := errors.AsType[*TaskError](err); ok || kafka.Recover(err) == kafka.Fatal {
			return err
		}
		pause := backoff.Pause(try)
		level := slog.LevelDebug
		if try&(try-1) == 0 || time.Since(said) >= sayEvery { // the first tries, then fewer and fewer
			level, said = slog.LevelWarn, time.Now()
		}
		e.lost(ctx, level, err, try, pause)
		select {
		case <-time.After(pause):
		case <-run.Done():
		}
	}
}

// lost reports that there is no working session.
func (e *Engine) lost(ctx context.Context, level slog.Level, err error, try int, pause time.Duration) {
	attrs := []slog.Attr{
		slog.Any("error", err), slog.String("group", e.options.Group), slog.String("instance", e.instance),
		slog.Int("try", try), slog.Duration("next_try_in", pause.Round(time.Millisecond)),
	}
	if k, ok := errors.AsType[*kafka.Error](err); ok {
		attrs = append(attrs, slog.String("hint", k.Hint))
		if k.Code == kafka.CodeUnavailable {
			e.stats.setState(WaitingForBroker)
			e.options.Log.LogAttrs(ctx, level, "kafka does not answer; trying again", attrs...)
			return
		}
	}
	e.stats.setState(Recovering)
	e.options.Log.LogAttrs(ctx, level, "session lost; going on from the committed offsets with a new one", attrs...)
}

// attempt opens a session and works in it until it fails or ctx is cancelled.
func (e *Engine) attempt(ctx context.Context) error {
	if err := e.options.Client.Ping(ctx); err != nil {
		return err
	}
	plan, err := e.inspect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, err := e.openGlobals(ctx)
	if err != nil {
		return err
	}
	defer g.close()
	sc := e.session
	sc.MaxBytes = map[string]int{}
	for topic, l := range plan.limits {
		sc.MaxBytes[topic] = l.MaxBytes
	}
	e.changes.clear()
	s, err := e.options.Client.Join(ctx, sc)
	if err != nil {
		return err
	}
	e.current.Store(s)
	defer func() {
		e.current.Store(nil)
		e.stats.assign(nil)
		s.Close(ctx)
	}()
	e.stats.setState(Running)
	e.options.Log.LogAttrs(ctx, slog.LevelInfo, "running", slog.String("group", e.options.Group), slog.String("instance", e.instance),
		slog.Any("reads", readTopics(e.program)), slog.Any("writes", writtenTopics(e.program)), slog.String("dead_letters", e.program.DeadLetters),
		slog.String("guarantee", string(e.options.Guarantee)))
	return newLoop(e, s, plan, g).run(ctx)
}

// changed notes partitions that came or went. It runs on a goroutine of the client.
func (e *Engine) changed(c kafka.Change) {
	e.stats.rebalanced(c)
	e.changes.add(c)
	e.options.Log.LogAttrs(context.Background(), slog.LevelInfo, "partitions changed", slog.String("group", e.options.Group),
		slog.Any("assigned", c.Assigned), slog.Any("revoked", c.Revoked), slog.Any("lost", c.Lost))
}

// skipped notes records that a source topic does not keep any more. It runs on a goroutine of the client.
func (e *Engine) skipped(topic string, partition int32, committed, oldest int64) {
	e.stats.change(func() { e.stats.stats.Skipped += uint64(oldest - committed) })
	e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "records were deleted before they were read", slog.String("topic", topic),
		slog.Int("partition", int(partition)), slog.Int64("committed", committed), slog.Int64("oldest", oldest),
		slog.String("hint", "give the topic a longer retention than the application's longest stop"))
}

// changes are what the group has changed and the loop does not know yet.
type changes struct {
	mu   sync.Mutex
	list []kafka.Change
}

func (c *changes) add(x kafka.Change) {
	c.mu.Lock()
	c.list = append(c.list, x)
	c.mu.Unlock()
}

func (c *changes) take() []kafka.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

func (c *changes) clear() { c.take() }
