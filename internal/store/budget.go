package store

import (
	"fmt"
	"sync/atomic"
)

// Budget is the memory that the state of an instance may take: the part of it that is Pebble's, generations that are not
// committed, rows that are kept decoded over stores, stores in memory, and global tables. It is safe for concurrent use.
//
// Of these only decoded rows can be given back at once, and generations by a commit. So rows have what the others leave, a
// driver commits early where [Budget.CommitNow] says so, and whoever keeps stores in memory has to have the memory for
// them: see [Usage.Full].
type Budget struct {
	limit, disk int64

	open    atomic.Int64 // what the open generations will need until they are committed
	sealed  atomic.Int64 // what commits need beside the sealed ones
	spare   atomic.Int64 // sealed generations, and those that were committed and wait to be used again
	rows    atomic.Int64 // decoded
	waiting atomic.Int64 // of them, those that have changed and were not written to the stores
	memory  atomic.Int64 // stores
	globals atomic.Int64
	evicted atomic.Uint64
	peak    atomic.Int64
}

// Usage is what the parts of a [Budget] take, in bytes.
type Usage struct {
	Limit   int64
	Disk    int64 // for the files: Pebble's part of the limit, whether it takes it or not
	Writes  int64 // generations, with the copy that a commit makes
	Rows    int64 // decoded
	Waiting int64 // of the rows, those that were not written to the stores
	Memory  int64 // stores in memory
	Globals int64
	Evicted uint64 // rows that had to make room
	Peak    int64  // the highest sum so far
}

// Total returns the sum of all parts.
func (u *Usage) Total() int64 { return u.Disk + u.Writes + u.Rows + u.Memory + u.Globals }

// fullPart is the part of the limit that is left when it is called full.
const fullPart = 8

// Full tells whether what cannot be given back, the files' part, stores in memory and global tables, leaves too little for the rest: there
// is no room to keep rows, each commit is a small one, and the limit may be exceeded.
func (u *Usage) Full() bool { return u.Limit-u.Disk-u.Memory-u.Globals < u.Limit/fullPart }

// Reason says of a budget that is full what takes the memory, and what to do.
func (u *Usage) Reason() string {
	return fmt.Sprintf("of %d MiB for state, stores in memory take %d MiB, global tables %d MiB and files %d MiB: raise the limit, keep the stores on disk, or give the files less",
		u.Limit>>20, u.Memory>>20, u.Globals>>20, u.Disk>>20)
}

// Usage returns what is taken at the moment.
func (b *Budget) Usage() Usage {
	return Usage{
		Limit: b.limit, Disk: b.disk, Writes: b.writes(), Rows: b.rows.Load(), Waiting: b.waiting.Load(),
		Memory: b.memory.Load(), Globals: b.globals.Load(), Evicted: b.evicted.Load(), Peak: b.peak.Load(),
	}
}

func (b *Budget) writes() int64 { return b.open.Load() + b.sealed.Load() + b.spare.Load() }

// rest returns what is left of the limit beside what cannot be given back.
func (b *Budget) rest() int64 { return b.limit - b.disk - b.memory.Load() - b.globals.Load() }

// coming returns what rows that wait will take in the open generations, beside what they take now.
func (b *Budget) coming() int64 { return commitCopies * b.waiting.Load() }

// room returns how much decoded rows may take: a third of what is left, since generations may need the others at any time.
func (b *Budget) room() int64 { return max(0, min(b.rest()/3, b.rest()-b.writes()-b.coming())) }

// largeSpare is the part of the limit from which on the memory of a generation is not kept to be used again.
const largeSpare = 32

// Over tells whether rows take more than they may.
func (b *Budget) Over() bool { return b.rows.Load() > b.room() }

// leastOpen is the part of the limit that open generations always have, so that there is progress.
const leastOpen = 64

// CommitNow tells whether what is uncommitted takes a third of what is left. The generation that is being committed then
// takes another, and rows the last.
func (b *Budget) CommitNow() bool {
	return b.open.Load()+b.coming() > max(b.rest()/3, b.limit/leastOpen)
}

// SetGlobals says how much global tables take.
func (b *Budget) SetGlobals(n int64) { b.move(&b.globals, n-b.globals.Load()) }

// move adds to a part.
func (b *Budget) move(part *atomic.Int64, n int64) {
	if n == 0 {
		return
	}
	part.Add(n)
	if n < 0 {
		return
	}
	total := b.disk + b.writes() + b.rows.Load() + b.memory.Load() + b.globals.Load()
	for {
		peak := b.peak.Load()
		if total <= peak || b.peak.CompareAndSwap(peak, total) {
			return
		}
	}
}

// settleBytes is by how much an account may differ from what the budget was told, so that the parts of the budget, which all
// tasks share, are seldom written.
const settleBytes = 32 << 10

// Cache is the account of someone who keeps the rows of a [Store] decoded. It belongs to the goroutine of the task, and
// ends with [Task.Rollback] or [Task.Close]: what was decoded is wrong then.
type Cache struct {
	budget        *Budget
	shrink        func(to int64)
	bytes         int64
	waiting       int64
	told, waits   int64 // the budget
	closed, eager bool
}

// NewCache opens an account. shrink is called by [Cache.Settle] and [Task.Trim] to have rows forgotten until there are no more
// than so many bytes of them, if they can be.
func (s *Store) NewCache(shrink func(to int64)) *Cache {
	c := &Cache{budget: &s.task.db.budget, shrink: shrink}
	s.task.caches = append(s.task.caches, c)
	return c
}

// Bytes returns what the rows take.
func (c *Cache) Bytes() int64 { return c.bytes }

// Add notes that rows take n bytes more, of which the given number waits to be written to the store.
func (c *Cache) Add(n, waiting int64) {
	c.bytes += n
	c.waiting += waiting
	if d := c.bytes - c.told; d >= settleBytes || d <= -settleBytes {
		c.tell()
	} else if d := c.waiting - c.waits; d >= settleBytes || d <= -settleBytes {
		c.tell()
	}
}

// tell brings the budget up to date.
func (c *Cache) tell() {
	if c.closed {
		return
	}
	c.budget.move(&c.budget.rows, c.bytes-c.told)
	c.budget.waiting.Add(c.waiting - c.waits)
	c.told, c.waits, c.eager = c.bytes, c.waiting, true
}

// Due tells whether there is reason to call Settle before the next row is added.
func (c *Cache) Due() bool { return c.eager }

// Settle has rows forgotten if all those of the instance take more than they may: each cache gives back its share.
func (c *Cache) Settle() {
	c.tell()
	c.eager = false
	if rows, room := c.budget.rows.Load(), c.budget.room(); rows > room && !c.closed {
		c.shrink(int64(float64(c.bytes) * float64(room) / float64(rows)))
		c.tell()
		c.eager = false
	}
}

// Evicted counts rows that were forgotten.
func (c *Cache) Evicted(n int) { c.budget.evicted.Add(uint64(n)) }

func (c *Cache) close() {
	c.bytes, c.waiting = 0, 0
	c.tell()
	c.closed = true
}

// Budget returns the memory that the DB has.
func (db *DB) Budget() *Budget { return &db.budget }

// Trim has the rows of a task that were kept decoded forgotten, as far as the budget needs it: for a task that has nothing to
// do, and so would keep what others need.
func (t *Task) Trim() {
	for _, c := range t.caches {
		c.Settle()
	}
}

// closeCaches ends the accounts.
func (t *Task) closeCaches() {
	for _, c := range t.caches {
		c.close()
	}
	t.caches = nil
}

// commitCopies is how often the bytes of a write are in memory until it is committed: in the generation, and in the batch or
// the block that the commit makes.
const commitCopies = 2

// account tells the budget of the open generation, if that has changed by much.
func (t *Task) account() {
	if n := commitCopies*t.openBytes - t.openTold; n >= settleBytes || n <= -settleBytes {
		t.tellOpen()
	}
}

func (t *Task) tellOpen() {
	n := commitCopies * t.openBytes
	t.db.budget.move(&t.db.budget.open, n-t.openTold)
	t.openTold = n
}

// tellSealed tells it of what the commit of the sealed generation takes.
func (t *Task) tellSealed(n int64) {
	t.db.budget.move(&t.db.budget.sealed, n-t.sealedTold)
	t.sealedTold = n
}

// tellSpare tells it of the memory of the sealed generation, which is kept to be used again.
func (t *Task) tellSpare() {
	n := int64(0)
	for _, s := range t.stores {
		n += s.held
	}
	t.db.budget.move(&t.db.budget.spare, n-t.spareTold)
	t.spareTold = n
}
