package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/outcome"
)

// outcomesWatch is what the tasks of an instance and the application around them know of one another. It is safe for concurrent use.
type outcomesWatch struct {
	labels, predictions *outcomesClock
	// reached is as of which times predictions may expire and labels be forgotten: whatever was in the topics when it was that time was
	// processed. It is never nil.
	reached atomic.Pointer[outcome.Reached]

	mu      sync.Mutex
	swept   map[int32]outcome.Reached // by partition, as of which time nothing is left to be done
	cohorts map[int32]*talliedCohorts
}

// talliedCohorts is what a task has counted.
type talliedCohorts struct {
	counts map[CohortName]CohortCount
	alive  time.Time // when the task was last here
}

// aliveFor is after how long a task that does not say that it is here counts as gone to another instance, which tells its counts then.
const aliveFor = 30 * time.Second

// notReached is what is reached at the start.
func notReached() outcome.Reached {
	return outcome.Reached{Labels: outcome.Unknown, Predictions: outcome.Unknown}
}

func newOutcomesWatch(now func() time.Time, idle time.Duration) *outcomesWatch {
	w := &outcomesWatch{
		labels: newOutcomesClock(now, idle), predictions: newOutcomesClock(now, idle), swept: map[int32]outcome.Reached{},
		cohorts: map[int32]*talliedCohorts{},
	}
	w.reached.Store(new(notReached()))
	return w
}

// fix has both clocks say a time, whatever comes.
func (w *outcomesWatch) fix(at time.Time) {
	w.labels.fixed, w.predictions.fixed = at.UnixMilli(), at.UnixMilli()
}

// joined notes how far a task is.
func (w *outcomesWatch) joined(partition int32, swept outcome.Reached) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.swept[partition] = swept
}

// done tells whether so many tasks have nothing left to do as of a time.
func (w *outcomesWatch) done(tasks int, at outcome.Reached) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, swept := range w.swept {
		if swept == at {
			n++
		}
	}
	return n >= tasks
}

// CohortName says whose predictions are counted.
type CohortName struct{ Topic, Experiment, Arm, Model string }

// CohortCount counts predictions, of all days.
type CohortCount struct {
	Records, Resolved, Expired, Forced, Units int64
}

// Pending returns those that wait for their labels.
func (c *CohortCount) Pending() int64 { return c.Records - c.Resolved - c.Expired }

func (c *CohortCount) add(o CohortCount) {
	c.Records += o.Records
	c.Resolved += o.Resolved
	c.Expired += o.Expired
	c.Forced += o.Forced
	c.Units += o.Units
}

// tallied notes what a task has counted.
func (w *outcomesWatch) tallied(partition int32, t *outcome.Tally) {
	counts := map[CohortName]CohortCount{}
	t.Cohorts(func(c *outcome.Cohort) {
		name := CohortName{c.Topic, c.Experiment, c.Arm, c.Model}
		n := counts[name]
		n.add(CohortCount{Records: c.Records, Resolved: c.Resolved, Expired: c.Expired, Forced: c.Forced, Units: c.Units})
		counts[name] = n
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cohorts[partition] = &talliedCohorts{counts: counts, alive: w.labels.now()}
}

// alive notes that a task that counts is here.
func (w *outcomesWatch) alive(partition int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.cohorts[partition]; c != nil {
		c.alive = w.labels.now()
	}
}

// CountedCohort is a count with its name.
type CountedCohort struct {
	CohortName
	CohortCount
}

// counted returns what the tasks of this instance have counted, by name.
func (w *outcomesWatch) counted() []CountedCohort {
	w.mu.Lock()
	defer w.mu.Unlock()
	sums := map[CohortName]CohortCount{}
	for _, c := range w.cohorts {
		if w.labels.now().Sub(c.alive) > aliveFor {
			continue
		}
		for name, n := range c.counts {
			s := sums[name]
			s.add(n)
			sums[name] = s
		}
	}
	var list []CountedCohort
	for name, n := range sums {
		list = append(list, CountedCohort{name, n})
	}
	slices.SortFunc(list, func(a, b CountedCohort) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Experiment, b.Experiment), cmp.Compare(a.Arm, b.Arm), cmp.Compare(a.Model, b.Model))
	})
	return list
}

// outcomesClock tells what time it is by the event times of predictions, or of labels: by the median of some in a row, so that one that is wrong
// changes nothing. Where none come for a while, it follows the clock.
type outcomesClock struct {
	now   func() time.Time
	idle  time.Duration // after which it follows the clock, that much behind
	fixed int64         // what it says, whatever comes; outcome.Unknown is that it depends

	mu     sync.Mutex
	times  eventClock
	since  time.Time // the first of the times that wait
	last   time.Time // the last event, or the start
	latest int64
}

func newOutcomesClock(now func() time.Time, idle time.Duration) *outcomesClock {
	return &outcomesClock{now: now, idle: idle, fixed: outcome.Unknown, last: now(), latest: outcome.Unknown}
}

// fewTicks is how many event times it takes to tell the time, if more do not come: one of them may be wrong.
const fewTicks = 3

// note takes an event time, in milliseconds.
func (c *outcomesClock) note(at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = c.now()
	if len(c.times.times) == 0 {
		c.since = c.last
	}
	if median, ok := c.times.tick(at); ok {
		c.latest = max(c.latest, median)
	}
}

// time returns the time, in milliseconds, or outcome.Unknown.
func (c *outcomesClock) time() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fixed != outcome.Unknown {
		return c.fixed
	}
	now := c.now()
	if len(c.times.times) >= fewTicks && now.Sub(c.since) >= mostTick {
		median, _ := c.times.tell()
		c.latest = max(c.latest, median)
	}
	if now.Sub(c.last) >= c.idle {
		c.latest = max(c.latest, now.Add(-c.idle).UnixMilli())
	}
	return min(c.latest, now.UnixMilli())
}

// outcomesTide finds out how far the group is.
type outcomesTide struct {
	client *kafka.Client
	group  string
	inputs []string // topics
	join   string   // the topic in which predictions and labels meet
	watch  *outcomesWatch
	pause  time.Duration
	seen   map[place]int64 // where the group was when it was last asked
	empty  map[place]int64 // the offset up to which it was looked, and no record found
}

func newOutcomesTide(client *kafka.Client, group, join string, inputs []string, w *outcomesWatch, pause time.Duration) *outcomesTide {
	return &outcomesTide{
		client: client, group: group, inputs: inputs, join: join, watch: w, pause: pause, seen: map[place]int64{}, empty: map[place]int64{},
	}
}

// place is a partition.
type place struct {
	topic     string
	partition int32
}

// rise waits until everything was processed that is in the topics now, and then lets predictions expire as of the time that it is now.
func (t *outcomesTide) rise(ctx context.Context) error {
	at := outcome.Reached{Labels: t.watch.labels.time(), Predictions: t.watch.predictions.time()}
	if at == *t.watch.reached.Load() {
		return nil
	}
	if err := t.passed(ctx, t.inputs...); err != nil {
		return err
	}
	if err := t.passed(ctx, t.join); err != nil {
		return err
	}
	t.watch.reached.Store(&at)
	return nil
}

// passed waits until the group has committed everything that is in topics now.
func (t *outcomesTide) passed(ctx context.Context, topics ...string) error {
	goals := map[string]kafka.Offsets{}
	for _, topic := range topics {
		ends, err := t.client.EndOffsets(ctx, topic, false)
		if err != nil {
			return err
		}
		goals[topic] = ends
	}
	for {
		left, err := t.left(ctx, goals)
		if err != nil || !left {
			return err
		}
		if err := pause(ctx, t.pause); err != nil {
			return err
		}
	}
}

// left tells whether the group has still to process a record before some offsets.
func (t *outcomesTide) left(ctx context.Context, goals map[string]kafka.Offsets) (bool, error) {
	committed, err := t.client.Committed(ctx, t.group)
	if err != nil {
		return false, err
	}
	for topic, ends := range goals {
		start, err := t.client.StartOffsets(ctx, topic)
		if err != nil {
			return false, err
		}
		at := committed.Offsets(topic)
		for p, end := range ends {
			of := place{topic, p}
			from := max(at[p], start[p], t.empty[of])
			if from >= end {
				continue
			}
			if was, ok := t.seen[of]; !ok || was != from { // it gets on; where it does not, there may be nothing to get on with
				t.seen[of] = from
				return true, nil
			}
			some, err := t.some(ctx, topic, p, from, end)
			if err != nil || some {
				return some, err
			}
			t.empty[of] = end
		}
	}
	return false, nil
}

// errSome ends reading at the first record.
var errSome = errors.New("there is a record")

// some tells whether there is a record in a part of a partition: there may be none but the markers of transactions.
func (t *outcomesTide) some(ctx context.Context, topic string, partition int32, from, end int64) (bool, error) {
	err := t.client.Read(ctx, kafka.ReadConfig{
		From: map[string]kafka.Offsets{topic: {partition: from}}, Until: map[string]kafka.Offsets{topic: {partition: end}},
	}, func(s kafka.Step) error {
		if s.Len() > 0 {
			return errSome
		}
		return nil
	})
	if errors.Is(err, errSome) {
		return true, nil
	}
	if _, ok := errors.AsType[*kafka.RangeError](err); ok { // records were deleted meanwhile: look again
		return true, nil
	}
	return false, err
}

// follow rises again and again, until ctx ends.
func (t *outcomesTide) follow(ctx context.Context, log *slog.Logger) {
	backoff := kafka.Backoff{Min: t.pause, Max: time.Minute}
	for try := 1; ; {
		err := t.rise(ctx)
		wait := t.pause
		if err != nil && ctx.Err() == nil {
			wait = backoff.Pause(try)
			log.LogAttrs(ctx, slog.LevelWarn, "how far the group is cannot be found out; nothing expires meanwhile", slog.Any("error", err), slog.Int("try", try))
			try++
		} else {
			try = 1
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}
