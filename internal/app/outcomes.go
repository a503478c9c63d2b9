package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/metrics"
	"millrace.dev/internal/task"
)

// OutcomesOptions say how predictions are joined with their labels.
type OutcomesOptions struct {
	File         string   // the pipeline file
	Set          []string // overrides of it
	InstanceID   string   // of this instance, for good; "" is a random one
	CreateTopics bool     // make the topics that are not there
	StateDir     string   // the folder of the state; "" is that of the pipeline file
	HTTP         string   // the address for health and metrics; "" is none
	// Once processes what is in the topics at the start, and ends. Until is as of which time predictions expire then; zero is the clock's.
	Once    bool
	Until   time.Time
	Started func(*OutcomesRunning)
}

// OutcomesRunning is the application at work.
type OutcomesRunning struct {
	engine  *engine.Engine
	program *task.Program
	watch   *outcomesWatch
	p       *config.Pipeline
	group   string
}

// OutcomesRan is what the application has done.
type OutcomesRan struct {
	engine.Stats // but for Records, which are those of the topics of predictions and labels

	Group       string
	Predictions uint64 // records that were read
	Labels      uint64
	Outcomes    uint64 // that were written
	// Cohorts are the counts of this instance's partitions, since the first prediction.
	Cohorts []CountedCohort
}

// Stats returns what was done so far. It is safe for concurrent use.
func (r *OutcomesRunning) Stats() *OutcomesRan {
	out := &OutcomesRan{Stats: r.engine.Stats(), Group: r.group, Cohorts: r.watch.counted()}
	for _, sub := range r.program.Subs {
		for _, source := range sub.Sources {
			switch n := out.Nodes[source.Node].Records; {
			case source.Internal:
			case source.Topic == r.p.Outcomes.Topic:
				out.Labels += n
			default:
				out.Predictions += n
			}
		}
	}
	out.Records, out.Outcomes = out.Predictions+out.Labels, out.WrittenTo[r.p.Outcomes.Sink]
	return out
}

// outcomesInterval is how often outcomes are committed: nobody waits for them as for a prediction, and sums are written with each commit.
const outcomesInterval = time.Second

// leastIdle is after which time without predictions, or labels, time goes on by the clock, where the grace is shorter.
const leastIdle = 10 * time.Minute

// How often it is asked how far the group is.
const (
	tideEvery     = 2 * time.Second
	tideEveryOnce = 100 * time.Millisecond
)

// Outcomes joins predictions with their labels, until ctx ends; with Once until there is nothing left to be done, and it fails with code
// Nothing if there was nothing. It returns what was done; nil if it did not begin.
func (a *App) Outcomes(ctx context.Context, o OutcomesOptions) (*OutcomesRan, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if p.Outcomes == nil {
		return nil, noOutcomes("outcomes", p)
	}
	if o.Until.After(a.Now()) {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "the time of --until is yet to come: predictions expire for good whose labels may still come", slog.Time("until", o.Until))
	}
	cluster, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	client, err := kafka.New(cluster)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	watch := newOutcomesWatch(a.Now, max(p.Outcomes.Join.Grace, leastIdle))
	if o.Once {
		at := o.Until
		if at.IsZero() {
			at = a.Now()
		}
		watch.fix(at)
	}
	r, err := a.newOutcomes(ctx, p, &o, client, watch)
	if err != nil {
		return nil, err
	}
	if o.HTTP != "" {
		handler, err := metrics.NewHandler(r.engine, r.program, newOutcomesCollector(r))
		if err != nil {
			return nil, err
		}
		stop, err := a.serve(ctx, o.HTTP, handler)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	if o.Started != nil {
		o.Started(r)
	}
	if o.CreateTopics {
		if err := a.persist(ctx, r.engine.Wait, func() error { return createOutcomesTopics(ctx, client, p) }); err != nil {
			return nil, err
		}
	}
	err = a.runOutcomes(ctx, r, client, o.Once)
	if k, ok := errors.AsType[*kafka.Error](err); ok && k.Code == kafka.CodeUnknownTopic && !o.CreateTopics {
		k.Hint = "create it, or let this command make it with the brokers' defaults: add --create-topics"
	}
	ran := r.Stats()
	if o.Once && err == nil && ran.Records == 0 && ran.Outcomes == 0 {
		err = &Error{Code: Nothing, Op: "outcomes", Where: r.group, Err: errors.New("there is no new prediction and no new label, and nothing has expired")}
	}
	return ran, err
}

// noOutcomes is the error of a command that needs what the pipeline file does not say.
func noOutcomes(op string, p *config.Pipeline) error {
	return &Error{
		Code: Usage, Op: op, Where: p.File, Err: errors.New("the pipeline file does not say how predictions find their labels"),
		Hint: "add outcomes: {topic: TOPIC, horizon: 30d}, the topic of the labels and how long they take at most; see docs/outcomes.md",
	}
}

// newOutcomes makes the application.
func (a *App) newOutcomes(ctx context.Context, p *config.Pipeline, o *OutcomesOptions, client *kafka.Client, w *outcomesWatch) (*OutcomesRunning, error) {
	r := &OutcomesRunning{watch: w, p: p, group: p.OutcomesGroup()}
	own := map[string]int{}
	for _, name := range []string{joinNode, unitsNode} { // they stay as they are when topics that are read get more partitions: keys must not move
		err := a.persist(ctx, func() {}, func() (err error) {
			own[name], err = countPartitions(ctx, client, r.internal(name))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	program, err := OutcomesTopology(p, w, own[joinNode], own[unitsNode]).Program()
	if err != nil {
		return nil, err
	}
	interval := max(p.CommitInterval, outcomesInterval)
	if o.Once {
		interval = p.CommitInterval
	}
	r.program = program
	r.engine, err = engine.New(engine.Options{
		Client: client, Program: program, Group: r.group, Guarantee: engine.Guarantee(p.Guarantee), InstanceID: o.InstanceID,
		StateDir: cmp.Or(o.StateDir, p.OutcomesState()), CommitInterval: interval, Version: a.Version, Log: a.Log, Now: a.Now,
		LetterCompat: engine.Compat(p.DeadLetter.Compat),
	})
	return r, err
}

// countPartitions returns how many partitions a topic has, 0 if there is none of the name.
func countPartitions(ctx context.Context, client *kafka.Client, name string) (int, error) {
	topics, err := client.Topics(ctx, name)
	if k, ok := errors.AsType[*kafka.Error](err); ok && k.Code == kafka.CodeUnknownTopic {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return len(topics[0].Partitions), nil
}

// runOutcomes runs the application, with once until there is nothing left to be done.
func (a *App) runOutcomes(ctx context.Context, r *OutcomesRunning, client *kafka.Client, once bool) error {
	o := r.p.Outcomes
	tide := newOutcomesTide(client, r.group, r.internal(joinNode), append([]string{o.Topic}, o.Predictions...), r.watch, tideEvery)
	if once {
		if err := alone(ctx, client, r.group); err != nil {
			return err
		}
		tide.pause = tideEveryOnce
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	watching, cancel := context.WithCancel(run)
	defer cancel()
	worked := make(chan error, 1)
	go func() {
		if once {
			worked <- r.finish(watching, tide)
			stop()
			return
		}
		tide.follow(watching, a.Log)
		worked <- nil
	}()
	err := r.engine.Run(run)
	cancel()
	if fault := <-worked; err == nil && ctx.Err() == nil && !errors.Is(fault, context.Canceled) {
		err = fault
	}
	return err
}

// internal returns the topic of the application's own of a name.
func (r *OutcomesRunning) internal(name string) string { return r.group + "-" + name + "-repartition" }

// alonePatience is how long the group is waited for to be empty: it takes that long until it forgets an instance that was killed.
const alonePatience = 30 * time.Second

// alone wants that the group has no member.
func alone(ctx context.Context, client *kafka.Client, group string) error {
	began := time.Now()
	for {
		members, _, err := client.Members(ctx, group)
		if err != nil || len(members) == 0 {
			return err
		}
		if time.Since(began) > alonePatience {
			return &Error{
				Code: Failed, Op: "outcomes", Where: group, Err: fmt.Errorf("%d instances are running, and do what there is to do", len(members)),
				Hint: "stop them, or leave out --once",
			}
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// finish returns when everything that is in the topics now is processed and committed, and what is past has expired.
func (r *OutcomesRunning) finish(ctx context.Context, tide *outcomesTide) error {
	persist := func(do func() error) error {
		for {
			err := do()
			if k, ok := errors.AsType[*kafka.Error](err); !ok || k.Code != kafka.CodeUnavailable {
				return err
			}
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
		}
	}
	tasks := 0
	for tasks == 0 { // the application makes its topics first
		err := persist(func() (err error) {
			tasks, err = countPartitions(ctx, tide.client, tide.join)
			return err
		})
		if err = cmp.Or(err, pause(ctx, tide.pause)); err != nil {
			return err
		}
	}
	if err := persist(func() error { return tide.rise(ctx) }); err != nil {
		return err
	}
	to := *r.watch.reached.Load()
	for again := true; again; again = !r.watch.done(tasks, to) { // a round that was undone is done again
		for !r.watch.done(tasks, to) {
			if err := pause(ctx, tide.pause); err != nil {
				return err
			}
		}
		if err := r.engine.Settle(ctx); err != nil {
			return err
		}
	}
	if r.p.Outcomes.Unit == r.p.Outcomes.Key {
		return nil
	}
	return persist(func() error { return tide.passed(ctx, r.internal(unitsNode)) })
}

// createOutcomesTopics makes the topics that are not there: that of the labels, and those that are written.
func createOutcomesTopics(ctx context.Context, c *kafka.Client, p *config.Pipeline) error {
	o := p.Outcomes
	n := newTopicPartitions
	if source, err := c.Topics(ctx, p.Source.Topic); err == nil {
		n = len(source[0].Partitions)
	}
	for _, topic := range append(slices.Clone(o.Predictions), o.Topic) {
		if err := needTopics(ctx, c, true, kafka.NewTopic{Name: topic, Partitions: n}); err != nil {
			return err
		}
	}
	predictions, err := c.Topics(ctx, o.Predictions[0])
	if err != nil {
		return err
	}
	n = len(predictions[0].Partitions)
	return needTopics(ctx, c, true,
		// An outcome has the time of its prediction, and what the brokers keep by default may be over when it is written.
		kafka.NewTopic{Name: o.Sink, Partitions: n, Configs: map[string]string{"retention.ms": "-1"}},
		kafka.NewTopic{Name: o.Cohorts, Partitions: n, Configs: map[string]string{"cleanup.policy": "compact"}},
		kafka.NewTopic{Name: o.DeadLetter, Partitions: n})
}

// unresolved returns the share of predictions that wait, or are expired; NaN where there are none.
func (c *CohortCount) unresolved() float64 {
	if c.Records == 0 {
		return math.NaN()
	}
	return float64(c.Records-c.Resolved) / float64(c.Records)
}
