package outcome

import (
	"encoding/binary"
)

// Input is what a [Joiner] takes: a prediction, a label, or that the labels of a key are taken back. It is on its way to the partition of
// its key.
type Input struct {
	Prediction *Prediction // nil: it is a label
	// At is the event time of a label, in milliseconds, and Withdrawn says that it takes back those of its time and before.
	At        int64
	Label     float64
	Withdrawn bool
}

// The first bytes of inputs.
const (
	inputPrediction = iota + 1
	inputLabel
	inputWithdrawal
)

// Append appends the bytes of an input.
func (in *Input) Append(dst []byte) []byte {
	switch {
	case in.Prediction != nil:
		return in.Prediction.Append(append(dst, inputPrediction))
	case in.Withdrawn:
		return binary.AppendVarint(append(dst, inputWithdrawal), in.At)
	default:
		return appendNumber(binary.AppendVarint(append(dst, inputLabel), in.At), in.Label)
	}
}

// DecodeInput reads what [Input.Append] has written.
func DecodeInput(b []byte) (Input, error) {
	r := reader{b: b}
	var in Input
	switch r.byte() {
	case inputPrediction:
		in.Prediction = &Prediction{}
		in.Prediction.read(&r)
	case inputLabel:
		in.At, in.Label = r.int(), r.number()
	case inputWithdrawal:
		in.At, in.Withdrawn = r.int(), true
	default:
		r.bad = true
	}
	return in, r.end()
}
