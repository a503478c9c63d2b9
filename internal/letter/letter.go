package letter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// Letter is a dead letter. Its texts are what headers hold, cut off where they are long, and no more to be trusted than
// any record.
type Letter struct {
	Raw record.Raw // as it stands in the topic of dead letters; Headers are all of its headers

	ID                                 string // "" where no record led to the letter
	Source                             Place  // of the record; without a topic if that is not known
	Timestamp                          int64  // of the record, in milliseconds; -1 is none
	FirstSeen                          int64  // the timestamp of the first record of these, in milliseconds; -1 is none
	Attempt                            int    // how often it was tried
	Group, Node, Stage, Class          string
	Field, Reason                      string
	Model, Schema, Version             string
	ValueBytes, KeyBytes, HeadersBytes int64           // of what the letter lacks since it is too large; -1 where it does not, -2 where the size is not known
	Headers                            []record.Header // the record's own
}

// Place is where a record stands.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String returns topic/partition/offset.
func (p Place) String() string { return fmt.Sprintf("%s/%d/%d", p.Topic, p.Partition, p.Offset) }

// At returns where the letter stands in its topic, partition/offset.
func (l *Letter) At() string { return fmt.Sprintf("%d/%d", l.Raw.Partition, l.Raw.Offset) }

// Parse reads a record of a topic of dead letters. It is false where the record is none of millrace's.
func Parse(raw record.Raw) (*Letter, bool) {
	l := &Letter{Raw: raw, Timestamp: -1, FirstSeen: -1, ValueBytes: -1, KeyBytes: -1, HeadersBytes: -1, Headers: raw.Headers}
	for i, h := range raw.Headers {
		if strings.HasPrefix(h.Key, task.LetterPrefix) { // what comes from here on was added
			l.Headers = raw.Headers[:i:i]
			break
		}
	}
	offset := int64(-1)
	for _, h := range raw.Headers[len(l.Headers):] {
		text := task.BoundedText(string(h.Value))
		number := func(to *int64) {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= -1 {
				*to = n
			}
		}
		var n int64
		switch h.Key {
		case task.LetterID:
			l.ID = text
		case task.LetterTopic:
			l.Source.Topic = text
		case task.LetterPartition:
			if number(&n); n >= 0 && n < 1<<31 {
				l.Source.Partition = int32(n)
			}
		case task.LetterOffset:
			number(&offset)
		case task.LetterTimestamp:
			number(&l.Timestamp)
		case task.LetterFirstSeen:
			number(&l.FirstSeen)
		case task.LetterAttempt:
			number(&n)
			l.Attempt = int(min(max(n, 0), 1<<30))
		case engine.LetterValueBytes:
			if number(&l.ValueBytes); text == engine.UnknownBytes {
				l.ValueBytes = unknownBytes
			}
		case engine.LetterKeyBytes:
			number(&l.KeyBytes)
		case engine.LetterHeadersBytes:
			number(&l.HeadersBytes)
		default:
			if to := l.text(h.Key); to != nil {
				*to = text
			}
		}
	}
	if l.Source.Offset = offset; offset < 0 {
		l.Source = Place{}
	}
	return l, l.Stage != "" && l.Class != ""
}

// text returns where the text of a header goes, nil where that is nowhere.
func (l *Letter) text(header string) *string {
	switch header {
	case task.LetterGroup:
		return &l.Group
	case task.LetterNode:
		return &l.Node
	case task.LetterStage:
		return &l.Stage
	case task.LetterClass:
		return &l.Class
	case task.LetterField:
		return &l.Field
	case task.LetterReason:
		return &l.Reason
	case engine.LetterModel:
		return &l.Model
	case engine.LetterSchema:
		return &l.Schema
	case engine.LetterVersion:
		return &l.Version
	default:
		return nil
	}
}

// unknownBytes is the size of a value that could not be read.
const unknownBytes = -2

// Whole tells whether the letter has all bytes of its record. Else it points to it.
func (l *Letter) Whole() bool { return l.ValueBytes == -1 && l.KeyBytes < 0 && l.HeadersBytes < 0 }

// errGone is the cause of a record that a letter points to not being there.
var errGone = errors.New("the record that the letter points to is not there any more")

// Gone tells whether err is that the record of a letter is not there any more.
func Gone(err error) bool { return errors.Is(err, errGone) }

// Record returns the record as it came: its key, value, headers and timestamp, and where it stands. What the letter lacks is
// read where it stands; if it is not there any more, the error is one of which [Gone] is true.
func (l *Letter) Record(ctx context.Context, c *kafka.Client) (*record.Raw, error) {
	r := &record.Raw{
		Topic: l.Source.Topic, Partition: l.Source.Partition, Offset: l.Source.Offset,
		Key: l.Raw.Key, Value: l.Raw.Value, Headers: l.Headers, Timestamp: l.Timestamp,
	}
	if l.Whole() {
		return r, nil
	}
	if l.Source.Topic == "" || l.ValueBytes == unknownBytes {
		return nil, errGone
	}
	var found *record.Raw
	at := l.Source
	err := c.Tap(ctx, kafka.TapConfig{Topic: at.Topic, Partitions: []int32{at.Partition}, From: at.Offset}, func(rs []record.Raw) error {
		if rs[0].Offset == at.Offset {
			found = &rs[0]
		}
		return kafka.StopTap()
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && !missing(err):
		return nil, err
	case found == nil, l.ValueBytes >= 0 && int64(len(found.Value)) != l.ValueBytes, found.Timestamp != l.Timestamp:
		return nil, errGone // or another record stands there, since the topic was made anew
	}
	found.Headers = slices.DeleteFunc(found.Headers, func(h record.Header) bool { return strings.HasPrefix(h.Key, task.LetterPrefix) })
	return found, nil
}

// missing tells whether err is that a topic or partition is not there.
func missing(err error) bool {
	e, ok := errors.AsType[*kafka.Error](err)
	return ok && e.Code == kafka.CodeUnknownTopic
}

// Each calls fn with the letters of a topic that are committed at the call, in order within a partition, and returns how
// many other records there are. It keeps no more of the topic in memory than is being read.
func Each(ctx context.Context, c *kafka.Client, topic string, fn func(*Letter) error) (others int, err error) {
	end, err := c.EndOffsets(ctx, topic, true)
	if err != nil {
		return 0, err
	}
	err = c.Tap(ctx, kafka.TapConfig{Topic: topic, From: kafka.FromStart}, func(rs []record.Raw) error {
		for i := range rs {
			if rs[i].Offset >= end[rs[i].Partition] {
				continue
			}
			l, ok := Parse(rs[i])
			if !ok {
				others++
				continue
			}
			if err := fn(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = ctx.Err()
	}
	return others, err
}
