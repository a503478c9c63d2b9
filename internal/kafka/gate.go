package kafka

import (
	"context"
	"slices"
	"sync"
)

// gate bounds what is under way, in bytes. Those who wait get through in the order in which they came; one that asks
// for more than the bound gets through alone. It is safe for concurrent use.
type gate struct {
	most int64

	mu      sync.Mutex
	used    int64
	waiting []*waiter
}

type waiter struct {
	n     int64
	ready chan struct{} // closed when it may go
}

func (g *gate) fits(n int64) bool { return g.used == 0 || g.used+n <= g.most }

// enter waits until n bytes may be under way.
func (g *gate) enter(ctx context.Context, n int64) error {
	g.mu.Lock()
	if len(g.waiting) == 0 && g.fits(n) {
		g.used += n
		g.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, w); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	} else { // it was let in meanwhile
		g.used -= n
	}
	g.admit()
	return ctx.Err()
}

// leave gives n bytes back.
func (g *gate) leave(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= n
	g.admit()
}

// admit lets in whoever may go now. The lock is held.
func (g *gate) admit() {
	for len(g.waiting) > 0 && g.fits(g.waiting[0].n) {
		w := g.waiting[0]
		g.waiting = slices.Delete(g.waiting, 0, 1)
		g.used += w.n
		close(w.ready)
	}
}
