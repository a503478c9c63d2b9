package engine

import (
	"errors"
	"slices"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
)

// errGrown ends a session in which a topic turned out to have more partitions than there are tasks for.
var errGrown = errors.New("a topic has got more partitions; beginning anew with as many tasks")

// adopt makes the tasks be those of the partitions that the group has given to this instance. Nothing of a round may be
// open that could not be committed without the tasks that go.
func (l *loop) adopt() error {
	changes := l.engine.changes.take()
	if len(changes) == 0 {
		return nil
	}
	if !l.pool.stop() {
		defer l.pool.resume()
	}
	for _, c := range changes {
		for _, gone := range []kafka.Partitions{c.Revoked, c.Lost} {
			for topic, ps := range gone {
				for _, p := range ps {
					if err := l.dismiss(topic, p); err != nil {
						return err
					}
				}
			}
		}
	}
	// What is assigned now may be newer than the changes. What it has more, a later change tells again; of what it lacks
	// a later change ends the task.
	assigned := l.session.Assigned()
	for topic, ps := range assigned {
		if n := l.plan.partitions[topic]; len(ps) > 0 && int(ps[len(ps)-1]) >= n {
			return errGrown
		}
	}
	for _, sub := range l.engine.program.Subs {
		for p := range l.plan.tasks[sub.ID] {
			id := task.ID{Sub: sub.ID, Partition: int32(p)}
			if l.tasks[id] == nil && complete(sub, id.Partition, assigned, l.plan) {
				if err := l.openTask(id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// complete tells whether the partitions that a task reads are all assigned.
func complete(sub *task.Subtopology, p int32, assigned kafka.Partitions, plan *plan) bool {
	some := false
	for _, s := range sub.Sources {
		if int(p) >= plan.partitions[s.Topic] {
			continue
		}
		if !slices.Contains(assigned[s.Topic], p) {
			return false
		}
		some = true
	}
	return some
}

// owner returns the task that reads a partition.
func (l *loop) owner(topic string, p int32) *running {
	return l.tasks[task.ID{Sub: l.plan.readers[topic], Partition: p}]
}

// dismiss ends the task that reads a partition.
func (l *loop) dismiss(topic string, p int32) error {
	r := l.owner(topic, p)
	if r == nil {
		return nil
	}
	l.engine.holdings.remove(r.id)
	l.pool.remove(r)
	delete(l.tasks, r.id)
	l.order = slices.DeleteFunc(l.order, func(x *running) bool { return x == r })
	l.restored(r)
	l.news = true
	if r.breaker.state != closed {
		l.publishHolds()
	}
	l.engine.leave(r.id)
	if err := r.close(); err != nil {
		return &TaskError{err}
	}
	return nil
}

// openTask opens a task and begins to restore its state.
func (l *loop) openTask(id task.ID) error {
	sub := l.engine.program.Subs[id.Sub]
	r := &running{id: id, loop: l, lock: newLock(), tally: newTally(), slice: firstSlice, breaker: newBreaker(&l.engine.options.Breaker, len(sub.Sources))}
	r.allowed.Store(unlimited)
	r.tally.outcomes = make([]outcome, len(sub.Sources))
	for _, s := range sub.Sources {
		r.intakes = append(r.intakes, &intake{topic: s.Topic, exists: int(id.Partition) < l.plan.partitions[s.Topic]})
	}
	r.out = newWriter(l, r)
	if err := l.engine.takeUp(id); err != nil {
		return &TaskError{err}
	}
	if err := r.openState(); err != nil {
		return &TaskError{err}
	}
	l.engine.enter(id)
	l.engine.holdings.put(id, nil)
	l.tasks[id] = r
	l.order = append(l.order, r)
	slices.SortFunc(l.order, byID)
	l.startRestore(r)
	return nil
}

// openState opens the state of the task, and the task itself.
func (r *running) openState() error {
	state, err := r.loop.engine.db.Task(r.id.String())
	if err != nil {
		return err
	}
	env := r.loop.env
	env.Output, env.State, env.Wake = r.out, state, func() { r.loop.pool.schedule(r) }
	t, err := task.New(r.loop.engine.program, r.id, env)
	if err != nil {
		return errors.Join(err, state.Close())
	}
	r.state, r.task = state, t
	return nil
}
