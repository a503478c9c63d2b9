//go:build linux

// Package rig is what measurements on Kafka need: brokers to measure on, the processes that are measured, and what a
// broker tells about them. Its functions and types are for one goroutine at a time.
package rig

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Pause waits for d, or until ctx is done, and then returns ctx's error.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Median returns the middle of what value gives for all, the upper one of two. There must be some.
func Median[T any, V cmp.Ordered](all []T, value func(T) V) V {
	values := make([]V, len(all))
	for i, s := range all {
		values[i] = value(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
