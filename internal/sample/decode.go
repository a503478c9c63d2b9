package sample

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"millrace.dev/model"
	"millrace.dev/record"
)

// Sample is a record of a features topic.
type Sample struct {
	Version   int                                   `json:"version"`
	Topic     string                                `json:"topic"`
	Partition int32                                 `json:"partition"`
	Offset    int64                                 `json:"offset"`
	Timestamp int64                                 `json:"timestamp"`  // milliseconds; -1 is none
	EventTime *int64                                `json:"event_time"` // milliseconds
	Model     string                                `json:"model"`
	Digest    string                                `json:"digest"`
	Lookups   []LoggedLookup                        `json:"lookups"`
	Windows   map[string]map[string]json.RawMessage `json:"windows"`
	Inputs    map[string]json.RawMessage            `json:"inputs"`
	// Prediction is the text of the prediction.
	Prediction json.RawMessage `json:"prediction"`

	Text   *string `json:"value"`
	Base64 []byte  `json:"value_base64"`
}

// LoggedLookup is a look-up as a sample has it.
type LoggedLookup struct {
	Table string `json:"table"`
	Key   string `json:"key"`
	// Row has the columns by name; nil: there was no row.
	Row map[string]json.RawMessage `json:"row"`
}

// ErrNewer means that a sample was written by a later version of millrace.
var ErrNewer = errors.New("the sample is of a later version")

// Decode reads the text of a sample.
func Decode(text []byte) (*Sample, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	s := &Sample{}
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("it is no sample: %w", err)
	}
	if _, err := d.Token(); err == nil {
		return nil, errors.New("it is no sample: something follows the object")
	}
	switch {
	case s.Version > Version:
		return nil, fmt.Errorf("%w: %d, and this millrace knows %d", ErrNewer, s.Version, Version)
	case s.Version < 1 || s.Topic == "" || s.Digest == "" || s.Prediction == nil || s.Inputs == nil || s.Value() == nil:
		return nil, errors.New("it is no sample: it lacks one of version, topic, digest, value, inputs and prediction")
	}
	return s, nil
}

// Value returns the record's value as it came, nil where the sample has none.
func (s *Sample) Value() []byte {
	if s.Text != nil {
		return []byte(*s.Text)
	}
	return s.Base64
}

// Source returns the topic/partition/offset of the record.
func (s *Sample) Source() string { return fmt.Sprintf("%s/%d/%d", s.Topic, s.Partition, s.Offset) }

// Value reads a value of a sample as one of a type: a Number, a Level for a text, an Instant, or Missing.
func Value(text json.RawMessage, t record.Type) (model.Value, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return model.Value{}, nil
	}
	var s string
	isText := text[0] == '"'
	if isText {
		if err := json.Unmarshal(text, &s); err != nil {
			return model.Value{}, err
		}
	}
	switch {
	case t == record.Enum || t == record.String:
		if !isText {
			return model.Value{}, errors.New("want a text")
		}
		return model.Value{Kind: model.Level, Level: s}, nil
	case t == record.Time:
		at, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return model.Value{}, errors.New("want a time, as whole microseconds")
		}
		return model.Value{Kind: model.Instant, Bits: uint64(at)}, nil
	case s == infinite:
		return model.NewNumber(math.Inf(1)), nil
	case s == negativeInfinite:
		return model.NewNumber(math.Inf(-1)), nil
	}
	x, err := strconv.ParseFloat(string(text), 64)
	if isText || err != nil {
		return model.Value{}, errors.New("want a number")
	}
	return model.NewNumber(x), nil
}
