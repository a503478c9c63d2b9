package gbm

import (
	"sync"
	"sync/atomic"
)

// pool is a set of goroutines that live as long as a training run. Its methods are for one goroutine at a time.
type pool struct {
	n    int
	jobs []chan func(worker int)
	busy sync.WaitGroup // jobs under way
	live sync.WaitGroup // goroutines
}

// newPool starts n-1 goroutines; the caller is the n-th worker.
func newPool(n int) *pool {
	p := &pool{n: n, jobs: make([]chan func(int), n-1)}
	for i := range p.jobs {
		c := make(chan func(int), 1)
		p.jobs[i] = c
		p.live.Go(func() {
			for f := range c {
				f(i + 1)
				p.busy.Done()
			}
		})
	}
	return p
}

// Close ends the goroutines and waits for them.
func (p *pool) Close() {
	for _, c := range p.jobs {
		close(c)
	}
	p.live.Wait()
}

// run calls f once for each of the first n workers, at the same time, and waits.
func (p *pool) run(n int, f func(worker int)) {
	n = min(n, p.n)
	p.busy.Add(n - 1)
	for _, c := range p.jobs[:n-1] {
		c <- f
	}
	f(0)
	p.busy.Wait()
}

// each calls f for every chunk of 0..n-1 of the given size; the last may be shorter. Chunks do not depend on
// the number of workers; which worker gets which chunk does.
func (p *pool) each(n, size int, f func(chunk, lo, hi int)) {
	chunks := (n + size - 1) / size
	if chunks <= 1 || p.n == 1 {
		for c := range chunks {
			f(c, c*size, min(n, (c+1)*size))
		}
		return
	}
	var next atomic.Int64
	p.run(chunks, func(int) {
		for c := int(next.Add(1)) - 1; c < chunks; c = int(next.Add(1)) - 1 {
			f(c, c*size, min(n, (c+1)*size))
		}
	})
}

// rowChunk is the number of rows of a chunk of [pool.each]: large enough to be worth a hand-over.
const rowChunk = 8192

// sum2 adds up the two results of f over fixed chunks of rows: each chunk's sums are f's, and they are added in
// order, so that the result does not depend on the number of workers. partial is scratch.
func (p *pool) sum2(partial *[][2]float64, n int, f func(lo, hi int) (a, b float64)) (a, b float64) {
	chunks := (n + rowChunk - 1) / rowChunk
	if cap(*partial) < chunks {
		*partial = make([][2]float64, chunks)
	}
	part := (*partial)[:chunks]
	p.each(n, rowChunk, func(c, lo, hi int) { part[c][0], part[c][1] = f(lo, hi) })
	for _, x := range part {
		a += x[0]
		b += x[1]
	}
	return a, b
}
