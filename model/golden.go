package model

import (
	"errors"
	"fmt"
	"math"

	"millrace.dev/feature"
	"millrace.dev/record"
)

// MaxGolden is the largest number of golden rows of a bundle.
const MaxGolden = 1024

// GoldenRow is a record with what the data path made of it when the model was trained: the inputs of the model
// and the prediction, or the reason why there is none. Whoever loads the bundle must get the same, bit for
// bit, before the model counts as ready.
type GoldenRow struct {
	// Value is the value of the record, a JSON text as it comes from a topic. It need not be a valid one: nil
	// is Kafka's null.
	Value []byte
	// Features holds one value per input of the model, in the plan's order; nil for a rejected record.
	Features []Value
	// Prediction is the prediction; 0 for a rejected record.
	Prediction float64
	// Rejected says why the record gets no prediction; nil if it gets one.
	Rejected *Rejection
	// Rows are the rows of tables that the record's features looked up, in the order in which they did.
	Rows []GoldenTableRow
	// Windows has the aggregates of the plan's windows for the record, each a Number or Missing; it can be empty.
	Windows []Value
}

// Rejection is what a golden row keeps of a [record.Problem].
type Rejection struct {
	Stage string `json:"stage"`
	Class string `json:"class"`
	Field string `json:"field,omitempty"`
}

// NewGoldenRow returns the golden row of a record whose inputs are row i of frame. It copies value.
func NewGoldenRow(value []byte, frame *record.Frame, i int, prediction float64) GoldenRow {
	features := make([]Value, len(frame.Columns))
	for j := range frame.Columns {
		c := &frame.Columns[j]
		switch {
		case c.Type == record.Enum && c.Codes[i] >= 0:
			features[j] = Value{Kind: Level, Level: c.Levels[c.Codes[i]]}
		case c.Type == record.Numeric && !math.IsNaN(c.Numbers[i]):
			features[j] = Value{Kind: Number, Bits: math.Float64bits(c.Numbers[i])}
		default:
		}
	}
	return GoldenRow{Value: cloneBytes(value), Features: features, Prediction: prediction}
}

// NewRejectedRow returns the golden row of a record that the data path rejects. It copies value.
func NewRejectedRow(value []byte, p *record.Problem) GoldenRow {
	return GoldenRow{Value: cloneBytes(value), Rejected: &Rejection{Stage: p.Stage, Class: p.Class, Field: p.Field}}
}

func cloneBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// GoldenError says that the data path makes something else of a golden row than it did at training.
type GoldenError struct {
	Row   int    // the row's place in [Bundle.Golden]
	Input string // the input at fault; "" for the prediction, or for its rejection
	Want  string // what the bundle says, with the bits of a number
	Got   string // what came out
}

// Error names the row, the input and both values.
func (e *GoldenError) Error() string {
	what := "the prediction"
	if e.Input != "" {
		what = fmt.Sprintf("input %q", e.Input)
	}
	return fmt.Sprintf("model: golden row %d: %s: want %s, got %s", e.Row, what, e.Want, e.Got)
}

// CheckGolden compares what the data path now makes of golden row i with what it made at training. got comes
// from [NewGoldenRow] or [NewRejectedRow]; its Value is not looked at. The error is a [*GoldenError], which
// holds values of the record.
func (b *Bundle) CheckGolden(i int, got GoldenRow) error {
	want := &b.Golden[i]
	if want.Rejected != nil || got.Rejected != nil {
		if want.Rejected != nil && got.Rejected != nil && *want.Rejected == *got.Rejected {
			return nil
		}
		return &GoldenError{Row: i, Want: want.outcome(), Got: got.outcome()}
	}
	inputs := b.Plan.Inputs()
	if len(got.Features) != len(inputs) {
		return fmt.Errorf("model: golden row %d: %d inputs, want %d", i, len(got.Features), len(inputs))
	}
	for j, v := range want.Features {
		if v != got.Features[j] {
			return &GoldenError{Row: i, Input: inputs[j].Name, Want: v.String(), Got: got.Features[j].String()}
		}
	}
	if math.Float64bits(want.Prediction) != math.Float64bits(got.Prediction) {
		return &GoldenError{Row: i, Want: showNumber(want.Prediction), Got: showNumber(got.Prediction)}
	}
	return nil
}

func (g *GoldenRow) outcome() string {
	if r := g.Rejected; r != nil {
		return fmt.Sprintf("a rejection (stage %s, class %s, field %q)", r.Stage, r.Class, r.Field)
	}
	return showNumber(g.Prediction)
}

// check wants a row that fits the inputs of the model.
func (g *GoldenRow) check(inputs []record.Column, p *feature.Plan) error {
	tables, aggregates := p.Tables(), 0
	for _, w := range p.Windows() {
		aggregates += len(w.Aggregates)
	}
	for i := range g.Rows {
		if err := g.Rows[i].check(tables); err != nil {
			return err
		}
	}
	if n := len(g.Windows); n != 0 && n != aggregates {
		return fmt.Errorf("%d aggregates of windows, want %d", n, aggregates)
	}
	for _, v := range g.Windows {
		if v.Kind != Number && v != (Value{}) {
			return errors.New("an aggregate of a window that is no number")
		}
	}
	if r := g.Rejected; r != nil {
		if r.Stage == "" || r.Class == "" || len(g.Features) > 0 || g.Prediction != 0 {
			return errors.New("a rejection needs a stage and a class, and has no inputs and no prediction")
		}
		return checkTexts(r.Stage, r.Class, r.Field)
	}
	if len(g.Features) != len(inputs) {
		return fmt.Errorf("%d inputs, want %d", len(g.Features), len(inputs))
	}
	for i, v := range g.Features {
		if err := v.check(&inputs[i]); err != nil {
			return fmt.Errorf("input %q: %w", inputs[i].Name, err)
		}
	}
	if math.IsNaN(g.Prediction) {
		return errors.New("the prediction is not a number")
	}
	return nil
}
