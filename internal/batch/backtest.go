package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"millrace.dev/internal/backtest"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/internal/watch"
	"millrace.dev/model"
	"millrace.dev/record"
)

// BacktestOptions say which models to try on which records.
type BacktestOptions struct {
	Data     string        // the records, as [source.Open] names them
	Client   *kafka.Client // for data in topics. Default: none
	MaxBytes int           // of a record. Default: 1 MiB
	Models   []Tried       // one at least
	Required []pipeline.Table
	// Checks are the rules of records. A record that breaks one whose outcome is to fail counts as rejected, and does not end
	// the backtest.
	Checks []pipeline.Check
	Labels Labels // where the labels are, if not in the data
	// Range is what counts of files: the others are read, and windows see them. Of a topic Data says it. Default: all
	Range Range
	Every watch.Every // the size of a period
	Now   time.Time   // no event time that is more than a day later is believed
}

// Tried is a model with the rows of its tables.
type Tried struct {
	Bundle *model.Bundle
	Rows   map[string]table.Rows
}

// Range is a part of the records of files. The zero value is all of them.
type Range struct {
	From, To RangeEnd
}

// RangeEnd is an end of a range: a time, or so long before the latest event time of the data, or the number of a record.
type RangeEnd struct {
	Set    bool
	At     int64         // an event time in microseconds; used if Before and Record are 0
	Before time.Duration // before the latest event time
	Record *int64        // the number of a record, from 0
}

// ErrUnlike says that models cannot be tried on the same records.
var ErrUnlike = errors.New("batch: the models cannot be tried on the same records")

// Backtest runs past records through the paths of models, the same that a stream runs through, and returns their figures by
// period. No record is held: what it takes grows with the periods, the keys of windows and the labels of [Labels].
//
// Where a model has windows, a topic is read from its earliest record on, so that they know what they knew in the stream; what
// is before the range only fills them. Errors are those of [Predict], [ErrUnlike] and [backtest.ErrManyPeriods].
func Backtest(ctx context.Context, o BacktestOptions) (*backtest.Report, error) {
	s, err := newTrial(ctx, &o)
	if err != nil {
		return nil, err
	}
	if err := s.limit(ctx); err != nil {
		return nil, err
	}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	r := &backtest.Report{Data: s.name, Label: o.Models[0].Bundle.Manifest.Label, Unit: o.Models[0].Bundle.Manifest.LabelUnit, Warmed: s.warmed, Periods: []backtest.Period{}}
	if s.labels == nil {
		r.Notes = append(r.Notes, s.unlabelled)
	}
	bounds := o.Every.Bounds
	if o.Every.Time == 0 {
		bounds = nil
	}
	s.tally.Into(r, bounds)
	if r.Untimed != nil && len(r.Periods) == 0 {
		r.Notes = append(r.Notes, "no record has an event time: the model was trained without source.event_time, or the records lack it; periods of records need none, as with --every 1000")
	}
	for i := range o.Models {
		r.Trained = append(r.Trained, o.Models[i].Bundle.Lineage.DataDigest == s.digest)
	}
	return r, nil
}

// trial is a backtest on its way.
type trial struct {
	o          *BacktestOptions
	data       *source.Source
	name       string          // of the range
	from       map[int32]int64 // of a topic that is read from before its range: where that begins
	batch      *record.Batch   // as it was read
	replays    []*replay       // by model
	lanes      []*record.Batch // by model
	labels     *labeller       // nil: there are none, and
	unlabelled string          // why
	known      []float64       // labels of the batch, NaN where there is none
	times      []int64         // event times of the batch
	tally      *backtest.Tally
	tries      []backtest.Try
	windows    bool   // any of the models has some
	digest     string // of what was read
	counted    uint64 // records in the range
	warmed     int
	low, high  int64 // of files: the event times, or the numbers, between which the range lies
	byNumber   bool
}

func newTrial(ctx context.Context, o *BacktestOptions) (s *trial, err error) {
	if len(o.Models) == 0 {
		return nil, errors.New("batch: backtest of no model")
	}
	s = &trial{o: o, tries: make([]backtest.Try, len(o.Models)), low: math.MinInt64, high: math.MaxInt64}
	if s.tally, err = backtest.NewTally(len(o.Models)); err != nil {
		return nil, err
	}
	schema, err := commonSchema(o.Models)
	if err != nil {
		return nil, err
	}
	open := func(name string) (*source.Source, error) {
		return source.Open(ctx, name, source.Options{Schema: schema, MaxBytes: o.MaxBytes, Client: o.Client})
	}
	if s.data, err = open(o.Data); err != nil {
		return nil, err
	}
	s.name = s.data.Name()
	s.windows = slices.ContainsFunc(o.Models, func(m Tried) bool { return len(m.Bundle.Plan.Windows()) > 0 })
	if name, from := s.data.Before(); s.windows && from != nil {
		s.from = from
		if s.data, err = open(name); err != nil {
			return nil, err
		}
	}
	s.batch = record.NewBatch(schema, nil)
	checks := withoutFail(o.Checks)
	for _, m := range o.Models {
		r, err := replayOf(m.Bundle, s.data, replayed{data: o.Data, maxBytes: o.MaxBytes, rows: m.Rows, required: o.Required, checks: checks})
		if err != nil {
			return nil, err
		}
		s.replays, s.lanes = append(s.replays, r), append(s.lanes, r.worker.NewBatch())
	}
	return s, s.openLabels(ctx, schema)
}

// openLabels finds out where the labels are. A record that the training of any of the models would have left out has none.
func (s *trial) openLabels(ctx context.Context, schema *record.Schema) (err error) {
	o := s.o
	first := o.Models[0].Bundle
	s.labels, s.unlabelled, err = newLabeller(ctx, first, schema, s.data, labelling{data: o.Data, client: o.Client, maxBytes: o.MaxBytes, from: o.Labels})
	if err != nil || s.labels == nil {
		return err
	}
	for _, m := range o.Models[1:] {
		where, err := conditionsOf(m.Bundle, schema)
		if err != nil {
			return err
		}
		s.labels.where = append(s.labels.where, where...)
	}
	return nil
}

// commonSchema returns the fields of all models. Records are read once, and have to mean the same to all of them.
func commonSchema(models []Tried) (*record.Schema, error) {
	var fields []record.Field
	label := models[0].Bundle.Manifest.Label
	for _, m := range models {
		b := m.Bundle
		if b.Manifest.Label != label {
			return nil, fmt.Errorf("%w: they predict different things, %s and %s", ErrUnlike, label, b.Manifest.Label)
		}
		for i := range b.Schema.Len() {
			f := b.Schema.Field(i)
			k := slices.IndexFunc(fields, func(g record.Field) bool { return g.Name == f.Name })
			switch {
			case k < 0:
				f.Required = false // what lacks a field is rejected for the model that wants it
				fields = append(fields, f)
			case fields[k].Type != f.Type:
				return nil, fmt.Errorf("%w: they read the field %q as different types, %v and %v", ErrUnlike, f.Name, fields[k].Type, f.Type)
			}
		}
	}
	s, err := record.NewSchema(fields...)
	if err != nil {
		return nil, fmt.Errorf("batch: the fields of all models: %w", err)
	}
	return s, nil
}

// withoutFail returns checks of which none ends a run: it rejects the record instead.
func withoutFail(checks []pipeline.Check) []pipeline.Check {
	checks = slices.Clone(checks)
	for i := range checks {
		if checks[i].Otherwise == pipeline.Fail {
			checks[i].Otherwise = pipeline.Reject
		}
	}
	return checks
}

// limit finds out where the range of files begins and ends.
func (s *trial) limit(ctx context.Context) error {
	latest := int64(math.MinInt64)
	for _, end := range []struct {
		of *RangeEnd
		at *int64
	}{{&s.o.Range.From, &s.low}, {&s.o.Range.To, &s.high}} {
		switch e := end.of; {
		case !e.Set:
		case e.Record != nil:
			*end.at, s.byNumber = *e.Record, true
		case e.Before > 0:
			if latest == math.MinInt64 {
				var err error
				if latest, err = s.latest(ctx); err != nil {
					return err
				}
				if latest == math.MinInt64 {
					return &source.DataError{Path: s.name, Err: errors.New("no record has an event time, and the range is so long before the latest of them"), Hint: "give the range as offset:N"}
				}
			}
			*end.at = latest - e.Before.Microseconds()
		default:
			*end.at = e.At
		}
	}
	return nil
}

// latest reads the data for its latest event time that can be believed.
func (s *trial) latest(ctx context.Context) (int64, error) {
	latest := int64(math.MinInt64)
	w, b := s.replays[0].worker, s.lanes[0]
	err := s.read(ctx, func(int64) error {
		s.fill(b)
		w.Decode(b)
		for _, at := range w.Times() {
			if watch.Believed(at, s.o.Now.UnixMicro()) {
				latest = max(latest, at)
			}
		}
		return nil
	})
	return latest, err
}

// read reads the data and calls then with the number of the first record of each batch.
func (s *trial) read(ctx context.Context, then func(first int64) error) error {
	in := s.data.Read(ctx)
	defer in.Close() //nolint:errcheck // it was only read
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := in.Fill(s.batch)
		if err != nil {
			return err
		}
		if !more {
			s.digest = in.Digest()
			return nil
		}
		if err := then(in.First()); err != nil {
			return err
		}
	}
}

// fill copies the records at hand into the batch of a model.
func (s *trial) fill(b *record.Batch) {
	b.Reset()
	for i := range s.batch.Len() {
		b.Append(*s.batch.Raw(i))
		if p := s.batch.Problem(i); p != nil { // it is too large
			b.Reject(i, *p)
		}
	}
}

func (s *trial) run(ctx context.Context) error {
	return s.read(ctx, func(first int64) error {
		for i, r := range s.replays {
			s.fill(s.lanes[i])
			r.worker.Decode(s.lanes[i])
		}
		s.times = s.replays[0].worker.Times()
		in, n := s.within(first)
		if s.windows {
			s.warmed += len(in) - n
		}
		for i, r := range s.replays {
			columns, err := r.windows.Observe(s.lanes[i], r.worker.Times(), r.states)
			if err != nil {
				return err
			}
			if n > 0 {
				r.worker.Complete(s.lanes[i], pipeline.Enrichment{Rows: r.tables, Windows: columns})
			}
		}
		if n == 0 {
			return nil
		}
		return s.count(in)
	})
}

// within tells which records of the batch are in the range, and how many.
func (s *trial) within(first int64) (in []bool, n int) {
	in = make([]bool, s.batch.Len())
	for i := range in {
		switch raw := s.batch.Raw(i); {
		case s.from != nil:
			in[i] = raw.Offset >= s.from[raw.Partition]
		case s.byNumber:
			at := first + int64(i)
			in[i] = at >= s.low && at < s.high
		case s.o.Range.From.Set || s.o.Range.To.Set:
			at := s.times[i]
			in[i] = at != record.MissingTime && at >= s.low && at < s.high
		default:
			in[i] = true
		}
		if in[i] {
			n++
		}
	}
	return in, n
}

// count takes the results of a batch into the tally.
func (s *trial) count(in []bool) error {
	s.known = slices.Grow(s.known[:0], len(in))[:len(in)]
	for i := range s.known {
		s.known[i] = math.NaN()
	}
	if s.labels != nil {
		s.labels.add(s.batch, func(i int, label float64) { s.known[i] = label })
	}
	for i := range in {
		if !in[i] {
			continue
		}
		for k, r := range s.replays {
			s.tries[k] = backtest.Try{Problem: s.lanes[k].Problem(i)}
			if s.tries[k].Problem == nil {
				s.tries[k].Prediction = r.worker.Prediction(i)
			}
		}
		if err := s.tally.Add(s.period(i), s.tries, s.known[i]); err != nil {
			return err
		}
	}
	return nil
}

// period returns the number of the period of a record.
func (s *trial) period(i int) int64 {
	if every := s.o.Every.Records; every > 0 {
		s.counted++
		return int64((s.counted - 1) / every) //nolint:gosec // less than there are records
	}
	if !watch.Believed(s.times[i], s.o.Now.UnixMicro()) {
		return backtest.Untimed
	}
	return s.o.Every.Window(s.times[i])
}
