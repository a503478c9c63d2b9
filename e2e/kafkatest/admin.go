//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopic creates a topic with the cluster's replication factor and the given topic settings, and waits
// until every partition has a leader, which answers for it. Settings may be nil.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int, settings map[string]string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...))
	if err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	defer cl.Close()
	configs := make(map[string]*string, len(settings))
	for k, v := range settings {
		configs[k] = &v
	}
	admin := kadm.NewClient(cl)
	r, err := admin.CreateTopic(ctx, int32(partitions), -1, configs, name)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return fmt.Errorf("kafkatest: create topic %s: %w", name, err)
	}
	last := error(nil)
	err = poll(ctx, func() (bool, error) { // brokers learn of it one by one, and the leaders may be the last
		ends, err := admin.ListEndOffsets(ctx, name)
		last = errors.Join(err, ends.Error())
		return last == nil && len(ends[name]) == partitions, nil
	})
	if err != nil {
		return fmt.Errorf("kafkatest: topic %s is not there: %w", name, errors.Join(err, last))
	}
	return c.WaitInSync(ctx)
}

// WaitInSync waits until every partition of the cluster has a leader and all its replicas in sync. All brokers
// must be running.
func (c *Cluster) WaitInSync(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...))
	if err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	defer cl.Close()
	last := "no broker answers"
	err = poll(ctx, func() (bool, error) {
		req := kmsg.NewPtrMetadataRequest() // no list of topics: all of them
		m, err := req.RequestWith(ctx, cl)
		if err != nil {
			return false, nil //nolint:nilerr // not yet: it is asked again until ctx is done
		}
		last = outOfSync(m)
		return last == "", nil
	})
	if err != nil {
		return fmt.Errorf("kafkatest: %s: %w", last, err)
	}
	return nil
}

// outOfSync names the first partition that lacks a leader or a replica, or returns "".
func outOfSync(m *kmsg.MetadataResponse) string {
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
				return fmt.Sprintf("partition %d of %s has leader %d and replicas %v, of which %v are in sync", p.Partition, *t.Topic, p.Leader, p.Replicas, p.ISR)
			}
		}
	}
	return ""
}
