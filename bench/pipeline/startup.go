//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/bench/internal/rig"
)

const (
	startRecords = 1000            // that wait when a pipeline starts
	idleAfter    = 2 * time.Second // a pipeline that has nothing to do
)

// startup measures the time from the start of `millrace run` to its first committed prediction, and the memory that
// it holds when it has done a few records and has nothing to do.
func (b *bench) startup(ctx context.Context, broker string, c *rig.Cluster) error {
	source := c.Name("source")
	if err := c.Create(ctx, source); err != nil {
		return err
	}
	if err := b.fill(ctx, c, source, startRecords, "snappy"); err != nil {
		return err
	}
	type result struct {
		took time.Duration
		idle float64
	}
	var results []result
	for range b.starts {
		took, idle, err := b.first(ctx, c, source)
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		b.say("%s: first prediction after %s, %.0f MiB idle", broker, took.Round(time.Millisecond), idle)
		results = append(results, result{took, idle})
	}
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s, %s\tfirst prediction ms\tidle RSS MiB\t\n", broker, exactlyOnce) //nolint:errcheck // Flush tells
	fmt.Fprintf(w, "start of millrace run\t%d\t%.0f\t\n\n",                              //nolint:errcheck // Flush tells
		rig.Median(results, func(r result) time.Duration { return r.took }).Milliseconds(), rig.Median(results, func(r result) float64 { return r.idle }))
	return errors.Join(w.Flush(), c.Remove(ctx, source))
}

// first starts a pipeline once. A reader of its sink waits before.
func (b *bench) first(ctx context.Context, c *rig.Cluster, source string) (took time.Duration, idle float64, err error) {
	j := job{broker: c.Address(), source: source, guarantee: exactlyOnce, group: c.Name("group"), sink: c.Name("sink"), letters: c.Name("letters")}
	if err := c.Create(ctx, j.sink, j.letters); err != nil {
		return 0, 0, err
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.Address()), kgo.ConsumeTopics(j.sink), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, 0, err
	}
	defer reader.Close()
	ready, cancel := context.WithTimeout(ctx, time.Second) // by then it waits for records
	reader.PollFetches(ready)
	cancel()
	start := time.Now()
	p, err := b.start(ctx, "start", b.runArgs(&j)...)
	if err != nil {
		return 0, 0, err
	}
	wctx, cancel := context.WithTimeout(ctx, rig.Patience)
	fetches := reader.PollFetches(wctx)
	cancel()
	took, err = time.Since(start), fetches.Err()
	if err == nil {
		err = rig.Pause(ctx, idleAfter)
	}
	if err == nil {
		idle, err = p.Resident(rig.ResidentNow)
	}
	if err := errors.Join(err, p.Stop()); err != nil {
		return 0, 0, err
	}
	return took, idle, c.Remove(ctx, j.sink, j.letters)
}
