package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Begin opens a round. It must not be open. If partitions went since the last one ended, the round is doomed from the
// start under exactly-once.
func (s *Session) Begin() error {
	s.failure.Store(nil)
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
// when ctx is done. A run without records says that the end of its partition was reached: see [Run.CaughtUp].
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
	n := 0
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		large, bomb := errors.AsType[*kgo.ErrDecompressTooLarge](p.Err)
		if p.Err != nil && !bomb && !errors.Is(p.Err, context.DeadlineExceeded) && !errors.Is(p.Err, context.Canceled) {
			fault := s.fetchFault(p.Topic, p.Partition, p.Err)
			if n := len(errs); n == 0 || errs[n-1].Error() != fault.Error() { // the library may report a thing twice
				errs = append(errs, fault)
			}
		}
		if len(p.Records) > 0 {
			run := newRun(&p)
			n += run.Len()
			s.polled(p.Topic, p.Partition, p.Records, run.stable)
			runs = append(runs, run)
		}
		if bomb {
			if run, ok := s.pass(large, p.HighWatermark); ok {
				n += run.Len()
				runs = append(runs, run)
			}
		}
	})
	if mutantOffsets {
		s.commitTooEarly(ctx, runs)
	}
	if n == 0 && s.transct == nil && !s.open {
		s.allow()
	}
	return runs, errors.Join(errs...)
}

// allow lets the group go on with a rebalance that waited for the end of a round.
func (s *Session) allow() {
	s.stale.Store(false)
	s.kgo.AllowRebalance()
}

// maxStandIns is how many records of a batch that is not read are told one by one.
const maxStandIns = 1000

// pass goes past a batch that is too large to be read, and returns a run that stands for its records: one for each offset or,
// where there are very many, one for all of them, at the last offset.
func (s *Session) pass(e *kgo.ErrDecompressTooLarge, end int64) (Run, bool) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	at := s.ledger.get(e.Topic, e.Partition)
	first := e.Offset
	if at != nil {
		first = max(first, at.read)
	}
	if at == nil || e.NextOffset <= first {
		return Run{}, false
	}
	if e.NextOffset-first > maxStandIns {
		first = e.NextOffset - 1
	}
	run := Run{Topic: e.Topic, Partition: e.Partition, End: max(end, e.NextOffset), next: e.NextOffset, stable: at.end, unreadable: true}
	for o := first; o < e.NextOffset; o++ {
		run.records = append(run.records, &kgo.Record{Topic: e.Topic, Partition: e.Partition, Offset: o, LeaderEpoch: e.Epoch})
	}
	s.ledger.polled(e.Topic, e.Partition, run.records, max(at.end, e.NextOffset))
	s.kgo.SetOffsets(map[string]map[int32]kgo.EpochOffset{e.Topic: {e.Partition: {Epoch: e.Epoch, Offset: e.NextOffset}}})
	return run, true
}

func (s *Session) polled(topic string, partition int32, rs []*kgo.Record, stable int64) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	s.ledger.polled(topic, partition, rs, stable)
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
		if s.failure.CompareAndSwap(nil, &WriteError{Topic: topic, Err: err}) {
			s.wake()
		}
	}
}

// Commit ends the round: what was sent can be read, and the group goes on at the given positions, once the round is
// done and if this member should fail. Only these count as processed: of a partition that is not among them nothing
// does, however much of it was polled. Reading goes on where it is in any case, so that records may be held back and
// be processed in a later round. A position must not be before the last one that was committed, nor beyond what was
// polled; one of a partition that is with another member by now is passed over.
//
// Commit returns false when the round was undone instead, so that all records from the committed positions on come
// again: with a nil error because of a rebalance or a passing fault, or because of the error. A [*WriteError] leaves the session
// usable; [Recover] judges the others. Cancelling ctx leaves the outcome open: the session is then to be closed.
func (s *Session) Commit(ctx context.Context, at Positions) (bool, error) {
	if err := s.kgo.Flush(ctx); err != nil {
		return false, s.endFault(ctx, err)
	}
	if f := s.failure.Load(); f != nil {
		if err := s.Abort(ctx); err != nil {
			return false, err
		}
		// After the first round that writes to a topic the library sometimes goes on with a sequence number of before,
		// which the brokers refuse. Ending the round has mended that.
		if uneven := s.transct != nil && errors.Is(f.Err, kerr.OutOfOrderSequenceNumber); uneven && !s.uneven {
			s.uneven = true
			return false, nil
		}
		return false, s.writeFault(f)
	}
	if s.Doomed() { // whoever has seen that may have dropped records
		return false, s.Abort(ctx)
	}
	fresh, offsets, err := s.progress(at)
	if err != nil {
		return false, errors.Join(err, s.Abort(ctx))
	}
	s.open = false
	if s.transct == nil {
		err := s.commitOffsets(ctx, fresh, offsets)
		s.allow()
		return err == nil, err
	}
	s.stale.Store(false) // before: what goes meanwhile may or may not undo this round, and may undo the next one
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
		s.uneven = false
		s.committed(fresh)
	}
	return ok, nil
}

// progress returns the positions that have to be committed, and the same with the epochs of the records before them.
func (s *Session) progress(at Positions) (Positions, map[string]map[int32]kgo.EpochOffset, error) {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	fresh, err := s.ledger.progress(at)
	if len(fresh) == 0 && s.transct != nil {
		// Only a transaction with offsets is refused when this member is believed dead. The library also waits for half
		// a second after one without, since it cannot tell how new the brokers are.
		fresh = s.ledger.anchor()
	}
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
	s.kgo.SetOffsets(s.ledger.rewind(s.ledger.all()))
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
		s.allow()
		if err != nil {
			return s.endFault(ctx, err)
		}
		return nil
	}
	s.stale.Store(false)
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
