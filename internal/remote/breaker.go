package remote

import (
	"context"
	"math/bits"
	"sync"
	"time"
)

// When a server is given up, and how it is asked whether it is well again.
const (
	failuresInRow = 5           // after so many failures in a row it is given up,
	failureShare  = 15          // or so many
	failureWindow = 20          // of the last calls
	probeInterval = time.Second // between the beginnings of two probes
	// maxProbes bounds those under way: where a server hangs, the next one must not wait for the last one's time-out.
	maxProbes = 8
	// wakeSpread is the time over which calls that waited go on, so that a server that comes back is not met by all at once.
	wakeSpread = 100 * time.Millisecond
)

// breaker keeps calls from a server that is down: it opens after failures, lets a probe through now and then, and closes with the
// first call that succeeds, whichever it is. It is safe for concurrent use.
type breaker struct {
	now    func() time.Time
	random func() float64

	mu      sync.Mutex
	open    bool
	since   time.Time
	opened  uint64
	row     int    // failures in a row
	recent  uint32 // the last calls, a bit each: 1 is a failure
	next    time.Time
	probes  int
	changed chan struct{} // closed when the breaker closes
}

func newBreaker(now func() time.Time, random func() float64) *breaker {
	return &breaker{now: now, random: random, since: now(), changed: make(chan struct{})}
}

// enter waits until a call may be made, and tells whether it is to be a probe, which [breaker.probed] ends. Without patience it does
// not wait. The result is an error when ctx has ended, or the server is down and nobody has patience.
func (b *breaker) enter(ctx context.Context, patient bool) (probe bool, err error) {
	for waited := false; ; waited = true {
		ok, probe, wait, changed := b.look()
		switch {
		case ok && waited && !probe:
			return false, sleep(ctx, b.spread())
		case ok:
			return probe, nil
		case !patient:
			return false, errOpen
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

func (b *breaker) spread() time.Duration {
	return time.Duration(b.random() * float64(wakeSpread))
}

// look tells whether a call may be made now, as what, and else how long to wait.
func (b *breaker) look() (ok, probe bool, wait time.Duration, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return true, false, 0, nil
	}
	now := b.now()
	if wait := b.next.Sub(now); wait > 0 {
		return false, false, wait, b.changed
	}
	if b.probes >= maxProbes {
		return false, false, probeInterval, b.changed
	}
	b.probes++
	b.next = now.Add(probeInterval)
	return true, true, 0, nil
}

// probed ends a probe.
func (b *breaker) probed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probes--
}

// report is told of every call that says something about the server.
func (b *breaker) report(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent <<= 1
	if ok {
		b.row = 0
		if b.open {
			b.open, b.since, b.recent = false, b.now(), 0
			close(b.changed)
			b.changed = make(chan struct{})
		}
		return
	}
	b.recent |= 1
	b.row++
	if !b.open && (b.row >= failuresInRow || bits.OnesCount32(b.recent&(1<<failureWindow-1)) >= failureShare) {
		b.open, b.since = true, b.now()
		b.next = b.since.Add(probeInterval)
		b.opened++
	}
}

// state returns how the server is, since when, and how often it was given up.
func (b *breaker) state() (State, time.Time, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return Closed, b.since, b.opened
	case b.probes > 0:
		return HalfOpen, b.since, b.opened
	default:
		return Open, b.since, b.opened
	}
}

// sleep waits for d, or until ctx has ended: then it returns its error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
