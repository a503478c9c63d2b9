//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// The load is open: requests are due at times that do not depend on the answers, one every 1/rate. A request that is
// due while all connections wait for answers waits too, and its latency counts from the time at which it was due. So
// a server that stalls is charged for all who would have asked meanwhile.

// connections is how many requests can be under way at a time.
const connections = 64

// checkEvery says how many answers there are for one that is compared with LightGBM's predictions; of the others only the
// status is looked at.
const checkEvery = 32

// target is a way to ask, and where.
type target struct {
	*way

	server    *server
	address   string
	rows      int // of a request
	questions []question
	clients   []client
}

func (t *target) open(ctx context.Context) {
	dial := dialPlain
	if t.grpc {
		dial = dialRPC
	}
	for range connections {
		t.clients = append(t.clients, &lasting{dial: func() (client, error) { return dial(ctx, t.address) }})
	}
}

func (t *target) close() error {
	var errs []error
	for _, c := range t.clients {
		errs = append(errs, c.Close())
	}
	t.clients = nil
	return errors.Join(errs...)
}

// ask sends question i and checks the answer, all of it or the status alone.
func (t *target) ask(c client, i int, thorough bool) error {
	q := &t.questions[i%len(t.questions)]
	head, body, err := c.ask(q.wire)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	if thorough {
		return t.check(q, head, body)
	}
	return nil
}

// sample is what a step of a load has shown.
type sample struct {
	rate      float64 // requests a second that were due
	latencies *hdrhistogram.Histogram
	failed    int64
	hopeless  bool    // it was given up
	missed    bool    // it is the end of a search that found no rate for the goal
	err       error   // the first
	generator float64 // processors that it kept busy
	server    float64 // that the server kept busy
}

// newHistogram holds microseconds up to a minute, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

func (s *sample) at(quantile float64) time.Duration {
	return time.Duration(s.latencies.ValueAtQuantile(quantile)) * time.Microsecond
}

// hopeless is how late a request may be sent, in terms of the goal: then the rate is beyond the server, and the rest of a step is not asked.
const hopeless = 25

// step asks at a rate for a time, and waits for all answers. What is due in the first part of it, the warm-up, is not counted.
func (t *target) step(ctx context.Context, rate float64, warm, length, latest time.Duration) (*sample, error) {
	interval := float64(time.Second) / rate
	first := int(float64(warm) / interval)
	total := first + max(1, int(float64(length)/interval))
	due := make(chan int, total) // never blocks who paces
	start := time.Now().Add(5 * time.Millisecond)
	at := func(i int) time.Time { return start.Add(time.Duration(float64(i) * interval)) }
	s := &sample{rate: rate, latencies: newHistogram()}
	var mu sync.Mutex
	var failed atomic.Int64
	var over atomic.Bool
	var wg sync.WaitGroup
	for _, c := range t.clients {
		wg.Go(func() {
			h := newHistogram()
			var fault error
			for i := range due {
				if over.Load() {
					continue
				}
				if time.Since(at(i)) > latest {
					over.Store(true)
				}
				err := t.ask(c, i, i%checkEvery == 0)
				if err != nil {
					failed.Add(1)
					fault = err
					if !errors.Is(err, errNotOK) {
						break // the connection is of no use any more
					}
				}
				if i >= first {
					_ = h.RecordValue(min(time.Since(at(i)).Microseconds(), 60_000_000)) // it is in the range
				}
			}
			mu.Lock()
			s.latencies.Merge(h)
			if s.err == nil {
				s.err = fault
			}
			mu.Unlock()
		})
	}
	pace(ctx, total, at, due, &over)
	close(due)
	wg.Wait()
	s.failed, s.hopeless = failed.Load(), over.Load()
	if s.err != nil && !errors.Is(s.err, errNotOK) {
		return nil, s.err
	}
	return s, ctx.Err()
}

// pace says when requests are due. It has a thread of its own and sleeps in the kernel: Go's timers may be a millisecond late
// where nothing else happens.
func pace(ctx context.Context, total int, at func(int) time.Time, due chan<- int, over *atomic.Bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := 0; i < total && ctx.Err() == nil && !over.Load(); {
		now := time.Now()
		for ; i < total && !at(i).After(now); i++ {
			due <- i
		}
		if i < total {
			wait := unix.NsecToTimespec(max(1, time.Until(at(i)).Nanoseconds()))
			_ = unix.Nanosleep(&wait, nil) // a signal only makes it shorter
		}
	}
}

// flood asks as fast as answers come, over some connections, and returns the rate: about the most that the server can do.
func (t *target) flood(ctx context.Context, clients int, length time.Duration) (rate float64, err error) {
	end := time.Now().Add(length)
	var n atomic.Int64
	errs := make([]error, clients)
	var wg sync.WaitGroup
	start := time.Now()
	for k, c := range t.clients[:clients] {
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				i := int(n.Add(1))
				if err := t.ask(c, i, false); err != nil {
					errs[k] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(start).Seconds(), errors.Join(errs...)
}
