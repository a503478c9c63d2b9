package app

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"millrace.dev/internal/canary"
	"millrace.dev/internal/config"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

// mostKeys is how many keys a canary tells apart: what is behind them does not count for the guard of the drift, which has seen enough.
const mostKeys = 1 << 20

// canaryWatch gathers what comes of the records of a canary, from the topics alone: whoever begins anew finds the same. It is safe for
// concurrent use.
type canaryWatch struct {
	p          *config.Pipeline
	experiment string
	arm        string
	model      string // of the arm, NAME@VERSION

	mu       sync.Mutex
	evidence canary.Evidence // without what is told of batches and labels
	touched  map[string]map[int32]*registry.TouchedPartition
	next     map[string]kafka.Offsets // how far each topic was read
	moved    chan struct{}            // has a value after something was read
	keys     map[uint64]struct{}
	seed     maphash.Seed
	cohorts  map[string]*outcome.Cohort    // of the arm, by key
	timed    map[string]*rollout.ArmStatus // the last word of each instance
	past     []int64                       // what instances had timed that have begun anew, as [rollout.ArmStatus.Ratios]
	fields   *outcomeFields                // of predictions
	labels   string                        // the topic of cohorts; "" is none
	ended    chan struct{}                 // is closed once nothing is read any more
	failure  error                         // why
}

// newCanaryWatch returns a watch of a split.
func newCanaryWatch(p *config.Pipeline, s *rollout.Split) (*canaryWatch, error) {
	a := &s.Arms[1]
	w := &canaryWatch{
		p: p, experiment: s.Experiment, arm: a.Name, model: a.Model, touched: map[string]map[int32]*registry.TouchedPartition{},
		next: map[string]kafka.Offsets{}, moved: make(chan struct{}, 1), keys: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
		cohorts: map[string]*outcome.Cohort{}, timed: map[string]*rollout.ArmStatus{}, ended: make(chan struct{}), past: make([]int64, rollout.RatioBuckets),
	}
	if p.Outcomes != nil {
		w.labels = p.Outcomes.Cohorts
	}
	var err error
	w.fields, err = newOutcomeFields(p.Schema, record.Field{Name: p.Sink.Field, Type: record.Numeric}, "", "", "", p.Source.MaxRecordBytes+sinkSlack)
	return w, err
}

// begin finds where to begin to read: the sink and the dead letters where the canary began, the cohorts at their start.
func (w *canaryWatch) begin(ctx context.Context, client *kafka.Client, since map[string][]int64) error {
	topics := []string{w.p.Sink.Topic, w.p.DeadLetter.Topic}
	if w.labels != "" {
		topics = append(topics, w.labels)
	}
	for _, topic := range topics {
		start, err := client.StartOffsets(ctx, topic)
		if err != nil {
			if e, ok := errors.AsType[*kafka.Error](err); ok && e.Code == kafka.CodeUnknownTopic && topic == w.labels {
				e.Hint = "millrace outcomes makes it, with --create-topics; without labels, add canary.guards.without=loss and canary.min_outcomes=0"
			}
			return err
		}
		end, err := client.EndOffsets(ctx, topic, false)
		if err != nil {
			return err
		}
		for i, offset := range since[topic] {
			p := int32(i) //nolint:gosec // a topic has fewer partitions
			if from, ok := start[p]; ok {
				start[p] = max(from, min(offset, end[p]))
			}
		}
		w.next[topic] = start
	}
	return nil
}

// follow reads until ctx ends.
func (w *canaryWatch) follow(ctx context.Context, a *App, client *kafka.Client) {
	defer close(w.ended)
	err := a.persist(ctx, func() {}, func() error {
		for {
			err := client.Read(ctx, kafka.ReadConfig{From: w.positions(), Follow: true}, w.take)
			outside, ok := errors.AsType[*kafka.RangeError](err)
			if !ok || ctx.Err() != nil {
				return err
			}
			w.mu.Lock()
			for _, p := range outside.Partitions { // the oldest records have gone
				w.next[p.Topic][p.Partition] = max(min(p.Offset, p.End), p.Start)
			}
			w.mu.Unlock()
		}
	})
	if ctx.Err() == nil {
		w.failure = err
		a.Log.LogAttrs(ctx, slog.LevelError, "the records of the canary cannot be read", slog.Any("error", err))
	}
}

func (w *canaryWatch) positions() map[string]kafka.Offsets {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]kafka.Offsets{}
	for topic, offsets := range w.next {
		all[topic] = maps.Clone(offsets)
	}
	return all
}

// take takes what was read of a partition.
func (w *canaryWatch) take(s kafka.Step) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var r record.Raw
	for i := range s.Len() {
		s.Read(i, &r)
		if s.Topic == w.labels {
			w.cohort(&r)
		} else {
			w.record(&r)
		}
	}
	w.next[s.Topic][s.Partition] = s.Next
	select {
	case w.moved <- struct{}{}:
	default:
	}
	return nil
}

// record takes a prediction or a dead letter.
func (w *canaryWatch) record(r *record.Raw) {
	var experiment, arm, baseline string
	var forced, refused bool
	for i := range r.Headers {
		h := &r.Headers[i]
		switch h.Key {
		case headerExperiment:
			experiment = string(h.Value)
		case headerArm:
			arm = string(h.Value)
		case headerBaseline:
			baseline = string(h.Value)
		case headerForced:
			forced = true
		case headerRefused:
			refused = true
		}
	}
	if experiment != w.experiment || arm != w.arm {
		return
	}
	w.touch(r)
	if forced { // by somebody who tries the model
		return
	}
	e := &w.evidence
	e.Records++
	control, err := strconv.ParseFloat(baseline, 64)
	switch {
	case r.Topic == w.p.DeadLetter.Topic: // the control has refused it too, else it would stand in the sink
		e.Refused++
	case refused:
		e.Refused++
		e.Broken++
	case err != nil || math.IsNaN(control):
		e.Mended++
	case w.first(r.Key) && w.fields.take(r.Value) == nil:
		e.Compared++
		if canary.Differs(w.fields.batch.Numbers(w.fields.number)[0], control, w.p.Canary.Guards.DriftChange) {
			e.Changed++
		}
	}
}

// first tells whether a key has not been seen. Each record without one is a key of its own.
func (w *canaryWatch) first(key []byte) bool {
	if key == nil {
		return true
	}
	id := maphash.Bytes(w.seed, key)
	if _, ok := w.keys[id]; ok || len(w.keys) >= mostKeys {
		return false
	}
	w.keys[id] = struct{}{}
	return true
}

func (w *canaryWatch) touch(r *record.Raw) {
	of := w.touched[r.Topic]
	if of == nil {
		of = map[int32]*registry.TouchedPartition{}
		w.touched[r.Topic] = of
	}
	p := of[r.Partition]
	if p == nil {
		p = &registry.TouchedPartition{Partition: r.Partition, From: r.Offset}
		of[r.Partition] = p
	}
	p.To = r.Offset
	p.Records++
}

// cohort takes a record of the topic of cohorts. The last one of a key counts.
func (w *canaryWatch) cohort(r *record.Raw) {
	key := string(r.Key)
	c, err := outcome.DecodeCohort(r.Value)
	if err != nil || c.Experiment != w.experiment || c.Arm != w.arm || c.Model != w.model || c.Topic != w.p.Sink.Topic {
		delete(w.cohorts, key)
		return
	}
	w.cohorts[key] = c
}

// told takes what instances have said last.
func (w *canaryWatch) told(statuses map[string]*rollout.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, s := range statuses {
		for i := range s.Arms {
			a := &s.Arms[i]
			if a.Experiment != w.experiment || a.Arm != w.arm || len(a.Ratios) != rollout.RatioBuckets || slices.Min(a.Ratios) < 0 {
				continue
			}
			if before := w.timed[name]; before != nil && total(a.Ratios) < total(before.Ratios) { // it has begun anew
				addCounts(w.past, before.Ratios)
			}
			w.timed[name] = a
		}
	}
}

// addCounts adds counts to others, of as many.
func addCounts(to, counts []int64) {
	for i, n := range counts {
		to[i] += n
	}
}

func total(counts []int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// sum returns what there is so far.
func (w *canaryWatch) sum() *canary.Evidence {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.evidence
	ratios := slices.Clone(w.past)
	for _, s := range w.timed {
		addCounts(ratios, s.Ratios)
	}
	for i, n := range ratios {
		e.Ratios = append(e.Ratios, experiment.Step{Value: rollout.RatioFrom(i), Count: n})
	}
	for _, c := range w.cohorts {
		if x := c.Metrics[w.p.Canary.Guards.LossName()]; x != nil {
			e.Losses.Merge(x)
		}
	}
	return &e
}

// drainWithin is how long the last transactions of instances may take to end.
const drainWithin = 30 * time.Second

// drain waits until all is read that stands in the topics now. It tells whether it is.
func (w *canaryWatch) drain(ctx context.Context, client *kafka.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	for topic := range w.positions() {
		end, err := client.EndOffsets(ctx, topic, false)
		if err != nil {
			return false
		}
		for !w.reached(topic, end) {
			select {
			case <-w.moved:
			case <-w.ended:
				return false
			case <-ctx.Done():
				return false
			}
		}
	}
	return true
}

func (w *canaryWatch) reached(topic string, end kafka.Offsets) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, offset := range end {
		if at, ok := w.next[topic][p]; ok && at < offset {
			return false
		}
	}
	return true
}

// touchedRecords returns which records the model was given, by topic.
func (w *canaryWatch) touchedRecords() []registry.Touched {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []registry.Touched
	for _, topic := range slices.Sorted(maps.Keys(w.touched)) {
		t := registry.Touched{Topic: topic}
		for _, p := range slices.Sorted(maps.Keys(w.touched[topic])) {
			of := *w.touched[topic][p]
			t.Records += of.Records
			if len(t.Partitions) < registry.MostTouched {
				t.Partitions = append(t.Partitions, of)
			}
		}
		all = append(all, t)
	}
	return all
}
