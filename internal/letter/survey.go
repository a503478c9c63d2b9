package letter

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

// Kind is what letters are counted by.
type Kind struct{ Stage, Class, Field string }

// Count is how many letters there are of a kind. Times are timestamps of the records, in milliseconds; -1 is none.
type Count struct {
	Kind

	Letters     int
	Replayed    int // of these
	First, Last int64
	Attempts    int    // the most of any letter
	Example     string // where one of them stands in the topic, PARTITION/OFFSET: the newest of some partition
	Reason      string // of that one
}

// Survey is what a topic holds.
type Survey struct {
	Letters int     // that were selected
	Kinds   []Count // the most frequent first
	// Beyond counts letters of kinds for which there was no room: at most maxKinds are told apart.
	Beyond int
	Others int // records of the topic that are no dead letters of the group, selected or not
}

// maxKinds bounds the kinds that are told apart: what is in the topic is not to be trusted.
const maxKinds = 1000

// Look counts the letters of a group that are committed at the call. It keeps no more than a line for each kind, and about
// 40 bytes for each letter that was replayed.
func Look(ctx context.Context, c *kafka.Client, topic, group string, s Selection) (*Survey, error) {
	topics, err := c.Topics(ctx, topic)
	if err != nil {
		return nil, err
	}
	start, err := c.StartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ledger, err := readLedger(ctx, c, LedgerTopic(group), topics[0].ID, start, false)
	if err != nil {
		return nil, err
	}
	v := &Survey{}
	kinds := map[Kind]*Count{}
	others, err := Each(ctx, c, topic, func(l *Letter) error {
		switch {
		case l.Group != group:
			v.Others++
		case s.Selects(l):
			v.count(kinds, l, ledger.has(l))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	v.Others += others
	v.Kinds = slices.SortedFunc(func(yield func(Count) bool) {
		for n := range maps.Values(kinds) {
			if !yield(*n) {
				return
			}
		}
	}, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), strings.Compare(a.Stage, b.Stage), strings.Compare(a.Class, b.Class), strings.Compare(a.Field, b.Field))
	})
	return v, nil
}

func (v *Survey) count(kinds map[Kind]*Count, l *Letter, replayed bool) {
	v.Letters++
	k := Kind{l.Stage, l.Class, l.Field}
	n := kinds[k]
	if n == nil {
		if len(kinds) == maxKinds {
			v.Beyond++
			return
		}
		n = &Count{Kind: k, First: -1, Last: -1}
		kinds[k] = n
	}
	n.Letters++
	if replayed {
		n.Replayed++
	}
	if at := l.Timestamp; at >= 0 {
		if n.First < 0 || at < n.First {
			n.First = at
		}
		n.Last = max(n.Last, at)
	}
	n.Attempts = max(n.Attempts, l.Attempt)
	n.Example, n.Reason = l.At(), l.Reason
}

// Find returns the letter of a name, nil if there is none. Of several that have the name, which an application without
// transactions may write, it is one.
func Find(ctx context.Context, c *kafka.Client, topic string, which Which) (*Letter, error) {
	tc := kafka.TapConfig{Topic: topic, From: kafka.FromStart}
	if which.id == "" {
		tc.Partitions, tc.From = []int32{which.partition}, which.offset
	}
	var found *Letter
	err := c.Tap(ctx, tc, func(rs []record.Raw) error {
		for i := range rs {
			if l, ok := Parse(rs[i]); ok && which.Is(l) {
				found = l
				return kafka.StopTap()
			}
		}
		if which.id == "" {
			return kafka.StopTap()
		}
		return nil
	})
	if err == nil {
		err = ctx.Err()
	}
	return found, err
}
