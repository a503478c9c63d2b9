package outcome

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// Prediction is a record of a topic of predictions.
type Prediction struct {
	Topic      string // it stands in
	Source     string // TOPIC/PARTITION/OFFSET of the record that was predicted
	Model      string
	Digest     string
	Experiment string // "" is none
	Arm        string
	Forced     bool
	Unpaired   bool
	Refused    bool
	At         int64 // event time, in milliseconds
	Value      float64
	Baseline   float64 // NaN is none
	Key        []byte  // of the record; nil is null
	Unit       string
	HasUnit    bool
}

// Has bits of what a prediction has.
const (
	hasForced = 1 << iota
	hasUnpaired
	hasBaseline
	hasKey
	hasUnit
	hasRefused
	hasEnd
)

// Append appends the bytes of a prediction.
func (p *Prediction) Append(dst []byte) []byte {
	flags := byte(0)
	set := func(bit byte, has bool) {
		if has {
			flags |= bit
		}
	}
	set(hasForced, p.Forced)
	set(hasUnpaired, p.Unpaired)
	set(hasRefused, p.Refused)
	set(hasBaseline, !math.IsNaN(p.Baseline))
	set(hasKey, p.Key != nil)
	set(hasUnit, p.HasUnit)
	dst = append(dst, flags)
	for _, s := range []string{p.Topic, p.Source, p.Model, p.Digest, p.Experiment, p.Arm} {
		dst = appendText(dst, s)
	}
	dst = appendNumber(binary.AppendVarint(dst, p.At), p.Value)
	if flags&hasBaseline != 0 {
		dst = appendNumber(dst, p.Baseline)
	}
	if p.Key != nil {
		dst = appendText(dst, string(p.Key))
	}
	if p.HasUnit {
		dst = appendText(dst, p.Unit)
	}
	return dst
}

// read reads what Append has written.
func (p *Prediction) read(r *reader) {
	flags := r.byte()
	if flags >= hasEnd {
		r.bad = true
		return
	}
	*p = Prediction{Forced: flags&hasForced != 0, Unpaired: flags&hasUnpaired != 0, Refused: flags&hasRefused != 0, HasUnit: flags&hasUnit != 0, Baseline: math.NaN()}
	for _, s := range []*string{&p.Topic, &p.Source, &p.Model, &p.Digest, &p.Experiment, &p.Arm} {
		*s = r.text()
	}
	p.At, p.Value = r.int(), r.number()
	if flags&hasBaseline != 0 {
		p.Baseline = r.number()
	}
	if flags&hasKey != 0 {
		p.Key = []byte(r.text())
	}
	if p.HasUnit {
		p.Unit = r.text()
	}
}

// idBytes is the size of the ids of predictions and units: two have the same with a probability that does not matter.
const idBytes = 16

// id names a prediction: that of a record, in a topic.
func (p *Prediction) id() []byte { return digest(p.Topic, p.Source) }

// digest returns an id of texts.
func digest(parts ...string) []byte {
	var b []byte
	for _, s := range parts {
		b = appendRef(b, s)
	}
	sum := sha256.Sum256(b)
	return sum[:idBytes]
}

// Kind says what happened to a prediction.
type Kind uint8

// The kinds of events.
const (
	Seen       Kind = iota + 1 // it came, for the first time
	Labelled                   // its label came: it is resolved
	Overdue                    // its time passed: it is expired
	kindsAfter                 // the first that there is not
)

// Event is what happened to a prediction.
type Event struct {
	Kind       Kind
	Key        string // that labels are joined by
	Prediction Prediction
	Label      float64 // of Labelled
	LabelledAt int64   // of Labelled
}

// Append appends the bytes of an event.
func (e *Event) Append(dst []byte) []byte {
	dst = e.Prediction.Append(appendText(append(dst, byte(e.Kind)), e.Key))
	if e.Kind == Labelled {
		dst = binary.AppendVarint(appendNumber(dst, e.Label), e.LabelledAt)
	}
	return dst
}

// DecodeEvent reads what [Event.Append] has written.
func DecodeEvent(b []byte) (Event, error) {
	r := reader{b: b}
	e := Event{Kind: Kind(r.byte()), Key: r.text()}
	e.Prediction.read(&r)
	if e.Kind == Labelled {
		e.Label, e.LabelledAt = r.number(), r.int()
	}
	if e.Kind < Seen || e.Kind >= kindsAfter {
		r.bad = true
	}
	return e, r.end()
}

// Outcome returns the record of a resolved or expired prediction; nil of another one.
func (e *Event) Outcome(pipeline string) *Outcome {
	p := &e.Prediction
	o := &Outcome{
		Version: Version, Pipeline: pipeline, Topic: p.Topic, Source: p.Source, Model: p.Model, Digest: p.Digest, Experiment: p.Experiment, Arm: p.Arm,
		Forced: p.Forced, Unpaired: p.Unpaired, Refused: p.Refused, PredictedAt: p.At, Prediction: p.Value,
	}
	if !math.IsNaN(p.Baseline) {
		o.Baseline = &p.Baseline
	}
	switch e.Kind {
	case Labelled:
		o.Status, o.Label, o.LabelledAt = Resolved, &e.Label, &e.LabelledAt
	case Overdue:
		o.Status = Expired
	default:
		return nil
	}
	return o
}
