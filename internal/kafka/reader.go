package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadConfig says what to read of which topics.
type ReadConfig struct {
	// From are the partitions to read, and for each the offset to begin at.
	From map[string]Offsets
	// Until are offsets to stop at, before the high watermarks. One that a partition does not have yet is a [RangeError].
	// Default: none
	Until map[string]Offsets
	// IDs are the topics' ids, where the offsets are of use only as long as these are the same. Default: any
	IDs map[string][16]byte
	// Follow goes on beyond the high watermarks, until the context ends. Default: stop at the high watermarks that
	// stood at the call
	Follow bool
	// Uncommitted also reads records of transactions that are open or were aborted. Default: only committed ones
	Uncommitted bool
	// Workers is how many goroutines call the function at a time, each for other partitions. Default: 1
	Workers int

	// stable stops at the last stable offsets in the place of the high watermarks, and so waits for no transaction.
	stable bool
}

// Step is what was read of a partition in one go. Its Run has the records, maybe none.
type Step struct {
	Run
	Next int64 // the offset after everything that was read: the next step begins there
	Goal int64 // the high watermark at the call of Read, or what Until says; it has been reached when Next is not less
}

// RangeError is the cause of an error of code [CodeOutOfRange]: partitions do not have, or not any more, the offsets at
// which they were to be read.
type RangeError struct {
	Partitions []OutOfRange // by topic and partition
}

// OutOfRange is a partition that cannot be read from an offset on.
type OutOfRange struct {
	Topic      string
	Partition  int32
	Offset     int64 // where reading was to go on
	Start, End int64 // the offsets that there are
}

// Error names the partitions.
func (e *RangeError) Error() string {
	parts := make([]string, len(e.Partitions))
	for i, p := range e.Partitions {
		parts[i] = fmt.Sprintf("%s/%d has offsets %d to %d, not %d", p.Topic, p.Partition, p.Start, p.End, p.Offset)
	}
	return strings.Join(parts, "; ")
}

func rangeError(ps ...OutOfRange) error {
	slices.SortFunc(ps, func(a, b OutOfRange) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return &Error{
		Code: CodeOutOfRange, Op: "read topic", Where: ps[0].Topic, Err: &RangeError{ps},
		Hint: "the records were deleted, or the topic was made anew: begin anew too",
	}
}

// Read reads partitions without being part of a group, and calls fn with what it reads: the steps of a partition in
// their order, and at least one for each, so that fn learns where it ends. It returns nil once every partition is read
// to its goal, that is to the high watermark at the time of the call, or to an earlier offset of rc.Until, whatever is
// there: markers of transactions and aborted records too. Where a transaction is open below the goal it waits for that to end.
//
// It fails with a cause of type [*RangeError] if an offset is not there, with code [CodeTopicChanged] if a topic is not
// the one that it was, with fn's error, or with ctx's. When no broker answers for ten seconds it gives up; the caller
// may go on from the last steps' Next.
//
// At most two fetches of 8 MiB a broker are in memory, compressed, or of 128 KiB a partition if that is more; more is read
// only when fn is done with them.
func (c *Client) Read(ctx context.Context, rc ReadConfig, fn func(Step) error) error {
	rc.stable = rc.stable || mutantRestore
	r := &reader{
		client: c, config: rc, fn: fn, reach: newReach(), busy: map[int32]bool{}, results: make(chan fetched),
		pauses: Backoff{Min: 20 * time.Millisecond, Max: time.Second},
	}
	err := r.prepare(ctx)
	for try, began := 1, time.Now(); codeOf(err) == CodeUnavailable && time.Since(began) < giveUp && ctx.Err() == nil; try++ {
		select {
		case <-time.After(r.pauses.Pause(try)):
			err = r.prepare(ctx)
		case <-ctx.Done():
		}
	}
	if err != nil {
		return err
	}
	k, err := c.open(r.reach)
	if err != nil {
		return err
	}
	defer k.Close()
	r.kgo = k
	var ok bool
	if r.unpack, ok = k.OptValue(kgo.WithDecompressor).(kgo.Decompressor); !ok { // the client's own, which is bounded
		return &Error{Code: CodeInternal, Op: "open client", Err: errors.New("it has no decompressor")}
	}
	fetching, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		r.fetches.Wait()
	}()
	return r.run(fetching, ctx)
}

// readFetchBytes and readFetchWait bound one fetch: its bytes, and how long a broker holds it back when there is
// nothing new.
const (
	readFetchBytes     = 8 << 20
	readPartitionBytes = 128 << 10 // at least, of a partition
	readFetchWait      = 500 * time.Millisecond
)

// reader is one call of Read. Everything in it belongs to the goroutine of that call.
type reader struct {
	client  *Client
	config  ReadConfig
	fn      func(Step) error
	reach   *reach
	kgo     *kgo.Client
	unpack  kgo.Decompressor
	cursors []*cursor // of the partitions that are not done
	ids     map[string][16]byte
	busy    map[int32]bool // brokers with a fetch under way
	results chan fetched
	fetches sync.WaitGroup
	pauses  Backoff
	tries   int // in a row to find leaders
	missing int // how often in a row a topic was not there
}

// cursor is where a partition is read.
type cursor struct {
	topic     string
	partition int32
	next      int64
	goal      int64
	leader    int32 // noLeader until it is found
	busy      bool  // in a fetch that is under way
	told      bool  // fn knows the goal
}

const noLeader = -1

// fetched is the result of one fetch.
type fetched struct {
	broker  int32
	cursors []*cursor // as in the request
	parts   []part    // for those with an answer, in the same order
	err     error     // of the fetch as a whole
}

// part is what a fetch brought of a partition.
type part struct {
	cursor *cursor
	fetch  kgo.FetchPartition
	next   int64
	first  bool // no partition before it in the request had anything, so that it was not cut short in their favour
	empty  bool // there were no bytes
}

// prepare finds out from where to where the partitions are to be read.
func (r *reader) prepare(ctx context.Context) error {
	r.cursors = nil
	names := sorted(r.config.From)
	topics, err := r.client.Topics(ctx, names...)
	if err != nil {
		return err
	}
	r.ids = make(map[string][16]byte, len(topics))
	for _, t := range topics {
		if id, ok := r.config.IDs[t.Name]; ok && id != t.ID {
			return madeAnew(t.Name)
		}
		r.ids[t.Name] = t.ID
	}
	admin := r.client.admin
	start, err := r.client.list(ctx, "read the start of topic", names, admin.ListStartOffsets)
	if err != nil {
		return err
	}
	goals := admin.ListEndOffsets
	if r.config.stable {
		goals = admin.ListCommittedOffsets
	}
	end, err := r.client.list(ctx, "read the end of topic", names, goals)
	if err != nil {
		return err
	}
	var outside []OutOfRange
	for i, topic := range names {
		for _, p := range r.config.From[topic].Sorted() {
			at := r.config.From[topic][p]
			goal, ok := end[topic][p]
			goal = max(goal, start[topic][p])
			if !ok {
				return noPartition(topic, p, len(topics[i].Partitions))
			}
			if at < start[topic][p] || at > goal {
				outside = append(outside, OutOfRange{topic, p, at, start[topic][p], goal})
			}
			if until, ok := r.config.Until[topic][p]; ok {
				if until < at || until > goal {
					outside = append(outside, OutOfRange{topic, p, until, start[topic][p], goal})
				}
				goal = until
			}
			r.cursors = append(r.cursors, &cursor{topic: topic, partition: p, next: at, goal: goal, leader: noLeader})
		}
	}
	if len(outside) > 0 {
		return rangeError(outside...)
	}
	return nil
}

func madeAnew(topic string) error {
	return &Error{
		Code: CodeTopicChanged, Op: "read topic", Where: topic, Err: errors.New("it was deleted and made anew"),
		Hint: "what was remembered of the old topic is of no use for the new one: begin anew",
	}
}

func noPartition(topic string, partition int32, n int) error {
	return &Error{
		Code: CodeUnknownTopic, Op: "read topic", Where: fmt.Sprintf("%s/%d", topic, partition), Err: errors.New("no such partition"),
		Hint: fmt.Sprintf("the topic has partitions 0 to %d", n-1),
	}
}

// run fetches and delivers until everything is read. fetching is ctx, and ends when run returns.
func (r *reader) run(fetching, ctx context.Context) error {
	for _, c := range r.cursors {
		if c.next == c.goal {
			if err := r.tell(part{cursor: c, next: c.next}); err != nil {
				return err
			}
		}
	}
	r.retire()
	for len(r.cursors) > 0 {
		if err := r.find(ctx); err != nil {
			return err
		}
		r.dispatch(fetching)
		f, err := r.await(ctx)
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		if err := r.accept(ctx, f); err != nil {
			return err
		}
		r.dispatch(fetching) // more is on its way while fn works
		if err := r.deliver(f.parts); err != nil {
			return err
		}
		r.retire()
	}
	return nil
}

// retire removes the partitions that are done.
func (r *reader) retire() {
	if !r.config.Follow {
		r.cursors = slices.DeleteFunc(r.cursors, func(c *cursor) bool { return c.told && !c.busy && c.next >= c.goal })
	}
}

// await returns the next result, or nil when it is time to look for leaders.
func (r *reader) await(ctx context.Context) (*fetched, error) {
	var again <-chan time.Time
	if slices.ContainsFunc(r.cursors, func(c *cursor) bool { return c.leader == noLeader }) {
		t := time.NewTimer(r.pauses.Pause(max(1, r.tries)))
		defer t.Stop()
		again = t.C
	}
	select {
	case f := <-r.results:
		return &f, nil
	case <-again:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// find asks for the leaders of partitions that have none.
func (r *reader) find(ctx context.Context) error {
	var topics []string
	for _, c := range r.cursors {
		if c.leader == noLeader && !slices.Contains(topics, c.topic) {
			topics = append(topics, c.topic)
		}
	}
	if len(topics) == 0 {
		return nil
	}
	r.tries++
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = new(t)
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, r.kgo)
	if err != nil {
		return r.trouble(ctx, strings.Join(topics, " "), err)
	}
	for i := range resp.Topics {
		if err := r.found(ctx, &resp.Topics[i]); err != nil {
			return err
		}
	}
	return nil
}

// gone is how often in a row a topic has to be missing to count as deleted: a broker that has just started may not
// know it yet.
const gone = 5

// found notes the leaders of a topic's partitions.
func (r *reader) found(ctx context.Context, t *kmsg.MetadataResponseTopic) error {
	if t.Topic == nil {
		return nil
	}
	name := *t.Topic
	if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
		if codeOf(err) != CodeUnknownTopic {
			return r.trouble(ctx, name, err)
		}
		if r.missing++; r.missing < gone {
			return nil
		}
		return explain("read topic", name, "", err)
	}
	r.missing = 0
	if t.TopicID != r.ids[name] {
		return madeAnew(name)
	}
	leaders := make(map[int32]int32, len(t.Partitions))
	for _, p := range t.Partitions {
		if p.ErrorCode == 0 || p.Leader >= 0 {
			leaders[p.Partition] = p.Leader
		}
	}
	for _, c := range r.cursors {
		if l, ok := leaders[c.partition]; ok && c.topic == name && c.leader == noLeader {
			c.leader = l
		}
	}
	return nil
}

// trouble returns err if no retry mends it, or if no broker has answered for long.
func (r *reader) trouble(ctx context.Context, where string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch codeOf(err) {
	case CodeUnauthenticated, CodeUnauthorized, CodeUnsupported, CodeConfig:
		return explain("read topic", where, needTopic("Read", where), err)
	default:
	}
	if silent, failure := r.reach.silence(); silent > giveUp {
		return nobodyAnswers("read topic "+where+" on", r.client.config.Brokers, failure)
	}
	return nil
}

// dispatch begins a fetch from each broker that has none under way and leads partitions.
func (r *reader) dispatch(ctx context.Context) {
	byBroker := map[int32][]*cursor{}
	for _, c := range r.cursors {
		if c.leader != noLeader && !c.busy && !r.busy[c.leader] && (r.config.Follow || c.next < c.goal) {
			byBroker[c.leader] = append(byBroker[c.leader], c)
		}
	}
	for broker, cursors := range byBroker {
		r.busy[broker] = true
		for _, c := range cursors {
			c.busy = true
		}
		req := r.request(cursors)
		r.fetches.Go(func() {
			f := r.fetch(ctx, broker, cursors, req)
			select {
			case r.results <- f:
			case <-ctx.Done():
			}
		})
	}
	// Brokers fill a fetch in the order of its partitions: everyone gets to be the first.
	if n := len(r.cursors); n > 1 && len(byBroker) > 0 {
		r.cursors = append(r.cursors[1:n:n], r.cursors[0])
	}
}

func (r *reader) request(cursors []*cursor) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = int32(readFetchWait.Milliseconds())
	// The bounds are those of the partitions: the development broker leaves the aborted transactions out for a partition
	// that was cut short by a bound on the whole.
	req.MinBytes, req.MaxBytes = 1, math.MaxInt32
	req.SessionEpoch = -1 // every fetch says all of what it wants
	if !r.config.Uncommitted {
		req.IsolationLevel = 1
	}
	each := int32(max(readPartitionBytes, readFetchBytes/len(cursors)))
	for _, c := range cursors {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = c.partition, c.next, each
		p.CurrentLeaderEpoch = -1
		// One topic may appear several times: the order of the partitions is the one of the cursors.
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == c.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
			continue
		}
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = c.topic, r.ids[c.topic]
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// fetch sends a request and unpacks the answer. It runs on a goroutine of its own and changes nothing of the reader.
func (r *reader) fetch(ctx context.Context, broker int32, cursors []*cursor, req *kmsg.FetchRequest) fetched {
	f := fetched{broker: broker, cursors: cursors}
	resp, err := r.kgo.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		f.err = err
		return f
	}
	answer, ok := resp.(*kmsg.FetchResponse)
	if !ok {
		f.err = fmt.Errorf("kafka: %T in answer to a fetch", resp)
		return f
	}
	if f.err = kerr.ErrorForCode(answer.ErrorCode); f.err != nil {
		return f
	}
	level := kgo.ReadCommitted()
	if r.config.Uncommitted {
		level = kgo.ReadUncommitted()
	}
	byName := map[string]map[int32]*kmsg.FetchResponseTopicPartition{}
	for i := range answer.Topics {
		t := &answer.Topics[i]
		name := t.Topic
		for n, id := range r.ids {
			if name == "" && id == t.TopicID {
				name = n
			}
		}
		if byName[name] == nil {
			byName[name] = map[int32]*kmsg.FetchResponseTopicPartition{}
		}
		for j := range t.Partitions {
			byName[name][t.Partitions[j].Partition] = &t.Partitions[j]
		}
	}
	first := true
	for _, c := range cursors {
		p := byName[c.topic][c.partition]
		if p == nil {
			continue
		}
		x := part{cursor: c, first: first, empty: len(p.RecordBatches) == 0}
		x.fetch, x.next = kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: c.next, IsolationLevel: level, Topic: c.topic, Partition: c.partition,
		}, p, r.unpack, nil)
		first = first && x.empty
		f.parts = append(f.parts, x)
	}
	return f
}

// accept moves the cursors by what a fetch brought, and keeps in its parts those that are for fn.
func (r *reader) accept(ctx context.Context, f *fetched) error {
	delete(r.busy, f.broker)
	for _, c := range f.cursors {
		c.busy = false
	}
	if f.err != nil {
		for _, c := range f.cursors {
			c.leader = noLeader
		}
		return r.trouble(ctx, f.cursors[0].topic, f.err)
	}
	var outside []OutOfRange
	parts := f.parts[:0]
	for _, p := range f.parts {
		c := p.cursor
		switch err := p.fetch.Err; {
		case errors.Is(err, kerr.OffsetOutOfRange):
			o, out, err := r.outOfRange(ctx, c)
			if err != nil {
				return err
			}
			if out {
				outside = append(outside, o)
			}
			continue
		case err != nil && (kerr.IsRetriable(err) || codeOf(err) == CodeUnknownTopic):
			c.leader = noLeader
			continue
		case errors.Is(err, kgo.ErrMaxDecompress):
			return tooLargeToUnpack(c, err)
		case err != nil:
			return explain("read topic", fmt.Sprintf("%s/%d", c.topic, c.partition), needTopic("Read", c.topic), err)
		}
		r.tries = 0
		moved, err := r.move(ctx, &p)
		if err != nil {
			return err
		}
		if moved {
			parts = append(parts, p)
		}
	}
	if len(outside) > 0 {
		return rangeError(outside...)
	}
	f.parts = parts
	return nil
}

// tooLargeToUnpack returns the error for a batch that is not read.
func tooLargeToUnpack(c *cursor, cause error) error {
	at := c.next
	if e, ok := errors.AsType[*kgo.ErrDecompressTooLarge](cause); ok {
		at = max(at, e.Offset)
	}
	return &Error{
		Code: CodeConfig, Op: "read topic", Where: fmt.Sprintf("%s/%d/%d", c.topic, c.partition, at),
		Err:  &worded{fmt.Sprintf("the batch takes more than %d MiB when it is decompressed", MaxUnpackedBytes>>20), cause},
		Hint: "have it deleted, or begin behind it; and see that producers make smaller batches",
	}
}

// move moves a cursor by what was read, and tells whether it has moved.
func (r *reader) move(ctx context.Context, p *part) (bool, error) {
	c := p.cursor
	if p.empty && !r.config.Follow {
		stable := p.fetch.LastStableOffset
		if r.config.Uncommitted {
			stable = p.fetch.HighWatermark
		}
		switch {
		case p.first && stable >= c.goal:
			// Nothing is left up to the goal: what was there was compacted away.
			p.next = c.goal
		case p.fetch.HighWatermark < c.goal:
			// The new leader has less than the old one had, or does not know yet that it has not.
			end, err := r.client.EndOffsets(ctx, c.topic, r.config.stable)
			if err != nil {
				return false, r.trouble(ctx, c.topic, err)
			}
			if goal := max(end[c.partition], c.next); goal < c.goal {
				c.goal, c.told = goal, false
			}
		}
	}
	if !r.config.Follow && p.next >= c.goal {
		p.next = c.goal
		rs := p.fetch.Records
		for len(rs) > 0 && rs[len(rs)-1].Offset >= c.goal {
			rs = rs[:len(rs)-1]
		}
		p.fetch.Records = rs
	}
	moved := p.next > c.next || p.next >= c.goal && !c.told
	c.next = p.next
	return moved, nil
}

// outOfRange finds out why an offset is not there.
func (r *reader) outOfRange(ctx context.Context, c *cursor) (o OutOfRange, out bool, err error) {
	start, err := r.client.StartOffsets(ctx, c.topic)
	if err == nil {
		var end Offsets
		if end, err = r.client.EndOffsets(ctx, c.topic, false); err == nil {
			o = OutOfRange{c.topic, c.partition, c.next, start[c.partition], end[c.partition]}
			c.leader = noLeader
			return o, c.next < o.Start || c.next > o.End, nil
		}
	}
	c.leader = noLeader
	return o, false, r.trouble(ctx, c.topic, err)
}

// deliver calls fn with what was read.
func (r *reader) deliver(parts []part) error {
	if r.config.Workers <= 1 || len(parts) == 1 {
		for _, p := range parts {
			if err := r.tell(p); err != nil {
				return err
			}
		}
		return nil
	}
	todo := make(chan part)
	errs := make([]error, min(r.config.Workers, len(parts)))
	var working sync.WaitGroup
	for i := range errs {
		working.Go(func() {
			for p := range todo {
				if errs[i] == nil {
					errs[i] = r.tell(p)
				}
			}
		})
	}
	for _, p := range parts {
		todo <- p
	}
	close(todo)
	working.Wait()
	return cmp.Or(errs...)
}

func (r *reader) tell(p part) error {
	c := p.cursor
	c.told = true
	return r.fn(Step{
		Run:  Run{Topic: c.topic, Partition: c.partition, End: max(p.fetch.HighWatermark, p.next), records: p.fetch.Records},
		Next: p.next, Goal: c.goal,
	})
}

// list returns offsets of several topics.
func (c *Client) list(ctx context.Context, op string, topics []string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[string]Offsets, error) {
	where := strings.Join(topics, " ")
	listed, err := list(ctx, topics...)
	if err != nil {
		return nil, c.fault(ctx, op, where, needTopic("Describe", where), err)
	}
	all := make(map[string]Offsets, len(topics))
	for _, topic := range topics {
		offsets := make(Offsets, len(listed[topic]))
		for p, o := range listed[topic] {
			if o.Err != nil {
				return nil, c.fault(ctx, op, topic, needTopic("Describe", topic), o.Err)
			}
			offsets[p] = o.Offset
		}
		if len(offsets) == 0 {
			return nil, c.fault(ctx, op, topic, "", kerr.UnknownTopicOrPartition)
		}
		all[topic] = offsets
	}
	return all, nil
}

// Sorted returns the partitions, ascending.
func (o Offsets) Sorted() []int32 { return slices.Sorted(maps.Keys(o)) }
