package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/report"
	"millrace.dev/internal/shadow"
	"millrace.dev/internal/source"
	"millrace.dev/internal/stat"
)

// CompareOptions say which predictions to compare.
type CompareOptions struct {
	File       string   // the pipeline file
	Set        []string // overrides of it
	Production string   // the topic of production's predictions; "" is that of the file
	Topic      string   // the topic of the candidate's predictions; "" is that of the file's shadow
	Model      string   // of the candidate, where that topic has several: as headers name it. Default: the one of the last predictions
	// From and To bound the records of the source, as ends of topic://NAME?from=A&to=B. Default: all that both have predicted
	From, To string
	Limit    int64  // stop after so many pairs; 0 is none
	Outcomes string // the topic of outcomes; "" is that of the file, where it has any
	Metric   string // the loss by which labels judge. Default: shadow.tolerance.loss.metric, else squared_error
	// Margin is the part of production's mean loss below which a difference does not matter. Default: 1 %; the tolerance's, if it has any
	Margin float64
	Top    int // how many of the largest differences to explain
	// Follow goes on with what is predicted later, until ctx ends, and calls Live with the report now and then.
	Follow bool
	Every  time.Duration // between two calls. Default: 10 s
	Live   func(*shadow.Report)
	HTML   string // the file for a page; "" is none, "-" Stdout
	Stdout io.Writer
}

// The defaults of [CompareOptions].
const (
	defaultMargin = 0.01
	defaultEvery  = 10 * time.Second
)

// CompareShadow pairs production's predictions with a candidate's, and says how they differ. Beyond the tolerance of the pipeline file the
// report is there beside an error of code Refused; without any pair the error is of code Nothing.
func (a *App) CompareShadow(ctx context.Context, o CompareOptions) (*shadow.Report, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	if err := CheckOutput(o.HTML, o.Stdout); err != nil {
		return nil, err
	}
	c, err := a.comparing(ctx, p, &o)
	if err != nil {
		return nil, err
	}
	defer c.client.Close()
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	work := ctx
	if o.Follow { // it was told to end, and says what there is
		var cancel context.CancelFunc
		work, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastWork)
		defer cancel()
	}
	r, err := c.finish(work)
	if err != nil {
		return r, err
	}
	if o.HTML != "" {
		if err := WriteFile(o.HTML, o.Stdout, func(w io.Writer) error { return report.Shadow(w, r) }); err != nil {
			return r, err
		}
	}
	return r, intolerable(r)
}

// lastWork bounds what is done after a comparison that follows was told to end.
const lastWork = 30 * time.Second

// comparing is a comparison on its way.
type comparing struct {
	app     *App
	p       *config.Pipeline
	o       *CompareOptions
	client  *kafka.Client
	sides   [2]*comparedSide
	from    map[int32]int64 // of the source; nil is no bound
	to      map[int32]int64
	models  []modelName // by their indexes
	indexes map[modelName]int32
	merger  shadow.Merger
	tally   *shadow.Tally
	losses  *shadow.Losses
	labels  *labels
	notes   []string
	full    bool // the limit is reached
	source  int  // the partitions of the source: what names others was not made by millrace
}

// modelName is a model as the headers of a prediction name it.
type modelName struct{ ref, digest string }

// comparedSide is one of the two topics.
type comparedSide struct {
	topic      string
	letters    string
	partitions []int32
	start, end kafka.Offsets // of what is read
	appendTime bool
	known      bool // whether it is
	candidate  int32
	read       int64
	other      int64
	latency    *stat.Sample
	late       stat.Moments
}

// comparing opens both topics.
func (a *App) comparing(ctx context.Context, p *config.Pipeline, o *CompareOptions) (*comparing, error) {
	c := &comparing{app: a, p: p, o: o, indexes: map[modelName]int32{}}
	c.sides[shadow.Production] = &comparedSide{topic: cmp.Or(o.Production, p.Sink.Topic), letters: p.DeadLetter.Topic, candidate: -1}
	c.sides[shadow.Candidate] = &comparedSide{topic: cmp.Or(o.Topic, p.Shadow.Topic), letters: p.Shadow.DeadLetter, candidate: -1}
	if c.sides[0].topic == c.sides[1].topic {
		return nil, &Error{Code: Usage, Op: "compare", Where: c.sides[0].topic, Err: errors.New("it cannot be compared with itself"), Hint: "name the topic of the candidate: --shadow-topic"}
	}
	lo := shadow.LossOptions{Metric: shadow.Squared, WorseBy: defaultMargin, Alpha: 0.05}
	to := shadow.Options{Top: o.Top}
	if t := p.Shadow.Tolerance; t != nil {
		to.Beyond = t.Difference
		if t.Loss != nil {
			lo = shadow.LossOptions{Metric: t.Loss.Metric, WorseBy: t.Loss.WorseBy, Alpha: t.Loss.Alpha}
		}
	}
	lo.Metric, lo.WorseBy = cmp.Or(o.Metric, lo.Metric), cmp.Or(o.Margin, lo.WorseBy)
	c.tally, c.losses, c.labels = shadow.NewTally(to), shadow.NewLosses(lo), newLabels()
	c.merger.Pair = c.pair
	client, err := a.clientFor(p, source.TopicScheme)
	if err != nil {
		return nil, err
	}
	c.client = client
	if err := c.open(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return c, nil
}

// open finds out what there is to read.
func (c *comparing) open(ctx context.Context) error {
	found, err := c.client.Topics(ctx, c.p.Source.Topic)
	if err != nil {
		return err
	}
	c.source = len(found[0].Partitions)
	if c.o.From != "" || c.o.To != "" {
		name := source.TopicScheme + c.p.Source.Topic + "?from=" + cmp.Or(c.o.From, "earliest") + "&to=" + cmp.Or(c.o.To, "latest")
		r, err := source.Open(ctx, name, source.Options{Client: c.client})
		if err != nil {
			return err
		}
		from, to := r.Offsets()
		if c.o.From != "" {
			c.from = from
		}
		if c.o.To != "" {
			c.to = to
		}
	}
	for w, s := range c.sides {
		topics, err := c.client.Topics(ctx, s.topic)
		if k, ok := errors.AsType[*kafka.Error](err); ok && k.Code == kafka.CodeUnknownTopic && shadow.Which(w) == shadow.Candidate {
			k.Hint = "run a candidate first: millrace shadow" + fileOption(c.o.File) + " --create-topics"
		}
		if err != nil {
			return err
		}
		s.partitions = topics[0].Partitions
		if s.start, err = c.client.StartOffsets(ctx, s.topic); err != nil {
			return err
		}
		if s.end, err = c.client.EndOffsets(ctx, s.topic, true); err != nil {
			return err
		}
		l, err := c.client.Limits(ctx, s.topic)
		if err != nil {
			return err
		}
		s.appendTime, s.known = l.AppendTime, l.Authoritative
		if s.latency, err = stat.NewSample(0, 1); err != nil {
			return err
		}
	}
	return c.look(ctx)
}

// model returns the index of a model.
func (c *comparing) model(ref, digest string) int32 {
	m := modelName{ref, digest}
	i, ok := c.indexes[m]
	if !ok {
		i = int32(len(c.models)) //nolint:gosec // see mostModels
		if i >= mostModels {
			return mostModels - 1
		}
		m.ref, m.digest = strings.Clone(ref), strings.Clone(digest)
		c.models, c.indexes[m] = append(c.models, m), i
	}
	return i
}

// mostModels bounds how many models are told apart: more there are only in a topic of rubbish.
const mostModels = 1000

// pair takes a pair in.
func (c *comparing) pair(s shadow.Stream, production, candidate *shadow.Prediction) {
	if c.full {
		return
	}
	c.tally.Add(s, production, candidate)
	c.full = c.o.Limit > 0 && c.tally.Pairs() >= c.o.Limit
	c.labels.pair(c.losses, spot(s.Source, production.Offset), production.Value, candidate.Value)
}

// spot numbers a record of the source.
func spot(partition int32, offset int64) uint64 { return uint64(partition)<<44 | uint64(offset) } //nolint:gosec // neither is negative

// intolerable is the error of a report that is beyond a bound.
func intolerable(r *shadow.Report) error {
	var parts []string
	for i := range r.Bounds {
		if r.Bounds[i].Exceeded {
			parts = append(parts, report.BoundText(&r.Bounds[i]))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return &Error{
		Code: Refused, Op: "compare", Where: r.Candidate.Model, Err: fmt.Errorf("beyond the tolerance: %s", strings.Join(parts, "; ")),
		Hint: "look at the largest differences; shadow.tolerance of the pipeline file says what is tolerated",
	}
}

// bounds holds the report to the tolerance of the pipeline file.
func (c *comparing) bounds(r *shadow.Report) {
	t := c.p.Shadow.Tolerance
	if t == nil {
		return
	}
	add := func(name string, limit, value float64, percent bool) {
		if !math.IsInf(limit, 1) {
			r.Bounds = append(r.Bounds, shadow.NewBound(name, limit, value, percent))
		}
	}
	n := float64(max(r.Pairs, 1))
	add(fmt.Sprintf("share that differs by more than %g", t.Difference), t.Share, float64(r.Agreement.Different)/n, true)
	add("mean difference, without its sign", t.Mean, math.Abs(float64(r.Difference.Mean)), false)
	if !math.IsInf(t.At, 1) {
		add(fmt.Sprintf("%g%% quantile of the differences", 100*t.Quantile), t.At, c.tally.Size(t.Quantile), false)
	}
	alone := float64(r.Production.Alone.Lacking + r.Candidate.Alone.Lacking)
	add("share that only one side has predicted", t.Unpaired, alone/max(alone+n, 1), true)
	if t.Loss != nil {
		r.Bounds = append(r.Bounds, lossBound(t.Loss, r.Labels))
	}
}

// lossBound is exceeded where the candidate is worse for sure, by more than is tolerated.
func lossBound(t *config.LossTolerance, l *shadow.Labels) shadow.Bound {
	b := shadow.NewBound("mean "+strings.ReplaceAll(t.Metric, "_", " ")+" above production's, in parts of that", t.WorseBy, math.NaN(), true)
	if l == nil || l.Verdict == nil || l.Pairs == 0 {
		b.Why = "there are no labels yet"
		return b
	}
	loss := float64(l.Loss[shadow.Production])
	if loss > 0 {
		b.Value = drift.Number(l.Verdict.Difference.Value / loss)
	}
	b.Exceeded = l.Verdict.Difference.Low > float64(t.WorseBy*loss)
	b.Why = l.Verdict.Why
	return b
}
