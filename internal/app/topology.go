package app

import (
	"slices"
	"sync"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/rollout"
	"millrace.dev/internal/table"
	"millrace.dev/internal/trace"
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
	path    *pipeline.Path
	scorers *scorers     // of the topology that was declared with it
	span    *span        // of the records whose predictions are written; nil is all
	remote  *remoteModel // that predicts; nil: the model in the bundle does
	tracer  *trace.Tracer

	hired struct {
		sync.Mutex
		workers []*pipeline.Worker // beside Workers: one for each batch that waits for an answer
	}
}

// staff returns all workers.
func (s *Scoring) staff() []*pipeline.Worker {
	s.hired.Lock()
	defer s.hired.Unlock()
	return slices.Concat(s.Workers, s.hired.workers)
}

// hire returns one more worker.
func (s *Scoring) hire() (*pipeline.Worker, error) {
	w, err := s.path.NewWorker()
	if err != nil {
		return nil, err
	}
	s.hired.Lock()
	defer s.hired.Unlock()
	s.hired.workers = append(s.hired.workers, w)
	return w, nil
}

// Expect says that models, all of the same pipeline file, may come next, and that other instances may use them before this one does. It is
// safe for concurrent use.
func (s *Scoring) Expect(models ...*Scoring) {
	s.share(models)
	s.scorers.models.expect(models)
}

// Serve has the tasks of the topology that was declared with s score with other models from an epoch on: one, or one for each arm of a
// split, all of the same pipeline file. It is safe for concurrent use.
func (s *Scoring) Serve(epoch int64, split *rollout.Split, models ...*Scoring) error {
	s.share(models)
	v, err := s.scorers.serving(epoch, split, models)
	if err == nil {
		s.scorers.models.add(v)
	}
	return err
}

// share has models count the windows that were judged with those of s.
func (s *Scoring) share(models []*Scoring) {
	for _, m := range models {
		if m.watcher != nil && s.watcher != nil {
			m.watcher.checked = s.watcher.checked
		}
	}
}

// letterHeaders returns the headers of the dead letter of a record that tell what was in use in an epoch.
func (s *Scoring) letterHeaders(epoch int64, r *record.Raw) []record.Header {
	v := s.scorers.models.at(epoch)
	if v.split == nil || r.Topic != s.scorers.pipeline.Source.Topic {
		return v.arms[0].letters
	}
	return v.split.letter(r, func(i int) []record.Header { return slices.Concat(v.arms[i].letters, v.arm[i].headers) })
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
	if serve := p.Model.Serve; serve != nil {
		o.Async, o.MaxSize, o.MaxBytes, o.Concurrency = true, serve.Batch, maxRemoteBytes, serve.Concurrency
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

// maxRemoteBytes is how large the records of a call are, beside the last one of them.
const maxRemoteBytes = 1 << 20

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
