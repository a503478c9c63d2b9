package app

import (
	"errors"
	"strconv"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/outcome"
	"millrace.dev/stream"
)

// The names of operators, stores and repartition topics of the application of outcomes.
const (
	joinNode   = "join"
	cohortNode = "cohorts"
	unitsNode  = "units"
)

// OutcomesTopology declares what `outcomes` does: read predictions and labels, bring them together by their key, write what came of each
// prediction, and add that up by experiment, arm, model and day. join and units are how many partitions the topics of its own have; 0 is as
// many as the largest of the topics that it reads.
//
// Predictions and labels of a key meet in a partition of a topic of the application's own, in whichever order they come. The outcomes, and
// that a prediction came, go on to the sums; by a topic of its own where the units of experiments are not what labels are joined by.
func OutcomesTopology(p *config.Pipeline, w *outcomesWatch, join, units int) *stream.Topology {
	o := p.Outcomes
	t := stream.New(p.OutcomesGroup(), stream.DeadLetters(o.DeadLetter))
	from := func(name, topic string, reading func(*config.Pipeline) *inputReading) stream.Stream[string, outcome.Input] {
		records := stream.From(t, topic, stream.Bytes(), stream.Bytes(), stream.UseClock())
		return stream.Process(records, name, func() stream.Processor[[]byte, []byte, string, outcome.Input] { return reading(p) })
	}
	inputs := from("labels", o.Topic, newLabelReading)
	for i, topic := range o.Predictions {
		name := "predictions"
		if i > 0 {
			name += "-" + strconv.Itoa(i+1)
		}
		inputs = inputs.Merge(from(name, topic, newPredictionReading))
	}
	inputs = inputs.Keys(stream.String()).Values(stream.Codec[outcome.Input](inputCodec{})).Repartition(joinNode, stream.Partitions(join))
	waiting := stream.NewStore(joinNode, stream.String(), stream.Bytes())
	events := stream.Process(inputs, joinNode, func() stream.Processor[string, outcome.Input, string, outcome.Event] {
		return &joining{options: o.Join, store: waiting, watch: w}
	}, waiting)
	ended := events.Filter(func(_ string, e outcome.Event) bool { return e.Kind != outcome.Seen })
	records := stream.Process(ended, "outcomes", func() stream.Processor[string, outcome.Event, []byte, []byte] { return &outcomeRecords{pipeline: p} })
	records.Keys(stream.Bytes()).Values(stream.Bytes()).To(o.Sink)

	if o.Unit != o.Key {
		byUnit := stream.SelectKey(events, unitOf)
		events = byUnit.Keys(stream.String()).Values(stream.Codec[outcome.Event](eventCodec{})).Repartition(unitsNode, stream.Partitions(units))
	}
	sums := stream.NewStore(unitsNode, stream.String(), stream.Bytes())
	cohorts := stream.Process(events, cohortNode, func() stream.Processor[string, outcome.Event, string, []byte] {
		return &tallyingCohorts{pipeline: p, store: sums, watch: w}
	}, sums)
	cohorts.Keys(stream.String()).Values(stream.Bytes()).To(o.Cohorts)
	return t
}

// unitOf returns by what an event goes to its unit. Where it is a unit of its own any partition will do.
func unitOf(key string, e outcome.Event) string {
	if e.Prediction.HasUnit {
		return e.Prediction.Unit
	}
	return key
}

// inputCodec is the codec of inputs.
type inputCodec struct{}

// Append appends the bytes of an input.
func (inputCodec) Append(dst []byte, v outcome.Input) ([]byte, error) { return v.Append(dst), nil }

// Decode reads what Append has written.
func (inputCodec) Decode(b []byte) (outcome.Input, error) { return outcome.DecodeInput(b) }

// eventCodec is the codec of events.
type eventCodec struct{}

// Append appends the bytes of an event.
func (eventCodec) Append(dst []byte, v outcome.Event) ([]byte, error) { return v.Append(dst), nil }

// Decode reads what Append has written.
func (eventCodec) Decode(b []byte) (outcome.Event, error) { return outcome.DecodeEvent(b) }

// stateRows are the rows of a store.
type stateRows struct {
	*stream.State[string, []byte]
}

// outcomesTick is how often what is due by time is done, and sliceRows how much of it at a time: what is more waits for the next tick, so
// that a commit is never far.
const (
	outcomesTick = 200 * time.Millisecond
	sliceRows    = 20_000
)

// joining brings predictions and labels together.
type joining struct {
	options outcome.Options
	store   *stream.Store[string, []byte]
	watch   *outcomesWatch
	ctx     *stream.ProcessorContext[string, outcome.Event]
	joiner  *outcome.Joiner
	swept   outcome.Reached
	out     stream.Record[string, outcome.Event]
}

// Init opens the store.
func (j *joining) Init(ctx *stream.ProcessorContext[string, outcome.Event]) error {
	j.ctx, j.swept = ctx, notReached()
	j.joiner = outcome.NewJoiner(stateRows{stream.Open(ctx, j.store)}, j.options, j.emit)
	j.watch.joined(ctx.Partition(), j.swept)
	ctx.OnWallClock(outcomesTick, j.tick)
	return nil
}

func (j *joining) emit(e *outcome.Event) error {
	j.out = stream.Record[string, outcome.Event]{Key: e.Key, Value: *e, Timestamp: min(e.Prediction.At, j.ctx.Now().UnixMilli())}
	return j.ctx.Forward(&j.out)
}

// Process takes an input.
func (j *joining) Process(r *stream.Record[string, outcome.Input]) error {
	if p := r.Value.Prediction; p != nil {
		j.watch.predictions.note(p.At)
	} else {
		j.watch.labels.note(r.Value.At)
	}
	return j.joiner.Take(r.Key, &r.Value)
}

// tick goes on with what was too much at once, and lets expire what is past. It tells how far it was before, which is sure to be committed
// next: what it does now is so only once it has returned.
func (j *joining) tick(int64) error {
	j.watch.joined(j.ctx.Partition(), j.swept)
	more, err := j.joiner.Work(sliceRows)
	if err != nil || more {
		return err
	}
	if to := *j.watch.reached.Load(); to != j.swept {
		if more, err = j.joiner.Sweep(to, sliceRows); err != nil {
			return err
		}
		if !more {
			j.swept = to
		}
	}
	return nil
}

// outcomeRecords makes the records of outcomes.
type outcomeRecords struct {
	pipeline *config.Pipeline
	ctx      *stream.ProcessorContext[[]byte, []byte]
}

// Init notes the context.
func (o *outcomeRecords) Init(ctx *stream.ProcessorContext[[]byte, []byte]) error {
	o.ctx = ctx
	return nil
}

// Process sends the record of an outcome on.
func (o *outcomeRecords) Process(r *stream.Record[string, outcome.Event]) error {
	e := &r.Value
	value, err := e.Outcome(o.pipeline.Name).Append(nil, o.pipeline.Outcomes.Key, e.Key)
	if err != nil {
		return err
	}
	key := e.Prediction.Key
	return o.ctx.Forward(&stream.Record[[]byte, []byte]{Key: key, NullKey: key == nil, Value: value, Timestamp: e.Prediction.At})
}

// tallyingCohorts adds up what came of predictions.
type tallyingCohorts struct {
	pipeline *config.Pipeline
	store    *stream.Store[string, []byte]
	watch    *outcomesWatch
	ctx      *stream.ProcessorContext[string, []byte]
	tally    *outcome.Tally
}

// Init reads the sums.
func (c *tallyingCohorts) Init(ctx *stream.ProcessorContext[string, []byte]) error {
	o := c.pipeline.Outcomes
	c.ctx = ctx
	c.tally = outcome.NewTally(stateRows{stream.Open(ctx, c.store)}, outcome.TallyOptions{
		Pipeline: c.pipeline.Name, Partition: ctx.Partition(), Metrics: o.Metrics, Curve: o.Curve, Remember: o.Remember, Join: o.Join,
	})
	if err := c.tally.Load(); err != nil {
		return c.damaged(err)
	}
	c.watch.tallied(ctx.Partition(), c.tally)
	ctx.OnWallClock(outcomesTick, func(int64) error {
		c.watch.alive(ctx.Partition())
		to := c.watch.reached.Load().Predictions
		if to == outcome.Unknown {
			return nil
		}
		_, err := c.tally.Sweep(to, sliceRows)
		return err
	})
	return nil
}

// damaged says what to do about sums that cannot be read.
func (c *tallyingCohorts) damaged(err error) error {
	return errors.Join(errors.New("the sums of "+c.pipeline.Outcomes.Cohorts+" cannot be read from the state"), err)
}

// Process takes an event.
func (c *tallyingCohorts) Process(r *stream.Record[string, outcome.Event]) error {
	return c.tally.Add(&r.Value)
}

// Flush tells the sums that have changed.
func (c *tallyingCohorts) Flush() error {
	changed := false
	err := c.tally.Flush(func(key string, cohort *outcome.Cohort) error {
		changed = true
		value, err := cohort.Append(nil)
		if err != nil {
			return err
		}
		return c.ctx.Forward(&stream.Record[string, []byte]{Key: key, Value: value, Timestamp: c.ctx.Now().UnixMilli()})
	})
	if changed && err == nil {
		c.watch.tallied(c.ctx.Partition(), c.tally)
	}
	return err
}
