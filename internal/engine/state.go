package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// identities names the task in the state folder that holds the ids of the changelogs which the state was made from,
// and how old the state is.
const identities = "changelogs"

func (o *Options) storeOptions() store.Options {
	return store.Options{MemoryBytes: o.StateBytes, FileBytes: o.StateFileBytes, Logger: o.Log}
}

// openState opens the state folder. State that nobody asks for in a while is deleted.
func (e *Engine) openState() (err error) {
	o := e.options.storeOptions()
	e.db, err = store.Open(e.options.StateDir, o)
	if errors.Is(err, store.ErrCorrupt) {
		e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "the state folder is damaged; restoring from the changelogs", slog.Any("error", err))
		if err := store.Wipe(e.options.StateDir); err != nil {
			return err
		}
		e.db, err = store.Open(e.options.StateDir, o)
	}
	if err != nil {
		return err
	}
	e.budget.Store(e.db.Budget())
	ids, err := e.db.Tasks()
	if err != nil {
		return errors.Join(err, e.db.Close())
	}
	clear(e.closed)
	for _, id := range ids {
		if id != identities {
			e.closed[id] = time.Now()
		}
	}
	return nil
}

// closeState closes the state folder, with everything on disk.
func (e *Engine) closeState() error { return errors.Join(e.db.Flush(), e.db.Close()) }

// renewState replaces a state folder that has turned out to be damaged by an empty one.
func (e *Engine) renewState(ctx context.Context, cause error) error {
	e.options.Log.LogAttrs(ctx, slog.LevelWarn, "the state folder is damaged; restoring from the changelogs", slog.Any("error", cause))
	if err := e.db.Close(); err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	if err := store.Wipe(e.options.StateDir); err != nil {
		return err
	}
	return e.openState()
}

// enter notes that a task is open, and leave that it is not any more.
func (e *Engine) enter(id task.ID) { delete(e.closed, id.String()) }
func (e *Engine) leave(id task.ID) { e.closed[id.String()] = time.Now() }

// stateWait returns when the next state has to be deleted; less than 0 is never.
func (e *Engine) stateWait() time.Duration {
	wait := time.Duration(-1)
	if e.options.StateDir == "" {
		return wait
	}
	for _, at := range e.closed {
		if d := max(0, e.options.CleanupDelay-time.Since(at)); wait < 0 || d < wait {
			wait = d
		}
	}
	return wait
}

// cleanState deletes the state of tasks that went long ago.
func (e *Engine) cleanState(ctx context.Context) {
	for id, at := range e.closed {
		if time.Since(at) < e.options.CleanupDelay {
			continue
		}
		delete(e.closed, id)
		if e.options.StateDir == "" {
			continue
		}
		err := e.db.Remove(id)
		if err != nil {
			e.options.Log.LogAttrs(ctx, slog.LevelWarn, "the state of a task that went cannot be deleted", slog.String("task", id), slog.Any("error", err))
			continue
		}
		e.options.Log.LogAttrs(ctx, slog.LevelInfo, "deleted the state of a task that went", slog.String("task", id), slog.Duration("ago", time.Since(at).Round(time.Second)))
	}
}

// identify deletes the state of tasks whose changelogs are not those which the state was made from, because these were
// deleted and made anew while the application did not run.
func (e *Engine) identify() error {
	changelogs := map[string]int{} // sub-topologies by topic
	for _, sub := range e.program.Subs {
		for _, s := range sub.Stores {
			if s.Logged && s.Backend == store.Disk {
				changelogs[e.program.Changelog(s.Name)] = sub.ID
			}
		}
	}
	if e.options.StateDir == "" || len(changelogs) == 0 {
		return nil
	}
	e.lock.Lock()
	topics := e.topics
	e.lock.Unlock()
	if err := e.remember(func(ids *store.Store) error { return e.compareChangelogs(ids, changelogs, topics) }); err != nil {
		return err
	}
	return e.db.Flush()
}

// remember calls fn with what the state folder holds beside the state, and keeps what fn has changed.
func (e *Engine) remember(fn func(ids *store.Store) error) (err error) {
	t, err := e.db.Task(identities)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	ids, err := t.Store(store.Spec{Name: identities})
	if err != nil {
		return err
	}
	if err := fn(ids); err != nil {
		return err
	}
	t.Seal()
	return t.Commit(nil)
}

func (e *Engine) compareChangelogs(ids *store.Store, changelogs map[string]int, topics map[string]kafka.Topic) error {
	for topic, sub := range changelogs {
		id := topics[topic].ID
		was, err := ids.Get([]byte(topic))
		if err != nil {
			return err
		}
		if bytes.Equal(was, id[:]) {
			continue
		}
		if was != nil {
			e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "a changelog was made anew; restoring from it", slog.String("topic", topic))
			if err := e.removeState(sub); err != nil {
				return err
			}
		}
		if err := ids.Put([]byte(topic), id[:]); err != nil {
			return err
		}
	}
	return nil
}

// freshFor is how old state may be that is taken up again. That a row was deleted is told by a tombstone in the changelog,
// which compaction removes some time after the row itself: see tombstonesFor. Older state may have rows that nothing tells of.
const freshFor = tombstonesFor / 2

// stampEvery is how often it is noted that the state of running tasks is what the changelogs say.
const stampEvery = time.Hour

// stamp is the key of the time, in milliseconds, at which the state of a task was surely what its changelogs said. No topic
// has such a name.
func stamp(id task.ID) []byte { return append([]byte("task "), id.String()...) }

// keepsTime tells whether the state of a task is taken up again, so that its age matters.
func (e *Engine) keepsTime(id task.ID) bool {
	return e.options.StateDir != "" && slices.ContainsFunc(e.program.Subs[id.Sub].Stores, func(s task.StoreSpec) bool {
		return s.Logged && s.Backend == store.Disk
	})
}

// takeUp deletes the state of a task that is about to be opened if it is too old, or of an unknown age.
func (e *Engine) takeUp(id task.ID) error {
	if !e.keepsTime(id) {
		return nil
	}
	return e.remember(func(ids *store.Store) error {
		was, err := ids.Get(stamp(id))
		if err != nil {
			return err
		}
		if len(was) == 8 {
			at := time.UnixMilli(int64(binary.BigEndian.Uint64(was)))
			if time.Since(at) < freshFor {
				return nil
			}
			e.options.Log.LogAttrs(context.Background(), slog.LevelWarn, "state is too old for its changelogs to say what was deleted since; restoring all of it",
				slog.String("task", id.String()), slog.Time("of", at))
		}
		if err := e.db.Remove(id.String()); err != nil {
			return err
		}
		return putTime(ids, id, time.Now()) // what is read from now on is
	})
}

// stampTasks notes that the state of tasks was surely what their changelogs said at a time.
func (e *Engine) stampTasks(at time.Time, tasks ...task.ID) error {
	tasks = slices.DeleteFunc(tasks, func(id task.ID) bool { return !e.keepsTime(id) })
	if len(tasks) == 0 {
		return nil
	}
	return e.remember(func(ids *store.Store) error {
		for _, id := range tasks {
			was, err := ids.Get(stamp(id))
			if err != nil {
				return err
			}
			if len(was) == 8 && int64(binary.BigEndian.Uint64(was)) >= at.UnixMilli() {
				continue
			}
			if err := putTime(ids, id, at); err != nil {
				return err
			}
		}
		return nil
	})
}

func putTime(ids *store.Store, id task.ID, at time.Time) error {
	return ids.Put(stamp(id), binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())))
}

// stampAll notes from time to time that the state of running tasks is what their changelogs say. It notes the time at which
// it looked last: whether the tasks were this instance's then has shown since, also where that was stopped meanwhile.
func (l *loop) stampAll() error {
	if time.Since(l.looked) < stampEvery {
		return nil
	}
	var tasks []task.ID
	for _, r := range l.order {
		if r.started {
			tasks = append(tasks, r.id)
		}
	}
	before := l.looked
	l.looked = time.Now()
	if err := l.engine.stampTasks(before, tasks...); err != nil {
		return &TaskError{err}
	}
	return nil
}

// removeState deletes the state of all tasks of a sub-topology.
func (e *Engine) removeState(sub int) error {
	ids, err := e.db.Tasks()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if strings.HasPrefix(id, strconv.Itoa(sub)+"_") {
			if err := e.db.Remove(id); err != nil {
				return fmt.Errorf("delete the state of task %s: %w", id, err)
			}
		}
	}
	return nil
}
