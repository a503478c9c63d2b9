package kafka

import (
	"context"
	"errors"
	"slices"

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
	from, err := c.tapFrom(ctx, &tc)
	if err != nil {
		return err
	}
	rc := ReadConfig{From: map[string]Offsets{tc.Topic: from}, Follow: tc.Follow, Uncommitted: tc.Uncommitted, stable: !tc.Uncommitted}
	for {
		err := c.Read(ctx, rc, func(s Step) error {
			from[s.Partition] = s.Next
			if s.Len() == 0 {
				return nil
			}
			records := make([]record.Raw, s.Len())
			for i := range records {
				s.Read(i, &records[i])
			}
			return fn(records)
		})
		if ctx.Err() != nil || errors.Is(err, errStop) {
			err = nil // the caller has seen enough
		}
		outside, ok := errors.AsType[*RangeError](err)
		if !ok {
			return err
		}
		for _, p := range outside.Partitions { // the oldest records go while they are read
			from[p.Partition] = max(min(p.Offset, p.End), p.Start)
		}
	}
}

// tapFrom returns where to begin to read each partition.
func (c *Client) tapFrom(ctx context.Context, tc *TapConfig) (Offsets, error) {
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
	from := make(Offsets, len(partitions))
	for _, p := range partitions {
		if !slices.Contains(ts[0].Partitions, p) {
			return nil, noPartition(tc.Topic, p, len(ts[0].Partitions))
		}
		from[p] = max(min(tc.From, end[p]), start[p])
		if tc.From == FromEnd {
			from[p] = end[p]
		}
	}
	return from, nil
}
