package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
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

// SourceTopic is a topic that a session reads.
type SourceTopic struct {
	Name  string
	Start Start // Default: Earliest
}

// SessionConfig says how to take part in a group.
type SessionConfig struct {
	Group  string
	Topics []SourceTopic // the source topics; at least one
	// Copartitioned are sets of source topics whose partitions of the same number always are with the same member.
	// Sets that share a topic count as one. The members may disagree on the sets while they are replaced by ones of
	// another version: what one of them says holds for all. Default: none, each topic stands alone
	Copartitioned [][]string
	// Paused keeps every partition that comes from being read until [Session.Resume]. Default: they are read at once
	Paused      bool
	ExactlyOnce bool // Commit is a transaction. Default: at least once
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
	Skipped func(topic string, partition int32, committed, oldest int64)
}

// Change is a change of the partitions of a session. A partition that is both in Assigned and in one of the others
// went first and then came again: nothing that was known of it holds any more.
type Change struct {
	Assigned Partitions // came
	Revoked  Partitions // went to other members, after a word with this one
	Lost     Partitions // went without a word: the group believed this member dead
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
	c.Topics = slices.Clone(c.Topics)
	for i := range c.Topics {
		if c.Topics[i].Start == "" {
			c.Topics[i].Start = Earliest
		}
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
	if len(c.Topics) == 0 {
		fault("no source topic")
	}
	names := make(map[string]bool, len(c.Topics))
	for _, t := range c.Topics {
		switch {
		case t.Name == "":
			fault("a source topic has no name")
		case names[t.Name]:
			fault("source topic " + t.Name + " is given twice")
		}
		names[t.Name] = true
		if t.Start != "" && t.Start != Earliest && t.Start != Latest {
			fault("start of topic " + t.Name + ": want " + string(Earliest) + " or " + string(Latest))
		}
	}
	for _, set := range c.Copartitioned {
		for _, t := range set {
			if !names[t] {
				fault("co-partitioned topic " + t + " is not a source topic")
			}
		}
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
// Outboxes may be filled and sent by several goroutines, each outbox by one at a time, between Begin and Commit or
// Abort. Begin, Poll, Commit, Abort and Close are for one goroutine at a time; every other method is safe for
// concurrent use.
type Session struct {
	config  SessionConfig
	client  *Client
	reach   *reach
	kgo     *kgo.Client
	transct *kgo.GroupTransactSession // nil under at-least-once
	open    bool

	stale    atomic.Bool // partitions were taken away since Begin
	failure  atomic.Pointer[WriteError]
	inFlight gate
	outboxes chan *Outbox
	written  writes

	turn     chan struct{} // holds a token when nobody uses what follows
	assigned map[string]map[int32]struct{}
	latest   Partitions // the last assignment
	ledger   ledger
	found    Positions // what the group had committed of partitions that are about to begin
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
		inFlight: gate{most: int64(sc.MaxInFlight)}, outboxes: make(chan *Outbox, 64), turn: make(chan struct{}, 1),
		assigned: map[string]map[int32]struct{}{}, ledger: ledger{}, found: Positions{},
	}
	s.turn <- struct{}{}
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
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(s.topics()...),
		kgo.Balancers(balancers(c.Copartitioned, s.heard)...),
		kgo.SessionTimeout(c.SessionTimeout), kgo.HeartbeatInterval(c.SessionTimeout / 6), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // the library always asks for stable offsets
		// Where a partition is begun is decided by begin alone, and never moved behind its back: an offset that turns
		// out not to exist ends the session, and the next one begins anew.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.OnOffsetsFetched(s.fetched), kgo.AdjustFetchOffsetsFn(s.begin),
		kgo.FetchMaxWait(c.MaxWait), kgo.FetchMaxBytes(16 << 20), kgo.FetchMaxPartitionBytes(1 << 20),
		kgo.DisableAutoCommit(),
		kgo.RecordPartitioner(newBySource()), kgo.ProducerBatchCompression(codec...), kgo.ProducerLinger(0),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// Send bounds what is in flight by bytes, without the library's lock.
		kgo.MaxBufferedRecords(math.MaxInt32),
		kgo.ProducerBatchMaxBytesFn(s.batchBytes),
		kgo.OnPartitionsAssigned(func(_ context.Context, k *kgo.Client, m map[string][]int32) { s.assign(k, m) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, k *kgo.Client, m map[string][]int32) { s.change(k, Change{Revoked: m}) }),
		kgo.OnPartitionsLost(func(_ context.Context, k *kgo.Client, m map[string][]int32) { s.change(k, Change{Lost: m}) }),
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

// fetched keeps what else the group has committed with the offsets of partitions that are about to begin.
func (s *Session) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.Metadata != nil && p.Offset >= 0 {
					s.found.Set(t.Topic, p.Partition, Position{p.Offset, *p.Metadata})
				}
			}
		}
	}
	return nil
}

// begin decides where partitions that came to this member are begun: where the group has committed, else where the
// configuration says. It makes every offset an exact one, because the library goes back to it when a first round is
// aborted.
func (s *Session) begin(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for _, t := range s.config.Topics {
		if len(offsets[t.Name]) == 0 {
			continue
		}
		if err := s.beginTopic(ctx, t, offsets[t.Name]); err != nil {
			return nil, err
		}
	}
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	for topic, m := range offsets {
		for p, o := range m {
			at := o.EpochOffset()
			to := Position{Offset: at.Offset}
			if f := s.found[topic][p]; f.Offset == at.Offset {
				to.Metadata = f.Metadata
			}
			s.ledger.begin(topic, p, to, at.Epoch)
		}
	}
	clear(s.found)
	return offsets, nil
}

func (s *Session) beginTopic(ctx context.Context, t SourceTopic, offsets map[int32]kgo.Offset) error {
	start, err := s.client.StartOffsets(ctx, t.Name)
	if err != nil {
		return err
	}
	end, err := s.client.EndOffsets(ctx, t.Name, false)
	if err != nil {
		return err
	}
	latest := Offsets{}
	if t.Start == Latest {
		if latest, err = s.client.EndOffsets(ctx, t.Name, true); err != nil {
			return err
		}
	}
	for p, o := range offsets {
		oldest, ok := start[p]
		if !ok {
			return fmt.Errorf("partition %s/%d was assigned and has no offsets: %w", t.Name, p, kerr.UnknownTopicOrPartition)
		}
		switch at := o.EpochOffset().Offset; {
		case at < 0 && t.Start == Latest:
			offsets[p] = kgo.NewOffset().At(latest[p])
		case at < 0:
			offsets[p] = kgo.NewOffset().At(oldest)
		case at < oldest:
			offsets[p] = kgo.NewOffset().At(oldest)
			if s.config.Skipped != nil {
				s.config.Skipped(t.Name, p, at, oldest)
			}
		case at > end[p]:
			return &Error{
				Code: CodeTopicChanged, Op: "read topic", Where: fmt.Sprintf("%s/%d", t.Name, p),
				Err:  fmt.Errorf("the group %s has committed offset %d, but the partition ends at %d: the brokers lost records, or the topic was made anew", s.config.Group, at, end[p]),
				Hint: "find out what happened to the topic; then delete the group's offsets, or choose another group, to begin anew",
			}
		}
	}
	return nil
}

// heard notes what this member has by the last assignment. The partitions are told again, as changes.
func (s *Session) heard(all Partitions) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.latest = all
}

// assign notes partitions that came. It also finds those that went unnoticed: after one revocation in a transaction
// the library keeps further ones to itself until that has ended.
func (s *Session) assign(k *kgo.Client, came Partitions) {
	c := Change{Assigned: came, Revoked: Partitions{}, Lost: Partitions{}}
	<-s.turn
	for topic, m := range s.assigned {
		for _, p := range sorted(m) {
			if !slices.Contains(s.latest[topic], p) {
				c.Revoked[topic] = append(c.Revoked[topic], p)
			}
		}
		for _, p := range came[topic] {
			if _, had := m[p]; had {
				c.Lost[topic] = append(c.Lost[topic], p)
			}
		}
	}
	s.turn <- struct{}{}
	s.change(k, c)
}

// change notes partitions that came or went.
func (s *Session) change(k *kgo.Client, c Change) {
	if c.Assigned.Len()+c.Revoked.Len()+c.Lost.Len() == 0 {
		return
	}
	<-s.turn
	for _, gone := range []Partitions{c.Revoked, c.Lost} {
		s.ledger.forget(gone)
		for topic, ps := range gone {
			for _, p := range ps {
				delete(s.assigned[topic], p)
			}
		}
	}
	for topic, ps := range c.Assigned {
		if s.assigned[topic] == nil {
			s.assigned[topic] = map[int32]struct{}{}
		}
		for _, p := range ps {
			s.assigned[topic][p] = struct{}{}
		}
	}
	s.turn <- struct{}{}
	if c.Revoked.Len()+c.Lost.Len() > 0 {
		s.stale.Store(true)
		k.ResumeFetchPartitions(c.Revoked)
		k.ResumeFetchPartitions(c.Lost)
	}
	if s.config.Paused && len(c.Assigned) > 0 {
		k.PauseFetchPartitions(c.Assigned) // the library begins to read them after this returns
	}
	if s.config.Changed != nil {
		s.config.Changed(c)
	}
}

// Assigned returns the partitions that this member has now, those of a topic ascending.
func (s *Session) Assigned() Partitions {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	ps := Partitions{}
	for topic, m := range s.assigned {
		if len(m) > 0 {
			ps[topic] = sorted(m)
		}
	}
	return ps
}

// Position returns the position of a partition that was last committed, by this member or the one that had it before,
// or where reading it began if none was. It is false until reading has begun.
func (s *Session) Position(topic string, partition int32) (Position, bool) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	e := s.ledger.get(topic, partition)
	if e == nil {
		return Position{}, false
	}
	return e.committed, true
}

// Pause stops the reading of partitions: the next Poll returns no record of them.
func (s *Session) Pause(ps Partitions) {
	if len(ps) > 0 {
		s.kgo.PauseFetchPartitions(ps)
	}
}

// Resume goes on with the reading of partitions where it was paused.
func (s *Session) Resume(ps Partitions) {
	if len(ps) > 0 {
		s.kgo.ResumeFetchPartitions(ps)
	}
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
	s.written.reset()
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
// when ctx is done.
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
			s.polled(p.Topic, p.Partition, p.Records)
			runs = append(runs, Run{Topic: p.Topic, Partition: p.Partition, End: p.HighWatermark, records: p.Records})
		}
	})
	if len(runs) == 0 && s.transct == nil && !s.open {
		s.kgo.AllowRebalance()
	}
	return runs, errors.Join(errs...)
}

func (s *Session) polled(topic string, partition int32, rs []*kgo.Record) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.ledger.polled(topic, partition, rs)
}

func (s *Session) fetchFault(topic string, partition int32, err error) error {
	if gerr, ok := errors.AsType[*kgo.ErrGroupSession](err); ok {
		need := "operation Read, resource Group " + s.config.Group
		if errors.Is(gerr.Err, kerr.TopicAuthorizationFailed) {
			need = needTopic("Read", strings.Join(s.topics(), ", "))
		}
		return explain("take part in group", s.config.Group, need, err)
	}
	if codeOf(err) == CodeUnknownTopic { // it was there: whether it is gone for good is for the next session to see
		return fmt.Errorf("kafka: read topic %s/%d: %w", topic, partition, err)
	}
	return explain("read topic", fmt.Sprintf("%s/%d", topic, partition), needTopic("Read", topic), err)
}

func (s *Session) topics() []string {
	names := make([]string, len(s.config.Topics))
	for i, t := range s.config.Topics {
		names[i] = t.Name
	}
	return names
}

// Send writes the records of an outbox, in order, and takes the outbox back. It waits while too much is in flight;
// of several goroutines that wait, the first goes on first. A failure shows in Failed and fails the round.
func (s *Session) Send(ctx context.Context, o *Outbox) error {
	if len(o.records) == 0 {
		o.Discard()
		return nil
	}
	if err := s.inFlight.enter(ctx, int64(o.bytes)); err != nil {
		o.Discard()
		return err
	}
	o.left.Store(int64(len(o.records)))
	kept := context.WithoutCancel(ctx) // what is sent is ended by Commit, Abort or Close, never half-way
	for i := range o.records {
		r := &o.records[i]
		promise := o.promise
		if r.Partition < 0 {
			promise = o.promiseTo
		}
		s.kgo.Produce(kept, r, promise)
	}
	return nil
}

// Written returns the offset after the last record that the brokers have acknowledged of those that [Outbox.AddTo]
// put into a partition in this round or, when none is open, the last one. It is false when there is none.
func (s *Session) Written(topic string, partition int32) (next int64, ok bool) {
	return s.written.get(topic, partition)
}

func (s *Session) fail(topic string, err error) {
	if !errors.Is(err, kgo.ErrAborting) {
		s.failure.CompareAndSwap(nil, &WriteError{Topic: topic, Err: err})
	}
}

// Commit ends the round: what was sent can be read, and the group goes on at the given positions, once the round is
// done and if this member should fail. Only these count as processed: of a partition that is not among them nothing
// does, however much of it was polled. Reading goes on where it is in any case, so that records may be held back and
// be processed in a later round. A position must not be before the last one that was committed, nor beyond what was
// polled; one of a partition that is with another member by now is passed over.
//
// Commit returns false when the round was undone instead, so that all records from the committed positions on come
// again: because of a rebalance, with a nil error, or because of the error. A [*WriteError] leaves the session
// usable; [Recover] judges the others. Cancelling ctx leaves the outcome open: the session is then to be closed.
func (s *Session) Commit(ctx context.Context, at Positions) (bool, error) {
	if err := s.kgo.Flush(ctx); err != nil {
		return false, s.endFault(ctx, err)
	}
	if f := s.failure.Load(); f != nil {
		if err := s.Abort(ctx); err != nil {
			return false, err
		}
		return false, s.writeFault(f)
	}
	fresh, offsets, err := s.progress(at)
	if err != nil {
		return false, errors.Join(err, s.Abort(ctx))
	}
	s.open = false
	if s.transct == nil {
		err := s.commitOffsets(ctx, fresh, offsets)
		s.kgo.AllowRebalance()
		return err == nil, err
	}
	ok, err := s.transct.End(kgo.PreTxnCommitFnContext(ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
		rewrite(req, fresh, offsets)
		return nil
	}), kgo.TryCommit)
	if !ok {
		s.rewind()
	}
	if err != nil {
		return false, s.endFault(ctx, err)
	}
	if ok {
		s.committed(fresh)
	}
	return ok, nil
}

// progress returns what positions have to be committed, and the same with the epochs of the records before them.
func (s *Session) progress(at Positions) (Positions, map[string]map[int32]kgo.EpochOffset, error) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	fresh, err := s.ledger.progress(at)
	return fresh, s.ledger.offsets(fresh), err
}

func (s *Session) committed(at Positions) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.ledger.commit(at)
}

// rewind lets every partition be read again from where it is committed. The library by itself goes back to where it
// believes to have committed, which is what it had polled. Nobody else may change the partitions meanwhile: one that
// goes and comes back must not be moved to where it was before.
func (s *Session) rewind() {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.kgo.SetOffsets(s.ledger.rewind())
}

// rewrite makes of the library's request, which would commit what was polled, one that commits positions.
func rewrite(req *kmsg.TxnOffsetCommitRequest, at Positions, offsets map[string]map[int32]kgo.EpochOffset) {
	ids := make(map[string][16]byte, len(req.Topics))
	for _, t := range req.Topics {
		ids[t.Topic] = t.TopicID
	}
	req.Topics = nil
	for _, topic := range sorted(at) {
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic, t.TopicID = topic, ids[topic]
		for _, partition := range sorted(at[topic]) {
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			o := offsets[topic][partition]
			p.Partition, p.Offset, p.LeaderEpoch = partition, o.Offset, o.Epoch
			p.Metadata = new(at[topic][partition].Metadata)
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
}

// Abort ends the round and undoes it: all records from the committed positions on come again. At-least-once cannot
// undo what it has sent.
func (s *Session) Abort(ctx context.Context) error {
	s.open = false
	if s.transct == nil {
		err := s.kgo.AbortBufferedRecords(ctx)
		s.rewind()
		s.kgo.AllowRebalance()
		if err != nil {
			return s.endFault(ctx, err)
		}
		return nil
	}
	_, err := s.transct.End(ctx, kgo.TryAbort)
	s.rewind()
	if err != nil {
		return s.endFault(ctx, err)
	}
	return nil
}

func (s *Session) commitOffsets(ctx context.Context, at Positions, offsets map[string]map[int32]kgo.EpochOffset) error {
	if len(offsets) == 0 {
		return nil
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				p.Metadata = new(at[t.Topic][p.Partition].Metadata)
			}
		}
		return nil
	})
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
		s.committed(at)
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
