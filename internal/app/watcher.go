package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
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
	checked *checked
}

// checked is what was judged so far, with any model.
type checked struct {
	mu      sync.Mutex
	windows CheckedWindows
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
	watcher *watcher // of the model that has scored the batch
	tally   *watch.Tally
	times   []int64
}

// newWatcher returns a watcher, nil where the pipeline has no window checks. It wants a model that has a profile of what
// they name.
func newWatcher(p *config.Pipeline, s *Scoring) (*watcher, error) {
	c := p.Checks.Window
	if c == nil {
		return nil, nil
	}
	m := &model.Loaded{Bundle: s.Bundle, Ref: s.Model, Digest: s.Digest}
	w := &watcher{options: watchOptions(c, m), checked: &checked{windows: CheckedWindows{Windows: map[string]uint64{}}}}
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
	text := fmt.Appendf(nil, "%s %d %d", digest, c.Every.Time, c.Every.Records)
	for i := range reference.Columns {
		text = fmt.Appendf(text, " %q %d", reference.Columns[i].Name, len(reference.Columns[i].Counts))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
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
		c = &counted{watcher: w, tally: t}
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
func (c *counted) giveBack() {
	c.tally.Reset()
	c.watcher.idle.Put(c)
}

// watchWindows declares the way of what was scored to the results of its windows: each task tells with every commit what it has counted since the
// last one, in the transaction of the predictions; one task merges that, and judges windows when they are over.
func watchWindows[K any](p *config.Pipeline, s *Scoring, records stream.Stream[K, scored]) {
	if p.Checks.Window == nil {
		return
	}
	var w *watcher
	var m *models
	if s != nil {
		w, m = s.watcher, &s.scorers.models
	}
	parts := stream.Process(records, tallyNode, func() stream.Processor[K, scored, string, []byte] { return &tallying[K]{first: w} })
	parts = parts.Keys(stream.String()).Values(stream.Bytes()).Repartition(checksNode, stream.Partitions(1))
	store := stream.NewStore(checksNode, stream.String(), stream.Bytes())
	results := stream.Process(parts, checksNode, func() stream.Processor[string, []byte, string, result] {
		return &checking{models: m, store: store}
	}, store)
	results = results.Keys(stream.String())
	results.Values(resultCodec{}).To(p.Checks.Window.Topic)
	if p.Checks.Window.OnFail == config.OnFailPause {
		pauses := results.Filter(func(_ string, r result) bool { return r.control != nil })
		pauses.Values(controlCodec{}).To(p.ControlTopic())
	}
}

// tallying puts together what the batches of a task have counted, and tells it with each commit.
type tallying[K any] struct {
	first   *watcher // of the model that a topology has begun with
	ctx     *stream.ProcessorContext[string, []byte]
	tallies []*modelTally // of the models that have scored batches lately
	clock   eventClock
	since   time.Time // the first of the event times that the clock waits with
	latest  int64
}

// modelTally is what was scored with a model.
type modelTally struct {
	watcher *watcher
	total   *watch.Tally
}

// mostTick is how long event times of a slow partition wait for enough others: it has nothing that waits, so that they are near the
// clock's time, and a wrong one can only say that it is where it is.
const mostTick = 5 * time.Second

// Init notes the context.
func (t *tallying[K]) Init(ctx *stream.ProcessorContext[string, []byte]) error {
	t.ctx, t.latest, t.tallies = ctx, watch.Unknown, nil
	_, err := t.tally(t.first)
	return err
}

// tally returns the tally of what a model scores: other models have other bins.
func (t *tallying[K]) tally(w *watcher) (*modelTally, error) {
	for _, m := range t.tallies {
		if m.watcher == w {
			return m, nil
		}
	}
	o := &w.options
	total, err := watch.NewTally(o.Every, o.Reference, o.Layout)
	if err != nil {
		return nil, err
	}
	m := &modelTally{w, total}
	t.tallies = append(t.tallies, m)
	return m, nil
}

// Process takes over what the batch of the record has counted, if the record has that with it.
func (t *tallying[K]) Process(r *stream.Record[K, scored]) error {
	c := r.Value.counted
	if c == nil {
		return nil
	}
	m, err := t.tally(c.watcher)
	if err != nil {
		return err
	}
	m.total.Merge(c.tally)
	for _, at := range c.times {
		if len(t.clock.times) == 0 {
			t.since = t.ctx.Now()
		}
		t.reach(t.clock.tick(at))
	}
	if len(t.clock.times) > 0 && t.ctx.Now().Sub(t.since) >= mostTick {
		t.reach(t.clock.tell())
	}
	c.giveBack()
	if m.total.Full() { // hostile times, or very old data: it must not pile up until the commit
		return t.tell(m)
	}
	return nil
}

// reach notes how far the partition is.
func (t *tallying[K]) reach(at int64, ok bool) {
	if ok {
		t.latest = max(t.latest, min(at, t.ctx.Now().UnixMicro()))
	}
}

// Flush tells what was counted, and forgets models that have scored nothing since the last one.
func (t *tallying[K]) Flush() error {
	used := t.tallies[:0]
	for _, m := range t.tallies {
		if m.total.Empty() {
			continue
		}
		used = append(used, m)
		if err := t.tell(m); err != nil {
			return err
		}
	}
	clear(t.tallies[len(used):])
	t.tallies = used
	return nil
}

// tell tells what was counted of a model.
func (t *tallying[K]) tell(m *modelTally) error {
	of := watch.Part{By: m.watcher.options.By, Partition: t.ctx.Partition(), Latest: t.latest}
	err := m.total.Parts(of, func(p *watch.Part) error {
		value, err := p.AppendBinary(nil)
		if err != nil {
			return err
		}
		return t.ctx.Forward(&stream.Record[string, []byte]{Key: checksNode, Value: value, Timestamp: t.ctx.Now().UnixMilli()})
	})
	m.total.Reset()
	return err
}

// Checked returns what was judged so far; nil where the pipeline has no window checks. It is safe for concurrent use.
func (s *Scoring) Checked() *CheckedWindows {
	if s.watcher == nil {
		return nil
	}
	k := s.watcher.checked
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.windows
	c.Windows = maps.Clone(k.windows.Windows)
	return &c
}
