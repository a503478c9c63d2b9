// Package pipeline is the one data path of millrace:
//
//	bytes -> decode -> [windows, rows of tables] -> features, checks -> score -> encode -> bytes
//
// It is pure: no input or output, no clock, no randomness, no goroutines. The drivers (the topology of internal/app for a
// stream, internal/batch for data) feed it batches, keep the states of windows and find the rows of tables, and differ in
// nothing else, so a record gets the same prediction, bit for bit, wherever it comes from.
package pipeline

import (
	"fmt"
	"math"
	"sync/atomic"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/model"
	"millrace.dev/record"
)

// BatchRows is the number of records that drivers aim to put in a batch: enough to spread the cost of a batch over
// its records, few enough to stay in the processor's second-level cache.
const BatchRows = 1024

// Format is the form of a record's bytes.
type Format uint8

// The formats of a record.
const (
	JSON Format = iota // one JSON object; the default
	CSV                // one line of a CSV file
)

// Options say how records come in and go out.
type Options struct {
	// Format is the form of input and output. Default: JSON.
	Format Format
	// Header names the columns of a CSV record.
	Header []string
	// Field is the field that takes the prediction. Default: the bundle's.
	Field string
	// Headers are added to every prediction; the path only hands them on. Default: none.
	Headers []record.Header
	// MaxBytes is the size in bytes above which a record is rejected, or a row of a table. Default: 1 MiB.
	MaxBytes int
	// Tables say what becomes of records without a row in a table of the plan. Default: none is required
	Tables []Table
	// Checks are the rules that each record has to keep. Default: none
	Checks []Check
}

// NewDecoder returns the decoder of o for records of s; the fields named in undeclared
// count as ones that s does not have.
func NewDecoder(s *record.Schema, o Options, undeclared ...string) (codec.Decoder, error) {
	if o.Format == CSV {
		return codec.NewCSV(s, o.Header, codec.CSVOptions{Reserved: o.Field, Undeclared: undeclared, MaxBytes: o.MaxBytes})
	}
	return codec.NewJSON(s, codec.JSONOptions{Reserved: o.Field, Undeclared: undeclared, MaxBytes: o.MaxBytes})
}

// Path is the data path of one model. It is immutable and safe for concurrent use.
type Path struct {
	bundle  *model.Bundle
	options Options
	levels  map[string][]string
	times   EventTimes
	rules   *feature.Rules // of the checks; nil without any
}

// New returns the path of the model in b, after it has reproduced the bundle's golden rows bit for bit: an error
// means that this machine or this version of millrace would predict something else than was approved, or that a check
// cannot be tested with this model.
func New(b *model.Bundle, o Options) (*Path, error) {
	if o.Field == "" {
		o.Field = b.Manifest.SinkField
	}
	p := newPath(b, o)
	if len(o.Checks) > 0 {
		var err error
		if p.rules, err = CompileChecks(b, o.Checks); err != nil {
			return nil, err
		}
	}
	if _, err := p.NewWorker(); err != nil {
		return nil, err
	}
	if err := p.reproduce(); err != nil {
		return nil, err
	}
	return p, nil
}

func newPath(b *model.Bundle, o Options) *Path {
	return &Path{bundle: b, options: o, levels: b.Plan.Levels(), times: NewEventTimes(b.Schema, b.Manifest.EventTime)}
}

// Field returns the field that takes the prediction.
func (p *Path) Field() string { return p.options.Field }

// Bundle returns the model of the path.
func (p *Path) Bundle() *model.Bundle { return p.bundle }

// Worker runs a path for one goroutine: it owns the scratch memory.
type Worker struct {
	path      *Path
	decoder   codec.Decoder
	evaluator *feature.Evaluator
	encoder   codec.Encoder
	frame     *record.Frame
	scores    []float64
	out       []byte
	ends      []int
	counts    []inputCounts
	fitted    []inputCounts // by feature.Plan.Fits
	tables    []tableTotals
	times     []int64
	finder    *Finder
	checker   *checker // nil without checks
}

type inputCounts struct{ missing, unseen atomic.Uint64 }

// NewWorker returns a worker of p.
func (p *Path) NewWorker() (*Worker, error) {
	// The label is what the model predicts: a record that has it all the same is not looked at there.
	d, err := NewDecoder(p.bundle.Schema, p.options, p.bundle.Manifest.Label)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	w := &Worker{
		path: p, decoder: d, evaluator: p.bundle.Plan.NewEvaluator(), counts: make([]inputCounts, len(p.bundle.Plan.Inputs())),
		fitted: make([]inputCounts, len(p.bundle.Plan.Fits())), tables: make([]tableTotals, len(p.bundle.Plan.Tables())),
		finder: NewFinder(p.bundle.Plan, p.options.Tables),
	}
	if p.rules != nil {
		w.evaluator, w.checker = p.rules.NewEvaluator(), newChecker(p.options.Checks, p.rules)
	}
	if p.options.Format == CSV {
		w.encoder, err = codec.NewCSVEncoder(',')
	} else {
		w.encoder, err = codec.NewJSONEncoder(p.options.Field)
	}
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	return w, nil
}

// NewBatch returns an empty batch for w.
func (w *Worker) NewBatch() *record.Batch {
	return record.NewBatch(w.path.bundle.Schema, w.path.levels)
}

// Process runs the path on every record of b, which [Worker.NewBatch] made. Afterwards each record has either a problem,
// b.Problem, or an output, [Worker.Output]. Tables have no rows for it, and aggregates of windows are missing: see
// [Worker.Decode].
func (w *Worker) Process(b *record.Batch) {
	w.Decode(b)
	w.Complete(b, Enrichment{})
}

// Decode is the first half of [Worker.Process]. Between it and [Worker.Complete] a driver brings the windows up to date.
func (w *Worker) Decode(b *record.Batch) {
	w.decoder.Decode(b)
	w.times = w.path.times.Append(w.times[:0], b)
}

// Times returns the event time of each record of the last batch, in microseconds since 1970, or record.MissingTime. It is
// valid until the next Decode.
func (w *Worker) Times() []int64 { return w.times }

// Complete is the second half of [Worker.Process]. It is [Worker.Prepare], [Worker.Score] and [Worker.Encode].
func (w *Worker) Complete(b *record.Batch, with Enrichment) {
	w.Prepare(b, with)
	w.Score(b)
	w.Encode(b)
}

// Prepare computes the inputs of the model, [Worker.Frame], and tests the checks.
func (w *Worker) Prepare(b *record.Batch, with Enrichment) {
	w.frame = w.evaluator.Eval(b, feature.Enrichment{Rows: w.finder.Bind(b, w.times, with.Rows), Windows: with.Windows})
	w.finder.Bind(nil, nil, nil)
	if w.checker != nil {
		w.checker.apply(b, w.evaluator.Broken())
	}
	w.publish()
}

// Score predicts the records of which Prepare has computed the inputs, and rejects those whose prediction is no finite number.
func (w *Worker) Score(b *record.Batch) {
	if cap(w.scores) < b.Len() {
		w.scores = make([]float64, b.Len())
	}
	w.scores = w.scores[:b.Len()]
	w.path.bundle.Forest.Score(w.frame, w.scores)
	for i, v := range w.scores {
		if !Finite(v) {
			b.Reject(i, NotFinite(w.path.options.Field))
		}
	}
}

// Take is [Worker.Score] with what another model predicts of rows, in any order; of a row that has a problem it does not count.
// Rows that are not among them must have one.
func (w *Worker) Take(b *record.Batch, rows []int, scores []float64) {
	if cap(w.scores) < b.Len() {
		w.scores = make([]float64, b.Len())
	}
	w.scores = w.scores[:b.Len()]
	clear(w.scores)
	for k, i := range rows {
		if b.Problem(i) != nil {
			continue
		}
		if w.scores[i] = scores[k]; !Finite(scores[k]) {
			b.Reject(i, NotFinite(w.path.options.Field))
		}
	}
}

// Finite tells whether a prediction is a number that can be written.
func Finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// NotFinite is the problem of a record whose prediction, for field, is no finite number.
func NotFinite(field string) record.Problem {
	return record.Problem{
		Stage: record.StageScore, Class: "not_finite", Field: field, Reason: "the prediction is not a finite number",
	}
}

// Encode puts the predictions into the records: [Worker.Output].
func (w *Worker) Encode(b *record.Batch) {
	w.out, w.ends = w.out[:0], w.ends[:0]
	for i, v := range w.scores {
		if b.Problem(i) == nil {
			w.out = w.encoder.Encode(w.out, b.Raw(i).Value, v)
		}
		w.ends = append(w.ends, len(w.out))
	}
}

// Output returns the bytes of row i with the prediction in them, or nil if the row was rejected. They are valid
// until the next Process.
func (w *Worker) Output(i int) []byte {
	start := 0
	if i > 0 {
		start = w.ends[i-1]
	}
	if start == w.ends[i] {
		return nil
	}
	return w.out[start:w.ends[i]:w.ends[i]]
}

// Exchange leaves the memory of the outputs to the caller, so that they stay valid, and goes on with other memory, whose
// contents do not matter.
func (w *Worker) Exchange(memory []byte) []byte {
	out := w.out
	w.out, w.ends = memory[:0], w.ends[:0]
	return out
}

// Headers returns the headers that every prediction gets. They must not be changed.
func (w *Worker) Headers() []record.Header { return w.path.options.Headers }

// Prediction returns the prediction of row i on the label's scale; it means nothing if the row was rejected.
func (w *Worker) Prediction(i int) float64 { return w.scores[i] }

// Predictions returns the predictions of the last batch, valid until the next Process; those of rows that were rejected mean
// nothing.
func (w *Worker) Predictions() []float64 { return w.scores }

// Frame returns the model inputs of the last batch, valid until the next Process.
func (w *Worker) Frame() *record.Frame { return w.frame }
