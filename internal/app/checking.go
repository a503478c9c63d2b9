package app

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"millrace.dev/internal/watch"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// checking merges the parts of windows, and judges those that are over. What a model has scored is compared with what that model
// was trained on: while one model takes over from another there are windows of both.
type checking struct {
	models *models
	store  *stream.Store[string, []byte]
	ctx    *stream.ProcessorContext[string, result]
	state  *stream.State[string, []byte]
	boards []*board  // the newest model's is the last
	ran    time.Time // the last time that windows could have been closed
}

// board has the windows of a model.
type board struct {
	*watch.Board

	watcher *watcher
}

// The wall clock has windows closed each closeEvery. If it has not for asleep, the task was held back, and what partitions tell
// was not read: it is not silence.
const (
	closeEvery = time.Second
	asleep     = 5 * time.Second
)

// Init takes back what was known at the last commit.
func (c *checking) Init(ctx *stream.ProcessorContext[string, result]) error {
	c.ctx, c.state, c.ran, c.boards = ctx, stream.Open(ctx, c.store), ctx.Now(), nil
	if _, err := c.board(c.models.last().watcher.options.By); err != nil {
		return err
	}
	keep, forget := map[string][]byte{}, []string(nil)
	err := c.state.All(func(key string, value []byte) (bool, error) {
		by, rest, _ := strings.Cut(key, "/")
		if key == watch.KeyMarks || strings.HasPrefix(key, watch.KeyWindow) { // as it was written by a version that had one model
			by, rest = c.models.last().watcher.options.By, key
			keep[by+"/"+key], forget = append([]byte(nil), value...), append(forget, key)
		}
		if !c.restore(by, rest, value) {
			delete(keep, by+"/"+rest)
			forget = append(forget, key)
		}
		return true, nil
	})
	for _, key := range forget {
		err = errors.Join(err, c.state.Delete(strings.Clone(key)))
	}
	for key, value := range keep {
		err = errors.Join(err, c.state.Put(key, value))
	}
	ctx.OnWallClock(closeEvery, func(int64) error { return c.close() })
	return err
}

// restore takes back what was written down of a window, and tells whether that is of any use.
func (c *checking) restore(by, key string, value []byte) bool {
	b, err := c.board(by)
	if err == nil && b != nil {
		err = b.Restore(key, value, c.ctx.Now())
	}
	switch {
	case b == nil || errors.Is(err, watch.ErrForeign):
		if strings.HasPrefix(key, watch.KeyWindow) {
			c.ctx.Log().LogAttrs(c.ctx.Context(), slog.LevelInfo, "a window of another model, size or list of columns is left out", slog.String("window", key))
		}
		return false
	case err != nil:
		c.ctx.Log().LogAttrs(c.ctx.Context(), slog.LevelWarn, "the state of an open window cannot be read and is left out", slog.String("window", key), slog.Any("error", err))
		return false
	}
	return true
}

// board returns the board for counts that are called by; nil is that no model here counts so.
func (c *checking) board(by string) (*board, error) {
	for _, b := range c.boards {
		if b.watcher.options.By == by {
			return b, nil
		}
	}
	w := c.models.counting(by)
	if w == nil {
		return nil, nil
	}
	made, err := watch.NewBoard(w.options, c.ctx.Now())
	if err != nil {
		return nil, err
	}
	b := &board{Board: made, watcher: w}
	if by == c.models.last().watcher.options.By {
		c.boards = append(c.boards, b)
	} else {
		c.boards = append([]*board{b}, c.boards...)
	}
	return b, nil
}

// Process merges a part.
func (c *checking) Process(r *stream.Record[string, []byte]) error {
	var p watch.Part
	if !c.takes(&p, r.Value) {
		c.ctx.Drop(stream.Rejection{Stage: record.StageCheck, Class: "bad_part", Reason: "the record is no part of a window of this pipeline"})
		return nil
	}
	return c.close()
}

// takes tells whether a value is a part, which was merged then.
func (c *checking) takes(p *watch.Part, value []byte) bool {
	if p.UnmarshalBinary(value) != nil {
		return false
	}
	b, err := c.board(p.By)
	if err != nil || b == nil {
		b = c.boards[len(c.boards)-1] // it counts what is foreign
	}
	return b.Take(p, c.ctx.Now()) == nil
}

// close judges the windows that are over.
func (c *checking) close() error {
	now := c.ctx.Now()
	if now.Sub(c.ran) > asleep {
		for _, b := range c.boards {
			b.Awake(now)
		}
	}
	c.ran = now
	for _, b := range c.boards {
		over := b.Close(now)
		if c.models.counting(b.watcher.options.By) == nil { // nothing comes any more
			over = append(over, b.CloseAll()...)
		}
		for i := range over {
			if err := c.judge(b, &over[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge says what there is to say of a window.
func (c *checking) judge(b *board, over *watch.Closed) error {
	j := b.watcher.judge
	r, err := j.result(over, b.Totals(), c.ctx.Now())
	if err != nil {
		return err
	}
	j.tell(c.ctx.Context(), c.ctx.Log(), r)
	b.watcher.checked.note(r, c.totals())
	out, err := j.encode(r)
	if err != nil {
		return err
	}
	return c.ctx.Forward(&stream.Record[string, result]{Key: j.pipeline, Value: out, Timestamp: c.ctx.Now().UnixMilli()})
}

// totals returns what is in no window, of all models.
func (c *checking) totals() watch.Totals {
	var sum watch.Totals
	for _, b := range c.boards {
		t := b.Totals()
		sum.Late, sum.Untimed, sum.Foreign = sum.Late+t.Late, sum.Untimed+t.Untimed, sum.Foreign+t.Foreign
	}
	return sum
}

// Flush writes what has changed to the store, and forgets the boards of models that are gone.
func (c *checking) Flush() error {
	kept := c.boards[:0]
	c.boards[len(c.boards)-1].watcher.checked.noteTotals(c.totals())
	for i, b := range c.boards {
		by := b.watcher.options.By
		gone := c.models.counting(by) == nil && i < len(c.boards)-1
		if !gone {
			kept = append(kept, b)
		}
		err := b.Changes(func(key string, value []byte) error {
			if value == nil || gone {
				return c.state.Delete(by + "/" + key)
			}
			return c.state.Put(by+"/"+key, value)
		})
		if err != nil {
			return err
		}
		if gone {
			if err := c.state.Delete(by + "/" + watch.KeyMarks); err != nil {
				return err
			}
		}
	}
	clear(c.boards[len(kept):])
	c.boards = kept
	return nil
}

// note counts a window that was judged.
func (k *checked) note(r *WindowResult, totals watch.Totals) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.windows.Windows[r.Result]++
	k.windows.Last, k.windows.Totals = r, totals
}

// noteTotals counts what is in no window, also where none is over.
func (k *checked) noteTotals(totals watch.Totals) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.windows.Totals = totals
}
