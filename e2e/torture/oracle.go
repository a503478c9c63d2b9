// Package torture judges what a pipeline has done to a topic while its processes were killed: an [Oracle] holds the
// committed records of the source topic against the committed predictions and dead letters, and an [Observer]
// reads those as any consumer with read_committed would.
package torture

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what became of a record.
type Kind uint8

// The kinds of an output. Either is for an input of which the test does not know what has to become of it.
const (
	Either Kind = iota
	Prediction
	DeadLetter
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Prediction:
		return "prediction"
	case DeadLetter:
		return "dead letter"
	default:
		return "prediction or dead letter"
	}
}

// Source is the place of a record in the source topic.
type Source struct {
	Partition int32
	Offset    int64
}

func (s Source) String() string { return fmt.Sprintf("%d/%d", s.Partition, s.Offset) }

// Input is a committed record of the source topic.
type Input struct {
	Source
	Key   []byte // nil is none
	Kind  Kind   // what has to become of it
	Value []byte // the value that its prediction must have, byte for byte; nil if any will do
}

// Output is a committed record of the topic of predictions or of that of dead letters.
type Output struct {
	Kind      Kind   // Prediction or DeadLetter
	Source    Source // of the record it was made from, by its headers
	Partition int32  // its own place
	Offset    int64
	Key       []byte
	Value     []byte
	Seen      time.Time // when the consumer got it
}

// Report is the judgement. All but the first group of counts are violations.
type Report struct {
	Inputs, Predictions, DeadLetters int

	Lost       int // inputs without any output
	Duplicated int // outputs beyond the first one of the same kind for an input
	Both       int // inputs with a prediction and a dead letter
	Unknown    int // outputs of no input
	Reordered  int // outputs behind one of a later record with the same key
	Scattered  int // outputs in another partition than the one before with the same key: nothing orders them
	WrongKey   int // outputs with another key than their input's
	WrongValue int // predictions with another value than expected
	WrongKind  int // outputs of the other kind than expected

	// Redelivered counts records that the consumer got again. The oracle leaves them out: they are not two outputs.
	Redelivered int
	// Examples are the first violations in words, without keys or values.
	Examples []string

	// Gap is the longest time between two consecutive outputs, and GapAt its begin. It tells how long the pipeline
	// stood still, if there was always something to do.
	Gap   time.Duration
	GapAt time.Time
	// PartitionGap is the longest time between two consecutive outputs of one source partition, GapPartition.
	// It tells how long the records of a dead instance waited.
	PartitionGap time.Duration
	GapPartition int32
	// Pauses are the times of at least MinPause between two consecutive outputs of one source partition, in the
	// order of their ends. A test holds them against what it did when.
	Pauses []Pause
}

// MinPause is the length from which on a [Pause] is reported: a few times what a pipeline at work takes to commit.
const MinPause = 500 * time.Millisecond

// Pause is a time without outputs of a source partition.
type Pause struct {
	Partition int32
	From, To  time.Time
}

// Length returns how long it was.
func (p Pause) Length() time.Duration { return p.To.Sub(p.From) }

// Err returns an error that counts the violations and gives examples, or nil if there are none.
func (r *Report) Err() error {
	var counts []string
	for _, v := range []struct {
		n    int
		what string
	}{
		{r.Lost, "lost"},
		{r.Duplicated, "duplicated"},
		{r.Both, "both prediction and dead letter"},
		{r.Unknown, "of no input"},
		{r.Reordered, "out of order"},
		{r.Scattered, "in another partition than their key"},
		{r.WrongKey, "with a wrong key"},
		{r.WrongValue, "with a wrong value"},
		{r.WrongKind, "of the wrong kind"},
	} {
		if v.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", v.n, v.what))
		}
	}
	if counts == nil {
		return nil
	}
	return errors.New(strings.Join(counts, ", ") + "\n  " + strings.Join(r.Examples, "\n  "))
}

// String returns the counts and gaps in one line.
func (r *Report) String() string {
	return fmt.Sprintf("%d inputs: %d predictions, %d dead letters; longest gap %s, in one partition (%d) %s",
		r.Inputs, r.Predictions, r.DeadLetters, r.Gap.Round(time.Millisecond), r.GapPartition, r.PartitionGap.Round(time.Millisecond))
}

const maxExamples = 20

// Oracle collects outputs and judges them. It is safe for concurrent use.
type Oracle struct {
	mu       sync.Mutex
	inputs   map[Source]*fate
	missing  int
	position map[place]int64 // the last offset that was seen in each partition of the outputs
	keys     map[line]mark
	seen     map[int32]time.Time // the last output of each source partition
	last     time.Time
	report   Report
}

// fate is what became of an input.
type fate struct {
	input   *Input
	outputs [DeadLetter + 1]int
}

// place is a partition of the predictions or the dead letters.
type place struct {
	kind      Kind
	partition int32
}

// line is a sequence that must stay in order: the records of one key, in one source partition, that became one
// kind of output.
type line struct {
	kind      Kind
	partition int32
	key       string
}

// mark is the newest output of a line.
type mark struct {
	source    int64
	partition int32
}

// NewOracle returns an oracle for the given inputs, which it keeps. Two inputs in one place are an error.
func NewOracle(inputs []Input) (*Oracle, error) {
	o := &Oracle{
		inputs: make(map[Source]*fate, len(inputs)), position: map[place]int64{}, keys: map[line]mark{}, seen: map[int32]time.Time{},
		missing: len(inputs), report: Report{Inputs: len(inputs)},
	}
	for i := range inputs {
		in := &inputs[i]
		if o.inputs[in.Source] != nil {
			return nil, fmt.Errorf("torture: two inputs at %s", in.Source)
		}
		o.inputs[in.Source] = &fate{input: in}
	}
	return o, nil
}

// Observe takes one output. Outputs of one partition come in the order of their offsets; one that is not behind
// all before it is taken for a repeated delivery.
func (o *Oracle) Observe(out Output) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := place{out.Kind, out.Partition}
	if last, ok := o.position[at]; ok && out.Offset <= last {
		o.report.Redelivered++
		return
	}
	o.position[at] = out.Offset
	o.gaps(&out)
	if out.Kind == Prediction {
		o.report.Predictions++
	} else {
		o.report.DeadLetters++
	}
	f := o.inputs[out.Source]
	if f == nil {
		o.violation(&o.report.Unknown, "%s %d/%d is of %s, where no input is", out.Kind, out.Partition, out.Offset, out.Source)
		return
	}
	first := o.count(f, &out)
	o.compare(f.input, &out)
	if first && f.input.Key != nil {
		o.order(f.input, &out)
	}
}

// Stray takes an output that does not tell what it was made from.
func (o *Oracle) Stray(kind Kind, partition int32, offset int64, why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.violation(&o.report.Unknown, "%s %d/%d: %v", kind, partition, offset, why)
}

// count counts the outputs of an input and tells whether this one is the first.
func (o *Oracle) count(f *fate, out *Output) bool {
	before := f.outputs
	f.outputs[out.Kind]++
	if before[out.Kind] > 0 {
		o.violation(&o.report.Duplicated, "input %s has another %s, at %d/%d", out.Source, out.Kind, out.Partition, out.Offset)
		return false
	}
	if before[Prediction]+before[DeadLetter] > 0 {
		o.violation(&o.report.Both, "input %s has a prediction and a dead letter, the later at %d/%d", out.Source, out.Partition, out.Offset)
		return false
	}
	o.missing--
	return true
}

// compare holds the output against what is expected of it.
func (o *Oracle) compare(in *Input, out *Output) {
	if in.Kind != Either && in.Kind != out.Kind {
		o.violation(&o.report.WrongKind, "input %s became a %s: want a %s", in.Source, out.Kind, in.Kind)
	}
	if !bytes.Equal(in.Key, out.Key) || (in.Key == nil) != (out.Key == nil) {
		o.violation(&o.report.WrongKey, "the %s of input %s has another key", out.Kind, in.Source)
	}
	if out.Kind == Prediction && in.Value != nil && !bytes.Equal(in.Value, out.Value) {
		o.violation(&o.report.WrongValue, "the prediction of input %s has another value", in.Source)
	}
}

// order holds the output against the one before with the same key.
func (o *Oracle) order(in *Input, out *Output) {
	l := line{out.Kind, in.Partition, string(in.Key)}
	m, ok := o.keys[l]
	switch {
	case ok && m.partition != out.Partition:
		o.violation(&o.report.Scattered, "the %s of input %s is in partition %d, that of %d/%d, of the same key, in %d",
			out.Kind, in.Source, out.Partition, in.Partition, m.source, m.partition)
	case ok && m.source > in.Offset:
		o.violation(&o.report.Reordered, "the %s of input %s comes behind that of %d/%d, of the same key", out.Kind, in.Source, in.Partition, m.source)
		return // the later one stays the mark
	}
	o.keys[l] = mark{in.Offset, out.Partition}
}

func (o *Oracle) gaps(out *Output) {
	r := &o.report
	if d := out.Seen.Sub(o.last); !o.last.IsZero() && d > r.Gap {
		r.Gap, r.GapAt = d, o.last
	}
	if pause := (Pause{out.Source.Partition, o.seen[out.Source.Partition], out.Seen}); !pause.From.IsZero() {
		if d := pause.Length(); d > r.PartitionGap {
			r.PartitionGap, r.GapPartition = d, pause.Partition
		}
		if pause.Length() >= MinPause {
			r.Pauses = append(r.Pauses, pause)
		}
	}
	o.last, o.seen[out.Source.Partition] = out.Seen, out.Seen
}

func (o *Oracle) violation(count *int, format string, args ...any) {
	*count++
	if len(o.report.Examples) < maxExamples {
		o.report.Examples = append(o.report.Examples, fmt.Sprintf(format, args...))
	}
}

// Missing returns the number of inputs that have no output yet.
func (o *Oracle) Missing() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.missing
}

// Report returns the judgement on what was seen so far. Lost are the inputs without an output at this moment: call
// it when nothing is to come any more, and after [Observer.Drain], since a duplicate may come last.
func (o *Oracle) Report() *Report {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.report
	r.Lost = o.missing
	r.Examples, r.Pauses = slices.Clone(r.Examples), slices.Clone(r.Pauses)
	for s, f := range o.inputs {
		if len(r.Examples) >= maxExamples {
			break
		}
		if f.outputs[Prediction]+f.outputs[DeadLetter] == 0 {
			r.Examples = append(r.Examples, fmt.Sprintf("input %s has no output", s))
		}
	}
	return &r
}
