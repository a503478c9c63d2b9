package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Settle waits until no transaction commits offsets of a group: one that was begun by a process that has died may be committed or aborted
// yet. Where the group has no members none can follow.
func (c *Client) Settle(ctx context.Context, group string) error {
	pauses := Backoff{Min: 50 * time.Millisecond, Max: time.Second}
	for try := 1; ; try++ {
		rs, err := c.admin.FetchOffsets(kadm.RequireStable(ctx), group)
		if err == nil {
			err = rs.Error()
		}
		switch {
		case errors.Is(err, kerr.GroupIDNotFound):
			return nil
		case err != nil && !errors.Is(err, kerr.UnstableOffsetCommit):
			return c.fault(ctx, "read the offsets of group", group, "operation Describe, resource Group "+group, err)
		case err == nil:
			return nil
		}
		select {
		case <-time.After(pauses.Pause(try)):
		case <-ctx.Done():
			return &Error{
				Code: CodeUnavailable, Op: "read the offsets of group", Where: group, Err: errors.New("a transaction that commits some is open for too long"),
				Hint: "wait until the brokers have aborted it, or look for transactions that hang",
			}
		}
	}
}

// Place sets positions of a group that has no members, with their metadata, all of them or none. While it has members the brokers refuse
// that, with an error of code [CodeFenced].
func (c *Client) Place(ctx context.Context, group string, at Positions) error {
	offsets := kadm.Offsets{}
	for topic, ps := range at {
		for p, o := range ps {
			offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: o.Offset, LeaderEpoch: -1, Metadata: o.Metadata})
		}
	}
	rs, err := c.admin.CommitOffsets(ctx, group, offsets)
	if err == nil {
		err = rs.Error()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress):
		return &Error{Code: CodeFenced, Op: "set the offsets of group", Where: group, Err: fmt.Errorf("it has members: %w", err), Hint: "stop them first"}
	default:
		return c.fault(ctx, "set the offsets of group", group, "operation Read, resource Group "+group, err)
	}
}
