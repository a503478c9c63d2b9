package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

// pool runs tasks on a number of goroutines: those that have something to do, one after the other, each on one
// goroutine at a time.
type pool struct {
	halt atomic.Bool // running tasks should come back soon

	lock    lock
	more    sync.Cond // workers wait for it: a task is ready, the pool was resumed or closed
	less    sync.Cond // stop and drain wait for it: a task has run
	ready   []*running
	busy    int
	stopped bool // nothing is run for now
	closed  bool
	hungry  bool // the loop waits for a task to have run
	failure error
	until   time.Time // when the loop looks for timers next; zero is never

	workers sync.WaitGroup
	// run runs a task, and tells whether it has more to do.
	run func(*running) (bool, error)
	// poke wakes the loop.
	poke func()
}

func newPool(threads int, run func(*running) (bool, error), poke func()) *pool {
	p := &pool{lock: newLock(), run: run, poke: poke}
	p.more.L, p.less.L = p.lock, p.lock
	for range threads {
		p.workers.Go(p.work)
	}
	return p
}

func (p *pool) work() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for {
		for !p.closed && (p.stopped || len(p.ready) == 0) {
			p.more.Wait()
		}
		if p.closed {
			return
		}
		r := p.ready[0]
		p.ready = append(p.ready[:0], p.ready[1:]...)
		r.scheduled, r.busy, r.touched = false, true, true
		p.busy++
		p.lock.Unlock()
		again, err := p.run(r)
		var next time.Time
		if err == nil {
			next = r.task.Next()
		}
		p.lock.Lock()
		p.ran(r, again, next, err)
	}
}

// ran takes a task back from a worker. The lock is held.
func (p *pool) ran(r *running, again bool, next time.Time, err error) {
	p.busy--
	r.busy, r.next = false, next
	poke := p.hungry || !next.IsZero() && (p.until.IsZero() || next.Before(p.until))
	switch {
	case err != nil:
		if p.failure == nil {
			p.failure = err
		}
		poke = true
	case again || r.again:
		r.again = false
		p.push(r)
	}
	if poke {
		p.hungry = false
		p.poke()
	}
	p.less.Broadcast()
}

// push queues a task that is neither queued nor running. The lock is held.
func (p *pool) push(r *running) {
	r.scheduled = true
	p.ready = append(p.ready, r)
	p.more.Signal()
}

// schedule has a task run. It is safe for concurrent use.
func (p *pool) schedule(r *running) {
	p.lock.Lock()
	defer p.lock.Unlock()
	switch {
	case r.busy:
		r.again = true
	case !r.scheduled:
		p.push(r)
	}
}

// due schedules the tasks whose time has come, and returns when the next one's comes; the zero time is never.
func (p *pool) due(tasks []*running, now time.Time) time.Time {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.until = time.Time{}
	for _, r := range tasks {
		switch {
		case r.next.IsZero() || r.busy || r.scheduled || r.halted():
		case !now.Before(r.next):
			r.next = time.Time{}
			p.push(r)
		case p.until.IsZero() || r.next.Before(p.until):
			p.until = r.next
		}
	}
	return p.until
}

// stop waits until no task runs, and lets none run until [pool.resume]. It tells whether that was so before.
func (p *pool) stop() (before bool) {
	p.halt.Store(true)
	p.lock.Lock()
	defer p.lock.Unlock()
	before, p.stopped = p.stopped, true
	for p.busy > 0 {
		p.less.Wait()
	}
	return before
}

// drain waits until no task has anything to do, and then is as stop. It ends early when a task has failed, or after d.
func (p *pool) drain(d time.Duration) {
	over := false
	t := time.AfterFunc(d, func() {
		p.lock.Lock()
		defer p.lock.Unlock()
		over = true
		p.less.Broadcast()
	})
	defer t.Stop()
	p.lock.Lock()
	for !over && p.failure == nil && !p.stopped && p.busy+len(p.ready) > 0 {
		p.less.Wait()
	}
	p.lock.Unlock()
	p.stop()
}

func (p *pool) resume() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.halt.Store(false)
	p.stopped = false
	p.more.Broadcast()
}

// remove forgets a task while the pool is stopped.
func (p *pool) remove(r *running) {
	p.lock.Lock()
	defer p.lock.Unlock()
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
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.failure
}

// forgive forgets the error of a task, which is going to be reset. The pool must be stopped.
func (p *pool) forgive() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.failure = nil
}

// active tells whether any task runs or is queued. If so the loop is woken when one has run.
func (p *pool) active() bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.hungry = !p.stopped && p.busy+len(p.ready) > 0
	return p.hungry
}

// close ends the goroutines. The pool must be stopped.
func (p *pool) close() {
	p.lock.Lock()
	p.closed = true
	p.more.Broadcast()
	p.lock.Unlock()
	p.workers.Wait()
}
