package app

import (
	"context"

	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// Topology declares what `run` does: score the records of the source in batches, several at a time, and write the
// predictions to the sink, and to the dead letters what cannot be predicted. Each worker scores one batch at a time;
// without workers the topology can be described, but not run.
func Topology(p *config.Pipeline, workers []*pipeline.Worker) *stream.Topology {
	t := stream.New(p.Name, stream.DeadLetters(p.DeadLetter.Topic))
	// Event time matters to nothing here: a record without one is predicted like any other.
	source := []stream.SourceOption{stream.UseClock()}
	if p.Source.Start == "latest" {
		source = append(source, stream.StartLatest())
	}
	records := stream.From(t, p.Source.Topic, stream.Bytes(), stream.Bytes(), source...)
	s := scorers{free: make(chan *scorer, len(workers))}
	for _, w := range workers {
		s.free <- &scorer{worker: w, batch: w.NewBatch()}
	}
	stream.MapBatch(records, "score", s.score, stream.BatchOptions{
		MaxSize: pipeline.BatchRows, Concurrency: max(1, len(workers)), OnError: stream.OnError(stream.DeadLetter),
	}).To(p.Sink.Topic, stream.Provenance())
	return t
}

// scorers are the workers that no batch has at the moment.
type scorers struct{ free chan *scorer }

type scorer struct {
	worker *pipeline.Worker
	batch  *record.Batch
}

var errNoOutput = &stream.Rejection{
	Stage: record.StageEncode, Class: "no_output", Reason: "the data path gave no result for this record",
}

// score predicts a batch.
func (s *scorers) score(ctx context.Context, b *stream.Batch[[]byte, []byte, []byte]) error {
	var w *scorer
	select {
	case w = <-s.free:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.free <- w }()
	w.batch.Reset()
	defer w.batch.Reset() // let go of the records
	for i := range b.In {
		w.batch.Append(record.Raw{Key: b.In[i].Key, Value: b.In[i].Value, Headers: b.In[i].Headers, Timestamp: b.In[i].Timestamp})
	}
	w.worker.Process(w.batch)
	memory := b.Memory[:0]
	model := w.worker.Headers()
	var headers []record.Header
	for i := range b.In {
		if p := w.batch.Problem(i); p != nil {
			r := stream.Rejection(*p) // the batch is used again
			b.Out[i].Err = &r
			continue
		}
		out := w.worker.Output(i)
		if out == nil {
			b.Out[i].Err = errNoOutput
			continue
		}
		at := len(memory)
		memory = append(memory, out...) // what grew out of the old memory keeps that alive
		b.Out[i].Value = memory[at:len(memory):len(memory)]
		b.Out[i].Headers = model
		if own := b.In[i].Headers; len(own) > 0 {
			at := len(headers)
			headers = append(append(headers, own...), model...)
			b.Out[i].Headers = headers[at:len(headers):len(headers)]
		}
	}
	b.Memory = memory
	return nil
}
