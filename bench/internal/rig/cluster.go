//go:build linux

package rig

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Partitions is the number of partitions of every topic that is measured.
const Partitions = 6

// Patience is the longest wait for what should take a few seconds.
const Patience = time.Minute

// Cluster is a broker as the measurements see it.
type Cluster struct {
	address string
	client  *kgo.Client
	admin   *kadm.Client
	made    int // names so far
}

// Dial waits until a broker answers.
func Dial(ctx context.Context, address string) (*Cluster, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		err := cl.Ping(ctx)
		if err == nil {
			return &Cluster{address: address, client: cl, admin: kadm.NewClient(cl)}, nil
		}
		if Pause(ctx, 50*time.Millisecond) != nil {
			cl.Close()
			return nil, fmt.Errorf("no broker answers: %w", err)
		}
	}
}

// Close drops the connections.
func (c *Cluster) Close() { c.client.Close() }

// Address returns where the broker listens.
func (c *Cluster) Address() string { return c.address }

// Name returns a name that was not used yet.
func (c *Cluster) Name(kind string) string {
	c.made++
	return fmt.Sprintf("bench-%s-%d", kind, c.made)
}

// Create creates topics whose records are kept, however old they say they are, and waits until they are there.
func (c *Cluster) Create(ctx context.Context, topics ...string) error {
	return c.create(ctx, "-1", topics)
}

// CreateFor creates topics whose records are kept for a time, and waits until they are there.
func (c *Cluster) CreateFor(ctx context.Context, retention time.Duration, topics ...string) error {
	return c.create(ctx, strconv.FormatInt(retention.Milliseconds(), 10), topics)
}

func (c *Cluster) create(ctx context.Context, retention string, topics []string) error {
	rs, err := c.admin.CreateTopics(ctx, Partitions, 1, map[string]*string{"retention.ms": &retention}, topics...)
	if err := errors.Join(err, rs.Error()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for { // a broker learns of new topics a little later
		details, err := c.admin.ListTopics(ctx, topics...)
		if err == nil && details.Error() == nil {
			return nil
		}
		if Pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("new topics are not there: %w", errors.Join(err, details.Error()))
		}
	}
}

// Sizes returns how many bytes each topic takes on the broker.
func (c *Cluster) Sizes(ctx context.Context) (map[string]int64, error) {
	all, err := c.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, dirs := range all {
		if err := dirs.Error(); err != nil {
			return nil, err
		}
		dirs.EachPartition(func(p kadm.DescribedLogDirPartition) { sizes[p.Topic] += p.Size })
	}
	return sizes, nil
}

// Configure changes settings of a topic.
func (c *Cluster) Configure(ctx context.Context, topic string, settings map[string]string) error {
	var alter []kadm.AlterConfig
	for name, value := range settings {
		alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	rs, err := c.admin.AlterTopicConfigs(ctx, alter, topic)
	for _, r := range rs {
		err = errors.Join(err, r.Err)
	}
	return err
}

// Remove deletes topics.
func (c *Cluster) Remove(ctx context.Context, topics ...string) error {
	rs, err := c.admin.DeleteTopics(ctx, topics...)
	return errors.Join(err, rs.Error())
}

// RemoveAll deletes the topics whose names begin with prefix.
func (c *Cluster) RemoveAll(ctx context.Context, prefix string) error {
	all, err := c.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	var names []string
	for name := range all {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return c.Remove(ctx, names...)
}

// Fill writes records 0 to n-1 of a data set to a topic. Record fills in an empty record; it must not use it
// afterwards.
func (c *Cluster) Fill(ctx context.Context, topic string, n int, compression string, record func(i int, r *kgo.Record)) error {
	codec, err := CodecOf(compression)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.address), kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failure atomic.Pointer[error]
	for i := range n {
		r := &kgo.Record{}
		record(i, r)
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

// CodecOf returns the compression of a name: none, snappy, lz4 or zstd.
func CodecOf(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	default:
		return kgo.CompressionCodec{}, errors.New("no such compression: " + name)
	}
}

// Committed returns how many records of topics a group has committed. Records of transactions' ends count as well,
// which a topic has none of that [Cluster.Fill] wrote.
func (c *Cluster) Committed(ctx context.Context, group string, topics ...string) (int64, error) {
	rs, err := c.admin.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, topic := range topics {
		for _, o := range rs[topic] {
			if o.Err == nil && o.At > 0 {
				n += o.At
			}
		}
	}
	return n, nil
}

// Stable returns how many records of a topic a reader of what is committed can get to. Records of transactions' ends
// and of aborted transactions count as well.
func (c *Cluster) Stable(ctx context.Context, topic string) (int64, error) {
	ends, err := c.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, err
	}
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n, nil
}

// Read calls see for each committed record of a topic, in order within a partition, up to the topic's end. The record
// is see's only for the call.
func (c *Cluster) Read(ctx context.Context, topic string, see func(*kgo.Record) error) error {
	cl, err := c.reader(topic, kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer cl.Close()
	ends, err := c.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			if !r.Attrs.IsControl() {
				if err := see(r); err != nil {
					return err
				}
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}

// Follow calls see for each committed record of a topic, in order within a partition, also for those that are still to be
// written, until see is done or fails, or ctx ends. The record is see's only for the call.
func (c *Cluster) Follow(ctx context.Context, topic string, see func(*kgo.Record) (done bool, err error)) error {
	cl, err := c.reader(topic)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			if done, err := see(r); done || err != nil {
				return err
			}
		}
	}
}

// reader reads what is committed in a topic, from its start.
func (c *Cluster) reader(topic string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(c.address), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))...)
}
