package engine

import (
	"context"
	"log/slog"
	"sync"
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

	mu      sync.Mutex
	poke    func()
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
	g := &globals{engine: e, tables: map[string]task.GlobalTable{}, byName: map[string][]*task.Global{}, done: make(chan struct{}), poke: func() {}}
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
		err := e.options.Client.Read(rctx, kafka.ReadConfig{From: from, Follow: true}, func(s kafka.Step) error {
			g.apply(s)
			if at := (place{s.Topic, s.Partition}); s.Next >= s.Goal && left[at] {
				if delete(left, at); len(left) == 0 {
					close(loaded)
				}
			}
			return nil
		})
		if rctx.Err() == nil {
			g.mu.Lock()
			g.err = err
			g.mu.Unlock()
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

// apply takes over what was read.
func (g *globals) apply(s kafka.Step) {
	for i := range s.Len() {
		var raw record.Raw
		s.Read(i, &raw)
		for _, t := range g.byName[s.Topic] {
			if p := g.tables[t.Name].Apply(&raw); p != nil {
				g.mu.Lock()
				g.dropped = append(g.dropped, globalDrop{raw, task.Drop{Node: t.Node, Problem: *p}})
				g.poke()
				g.mu.Unlock()
			}
		}
	}
}

// tell has poke called when there is something for [globals.drops].
func (g *globals) tell(poke func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.poke = poke; len(g.dropped) > 0 {
		poke()
	}
}

// waiting tells whether there is something for [globals.drops].
func (g *globals) waiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.dropped) > 0
}

// drops writes dead letters for the records that global tables could not take. A record has one from each instance, and
// again after a restart: the tables are not part of the rounds.
func (g *globals) drops(x *writer) {
	g.mu.Lock()
	list := g.dropped
	g.dropped = nil
	g.mu.Unlock()
	for i := range list {
		x.Drop(&list[i].raw, list[i].drop)
	}
}

// failed returns why the tables are not followed any more.
func (g *globals) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

func (g *globals) close() {
	g.cancel()
	<-g.done
}
