package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// globals are the global tables of an instance, and the goroutine that follows their topics.
type globals struct {
	engine *Engine
	tables map[string]task.GlobalTable
	byName map[string][]*task.Global // by topic
	cancel context.CancelFunc
	done   chan struct{}

	lock    lock
	err     error
	dropped []globalDrop
}

// globalDrop is a record that a global table could not take.
type globalDrop struct {
	raw  record.Raw
	drop task.Drop
}

// openGlobals reads the global tables to the ends of their topics, and follows these from then on.
func (e *Engine) openGlobals(ctx context.Context) (*globals, error) {
	g := &globals{engine: e, tables: map[string]task.GlobalTable{}, byName: map[string][]*task.Global{}, done: make(chan struct{}), lock: newLock()}
	from := map[string]kafka.Offsets{}
	left := map[place]bool{}
	for _, t := range e.program.Globals {
		g.tables[t.Name] = t.New()
		g.byName[t.Topic] = append(g.byName[t.Topic], t)
		starts, err := e.options.Client.StartOffsets(ctx, t.Topic)
		if err != nil {
			return nil, err
		}
		from[t.Topic] = starts
		for p := range starts {
			left[place{t.Topic, p}] = true
		}
	}
	rctx, cancel := context.WithCancel(ctx)
	g.cancel = cancel
	if len(from) == 0 {
		close(g.done)
		return g, nil
	}
	begun := time.Now()
	loaded := make(chan struct{})
	go func() {
		defer close(g.done)
		if err := g.follow(rctx, from, left, loaded); rctx.Err() == nil {
			g.lock.Lock()
			g.err = err
			g.lock.Unlock()
			e.waker.poke()
		}
	}()
	select {
	case <-loaded:
		for name, t := range g.tables {
			e.options.Log.LogAttrs(ctx, slog.LevelInfo, "global table loaded", slog.String("table", name), slog.Int("rows", t.Len()),
				slog.Duration("in", time.Since(begun).Round(time.Millisecond)))
		}
		return g, nil
	case <-g.done:
		g.close()
		if err := g.failed(); err != nil {
			return nil, err
		}
		return nil, ctx.Err()
	}
}

// follow reads the topics from the given offsets on, and closes loaded when it has come to the ends of those left. When
// no broker answers for long it goes on where it was.
func (g *globals) follow(ctx context.Context, from map[string]kafka.Offsets, left map[place]bool, loaded chan struct{}) error {
	pauses := kafka.Backoff{Min: minPause, Max: maxPause}
	for try := 1; ; try++ {
		err := g.engine.options.Client.Read(ctx, kafka.ReadConfig{From: from, Follow: true}, func(s kafka.Step) error {
			g.apply(s)
			from[s.Topic][s.Partition] = s.Next
			try = 1
			if at := (place{s.Topic, s.Partition}); s.Next >= s.Goal && left[at] {
				if delete(left, at); len(left) == 0 {
					close(loaded)
				}
			}
			return nil
		})
		k, ok := errors.AsType[*kafka.Error](err)
		if !ok || k.Code != kafka.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		sleep(ctx, pauses.Pause(try))
	}
}

// apply takes over what was read.
func (g *globals) apply(s kafka.Step) {
	for i := range s.Len() {
		var raw record.Raw
		s.Read(i, &raw)
		for _, t := range g.byName[s.Topic] {
			if p := g.tables[t.Name].Apply(&raw); p != nil {
				g.lock.Lock()
				g.dropped = append(g.dropped, globalDrop{raw, task.Drop{Node: t.Node, Count: 1, Problem: *p}})
				g.lock.Unlock()
				g.engine.waker.poke()
			}
		}
	}
	bytes := int64(0)
	for _, t := range g.tables {
		if s, ok := t.(task.Sized); ok {
			bytes += s.Bytes()
		}
	}
	g.engine.budget.Load().SetGlobals(bytes)
}

// waiting tells whether there is something for [globals.take].
func (g *globals) waiting() bool {
	g.lock.Lock()
	defer g.lock.Unlock()
	return len(g.dropped) > 0
}

// take returns the records that global tables could not take. Each instance has them, and again after a restart: the
// tables are not part of the rounds.
func (g *globals) take() []globalDrop {
	g.lock.Lock()
	defer g.lock.Unlock()
	list := g.dropped
	g.dropped = nil
	return list
}

// giveBack undoes take.
func (g *globals) giveBack(list []globalDrop) {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.dropped = append(list, g.dropped...)
}

// failed returns why the tables are not followed any more.
func (g *globals) failed() error {
	g.lock.Lock()
	defer g.lock.Unlock()
	return g.err
}

func (g *globals) close() {
	g.cancel()
	<-g.done
}
