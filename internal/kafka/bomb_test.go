package kafka

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/record"
)

// plant writes to partition 0 of topic t a good record, a batch of n records of size zeros each, which takes few bytes, and
// another good record.
func plant(t *testing.T, c *kfake.Cluster, n, size int) {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(96<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerLinger(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	zeros := make([]byte, size)
	for _, batch := range [][]*kgo.Record{{{Value: []byte("before")}}, nil, {{Value: []byte("behind")}}} {
		if batch == nil {
			for range n {
				batch = append(batch, &kgo.Record{Value: zeros})
			}
		}
		if err := k.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBomb reads a batch that becomes far larger than it is. A session goes past it with records that stand for its own,
// also when a round is undone; everybody else stops before it.
func TestBomb(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		n, size   int
		exactly   bool
		offsets   []int64 // of the records that stand for those of the batch
		committed int64
	}{
		"one record":    {1, MaxUnpackedBytes + 1, true, []int64{1}, 3},
		"some records":  {4, MaxUnpackedBytes/4 + 1, true, []int64{1, 2, 3, 4}, 6},
		"many records":  {2000, MaxUnpackedBytes/2000 + 1, true, []int64{2000}, 2002},
		"at least once": {4, MaxUnpackedBytes/4 + 1, false, []int64{1, 2, 3, 4}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, client := open(t)
			plant(t, cluster, c.n, c.size)
			s, err := client.Join(t.Context(), SessionConfig{Group: "g", Topics: []SourceTopic{{Name: "t"}}, ExactlyOnce: c.exactly, TransactionalID: "g-1"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close(t.Context())
			for _, undone := range []bool{true, false} {
				if err := s.Begin(); err != nil {
					t.Fatal(err)
				}
				var offsets []int64
				var values []string
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				for len(values) < 2 && ctx.Err() == nil {
					runs, err := s.Poll(ctx, -1, 10_000)
					if err != nil {
						t.Fatal(err)
					}
					for _, run := range runs {
						var raw record.Raw
						for i := range run.Len() {
							if run.Read(i, &raw); raw.Unreadable {
								offsets = append(offsets, raw.Offset)
							} else {
								values = append(values, string(raw.Value))
							}
						}
					}
				}
				cancel()
				if !slices.Equal(offsets, c.offsets) || !slices.Equal(values, []string{"before", "behind"}) {
					for i, v := range values {
						values[i] = v[:min(len(v), 20)]
					}
					t.Fatalf("records %v, and %d others: %q", offsets, len(values), values[:min(len(values), 20)])
				}
				if undone {
					if err := s.Abort(t.Context()); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if ok, err := s.Commit(t.Context(), Positions{"t": {0: {Offset: c.committed}}}); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			err = client.Tap(t.Context(), TapConfig{Topic: "t"}, func([]record.Raw) error { return nil })
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeConfig || e.Where != "t/0/1" || e.Hint == "" {
				t.Errorf("tap: %v", err)
			}
			if err := client.Tap(t.Context(), TapConfig{Topic: "t", Partitions: []int32{0}, From: c.committed - 1}, func([]record.Raw) error { return nil }); err != nil {
				t.Errorf("tap behind it: %v", err)
			}
		})
	}
	t.Run("within the bound", func(t *testing.T) {
		t.Parallel()
		cluster, client := open(t)
		plant(t, cluster, 1, MaxUnpackedBytes-1000)
		if n := len(tap(t, client, TapConfig{Topic: "t"})); n != 3 {
			t.Errorf("%d records", n)
		}
	})
}
