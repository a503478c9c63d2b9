package pipeline

import (
	"errors"
	"math"
	"slices"

	"millrace.dev/model"
	"millrace.dev/record"
)

// Attribution is what the inputs of a model add to the prediction of a record.
type Attribution struct {
	Prediction float64
	// Expected is the mean prediction of the background. Expected and what all inputs add make the prediction, but for rounding.
	Expected float64
	Inputs   []AttributedInput // in the order of the model
}

// AttributedInput is the value of an input, and what it adds to the prediction, in the unit of the label.
type AttributedInput struct {
	Name    string
	Missing bool
	Number  float64 // of a number
	Level   string  // of an enum
	Enum    bool
	Adds    float64
}

// ErrNoBackground says that there are no golden rows beside which a prediction could be taken apart.
var ErrNoBackground = errors.New("pipeline: the model has no golden rows that could be predicted")

// Attributor takes predictions of a model apart: see [gbm.Forest.Contributions]. It is immutable and safe for concurrent use.
type Attributor struct {
	bundle     *model.Bundle
	background *record.Frame
}

// NewAttributor returns what takes predictions of the model in b apart beside those of golden rows, which may be those of another
// model with the same inputs. Without one that can be predicted the error is [ErrNoBackground].
func NewAttributor(b *model.Bundle, golden []model.GoldenRow) (*Attributor, error) {
	rows, err := Golden(b, golden)
	if err != nil {
		return nil, err
	}
	fr := &record.Frame{Columns: b.Plan.Inputs()}
	for i := range rows {
		if rows[i].Rejected != nil || len(rows[i].Features) != len(fr.Columns) {
			continue
		}
		fr.Rows++
		for k := range fr.Columns {
			c, v := &fr.Columns[k], rows[i].Features[k]
			if c.Type == record.Enum {
				code, ok := slices.BinarySearch(c.Levels, v.Level)
				if !ok || v.Kind != model.Level {
					code = -1
				}
				c.Codes = append(c.Codes, int32(code)) //nolint:gosec // fewer than 2^31 levels
			} else {
				c.Numbers = append(c.Numbers, v.Float())
			}
		}
	}
	if fr.Rows == 0 {
		return nil, ErrNoBackground
	}
	return &Attributor{bundle: b, background: fr}, nil
}

// Attribute takes the prediction of a row apart. Where the model adds up logarithms, or log odds, what an input adds to these is scaled so
// that all together make the prediction.
func (a *Attributor) Attribute(fr *record.Frame, row int, prediction float64) Attribution {
	base, by := a.bundle.Forest.Contributions(fr, row, a.background)
	out := Attribution{Prediction: prediction, Expected: base, Inputs: make([]AttributedInput, 0, len(by))}
	scale := 1.0
	if f := a.bundle.Forest; !f.Additive() {
		out.Expected = f.Linked(base)
		sum := 0.0
		for _, x := range by {
			sum += x
		}
		if scale = 0; sum != 0 {
			scale = (prediction - out.Expected) / sum
		}
	}
	for i := range fr.Columns {
		c := &fr.Columns[i]
		in := AttributedInput{Name: c.Name, Enum: c.Type == record.Enum, Adds: float64(by[i] * scale)}
		if in.Enum {
			if code := c.Codes[row]; code >= 0 && int(code) < len(c.Levels) {
				in.Level = c.Levels[code]
			} else {
				in.Missing = true
			}
		} else {
			in.Number, in.Missing = c.Numbers[row], math.IsNaN(c.Numbers[row])
		}
		out.Inputs = append(out.Inputs, in)
	}
	return out
}
