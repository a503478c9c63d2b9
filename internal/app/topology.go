package app

import (
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
	"millrace.dev/model"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// Scoring is what a topology needs to be run: without one it can be described.
type Scoring struct {
	Bundle  *model.Bundle
	Model   string // as a sample calls it
	Digest  string // of the bundle
	Options pipeline.Options
	Workers []*pipeline.Worker    // each scores one batch at a time
	Static  map[string]table.Rows // the tables that come from files

	totals  *pipeline.WindowTotals
	tables  *watchedTables
	watcher *watcher // nil: windows are not checked
	now     func() time.Time
	letters []record.Header
	scorers *scorers // of the topology that was declared with it
	span    *span    // of the records whose predictions are written; nil is all
}

// Expect says that m, a model of the same pipeline file, may come next, and that other instances may use it before this one does; nil is
// that none comes. It is safe for concurrent use.
func (s *Scoring) Expect(m *Scoring) {
	s.share(m)
	s.scorers.models.expect(m)
}

// Serve has the tasks of the topology that was declared with s score with m from an epoch on: a model of the same pipeline
// file. It is safe for concurrent use.
func (s *Scoring) Serve(epoch int64, m *Scoring) {
	s.share(m)
	s.scorers.models.add(s.scorers.serve(epoch, m))
}

// share has m count the windows that were judged with those of s.
func (s *Scoring) share(m *Scoring) {
	if m != nil && m.watcher != nil && s.watcher != nil {
		m.watcher.checked = s.watcher.checked
	}
}

// letterHeaders returns the headers of dead letters that tell what was in use in an epoch.
func (s *Scoring) letterHeaders(epoch int64) []record.Header {
	return s.scorers.models.at(epoch).letters
}

// Topology declares what `run` does: bring windows up to date, score the records of the source in batches, several at a
// time, and write the predictions to the sink, and to the dead letters what cannot be predicted. plan says which windows
// and tables are needed.
//
// The rows of a global table are looked up as a batch is scored. To a window, and to the rows of a partitioned table,
// records go first, through a repartition topic where their key does not bring them there already. Where records are
// sampled, what was known of each goes to the topic of the samples, in the transaction of its prediction.
func Topology(p *config.Pipeline, plan *feature.Plan, s *Scoring) *stream.Topology {
	t := stream.New(application(p, plan), stream.DeadLetters(p.DeadLetter.Topic))
	// A record without a time, or with one too far ahead, is predicted like any other: it is read as if it had the clock's time,
	// which is not its event time.
	source := []stream.SourceOption{stream.UseClock()}
	if p.Source.Start == "latest" {
		source = append(source, stream.StartLatest())
	}
	c := newScorers(t, p, plan, s)
	o := stream.BatchOptions{
		MaxSize: pipeline.BatchRows, Concurrency: c.concurrency(), OnError: stream.OnError(stream.DeadLetter), Globals: c.refs,
	}
	if !carries(p, plan) {
		records := stream.From(t, p.Source.Topic, stream.Bytes(), stream.Bytes(), source...)
		out := within(s, stream.MapBatch(records, "score", c.score, o))
		writeOutputs(p, out)
		watchWindows(p, s, out)
		return t
	}
	records := stream.From(t, p.Source.Topic, stream.String(), stream.Nullable(stream.Bytes()), source...)
	out := within(s, stream.MapBatch(prepare(t, p, plan, s, records), "score", c.scoreCarried, o))
	writeOutputs(p, out)
	watchWindows(p, s, out)
	return t
}

// carries tells whether records go by state before they are scored, and carry what they found there.
func carries(p *config.Pipeline, plan *feature.Plan) bool {
	return len(plan.Windows()) > 0 || partitioned(p, plan) >= 0
}

// stateful tells whether the topology has state.
func stateful(p *config.Pipeline, plan *feature.Plan) bool {
	return carries(p, plan) || p.Checks.Window != nil
}

// partitioned returns which table of the plan is partitioned, or -1.
func partitioned(p *config.Pipeline, plan *feature.Plan) int {
	t := p.Partitioned()
	return slices.IndexFunc(plan.Tables(), func(of feature.Table) bool { return t != nil && of.Name == t.Name })
}

// application returns the name of the application. Where it is part of the names of topics it is that of the group:
// two groups that run one pipeline have nothing in common.
func application(p *config.Pipeline, plan *feature.Plan) string {
	if stateful(p, plan) {
		return p.Group
	}
	return p.Name
}

// prepare takes records by the windows and by the table that is partitioned. They come out with the keys, the headers and
// the times that they came with.
func prepare(t *stream.Topology, p *config.Pipeline, plan *feature.Plan, s *Scoring, records stream.Stream[string, *[]byte]) stream.Stream[string, carried] {
	r := &route{p: p, plan: plan, scoring: s}
	r.records = stream.MapValues(records, func(v *[]byte) carried {
		if v == nil {
			return carried{}
		}
		return carried{value: *v}
	})
	infos := plan.Windows()
	for from := 0; from < len(infos); {
		to := from + 1
		for to < len(infos) && infos[to].KeySource == infos[from].KeySource {
			to++
		}
		r.windows(infos, from, to)
		from = to
	}
	if i := partitioned(p, plan); i >= 0 {
		r.table(t, i)
	}
	if r.moved {
		r.records = stream.Process(r.records, "origin", func() stream.Processor[string, carried, string, carried] { return &originKey{} })
	}
	return r.records
}

// route is the way of records to the model, as far as it is declared.
type route struct {
	p       *config.Pipeline
	plan    *feature.Plan
	scoring *Scoring
	records stream.Stream[string, carried]
	moved   bool // the records do not have their own keys
}

// observer returns an observer for a task.
func (r *route) observer() (*pipeline.Observer, error) {
	o, err := pipeline.NewObserver(r.scoring.Bundle, r.scoring.Options)
	if err == nil {
		o.Windows.CountInto(r.scoring.totals)
	}
	return o, err
}

// move takes the records to a topic of the pipeline's own, by another key.
func (r *route) move(name string, key func(*pipeline.Observer) (string, bool), watch func(*pipeline.Observer) error, eventTime bool) {
	keyed := stream.Process(r.records, name+"-key", func() stream.Processor[string, carried, string, carried] {
		return &rekey{route: r, key: key, watch: watch, eventTime: eventTime}
	})
	r.records = keyed.Values(carriedCodec{}).Repartition(name, stream.CarryOrigin(), stream.KeepNullKeys())
	r.moved = true
}

// rekey gives records another key.
type rekey struct {
	route     *route
	key       func(*pipeline.Observer) (string, bool)
	watch     func(*pipeline.Observer) error
	eventTime bool // the records are read in the order of their event times
	ctx       *stream.ProcessorContext[string, carried]
	observer  *pipeline.Observer
	out       stream.Record[string, carried]
}

// Init makes the reader of keys.
func (k *rekey) Init(ctx *stream.ProcessorContext[string, carried]) (err error) {
	k.ctx = ctx
	if k.observer, err = k.route.observer(); err != nil || k.watch == nil {
		return err
	}
	return k.watch(k.observer)
}

// Process sends a record on with its key. One that has none is predicted with nothing found for it, or refused, where the
// others are.
func (k *rekey) Process(r *stream.Record[string, carried]) error {
	k.out = stream.Record[string, carried]{Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, NullKey: true}
	if origin, ok := k.ctx.Origin(); ok {
		k.observer.Take(originRecord(origin, r.Value.value))
		if key, ok := k.key(k.observer); ok {
			k.out.Key, k.out.NullKey = key, false
		}
		k.out.Value.at = k.observer.EventTime()
		// An event time that the clock does not believe must not hold up others, nor have the record dropped.
		if at := k.out.Value.at; k.eventTime && at >= 0 && at <= k.ctx.Now().UnixMicro() {
			k.out.Timestamp = at / 1000
		}
	}
	return k.ctx.Forward(&k.out)
}

// originRecord is the record that came, as the path takes it.
func originRecord(origin record.Raw, value []byte) record.Raw {
	return record.Raw{Key: origin.Key, Value: value, Headers: origin.Headers, Timestamp: origin.Timestamp}
}

// originKey gives records back the key and the time that they came with.
type originKey struct {
	ctx *stream.ProcessorContext[string, carried]
	out stream.Record[string, carried]
}

// Init notes the context.
func (o *originKey) Init(ctx *stream.ProcessorContext[string, carried]) error {
	o.ctx = ctx
	return nil
}

// Process sends the record on with its own key.
func (o *originKey) Process(r *stream.Record[string, carried]) error {
	o.out = stream.Record[string, carried]{Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, NullKey: true}
	if origin, ok := o.ctx.Origin(); ok {
		if o.out.Timestamp = origin.Timestamp; origin.Key != nil {
			o.out.Key, o.out.NullKey = string(origin.Key), false
		}
	}
	return o.ctx.Forward(&o.out)
}

// scorers score the batches of a topology: its models, and the tables in which all of them look up rows.
type scorers struct {
	pipeline *config.Pipeline
	models   models
	sources  []rowSource // by table of the plan
	refs     []stream.GlobalRef
	columns  int // the aggregates of all windows
	now      func() time.Time
}

type scorer struct {
	worker  *pipeline.Worker
	batch   *record.Batch
	rows    finder
	windows [][]float64
	journal sample.Journal
	checked map[string][]record.Header // the headers of predictions that break rules, by the rules' names
}

func newScorer(w *pipeline.Worker) *scorer {
	return &scorer{worker: w, batch: w.NewBatch(), checked: map[string][]record.Header{}}
}

// maxChecked bounds the headers that a scorer keeps.
const maxChecked = 256

// marked returns the headers of a prediction whose record breaks rules. They must not be changed.
func (w *scorer) marked(rules string) []record.Header {
	if hs, ok := w.checked[rules]; ok {
		return hs
	}
	hs := append(slices.Clone(w.worker.Headers()), record.Header{Key: headerChecks, Value: []byte(rules)})
	if len(w.checked) < maxChecked {
		w.checked[rules] = hs
	}
	return hs
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
		c.now, s.scorers = s.now, c
		c.models.add(c.serve(0, s))
	}
	return c
}

// concurrency returns how many batches are scored at a time.
func (s *scorers) concurrency() int {
	if len(s.models.list) == 0 { // the topology is only described
		return 1
	}
	return max(1, cap(s.models.list[0].free))
}

// take returns a worker, when there is one, with an empty batch.
func (v *served) take(ctx context.Context) (*scorer, error) {
	select {
	case w := <-v.free:
		w.batch.Reset()
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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

func (v *served) giveBack(w *scorer) {
	w.batch.Reset() // let go of the records
	w.rows.release()
	v.free <- w
}

// score predicts a batch.
func (s *scorers) score(ctx context.Context, b *stream.Batch[[]byte, []byte, scored]) error {
	v := s.models.at(b.Epoch)
	w, err := v.take(ctx)
	if err != nil {
		return err
	}
	defer v.giveBack(w)
	for i := range b.In {
		w.batch.Append(record.Raw{Key: b.In[i].Key, Value: b.In[i].Value, Headers: b.In[i].Headers, Timestamp: timestamp(v, b, i)})
	}
	w.worker.Decode(w.batch)
	w.rows.bind(b)
	w.worker.Complete(w.batch, pipeline.Enrichment{Rows: choose(v.sampler, w, b)})
	results(s, v, w, b)
	return nil
}

// scoreCarried predicts a batch of records that have been to their windows and rows.
func (s *scorers) scoreCarried(ctx context.Context, b *stream.Batch[string, carried, scored]) error {
	v := s.models.at(b.Epoch)
	w, err := v.take(ctx)
	if err != nil {
		return err
	}
	defer v.giveBack(w)
	for k := range w.windows {
		w.windows[k] = w.windows[k][:0]
	}
	for i := range b.In {
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
	}
	w.worker.Decode(w.batch)
	w.rows.bind(b)
	w.worker.Complete(w.batch, pipeline.Enrichment{Rows: choose(v.sampler, w, b), Windows: w.windows})
	results(s, v, w, b)
	return nil
}

// appendOwn appends the headers that a record came with, but for those that say what a prediction is: they are of another prediction, or
// made up, and one that this prediction does not have would pass for its own.
func appendOwn(headers, own []record.Header) []record.Header {
	for _, h := range own {
		switch h.Key {
		case headerModel, headerDigest, headerChecks, engine.HeaderSource, engine.HeaderSourceTimestamp:
		default:
			headers = append(headers, h)
		}
	}
	return headers
}

var errNoOutput = &stream.Rejection{
	Stage: record.StageEncode, Class: "no_output", Reason: "the data path gave no result for this record",
}

// results gives a batch what a worker has made of it.
func results[K, V any](s *scorers, v *served, w *scorer, b *stream.Batch[K, V, scored]) {
	model, marks := w.worker.Headers(), w.worker.Marks()
	last, failure := w.worker.Failure()
	samples := v.sampler.samples(w)
	counted := v.watcher.count(w.worker, w.batch, s.now())
	var headers []record.Header
	for i := range b.In {
		if i == last {
			if origin, ok := b.Origin(i); ok {
				failure.Where = fmt.Sprintf("%s/%d/%d", origin.Topic, origin.Partition, origin.Offset)
			}
			b.Out[i].Err = &stream.Stop{Err: failure} // what follows is not looked at
			continue
		}
		if p := w.batch.Problem(i); p != nil {
			r := stream.Rejection(*p) // the batch is used again
			b.Out[i].Err = &r
			continue
		}
		out := w.worker.Output(i)
		if out == nil {
			b.Out[i].Err = errNoOutput
			continue
		}
		added := model
		for len(marks) > 0 && marks[0].Row <= i {
			if marks[0].Row == i {
				added = w.marked(marks[0].Rules)
			}
			marks = marks[1:]
		}
		b.Out[i].Value.prediction, b.Out[i].Headers = out, added
		b.Out[i].Value.counted, counted = counted, nil
		if samples != nil {
			b.Out[i].Value.sample = samples[i]
		}
		if own := b.In[i].Headers; len(own) > 0 {
			at := len(headers)
			headers = append(appendOwn(headers, own), added...)
			b.Out[i].Headers = headers[at:len(headers):len(headers)]
		}
	}
	b.Memory = w.worker.Exchange(b.Memory)
}
