package torture

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Headers that a pipeline writes to its outputs, spelled out here: that they are called so is part of what is tested.
const (
	headerSource          = "millrace.source" // topic/partition/offset
	headerLetterTopic     = "millrace.dlq.topic"
	headerLetterPartition = "millrace.dlq.partition"
	headerLetterOffset    = "millrace.dlq.offset"
)

// Topics are those of a pipeline.
type Topics struct{ Source, Predictions, DeadLetters string }

// Observer reads the predictions and dead letters of a pipeline from their first record on, as a consumer of
// committed records, and hands them to an oracle.
type Observer struct {
	topics Topics
	oracle *Oracle
	client *kgo.Client
	admin  *kadm.Client
	cancel context.CancelFunc
	done   chan struct{} // closed when the reading goroutine has ended

	mu      sync.Mutex
	reached map[place]int64 // the offset behind the last record of each partition, markers included
	moved   chan struct{}   // closed, and replaced, when reached changes
	err     error           // the first error of reading that does not pass
}

// Observe starts to read. The topics of predictions and dead letters must exist. opts are for clients that need
// more than addresses. The observer reads until [Observer.Close].
func Observe(bootstrap []string, topics Topics, oracle *Oracle, opts ...kgo.Opt) (*Observer, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap...),
		kgo.ConsumeTopics(topics.Predictions, topics.DeadLetters),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the last record of a partition may be a marker: Drain waits for it
		kgo.FetchMaxWait(50 * time.Millisecond),
		kgo.MetadataMinAge(250 * time.Millisecond), // a moved leader is found at once: the gaps are the pipeline's own
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // Close ends it
	w := &Observer{
		topics: topics, oracle: oracle, client: cl, admin: kadm.NewClient(cl), cancel: cancel,
		done: make(chan struct{}), reached: map[place]int64{}, moved: make(chan struct{}),
	}
	go w.read(ctx)
	return w, nil
}

func (w *Observer) read(ctx context.Context) {
	defer close(w.done)
	for {
		fs := w.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		fs.EachRecord(func(r *kgo.Record) { w.take(r, now) })
		w.mu.Lock()
		fs.EachRecord(func(r *kgo.Record) { w.reached[w.place(r)] = r.Offset + 1 })
		fs.EachError(func(topic string, p int32, err error) {
			if w.err == nil && !passes(err) {
				w.err = fmt.Errorf("torture: partition %d of %s: %w", p, topic, err)
			}
		})
		close(w.moved)
		w.moved = make(chan struct{})
		w.mu.Unlock()
	}
}

// passes tells whether reading goes on by itself after err: while brokers are away the client keeps trying. Records
// that are gone do not come back.
func passes(err error) bool {
	var lost *kgo.ErrDataLoss
	return !errors.As(err, &lost)
}

func (w *Observer) place(r *kgo.Record) place {
	kind := Prediction
	if r.Topic == w.topics.DeadLetters {
		kind = DeadLetter
	}
	return place{kind, r.Partition}
}

// take hands one record to the oracle.
func (w *Observer) take(r *kgo.Record, now time.Time) {
	if r.Attrs.IsControl() {
		return
	}
	kind := w.place(r).kind
	topic, s, err := sourceOf(r, kind)
	if err == nil && topic != w.topics.Source {
		err = fmt.Errorf("its source is of topic %s", topic)
	}
	if err != nil {
		w.oracle.Stray(kind, r.Partition, r.Offset, err)
		return
	}
	w.oracle.Observe(Output{Kind: kind, Source: s, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Seen: now})
}

// sourceOf reads where the record comes from. The last header of a name counts: the record may have brought
// others of that name along.
func sourceOf(r *kgo.Record, kind Kind) (string, Source, error) {
	h := map[string]string{}
	for _, x := range r.Headers {
		h[x.Key] = string(x.Value)
	}
	if kind == DeadLetter {
		return parseSource(h[headerLetterTopic], h[headerLetterPartition], h[headerLetterOffset])
	}
	parts := strings.Split(h[headerSource], "/")
	if len(parts) != 3 {
		return "", Source{}, fmt.Errorf("header %s is %q", headerSource, h[headerSource])
	}
	return parseSource(parts[0], parts[1], parts[2])
}

func parseSource(topic, partition, offset string) (string, Source, error) {
	p, err := strconv.ParseInt(partition, 10, 32)
	if err != nil {
		return "", Source{}, fmt.Errorf("partition of the source: %w", err)
	}
	o, err := strconv.ParseInt(offset, 10, 64)
	if err != nil {
		return "", Source{}, fmt.Errorf("offset of the source: %w", err)
	}
	return topic, Source{int32(p), o}, nil
}

// Drain waits until no transaction is open in the topics, and the observer has read everything. The transaction of
// a killed process is open until its timeout has passed. Nothing else must be written meanwhile.
//
// That a producer has ended its transaction is not enough: Kafka answers it before the markers are written.
func (w *Observer) Drain(ctx context.Context) error {
	want := map[place]int64{}
	for kind, topic := range map[Kind]string{Prediction: w.topics.Predictions, DeadLetter: w.topics.DeadLetters} {
		of, err := ends(ctx, w.admin, topic)
		if err != nil {
			return fmt.Errorf("torture: drain: %w", err)
		}
		for p, end := range of {
			want[place{kind, p}] = end
		}
	}
	return w.until(ctx, func() string {
		for at, end := range want {
			if w.reached[at] < end {
				return fmt.Sprintf("partition %d of the %ss is read up to %d of %d", at.partition, at.kind, w.reached[at], end)
			}
		}
		return ""
	})
}

// Wait waits until every input has an output. More may come: end the pipeline's processes, and [Observer.Drain].
func (w *Observer) Wait(ctx context.Context) error {
	return w.until(ctx, func() string {
		if n := w.oracle.Missing(); n > 0 {
			return fmt.Sprintf("%d inputs have no output", n)
		}
		return ""
	})
}

// until waits until lacks, which is asked again after each read with w.mu held, returns "".
func (w *Observer) until(ctx context.Context, lacks func() string) error {
	for {
		w.mu.Lock()
		moved, err, what := w.moved, w.err, lacks()
		w.mu.Unlock()
		if err != nil || what == "" {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("torture: %s: %w", what, ctx.Err())
		}
	}
}

// Close stops reading and waits for the goroutine.
func (w *Observer) Close() {
	w.cancel()
	<-w.done
	w.client.Close()
}

// ends waits until no transaction is open in a topic, and returns the end offsets of the partitions that hold
// anything.
func ends(ctx context.Context, admin *kadm.Client, topic string) (map[int32]int64, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		starts, err1 := admin.ListStartOffsets(ctx, topic)
		last, err2 := admin.ListEndOffsets(ctx, topic)
		stable, err3 := admin.ListCommittedOffsets(ctx, topic)
		err := errors.Join(err1, err2, err3)
		if err == nil {
			err = errors.Join(starts.Error(), last.Error(), stable.Error())
		}
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		ends, open := map[int32]int64{}, 0
		last.Each(func(o kadm.ListedOffset) {
			if s, ok := stable.Lookup(topic, o.Partition); !ok || s.Offset < o.Offset {
				open++
			}
			if s, ok := starts.Lookup(topic, o.Partition); ok && s.Offset < o.Offset {
				ends[o.Partition] = o.Offset
			}
		})
		if open == 0 {
			return ends, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("transactions are open in %d partitions of %s: %w", open, topic, ctx.Err())
		}
	}
}

// Committed waits until no transaction is open in a topic, and reads its committed records, those of a partition
// in order. A test makes its [Input] values of those of the source topic.
func Committed(ctx context.Context, bootstrap []string, topic string, opts ...kgo.Opt) ([]*kgo.Record, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	defer cl.Close()
	left, err := ends(ctx, kadm.NewClient(cl), topic)
	if err != nil {
		return nil, fmt.Errorf("torture: %w", err)
	}
	var all []*kgo.Record
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			return nil, fmt.Errorf("torture: read %s: %w", topic, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			end, ok := left[r.Partition]
			if ok && r.Offset < end && !r.Attrs.IsControl() {
				all = append(all, r)
			}
			if ok && r.Offset >= end-1 {
				delete(left, r.Partition)
			}
		})
	}
	return all, nil
}
