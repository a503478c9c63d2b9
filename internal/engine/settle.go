package engine

import (
	"context"
	"time"
)

// settleEvery is how often Settle looks.
const settleEvery = 10 * time.Millisecond

// Settle returns once everything that tasks had done when it was called is committed, or undone; or with the error of ctx. What a task is
// just doing does not count. It is for applications that end when there is nothing left to do, and is safe for concurrent use.
func (e *Engine) Settle(ctx context.Context) error {
	// A round that is under way may have been begun without what was done last, so the next one has to end too. The loop may have looked
	// whether there is anything to commit just before that was said.
	commits, idle := e.stats.commits()+2, e.idle.Load()+2
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for e.stats.commits() < commits && e.idle.Load() < idle {
		e.waker.poke()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
