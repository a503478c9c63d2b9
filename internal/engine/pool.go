package engine

import (
	"sync"
	"time"
)

// pool runs tasks on a number of goroutines: those that have something to do, one after the other, each on one
// goroutine at a time.
type pool struct {
	mu      sync.Mutex
	change  sync.Cond // of what follows
	ready   []*running
	busy    int
	stopped bool // nothing is run for now
	closed  bool
	workers sync.WaitGroup
	failure error
	until   time.Time // when the loop looks for timers next
	// run runs a task, and tells whether it has more to do.
	run func(*running) (bool, error)
	// poke wakes the loop.
	poke func()
}

func newPool(threads int, run func(*running) (bool, error), poke func()) *pool {
	p := &pool{run: run, poke: poke}
	p.change.L = &p.mu
	for range threads {
		p.workers.Go(p.work)
	}
	return p
}

func (p *pool) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for !p.closed && (p.stopped || len(p.ready) == 0) {
			p.change.Wait()
		}
		if p.closed {
			return
		}
		r := p.ready[0]
		p.ready = append(p.ready[:0], p.ready[1:]...)
		r.scheduled, r.busy, r.touched = false, true, true
		p.busy++
		p.mu.Unlock()
		again, err := p.run(r)
		next := time.Time{}
		if err == nil {
			next = r.task.Next()
		}
		p.mu.Lock()
		p.busy--
		r.busy, r.next = false, next
		switch {
		case err != nil:
			if p.failure == nil {
				p.failure = err
			}
			p.poke()
		case again || r.again:
			r.again = false
			p.push(r)
		case !next.IsZero() && next.Before(p.until):
			p.poke()
		}
		p.change.Broadcast()
	}
}

// push queues a task that is neither queued nor running.
func (p *pool) push(r *running) {
	r.scheduled = true
	p.ready = append(p.ready, r)
	p.change.Broadcast()
}

// schedule has a task run. It is safe for concurrent use.
func (p *pool) schedule(r *running) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case r.busy:
		r.again = true
	case !r.scheduled:
		p.push(r)
	}
}

// due schedules the tasks whose time has come, and returns when the next one's comes.
func (p *pool) due(tasks []*running, now, latest time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = latest
	for _, r := range tasks {
		switch {
		case r.next.IsZero() || r.busy || r.scheduled:
		case !now.Before(r.next):
			r.next = time.Time{}
			p.push(r)
		case r.next.Before(p.until):
			p.until = r.next
		}
	}
	return p.until
}

// stop waits until no task runs, and lets none run until [pool.resume].
func (p *pool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	for p.busy > 0 {
		p.change.Wait()
	}
}

// drain waits until no task has anything to do, and then is as stop. It ends early when a task has failed.
func (p *pool) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.failure == nil && !p.stopped && p.busy+len(p.ready) > 0 {
		p.change.Wait()
	}
	p.stopped = true
	for p.busy > 0 {
		p.change.Wait()
	}
}

func (p *pool) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = false
	p.change.Broadcast()
}

// remove forgets a task while the pool is stopped.
func (p *pool) remove(r *running) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.ready {
		if x == r {
			p.ready = append(p.ready[:i], p.ready[i+1:]...)
			break
		}
	}
	r.scheduled = true // for ever: wake-ups that come late find it queued
}

// failed returns the first error of a task.
func (p *pool) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// active tells whether any task runs or is queued.
func (p *pool) active() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy+len(p.ready) > 0
}

// close ends the goroutines. The pool must be stopped.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.change.Broadcast()
	p.mu.Unlock()
	p.workers.Wait()
}
