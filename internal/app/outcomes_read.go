package app

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"millrace.dev/codec"
	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// Why records of the topics of predictions and labels cannot be read, beside the classes of package codec.
const (
	classNoSource      = "no_source"
	classInvalidHeader = "invalid_header"
	classNullKey       = "null_key"
	classKeyTooLarge   = "key_too_large"
	classNoTime        = "no_timestamp"
	classFuture        = "future_timestamp"
)

// The bounds of what a prediction that waits is kept with.
const (
	maxOutcomeKey    = 4096 // bytes, of keys and units
	maxOutcomeHeader = 512  // bytes, of the headers of predictions
	maxOutcomeAhead  = 24 * time.Hour
	sinkSlack        = 4096 // by how much a prediction may be larger than its record
)

// outcomeFields reads declared fields of records, one at a time.
type outcomeFields struct {
	decoder          codec.Decoder
	batch            *record.Batch
	number           int // field of the prediction or the label
	key, unit, clock int // fields; -1 where there is none
}

// newOutcomeFields returns a reader of a number, and of texts and a time where they are not "".
func newOutcomeFields(schema *record.Schema, number record.Field, key, unit, clock string, maxBytes int) (*outcomeFields, error) {
	f := &outcomeFields{key: -1, unit: -1, clock: -1}
	number.Required = true
	fields := []record.Field{number}
	add := func(name string, otherwise record.Type, required bool) int {
		for i := range fields {
			if fields[i].Name == name {
				return i
			}
		}
		field := record.Field{Name: name, Type: otherwise}
		if i, ok := schema.Index(name); ok {
			field = schema.Field(i)
		}
		field.Required = required
		fields = append(fields, field)
		return len(fields) - 1
	}
	if key != "" {
		f.key = add(key, record.String, true)
	}
	if clock != "" {
		f.clock = add(clock, record.Time, true)
	}
	if unit != "" {
		f.unit = add(unit, record.String, false)
	}
	s, err := record.NewSchema(fields...)
	if err != nil {
		return nil, err
	}
	if f.decoder, err = pipeline.NewDecoder(s, pipeline.Options{MaxBytes: maxBytes}); err != nil {
		return nil, err
	}
	f.batch = record.NewBatch(s, nil)
	return f, nil
}

// take reads a record, or says why it cannot.
func (f *outcomeFields) take(value []byte) *record.Problem {
	f.batch.Reset()
	f.batch.Append(record.Raw{Value: value})
	f.decoder.Decode(f.batch)
	return f.batch.Problem(0)
}

// text returns the text of a field of the record at hand, which is the caller's.
func (f *outcomeFields) text(field int) (string, bool) {
	if f.batch.Schema().Field(field).Type == record.String {
		t := f.batch.Texts(field)
		return string(t.At(0)), !t.Missing(0)
	}
	c := f.batch.Codes(field)[0]
	if c == record.MissingCode {
		return "", false
	}
	return strings.Clone(f.batch.Dict(field).Level(c)), true
}

// time returns the event time of the record at hand, in milliseconds, which is the timestamp of its message where no field says it.
func (f *outcomeFields) time(timestamp int64) int64 {
	if f.clock < 0 {
		return timestamp
	}
	at := f.batch.Times(f.clock)[0]
	if ms := at / 1000; at%1000 >= 0 {
		return ms
	}
	return at/1000 - 1
}

// unreadableInput says why a record of predictions or labels has no outcome.
func unreadableInput(class, field, reason string) *record.Problem {
	return &record.Problem{Stage: record.StageDecode, Class: class, Field: field, Reason: reason}
}

// checkEventTime wants an event time that can be one.
func checkEventTime(at int64, now time.Time) *record.Problem {
	switch {
	case at < 0:
		return unreadableInput(classNoTime, "", "the record has no event time, or one before 1970")
	case at > now.Add(maxOutcomeAhead).UnixMilli():
		return unreadableInput(classFuture, "", "the event time is too far ahead of the clock")
	}
	return nil
}

// joinKey returns the key by which a record is joined.
func (f *outcomeFields) joinKey(r *stream.Record[[]byte, []byte]) (string, *record.Problem) {
	if f.key < 0 {
		if r.NullKey {
			return "", unreadableInput(classNullKey, "", "the record has no key, by which it is to be joined")
		}
		return string(r.Key), nil
	}
	key, _ := f.text(f.key) // it is required
	return key, nil
}

type keyedInput = stream.Record[string, outcome.Input]

// inputReading makes inputs of records.
type inputReading struct {
	fields *outcomeFields
	ctx    *stream.ProcessorContext[string, outcome.Input]
	make   func() (*outcomeFields, error)
	read   func(in *inputReading, r *stream.Record[[]byte, []byte], timestamp int64) (key string, input *outcome.Input, at int64, why *record.Problem)
}

// Init makes the reader of fields.
func (in *inputReading) Init(ctx *stream.ProcessorContext[string, outcome.Input]) (err error) {
	in.ctx = ctx
	in.fields, err = in.make()
	return err
}

// Process sends the input of a record on.
func (in *inputReading) Process(r *stream.Record[[]byte, []byte]) error {
	timestamp := r.Timestamp
	if origin, ok := in.ctx.Origin(); ok {
		timestamp = origin.Timestamp // that of r may be the clock's
	}
	key, input, at, why := in.read(in, r, timestamp)
	if why == nil && input != nil {
		if len(key) > maxOutcomeKey || len(r.Key) > maxOutcomeKey {
			why = unreadableInput(classKeyTooLarge, "", fmt.Sprintf("the key has more than %d bytes", maxOutcomeKey))
		} else {
			why = checkEventTime(at, in.ctx.Now())
		}
	}
	if why != nil {
		in.ctx.Drop(stream.Rejection(*why))
		return nil
	}
	if input == nil {
		return nil
	}
	return in.ctx.Forward(&keyedInput{Key: key, Value: *input, Timestamp: min(at, in.ctx.Now().UnixMilli())})
}

// newPredictionReading returns a reader of predictions.
func newPredictionReading(p *config.Pipeline) *inputReading {
	o := p.Outcomes
	return &inputReading{
		make: func() (*outcomeFields, error) {
			number := record.Field{Name: p.Sink.Field, Type: record.Numeric}
			return newOutcomeFields(p.Schema, number, o.Key, o.Unit, o.PredictionTime, p.Source.MaxRecordBytes+sinkSlack)
		},
		read: readPrediction,
	}
}

func readPrediction(in *inputReading, r *stream.Record[[]byte, []byte], timestamp int64) (string, *outcome.Input, int64, *record.Problem) {
	if r.NullValue {
		return "", nil, 0, unreadableInput(codec.ClassNullValue, "", "the record has a null value")
	}
	f := in.fields
	if why := f.take(r.Value); why != nil {
		return "", nil, 0, why
	}
	origin, _ := in.ctx.Origin()
	p := &outcome.Prediction{Topic: origin.Topic, Value: f.batch.Numbers(f.number)[0], Baseline: math.NaN()}
	if why := readHeaders(p, r.Headers); why != nil {
		return "", nil, 0, why
	}
	key, why := f.joinKey(r)
	if why != nil {
		return "", nil, 0, why
	}
	if !r.NullKey {
		p.Key = r.Key
	}
	if p.Experiment != "" {
		if p.Unit, p.HasUnit = string(r.Key), !r.NullKey; f.unit >= 0 {
			p.Unit, p.HasUnit = f.text(f.unit)
		}
		if len(p.Unit) > maxOutcomeKey {
			return "", nil, 0, unreadableInput(classKeyTooLarge, "", fmt.Sprintf("the unit has more than %d bytes", maxOutcomeKey))
		}
	}
	p.At = f.time(timestamp)
	return key, &outcome.Input{Prediction: p}, p.At, nil
}

// readHeaders reads the headers of a prediction. Of several of a name the last counts: those before came with the record.
func readHeaders(p *outcome.Prediction, headers []record.Header) *record.Problem {
	for i := range headers {
		h := &headers[i]
		var to *string
		switch h.Key {
		case engine.HeaderSource:
			to = &p.Source
		case headerModel:
			to = &p.Model
		case headerDigest:
			to = &p.Digest
		case headerExperiment:
			to = &p.Experiment
		case headerArm:
			to = &p.Arm
		case headerForced:
			p.Forced = string(h.Value) == "true"
			continue
		case headerRefused: // whatever the reason is
			p.Refused = true
			continue
		case headerBaseline:
			if len(h.Value) > maxOutcomeHeader {
				return unreadableInput(classInvalidHeader, h.Key, "the header is no number")
			}
			x, err := strconv.ParseFloat(string(h.Value), 64)
			if err != nil || math.IsInf(x, 0) {
				return unreadableInput(classInvalidHeader, h.Key, "the header is no number")
			}
			p.Baseline, p.Unpaired = x, math.IsNaN(x)
			continue
		default:
			continue
		}
		text := string(h.Value[:min(len(h.Value), maxOutcomeHeader+1)])
		if text = strings.ToValidUTF8(text, "\uFFFD"); len(text) > maxOutcomeHeader { // what is put in for a byte is longer than it
			return unreadableInput(classInvalidHeader, h.Key, fmt.Sprintf("the header has more than %d bytes", maxOutcomeHeader))
		}
		*to = text
	}
	if p.Source == "" || p.Model == "" {
		return unreadableInput(classNoSource, "", "the record has no headers "+engine.HeaderSource+" and "+headerModel+": it is no prediction of millrace run")
	}
	return nil
}

// newLabelReading returns a reader of labels.
func newLabelReading(p *config.Pipeline) *inputReading {
	o := p.Outcomes
	return &inputReading{
		make: func() (*outcomeFields, error) {
			number := record.Field{Name: o.Field, Type: record.Numeric}
			if i, ok := p.Schema.Index(p.Train.Label); ok {
				number = p.Schema.Field(i)
				number.Name = o.Field
			}
			return newOutcomeFields(p.Schema, number, o.Key, "", o.LabelTime, p.Source.MaxRecordBytes)
		},
		read: readLabel,
	}
}

func readLabel(in *inputReading, r *stream.Record[[]byte, []byte], timestamp int64) (string, *outcome.Input, int64, *record.Problem) {
	f := in.fields
	if r.NullValue {
		if f.key >= 0 { // a key that is a field is not in it
			return "", nil, 0, nil
		}
		key, why := f.joinKey(r)
		return key, &outcome.Input{At: timestamp, Withdrawn: true}, timestamp, why
	}
	if why := f.take(r.Value); why != nil {
		return "", nil, 0, why
	}
	key, why := f.joinKey(r)
	at := f.time(timestamp)
	return key, &outcome.Input{At: at, Label: f.batch.Numbers(f.number)[0]}, at, why
}
