package app

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/watch"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// The names of what window checks have of their own in a topology. No window or table of a user has a hyphen.
const (
	tallyNode  = "window-tally"
	checksNode = "window-checks" // and the store, and the repartition topic
)

// watcher counts the records of windows and judges them. It is safe for concurrent use.
type watcher struct {
	options watch.Options
	judge   *judge
	idle    sync.Pool // of *counted
	mu      sync.Mutex
	checked CheckedWindows
}

// CheckedWindows are the windows that an instance has judged: that which has the only partition of the topic in which the
// parts of all instances come together.
type CheckedWindows struct {
	Windows map[string]uint64 // by result
	Last    *WindowResult     // nil is none yet
	watch.Totals
}

// counted is what a batch adds to windows, with some of its event times.
type counted struct {
	tally *watch.Tally
	times []int64
}

// newWatcher returns a watcher, nil where the pipeline has no window checks. It wants a model that has a profile of what
// they name.
func newWatcher(p *config.Pipeline, s *Scoring) (*watcher, error) {
	c := p.Checks.Window
	if c == nil {
		return nil, nil
	}
	m := &model.Loaded{Bundle: s.Bundle, Ref: s.Model, Digest: s.Digest}
	w := &watcher{options: watchOptions(c, m), checked: CheckedWindows{Windows: map[string]uint64{}}}
	err := tooWide(p, w.options.Reference)
	if err != nil {
		return nil, err
	}
	if w.judge, err = newJudge(p, c, m, w.options.Reference); err != nil {
		return nil, err
	}
	_, err = watch.NewTally(w.options.Every, w.options.Reference, w.options.Layout)
	return w, err
}

// mostPart is how many bytes of counts go into a record: a topic takes 1 MiB if nobody has set it otherwise.
const mostPart = 1000 << 10

// tooWide returns an error for columns whose counts a record may have no room for: a part of a window would be lost, and its state could
// not be kept.
func tooWide(p *config.Pipeline, reference *profile.Profile) error {
	const column, bin = 160, 6 // bytes, of counts below 2^35
	size := 0
	for i := range reference.Columns {
		size += column + bin*len(reference.Columns[i].Counts)
	}
	if size <= mostPart {
		return nil
	}
	return &Error{
		Code: Usage, Op: "checks.window", Where: p.File,
		Err:  fmt.Errorf("the counts of %d columns take up to %d KiB, and topics take records of 1 MiB", len(reference.Columns), size>>10),
		Hint: "name the columns that matter in checks.window.columns",
	}
}

// watchOptions says how the records of a model are counted in windows.
func watchOptions(c *config.WindowChecks, m *model.Loaded) watch.Options {
	b := m.Bundle
	reference := b.Profile.Select(watched(c.Columns))
	return watch.Options{
		Every: watch.Every{Time: c.Every.Time, Records: uint64(c.Every.Records)}, Grace: c.Grace, By: countedBy(c, m.Digest, reference), //nolint:gosec // no negative number
		Reference: reference,
		Layout:    profile.NewLayout(b.Schema, b.Plan.Inputs(), b.Manifest.Label).Unlabelled(),
	}
}

// countedBy names what the counts of windows depend on. Windows have numbers, and counts the order of columns: those of another
// size, or of other columns, mean something else.
func countedBy(c *config.WindowChecks, digest string, reference *profile.Profile) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %d", digest, c.Every.Time, c.Every.Records) //nolint:errcheck // a hash takes all
	for i := range reference.Columns {
		fmt.Fprintf(h, " %q %d", reference.Columns[i].Name, len(reference.Columns[i].Counts)) //nolint:errcheck // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil))
}

// watched tells which columns of a profile are watched: those that a stream has, and that are named; times only by name,
// since those of a stream are others than those of the training data.
func watched(names []string) func(*profile.Column) bool {
	return func(c *profile.Column) bool {
		if names == nil {
			return c.Role != profile.Label && c.Kind != profile.Time
		}
		return slices.Contains(names, c.Name)
	}
}

// count counts the batch that a worker has scored; nil if all of it was rejected.
func (w *watcher) count(worker *pipeline.Worker, b *record.Batch, now time.Time) *counted {
	if w == nil || b.Rejected() == b.Len() {
		return nil
	}
	c, _ := w.idle.Get().(*counted)
	if c == nil {
		t, err := watch.NewTally(w.options.Every, w.options.Reference, w.options.Layout)
		if err != nil {
			panic("app: " + err.Error()) // one was made before
		}
		c = &counted{tally: t}
	}
	times := worker.Times()
	c.tally.Add(&profile.Rows{Batch: b, Frame: worker.Frame(), Predictions: worker.Predictions()}, times, now.UnixMicro())
	c.times = c.times[:0]
	for i := 0; i < len(times); i += max(1, len(times)/ticks) { // enough for the clock
		if times[i] != record.MissingTime && b.Problem(i) == nil {
			c.times = append(c.times, times[i])
		}
	}
	return c
}

// giveBack takes back what count has given.
func (w *watcher) giveBack(c *counted) {
	c.tally.Reset()
	w.idle.Put(c)
}

// watchWindows declares the way of what was scored to the results of its windows: each task tells with every commit what it has counted since the
// last one, in the transaction of the predictions; one task merges that, and judges windows when they are over.
func watchWindows[K any](p *config.Pipeline, s *Scoring, records stream.Stream[K, scored]) {
	if p.Checks.Window == nil {
		return
	}
	var w *watcher
	if s != nil {
		w = s.watcher
	}
	parts := stream.Process(records, tallyNode, func() stream.Processor[K, scored, string, []byte] { return &tallying[K]{watcher: w} })
	parts = parts.Keys(stream.String()).Values(stream.Bytes()).Repartition(checksNode, stream.Partitions(1))
	store := stream.NewStore(checksNode, stream.String(), stream.Bytes())
	results := stream.Process(parts, checksNode, func() stream.Processor[string, []byte, string, result] {
		return &checking{watcher: w, store: store}
	}, store)
	results = results.Keys(stream.String())
	results.Values(resultCodec{}).To(p.Checks.Window.Topic)
	if p.Checks.Window.OnFail == config.OnFailPause {
		pauses := results.Filter(func(_ string, r result) bool { return r.control != nil })
		pauses.Values(controlCodec{}).To(controlTopic(p))
	}
}

// tallying puts together what the batches of a task have counted, and tells it with each commit.
type tallying[K any] struct {
	watcher *watcher
	ctx     *stream.ProcessorContext[string, []byte]
	total   *watch.Tally
	clock   eventClock
	since   time.Time // the first of the event times that the clock waits with
	latest  int64
}

// mostTick is how long event times of a slow partition wait for enough others: it has nothing that waits, so that they are near the
// clock's time, and a wrong one can only say that it is where it is.
const mostTick = 5 * time.Second

// Init makes an empty tally.
func (t *tallying[K]) Init(ctx *stream.ProcessorContext[string, []byte]) (err error) {
	t.ctx, t.latest = ctx, watch.Unknown
	o := &t.watcher.options
	t.total, err = watch.NewTally(o.Every, o.Reference, o.Layout)
	return err
}

// Process takes over what the batch of the record has counted, if the record has that with it.
func (t *tallying[K]) Process(r *stream.Record[K, scored]) error {
	c := r.Value.counted
	if c == nil {
		return nil
	}
	t.total.Merge(c.tally)
	for _, at := range c.times {
		if len(t.clock.times) == 0 {
			t.since = t.ctx.Now()
		}
		t.reach(t.clock.tick(at))
	}
	if len(t.clock.times) > 0 && t.ctx.Now().Sub(t.since) >= mostTick {
		t.reach(t.clock.tell())
	}
	t.watcher.giveBack(c)
	if t.total.Full() { // hostile times, or very old data: it must not pile up until the commit
		return t.Flush()
	}
	return nil
}

// reach notes how far the partition is.
func (t *tallying[K]) reach(at int64, ok bool) {
	if ok {
		t.latest = max(t.latest, min(at, t.ctx.Now().UnixMicro()))
	}
}

// Flush tells what was counted.
func (t *tallying[K]) Flush() error {
	if t.total.Empty() {
		return nil
	}
	of := watch.Part{By: t.watcher.options.By, Partition: t.ctx.Partition(), Latest: t.latest}
	err := t.total.Parts(of, func(p *watch.Part) error {
		value, err := p.AppendBinary(nil)
		if err != nil {
			return err
		}
		return t.ctx.Forward(&stream.Record[string, []byte]{Key: checksNode, Value: value, Timestamp: t.ctx.Now().UnixMilli()})
	})
	t.total.Reset()
	return err
}

// checking merges the parts of windows, and judges those that are over.
type checking struct {
	watcher *watcher
	store   *stream.Store[string, []byte]
	ctx     *stream.ProcessorContext[string, result]
	state   *stream.State[string, []byte]
	board   *watch.Board
	ran     time.Time // the last time that windows could have been closed
}

// The wall clock has windows closed each closeEvery. If it has not for asleep, the task was held back, and what partitions tell
// was not read: it is not silence.
const (
	closeEvery = time.Second
	asleep     = 5 * time.Second
)

// Init takes back what was known at the last commit.
func (c *checking) Init(ctx *stream.ProcessorContext[string, result]) (err error) {
	c.ctx, c.state, c.ran = ctx, stream.Open(ctx, c.store), ctx.Now()
	if c.board, err = watch.NewBoard(c.watcher.options, ctx.Now()); err != nil {
		return err
	}
	var forget []string
	err = c.state.All(func(key string, value []byte) (bool, error) {
		switch err := c.board.Restore(key, value, ctx.Now()); {
		case errors.Is(err, watch.ErrForeign):
			if strings.HasPrefix(key, watch.KeyWindow) {
				ctx.Log().LogAttrs(ctx.Context(), slog.LevelInfo, "a window of another model, size or list of columns is left out", slog.String("window", key))
			}
			forget = append(forget, key)
		case err != nil:
			ctx.Log().LogAttrs(ctx.Context(), slog.LevelWarn, "the state of an open window cannot be read and is left out", slog.String("window", key), slog.Any("error", err))
			forget = append(forget, key)
		}
		return true, nil
	})
	for _, key := range forget {
		err = errors.Join(err, c.state.Delete(strings.Clone(key)))
	}
	ctx.OnWallClock(closeEvery, func(int64) error { return c.close() })
	return err
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
	return p.UnmarshalBinary(value) == nil && c.board.Take(p, c.ctx.Now()) == nil
}

// close judges the windows that are over.
func (c *checking) close() error {
	now := c.ctx.Now()
	if now.Sub(c.ran) > asleep {
		c.board.Awake(now)
	}
	c.ran = now
	for _, over := range c.board.Close(now) {
		r, err := c.watcher.judge.result(&over, c.board.Totals(), c.ctx.Now())
		if err != nil {
			return err
		}
		c.watcher.judge.tell(c.ctx.Context(), c.ctx.Log(), r)
		c.watcher.note(r, c.board.Totals())
		out, err := c.watcher.judge.encode(r)
		if err != nil {
			return err
		}
		if err := c.ctx.Forward(&stream.Record[string, result]{Key: c.watcher.judge.pipeline, Value: out, Timestamp: c.ctx.Now().UnixMilli()}); err != nil {
			return err
		}
	}
	return nil
}

// Flush writes what has changed to the store.
func (c *checking) Flush() error {
	c.watcher.noteTotals(c.board.Totals())
	return c.board.Changes(func(key string, value []byte) error {
		if value == nil {
			return c.state.Delete(key)
		}
		return c.state.Put(key, value)
	})
}

// note counts a window that was judged.
func (w *watcher) note(r *WindowResult, totals watch.Totals) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checked.Windows[r.Result]++
	w.checked.Last, w.checked.Totals = r, totals
}

// noteTotals counts what is in no window, also where none is over.
func (w *watcher) noteTotals(totals watch.Totals) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checked.Totals = totals
}

// Checked returns what was judged so far; nil where the pipeline has no window checks. It is safe for concurrent use.
func (s *Scoring) Checked() *CheckedWindows {
	w := s.watcher
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.checked
	c.Windows = maps.Clone(w.checked.Windows)
	return &c
}
