package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/record"
)

// TapConfig says what to read of a topic.
type TapConfig struct {
	Topic      string
	Partitions []int32 // Default: all
	// From is the offset to begin at in every partition: FromStart, FromEnd, or an offset. What lies outside a
	// partition means its nearest end. Default: offset 0, so in effect the start
	From int64
	// Follow goes on with records that are written later, until the context ends. Default: stop after the records
	// that are there at the call.
	Follow bool
	// Uncommitted also gives records of transactions that are open or were aborted. Default: only committed ones
	Uncommitted bool
}

// The values of [TapConfig.From] that are not offsets.
const (
	FromStart int64 = -2
	FromEnd   int64 = -1
)

// errStop ends a tap without an error.
var errStop = errors.New("stop")

// StopTap is what the function of [Client.Tap] returns to end the tap without an error.
func StopTap() error { return errStop }

// Tap reads a topic without being part of a group and gives the records to fn, in order within a partition. The
// slice and what it refers to are fn's to keep. Tap returns when there is nothing more to read, when fn returns
// an error, or with nil when ctx is cancelled.
func (c *Client) Tap(ctx context.Context, tc TapConfig, fn func([]record.Raw) error) error {
	todo, err := c.tapRange(ctx, &tc)
	if err != nil {
		return err
	}
	if len(todo) == 0 {
		return nil
	}
	offsets := make(map[int32]kgo.Offset, len(todo))
	for p, r := range todo {
		offsets[p] = kgo.NewOffset().At(r.at)
	}
	level := kgo.ReadCommitted()
	if tc.Uncommitted {
		level = kgo.ReadUncommitted()
	}
	reach := newReach()
	k, err := c.open(reach, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{tc.Topic: offsets}), kgo.FetchIsolationLevel(level),
		// Markers of transactions are not for fn, but they tell how far a partition was read.
		kgo.KeepControlRecords(), kgo.FetchMaxWait(tapWait), kgo.FetchMaxBytes(16<<20), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer k.Close()
	for {
		pctx, cancel := context.WithTimeout(ctx, 4*tapWait)
		fetches := k.PollFetches(pctx)
		cancel()
		if ctx.Err() != nil {
			return nil // the caller has seen enough
		}
		records, err := tapRecords(fetches, todo, tc.Follow)
		if err != nil {
			return err
		}
		if len(records) > 0 {
			if err := fn(records); err != nil {
				if errors.Is(err, errStop) {
					return nil
				}
				return err
			}
		}
		if !tc.Follow && len(todo) == 0 {
			return nil
		}
		if len(records) > 0 || fetches.NumRecords() > 0 {
			continue
		}
		silent, failure := reach.silence()
		if silent > pingTimeout {
			return nobodyAnswers("read topic "+tc.Topic+" on", c.config.Brokers, failure)
		}
		// The brokers answer and have nothing more: what is missing to the end are records of aborted transactions,
		// which a committed read never shows.
		if !tc.Follow && silent < 2*tapWait {
			return nil
		}
	}
}

// tapWait is how long a broker holds a fetch back when there is nothing new.
const tapWait = 250 * time.Millisecond

type span struct{ at, end int64 }

// tapRange returns what there is to read of each partition, leaving out partitions with nothing to read.
func (c *Client) tapRange(ctx context.Context, tc *TapConfig) (map[int32]span, error) {
	ts, err := c.Topics(ctx, tc.Topic)
	if err != nil {
		return nil, err
	}
	partitions := tc.Partitions
	if len(partitions) == 0 {
		partitions = ts[0].Partitions
	}
	start, err := c.StartOffsets(ctx, tc.Topic)
	if err != nil {
		return nil, err
	}
	end, err := c.EndOffsets(ctx, tc.Topic, !tc.Uncommitted)
	if err != nil {
		return nil, err
	}
	todo := make(map[int32]span, len(partitions))
	for _, p := range partitions {
		if !slices.Contains(ts[0].Partitions, p) {
			return nil, &Error{
				Code: CodeUnknownTopic, Op: "read topic", Where: fmt.Sprintf("%s/%d", tc.Topic, p), Err: errors.New("no such partition"),
				Hint: fmt.Sprintf("the topic has partitions 0 to %d", len(ts[0].Partitions)-1),
			}
		}
		at := min(max(tc.From, start[p]), end[p])
		if tc.From == FromEnd {
			at = end[p]
		}
		if tc.Follow || at < end[p] {
			todo[p] = span{at, end[p]}
		}
	}
	return todo, nil
}

// tapRecords takes the records out of fetches and the partitions that are read to their end out of todo.
func tapRecords(fetches kgo.Fetches, todo map[int32]span, follow bool) ([]record.Raw, error) {
	var records []record.Raw
	var errs []error
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil {
			if !errors.Is(p.Err, context.DeadlineExceeded) {
				errs = append(errs, explain("read topic", fmt.Sprintf("%s/%d", p.Topic, p.Partition), needTopic("Read", p.Topic), p.Err))
			}
			return
		}
		for _, k := range p.Records {
			r, ok := todo[p.Partition]
			if !ok || !follow && k.Offset >= r.end {
				delete(todo, p.Partition)
				return
			}
			if !follow && k.Offset+1 >= r.end {
				delete(todo, p.Partition)
			}
			if k.Attrs.IsControl() {
				continue
			}
			raw := record.Raw{Key: k.Key, Value: k.Value, Topic: k.Topic, Partition: k.Partition, Offset: k.Offset, Timestamp: timestamp(k)}
			for _, h := range k.Headers {
				raw.Headers = append(raw.Headers, record.Header(h))
			}
			records = append(records, raw)
		}
	})
	return records, errors.Join(errs...)
}

// Sorted returns the partitions, ascending.
func (o Offsets) Sorted() []int32 { return slices.Sorted(maps.Keys(o)) }
