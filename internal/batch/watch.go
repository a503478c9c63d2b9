package batch

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/internal/watch"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// WatchOptions say which records to count in windows.
type WatchOptions struct {
	Data     string        // the records, as [source.Open] names them
	Client   *kafka.Client // for data in topics. Default: none
	MaxBytes int           // of a record. Default: 1 MiB
	Rows     map[string]table.Rows
	Required []pipeline.Table
	Checks   []pipeline.Check // a record that breaks one whose outcome is not to warn is in no window
	Windows  watch.Options    // the grace does not matter: data with an end has no late records
	Labels   Labels           // where the labels are, if not in the data
	Now      time.Time
}

// Watched is data that was counted window by window.
type Watched struct {
	Windows  []WatchedWindow // in their order
	Records  int
	Rejected int    // records without a prediction: they are in no window
	Untimed  uint64 // records in no window for they have no event time that could be believed
	// Labelled tells that labels were looked for; else Unlabelled says why they were not.
	Labelled   bool
	Unlabelled string
	Digest     string // of the data
}

// WatchedWindow is a window with the errors of its predictions.
type WatchedWindow struct {
	watch.Closed

	Errors drift.Errors
}

// mostWindows is how many windows of data are counted side by side, or fewer where a board has no room for so many of that many columns.
const mostWindows = 5000

// ErrManyWindows says that data has more windows than are counted.
var ErrManyWindows = fmt.Errorf("batch: the data has more windows than are counted side by side, which are %d, or fewer of many columns", mostWindows)

// Watch runs records through the path of a model and counts them in windows, as a stream does: the same records of a window
// give the same counts.
func Watch(ctx context.Context, b *model.Bundle, o WatchOptions) (*Watched, error) {
	r, err := o.replay(ctx, b)
	if err != nil {
		return nil, err
	}
	w := &watching{windowing: windowing{every: o.Windows.Every}, options: &o, out: &Watched{}, errors: map[int64]*drift.Errors{}}
	if w.tally, err = watch.NewTally(o.Windows.Every, o.Windows.Reference, o.Windows.Layout); err != nil {
		return nil, err
	}
	if w.board, err = watch.NewBoard(o.Windows, o.Now); err != nil {
		return nil, err
	}
	if w.labels, w.out.Unlabelled, err = newLabeller(ctx, b, b.Schema, r.data, labelling{data: o.Data, client: o.Client, maxBytes: o.MaxBytes, from: o.Labels}); err != nil {
		return nil, err
	}
	w.out.Labelled = w.labels != nil
	err = r.each(ctx, nil, func(b *record.Batch, _ int64, _ [][]float64) error { return w.add(r.worker, b) })
	if err != nil {
		return nil, err
	}
	if err := w.tell(); err != nil {
		return nil, err
	}
	for _, c := range w.board.CloseAll() {
		w.close(c, w.window)
	}
	w.out.Untimed, w.out.Digest = w.board.Totals().Untimed, r.digest
	return w.out, nil
}

// replay returns what runs the records. Rules do not end it: what a stream stops before is in no window either.
func (o *WatchOptions) replay(ctx context.Context, b *model.Bundle) (*replay, error) {
	return newReplay(ctx, b, replayed{data: o.Data, client: o.Client, maxBytes: o.MaxBytes, rows: o.Rows, required: o.Required, checks: withoutFail(o.Checks)})
}

// windowing says in which window records are, in the order of the data.
type windowing struct {
	every  watch.Every
	window int64  // of records: the one that is being filled
	filled uint64 // of it
	of     []int64
}

// noWindow is the window of a record that is in none.
const noWindow = math.MinInt64

// assign returns the window of each record of a batch.
func (w *windowing) assign(b *record.Batch, times []int64, now time.Time) []int64 {
	w.of = slices.Grow(w.of[:0], b.Len())[:b.Len()]
	for i := range w.of {
		w.of[i] = noWindow
		switch {
		case b.Problem(i) != nil:
		case w.every.Time == 0:
			if w.filled == w.every.Records {
				w.filled = 0
				w.window++
			}
			w.filled++
			w.of[i] = w.window
		case watch.Believed(times[i], now.UnixMicro()):
			w.of[i] = w.every.Window(times[i])
		}
	}
	return w.of
}

// watching counts.
type watching struct {
	windowing

	options *WatchOptions
	tally   *watch.Tally
	board   *watch.Board
	labels  *labeller
	errors  map[int64]*drift.Errors
	out     *Watched
	keep    []bool
}

// add counts a batch that was scored.
func (w *watching) add(worker *pipeline.Worker, b *record.Batch) error {
	w.out.Records += b.Len()
	w.out.Rejected += b.Rejected()
	of := w.assign(b, worker.Times(), w.options.Now)
	if w.labels != nil {
		w.labels.add(b, func(i int, label float64) {
			if of[i] == noWindow {
				return
			}
			e := w.errors[of[i]]
			if e == nil {
				e = &drift.Errors{}
				w.errors[of[i]] = e
			}
			e.Add(label, worker.Prediction(i))
		})
	}
	rows := &profile.Rows{Batch: b, Frame: worker.Frame(), Predictions: worker.Predictions()}
	if w.every.Time > 0 {
		w.tally.Add(rows, worker.Times(), w.options.Now.UnixMicro())
		return w.tell()
	}
	for _, window := range slices.Compact(slices.DeleteFunc(slices.Clone(of), func(k int64) bool { return k == noWindow })) {
		w.keep = slices.Grow(w.keep[:0], b.Len())[:b.Len()]
		for i := range w.keep {
			w.keep[i] = of[i] == window
		}
		rows.Keep = w.keep
		w.tally.Add(rows, worker.Times(), 0)
		if err := w.tell(); err != nil {
			return err
		}
		for _, c := range w.board.Close(w.options.Now) { // it is full
			w.close(c, window)
		}
	}
	return nil
}

// tell gives what was counted to the board.
func (w *watching) tell() error {
	if w.tally.Empty() {
		return nil
	}
	err := w.tally.Parts(watch.Part{By: w.options.Windows.By, Latest: watch.Unknown}, func(p *watch.Part) error {
		return w.board.Take(p, w.options.Now)
	})
	w.tally.Reset()
	if err == nil && (w.board.Open()+len(w.out.Windows) > mostWindows || w.board.Crowded()) {
		err = ErrManyWindows
	}
	return err
}

// close takes a window that is over; of windows of records it has a number of its own.
func (w *watching) close(c watch.Closed, window int64) {
	if w.every.Time > 0 {
		window = c.Window
	}
	c.Window = window
	out := WatchedWindow{Closed: c}
	if e := w.errors[window]; e != nil {
		out.Errors = *e
		delete(w.errors, window)
	}
	w.out.Windows = append(w.out.Windows, out)
}

// labeller finds the labels of records.
type labeller struct {
	decoder codec.Decoder
	batch   *record.Batch
	label   int
	labels  *labels // nil where the data has the label
	where   []*condition
}

// labelling says where the labels of data are.
type labelling struct {
	data     string // as it was named
	client   *kafka.Client
	maxBytes int
	from     Labels // if not in the data
}

// newLabeller returns what finds the labels of data, of a schema with the model's fields; nil, and the reason, if there are
// none. A record that training would have left out has no label: the model is not for it.
func newLabeller(ctx context.Context, b *model.Bundle, schema *record.Schema, data *source.Source, o labelling) (l *labeller, why string, err error) {
	l = &labeller{batch: record.NewBatch(schema, nil)}
	name := b.Manifest.Label
	var ok bool
	if l.label, ok = schema.Index(name); !ok {
		return nil, "the model does not know its label", nil
	}
	options := pipeline.Options{Format: data.Format(), Header: data.Columns(), MaxBytes: o.maxBytes}
	var undeclared []string
	if o.from.Data != "" {
		undeclared = []string{name}
		l.labels, err = readLabels(ctx, o.from, labelled{data: data, schema: schema, label: l.label, maxBytes: o.maxBytes, client: o.client})
		if err != nil {
			return nil, "", err
		}
	} else if columns := data.Columns(); columns != nil && !slices.Contains(columns, name) {
		return nil, fmt.Sprintf("the data has no column %s, the label", name), nil
	}
	if l.decoder, err = pipeline.NewDecoder(schema, options, undeclared...); err != nil {
		return nil, "", &source.DataError{Path: o.data, Err: err}
	}
	l.where, err = conditionsOf(b, schema)
	return l, "", err
}

// conditionsOf returns what the training rows of a model had to meet.
func conditionsOf(b *model.Bundle, schema *record.Schema) ([]*condition, error) {
	if b.Lineage.Where == "" {
		return nil, nil
	}
	conjuncts, err := feature.Conjuncts(b.Lineage.Where)
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	var where []*condition
	for _, c := range conjuncts {
		p, err := feature.CompilePredicate(schema, c)
		if err != nil {
			return nil, fmt.Errorf("where: %w", err)
		}
		where = append(where, &condition{text: c, predicate: p})
	}
	return where, nil
}

// add calls f with the label of each record of a batch that has one.
func (l *labeller) add(b *record.Batch, f func(i int, label float64)) {
	l.batch.Reset()
	for i := range b.Len() {
		l.batch.Append(*b.Raw(i))
	}
	l.decoder.Decode(l.batch)
	if l.labels != nil {
		l.labels.join(l.batch)
	}
	for _, c := range l.where {
		c.holds = slices.Grow(c.holds[:0], b.Len())[:b.Len()]
		c.predicate.Eval(l.batch, c.holds)
	}
	for i, label := range l.batch.Numbers(l.label) {
		out := slices.ContainsFunc(l.where, func(c *condition) bool { return !c.holds[i] })
		if !out && l.batch.Problem(i) == nil && !math.IsNaN(label) && !math.IsInf(label, 0) {
			f(i, label)
		}
	}
}
