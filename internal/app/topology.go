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
//
// The rows of a global table are looked up as a batch is scored. If a table is partitioned, the records go to its rows
// first, through a repartition topic.
func Topology(p *config.Pipeline, workers []*pipeline.Worker) *stream.Topology {
	t := stream.New(application(p), stream.DeadLetters(p.DeadLetter.Topic))
	// Event time matters to nothing here: a record without one is predicted like any other.
	source := []stream.SourceOption{stream.UseClock()}
	if p.Source.Start == "latest" {
		source = append(source, stream.StartLatest())
	}
	s := newScorers(t, p, workers)
	o := stream.BatchOptions{
		MaxSize: pipeline.BatchRows, Concurrency: max(1, len(workers)), OnError: stream.OnError(stream.DeadLetter), Globals: s.refs,
	}
	var scored stream.Stream[[]byte, []byte]
	if p.Partitioned() == nil {
		records := stream.From(t, p.Source.Topic, stream.Bytes(), stream.Bytes(), source...)
		scored = stream.MapBatch(records, "score", s.score, o)
	} else {
		records := stream.From(t, p.Source.Topic, stream.Bytes(), stream.Nullable(stream.Bytes()), source...)
		scored = stream.MapBatch(joinRows(t, p, records), "score", s.scoreJoined, o)
	}
	scored.To(p.Sink.Topic, stream.Provenance())
	return t
}

// application returns the name of the application. Where it is part of the names of topics it is that of the group:
// two groups that run one pipeline have nothing in common.
func application(p *config.Pipeline) string {
	if p.Partitioned() != nil {
		return p.Group
	}
	return p.Name
}

// scorers are the workers that no batch has at the moment, and the tables in which all of them look up rows.
type scorers struct {
	free        chan *scorer
	globals     []global
	refs        []stream.GlobalRef
	partitioned int // the index of the table that is partitioned
}

// global is a global table, with its index among the tables of the pipeline.
type global struct {
	index int
	rows  stream.GlobalTable[string, []byte]
}

type scorer struct {
	worker *pipeline.Worker
	batch  *record.Batch
}

func newScorers(t *stream.Topology, p *config.Pipeline, workers []*pipeline.Worker) *scorers {
	s := &scorers{free: make(chan *scorer, len(workers))}
	for _, w := range workers {
		s.free <- &scorer{worker: w, batch: w.NewBatch()}
	}
	for i := range p.Tables {
		table := &p.Tables[i]
		if table.Join == config.JoinPartitioned {
			s.partitioned = i
			continue
		}
		rows := stream.GlobalTableFrom(t, table.Name, table.Topic, stream.String(), stream.Bytes())
		s.globals, s.refs = append(s.globals, global{i, rows}), append(s.refs, rows)
	}
	return s
}

// take returns a worker, when there is one, with an empty batch.
func (s *scorers) take(ctx context.Context) (*scorer, error) {
	select {
	case w := <-s.free:
		w.batch.Reset()
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *scorers) giveBack(w *scorer) {
	w.batch.Reset() // let go of the records
	s.free <- w
}

// score predicts a batch.
func (s *scorers) score(ctx context.Context, b *stream.Batch[[]byte, []byte, []byte]) error {
	w, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer s.giveBack(w)
	for i := range b.In {
		w.batch.Append(record.Raw{Key: b.In[i].Key, Value: b.In[i].Value, Headers: b.In[i].Headers, Timestamp: b.In[i].Timestamp})
	}
	w.worker.Decode(w.batch)
	s.lookUp(b, w)
	w.worker.Complete(w.batch)
	results(w, b)
	return nil
}

// scoreJoined predicts a batch of records that have come to their rows.
func (s *scorers) scoreJoined(ctx context.Context, b *stream.Batch[[]byte, withRow, []byte]) error {
	w, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer s.giveBack(w)
	for i := range b.In {
		w.batch.Append(record.Raw{Key: b.In[i].Key, Value: b.In[i].Value.value, Headers: b.In[i].Headers, Timestamp: b.In[i].Timestamp})
	}
	w.worker.Decode(w.batch)
	for i := range b.In {
		w.worker.SetRow(s.partitioned, i, b.In[i].Value.row)
	}
	s.lookUp(b, w)
	w.worker.Complete(w.batch)
	results(w, b)
	return nil
}

// lookUp gives a worker the rows of the global tables.
func (s *scorers) lookUp(b stream.GlobalReader, w *scorer) {
	for _, g := range s.globals {
		for i := range w.batch.Len() {
			if key, ok := w.worker.Key(w.batch, g.index, i); ok {
				row, _ := g.rows.Get(b, key)
				w.worker.SetRow(g.index, i, row)
			}
		}
	}
}

var errNoOutput = &stream.Rejection{
	Stage: record.StageEncode, Class: "no_output", Reason: "the data path gave no result for this record",
}

// results gives a batch what a worker has made of it.
func results[V any](w *scorer, b *stream.Batch[[]byte, V, []byte]) {
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
		b.Out[i].Value, b.Out[i].Headers = out, model
		if own := b.In[i].Headers; len(own) > 0 {
			at := len(headers)
			headers = append(append(headers, own...), model...)
			b.Out[i].Headers = headers[at:len(headers):len(headers)]
		}
	}
	b.Memory = w.worker.Exchange(b.Memory)
}
