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
	// Address is where this member can be asked for what it holds: [Client.Members] tells it, up to MaxAddress bytes. Default: none
	Address string
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
	// MaxInFlight bounds the bytes, in memory, of what is written and not yet acknowledged. Default: 4 MiB
	MaxInFlight int
	// MaxWait is how long a broker holds a fetch back when there is nothing new. Default: 500 ms
	MaxWait time.Duration
	// Changed, if not nil, is told when partitions come or go. It must not block.
	Changed func(Change)
	// Wake, if not nil, is called when Stale, Doomed or Position may say something new. It must not block.
	Wake func()
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
	defaultMaxInFlight        = 4 << 20
	defaultMaxWait            = 500 * time.Millisecond
	defaultBatchBytes         = 1000012
	rebalanceTimeout          = 10 * time.Second
	leaveTimeout              = time.Second
	// A fetch from a broker brings at most so many bytes, and so many of a partition, as they lie there, or one batch if that is more.
	// Two are in memory at a time, and of records of 100 bytes each takes more than twice as much there: much larger ones are not
	// faster, since the collector then has less room.
	maxFetchBytes, maxFetchPartitionBytes = 4 << 20, 256 << 10
	// maxSpares is how many outboxes are kept to be used again: about as many full ones as are in flight.
	maxSpares = 16
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
	cut     context.CancelFunc // ends whatever the library waits for
	uneven  bool               // the last round failed because of sequence numbers

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
		inFlight: gate{most: int64(sc.MaxInFlight)}, outboxes: make(chan *Outbox, maxSpares), turn: make(chan struct{}, 1),
		assigned: map[string]map[int32]struct{}{}, ledger: ledger{}, found: Positions{},
	}
	s.turn <- struct{}{}
	opts, err := s.options()
	if err != nil {
		return nil, err
	}
	var life context.Context
	life, s.cut = context.WithCancel(context.WithoutCancel(ctx))
	opts = append(opts, kgo.WithContext(life))
	if !sc.ExactlyOnce {
		if s.kgo, err = c.open(s.reach, opts...); err != nil {
			s.cut()
		}
		return s, err
	}
	base, err := c.config.options()
	if err != nil {
		s.cut()
		return nil, err
	}
	s.transct, err = kgo.NewGroupTransactSession(append(append(base, kgo.WithHooks(s.reach)), opts...)...)
	if err != nil {
		s.cut()
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
		kgo.Balancers(balancers(c.Copartitioned, c.Address, s.heard)...),
		kgo.SessionTimeout(c.SessionTimeout), kgo.HeartbeatInterval(c.SessionTimeout / 6), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), // the library always asks for stable offsets
		// Where a partition is begun is decided by begin alone, and never moved behind its back: an offset that turns
		// out not to exist ends the session, and the next one begins anew.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.OnOffsetsFetched(s.fetched), kgo.AdjustFetchOffsetsFn(s.begin),
		kgo.KeepControlRecords(), // they tell that the end was reached
		kgo.FetchMaxWait(c.MaxWait), kgo.FetchMaxBytes(maxFetchBytes), kgo.FetchMaxPartitionBytes(maxFetchPartitionBytes),
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
		kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) {
			s.stale.Store(true)
			s.wake()
		})), nil
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
	ends, chosen, asked := map[string]Offsets{}, map[string][]int32{}, map[string]Offsets{}
	for _, t := range s.config.Topics {
		if len(offsets[t.Name]) == 0 {
			continue
		}
		asked[t.Name] = Offsets{}
		for p, o := range offsets[t.Name] {
			asked[t.Name][p] = o.EpochOffset().Offset
			if t.Start == Latest && o.EpochOffset().Offset < 0 {
				chosen[t.Name] = append(chosen[t.Name], p)
			}
		}
		end, err := s.beginTopic(ctx, t, offsets[t.Name])
		if err != nil {
			return nil, err
		}
		ends[t.Name] = end
	}
	defer s.wake()
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	for topic, m := range offsets {
		for p, o := range m {
			at := o.EpochOffset()
			to := Position{Offset: at.Offset}
			if f := s.found[topic][p]; f.Offset == asked[topic][p] { // also where records from there on are gone
				to.Metadata = f.Metadata
			}
			s.ledger.begin(topic, p, to, at.Epoch, ends[topic][p])
			s.ledger.get(topic, p).chosen = slices.Contains(chosen[topic], p)
		}
	}
	clear(s.found)
	return offsets, nil
}

// beginTopic is begin for one topic. It returns up to where its partitions can be read.
func (s *Session) beginTopic(ctx context.Context, t SourceTopic, offsets map[int32]kgo.Offset) (stable Offsets, err error) {
	start, err := s.client.StartOffsets(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	end, err := s.client.EndOffsets(ctx, t.Name, false)
	if err != nil {
		return nil, err
	}
	stable, err = s.client.EndOffsets(ctx, t.Name, true)
	if err != nil {
		return nil, err
	}
	for p, o := range offsets {
		oldest, ok := start[p]
		if !ok {
			return nil, fmt.Errorf("partition %s/%d was assigned and has no offsets: %w", t.Name, p, kerr.UnknownTopicOrPartition)
		}
		switch at := o.EpochOffset().Offset; {
		case at < 0 && t.Start == Latest:
			offsets[p] = kgo.NewOffset().At(stable[p])
		case at < 0:
			offsets[p] = kgo.NewOffset().At(oldest)
		case at < oldest:
			offsets[p] = kgo.NewOffset().At(oldest)
			if s.config.Skipped != nil {
				s.config.Skipped(t.Name, p, at, oldest)
			}
		case at > end[p]:
			return nil, &Error{
				Code: CodeTopicChanged, Op: "read topic", Where: fmt.Sprintf("%s/%d", t.Name, p),
				Err:  fmt.Errorf("the group %s has committed offset %d, but the partition ends at %d: the brokers lost records, or the topic was made anew", s.config.Group, at, end[p]),
				Hint: "find out what happened to the topic; then delete the group's offsets, or choose another group, to begin anew",
			}
		}
	}
	return stable, nil
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
		s.wake()
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

func (s *Session) wake() {
	if s.config.Wake != nil {
		s.config.Wake()
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

// Chosen tells whether the position of a partition is where that ended when reading it began, and nobody has committed it:
// another member that gets the partition would begin at what is the end then, and miss what came between.
func (s *Session) Chosen(topic string, partition int32) bool {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	e := s.ledger.get(topic, partition)
	return e != nil && e.chosen
}

// AtEnd tells whether nothing came after the position of a partition when that was last asked for: when reading it began,
// or when records of it were last polled.
func (s *Session) AtEnd(topic string, partition int32) bool {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	e := s.ledger.get(topic, partition)
	return e != nil && e.committed.Offset >= e.end
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

// Rewind lets partitions be read again from where they are committed; one that is not this member's is passed over. No
// round may be open.
func (s *Session) Rewind(ps Partitions) {
	if len(ps) == 0 {
		return
	}
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.kgo.SetOffsets(s.ledger.rewind(ps))
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

// Fault returns what Commit would say of Failed, or nil.
func (s *Session) Fault() error {
	if f := s.failure.Load(); f != nil {
		return s.writeFault(f)
	}
	return nil
}

// ExactlyOnce tells whether rounds are transactions.
func (s *Session) ExactlyOnce() bool { return s.config.ExactlyOnce }

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
		s.allow()
	}
	defer s.cut()
	// Rarely the library's farewell, which it leaves behind where that takes too long, waits for a poll that is long over, and
	// would do so for ever.
	defer s.kgo.AllowRebalance()
	_ = s.kgo.LeaveGroupContext(ctx)
	if s.config.InstanceID != "" {
		s.leaveStatic(ctx)
	}
	if ctx.Err() != nil { // nobody answers: the library would try to say farewell to each broker
		s.cut()
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

// Member returns the id that the group has given this session; "" while it is not a member.
func (s *Session) Member() string {
	id, _ := s.kgo.GroupMetadata()
	return id
}
