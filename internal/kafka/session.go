package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Start says where a group that has committed nothing begins to read a partition.
type Start string

// The starts.
const (
	Earliest Start = "earliest" // at the oldest record
	Latest   Start = "latest"   // at records that are written from now on
)

// The codecs of [SessionConfig.Compression] and [ProducerConfig.Compression].
const (
	CompressionNone   = "none"
	CompressionSnappy = "snappy"
	CompressionLZ4    = "lz4"
	CompressionZstd   = "zstd"
)

// SessionConfig says how to take part in a group.
type SessionConfig struct {
	Group       string
	Topic       string // the source topic
	Start       Start  // Default: Earliest
	ExactlyOnce bool   // Commit is a transaction. Default: at least once
	// TransactionalID names this process's producer under exactly-once. Opening a session with an id aborts, at
	// once, the transaction that a dead process with the same id has left open.
	TransactionalID string
	// InstanceID makes this process a static member of the group: one that is started again under the same id
	// takes over its partitions without the wait for the dead member's session to end. Default: none
	InstanceID string
	// SessionTimeout is how long the group waits for a member that does not answer. Default: 6 s
	SessionTimeout time.Duration
	// TransactionTimeout is how long a transaction may be open. Until one that was left open is aborted, neither
	// its partitions move on nor can its output be read, so that it counts towards failover as much as the
	// session timeout; brokers look for overdue transactions every 10 s. It has to outlast a rebalance and the
	// move of a partition's leader, which take a second or two. Default: 5 s
	TransactionTimeout time.Duration
	// Compression of what is written. Default: snappy
	Compression string
	// MaxBytes are the largest batches that the destination topics take. Default: 1000012 for each
	MaxBytes map[string]int
	// MaxInFlight bounds the bytes that are written and not yet acknowledged. Default: 16 MiB
	MaxInFlight int
	// MaxWait is how long a broker holds a fetch back when there is nothing new. Default: 500 ms
	MaxWait time.Duration
	// Changed, if not nil, is told when partitions come or go. It must not block.
	Changed func(Change)
	// Skipped, if not nil, is told when records of a partition cannot be read because the topic does not keep them
	// any more: the group's committed offset and the oldest one that there is. It must not block.
	Skipped func(partition int32, committed, oldest int64)
}

// Change is a change of the partitions of a session.
type Change struct {
	Assigned []int32 // came
	Revoked  []int32 // went to other members, after a word with this one
	Lost     []int32 // went without a word: the group believed this member dead
}

const (
	defaultSessionTimeout     = 6 * time.Second
	defaultTransactionTimeout = 5 * time.Second
	defaultMaxInFlight        = 16 << 20
	defaultMaxWait            = 500 * time.Millisecond
	defaultBatchBytes         = 1000012
	rebalanceTimeout          = 10 * time.Second
	leaveTimeout              = time.Second
	// Bounds of the client library on the size of a batch.
	minBatchBytes, maxBatchBytes = 512, 64 << 20
)

func (c *SessionConfig) setDefaults() {
	if c.Start == "" {
		c.Start = Earliest
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = defaultSessionTimeout
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = defaultTransactionTimeout
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = defaultMaxInFlight
	}
	if c.MaxWait == 0 {
		c.MaxWait = defaultMaxWait
	}
}

// Validate reports every fault of the configuration, joined in one error.
func (c *SessionConfig) Validate() error {
	var errs []error
	fault := func(msg string) {
		errs = append(errs, &Error{Code: CodeConfig, Op: "configure session", Err: errors.New(msg)})
	}
	if c.Group == "" {
		fault("no group")
	}
	if c.Topic == "" {
		fault("no source topic")
	}
	if c.Start != "" && c.Start != Earliest && c.Start != Latest {
		fault("start: want " + string(Earliest) + " or " + string(Latest))
	}
	if c.ExactlyOnce && c.TransactionalID == "" {
		fault("exactly-once needs a transactional id")
	}
	if c.SessionTimeout < 0 || c.TransactionTimeout < 0 || c.MaxInFlight < 0 || c.MaxWait < 0 {
		fault("a timeout or a bound is negative")
	}
	if _, err := codecs(c.Compression); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func codecs(name string) ([]kgo.CompressionCodec, error) {
	switch strings.ToLower(name) {
	case "", CompressionSnappy:
		return []kgo.CompressionCodec{kgo.SnappyCompression(), kgo.NoCompression()}, nil
	case CompressionNone:
		return []kgo.CompressionCodec{kgo.NoCompression()}, nil
	case CompressionLZ4:
		return []kgo.CompressionCodec{kgo.Lz4Compression(), kgo.NoCompression()}, nil
	case CompressionZstd:
		return []kgo.CompressionCodec{kgo.ZstdCompression(), kgo.NoCompression()}, nil
	default:
		return nil, &Error{Code: CodeConfig, Op: "configure compression", Err: fmt.Errorf("no such codec: %q: want none, snappy, lz4 or zstd", name)}
	}
}

// Session is a member of a consumer group that also writes. It works in rounds: [Session.Begin], any number of
// [Session.Poll] and [Session.Send], and [Session.Commit] or [Session.Abort], after which the next round begins
// where this one did if it was not committed.
//
// Under exactly-once a round is a transaction. It is committed only if no partition was taken away meanwhile, as
// [kgo.GroupTransactSession] ensures: two members never both commit the same records.
//
// Outboxes may be filled by several goroutines; every other method is for one goroutine at a time, save
// [Session.Stale], [Session.Doomed], [Session.Failed], [Session.Assigned] and [Session.Silence].
type Session struct {
	config  SessionConfig
	client  *Client
	reach   *reach
	kgo     *kgo.Client
	transct *kgo.GroupTransactSession // nil under at-least-once
	open    bool

	stale    atomic.Bool // partitions were taken away since Begin
	failure  atomic.Pointer[WriteError]
	inFlight atomic.Int64
	freed    chan struct{}
	outboxes chan *Outbox

	mu       sync.Mutex
	assigned map[int32]struct{}
}

// WriteError is a record that could not be written.
type WriteError struct {
	Topic string
	Err   error
}

// Error returns the topic and the cause.
func (e *WriteError) Error() string { return "write to topic " + e.Topic + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// Refused tells whether the broker refused the record for what it is, so that it would refuse it again.
func (e *WriteError) Refused() bool { return codeOf(e.Err) == CodeRejected }

// TooLarge tells whether the broker refused a batch, of one record or many, for its size.
func (e *WriteError) TooLarge() bool {
	return errors.Is(e.Err, kerr.MessageTooLarge) || errors.Is(e.Err, kerr.RecordListTooLarge)
}

// Join opens a session. Under exactly-once it returns once the transactional id is this session's alone. The
// partitions come later, by themselves.
func (c *Client) Join(ctx context.Context, sc SessionConfig) (*Session, error) {
	sc.setDefaults()
	if err := sc.Validate(); err != nil {
		return nil, err
	}
	s := &Session{
		config: sc, client: c, reach: newReach(),
		freed: make(chan struct{}, 1), outboxes: make(chan *Outbox, 64), assigned: map[int32]struct{}{},
	}
	opts, err := s.options()
	if err != nil {
		return nil, err
	}
	if !sc.ExactlyOnce {
		s.kgo, err = c.open(s.reach, opts...)
		return s, err
	}
	base, err := c.config.options()
	if err != nil {
		return nil, err
	}
	s.transct, err = kgo.NewGroupTransactSession(append(append(base, kgo.WithHooks(s.reach)), opts...)...)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Op: "open session", Err: err}
	}
	s.kgo = s.transct.Client()
	if err := s.fence(ctx); err != nil {
		s.Close(ctx)
		return nil, err
	}
	return s, nil
}

func (s *Session) options() ([]kgo.Opt, error) {
	c := &s.config
	codec, err := codecs(c.Compression)
	if err != nil {
		return nil, err
	}
	start := kgo.NewOffset().AtStart()
	if c.Start == Latest {
		start = kgo.NewOffset().AtEnd()
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(c.Topic),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(c.SessionTimeout), kgo.HeartbeatInterval(c.SessionTimeout / 6), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // the library always asks for stable offsets
		// Where a partition is begun is decided by begin alone, and never moved behind its back: an offset that turns
		// out not to exist ends the session, and the next one begins anew.
		kgo.ConsumeStartOffset(start), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.AdjustFetchOffsetsFn(s.begin),
		kgo.FetchMaxWait(c.MaxWait), kgo.FetchMaxBytes(16 << 20), kgo.FetchMaxPartitionBytes(1 << 20),
		kgo.DisableAutoCommit(),
		kgo.RecordPartitioner(newBySource()), kgo.ProducerBatchCompression(codec...), kgo.ProducerLinger(0),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// Send bounds what is in flight by bytes, without the library's lock.
		kgo.MaxBufferedRecords(math.MaxInt32),
		kgo.ProducerBatchMaxBytesFn(s.batchBytes),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.change(Change{Assigned: m[c.Topic]}) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.change(Change{Revoked: m[c.Topic]}) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.change(Change{Lost: m[c.Topic]}) }),
	}
	if c.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	if c.ExactlyOnce {
		return append(opts, kgo.TransactionalID(c.TransactionalID), kgo.TransactionTimeout(c.TransactionTimeout),
			kgo.ConcurrentTransactionsBackoff(10*time.Millisecond)), nil
	}
	// Without transactions a partition must not go before what was read of it is written and committed.
	return append(opts, kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) { s.stale.Store(true) })), nil
}

func (s *Session) batchBytes(topic string) int32 {
	n, ok := s.config.MaxBytes[topic]
	if !ok {
		n = defaultBatchBytes
	}
	return int32(min(max(n, minBatchBytes), maxBatchBytes))
}

// fence makes the transactional id this session's: a transaction that another holder has open is aborted.
func (s *Session) fence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.config.TransactionTimeout)
	defer cancel()
	_, _, err := s.kgo.ProducerID(ctx)
	if err == nil {
		return nil
	}
	if codeOf(err) == CodeUnavailable {
		if _, failure := s.reach.silence(); failure != nil {
			return nobodyAnswers("open transactional id "+s.config.TransactionalID+" on", s.client.config.Brokers, failure)
		}
	}
	return explain("open transactional id", s.config.TransactionalID, "operations Write and Describe, resource TransactionalId "+s.config.TransactionalID, err)
}

// begin decides where partitions that came to this member are begun: where the group has committed, else where the
// configuration says. It makes every offset an exact one, because the library goes back to it when a first round is
// aborted.
func (s *Session) begin(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topic := s.config.Topic
	start, err := s.client.StartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	end, err := s.client.EndOffsets(ctx, topic, false)
	if err != nil {
		return nil, err
	}
	latest := Offsets{}
	if s.config.Start == Latest {
		if latest, err = s.client.EndOffsets(ctx, topic, true); err != nil {
			return nil, err
		}
	}
	for p, o := range offsets[topic] {
		oldest, ok := start[p]
		if !ok {
			return nil, fmt.Errorf("partition %d was assigned and has no offsets: %w", p, kerr.UnknownTopicOrPartition)
		}
		switch at := o.EpochOffset().Offset; {
		case at < 0 && s.config.Start == Latest:
			offsets[topic][p] = kgo.NewOffset().At(latest[p])
		case at < 0:
			offsets[topic][p] = kgo.NewOffset().At(oldest)
		case at < oldest:
			offsets[topic][p] = kgo.NewOffset().At(oldest)
			if s.config.Skipped != nil {
				s.config.Skipped(p, at, oldest)
			}
		case at > end[p]:
			return nil, &Error{
				Code: CodeTopicChanged, Op: "read topic", Where: fmt.Sprintf("%s/%d", topic, p),
				Err:  fmt.Errorf("the group %s has committed offset %d, but the partition ends at %d: the brokers lost records, or the topic was made anew", s.config.Group, at, end[p]),
				Hint: "find out what happened to the topic; then delete the group's offsets, or choose another group, to begin anew",
			}
		}
	}
	return offsets, nil
}

// change notes partitions that came or went.
func (s *Session) change(c Change) {
	if len(c.Assigned)+len(c.Revoked)+len(c.Lost) == 0 {
		return
	}
	s.mu.Lock()
	for _, p := range c.Assigned {
		s.assigned[p] = struct{}{}
	}
	for _, p := range append(slices.Clone(c.Revoked), c.Lost...) {
		delete(s.assigned, p)
	}
	s.mu.Unlock()
	if len(c.Revoked)+len(c.Lost) > 0 {
		s.stale.Store(true)
	}
	if s.config.Changed != nil {
		s.config.Changed(c)
	}
}

// Assigned returns the partitions that this member has now, ascending.
func (s *Session) Assigned() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps := make([]int32, 0, len(s.assigned))
	for p := range s.assigned {
		ps = append(ps, p)
	}
	slices.Sort(ps)
	return ps
}

// Silence returns how long no broker has answered this session, which sends a heartbeat each sixth of the
// session timeout, and the last failure to connect since, or nil.
func (s *Session) Silence() (time.Duration, error) { return s.reach.silence() }

// Stale tells whether the open round should end now: partitions were taken away, so that it can only be aborted
// (exactly once), or the group waits for it (at least once).
func (s *Session) Stale() bool { return s.stale.Load() }

// Doomed tells whether the open round can only be undone, so that going on with it is work for nothing.
func (s *Session) Doomed() bool {
	return s.failure.Load() != nil || s.transct != nil && s.stale.Load()
}

// Failed returns the first failure to write of the open round, or nil.
func (s *Session) Failed() *WriteError { return s.failure.Load() }

// Begin opens a round. It must not be open.
func (s *Session) Begin() error {
	s.failure.Store(nil)
	s.stale.Store(false)
	if s.transct != nil {
		if err := s.transct.Begin(); err != nil {
			return explain("begin a transaction of", s.config.TransactionalID, "", err)
		}
	}
	s.open = true
	return nil
}

// Poll returns records to process, at most limit of them, by partition and in order. It waits for the first one
// for at most wait; 0 is not at all, less than 0 is until ctx is done. When there is none it returns none, also
// when ctx is done. What it returns counts as processed at the next Commit.
func (s *Session) Poll(ctx context.Context, wait time.Duration, limit int) ([]Run, error) {
	var fetches kgo.Fetches
	switch {
	case wait == 0:
		var instant context.Context // the library's way to say: what is buffered, at once
		fetches = s.kgo.PollRecords(instant, limit)
	case wait < 0:
		fetches = s.kgo.PollRecords(ctx, limit)
	default:
		wctx, cancel := context.WithTimeout(ctx, wait)
		fetches = s.kgo.PollRecords(wctx, limit)
		cancel()
	}
	var runs []Run
	var errs []error
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil && !errors.Is(p.Err, context.DeadlineExceeded) && !errors.Is(p.Err, context.Canceled) {
			fault := s.fetchFault(p.Topic, p.Partition, p.Err)
			if n := len(errs); n == 0 || errs[n-1].Error() != fault.Error() { // the library may report a thing twice
				errs = append(errs, fault)
			}
		}
		if len(p.Records) > 0 {
			runs = append(runs, Run{Topic: p.Topic, Partition: p.Partition, End: p.HighWatermark, records: p.Records})
		}
	})
	if len(runs) == 0 && s.transct == nil && !s.open {
		s.kgo.AllowRebalance()
	}
	return runs, errors.Join(errs...)
}

func (s *Session) fetchFault(topic string, partition int32, err error) error {
	if gerr, ok := errors.AsType[*kgo.ErrGroupSession](err); ok {
		need := "operation Read, resource Group " + s.config.Group
		if errors.Is(gerr.Err, kerr.TopicAuthorizationFailed) {
			need = needTopic("Read", s.config.Topic)
		}
		return explain("take part in group", s.config.Group, need, err)
	}
	if codeOf(err) == CodeUnknownTopic { // it was there: whether it is gone for good is for the next session to see
		return fmt.Errorf("kafka: read topic %s/%d: %w", topic, partition, err)
	}
	return explain("read topic", fmt.Sprintf("%s/%d", topic, partition), needTopic("Read", s.config.Topic), err)
}

// Send writes the records of an outbox, in order, and takes the outbox back. It waits while too much is in
// flight. A failure shows in Failed and fails the round.
func (s *Session) Send(ctx context.Context, o *Outbox) error {
	n := int64(o.bytes)
	for s.inFlight.Load() > 0 && s.inFlight.Load()+n > int64(s.config.MaxInFlight) {
		select {
		case <-s.freed:
		case <-ctx.Done():
			o.Discard()
			return ctx.Err()
		}
	}
	if len(o.records) == 0 {
		o.Discard()
		return nil
	}
	s.inFlight.Add(n)
	o.left.Store(int64(len(o.records)))
	kept := context.WithoutCancel(ctx) // what is sent is ended by Commit, Abort or Close, never half-way
	for i := range o.records {
		s.kgo.Produce(kept, &o.records[i], o.promise)
	}
	return nil
}

// landed is called when the last record of an outbox was acknowledged, or has failed.
func (s *Session) landed(bytes int) {
	s.inFlight.Add(-int64(bytes))
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

func (s *Session) fail(topic string, err error) {
	if !errors.Is(err, kgo.ErrAborting) {
		s.failure.CompareAndSwap(nil, &WriteError{Topic: topic, Err: err})
	}
}

// Commit ends the round: what was read counts as processed, and what was sent can be read. It returns false when
// the round was undone instead, so that the same records come again: because of a rebalance, with a nil error,
// or because of the error. A [*WriteError] leaves the session usable; [Recover] judges the others. Cancelling
// ctx leaves the outcome open: the session is then to be closed.
func (s *Session) Commit(ctx context.Context) (bool, error) {
	if err := s.kgo.Flush(ctx); err != nil {
		return false, s.endFault(ctx, err)
	}
	if f := s.failure.Load(); f != nil {
		if err := s.Abort(ctx); err != nil {
			return false, err
		}
		return false, s.writeFault(f)
	}
	s.open = false
	if s.transct == nil {
		err := s.commitOffsets(ctx)
		s.kgo.AllowRebalance()
		return err == nil, err
	}
	ok, err := s.transct.End(ctx, kgo.TryCommit)
	if err != nil {
		return false, s.endFault(ctx, err)
	}
	return ok, nil
}

// Abort ends the round and undoes it: what was read comes again. At-least-once cannot undo what it has sent.
func (s *Session) Abort(ctx context.Context) error {
	s.open = false
	if s.transct == nil {
		err := s.kgo.AbortBufferedRecords(ctx)
		s.kgo.SetOffsets(s.kgo.CommittedOffsets())
		s.kgo.AllowRebalance()
		if err != nil {
			return s.endFault(ctx, err)
		}
		return nil
	}
	if _, err := s.transct.End(ctx, kgo.TryAbort); err != nil {
		return s.endFault(ctx, err)
	}
	return nil
}

func (s *Session) commitOffsets(ctx context.Context) error {
	offsets := s.kgo.UncommittedOffsets()
	if len(offsets) == 0 {
		return nil
	}
	var failed error
	s.kgo.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failed = err
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil && failed == nil {
					failed = err
				}
			}
		}
	})
	switch {
	case failed == nil:
		return nil
	case errors.Is(failed, kerr.IllegalGeneration), errors.Is(failed, kerr.UnknownMemberID), errors.Is(failed, kerr.RebalanceInProgress):
		return nil // the partitions went; their next owner reads these records again
	default:
		return s.endFault(ctx, failed)
	}
}

func (s *Session) endFault(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if codeOf(err) == CodeUnavailable {
		if d, failure := s.reach.silence(); d > time.Second || failure != nil {
			return nobodyAnswers("commit to", s.client.config.Brokers, failure)
		}
	}
	return explain("commit offsets and output of group", s.config.Group, "operation Read, resource Group "+s.config.Group, err)
}

// writeFault makes of a failure to write what a person can act on; what a new session may mend stays as it is.
func (s *Session) writeFault(f *WriteError) error {
	switch codeOf(f.Err) {
	case CodeUnauthorized:
		return explain("write to topic", f.Topic, needTopic("Write", f.Topic), f.Err)
	case CodeFenced, CodeUnsupported:
		return explain("write to topic", f.Topic, "", f.Err)
	default:
		return f
	}
}

// Close undoes the round that is open, leaves the group, so that others take the partitions over at once, and closes
// the connections. It takes two or three seconds where no broker answers; the brokers then undo the round when the
// transactional id is used again, or at the latest when the transaction timeout is over. Outboxes that were not sent
// are void.
func (s *Session) Close(ctx context.Context) {
	if s.open {
		actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		_ = s.Abort(actx) // the session ends in any case
		cancel()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if s.transct == nil {
		s.kgo.AllowRebalance()
	}
	_ = s.kgo.LeaveGroupContext(ctx)
	if s.config.InstanceID != "" {
		s.leaveStatic(ctx)
	}
	s.kgo.Close()
}

// leaveStatic takes a static member out of the group, which the library does not do by itself.
func (s *Session) leaveStatic(ctx context.Context) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = s.config.Group
	m := kmsg.NewLeaveGroupRequestMember()
	m.InstanceID = &s.config.InstanceID
	m.Reason = new("millrace ends")
	req.Members = append(req.Members, m)
	_, _ = req.RequestWith(ctx, s.kgo)
}
