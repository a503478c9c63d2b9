package app

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/sample"
	"millrace.dev/internal/table"
	"millrace.dev/internal/trace"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// scorers score the batches of a topology: its models, and the tables in which all of them look up rows.
type scorers struct {
	pipeline *config.Pipeline
	models   models
	fallback *served     // that predicts where another server does not; nil: there is none
	sources  []rowSource // by table of the plan
	refs     []stream.GlobalRef
	columns  int // the aggregates of all windows
	now      func() time.Time
	tracer   *trace.Tracer // nil: nothing is traced
}

type scorer struct {
	worker  *pipeline.Worker
	batch   *record.Batch
	rows    finder
	windows [][]float64
	journal sample.Journal
	names   []record.Header            // of predictions: which model has made them
	checked map[string][]record.Header // the same, of predictions that break rules, by the rules' names
	asked   []int                      // the rows that another server was asked for
}

func (s *scorers) newScorer(w *pipeline.Worker) *scorer {
	return &scorer{
		worker: w, batch: w.NewBatch(), names: w.Headers(), checked: map[string][]record.Header{},
		rows: finder{sources: s.sources, found: make([]table.Rows, len(s.sources))}, windows: make([][]float64, s.columns),
	}
}

// maxChecked bounds the headers that a scorer keeps.
const maxChecked = 256

// marked returns the headers of a prediction whose record breaks rules. They must not be changed.
func (w *scorer) marked(rules string) []record.Header {
	if hs, ok := w.checked[rules]; ok {
		return hs
	}
	hs := append(slices.Clone(w.names), record.Header{Key: headerChecks, Value: []byte(rules)})
	if len(w.checked) < maxChecked {
		w.checked[rules] = hs
	}
	return hs
}

// added returns the headers that the prediction of row k gets. They must not be changed.
func (w *scorer) added(k int) []record.Header {
	marks := w.worker.Marks()
	if i, ok := slices.BinarySearchFunc(marks, k, func(m pipeline.Mark, row int) int { return m.Row - row }); ok {
		return w.marked(marks[i].Rules)
	}
	return w.names
}

// name has predictions from now on say by which model they are. The headers must not be changed.
func (w *scorer) name(names []record.Header) {
	same := func(a, b record.Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }
	if !slices.EqualFunc(w.names, names, same) {
		w.names = names
		clear(w.checked)
	}
}

func newScorers(t *stream.Topology, p *config.Pipeline, plan *feature.Plan, s *Scoring) *scorers {
	c := &scorers{pipeline: p}
	for _, w := range plan.Windows() {
		c.columns += len(w.Aggregates)
	}
	for _, of := range plan.Tables() {
		source := newRowSource(t, p, of, s)
		c.sources = append(c.sources, source)
		if source.ref != nil {
			c.refs = append(c.refs, source.ref)
		}
	}
	if s != nil {
		c.now, c.tracer, s.scorers = s.now, s.tracer, c
		c.models.add(&serving{arms: []*served{c.serve(s)}})
		if s.remote != nil && s.remote.of.fallback != nil {
			c.fallback = c.serve(s.remote.of.fallback)
			c.fallback.sampler = nil
		}
	}
	return c
}

// concurrency returns how many batches are scored at a time.
func (s *scorers) concurrency() int {
	if len(s.models.list) == 0 { // the topology is only described
		return 1
	}
	return max(1, cap(s.models.list[0].arms[0].free))
}

// take returns a worker, when there is one, with an empty batch.
func take(ctx context.Context, free chan *scorer) (*scorer, error) {
	select {
	case w := <-free:
		w.batch.Reset()
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func giveBack(w *scorer, free chan *scorer) {
	w.batch.Reset() // let go of the records
	w.rows.release()
	free <- w
}

// timestamp returns the timestamp that record i of a batch came with, if it matters: the clock's, which the source gives to a
// record without one, is not known in batch.
func timestamp[K, V any](v *served, b *stream.Batch[K, V, scored], i int) int64 {
	if v.origins {
		if origin, ok := b.Origin(i); ok {
			return origin.Timestamp
		}
	}
	return b.In[i].Timestamp
}

// score predicts a batch.
func (s *scorers) score(ctx context.Context, b *stream.Batch[[]byte, []byte, scored]) error {
	return predict(ctx, s, b, func(v *served, w *scorer, i int) {
		w.batch.Append(record.Raw{Key: b.In[i].Key, Value: b.In[i].Value, Headers: b.In[i].Headers, Timestamp: timestamp(v, b, i)})
	})
}

// scoreCarried predicts a batch of records that have been to their windows and rows.
func (s *scorers) scoreCarried(ctx context.Context, b *stream.Batch[string, carried, scored]) error {
	return predict(ctx, s, b, func(v *served, w *scorer, i int) {
		in := &b.In[i]
		w.batch.Append(record.Raw{Value: in.Value.value, Headers: in.Headers, Timestamp: timestamp(v, b, i)})
		for k := range w.windows {
			x := math.NaN()
			if k < len(in.Value.windows) {
				x = in.Value.windows[k]
			}
			w.windows[k] = append(w.windows[k], x)
		}
		w.rows.rows = append(w.rows.rows, in.Value.row)
	})
}

// predict predicts a batch with the model of its epoch, or with those of its arms. add appends a record of the batch to that of a scorer.
func predict[K, V any](ctx context.Context, s *scorers, b *stream.Batch[K, V, scored], add func(*served, *scorer, int)) (err error) {
	if s.tracer != nil {
		traced, end := traceBatch(ctx, s.tracer, b)
		ctx = traced
		defer func() { end(err) }()
	}
	v := s.models.at(b.Epoch)
	j := job[K, V]{scorers: s, batch: b, add: add}
	if v.split == nil {
		return j.run(ctx, &part{served: v.arms[0], all: len(b.In)})
	}
	d := divide(v, b)
	defer v.split.giveBack(d)
	for i := range d.parts {
		if d.parts[i].len() == 0 {
			continue
		}
		if err := j.run(ctx, &d.parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// part is what a model predicts of a batch: all of it, or an arm's part.
type part struct {
	*served

	arm    *arm // nil: there are no arms
	all    int  // how many records the batch has, without arms
	places []int
	forced []bool // by place: the record has named its arm
}

func (p *part) len() int {
	if p.arm == nil {
		return p.all
	}
	return len(p.places)
}

// place returns where record k of the part is in the batch.
func (p *part) place(k int) int {
	if p.arm == nil {
		return k
	}
	return p.places[k]
}

// job is the prediction of a batch.
type job[K, V any] struct {
	scorers *scorers
	batch   *stream.Batch[K, V, scored]
	add     func(*served, *scorer, int)
	began   bool // the batch has outputs of a part
}

// run predicts a part, and asks the control what it says of the records, where that is another arm.
func (j *job[K, V]) run(ctx context.Context, p *part) error {
	if p.remote != nil {
		return j.ask(ctx, p)
	}
	w, err := take(ctx, p.free)
	if err != nil {
		return err
	}
	defer giveBack(w, p.free)
	if p.arm == nil || p.arm.control == nil {
		j.compute(p, w, p.sampler)
		j.results(p, w, nil)
		return nil
	}
	control, err := take(ctx, p.arm.idle)
	if err != nil {
		return err
	}
	defer giveBack(control, p.arm.idle)
	// What goes second finds the records in the processor's caches, so that they take turns.
	var own, other time.Duration
	if first := p.arm.turn.Add(1)%2 == 0; first {
		own = j.time(func() { j.compute(p, w, p.sampler) })
		other = j.time(func() { j.compute(p, control, nil) })
	} else {
		other = j.time(func() { j.compute(p, control, nil) })
		own = j.time(func() { j.compute(p, w, p.sampler) })
	}
	p.arm.counts.timed(own, other, p.len())
	j.results(p, w, control)
	return nil
}

func (j *job[K, V]) time(do func()) time.Duration {
	began := j.scorers.now()
	do()
	return j.scorers.now().Sub(began)
}

// compute has a scorer predict a part.
func (j *job[K, V]) compute(p *part, w *scorer, s *sampler) {
	j.prepare(p, w, s)
	w.worker.Score(w.batch)
	w.worker.Encode(w.batch)
}

// prepare has a scorer compute the inputs of a part.
func (j *job[K, V]) prepare(p *part, w *scorer, s *sampler) {
	for k := range w.windows {
		w.windows[k] = w.windows[k][:0]
	}
	for k := range p.len() {
		j.add(p.served, w, p.place(k))
	}
	w.worker.Decode(w.batch)
	w.rows.bind(j.batch)
	w.worker.Prepare(w.batch, pipeline.Enrichment{Rows: choose(s, w, j.batch, p), Windows: w.windows})
}

// appendOwn appends the headers that a record came with, but for those that say what a prediction is: they are of another prediction, or
// made up, and one that this prediction does not have would pass for its own.
func appendOwn(headers, own []record.Header) []record.Header {
	for _, h := range own {
		switch h.Key {
		case headerModel, headerDigest, headerChecks, headerExperiment, headerArm, headerBaseline, headerForced, headerRefused, headerRemote, headerFallback, engine.HeaderSource, engine.HeaderSourceTimestamp:
		default:
			headers = append(headers, h)
		}
	}
	return headers
}

var errNoOutput = &stream.Rejection{
	Stage: record.StageEncode, Class: "no_output", Reason: "the data path gave no result for this record",
}

// results gives the records of a part what a worker has made of them; control is what the control has made of them, nil where it was not asked.
func (j *job[K, V]) results(p *part, w, control *scorer) {
	b := j.batch
	samples := p.sampler.samples(w)
	counted := p.watcher.count(w.worker, w.batch, j.scorers.now())
	h := headers{part: p, control: control}
	for k := range p.len() {
		i := p.place(k)
		if problem := w.batch.Problem(k); problem != nil {
			if control != nil && control.batch.Problem(k) == nil && control.worker.Output(k) != nil { // no record is lost to a trial, nor ends it the run
				j.instead(p, &h, control, k, problem.Class)
				continue
			}
			failure := w.worker.FailureAt(k)
			if failure == nil && control != nil {
				failure = control.worker.FailureAt(k)
			}
			if failure != nil {
				if origin, ok := b.Origin(i); ok {
					failure.Where = fmt.Sprintf("%s/%d/%d", origin.Topic, origin.Partition, origin.Offset)
				}
				b.Out[i].Err = &stream.Stop{Err: failure} // what follows is not looked at
				continue
			}
			r := stream.Rejection(*problem) // the batch is used again
			b.Out[i].Err = &r
			continue
		}
		out := w.worker.Output(k)
		if out == nil {
			b.Out[i].Err = errNoOutput
			continue
		}
		added := w.added(k)
		if j.began { // the batch has the memory of another worker already
			out = j.keep(out)
		}
		b.Out[i].Value.prediction, b.Out[i].Value.number, b.Out[i].Headers = out, w.worker.Prediction(k), h.of(k, b.In[i].Headers, added)
		b.Out[i].Value.counted, counted = counted, nil
		if samples != nil {
			b.Out[i].Value.sample = samples[k]
		}
	}
	if p.arm != nil {
		p.arm.counts.scored(p.len(), w.batch.Rejected())
	}
	if !j.began {
		b.Memory, j.began = w.worker.Exchange(b.Memory), true
	}
}

// instead gives record k of a part what the control has made of it, since the arm's model refuses it, for a reason of class.
func (j *job[K, V]) instead(p *part, h *headers, control *scorer, k int, class string) {
	i := p.place(k)
	out := &j.batch.Out[i]
	out.Value.prediction = bytes.Clone(control.worker.Output(k))
	out.Headers = h.of(k, j.batch.In[i].Headers, append(slices.Clone(control.added(k)), record.Header{Key: headerRefused, Value: []byte(class)}))
}

// keep returns a copy of an output that lasts as long as the batch.
func (j *job[K, V]) keep(out []byte) []byte {
	n := len(j.batch.Memory)
	j.batch.Memory = append(j.batch.Memory, out...)
	return j.batch.Memory[n:len(j.batch.Memory):len(j.batch.Memory)]
}
