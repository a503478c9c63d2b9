package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// ProfileOptions say what to make a profile of.
type ProfileOptions struct {
	Data     *source.Source
	Schema   *record.Schema
	Label    string // the field that has the role of the label; "" is none
	Key      string // the field whose values should all differ; "" is none
	MaxBytes int    // of a record. Default: 1 MiB
	Threads  int    // 0 is one for each processor

	// Exact has the data read a second time where its bins were found in a sample, and every row counted into them.
	Exact bool
	// Reference is a profile into whose bins the rows are counted too. Default: none
	Reference *profile.Profile
	// Bundle has features and predictions computed as its model has them, with Rows of tables by name; Schema then has the fields
	// of the bundle's. Default: none
	Bundle   *model.Bundle
	Rows     map[string]table.Rows
	Required []pipeline.Table
}

// Profiled is what came of [MakeProfile].
type Profiled struct {
	Profile *profile.Profile
	Counted *profile.Profile // the rows in the bins of the reference; nil without one
	Sampled bool             // the counts in the bins of Profile are those of a sample, scaled to all rows
	Read    uint64
	// Rejected counts the records that cannot be decoded, or lack the row of a required table, by class and field.
	Rejected map[Rejection]uint64
	Digest   string
	Keys     *Keys // nil without a key
	// Outside counts by column values that are outside of bounds.
	Outside []Outside
}

// Rejection is a kind of fault of records.
type Rejection struct {
	Class, Field string
}

// Outside counts what is outside of the bounds of a column: those of the reference, or, for times, those of what is plausible.
type Outside struct {
	Column       string
	Plausible    bool // the bounds are not those of the reference
	Low, High    float64
	Below, Above uint64
}

// The times that are taken for plausible: from 1900 until before 2100, in seconds since 1970-01-01 00:00:00 UTC.
const (
	EarliestTime = -2_208_988_800
	LatestTime   = 4_102_444_800
)

// MakeProfile reads data once, or twice where that is asked for and needed, and describes it. Records that cannot be decoded are
// counted, and take no part; if none is left, the error is a [source.DataError]. The memory that it takes depends on the columns
// and the size of records, not on their number. The outcome depends on the data alone, not on the threads.
func MakeProfile(ctx context.Context, o ProfileOptions) (*Profiled, error) {
	p, err := newProfiler(&o)
	if err != nil {
		return nil, err
	}
	digest, err := p.pass(ctx, (*profileLane).survey)
	if err != nil {
		return nil, err
	}
	out := p.gather()
	out.Digest = digest
	if out.Profile.Rows == 0 {
		return out, p.nothing(out)
	}
	if !out.Sampled || !o.Exact {
		return out, nil
	}
	if err := p.count(out.Profile); err != nil {
		return nil, err
	}
	again, err := p.pass(ctx, func(l *profileLane) { l.counter.Add(&l.rows) })
	if err != nil {
		return nil, err
	}
	if again != digest {
		return nil, p.changed()
	}
	for _, l := range p.lanes[1:] {
		p.lanes[0].counter.Merge(l.counter)
	}
	p.lanes[0].counter.Fill()
	out.Sampled = false
	return out, nil
}

// profiler makes one profile.
type profiler struct {
	ProfileOptions

	layout  profile.Layout
	lanes   []*profileLane
	keys    *keys
	windows *pipeline.Windows // nil: the model has none
	states  *pipeline.MemoryStates
	times   pipeline.EventTimes
	tables  lookup
	bounds  []Outside
}

// profileLane is what one goroutine has.
type profileLane struct {
	of        *profiler
	decoder   codec.Decoder
	evaluator *feature.Evaluator // nil without a bundle
	finder    *pipeline.Finder
	times     []int64
	scores    []float64
	rows      profile.Rows
	first     uint64
	read      uint64
	rejected  map[Rejection]uint64
	surveyed  *profile.Survey
	counter   *profile.Counter // into the reference, and in a second pass into the profile itself; or nil
	keys      *keyWorker
	outside   []Outside
}

func newProfiler(o *ProfileOptions) (*profiler, error) {
	p := &profiler{ProfileOptions: *o}
	var inputs []record.Column
	threads := o.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	if b := o.Bundle; b != nil {
		inputs = b.Plan.Inputs()
		windows, err := pipeline.NewWindows(b.Plan)
		if err != nil {
			return nil, err
		}
		if n, _ := windows.Len(); n > 0 {
			p.windows, threads = windows, 1 // which see records in their order
		}
		p.times = pipeline.NewEventTimes(b.Schema, b.Manifest.EventTime)
		if p.tables, err = newLookup(b.Plan, o.Rows); err != nil {
			return nil, err
		}
	}
	p.layout = profile.NewLayout(o.Schema, inputs, o.Label)
	if o.Key != "" {
		field, _ := o.Schema.Index(o.Key)
		p.keys = &keys{field: field}
	}
	p.bounds = p.findBounds()
	for range threads {
		l, err := p.newLane()
		if err != nil {
			return nil, err
		}
		p.lanes = append(p.lanes, l)
	}
	return p, nil
}

// findBounds returns the bounds that the columns of the schema have.
func (p *profiler) findBounds() []Outside {
	var out []Outside
	for i := range p.Schema.Len() {
		f := p.Schema.Field(i)
		if f.Type != record.Numeric && f.Type != record.Time {
			continue
		}
		if p.Reference != nil {
			if c, ok := p.Reference.Column(f.Name); ok && c.Min <= c.Max {
				out = append(out, Outside{Column: f.Name, Low: c.Min, High: c.Max})
			}
		}
		if f.Type == record.Time {
			out = append(out, Outside{Column: f.Name, Plausible: true, Low: EarliestTime, High: LatestTime})
		}
	}
	return out
}

func (p *profiler) newLane() (*profileLane, error) {
	d, err := pipeline.NewDecoder(p.Schema, pipeline.Options{Format: p.Data.Format(), Header: p.Data.Columns(), MaxBytes: p.MaxBytes})
	if err != nil {
		return nil, &source.DataError{Path: p.Data.Name(), Err: err}
	}
	l := &profileLane{of: p, decoder: d, rejected: map[Rejection]uint64{}, surveyed: profile.NewSurvey(p.layout), outside: slices.Clone(p.bounds)}
	if p.Bundle != nil {
		l.evaluator, l.finder = p.Bundle.Plan.NewEvaluator(), pipeline.NewFinder(p.Bundle.Plan, p.Required)
	}
	if p.keys != nil {
		l.keys = &keyWorker{all: p.keys}
	}
	if p.Reference != nil {
		l.counter, err = profile.NewCounter(p.Reference, p.layout)
	}
	return l, err
}

// count has the lanes count into a profile.
func (p *profiler) count(into *profile.Profile) error {
	for _, l := range p.lanes {
		c, err := profile.NewCounter(into, p.layout)
		if err != nil {
			return err
		}
		l.counter = c
	}
	return nil
}

// profileBatch is a batch on its way from the reader to a lane.
type profileBatch struct {
	*record.Batch

	first uint64
}

// pass reads the data once and has see look at each batch, side by side. It returns the digest of the data.
func (p *profiler) pass(ctx context.Context, see func(*profileLane)) (digest string, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var levels map[string][]string
	if p.Bundle != nil {
		levels = p.Bundle.Plan.Levels()
	}
	free, full := make(chan *profileBatch, lanesPerThread*len(p.lanes)), make(chan *profileBatch, lanesPerThread*len(p.lanes))
	for range cap(free) {
		free <- &profileBatch{Batch: record.NewBatch(p.Schema, levels)}
	}
	if p.windows != nil {
		p.states = pipeline.NewMemoryStates(p.windows)
	}
	var wg sync.WaitGroup
	faults := make([]error, len(p.lanes))
	for i, l := range p.lanes {
		wg.Go(func() {
			for b := range full {
				if faults[i] == nil {
					faults[i] = l.take(b, see)
				}
				if faults[i] != nil {
					stop()
				}
				free <- b
			}
		})
	}
	digest, err = p.read(ctx, free, full)
	wg.Wait()
	if fault := errors.Join(faults...); fault != nil {
		return "", fault
	}
	return digest, err
}

// read fills batches until there is nothing more.
func (p *profiler) read(ctx context.Context, free <-chan *profileBatch, full chan<- *profileBatch) (string, error) {
	defer close(full)
	r := p.Data.Read(ctx)
	defer r.Close() //nolint:errcheck // it was only read
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		b := <-free
		more, err := r.Fill(b.Batch)
		if err != nil {
			return "", err
		}
		if !more {
			return r.Digest(), nil
		}
		b.first = uint64(r.First())
		full <- b
	}
}

// take decodes a batch, computes what a model has of it, and looks at it.
func (l *profileLane) take(b *profileBatch, see func(*profileLane)) error {
	l.decoder.Decode(b.Batch)
	l.first, l.rows = b.first, profile.Rows{Batch: b.Batch}
	if l.evaluator != nil {
		l.times = l.of.times.Append(l.times[:0], b.Batch)
		var windows [][]float64
		if l.of.windows != nil {
			var err error
			if windows, err = l.of.windows.Observe(b.Batch, l.times, l.of.states); err != nil {
				return err
			}
		}
		l.rows.Frame = l.evaluator.Eval(b.Batch, feature.Enrichment{Rows: l.finder.Bind(b.Batch, l.times, l.of.tables), Windows: windows})
		l.finder.Bind(nil, nil, nil)
		l.scores = slices.Grow(l.scores[:0], b.Len())[:b.Len()]
		l.of.Bundle.Forest.Score(l.rows.Frame, l.scores)
		l.rows.Predictions = l.scores
	}
	see(l)
	return nil
}

// survey is the first look.
func (l *profileLane) survey() {
	b := l.rows.Batch
	l.read += uint64(b.Len())
	if b.Rejected() > 0 {
		for i := range b.Len() {
			if p := b.Problem(i); p != nil {
				l.rejected[Rejection{p.Class, p.Field}]++
			}
		}
	}
	l.surveyed.Add(l.first, &l.rows)
	if l.counter != nil {
		l.counter.Add(&l.rows)
	}
	if l.keys != nil {
		l.keys.add(b)
	}
	for i := range l.outside {
		l.outside[i].add(b)
	}
}

// add counts the values of a batch. Rows that the decoder has rejected have none.
func (o *Outside) add(b *record.Batch) {
	f, _ := b.Schema().Index(o.Column)
	if b.Schema().Field(f).Type == record.Numeric {
		for _, x := range b.Numbers(f) {
			if x < o.Low {
				o.Below++
			} else if x > o.High {
				o.Above++
			}
		}
		return
	}
	low, high := int64(math.Round(o.Low*1e6)), int64(math.Round(o.High*1e6))
	for _, t := range b.Times(f) {
		switch {
		case t == record.MissingTime:
		case t < low:
			o.Below++
		case t >= high && o.Plausible || t > high:
			o.Above++
		}
	}
}

// gather brings together what the lanes have found.
func (p *profiler) gather() *Profiled {
	out := &Profiled{Rejected: map[Rejection]uint64{}, Outside: p.bounds}
	survey := p.lanes[0].surveyed
	var workers []*keyWorker
	for i, l := range p.lanes {
		out.Read += l.read
		for r, n := range l.rejected {
			out.Rejected[r] += n
		}
		for k := range l.outside {
			out.Outside[k].Below += l.outside[k].Below
			out.Outside[k].Above += l.outside[k].Above
		}
		workers = append(workers, l.keys)
		if i > 0 {
			survey.Merge(l.surveyed)
			if l.counter != nil {
				p.lanes[0].counter.Merge(l.counter)
			}
		}
	}
	out.Profile, out.Sampled = survey.Profile(), !survey.Exact()
	if c := p.lanes[0].counter; c != nil {
		out.Counted = c.Profile()
	}
	if p.keys != nil {
		out.Keys = p.keys.counted(p.Key, workers)
	}
	return out
}

func (p *profiler) changed() error {
	return &source.DataError{Path: p.Data.Name(), Err: source.ErrChanged, Hint: "make the profile again when nothing writes to it, and nothing is deleted from it"}
}

// nothing says why there are no rows.
func (p *profiler) nothing(out *Profiled) error {
	e := &source.DataError{Path: p.Data.Name()}
	if out.Read == 0 {
		e.Err = errors.New("it has no records")
		return e
	}
	var parts []string
	for _, r := range out.Rejections() {
		parts = append(parts, fmt.Sprintf("%d: %s", r.Rows, problemReason(&record.Problem{Class: r.Class, Field: r.Field})))
	}
	if len(parts) > 5 {
		parts = append(parts[:5], fmt.Sprintf("and %d more reasons", len(parts)-5))
	}
	e.Err = fmt.Errorf("none of its %d records can be decoded (%s)", out.Read, strings.Join(parts, "; "))
	e.Hint = "see whether the name of the file says what is in it, and whether the schema is meant so"
	return e
}

// Rejected is how many records were rejected for a reason.
type Rejected struct {
	Class string `json:"class"`
	Field string `json:"field,omitempty"`
	Rows  uint64 `json:"rows"`
}

// Rejections returns the counts of the records that were rejected, most first.
func (p *Profiled) Rejections() []Rejected {
	out := []Rejected{}
	for r, n := range p.Rejected {
		out = append(out, Rejected{r.Class, r.Field, n})
	}
	slices.SortFunc(out, func(a, b Rejected) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), strings.Compare(a.Class, b.Class), strings.Compare(a.Field, b.Field))
	})
	return out
}
