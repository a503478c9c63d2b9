package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/shadow"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// aheadBy is how many predictions of a stream may wait before the other topic alone is read.
const aheadBy = 20_000

// startMargin is how much older than those of the candidate the first records are that production's topic is read from: times of
// messages are not in order.
const startMargin = time.Hour

// look finds out which model the candidate is, and where production's topic is read from.
func (c *comparing) look(ctx context.Context) error {
	s := c.sides[shadow.Candidate]
	model, earliest := c.o.Model, int64(math.MaxInt64)
	var newest int64 = math.MinInt64
	for _, p := range s.partitions {
		if s.start[p] >= s.end[p] {
			continue
		}
		first, err := c.at(ctx, s.topic, p, s.start[p])
		if err != nil {
			return err
		}
		if first != nil {
			earliest = min(earliest, first.Timestamp)
		}
		if c.o.Model != "" {
			continue
		}
		last, err := c.last(ctx, s.topic, p, s.start[p], s.end[p])
		if err != nil {
			return err
		}
		if last != nil && last.Timestamp > newest {
			newest, model = last.Timestamp, header(last, headerModel)
		}
	}
	c.o.Model = model
	a := c.sides[shadow.Production]
	if c.o.From != "" || s.appendTime || a.appendTime || !s.known || !a.known || earliest == math.MaxInt64 || earliest < 0 {
		return nil
	}
	after, err := c.client.OffsetsAfter(ctx, a.topic, max(0, earliest-startMargin.Milliseconds()))
	if err != nil {
		return err
	}
	for p := range a.start {
		a.start[p] = max(a.start[p], min(after[p], a.end[p]))
	}
	return nil
}

// at returns the first record from an offset on; nil if there is none.
func (c *comparing) at(ctx context.Context, topic string, partition int32, from int64) (*record.Raw, error) {
	var found *record.Raw
	err := c.client.Tap(ctx, kafka.TapConfig{Topic: topic, Partitions: []int32{partition}, From: from}, func(rs []record.Raw) error {
		found = &rs[0]
		return kafka.StopTap()
	})
	if err == nil {
		err = ctx.Err()
	}
	return found, err
}

// last returns the last prediction of a partition, whoever else writes there; nil if there is none.
func (c *comparing) last(ctx context.Context, topic string, partition int32, start, end int64) (*record.Raw, error) {
	for back := int64(2); ; back *= 8 {
		var found *record.Raw
		err := c.client.Tap(ctx, kafka.TapConfig{Topic: topic, Partitions: []int32{partition}, From: max(end-back, start)}, func(rs []record.Raw) error {
			for i := range slices.Backward(rs) {
				if header(&rs[i], headerModel) != "" && header(&rs[i], engine.HeaderSource) != "" {
					found = &rs[i]
					break
				}
			}
			return nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || found != nil || end-back <= start {
			return found, err
		}
	}
}

// header returns the value of a header; of several the last one.
func header(r *record.Raw, key string) string {
	for _, h := range slices.Backward(r.Headers) {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// run reads both topics, and pairs what they say.
func (c *comparing) run(ctx context.Context) error {
	if err := c.readLabels(ctx); err != nil {
		return err
	}
	a, b := c.sides[shadow.Production], c.sides[shadow.Candidate]
	if len(a.partitions) == len(b.partitions) { // what is in one partition of either is in the same one of the other
		for _, p := range a.partitions {
			if err := c.merge(ctx, []int32{p}, []int32{p}); err != nil {
				return err
			}
		}
	} else if err := c.merge(ctx, a.partitions, b.partitions); err != nil {
		return err
	}
	if c.o.Follow && !c.full {
		if err := c.follow(ctx); err != nil {
			return err
		}
	}
	c.merger.Finish()
	return nil
}

// cursor reads a partition, step by step.
type cursor struct {
	which     shadow.Which
	partition int32
	start     int64
	next, end int64
	pull      func() (kafka.Step, bool)
	stop      func()
	err       error
	done      bool
}

// progress is the share that was read.
func (r *cursor) progress() float64 {
	if r.done || r.end <= r.start {
		return 2
	}
	return float64(r.next-r.start) / float64(r.end-r.start)
}

func (c *comparing) cursor(ctx context.Context, w shadow.Which, partition int32) *cursor {
	s := c.sides[w]
	r := &cursor{which: w, partition: partition, start: s.start[partition], next: s.start[partition], end: s.end[partition]}
	r.pull, r.stop = iter.Pull(func(yield func(kafka.Step) bool) {
		for r.next < r.end {
			r.err = c.client.Read(ctx, kafka.ReadConfig{
				From: map[string]kafka.Offsets{s.topic: {partition: r.next}}, Until: map[string]kafka.Offsets{s.topic: {partition: r.end}},
			}, func(step kafka.Step) error {
				r.next = step.Next
				if !yield(step) {
					return errRangeDone
				}
				return nil
			})
			outside, ok := errors.AsType[*kafka.RangeError](r.err)
			if !ok {
				return
			}
			at := outside.Partitions[0]
			if at.Start <= r.next { // it is shorter than it was: it was made anew
				return
			}
			r.next, r.err = at.Start, nil // the oldest records go while they are read
		}
	})
	return r
}

// merge reads some partitions of both topics side by side, the one that is behind first.
func (c *comparing) merge(ctx context.Context, production, candidate []int32) error {
	var all []*cursor
	defer func() {
		for _, r := range all {
			r.stop()
		}
	}()
	for _, p := range production {
		all = append(all, c.cursor(ctx, shadow.Production, p))
	}
	for _, p := range candidate {
		all = append(all, c.cursor(ctx, shadow.Candidate, p))
	}
	for !c.full {
		r := c.behind(all)
		if r == nil {
			return nil
		}
		step, ok := r.pull()
		if !ok {
			if r.err != nil {
				return r.err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.done = true
			continue
		}
		c.step(r.which, &step)
	}
	return nil
}

// behind returns the cursor to read next: where one topic is far ahead, one of the other; nil when all are done.
func (c *comparing) behind(all []*cursor) *cursor {
	if of, w, n, ok := c.merger.Ahead(); ok && n > aheadBy {
		partition := of.Candidate
		if w == shadow.Candidate {
			partition = of.Production
		}
		for _, r := range all {
			if r.which == 1-w && r.partition == partition && !r.done {
				return r
			}
		}
		if !c.o.Follow {
			c.merger.End(of) // the other one ends before
		}
	}
	var next *cursor
	for _, r := range all {
		if !r.done && (next == nil || r.progress() < next.progress()) {
			next = r
		}
	}
	return next
}

// step takes in what was read in one go.
func (c *comparing) step(w shadow.Which, s *kafka.Step) {
	for i := range s.Len() {
		var raw record.Raw
		s.Read(i, &raw)
		c.take(w, &raw)
	}
}

// take takes a prediction in.
func (c *comparing) take(w shadow.Which, raw *record.Raw) {
	s := c.sides[w]
	var from, stamp, ref, digest []byte
	for _, h := range raw.Headers {
		switch h.Key {
		case engine.HeaderSource:
			from = h.Value
		case engine.HeaderSourceTimestamp:
			stamp = h.Value
		case headerModel:
			ref = h.Value
		case headerDigest:
			digest = h.Value
		default:
		}
	}
	topic, partition, offset, ok := parsePlace(from)
	if !ok || topic != c.p.Source.Topic || int(partition) >= c.source {
		s.other++
		return
	}
	if !c.inRange(partition, offset) {
		return
	}
	if w == shadow.Candidate && string(ref) != c.o.Model {
		s.other++
		return
	}
	value, ok := predictionIn(raw.Value, c.p.Sink.Field)
	if !ok {
		s.other++
		return
	}
	s.read++
	p := shadow.Prediction{Offset: offset, Value: value, Timestamp: raw.Timestamp, Model: c.model(string(ref), string(digest)), At: raw.Offset}
	if at, err := strconv.ParseInt(string(stamp), 10, 64); err == nil {
		if p.Timestamp = at; s.appendTime && at >= 0 {
			late := float64(raw.Timestamp - at)
			s.latency.Add(spot(partition, offset), late)
			s.late.Add(late)
		}
	}
	if w == shadow.Candidate {
		s.candidate = p.Model
	}
	of := shadow.Stream{Source: partition, Production: raw.Partition, Candidate: raw.Partition}
	if a, b := len(c.sides[0].partitions), len(c.sides[1].partitions); a != b {
		if w == shadow.Production {
			of.Candidate = task.Place(raw.Key, partition, b)
		} else {
			of.Production = task.Place(raw.Key, partition, a)
		}
	}
	c.merger.Add(of, w, p)
}

func (c *comparing) inRange(partition int32, offset int64) bool {
	if from, ok := c.from[partition]; c.from != nil && (!ok || offset < from) {
		return false
	}
	to, ok := c.to[partition]
	return c.to == nil || ok && offset < to
}

// parsePlace reads TOPIC/PARTITION/OFFSET.
func parsePlace(text []byte) (topic string, partition int32, offset int64, ok bool) {
	at := bytes.LastIndexByte(text, '/')
	if at < 0 {
		return "", 0, 0, false
	}
	offset, err := strconv.ParseInt(string(text[at+1:]), 10, 64)
	before := bytes.LastIndexByte(text[:at], '/')
	if err != nil || offset < 0 || offset >= 1<<44 || before < 0 {
		return "", 0, 0, false
	}
	n, err := strconv.ParseInt(string(text[before+1:at]), 10, 20)
	if err != nil || n < 0 {
		return "", 0, 0, false
	}
	return string(text[:before]), int32(n), offset, true
}

// predictionIn returns the prediction of a record of the sink. It was added as the last field; where it is not, the text is read as
// JSON is.
func predictionIn(value []byte, field string) (float64, bool) {
	if name, err := json.Marshal(field); err == nil {
		if at := bytes.LastIndex(value, append(name, ':')); at >= 0 {
			text, closed := bytes.CutSuffix(bytes.TrimSpace(value[at+len(name)+1:]), []byte("}"))
			if x, err := strconv.ParseFloat(string(text), 64); closed && err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
				return x, true
			}
		}
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil {
		return 0, false
	}
	var x *float64
	if json.Unmarshal(object[field], &x) != nil || x == nil {
		return 0, false
	}
	return *x, true
}

// live is what was read of a topic that is followed.
type live struct {
	which shadow.Which
	step  kafka.Step
	label *record.Raw // an outcome, where that is what it is
}

// follow goes on with what is written later, until ctx ends.
func (c *comparing) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news := make(chan live)
	failed := make(chan error, len(c.sides)+1)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for w, s := range c.sides {
		at := kafka.Offsets{}
		for _, p := range s.partitions {
			at[p] = s.end[p]
		}
		readers.Go(func() {
			failed <- c.client.Read(ctx, kafka.ReadConfig{From: map[string]kafka.Offsets{s.topic: at}, Follow: true}, func(step kafka.Step) error {
				select {
				case news <- live{which: shadow.Which(w), step: step}:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	}
	if c.labels.topic != "" {
		readers.Go(func() {
			failed <- c.client.Read(ctx, kafka.ReadConfig{From: map[string]kafka.Offsets{c.labels.topic: c.labels.end}, Follow: true}, func(step kafka.Step) error {
				for i := range step.Len() {
					raw := &record.Raw{}
					step.Read(i, raw)
					select {
					case news <- live{label: raw}:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return nil
			})
		})
	}
	return c.listen(ctx, news, failed)
}

// listen takes in what comes, and says how it stands now and then.
func (c *comparing) listen(ctx context.Context, news <-chan live, failed <-chan error) error {
	every := c.o.Every
	if every <= 0 {
		every = defaultEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !c.full {
		select {
		case n := <-news:
			if n.label != nil {
				c.labels.add(c, n.label)
			} else {
				c.step(n.which, &n.step)
			}
		case <-tick.C:
			if c.o.Live != nil {
				r, err := c.report()
				if err != nil {
					return err
				}
				c.bounds(r)
				c.o.Live(r)
			}
		case err := <-failed:
			if ctx.Err() == nil {
				return fmt.Errorf("compare: %w", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
