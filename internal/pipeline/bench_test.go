package pipeline_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/pipeline"
	"millrace.dev/model"
	"millrace.dev/record"
)

const (
	benchTrees   = 120
	benchDepth   = 5
	benchBatches = 16 // so many that no branch predictor learns the records by heart
)

// houses returns the path of a model of full size, and batches of records that it has not seen.
func houses(b *testing.B) (*model.Bundle, [][][]byte) {
	b.Helper()
	p := gbm.DefaultParams()
	p.NTrees, p.MaxDepth = benchTrees, benchDepth
	bundle, sales := trainOn(b, 20_000, p, benchBatches*pipeline.BatchRows)
	if n := bundle.Forest.Trees(); n != benchTrees {
		b.Fatalf("%d trees", n)
	}
	batches := make([][][]byte, benchBatches)
	for i := range sales {
		n := i / pipeline.BatchRows
		batches[n] = append(batches[n], sales[i].AppendListing(nil))
	}
	return bundle, batches
}

func fill(b *record.Batch, values [][]byte) {
	b.Reset()
	for i, v := range values {
		b.Append(record.Raw{Value: v, Offset: int64(i)})
	}
}

// clock times the batches of one stage in [threadTime]. Its result is the median, which other work of the machine
// disturbs less than the mean.
type clock struct {
	start time.Duration
	took  []time.Duration
}

func (c *clock) begin() { c.start = threadTime() }
func (c *clock) end()   { c.took = append(c.took, threadTime()-c.start) }

func (c *clock) report(b *testing.B, unit string) {
	b.Helper()
	slices.Sort(c.took)
	b.ReportMetric(float64(c.took[len(c.took)/2])/pipeline.BatchRows, unit)
}

// allocations counts the allocations of a benchmark's loop, by record.
type allocations struct{ before runtime.MemStats }

func (a *allocations) begin() { runtime.ReadMemStats(&a.before) }

func (a *allocations) report(b *testing.B) {
	b.Helper()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-a.before.Mallocs)/float64(b.N)/pipeline.BatchRows, "allocs/record")
}

// BenchmarkProcess is the whole path; one operation is a batch. The median of the batches is ns/record.
func BenchmarkProcess(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bundle, batches := houses(b)
	w := newWorker(b, newPath(b, bundle, pipeline.Options{}))
	batch := w.NewBatch()
	bytes := 0
	for _, values := range batches {
		fill(batch, values)
		w.Process(batch)
		for i, v := range values {
			if p := batch.Problem(i); p != nil {
				b.Fatalf("%+v", p)
			}
			bytes += len(v)
		}
	}
	c := clock{took: make([]time.Duration, 0, max(b.N, 1))}
	var a allocations
	a.begin()
	b.ResetTimer()
	for i := range b.N {
		c.begin()
		fill(batch, batches[i%benchBatches])
		w.Process(batch)
		c.end()
	}
	b.StopTimer()
	a.report(b)
	c.report(b, "ns/record")
	b.ReportMetric(float64(bytes)/benchBatches/pipeline.BatchRows, "B/record")
}

// BenchmarkStages is the same, stage by stage, so that each stage finds the caches as the one before it leaves them.
// One operation is a batch; each metric is the median of the batches, in ns for a record.
func BenchmarkStages(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bundle, batches := houses(b)
	batch := record.NewBatch(bundle.Schema, bundle.Plan.Levels())
	decoder, err := pipeline.NewDecoder(bundle.Schema, pipeline.Options{Field: sinkField}, bundle.Manifest.Label)
	if err != nil {
		b.Fatal(err)
	}
	encoder, err := codec.NewJSONEncoder(sinkField)
	if err != nil {
		b.Fatal(err)
	}
	evaluator := bundle.Plan.NewEvaluator()
	scores := make([]float64, pipeline.BatchRows)
	var out []byte
	var values [][]byte
	var frame *record.Frame
	stages := []struct {
		name string
		do   func()
		clock
	}{
		{name: "append", do: func() { fill(batch, values) }},
		{name: "decode", do: func() { decoder.Decode(batch) }},
		{name: "features", do: func() { frame = evaluator.Eval(batch, feature.Enrichment{}) }},
		{name: "score", do: func() { bundle.Forest.Score(frame, scores) }},
		{name: "encode", do: func() {
			out = out[:0]
			for i, v := range values {
				out = encoder.Encode(out, v, scores[i])
			}
		}},
	}
	run := func(i int) {
		values = batches[i%benchBatches]
		for s := range stages {
			stages[s].begin()
			stages[s].do()
			stages[s].end()
		}
	}
	for i := range batches {
		run(i)
	}
	for s := range stages {
		stages[s].took = make([]time.Duration, 0, b.N)
	}
	b.ResetTimer()
	for i := range b.N {
		run(i)
	}
	for s := range stages {
		stages[s].report(b, stages[s].name+"-ns/record")
	}
}
