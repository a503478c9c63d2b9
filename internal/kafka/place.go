package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

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
