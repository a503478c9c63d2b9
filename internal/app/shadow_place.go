package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// span are the records of a source, by partition, whose predictions are written. It is set before the records come.
type span struct {
	from, to kafka.Offsets // nil: no bound
}

// has tells whether a record is in the span. One of a partition that came later is not before it.
func (s *span) has(partition int32, offset int64) bool {
	if from, ok := s.from[partition]; ok && offset < from {
		return false
	}
	if s.to == nil {
		return true
	}
	to, ok := s.to[partition]
	return ok && offset < to
}

// within leaves out predictions of records outside of the span of s: those by which windows warm up, and those behind a range.
func within[K any](s *Scoring, out stream.Stream[K, scored]) stream.Stream[K, scored] {
	if s == nil || s.span == nil {
		return out
	}
	return stream.Process(out, "in-range", func() stream.Processor[K, scored, K, scored] { return &spanning[K]{span: s.span} })
}

// spanning sends on the records of a span.
type spanning[K any] struct {
	span *span
	ctx  *stream.ProcessorContext[K, scored]
}

// Init notes the context.
func (s *spanning[K]) Init(ctx *stream.ProcessorContext[K, scored]) error {
	s.ctx = ctx
	return nil
}

// Process sends a record on if it is in the span.
func (s *spanning[K]) Process(r *stream.Record[K, scored]) error {
	if origin, ok := s.ctx.Origin(); ok && !s.span.has(origin.Partition, origin.Offset) {
		return nil
	}
	return s.ctx.Forward(r)
}

// warmGroup is the group whose offsets say from where on a shadow's predictions are written. It has no members.
func (w *shadowed) warmGroup() string { return w.p.Group + "-from" }

// placeShadow finds out where the shadow begins, and sets the offsets of its group where it has none.
func (a *App) placeShadow(ctx context.Context, s *shadowing, w *shadowed) (*ShadowBegin, error) {
	topic := w.p.Source.Topic
	b := &ShadowBegin{Topic: w.p.Sink.Topic, Group: w.p.Group, From: s.from, To: s.to}
	if err := emptyRange(s, topic); err != nil {
		return nil, err
	}
	topics, err := w.client.Topics(ctx, topic)
	if err != nil {
		return nil, err
	}
	committed, err := w.client.Committed(ctx, w.p.Group)
	if err != nil {
		return nil, err
	}
	if b.Read = committed.Offsets(topic); len(b.Read) > 0 {
		b.Resumed = true
		if s.id == "" {
			noted, err := w.client.Committed(ctx, w.warmGroup())
			if err != nil {
				return nil, err
			}
			b.From = noted.Offsets(topic) // empty where all is written, or where they have long been passed and are forgotten
		}
		return b, replayed(s, b)
	}
	if b.From == nil {
		if b.From, err = a.championAt(ctx, s, w, topics[0].Partitions); err != nil {
			return nil, err
		}
	}
	if b.Read, err = s.warmFrom(ctx, w, b.From); err != nil {
		return nil, err
	}
	if err := freshState(ctx, w); err != nil {
		return nil, err
	}
	if s.id != "" {
		for p := range b.To { // what is behind a range is read by nobody
			b.Read[p] = min(b.Read[p], b.To[p])
		}
	} else if s.kept != nil {
		if err := w.client.Place(ctx, w.warmGroup(), kafka.PositionsOf(topic, b.From)); err != nil {
			return nil, err
		}
	}
	err = w.client.Place(ctx, w.p.Group, kafka.PositionsOf(topic, b.Read))
	if k, ok := errors.AsType[*kafka.Error](err); ok && k.Code == kafka.CodeFenced { // another instance was faster
		return a.placeShadow(ctx, s, w)
	}
	return b, err
}

// emptyRange refuses a range in which there is nothing to replay.
func emptyRange(s *shadowing, topic string) error {
	if s.from == nil || s.to == nil {
		return nil
	}
	for p, to := range s.to {
		if s.from[p] < to {
			return nil
		}
	}
	return &Error{
		Code: Nothing, Op: "shadow", Where: topic, Err: errors.New("there is no record from --from to --to"),
		Hint: "does the range begin behind its end, or behind the last record?",
	}
}

// replayed refuses a range that was done already.
func replayed(s *shadowing, b *ShadowBegin) error {
	if b.To == nil {
		return nil
	}
	for p, to := range b.To {
		if b.Read[p] < to {
			return nil
		}
	}
	return &Error{
		Code: Nothing, Op: "shadow", Where: s.model.Ref, Err: fmt.Errorf("the range was replayed already: its predictions are in %s", b.Topic),
		Hint: "look at them: millrace compare",
	}
}

// championAt returns the offsets that production has committed; where it has committed none, where it would begin.
func (a *App) championAt(ctx context.Context, s *shadowing, w *shadowed, partitions []int32) (kafka.Offsets, error) {
	topic := s.produced.Source.Topic
	committed, err := w.client.Committed(ctx, s.produced.Group)
	if err != nil {
		return nil, err
	}
	start, err := w.client.StartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	end, err := w.client.EndOffsets(ctx, topic, false)
	if err != nil {
		return nil, err
	}
	at := kafka.Offsets{}
	for _, p := range partitions {
		o, ok := committed.Offsets(topic)[p]
		switch {
		case ok: // the oldest records may be deleted, and a topic that was made anew is shorter
			at[p] = min(max(o, start[p]), end[p])
		case s.produced.Source.Start == "latest":
			at[p] = end[p]
		default:
			at[p] = start[p]
		}
	}
	if len(committed.Offsets(topic)) == 0 {
		a.Log.LogAttrs(ctx, slog.LevelWarn, "production has committed nothing yet: the shadow begins where that would",
			slog.String("group", s.produced.Group), slog.String("start", s.produced.Source.Start))
	}
	return at, nil
}

// warmAll has windows warm up from the beginning of the topic.
const warmAll = "all"

// checkWarmUp wants a duration, or all.
func (s *shadowing) checkWarmUp() error {
	text := s.options.WarmUp
	if text == "" || text == warmAll {
		return nil
	}
	if len(s.model.Bundle.Plan.Windows()) == 0 {
		return &Error{Code: Usage, Op: "shadow", Where: "--warm-up", Err: errors.New("the model has no windows that would have to warm up"), Hint: "leave it out"}
	}
	if _, ok := warmFor(text); !ok {
		return &Error{Code: Usage, Op: "shadow", Where: "--warm-up", Err: fmt.Errorf("%q is no duration", text), Hint: "such as 30d or 12h, or all"}
	}
	return nil
}

func warmFor(text string) (time.Duration, bool) {
	if n := len(text); n > 1 && text[n-1] == 'd' {
		d, err := time.ParseDuration(text[:n-1] + "h")
		return 24 * d, err == nil && d >= 0 && d < 1<<40*time.Microsecond
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

// warmFrom returns where to begin to read for windows to know by some offsets what production's know: as far back as the longest one
// reaches, by the times of the messages. A field's time may be any, so that all of the topic is read where windows go by one.
func (s *shadowing) warmFrom(ctx context.Context, w *shadowed, at kafka.Offsets) (kafka.Offsets, error) {
	plan := w.m.Bundle.Plan
	if len(plan.Windows()) == 0 {
		return maps.Clone(at), nil
	}
	topic := w.p.Source.Topic
	start, err := w.client.StartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	var reach time.Duration
	for _, of := range plan.Windows() {
		reach = max(reach, of.Size+of.Hop+of.Grace)
	}
	if d, ok := warmFor(s.options.WarmUp); ok && s.options.WarmUp != "" {
		reach = d
	} else if s.options.WarmUp == warmAll || w.m.Bundle.Manifest.EventTime != "" {
		return start, nil
	}
	// A window may have the records of a key from all partitions: they all begin by the earliest of them.
	earliest, err := timeAt(ctx, w.client, topic, at)
	if err != nil {
		return nil, err
	}
	if earliest < 0 {
		return start, nil
	}
	after, err := w.client.OffsetsAfter(ctx, topic, max(0, earliest-reach.Milliseconds()))
	if err != nil {
		return nil, err
	}
	from := kafka.Offsets{}
	for p := range at {
		from[p] = max(min(after[p], at[p]), start[p])
	}
	return from, nil
}

// timeAt returns the earliest of the times of the records at some offsets, in milliseconds since 1970; -1 where one has none. Of a
// partition that ends there it takes the last record before.
func timeAt(ctx context.Context, c *kafka.Client, topic string, at kafka.Offsets) (int64, error) {
	earliest := int64(-1)
	start, err := c.StartOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	for _, p := range slices.Sorted(maps.Keys(at)) {
		found := false
		for back := int64(0); !found && (back == 0 || at[p]-back >= start[p]); back = back*2 + 1 {
			var time int64
			err := c.Tap(ctx, kafka.TapConfig{Topic: topic, Partitions: []int32{p}, From: max(at[p]-back, 0)}, func(rs []record.Raw) error {
				found, time = true, rs[0].Timestamp
				return kafka.StopTap()
			})
			if err != nil {
				return 0, err
			}
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if found && time < 0 {
				return -1, nil
			}
			if found && (earliest < 0 || time < earliest) {
				earliest = time
			}
		}
	}
	return earliest, nil
}

// freshState refuses to begin with windows that know of a time before: the group's offsets are gone, its changelogs are not, and
// what they know would be counted twice.
func freshState(ctx context.Context, w *shadowed) error {
	for _, sub := range w.program.Subs {
		for _, of := range sub.Stores {
			topic := w.program.Changelog(of.Name)
			found, err := w.client.Topics(ctx, topic)
			if len(kafka.Missing(err)) > 0 || err == nil && len(found) == 0 {
				continue
			}
			if err != nil {
				return err
			}
			lag, err := w.client.Lag(ctx, w.p.Group, topic)
			if err != nil {
				return err
			}
			for _, n := range lag {
				if n > 0 {
					return &Error{
						Code: Refused, Op: "shadow", Where: w.p.Group, Err: fmt.Errorf("the group has no offsets any more, and has state in %s from before", topic),
						Hint: "delete that topic and the state folder, or give the shadow another group: --set shadow.group=NAME",
					}
				}
			}
		}
	}
	return nil
}
