package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// identities names the task in the state folder that holds the ids of the changelogs which the state was made from.
const identities = "changelogs"

// openState opens the state folder. State that nobody asks for in a while is deleted.
func (e *Engine) openState() (err error) {
	o := store.Options{MemoryBytes: e.options.StateBytes, Logger: e.options.Log}
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
func (e *Engine) identify(ctx context.Context) (err error) {
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
	t, err := e.db.Task(identities)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	ids, err := t.Store(store.Spec{Name: identities})
	if err != nil {
		return err
	}
	e.lock.Lock()
	topics := e.topics
	e.lock.Unlock()
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
			e.options.Log.LogAttrs(ctx, slog.LevelWarn, "a changelog was made anew; restoring from it", slog.String("topic", topic))
			if err := e.removeState(sub); err != nil {
				return err
			}
		}
		if err := ids.Put([]byte(topic), id[:]); err != nil {
			return err
		}
	}
	t.Seal()
	if err := t.Commit(nil); err != nil {
		return err
	}
	return e.db.Flush()
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
