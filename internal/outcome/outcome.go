package outcome

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Version is the version of the form of both kinds of records.
const Version = 1

// Status says what came of a prediction.
type Status string

// The statuses.
const (
	Resolved Status = "resolved" // its label came
	Expired  Status = "expired"  // its time passed without one
)

// Outcome is a prediction with its label: a record of the topic NAME.outcomes, whose key and timestamp are the prediction's.
type Outcome struct {
	Version    int    `json:"version"`
	Pipeline   string `json:"pipeline"`
	Status     Status `json:"status"`
	Topic      string `json:"topic"`  // of the prediction: the sink, or that of a shadow
	Source     string `json:"source"` // TOPIC/PARTITION/OFFSET of the record that was predicted
	Model      string `json:"model"`  // NAME@VERSION
	Digest     string `json:"digest"` // of its bundle
	Experiment string `json:"experiment"`
	Arm        string `json:"arm"`
	Forced     bool   `json:"forced"` // the arm was chosen by hand: no part of statistics
	// Unpaired says that the control model could not predict the record, which another arm has predicted.
	Unpaired bool `json:"unpaired"`
	// Refused says that the arm's model could not predict the record, and that the control's prediction stands in its place.
	Refused     bool    `json:"refused"`
	PredictedAt int64   `json:"predicted_at"` // event time, in milliseconds
	Prediction  float64 `json:"prediction"`
	// Baseline is the control model's prediction of the same record; nil where the control itself has predicted it, outside of an
	// experiment, and if Unpaired.
	Baseline   *float64 `json:"baseline"`
	Label      *float64 `json:"label"`       // nil if Expired
	LabelledAt *int64   `json:"labelled_at"` // event time of the label, in milliseconds; nil if Expired
}

// MaxBytes bounds the records that are read: more than the sums of so many metrics, with the counts of a curve, can take.
const MaxBytes = 512 << 10

// The largest sizes of texts in records, in bytes.
const (
	maxName   = 512 // of topics, models, experiments, arms
	maxSource = 512
)

// ErrNewer means that a record was written by a later version of millrace.
var ErrNewer = errors.New("it is of a later version")

// Append appends the JSON text. field, if it is not "", is added with a text as its value: the field by which labels are joined, so that
// training can join by it too.
func (o *Outcome) Append(dst []byte, field, text string) ([]byte, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return dst, fmt.Errorf("outcome: %w", err)
	}
	dst = append(dst, b...)
	if field == "" || Reserved(field) {
		return dst, nil
	}
	key, err := json.Marshal(map[string]string{field: text})
	if err != nil {
		return dst, fmt.Errorf("outcome: %w", err)
	}
	dst[len(dst)-1] = ','
	return append(dst, key[1:]...), nil
}

// Reserved tells whether an outcome has a field of its own of that name.
func Reserved(field string) bool {
	switch field {
	case "version", "pipeline", "status", "topic", "source", "model", "digest", "experiment", "arm", "forced", "unpaired", "refused", "predicted_at", "prediction",
		"baseline", "label", "labelled_at":
		return true
	}
	return false
}

// DecodeOutcome reads the text of an outcome. It fails for what [Outcome.Append] does not write; other fields are passed over.
func DecodeOutcome(text []byte) (*Outcome, error) {
	var o Outcome
	if err := decode(text, &o, &o.Version); err != nil {
		return nil, fmt.Errorf("outcome: %w", err)
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("outcome: %w", err)
	}
	return &o, nil
}

// decode reads a record of one object.
func decode(text []byte, into any, version *int) error {
	if len(text) > MaxBytes {
		return fmt.Errorf("it has %d bytes: want %d at most", len(text), MaxBytes)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fmt.Errorf("it is not the JSON of one: %w", err)
	}
	if head.Version > Version {
		return fmt.Errorf("%w: %d, and this millrace knows %d", ErrNewer, head.Version, Version)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("it is not the JSON of one: %w", err)
	}
	if *version != Version {
		return errors.New("it has no version")
	}
	return nil
}

func (o *Outcome) validate() error {
	for _, name := range []string{o.Pipeline, o.Topic, o.Model, o.Digest, o.Experiment, o.Arm} {
		if len(name) > maxName {
			return fmt.Errorf("a name has %d bytes: want %d at most", len(name), maxName)
		}
	}
	resolved := o.Status == Resolved
	switch {
	case o.Topic == "" || o.Source == "" || len(o.Source) > maxSource:
		return errors.New("it does not say whose it is: it lacks topic or source")
	case !resolved && o.Status != Expired:
		return fmt.Errorf("status %s: want %s or %s", strconv.Quote(string(o.Status[:min(len(o.Status), 32)])), Resolved, Expired)
	case resolved != (o.Label != nil) || resolved != (o.LabelledAt != nil):
		return errors.New("what is resolved has a label with its time, and what is expired has none")
	case o.PredictedAt < 0 || resolved && *o.LabelledAt < 0:
		return errors.New("a time is before 1970")
	case o.Unpaired && o.Baseline != nil:
		return errors.New("it is unpaired and has a baseline")
	}
	return nil
}
