package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strings"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// topicRange is a range of a topic whose offsets are known.
type topicRange struct {
	client *kafka.Client
	given  string // as it was asked for
	topic  string
	id     [16]byte
	spans  []span // by partition, ascending
}

// span is what is read of a partition.
type span struct {
	partition int32
	from, to  int64 // to is not in it
}

// openTopic asks the brokers for the offsets of a range.
func openTopic(ctx context.Context, name string, client *kafka.Client) (*topicRange, error) {
	w, err := parseRange(name)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, &DataError{Path: name, Err: errors.New("a topic needs the brokers of a pipeline file")}
	}
	topics, err := client.Topics(ctx, w.topic)
	if err != nil {
		return nil, err
	}
	t := &topicRange{client: client, given: name, topic: w.topic, id: topics[0].ID}
	partitions, err := w.partitions(topics[0].Partitions)
	if err != nil {
		return nil, &DataError{Path: name, Err: err, Hint: rangeHint}
	}
	start, err := client.StartOffsets(ctx, w.topic)
	if err != nil {
		return nil, err
	}
	end, err := client.EndOffsets(ctx, w.topic, false)
	if err != nil {
		return nil, err
	}
	from, err := t.offsets(ctx, w.from, start, end)
	if err != nil {
		return nil, err
	}
	to, err := t.offsets(ctx, w.to, start, end)
	if err != nil {
		return nil, err
	}
	for _, p := range partitions {
		s, err := w.span(p, from[p], to[p], start[p], end[p])
		if err != nil {
			return nil, &DataError{Path: name, Err: err, Hint: "the records before the start were deleted, and those after the end are not there yet: from=earliest begins with what is left, and without to it ends with what is there"}
		}
		t.spans = append(t.spans, s)
	}
	return t, nil
}

// offsets returns where an end of a range is in each partition.
func (t *topicRange) offsets(ctx context.Context, m mark, start, end kafka.Offsets) (kafka.Offsets, error) {
	switch m.kind {
	case markEarliest:
		return start, nil
	case markLatest:
		return end, nil
	case markTime:
		return t.client.OffsetsAfter(ctx, t.topic, m.millis)
	case markOffset:
		at := kafka.Offsets{}
		for p := range end {
			at[p] = min(m.offset, end[p]) // a partition can have less than another
		}
		return at, nil
	default:
		return m.offsets, nil
	}
}

// span makes the span of a partition, whose offsets go from start to end.
func (w *wanted) span(p int32, from, to, start, end int64) (span, error) {
	for _, at := range []int64{from, to} {
		if at < start || at > end {
			return span{}, fmt.Errorf("partition %d has no offset %d: it has %d to %d", p, at, start, end)
		}
	}
	if from > to && w.from.kind == markOffsets && w.to.kind == markOffsets {
		return span{}, fmt.Errorf("in partition %d it ends at %d, before it begins at %d", p, to, from)
	}
	return span{partition: p, from: from, to: max(from, to)}, nil // there may be nothing between a time and an offset
}

// name returns the range with its offsets.
func (t *topicRange) name() string {
	var from, to strings.Builder
	for i, s := range t.spans {
		comma := ","
		if i == 0 {
			comma = ""
		}
		fmt.Fprintf(&from, "%s%d=%d", comma, s.partition, s.from)
		fmt.Fprintf(&to, "%s%d=%d", comma, s.partition, s.to)
	}
	return fmt.Sprintf("%s%s?from=offset:%s&to=offset:%s", TopicScheme, t.topic, &from, &to)
}

// topicRecords reads the partitions of a range one after the other, so that the records always come in one order. What
// comes next is on its way while the records at hand are used.
type topicRecords struct {
	topic *topicRange
	hash  hash.Hash
	pull  func() (kafka.Step, bool)
	stop  func()
	err   error // of reading; of use when there is no next step
	step  kafka.Step
	at    int // of the next record in step
	sum   []byte
}

func newTopicRecords(ctx context.Context, t *topicRange, h hash.Hash) *topicRecords {
	r := &topicRecords{topic: t, hash: h}
	r.pull, r.stop = iter.Pull(r.steps(ctx))
	return r
}

var errStopped = errors.New("stopped")

// steps reads the topic. It leaves its error in r.err.
func (r *topicRecords) steps(ctx context.Context) iter.Seq[kafka.Step] {
	return func(yield func(kafka.Step) bool) {
		t := r.topic
		for _, s := range t.spans {
			if s.from == s.to {
				continue
			}
			read := s.from
			r.err = t.client.Read(ctx, kafka.ReadConfig{
				From: map[string]kafka.Offsets{t.topic: {s.partition: s.from}}, Until: map[string]kafka.Offsets{t.topic: {s.partition: s.to}},
				IDs: map[string][16]byte{t.topic: t.id},
			}, func(step kafka.Step) error {
				read = step.Next
				if !yield(step) {
					return errStopped
				}
				return nil
			})
			if r.err == nil && read < s.to {
				r.err = &DataError{
					Path: t.given, Err: fmt.Errorf("partition %d ends at %d now, and ended at %d or later before", s.partition, read, s.to),
					Hint: "the brokers have lost records: read it again",
				}
			}
			if r.err != nil {
				return
			}
		}
	}
}

func (r *topicRecords) next(raw *record.Raw) error {
	for r.at == r.step.Len() {
		step, ok := r.pull()
		if !ok {
			if r.err != nil {
				return r.fault(r.err)
			}
			return io.EOF
		}
		r.step, r.at = step, 0
	}
	r.step.Read(r.at, raw)
	r.at++
	r.add(raw)
	return nil
}

// add adds a record to the digest.
func (r *topicRecords) add(raw *record.Raw) {
	b := binary.BigEndian.AppendUint32(r.sum[:0], uint32(raw.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(raw.Offset))
	for _, text := range [][]byte{raw.Key, raw.Value} {
		size := int64(len(text))
		if text == nil {
			size = -1
		}
		b = append(binary.BigEndian.AppendUint64(b, uint64(size)), text...)
	}
	r.sum = b
	r.hash.Write(b)
}

// fault says what to do about records that have gone since the range was opened.
func (r *topicRecords) fault(err error) error {
	if gone, ok := errors.AsType[*kafka.RangeError](err); ok {
		return &DataError{
			Path: r.topic.given, Err: fmt.Errorf("records of the range were deleted before they were read: %w", gone),
			Hint: "choose a later from, or let the topic keep its records for longer",
		}
	}
	return err
}

func (r *topicRecords) close() error {
	r.stop()
	return nil
}
