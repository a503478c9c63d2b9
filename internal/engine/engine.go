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
	// StateBytes bounds the memory for state, of all kinds: see store.Budget. Default: that of store.Options
	StateBytes int64
	// StateFileBytes is the part of it that is for the files in StateDir. Default: that of store.Options
	StateFileBytes int64
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
	// MaxQueuedBytes bounds the bytes of their keys, values and headers. It is looked at before records are read, so that
	// it can be exceeded by one fetch from each broker, which is 4 MiB, more where batches are compressed. Default: 64 MiB
	MaxQueuedBytes int64
	// CleanupDelay is after how long the state of a task that went to another instance is deleted here. Until then the
	// task can come back and restore no more than what it has missed. Default: 10 min
	CleanupDelay time.Duration
	// PurgeInterval is how often records that were processed are deleted from repartition topics. Default: 30 s
	PurgeInterval time.Duration
	// LackPatience is after how long without progress it is told that records of topics in step wait for those of another one. Default: 10 s
	LackPatience time.Duration
	// SessionTimeout and TransactionTimeout are those of kafka.SessionConfig, with its defaults.
	SessionTimeout, TransactionTimeout time.Duration
	// Compression of the output: none, snappy, lz4 or zstd. Default: snappy
	Compression string
	// Version of the program, for the dead letters. Default: none
	Version string
	// Epoch is the first epoch: see [Engine.SetEpoch]. Default: 0, none was set
	Epoch int64
	// Behind is called once when a partition waits for an epoch that the engine does not have: another instance has used it
	// already. The application is to find out what that is, and to call [Engine.SetEpoch]. It must not block. Default: the
	// application has no epochs; those that were committed are passed over, and forgotten
	Behind func(epoch int64)
	// Address is where this instance can be asked for what is in its stores, which the others learn from the group. Default: none
	Address string
	// Switched is called when [Stats.Epochs] has changed. It must not block. Default: nobody is called
	Switched func()
	// Breaker pauses partitions with too many dead letters. Default: never
	Breaker Breaker
	// LetterGroup is the consumer group that dead letters name. Default: Group
	LetterGroup string
	// LetterCompat is a system whose headers dead letters have too. Default: none
	LetterCompat Compat
	// LetterHeaders returns what is added to the dead letter of a record, which must not be changed, of a task with an epoch; for records
	// of global tables, with the engine's. It is called by several goroutines at a time. Default: nothing is added
	LetterHeaders func(epoch int64, r *record.Raw) []record.Header
	// Log. Default: nothing is logged
	Log *slog.Logger
	// Now is the clock, for latencies and for records without a usable timestamp. Default: time.Now
	Now func() time.Time
}

const (
	defaultCommitInterval = 100 * time.Millisecond
	defaultMaxQueued      = 20_000
	defaultMaxQueuedBytes = 64 << 20
	defaultCleanupDelay   = 10 * time.Minute
	defaultPurgeInterval  = 30 * time.Second
	defaultLackPatience   = 10 * time.Second
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
	if o.MaxQueuedBytes == 0 {
		o.MaxQueuedBytes = defaultMaxQueuedBytes
	}
	if o.CleanupDelay == 0 {
		o.CleanupDelay = defaultCleanupDelay
	}
	if o.PurgeInterval == 0 {
		o.PurgeInterval = defaultPurgeInterval
	}
	if o.LackPatience == 0 {
		o.LackPatience = defaultLackPatience
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	o.Breaker.setDefaults()
	if o.Group == "" {
		o.Group = o.Program.Name
	}
	if o.LetterGroup == "" {
		o.LetterGroup = o.Group
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
	if min(o.CommitInterval, o.SessionTimeout, o.TransactionTimeout, o.CleanupDelay, o.PurgeInterval, o.LackPatience) < 0 || min(o.MaxQueued, o.Threads) < 0 || o.MaxQueuedBytes < 0 {
		fault("an interval or a bound is negative")
	}
	if err := o.storeOptions().Validate(); err != nil {
		fault("StateBytes or StateFileBytes: %w", err)
	}
	if o.Epoch < 0 || o.Epoch > 0 && o.Behind == nil {
		fault("epoch %d is negative, or nobody is told when a partition waits for another", o.Epoch)
	}
	if !o.LetterCompat.valid() {
		fault("no such headers of dead letters: %q", o.LetterCompat)
	}
	if err := o.Breaker.validate(); err != nil {
		fault("%w", err)
	}
	return errors.Join(errs...)
}

// Engine runs one program. Create one with [New].
type Engine struct {
	options  Options
	program  *task.Program
	instance string
	session  kafka.SessionConfig
	lock     lock                   // of topics, made and missing
	topics   map[string]kafka.Topic // as they were when the engine first saw them
	made     []string               // topics of the application's own that were there
	missing  int                    // how often in a row a topic that was there was not
	grown    atomic.Bool            // a topic has more partitions than the loop knows
	stats    *recorder
	db       *store.DB
	budget   atomic.Pointer[store.Budget]  // of db; nil before it is open
	full     atomic.Bool                   // the budget is, and that was told
	current  atomic.Pointer[kafka.Session] // for the monitor
	loop     atomic.Pointer[loop]          // for the session
	waker    *waker                        // of the loop
	steps    atomic.Int64                  // that the loop has done
	idle     atomic.Uint64                 // steps in which it had nothing to commit
	paused   atomic.Bool                   // by Pause; the reason is in the statistics
	epoch    atomic.Int64                  // that tasks are to use
	changes  changes
	closed   map[string]time.Time // when tasks that have state here were closed
	holdings holdings
	counts   atomic.Pointer[map[string]int] // partitions by topic, once they are known
	// verdicts are on records that the brokers refused to take in one form, by what form is next. The map is never
	// changed, but replaced by the loop.
	verdicts atomic.Pointer[map[coordinates]verdict]
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
		options: o, program: o.Program, instance: o.InstanceID, stats: newRecorder(o.Now, o.Program), lock: newLock(),
		waker: newWaker(), changes: changes{lock: newLock()}, closed: map[string]time.Time{}, holdings: newHoldings(), shrunk: map[string]int{},
	}
	e.verdicts.Store(&map[coordinates]verdict{})
	e.epoch.Store(o.Epoch)
	if e.instance == "" {
		e.instance = randomInstance()
	}
	e.session = kafka.SessionConfig{
		Group: o.Group, ExactlyOnce: o.Guarantee == ExactlyOnce, Paused: true,
		Address: o.Address, InstanceID: o.InstanceID, SessionTimeout: o.SessionTimeout, TransactionTimeout: o.TransactionTimeout,
		Compression: o.Compression, Changed: e.changed, Wake: e.woken, Skipped: e.skipped,
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

// Wait notes that what has to be done before [Engine.Run] waits for the brokers.
func (e *Engine) Wait() { e.stats.setState(WaitingForBroker) }

// Stats returns what the engine has done so far. It is safe for concurrent use.
func (e *Engine) Stats() Stats {
	s := e.stats.snapshot()
	if b := e.budget.Load(); b != nil {
		s.Memory = b.Usage()
	}
	return s
}

// tellMemory logs that there is not enough memory for the state, once until there is again.
func (e *Engine) tellMemory(ctx context.Context) {
	u := e.db.Budget().Usage()
	if full := u.Full(); e.full.Swap(full) != full && full {
		e.options.Log.LogAttrs(ctx, slog.LevelWarn, "state that has to be in memory takes nearly all of it", slog.Int64("limit_bytes", u.Limit),
			slog.Int64("stores_bytes", u.Memory), slog.Int64("globals_bytes", u.Globals), slog.Int64("files_bytes", u.Disk),
			slog.String("hint", "raise StateBytes, keep the stores on disk, or lower StateFileBytes"))
	}
}

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
	if err := e.openState(); err != nil {
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
		if errors.Is(err, store.ErrCorrupt) {
			if err := e.renewState(ctx, err); err != nil {
				return err
			}
		} else if _, ok := errors.AsType[*TaskError](err); ok || kafka.Recover(err) == kafka.Fatal {
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
	err = e.work(ctx, plan)
	if k, ok := errors.AsType[*kafka.Error](err); ok && unknown(err) {
		return kafka.Unlearned(k.Where, err) // it was there a moment ago
	}
	return err
}

// work opens a session and works in it until it fails or ctx is cancelled.
func (e *Engine) work(ctx context.Context, plan *plan) error {
	e.grown.Store(false)
	e.counts.Store(&plan.partitions)
	if err := e.identify(); err != nil {
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
		e.publishEpochs(nil)
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
	e.waker.poke()
	e.options.Log.LogAttrs(context.Background(), slog.LevelInfo, "partitions changed", slog.String("group", e.options.Group),
		slog.Any("assigned", c.Assigned), slog.Any("revoked", c.Revoked), slog.Any("lost", c.Lost))
}

// woken looks at what has become of the session. It runs on a goroutine of the client.
func (e *Engine) woken() {
	if l := e.loop.Load(); l != nil {
		l.outlet.check()
	}
	e.waker.poke()
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
	lock lock
	list []kafka.Change
}

func (c *changes) add(x kafka.Change) {
	c.lock.Lock()
	c.list = append(c.list, x)
	c.lock.Unlock()
}

func (c *changes) take() []kafka.Change {
	c.lock.Lock()
	defer c.lock.Unlock()
	list := c.list
	c.list = nil
	return list
}

func (c *changes) clear() { c.take() }

// Member returns the id of this instance in its consumer group; "" while it is in none. It is safe for concurrent use.
func (e *Engine) Member() string {
	if s := e.current.Load(); s != nil {
		return s.Member()
	}
	return ""
}
