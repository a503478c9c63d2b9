package app

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// merger chooses for each record of the source the result of the arm that it goes to. It is safe for concurrent use.
type merger struct {
	p       *config.Pipeline
	split   *split
	now     func() time.Time
	log     *slog.Logger
	headers [][]record.Header // by arm, those that name it
	letters [][]record.Header // by arm, those of dead letters
	// incomplete counts the records that lack the result of an arm.
	incomplete atomic.Uint64
}

func newMerger(p *config.Pipeline, of *rollout.Split, now func() time.Time, log *slog.Logger) (*merger, error) {
	s, err := newSplit(p, of)
	if err != nil {
		return nil, err
	}
	m := &merger{p: p, split: s, now: now, log: log}
	for i := range of.Arms {
		name := []record.Header{{Key: headerExperiment, Value: []byte(of.Experiment)}, {Key: headerArm, Value: []byte(of.Arms[i].Name)}}
		m.headers = append(m.headers, name)
		m.letters = append(m.letters, append(letterHeaders(p, of.Arms[i].Model), name...))
	}
	return m, nil
}

// letterHeaders returns the headers of the dead letter of a record that tell which arm has refused it.
func (m *merger) letterHeaders(_ int64, r *record.Raw) []record.Header {
	if r.Topic != m.p.Source.Topic { // it is of no arm
		return nil
	}
	return m.split.letter(r, func(i int) []record.Header { return m.letters[i] })
}

// longestAhead is how far an offset, in the place of an event time, may be ahead of the clock: any may.
const longestAhead = 250 * 365 * 24 * time.Hour

// mergeTopology declares the merge: it takes the topics of the arms in step, by the offsets of the source, and writes what run would write.
func mergeTopology(p *config.Pipeline, m *merger) *stream.Topology {
	t := stream.New(groupOf(p, mergeName), stream.DeadLetters(p.DeadLetter.Topic), stream.MaxAhead(longestAhead))
	var arms []stream.Stream[[]byte, *[]byte]
	for i := range m.split.of.Arms {
		arms = append(arms, stream.From(t, topicOf(p, m.split.of.Arms[i].Name), stream.Bytes(), stream.Nullable(stream.Bytes()),
			stream.WithOrigin(), stream.DeleteProcessed(), stream.EventTime(sourceOffset)))
	}
	// What is refused was refused by the arms' operator of that name, as by that of run.
	stream.InStep(arms, "score", m.choose, stream.OnError(stream.DeadLetter)).Values(stream.Bytes()).To(p.Sink.Topic, stream.Provenance())
	return t
}

// sourceOffset returns the offset of the record of the source that led to a result, as milliseconds since 1970; the zero time is that the
// record is no result.
func sourceOffset(r *stream.Record[[]byte, *[]byte]) time.Time {
	if n, ok := offsetOf(r.Headers); ok {
		return time.UnixMilli(n)
	}
	return time.Time{}
}

// offsetOf returns the offset of the record of the source that led to a result, by the result's headers.
func offsetOf(headers []record.Header) (int64, bool) {
	for _, h := range slices.Backward(headers) {
		if h.Key != engine.HeaderSource {
			continue
		}
		n, err := strconv.ParseInt(string(h.Value[bytes.LastIndexByte(h.Value, '/')+1:]), 10, 64)
		return n, err == nil && n >= 0 && n <= math.MaxInt64/int64(time.Millisecond)
	}
	return 0, false
}

// notOfArm refuses what is no result of an arm.
func notOfArm() error {
	return &stream.Rejection{Stage: record.StageDecode, Class: "undecodable", Reason: "the record of the arm's topic is not what an arm writes"}
}

// choose chooses the result of a step.
func (m *merger) choose(s *stream.Step[[]byte, *[]byte, []byte]) error {
	first := slices.IndexFunc(s.In, func(r *stream.Record[[]byte, *[]byte]) bool { return r != nil })
	s.Of = first
	origin, ok := s.Origin(first)
	if !ok || origin.Topic != m.p.Source.Topic || origin.Offset != s.In[first].Timestamp {
		return notOfArm()
	}
	arm, forced := m.split.one(&origin)
	if slices.Contains(s.In, nil) {
		if m.incomplete.Add(1) == 1 {
			m.log.LogAttrs(context.Background(), slog.LevelWarn, "an arm has no result of a record that others have: this is told once, and counted", slog.String("topic", origin.Topic),
				slog.Int("partition", int(origin.Partition)), slog.Int64("offset", origin.Offset),
				slog.String("hint", "was the record deleted from its topic before the arm came to it? What another arm has made of it goes out as millrace.forced"))
		}
		if s.In[arm] == nil { // what another arm has made of it is more than nothing, but says nothing of this one
			arm, forced = first, true
		}
	}
	s.Of = arm
	r, err := readResult(s.In[arm])
	if err != nil {
		return notOfArm()
	}
	control, baseline := armResult{}, strconv.AppendFloat(nil, math.NaN(), 'g', -1, 64) // NaN: it says nothing of the record
	if arm > 0 && s.In[0] != nil {
		if control, err = readResult(s.In[0]); err == nil && control.prediction != nil {
			baseline = control.prediction
		}
	}
	if why := r.refused; r.prediction == nil {
		if control.prediction == nil {
			return &stream.Rejection{Stage: why.Stage, Class: why.Class, Field: why.Field, Reason: why.Reason}
		}
		// As in an instance that has all arms: no record is lost to a trial.
		r = control
		r.headers = append(r.headers, record.Header{Key: headerRefused, Value: []byte(why.Class)})
	}
	s.Out = stream.Record[[]byte, []byte]{Key: s.In[arm].Key, NullKey: s.In[arm].NullKey, Value: r.value, Timestamp: m.timestamp(origin.Timestamp)}
	s.Out.Headers = slices.Concat(r.headers, m.headers[arm])
	if arm > 0 {
		s.Out.Headers = append(s.Out.Headers, record.Header{Key: headerBaseline, Value: baseline})
	}
	if forced {
		s.Out.Headers = append(s.Out.Headers, record.Header{Key: headerForced, Value: []byte("true")})
	}
	return nil
}

// maxAhead is how far the timestamp of a record may be ahead of the clock: the default of package stream, with which run reads.
const maxAhead = 24 * time.Hour

// timestamp returns the timestamp of a prediction: that of its record, or the clock's where run would take that.
func (m *merger) timestamp(at int64) int64 {
	if now := m.now(); at < 0 || at > now.Add(maxAhead).UnixMilli() {
		return now.UnixMilli()
	}
	return at
}
