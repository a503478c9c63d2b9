package app

import (
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/sample"
	"millrace.dev/stream"
)

// scored is what comes of a record: the prediction; if the record is sampled, what was known of it; and with the first one
// of a batch, what the batch adds to windows.
type scored struct {
	prediction, sample []byte
	counted            *counted
	number             float64 // the prediction
	partition          int32   // of the source; only where an arm has a topic of its own
}

// predictionCodec writes predictions.
type predictionCodec struct{ only }

// Append appends the prediction.
func (predictionCodec) Append(dst []byte, v scored) ([]byte, error) {
	return append(dst, v.prediction...), nil
}

// sampleCodec writes samples.
type sampleCodec struct{ only }

// Append appends the sample.
func (sampleCodec) Append(dst []byte, v scored) ([]byte, error) { return append(dst, v.sample...), nil }

// only is the half of a codec of a topic that is written and not read.
type only struct{}

// Decode returns the bytes as a prediction.
func (only) Decode(b []byte) (scored, error) { return scored{prediction: b}, nil }

// writeOutputs sends predictions and samples to their topics. What the topic of the samples cannot take is counted, and no dead
// letter: its record has a prediction.
func writeOutputs[K any](p *config.Pipeline, s stream.Stream[K, scored]) {
	s.Values(predictionCodec{}).To(p.Sink.Topic, stream.Provenance())
	if p.Samples.Rate > 0 {
		samples := s.Filter(func(_ K, v scored) bool { return v.sample != nil })
		samples.Values(sampleCodec{}).To(p.Samples.Topic, stream.Provenance(), stream.WithoutLetters())
	}
}

// sampler takes samples; nil takes none. It is safe for concurrent use.
type sampler struct {
	rate    sample.Rate
	encoder *sample.Encoder
}

func newSampler(p *config.Pipeline, s *Scoring) *sampler {
	if s == nil || p.Samples.Rate == 0 {
		return nil
	}
	return &sampler{rate: sample.Rate(p.Samples.Rate), encoder: sample.NewEncoder(s.Model, s.Digest, s.Bundle.Plan)}
}

// choose decides which records of a part of a batch are sampled, and returns where its rows are.
func choose[K, V any](s *sampler, w *scorer, b *stream.Batch[K, V, scored], p *part) pipeline.Lookup {
	if s == nil {
		return &w.rows
	}
	w.journal.Begin(&w.rows, w.batch.Len())
	for k := range p.len() {
		origin, ok := b.Origin(p.place(k))
		if !ok || w.batch.Problem(k) != nil || !s.rate.Takes(origin.Topic, origin.Partition, origin.Offset) {
			continue
		}
		w.journal.Mark(k)
		raw := w.batch.Raw(k)
		raw.Topic, raw.Partition, raw.Offset, raw.Key, raw.Timestamp = origin.Topic, origin.Partition, origin.Offset, origin.Key, origin.Timestamp
	}
	if !w.journal.Any() {
		return &w.rows
	}
	return &w.journal
}

// samples returns the samples of the batch at hand, by record, nil where there is none.
func (s *sampler) samples(w *scorer) [][]byte {
	if s == nil || !w.journal.Any() {
		return nil
	}
	defer w.journal.Begin(nil, 0) // let go of the rows
	samples := make([][]byte, w.batch.Len())
	for i := range samples {
		if !w.journal.Marked(i) || w.batch.Problem(i) != nil {
			continue // what is rejected is a dead letter, and has no sample
		}
		samples[i] = s.encoder.Append(nil, &sample.Taken{
			Record: w.batch.Raw(i), EventTime: w.worker.Times()[i], Lookups: w.journal.Lookups(i), Windows: w.windows,
			Frame: w.worker.Frame(), Row: i, Prediction: w.worker.Prediction(i),
		})
	}
	return samples
}
