//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"millrace.dev/bench/internal/rig"
)

// fresh is how often a request comes on a connection of its own.
const fresh = 10

// clients send requests as they should be.
type clients struct {
	url      string
	records  [][]byte
	kept, at http.Client // on connections that are kept, and on new ones
}

// result is what a measurement came to.
type result struct {
	p50, p99, most time.Duration
	failed         int
	busy           float64 // processors that the server kept busy
	held           float64 // slow connections that were open, on average
}

func newClients(address string, records [][]byte) *clients {
	return &clients{
		url: "http://" + address, records: records, kept: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second},
		at: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second},
	}
}

func (c *clients) close() { c.kept.CloseIdleConnections() }

// ready waits until the server is.
func (c *clients) ready(ctx context.Context, server *rig.Process) error {
	for {
		if err := server.Alive(); err != nil {
			return err
		}
		if c.ask(ctx, &c.kept, 0) == nil {
			return nil
		}
		if err := rig.Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// ask sends a request.
func (c *clients) ask(ctx context.Context, client *http.Client, i int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/predict", bytes.NewReader(c.records[i%len(c.records)]))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := client.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, a.Body)
	if err := errors.Join(err, a.Body.Close()); err != nil {
		return err
	}
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", a.StatusCode)
	}
	return nil
}

// timed is measure, with the processor time of the server.
func (c *clients) timed(ctx context.Context, server *rig.Process, rate int, length time.Duration) (result, error) {
	before, err := server.CPU()
	if err != nil {
		return result{}, err
	}
	began := time.Now()
	r, err := c.measure(ctx, rate, length)
	if err != nil {
		return r, err
	}
	after, err := server.CPU()
	r.busy = (after - before).Seconds() / time.Since(began).Seconds()
	return r, err
}

// measure sends requests at a rate, each when it is due, and takes the time from then.
func (c *clients) measure(ctx context.Context, rate int, length time.Duration) (result, error) {
	n := int(length.Seconds() * float64(rate))
	times := make([]time.Duration, n)
	errs := make([]error, n)
	var all sync.WaitGroup
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if err := rig.Pause(ctx, time.Until(due)); err != nil {
			return result{}, err
		}
		all.Go(func() {
			client := &c.kept
			if i%fresh == 0 {
				client = &c.at
			}
			errs[i] = c.ask(ctx, client, i)
			times[i] = time.Since(due)
		})
	}
	all.Wait()
	r := result{}
	for _, err := range errs {
		if err != nil {
			r.failed++
		}
	}
	if r.failed == n {
		return r, fmt.Errorf("no request was answered: %w", errs[0])
	}
	slices.Sort(times)
	r.p50, r.p99, r.most = times[n/2], times[n*99/100], times[n-1]
	return r, nil
}
