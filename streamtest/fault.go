package streamtest

import (
	"fmt"

	"millrace.dev/internal/task"
)

// CrashPoint is where in a round the application can crash.
type CrashPoint int

// The points, in the order in which a round comes by them.
const (
	// WhileProcessing is after a record was processed, before the others of the round.
	WhileProcessing CrashPoint = iota
	// BeforeFlush is when all records of a round are processed, and batches and caches still hold some of it.
	BeforeFlush
	// BeforeCommit is when everything of the round is written, and the transaction is still open: the round is undone.
	BeforeCommit
	// AfterCommit is when the transaction is committed, and the stores have not taken their changes over yet: the round
	// counts, and the stores have to be restored to it.
	AfterCommit
)

// fault is a crash that is to come.
type fault struct {
	point CrashPoint
	skip  int
}

// CrashAt makes the application crash when it comes to a point for the next time, or after it has come by skip times;
// a round is what ends in a commit. It starts again at once: what was not committed is done again.
func (d *Driver) CrashAt(point CrashPoint, skip int) { d.fault = &fault{point, skip} }

// Pending tells whether a crash that [Driver.CrashAt] asks for is still to come.
func (d *Driver) Pending() bool { return d.fault != nil }

// limit is how many records a task may process in a call.
func (d *Driver) limit() int {
	if d.fault != nil && d.fault.point == WhileProcessing {
		return 1
	}
	return batch
}

// processed crashes if n more records were what a fault waits for.
func (d *Driver) processed(n int) (crashed bool, err error) {
	if n == 0 || d.fault == nil || d.fault.point != WhileProcessing {
		return false, nil
	}
	return d.hit(WhileProcessing)
}

// hit comes by a point, and crashes if that was asked for.
func (d *Driver) hit(point CrashPoint) (crashed bool, err error) {
	if d.fault == nil || d.fault.point != point {
		return false, nil
	}
	if d.fault.skip > 0 {
		d.fault.skip--
		return false, nil
	}
	d.fault = nil
	return true, d.restart()
}

func (d *Driver) restart() error {
	if err := d.end(); err != nil {
		return err
	}
	return d.run()
}

// Crash ends the application without a commit, and starts it again: what was not committed is done again. It also
// starts one again that has ended with an error.
func (d *Driver) Crash() {
	d.t.Helper()
	if d.declared {
		d.err = nil
	}
	d.do(func() error {
		if err := d.restart(); err != nil {
			return err
		}
		return d.settle()
	})
}

// Abort undoes the round, as when a broker has ended its transaction, without a restart: tasks and stores go back to
// the last commit, and what came after is done again.
func (d *Driver) Abort() {
	d.t.Helper()
	d.do(func() error {
		for _, r := range d.inOrder() {
			if err := r.undo(); err != nil {
				return err
			}
		}
		return d.settle()
	})
}

// undo takes a task back to the last commit.
func (r *running) undo() error {
	r.state.Rollback()
	r.out, r.drops = nil, nil
	clear(r.changes)
	r.rewind()
	return r.task.Reset()
}

// Rebalance moves a task to another instance, which has none of its state: what was not committed is done again, and
// the stores are restored from their changelogs.
func (d *Driver) Rebalance(subtopology int, partition int32) {
	d.t.Helper()
	d.do(func() error {
		if err := d.move(task.ID{Sub: subtopology, Partition: partition}); err != nil {
			return err
		}
		return d.settle()
	})
}

// LoseState crashes the application, deletes all of its state on disk and starts it again.
func (d *Driver) LoseState() {
	d.t.Helper()
	d.do(func() error {
		for _, r := range d.inOrder() {
			if err := d.move(r.id); err != nil {
				return err
			}
		}
		return d.settle()
	})
}

// move restarts a task without its state.
func (d *Driver) move(id task.ID) error {
	r := d.tasks[id]
	if r == nil {
		return fmt.Errorf("there is no task %s", id)
	}
	if err := r.stop(); err != nil {
		return err
	}
	delete(d.tasks, id)
	if err := d.db.Remove(id.String()); err != nil {
		return err
	}
	return d.start(id)
}
