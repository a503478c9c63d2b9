package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// Worker is the data path, for one goroutine. It has no other effects: no input, output, clock or chance.
type Worker interface {
	// NewBatch returns an empty batch of the worker's schema.
	NewBatch() *record.Batch
	// Process runs the path on every row of a batch that NewBatch returned. A row that cannot be predicted gets a
	// problem.
	Process(b *record.Batch)
	// Output returns the value to be written for row i of the batch last processed, valid until the next Process;
	// nil if the row has a problem.
	Output(i int) []byte
	// Headers returns the headers that every prediction of the model in use gets. They must not change; another
	// model has other ones.
	Headers() []record.Header
}

// Guarantee is what a failure can do to the output.
type Guarantee string

// The guarantees.
const (
	ExactlyOnce Guarantee = "exactly_once"  // nothing: each record of the source has one committed result
	AtLeastOnce Guarantee = "at_least_once" // some results may come twice, and the second time out of order
)

// Options configure an [Engine].
type Options struct {
	Client     *kafka.Client
	Workers    []Worker // one for each goroutine that processes batches; at least one
	Group      string   // the consumer group: instances of one pipeline have the same
	Source     string   // the topic that is read
	Sink       string   // the topic that gets the predictions
	DeadLetter string   // the topic that gets the records that cannot be predicted
	// Guarantee. Default: ExactlyOnce
	Guarantee Guarantee
	// InstanceID names this instance for good: it must differ between the instances of a group and stay the same
	// when an instance is started again, which then takes over at once from its dead predecessor. Default: none;
	// the host's name and a random suffix serve as the name, and a predecessor's timeouts have to pass.
	InstanceID string
	// Start is where a new group begins. Default: kafka.Earliest
	Start kafka.Start
	// CommitInterval is how long results wait for one another in a transaction: a result can be read about that
	// much later at most. Default: 100 ms
	CommitInterval time.Duration
	// BatchRows is the largest number of records in a batch. Default: 1000
	BatchRows int
	// SessionTimeout and TransactionTimeout are those of kafka.SessionConfig, with its defaults.
	SessionTimeout, TransactionTimeout time.Duration
	// Compression of the output: none, snappy, lz4 or zstd. Default: snappy
	Compression string
	// Version of the program, for the dead letters. Default: none
	Version string
	// Log. Default: nothing is logged
	Log *slog.Logger
	// Now is the clock, for latencies and for records without a usable timestamp. Default: time.Now
	Now func() time.Time
}

const (
	defaultCommitInterval = 100 * time.Millisecond
	defaultBatchRows      = 1000
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
	if o.BatchRows == 0 {
		o.BatchRows = defaultBatchRows
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
	if len(o.Workers) == 0 {
		fault("no worker")
	}
	for name, v := range map[string]string{"group": o.Group, "source topic": o.Source, "sink topic": o.Sink, "dead-letter topic": o.DeadLetter} {
		if v == "" {
			fault("no %s", name)
		}
	}
	if o.Source != "" && (o.Source == o.Sink || o.Source == o.DeadLetter) {
		fault("topic %s is both read and written: the output would be read again without end", o.Source)
	}
	if o.Sink != "" && o.Sink == o.DeadLetter {
		fault("topic %s is both sink and dead-letter topic", o.Sink)
	}
	if o.Guarantee != "" && o.Guarantee != ExactlyOnce && o.Guarantee != AtLeastOnce {
		fault("guarantee %q: want %s or %s", o.Guarantee, ExactlyOnce, AtLeastOnce)
	}
	if o.CommitInterval < 0 || o.BatchRows < 0 || o.SessionTimeout < 0 || o.TransactionTimeout < 0 {
		fault("an interval or a bound is negative")
	}
	return errors.Join(errs...)
}

// Engine runs one pipeline. Create one with [New].
type Engine struct {
	options  Options
	instance string
	session  kafka.SessionConfig
	turn     chan struct{}          // holds a token when nobody uses topics and missing
	topics   map[string]kafka.Topic // as they were when the engine first saw them
	missing  int                    // how often in a row a topic that was there was not
	stats    *recorder
	current  atomic.Pointer[kafka.Session] // for the monitor
	// condemned are records that the brokers refused to take in one form, by what form is next. The workers read
	// it; the loop changes it while no worker works.
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
		options: o, instance: o.InstanceID, stats: newRecorder(o.Now), turn: make(chan struct{}, 1),
		condemned: map[coordinates]verdict{}, shrunk: map[string]int{},
	}
	e.turn <- struct{}{}
	if e.instance == "" {
		e.instance = randomInstance()
	}
	e.session = kafka.SessionConfig{
		Group: o.Group, Topics: []kafka.SourceTopic{{Name: o.Source, Start: o.Start}}, ExactlyOnce: o.Guarantee == ExactlyOnce,
		InstanceID: o.InstanceID, SessionTimeout: o.SessionTimeout, TransactionTimeout: o.TransactionTimeout,
		Compression: o.Compression, Changed: e.changed, Skipped: e.skipped,
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
		if kafka.Recover(err) == kafka.Fatal {
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
	limits, err := e.inspect(ctx)
	if err != nil {
		return err
	}
	sc := e.session
	sc.MaxBytes = map[string]int{}
	for topic, l := range limits {
		sc.MaxBytes[topic] = l.MaxBytes
	}
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
		slog.String("source", e.options.Source), slog.String("sink", e.options.Sink), slog.String("dead_letters", e.options.DeadLetter),
		slog.String("guarantee", string(e.options.Guarantee)))
	return newLoop(e, s, limits).run(ctx)
}

// inspect checks that the topics are there, are the same as before, and may be used, and returns the limits of
// those that are written.
func (e *Engine) inspect(ctx context.Context) (map[string]kafka.Limits, error) {
	err := e.checkTopics(ctx)
	for try := 1; try < unknownTries && unknown(err) && ctx.Err() == nil; try++ {
		select {
		case <-time.After(unknownPause):
		case <-ctx.Done():
		}
		err = e.checkTopics(ctx)
	}
	if err != nil {
		return nil, err
	}
	limits := map[string]kafka.Limits{}
	for _, t := range []string{e.options.Sink, e.options.DeadLetter} {
		l, err := e.options.Client.Limits(ctx, t)
		if err != nil {
			return nil, err
		}
		if n, ok := e.shrunk[t]; ok {
			l.MaxBytes = min(l.MaxBytes, n)
		}
		limits[t] = l
	}
	d := limits[e.options.DeadLetter]
	fault := func(why, hint string) error {
		return &kafka.Error{Code: kafka.CodeConfig, Op: "use dead-letter topic", Where: e.options.DeadLetter, Err: errors.New(why), Hint: hint}
	}
	if d.Compacted {
		return nil, fault("it is compacted", "set its cleanup.policy to delete: compaction loses dead letters, and refuses those without a key")
	}
	if d.MaxBytes < minLetterBytes {
		return nil, fault(fmt.Sprintf("its max.message.bytes is %d", d.MaxBytes), fmt.Sprintf("set it to %d or more; best to that of the source topic and a little more", minLetterBytes))
	}
	return limits, nil
}

// A topic that was made a moment ago is not known to every broker yet: how often to ask, and the pause between.
const (
	unknownTries = 4
	unknownPause = 400 * time.Millisecond
)

func unknown(err error) bool {
	k, ok := errors.AsType[*kafka.Error](err)
	return ok && k.Code == kafka.CodeUnknownTopic
}

// topicGone is how often in a row a topic has to be missing, once it was there, to count as deleted: a broker
// that has just started may not know it yet.
const topicGone = 3

// checkTopics compares the topics with what they were at the start.
func (e *Engine) checkTopics(ctx context.Context) error {
	o := &e.options
	topics, err := o.Client.Topics(ctx, o.Source, o.Sink, o.DeadLetter)
	<-e.turn
	defer func() { e.turn <- struct{}{} }()
	if err != nil {
		k, ok := errors.AsType[*kafka.Error](err)
		if ok && k.Code == kafka.CodeUnauthorized { // the right to describe comes with the one that is needed anyway
			operation := "Write"
			if k.Where == o.Source {
				operation = "Read"
			}
			k.Hint = needs(operation, k.Where)
		}
		if !ok || k.Code != kafka.CodeUnknownTopic {
			return err
		}
		if e.topics == nil {
			k.Hint = "create it before the pipeline runs: the brokers' defaults for partitions, replicas and retention are rarely what a pipeline wants"
			return err
		}
		if e.missing++; e.missing < topicGone {
			return &kafka.Error{Code: kafka.CodeUnavailable, Op: "describe topic", Where: k.Where, Err: k.Err, Hint: "wait: a broker that has just started learns its topics"}
		}
		return changed(k.Where, "it was deleted while the pipeline ran")
	}
	e.missing = 0
	seen := map[string]kafka.Topic{}
	for _, t := range topics {
		seen[t.Name] = t
		if before, ok := e.topics[t.Name]; ok && before.ID != t.ID {
			return changed(t.Name, "it was deleted and made anew while the pipeline ran")
		}
	}
	if e.topics == nil {
		e.topics = seen
	}
	if !seen[o.Source].CanRead {
		return forbidden("read", o.Source, "Read")
	}
	for _, t := range []string{o.Sink, o.DeadLetter} {
		if !seen[t].CanWrite {
			return forbidden("write to", t, "Write")
		}
	}
	return nil
}

func changed(topic, why string) error {
	return &kafka.Error{
		Code: kafka.CodeTopicChanged, Op: "use topic", Where: topic, Err: errors.New(why),
		Hint: "make sure that this was meant, delete the group's offsets or choose another group, and start the pipeline again",
	}
}

func forbidden(verb, topic, operation string) error {
	return &kafka.Error{
		Code: kafka.CodeUnauthorized, Op: verb + " topic", Where: topic, Err: errors.New("not authorized"),
		Hint: needs(operation, topic),
	}
}

func needs(operation, topic string) string {
	return "the principal needs the ACL: operation " + operation + ", resource Topic " + topic
}

// changed notes partitions that came or went. It runs on a goroutine of the client.
func (e *Engine) changed(c kafka.Change) {
	source := e.options.Source
	e.stats.rebalanced(c.Assigned[source], c.Revoked[source], c.Lost[source])
	e.options.Log.LogAttrs(context.Background(), slog.LevelInfo, "partitions changed", slog.String("group", e.options.Group),
		slog.Any("assigned", c.Assigned[source]), slog.Any("revoked", c.Revoked[source]), slog.Any("lost", c.Lost[source]))
}

// skipped notes records that the source topic does not keep any more. It runs on a goroutine of the client.
func (e *Engine) skipped(topic string, partition int32, committed, oldest int64) {
	e.stats.change(func() { e.stats.stats.Skipped += uint64(oldest - committed) })
	e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "records were deleted before they were read", slog.String("topic", topic),
		slog.Int("partition", int(partition)), slog.Int64("committed", committed), slog.Int64("oldest", oldest),
		slog.String("hint", "give the topic a longer retention than the pipeline's longest stop"))
}
