package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/internal/table"
	"millrace.dev/internal/task"
	"millrace.dev/internal/trace"
	"millrace.dev/model"
	"millrace.dev/record"
)

// The headers of a prediction that name the model, and hold the digest of its bundle.
const (
	headerModel  = "millrace.model"
	headerDigest = "millrace.digest"
)

// RunOptions say what to run.
type RunOptions struct {
	File         string   // the pipeline file
	Set          []string // overrides of it
	Model        string   // NAME@VERSION, NAME@ALIAS or @ALIAS, whatever is promoted; "" is what was promoted, and follows that
	InstanceID   string   // of this instance, for good; "" is a random one
	Threads      int      // 0 is one for each processor
	CreateTopics bool     // make the topics that are not there
	StateDir     string   // the folder of the state, of a pipeline that has some; "" is that of the file
	HTTP         string   // the address for health and metrics; "" is none
	Started      func(*Running)
	shadow       *shadowing // nil: production
	// Turned is told what was done with a model when another one takes its turn, in a rolling update: Started follows.
	Turned func(*Ran)
}

// Running is a pipeline at work.
type Running struct {
	Model  string // name@version, at the start
	Digest string
	// Queries is the URL at which queries are answered, "" where they are not.
	Queries string

	engine     *engine.Engine
	program    *task.Program
	scoring    *Scoring
	deployment *deployment // nil where the model stays as it is
	remotes    *remotes    // nil where models predict in this process
	source     string      // the topic
	sink       string      // the topic
	samples    string      // the topic, "" where none are taken
}

// Present returns the model that records are predicted with now, name@version, and its digest. It is safe for concurrent use.
func (r *Running) Present() (ref, digest string) {
	if r.deployment == nil {
		return r.Model, r.Digest
	}
	_, running, _ := r.deployment.wanted()
	return running.Model, running.Digest
}

// models returns the models that records are predicted with now, one or those of the arms, each once.
func (r *Running) models() (all []rollout.Deployment) {
	ref, digest := r.Present()
	all = []rollout.Deployment{{Model: ref, Digest: digest}}
	if r.deployment == nil {
		return all
	}
	_, running, _ := r.deployment.wanted()
	if running.Split == nil {
		return all
	}
	for _, a := range running.Split.Arms {
		if !slices.ContainsFunc(all, func(d rollout.Deployment) bool { return d.Digest == a.Digest }) {
			all = append(all, rollout.Deployment{Model: a.Model, Digest: a.Digest})
		}
	}
	return all
}

// Stats returns what the pipeline has done so far. It is safe for concurrent use.
func (r *Running) Stats() *Ran { return r.stats(r.engine.Stats()) }

// Run applies an approved model to a topic until ctx ends, and returns what was done, in a rolling update with the last model; nil
// if it did not begin.
func (a *App) Run(ctx context.Context, o RunOptions) (*Ran, error) {
	for {
		ran, err := a.runOnce(ctx, o)
		if !errors.Is(err, errTurn) {
			return ran, err
		}
		if o.Turned != nil {
			o.Turned(ran)
		}
	}
}

// runOnce is Run until another model takes its turn; the error is then errTurn.
func (a *App) runOnce(ctx context.Context, o RunOptions) (*Ran, error) {
	p, m, err := a.toRun(ctx, &o)
	if err != nil {
		return nil, err
	}
	cluster, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	cluster.ClientID = o.shadow.clientID()
	client, err := kafka.New(cluster)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	static, err := a.staticRows(ctx, p, m.Bundle.Plan, client)
	if err != nil {
		return nil, err
	}
	if _, err := compileChecks("run", p, m); err != nil {
		return nil, err
	}
	tracer, sent := a.tracer(ctx)
	defer sent()
	so := ScoringOptions{Threads: o.Threads, Static: static, Tracer: tracer, Now: a.Now}
	others, err := a.newRemotes(ctx, p, so)
	if err != nil {
		return nil, err
	}
	defer others.close(nil)
	scoring, err := NewScoring(p, m, so)
	if err != nil {
		return nil, err
	}
	if err := scoring.connect(ctx, m, others); err != nil {
		return nil, err
	}
	scoring.span = o.shadow.span()
	program, err := Topology(p, m.Bundle.Plan, scoring).Program()
	if err != nil {
		return nil, err
	}
	state := ""
	if stateful(p, m.Bundle.Plan) {
		state = cmp.Or(o.StateDir, p.State.Dir)
	}
	outer := ctx
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	var d *deployment
	if p.Model.Update != config.RestartUpdate {
		d = &deployment{
			app: a, p: p, client: client, base: scoring, scoring: so, remotes: others, pinned: o.Model != "", give: give, wake: make(chan struct{}, 1),
			running: rollout.Deployment{Model: m.Ref, Digest: m.Digest},
		}
	}
	q, err := a.listenQueries(ctx, p)
	if err != nil {
		return nil, err
	}
	defer q.close()
	options := engine.Options{
		Client: client, Program: program, Address: q.address(), Group: p.Group, Guarantee: engine.Guarantee(p.Guarantee), InstanceID: o.InstanceID, Threads: o.Threads,
		StateDir:       state,
		CommitInterval: p.CommitInterval, Version: a.Version, Log: a.Log, Now: a.Now,
		LetterHeaders: scoring.letterHeaders, LetterCompat: engine.Compat(p.DeadLetter.Compat), Breaker: engine.Breaker(p.DeadLetter.Breaker),
	}
	if d != nil {
		options.Switched = d.poke
		if !d.pinned {
			options.Behind = d.Behind
		}
	}
	e, err := engine.New(options)
	if err != nil {
		return nil, err
	}
	r := &Running{Model: m.Ref, Digest: m.Digest, engine: e, program: program, scoring: scoring, deployment: d, remotes: others, source: p.Source.Topic, sink: p.Sink.Topic}
	if p.Samples.Rate > 0 {
		r.samples = p.Samples.Topic
	}
	if o.HTTP != "" {
		stop, err := a.serveMonitoring(ctx, o.HTTP, r)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	if err := q.begin(ctx, a, p, e, program); err != nil {
		return nil, err
	}
	if o.Started != nil {
		r.Queries = q.url()
		o.Started(r)
	}
	if o.shadow != nil {
		done, err := a.beginShadow(ctx, give, o.shadow, &shadowed{p: p, m: m, client: client, program: program, engine: e, state: state, create: o.CreateTopics})
		defer func() {
			give(nil)
			done()
		}()
		if err != nil {
			return nil, err
		}
	} else if o.CreateTopics {
		if err := a.createPipelineTopics(ctx, client, p, e.Wait); err != nil {
			return nil, err
		}
	}
	if p.Controlled() {
		done, err := a.control(ctx, client, p, e, d)
		defer func() {
			give(nil)
			done()
		}()
		if err != nil {
			return nil, err
		}
	}
	if err := a.outsideGroups(ctx, client, p, o.InstanceID, e.Wait); err != nil {
		return nil, err
	}
	err = o.missing(e.Run(ctx))
	if d != nil {
		d.ended(err)
	}
	if cause := context.Cause(ctx); errors.Is(cause, errTurn) && err == nil && outer.Err() == nil { // else it has its turn when it is started again
		err = cause
	} else if cause, ok := errors.AsType[*Error](cause); ok {
		err = cause
	}
	return r.Stats(), err
}

// toRun returns the pipeline and the model of a run: of production, or of a shadow.
func (a *App) toRun(ctx context.Context, o *RunOptions) (*config.Pipeline, *model.Loaded, error) {
	if o.shadow != nil {
		return o.shadow.pipeline, o.shadow.model, nil
	}
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, nil, err
	}
	if err := notShadow(p, o.InstanceID); err != nil {
		return nil, nil, err
	}
	m, err := a.approved(ctx, p, cmp.Or(o.Model, "@"+registry.AliasChampion))
	return p, m, err
}

// control has an engine do what the control topic says: it pauses, resumes, and goes over to other models. It returns when what is there now
// was done, and follows what comes then until ctx ends; done, which is never nil, waits for that.
func (a *App) control(ctx context.Context, client *kafka.Client, p *config.Pipeline, e *engine.Engine, d *deployment) (done func(), err error) {
	if err := a.persist(ctx, e.Wait, func() error { return needTopics(ctx, client, true, controlTopics(p)...) }); err != nil {
		if k, ok := errors.AsType[*kafka.Error](err); ok && k.Code == kafka.CodeUnauthorized {
			k.Hint += "; or set model.update: restart, which needs no topic"
		}
		return func() {}, err
	}
	a.warnOfControl(ctx, client, p)
	followed, err := a.obey(ctx, client, p, func(rs []record.Raw) {
		a.apply(ctx, rs, e)
		if d != nil {
			d.tell(ctx, rs)
		}
	}, e.Wait)
	if err != nil {
		return func() {}, err
	}
	var left sync.WaitGroup
	done = func() {
		left.Wait()
		<-followed
	}
	if d == nil {
		return done, nil
	}
	d.engine = e
	if err := d.begin(ctx); err != nil {
		return done, err
	}
	left.Go(func() { d.follow(ctx) })
	return done, nil
}

// warnOfControl says so where the brokers may forget what the control topic says.
func (a *App) warnOfControl(ctx context.Context, client *kafka.Client, p *config.Pipeline) {
	for _, t := range controlTopics(p) {
		l, err := client.Limits(ctx, t.Name)
		if err == nil && l.Authoritative && !l.Compacted {
			a.Log.LogAttrs(ctx, slog.LevelWarn, "the topic is not compacted: what instances are to do, and how they are, is forgotten with its oldest records",
				slog.String("topic", t.Name), slog.String("hint", "set its cleanup.policy to compact"))
		}
	}
}

// missing says of an error for a topic that does not exist that run can make it.
func (o *RunOptions) missing(err error) error {
	if k, ok := errors.AsType[*kafka.Error](err); ok && k.Code == kafka.CodeUnknownTopic && !o.CreateTopics {
		k.Hint = "create it, or let this command make it with the brokers' defaults: add --create-topics"
	}
	return err
}

// approved loads the model to run, which has to be approved, and checks that it was trained with the schema and the
// features of the pipeline file.
func (a *App) approved(ctx context.Context, p *config.Pipeline, ref string) (*model.Loaded, error) {
	reg, err := a.Registry(p.Model)
	if err != nil {
		return nil, err
	}
	if err := signaturesChecked(ctx, reg, p); err != nil {
		return nil, err
	}
	v, err := reg.Resolve(ctx, ref, p.Name)
	if err != nil {
		return nil, err
	}
	if err := v.CheckApproved(); err != nil {
		return nil, err
	}
	m, err := load(ctx, reg, v)
	if err != nil {
		return nil, err
	}
	if err := sameFeatures(p, m.Bundle); err != nil {
		return nil, &Error{
			Code: Refused, Op: "run", Where: m.Ref, Err: err,
			Hint: "train a model with this file, or run with the file that the model was trained with",
		}
	}
	return m, nil
}

// ScoringOptions say how a model is run.
type ScoringOptions struct {
	Threads int                   // 0 is one for each processor
	Static  map[string]table.Rows // of the tables that have no topic
	Tracer  *trace.Tracer         // Default: nil, nothing is traced
	Now     func() time.Time      // Default: time.Now
}

// NewScoring makes the path of a model, which reproduces its golden rows first, and a worker for each thread.
func NewScoring(p *config.Pipeline, m *model.Loaded, o ScoringOptions) (*Scoring, error) {
	s := &Scoring{
		totals: pipeline.NewWindowTotals(m.Bundle.Plan), tables: newWatchedTables(o.Static), tracer: o.Tracer, now: o.Now,
		letters: letterHeaders(p, m.Ref), Bundle: m.Bundle, Model: m.Ref, Digest: m.Digest, Static: o.Static, Workers: make([]*pipeline.Worker, cmp.Or(o.Threads, runtime.GOMAXPROCS(0))),
		Options: pipeline.Options{
			Field: p.Sink.Field, MaxBytes: p.Source.MaxRecordBytes, Tables: pipelineTables(p), Checks: pipelineChecks(p),
			Headers: []record.Header{{Key: headerModel, Value: []byte(m.Ref)}, {Key: headerDigest, Value: []byte(m.Digest)}},
		},
	}
	if s.now == nil {
		s.now = time.Now
	}
	path, err := pipeline.New(m.Bundle, s.Options)
	if err != nil {
		return nil, &Error{Code: Refused, Op: "load model", Where: m.Ref, Err: err, Hint: "train the model again with this version of millrace"}
	}
	s.path = path
	for i := range s.Workers {
		if s.Workers[i], err = path.NewWorker(); err != nil {
			return nil, err
		}
	}
	if s.watcher, err = newWatcher(p, s); err != nil {
		return nil, err
	}
	return s, nil
}

// letterHeaders are the headers of dead letters that tell what was in use.
func letterHeaders(p *config.Pipeline, ref string) []record.Header {
	hs := []record.Header{{Key: engine.LetterModel, Value: []byte(ref)}}
	if b, err := p.Schema.MarshalJSON(); err == nil { // it cannot fail
		sum := sha256.Sum256(b)
		hs = append(hs, record.Header{Key: engine.LetterSchema, Value: []byte(hex.EncodeToString(sum[:8]))})
	}
	return hs
}
