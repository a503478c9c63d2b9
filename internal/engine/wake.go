package engine

import (
	"context"
	"sync"
	"time"
)

// lock is a mutex. Package testing/synctest takes its waits for idle, unlike those of a sync.Mutex.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

// Lock implements [sync.Locker].
func (l lock) Lock() { l <- struct{}{} }

// Unlock implements [sync.Locker].
func (l lock) Unlock() { <-l }

var _ sync.Locker = lock(nil)

// waker wakes the loop, whatever that waits for. It is safe for concurrent use.
type waker struct {
	lock   lock
	poked  bool
	cancel context.CancelFunc // of what the loop waits in
}

func newWaker() *waker { return &waker{lock: newLock()} }

// poke ends the wait that is under way, or else the next one.
func (w *waker) poke() {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.poked = true
	if w.cancel != nil {
		w.cancel()
	}
}

// enter begins a wait that cancel ends. It tells whether it should not be begun: there was a poke since the last one.
func (w *waker) enter(cancel context.CancelFunc) (poked bool) {
	w.lock.Lock()
	defer w.lock.Unlock()
	poked, w.poked = w.poked, false
	if !poked {
		w.cancel = cancel
	}
	return poked
}

// leave ends a wait. A poke that has ended it is forgotten.
func (w *waker) leave() {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.cancel != nil {
		w.cancel, w.poked = nil, false
	}
}

// sleep waits until ctx ends, or for d if that is not negative.
func sleep(ctx context.Context, d time.Duration) {
	if d < 0 {
		<-ctx.Done()
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
