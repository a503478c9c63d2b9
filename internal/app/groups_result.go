package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// The topic of an arm has one record for each of the source, in the same partition and the same order, which carries that record. It is a
// prediction with the headers that it would have in the sink, and after these the one of headerResult; or the record as it came with the
// header headerNoResult. Whichever of the two is last counts: those before it may be the record's own.
const (
	headerResult   = "millrace.ab.prediction" // the shortest text that reads back as the prediction
	headerNoResult = "millrace.ab.refused"    // a refusal
)

// refusal is why an arm has no prediction, as JSON.
type refusal struct {
	Stage  string `json:"stage"`
	Class  string `json:"class"`
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// armTopology declares what an arm does: predict all records of the source, and write what comes of each to the topic of the arm.
// p has been by withoutNotes.
func armTopology(p *config.Pipeline, arm string, plan *feature.Plan, s *Scoring) *stream.Topology {
	t := stream.New(groupOf(p, arm))
	c := newScorers(t, p, plan, s)
	records := stream.From(t, p.Source.Topic, stream.Bytes(), stream.Bytes(), stream.UseClock(), stream.KeepUnreadable())
	out := stream.MapBatch(records, "score", func(ctx context.Context, b *stream.Batch[[]byte, []byte, scored]) error {
		return all(ctx, c, b)
	}, stream.BatchOptions{MaxSize: pipeline.BatchRows, Concurrency: c.concurrency(), OnError: stream.OnError(stream.Fail), Globals: c.refs})
	out.Values(predictionCodec{}).To(topicOf(p, arm), stream.Provenance(), stream.KeepOrigin(), stream.OrStop(),
		stream.PartitionBy(func(r *stream.Record[[]byte, scored], _ int) int { return int(r.Value.partition) }))
	return t
}

// withoutNotes is a pipeline without what run writes beside predictions: several arms would write it several times.
func withoutNotes(p *config.Pipeline) *config.Pipeline {
	q := *p
	q.Samples.Rate, q.Checks.Window = 0, nil
	return &q
}

// all predicts a batch, and makes a result of what cannot be predicted too.
func all(ctx context.Context, c *scorers, b *stream.Batch[[]byte, []byte, scored]) error {
	failed := guardedScore(ctx, c, b)
	if failed != nil && ctx.Err() != nil {
		return failed
	}
	for i := range b.In {
		out := &b.Out[i]
		if failed != nil {
			*out = stream.Result[scored]{Err: failed}
		}
		origin, ok := b.Origin(i)
		if !ok {
			return errors.New("a record has no place in the source")
		}
		if origin.Unreadable {
			out.Err = &stream.Rejection{
				Stage: record.StageDecode, Class: "batch_too_large", Reason: "the batch that the record is in becomes too large when it is decompressed",
			}
		}
		if out.Err == nil {
			if out.Headers == nil { // those of the record would stay
				out.Headers = []record.Header{}
			}
			out.Headers = append(slices.Clip(out.Headers), record.Header{Key: headerResult, Value: strconv.AppendFloat(nil, out.Value.number, 'g', -1, 64)})
		} else if err := refuse(out, &b.In[i]); err != nil {
			return err
		}
		out.Value.partition = origin.Partition
	}
	return nil
}

// refuse makes a result of an error that is about a record.
func refuse(out *stream.Result[scored], in *stream.Record[[]byte, []byte]) error {
	if stop, ok := errors.AsType[*stream.Stop](out.Err); ok {
		out.Err = stop
		return nil
	}
	why := refusal{Stage: record.StageProcess, Class: "function_failed", Reason: "the function failed"}
	if r, ok := errors.AsType[*stream.Rejection](out.Err); ok {
		why = refusal{r.Stage, r.Class, r.Field, r.Reason}
	}
	text, err := json.Marshal(why)
	if err != nil {
		return err
	}
	*out = stream.Result[scored]{Value: scored{prediction: in.Value}, Null: in.NullValue, Headers: []record.Header{{Key: headerNoResult, Value: text}}}
	return nil
}

// guardedScore predicts a batch, and makes an error of a panic: as in run it is about the records of the batch.
func guardedScore(ctx context.Context, c *scorers, b *stream.Batch[[]byte, []byte, scored]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.score(ctx, b)
}

// armResult is what an arm has made of a record of the source.
type armResult struct {
	headers    []record.Header // of a prediction, as in the sink
	value      []byte          // the record with the prediction
	prediction []byte          // as text; nil: the record is refused
	refused    refusal
}

var errNoResult = errors.New("it is no result of an arm")

// readResult reads a record of an arm's topic.
func readResult(in *stream.Record[[]byte, *[]byte]) (r armResult, err error) {
	for i, h := range slices.Backward(in.Headers) {
		switch h.Key {
		case headerResult:
			if _, err := strconv.ParseFloat(string(h.Value), 64); err != nil || in.Value == nil {
				return r, errNoResult
			}
			return armResult{headers: in.Headers[:i:i], value: *in.Value, prediction: h.Value}, nil
		case headerNoResult:
			if json.Unmarshal(h.Value, &r.refused) != nil || r.refused.Stage == "" || r.refused.Class == "" {
				return r, errNoResult
			}
			return r, nil
		}
	}
	return r, errNoResult
}
