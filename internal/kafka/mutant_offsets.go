//go:build mutant_offsets

package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	mutantOffsets = true
	mutantRestore = false
)

// commitTooEarly commits what was only read.
func (s *Session) commitTooEarly(ctx context.Context, runs []Run) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for _, r := range runs {
		if offsets[r.Topic] == nil {
			offsets[r.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[r.Topic][r.Partition] = kgo.EpochOffset{Epoch: -1, Offset: r.next}
	}
	if len(offsets) > 0 {
		s.kgo.CommitOffsetsSync(ctx, offsets, nil)
	}
}
