//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/internal/house"
)

const (
	partitions = 6
	waiting    = time.Minute // for what should take a few seconds
)

// cluster is a broker as the measurements see it.
type cluster struct {
	address string
	client  *kgo.Client
	admin   *kadm.Client
	made    int // names so far
}

// dial waits until a broker answers.
func dial(ctx context.Context, address string) (*cluster, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, waiting)
	defer cancel()
	for {
		err := cl.Ping(ctx)
		if err == nil {
			return &cluster{address: address, client: cl, admin: kadm.NewClient(cl)}, nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			cl.Close()
			return nil, fmt.Errorf("no broker answers: %w", err)
		}
	}
}

func (c *cluster) close() { c.client.Close() }

// name returns a name that was not used yet.
func (c *cluster) name(kind string) string {
	c.made++
	return fmt.Sprintf("bench-%s-%d", kind, c.made)
}

func (c *cluster) create(ctx context.Context, topics ...string) error {
	rs, err := c.admin.CreateTopics(ctx, partitions, 1, nil, topics...)
	if err := errors.Join(err, rs.Error()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, waiting)
	defer cancel()
	for { // a broker learns of new topics a little later
		details, err := c.admin.ListTopics(ctx, topics...)
		if err == nil && details.Error() == nil {
			return nil
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("new topics are not there: %w", errors.Join(err, details.Error()))
		}
	}
}

func (c *cluster) remove(ctx context.Context, topics ...string) error {
	rs, err := c.admin.DeleteTopics(ctx, topics...)
	return errors.Join(err, rs.Error())
}

// fill writes listings of houses to a topic.
func (c *cluster) fill(ctx context.Context, topic string, records int, compression string) error {
	codec, err := codecOf(compression)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.address), kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer cl.Close()
	g, err := house.New(house.Options{Seed: seed, History: history})
	if err != nil {
		return err
	}
	var failure atomic.Pointer[error]
	for i := range int64(records) {
		s := g.Sale(history + i)
		r := &kgo.Record{Key: s.AppendKey(nil), Value: s.AppendListing(nil)}
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failure.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}

// committed returns how many records of a topic a group has committed.
func (c *cluster) committed(ctx context.Context, group, topic string) (int64, error) {
	rs, err := c.admin.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, o := range rs[topic] {
		if o.Err == nil && o.At > 0 {
			n += o.At
		}
	}
	return n, nil
}

// held returns how many records of a topic a reader of what is committed can read.
func (c *cluster) held(ctx context.Context, topic string) (int, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.address), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ends, err := c.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	n := 0
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				n++
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return n, nil
}
