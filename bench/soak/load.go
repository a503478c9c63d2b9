//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The key spaces, which are bounded: what grows does so with time. Visits alone have always new keys: of the last visitCount each
// record has one.
const (
	userCount     = 20_000
	orderCount    = 50_000
	customerCount = 5_000
	visitCount    = 1_000
)

// load writes records at a steady rate. Their event times are the clock's, up to a second before.
type load struct {
	rate    int // records a second
	rng     *rand.Rand
	text    string
	written atomic.Int64
	failed  atomic.Pointer[error]
}

func newLoad(rate int) *load {
	return &load{rate: rate, rng: rand.New(rand.NewPCG(1, 1)), text: strings.Repeat("what a record says, ", 5)} //nolint:gosec // any load will do
}

// run writes until ctx ends.
func (l *load) run(ctx context.Context, broker string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for i := range customerCount { // each has a row before orders come
		l.write(ctx, cl, l.customer(i))
	}
	start, sent := time.Now(), 0
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			for due := int(now.Sub(start).Seconds() * float64(l.rate)); sent < due; sent++ {
				l.write(ctx, cl, l.record(sent))
			}
		}
		if err := l.failed.Load(); err != nil {
			return *err
		}
	}
}

func (l *load) write(ctx context.Context, cl *kgo.Client, r *kgo.Record) {
	r.Timestamp = time.Now().Add(-time.Duration(l.rng.IntN(1000)) * time.Millisecond)
	cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
		switch {
		case err == nil:
			l.written.Add(1)
		case ctx.Err() == nil:
			err = fmt.Errorf("write the load: %w", err)
			l.failed.CompareAndSwap(nil, &err)
		}
	})
}

// record returns the next record: of twenty, nine are clicks, five views, four orders, one a customer and one a visit.
func (l *load) record(i int) *kgo.Record {
	switch i % 20 {
	case 0:
		return l.customer(l.rng.IntN(customerCount))
	case 1, 6, 11, 16:
		value := fmt.Sprintf("customer-%05d;%s", l.rng.IntN(customerCount), l.text)
		return &kgo.Record{Topic: topic(orders), Key: fmt.Appendf(nil, "order-%06d", l.rng.IntN(orderCount)), Value: []byte(value)}
	case 2, 5, 9, 13, 17:
		return &kgo.Record{Topic: topic(views), Key: l.user(), Value: []byte(l.text)}
	case 19:
		return &kgo.Record{Topic: topic(visits), Key: fmt.Appendf(nil, "visit-%09d", i/20+l.rng.IntN(visitCount)), Value: []byte(l.text)}
	default:
		return &kgo.Record{Topic: topic(clicks), Key: l.user(), Value: []byte(l.text)}
	}
}

func (l *load) user() []byte { return fmt.Appendf(nil, "user-%05d", l.rng.IntN(userCount)) }

func (l *load) customer(i int) *kgo.Record {
	return &kgo.Record{Topic: topic(customers), Key: fmt.Appendf(nil, "customer-%05d", i), Value: fmt.Appendf(nil, "%d;%s", l.rng.Uint32(), l.text)}
}
