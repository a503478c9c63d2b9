//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
	"millrace.dev/bench/internal/rig"
)

// holds tells whether a step met the goal: no request failed, the quantile is low enough, and the requests did not pile up.
func (o *options) holds(s *sample) bool {
	return s.failed == 0 && !s.hopeless && s.at(99) <= o.goal
}

// search finds the highest rate that meets the goal, to 4 %: it halves the range between what does and what does not. The rate that
// it ends with is measured once more, for longer, and lowered until that holds too.
func (o *options) search(ctx context.Context, t *target) (*sample, error) {
	top, err := t.flood(ctx, 8, o.short)
	if err != nil {
		return nil, err
	}
	low, high := top/64, top*1.1 // nothing is faster than when it is never idle
	for high/low > 1.04 {
		rate := math.Sqrt(low * high)
		if low < top/4 { // most likely it is near the top
			rate = max(rate, high*0.7)
		}
		s, err := t.step(ctx, rate, o.short/4, o.short, hopeless*o.goal)
		if err == nil && !o.holds(s) && !s.hopeless && s.at(50) <= o.goal/2 { // a moment in which something else ran, perhaps
			s, err = t.step(ctx, rate, o.short/4, o.short, hopeless*o.goal)
		}
		if err != nil {
			return nil, err
		}
		o.tell("    %-28s %8.0f/s  p50 %v  p99 %v\n", t.name, rate, s.at(50), s.at(99))
		if o.holds(s) {
			low = rate
		} else {
			high = rate
		}
		if s.failed > 0 && s.at(50) < o.goal {
			return nil, fmt.Errorf("%s: %d requests failed: %w", t.name, s.failed, s.err)
		}
	}
	for rate, by := low, 0.95; ; rate, by = rate*by, max(0.7, by-0.05) {
		s, err := o.last(ctx, t, rate)
		if err != nil || o.holds(s) {
			return s, err
		}
		if rate < low/8 { // only where much else runs on the machine
			s.missed = true
			return s, nil
		}
	}
}

// last is a step with what the processes use.
func (o *options) last(ctx context.Context, t *target, rate float64) (*sample, error) {
	var before, after unix.Rusage
	began := time.Now()
	served, err := t.server.CPU()
	if err == nil {
		err = unix.Getrusage(unix.RUSAGE_SELF, &before)
	}
	if err != nil {
		return nil, err
	}
	s, err := t.step(ctx, rate, o.short/4, o.long, hopeless*o.goal)
	if err != nil {
		return nil, err
	}
	took := time.Since(began).Seconds()
	used, err := t.server.CPU()
	if err == nil {
		err = unix.Getrusage(unix.RUSAGE_SELF, &after)
	}
	cpu := func(r *unix.Rusage) int64 { return r.Utime.Nano() + r.Stime.Nano() }
	s.server, s.generator = (used-served).Seconds()/took, time.Duration(cpu(&after)-cpu(&before)).Seconds()/took
	return s, err
}

// measure is a search that is told of.
func (b *bench) measure(ctx context.Context, t *target) (*sample, error) {
	begin := time.Now()
	s, err := b.search(ctx, t)
	if err != nil {
		return nil, err
	}
	b.tell("  %-28s %d rows: %8.0f/s, p99 %v (%.1fs)\n", t.name, t.rows, s.rate, s.at(99), time.Since(begin).Seconds())
	return s, rig.Pause(ctx, 200*time.Millisecond)
}
