package kafka

import (
	"math/rand/v2"
	"time"
)

// Backoff is a jittered exponential pause between tries.
type Backoff struct {
	Min, Max time.Duration
}

// Pause returns the pause before try n, counted from 1: Min doubled n-1 times and at most Max, less up to a
// fifth by chance, so that many clients do not try in step.
func (b Backoff) Pause(n int) time.Duration {
	d := b.Max
	if shift := n - 1; shift < 32 && b.Min<<max(shift, 0) < b.Max {
		d = b.Min << max(shift, 0)
	}
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}
