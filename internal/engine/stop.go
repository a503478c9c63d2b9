package engine

import (
	"context"
	"errors"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
)

// stop is a record that ends the application: a task has said so. What its round has done is undone and done again, but for
// this record and those after it in its partition, which are not read any more. When what came before is committed, the
// engine ends.
type stop struct {
	err     *task.StopError
	reached bool  // all records before it were delivered, since the last round that was undone
	last    int64 // of them, the offset of the last; -1 is none
	settled int64 // the offset up to which the partition has been committed since
}

// errStopping says that a round has to be undone because of a stop.
var errStopping = errors.New("a record ends the application")

// failure returns the error of a task that ran in the pool: see fault.
func (l *loop) failure() error { return l.fault(l.pool.failed()) }

// fault returns the error of a task, or errStopping, after it has noted what record is at fault.
func (l *loop) fault(err error) error {
	s, ok := errors.AsType[*task.StopError](err)
	if !ok {
		return err
	}
	at := place{s.Topic, s.Partition}
	if l.owner(s.Topic, s.Partition) == nil || l.stops[at] != nil {
		return err
	}
	l.stops[at] = &stop{err: s, last: -1}
	return errStopping
}

// undoStopped undoes the round in which a task has stopped, and returns another error.
func (l *loop) undoStopped(ctx context.Context, err error) error {
	if !errors.Is(err, errStopping) {
		return err
	}
	l.pool.stop()
	l.pool.forgive()
	return l.undo(ctx)
}

// withhold returns the records of a run before one that ends the application.
func (l *loop) withhold(run kafka.Run) kafka.Run {
	s := l.stops[place{run.Topic, run.Partition}]
	if s == nil || run.Len() == 0 {
		return run
	}
	if run.Last() >= s.err.Offset {
		run, s.reached = run.Before(s.err.Offset), true
	}
	if run.Len() > 0 {
		s.last = run.Last()
	}
	return run
}

// settle notes what was committed.
func (l *loop) settle(at kafka.Positions) {
	for of, s := range l.stops {
		if p, ok := at[of.topic][of.partition]; ok {
			s.settled = p.Offset
		}
	}
}

// stopped returns the error that ends the application, once what came before is committed.
func (l *loop) stopped() error {
	for at, s := range l.stops {
		switch {
		case l.owner(at.topic, at.partition) == nil: // whoever has it now will find out
			delete(l.stops, at)
		case s.reached && s.settled > s.last:
			return &TaskError{s.err.Err}
		}
	}
	return nil
}

// rewindStops begins anew with what comes before the records that end the application.
func (l *loop) rewindStops() {
	for _, s := range l.stops {
		s.reached, s.last, s.settled = false, -1, 0
	}
}
