//go:build unix

package streams

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/streams/topology"
	"millrace.dev/e2e/torture"
)

// collect reads what the application has committed.
func collect(ctx context.Context, t *testing.T, bootstrap []string) *Outputs {
	t.Helper()
	out := &Outputs{CountState: map[string]int64{}, WindowState: map[string]int64{}}
	for topic, list := range map[string]*[]Output{
		topology.Joined: &out.Joined, topology.Counts: &out.Counts, topology.Windows: &out.Windows, topology.Letters: &out.Letters,
	} {
		for _, r := range committed(ctx, t, bootstrap, topic) {
			*list = append(*list, output(t, topic, r))
		}
	}
	for _, r := range committed(ctx, t, bootstrap, topology.Name+"-count-changelog") {
		if len(r.Key) > 0 && r.Key[0] == rowPrefix {
			out.CountState[string(r.Key[1:])] = lastInt64(t, r)
		}
	}
	for _, r := range committed(ctx, t, bootstrap, topology.Name+"-window-changelog") {
		if len(r.Key) > 9 && r.Key[0] == rowPrefix {
			start := int64(binary.BigEndian.Uint64(r.Key[1:9]) ^ 1<<63)
			out.WindowState[windowKey(string(r.Key[9:]), start)] = lastInt64(t, r)
		}
	}
	return out
}

// rowPrefix is what the keys of rows in a changelog begin with.
const rowPrefix = 1

// lastInt64 returns the number at the end of a row.
func lastInt64(t *testing.T, r *kgo.Record) int64 {
	t.Helper()
	if len(r.Value) < 8 {
		t.Fatalf("%s/%d/%d: a row of %d bytes", r.Topic, r.Partition, r.Offset, len(r.Value))
	}
	return int64(binary.BigEndian.Uint64(r.Value[len(r.Value)-8:]))
}

func committed(ctx context.Context, t *testing.T, bootstrap []string, topic string) []*kgo.Record {
	t.Helper()
	rs, err := torture.Committed(ctx, bootstrap, topic)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func output(t *testing.T, topic string, r *kgo.Record) Output {
	t.Helper()
	o := Output{Partition: r.Partition, Offset: r.Offset, Key: string(r.Key), Value: string(r.Value)}
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	o.Source = headers["millrace.source"]
	switch topic {
	case topology.Letters:
		o.Source = strings.Join([]string{headers["millrace.dlq.topic"], headers["millrace.dlq.partition"], headers["millrace.dlq.offset"]}, "/")
	case topology.Counts:
		o.Count = lastInt64(t, r)
	case topology.Windows:
		o.Count = lastInt64(t, r)
		o.Window, o.Key = int64(binary.BigEndian.Uint64(r.Key)), string(r.Key[16:])
	}
	return o
}

// openTransactions returns the partitions whose last stable offset is not their end.
func openTransactions(ctx context.Context, bootstrap []string) ([]string, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(ctx)
	if err != nil {
		return nil, err
	}
	stable, err := admin.ListCommittedOffsets(ctx)
	if err != nil {
		return nil, err
	}
	var list []string
	ends.Each(func(o kadm.ListedOffset) {
		if s, ok := stable.Lookup(o.Topic, o.Partition); ok && s.Offset != o.Offset {
			list = append(list, fmt.Sprintf("%s/%d: stable to %d of %d", o.Topic, o.Partition, s.Offset, o.Offset))
		}
	})
	return list, nil
}

// behind returns the partitions of topics with records that the group has not committed. What comes after the last committed record, markers of transactions and aborted records, is never read.
func behind(ctx context.Context, bootstrap []string, admin *kadm.Client, group string, topics []string) ([]string, error) {
	at, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, topic := range topics {
		rs, err := torture.Committed(ctx, bootstrap, topic)
		if err != nil {
			return nil, err
		}
		next := map[int32]int64{}
		for _, r := range rs {
			next[r.Partition] = max(next[r.Partition], r.Offset+1)
		}
		for p, end := range next {
			if c, ok := at.Lookup(topic, p); !ok || c.At < end {
				list = append(list, fmt.Sprintf("%s/%d: %d of %d", topic, p, c.At, end))
			}
		}
	}
	return list, nil
}

func poll(ctx context.Context, cond func() (bool, error)) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
