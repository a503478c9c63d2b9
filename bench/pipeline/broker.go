//go:build linux

package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/bench/internal/rig"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/internal/house"
)

// onDevelopment measures on millrace's development broker.
func (b *bench) onDevelopment(ctx context.Context) error {
	address, err := rig.FreeAddress(ctx)
	if err != nil {
		return err
	}
	p, err := b.start(ctx, "broker", b.millrace, "broker", "--dir", filepath.Join(b.dir, "broker-data"), "--listen", address)
	if err != nil {
		return err
	}
	err = b.measure(ctx, "development", address)
	return errors.Join(err, p.Stop())
}

// onKafka measures on one broker of Apache Kafka, or says what is missing.
func (b *bench) onKafka(ctx context.Context) error {
	err := rig.OnKafka(kafkatest.Options{HeapMB: 512}, func(address string) error { return b.measure(ctx, "kafka", address) })
	if errors.Is(err, rig.ErrMissing) {
		b.say("%v", err)
		return nil
	}
	return err
}

// start starts a child in the folder of the pipeline; what it writes goes to NAME.log.
func (b *bench) start(ctx context.Context, name string, args ...string) (*rig.Process, error) {
	return rig.Start(ctx, rig.Command{Args: args, Dir: b.dir, Name: name})
}

// fill writes listings of houses to a topic.
func (b *bench) fill(ctx context.Context, c *rig.Cluster, topic string, records int, compression string) error {
	g, err := house.New(house.Options{Seed: seed, History: history})
	if err != nil {
		return err
	}
	return c.Fill(ctx, topic, records, compression, func(i int, r *kgo.Record) {
		s := g.Sale(history + int64(i))
		r.Key, r.Value = s.AppendKey(nil), s.AppendListing(nil)
	})
}
