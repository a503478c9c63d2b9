package letter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// ReplayedHeader is a header of a record that was replayed: where the first one stood, TOPIC/PARTITION/OFFSET. Predictions
// keep it, as they keep all headers of their record.
const ReplayedHeader = "millrace.replayed"

// Replay says which letters to replay.
type Replay struct {
	Client *kafka.Client
	Topic  string // of the letters
	Group  string // whose letters they are; those of other groups are left
	// Sources are the topics that letters may go back to. What a letter says it comes from is no more to be trusted than
	// the rest of it.
	Sources  []string
	To       string // the topic that the records go to. Default: the one that they came from
	Select   Selection
	Limit    int // of letters. Default: no limit
	Attempts int // letters of records that were tried so often are left. Default: 3
	// DryRun looks what would be done, and does not do it.
	DryRun bool
	// Batch is how many letters go into a transaction. Default: 500
	Batch int
	// Progress, if not nil, is told how many letters were replayed, after each transaction.
	Progress func(int)
	Now      func() time.Time // Default: time.Now

	timeout time.Duration // of a transaction. Default: that below
}

const (
	defaultAttempts = 3
	defaultBatch    = 500
	maxBatchBytes   = 4 << 20
	maxLeft         = 100 // letters that are named
	// The transaction of a replay that was killed hides what follows it in the source until it is over.
	defaultTimeout = 10 * time.Second
)

// Outcome is what a replay has done. The numbers are of letters that were selected.
type Outcome struct {
	Selected int
	Replayed int // or would be, of a dry run
	Before   int // they were replayed already
	Left     []Left
	// LeftFor counts all letters that were left, by why.
	LeftFor map[string]int
	Others  int // records of the topic that are no dead letters, or are of another group; selected or not
	Limited bool
}

// Left is a letter that was not replayed.
type Left struct{ At, ID, Why, Detail string }

// Why a letter is left.
const (
	LeftAttempts = "attempts" // its record was tried too often
	LeftGone     = "gone"     // the letter points to its record, which is not there any more
	LeftRefused  = "refused"  // the topic does not take it
	LeftUnknown  = "unknown"  // the letter does not say where it comes from, or from a topic that is none of the pipeline's
)

// Run replays letters: it writes their records, as they came, to where they came from, with the headers
// millrace.dlq.attempt and millrace.dlq.first-seen, by which the next failure counts on, and [ReplayedHeader]. A record
// goes to the partition that it came from, or where its key leads if there is no such partition.
//
// Each letter is replayed once, whatever is selected at what time, and whatever ends a replay: the records of a
// transaction are committed with those of the ledger, and nobody else commits meanwhile. Where one replay begins while
// another one runs, that one fails.
//
// The letters of a partition go in their order. Between partitions, and to records that came later, there is none.
//
// The outcome is right as far as it goes also with an error.
func (r *Replay) Run(ctx context.Context) (*Outcome, error) {
	r.setDefaults()
	p := &replaying{Replay: r, out: &Outcome{LeftFor: map[string]int{}}, targets: map[string]*target{}}
	err := p.run(ctx)
	return p.out, err
}

func (r *Replay) setDefaults() {
	if r.Attempts == 0 {
		r.Attempts = defaultAttempts
	}
	if r.Batch == 0 {
		r.Batch = defaultBatch
	}
	if r.timeout == 0 {
		r.timeout = defaultTimeout
	}
	if r.Now == nil {
		r.Now = time.Now
	}
}

// replaying is a replay at work.
type replaying struct {
	*Replay

	out     *Outcome
	ledger  *ledger
	writer  *kafka.Transactions // nil in a dry run
	targets map[string]*target
	open    int // letters in the open transaction
	bytes   int
}

// target is a topic that records go to.
type target struct {
	partitions int
	limits     kafka.Limits
}

func (p *replaying) run(ctx context.Context) error {
	topics, err := p.Client.Topics(ctx, p.Topic)
	if err != nil {
		return err
	}
	maxBytes := map[string]int{}
	for _, name := range p.goals() {
		t, err := p.lookUp(ctx, name)
		if err != nil {
			return err
		}
		p.targets[name], maxBytes[name] = t, t.limits.MaxBytes
	}
	name := LedgerTopic(p.Group)
	if !p.DryRun {
		err := p.Client.EnsureTopics(ctx, kafka.NewTopic{Name: name, Partitions: 1, Configs: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}})
		if err != nil {
			return err
		}
		// From here on nobody else replays, so that what the ledger says stays true.
		id := TransactionalID(p.Group)
		if p.writer, err = p.Client.Transactions(ctx, kafka.TransactionConfig{ID: id, MaxBytes: maxBytes, Timeout: p.timeout}); err != nil {
			return err
		}
		defer p.writer.Close()
	}
	start, err := p.Client.StartOffsets(ctx, p.Topic)
	if err != nil {
		return err
	}
	if p.ledger, err = readLedger(ctx, p.Client, name, topics[0].ID, start, !p.DryRun); err != nil {
		return err
	}
	if !p.DryRun {
		_ = p.ledger.purge(ctx, p.Client) // see there
	}
	others, err := Each(ctx, p.Client, p.Topic, func(l *Letter) error { return p.take(ctx, l) })
	p.out.Others += others
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return p.commit(ctx)
}

// goals returns the topics that records may go to.
func (p *replaying) goals() []string {
	if p.To != "" {
		return []string{p.To}
	}
	list := slices.Clone(p.Sources)
	slices.Sort(list)
	return slices.Compact(list)
}

func (p *replaying) lookUp(ctx context.Context, name string) (*target, error) {
	topics, err := p.Client.Topics(ctx, name)
	if err != nil {
		return nil, err
	}
	limits, err := p.Client.Limits(ctx, name)
	return &target{len(topics[0].Partitions), limits}, err
}

// errEnough ends the reading of letters at the limit.
var errEnough = errors.New("enough")

// take replays a letter, or leaves it.
func (p *replaying) take(ctx context.Context, l *Letter) error {
	switch {
	case l.Group != p.Group:
		p.out.Others++
		return nil
	case !p.Select.Selects(l):
		return nil
	}
	if p.Limit > 0 && p.out.Replayed+p.open >= p.Limit {
		p.out.Limited = true
		return errEnough
	}
	p.out.Selected++
	switch {
	case l.ID == "" || l.Source.Topic == "":
		return p.leave(l, LeftUnknown, "it does not say which record it is of")
	case !slices.Contains(p.Sources, l.Source.Topic):
		return p.leave(l, LeftUnknown, fmt.Sprintf("it is of the topic %q, which the pipeline does not read", l.Source.Topic))
	case p.ledger.has(l):
		p.out.Before++
		return nil
	case l.Attempt >= p.Attempts:
		return p.leave(l, LeftAttempts, fmt.Sprintf("its record was tried %d times", l.Attempt))
	}
	raw, err := l.Record(ctx, p.Client)
	if Gone(err) {
		return p.leave(l, LeftGone, "the topic of letters was too small for its record, and that is not in its own topic any more")
	}
	if err != nil {
		return err
	}
	out := p.replayed(l, raw)
	if why := p.refused(out); why != "" {
		return p.leave(l, LeftRefused, why)
	}
	p.ledger.marks[markOf(l.ID, l.Timestamp)] = struct{}{}
	return p.put(ctx, l, out)
}

func (p *replaying) leave(l *Letter, why, detail string) error {
	p.out.LeftFor[why]++
	if len(p.out.Left) < maxLeft {
		p.out.Left = append(p.out.Left, Left{l.At(), l.ID, why, detail})
	}
	return nil
}

// replayed returns the record to be written for a letter.
func (p *replaying) replayed(l *Letter, raw *record.Raw) *record.Raw {
	out := &record.Raw{Topic: cmp.Or(p.To, l.Source.Topic), Partition: l.Source.Partition, Key: raw.Key, Value: raw.Value, Timestamp: raw.Timestamp}
	if n := p.targets[out.Topic].partitions; int(out.Partition) >= n {
		out.Partition = task.Place(out.Key, out.Partition, n)
	}
	out.Headers = slices.Clone(raw.Headers)
	if !slices.ContainsFunc(out.Headers, func(h record.Header) bool { return h.Key == ReplayedHeader }) {
		out.Headers = append(out.Headers, record.Header{Key: ReplayedHeader, Value: []byte(l.Source.String())})
	}
	number := func(key string, n int64) {
		out.Headers = append(out.Headers, record.Header{Key: key, Value: strconv.AppendInt(nil, n, 10)})
	}
	number(task.LetterAttempt, int64(max(1, l.Attempt)))
	if l.FirstSeen >= 0 {
		number(task.LetterFirstSeen, l.FirstSeen)
	}
	return out
}

// refused says why a topic would not take a record, or "".
func (p *replaying) refused(r *record.Raw) string {
	l := &p.targets[r.Topic].limits
	age := p.Now().Sub(time.UnixMilli(r.Timestamp))
	switch size := kafka.RecordSize(r); {
	case size > l.MaxBytes:
		return fmt.Sprintf("it takes up to %d bytes, with what says that it was replayed; the topic %s takes records of %d", size, r.Topic, l.MaxBytes)
	case l.Compacted && r.Key == nil:
		return fmt.Sprintf("it has no key, and the topic %s is compacted", r.Topic)
	case r.Timestamp >= 0 && !l.AppendTime && (age > l.PastLimit || -age > l.FutureLimit):
		return fmt.Sprintf("its timestamp is one that the topic %s does not take", r.Topic)
	default:
		return ""
	}
}

// put adds a record to the transaction, with the note that it was replayed.
func (p *replaying) put(ctx context.Context, l *Letter, r *record.Raw) error {
	if p.writer == nil {
		p.out.Replayed++
		return nil
	}
	if p.open == 0 {
		if err := p.writer.Begin(); err != nil {
			return err
		}
	}
	p.writer.Send(r)
	p.writer.Send(p.ledger.record(l))
	p.open++
	if p.bytes += kafka.RecordSize(r); p.open < p.Batch && p.bytes < maxBatchBytes {
		return nil
	}
	return p.commit(ctx)
}

// commit ends the transaction, if there is one.
func (p *replaying) commit(ctx context.Context) error {
	if p.open == 0 {
		return nil
	}
	if err := p.writer.Commit(ctx); err != nil {
		return err
	}
	p.out.Replayed += p.open
	p.open, p.bytes = 0, 0
	if p.Progress != nil {
		p.Progress(p.out.Replayed)
	}
	return nil
}
