package profile

import (
	"slices"

	"millrace.dev/record"
)

// PredictionName is the name of the column of predictions, if no field and no feature has it.
const PredictionName = "prediction"

// Rows are records as they come by: those of a batch, with the inputs and the predictions that were computed of them.
type Rows struct {
	Batch       *record.Batch
	Frame       *record.Frame // nil where the layout has no feature
	Predictions []float64     // nil where the layout has no prediction
	// Keep says which rows count. Default: all that are not rejected
	Keep []bool
}

// counts tells whether row i counts.
func (r *Rows) counts(i int) bool {
	if r.Keep != nil {
		return r.Keep[i]
	}
	return r.Batch.Problem(i) == nil
}

// kept appends the numbers of the rows that count.
func (r *Rows) kept(dst, numbers []float64) []float64 {
	for i, x := range numbers {
		if r.counts(i) {
			dst = append(dst, x)
		}
	}
	return dst
}

// all tells whether every row counts.
func (r *Rows) all() bool {
	if r.Keep != nil {
		return !slices.Contains(r.Keep, false)
	}
	return r.Batch.Rejected() == 0
}

// Layout says where in [Rows] the columns of a profile are. It is immutable.
type Layout struct{ places []place }

// place is a column and where it is.
type place struct {
	name string
	role Role
	kind Kind
	at   int // the field of the batch, or the column of the frame
}

// NewLayout returns the layout of the fields of a schema, in its order, and of the inputs that are none of them: the
// features. The field named label has the role [Label]; "" is none.
func NewLayout(s *record.Schema, inputs []record.Column, label string) Layout {
	var l Layout
	for i := range s.Len() {
		f := s.Field(i)
		p := place{name: f.Name, role: Field, kind: kindOf(f.Type), at: i}
		if f.Name == label {
			p.role = Label
		}
		l.places = append(l.places, p)
	}
	for i, c := range inputs {
		if _, field := s.Index(c.Name); !field {
			l.places = append(l.places, place{name: c.Name, role: Feature, kind: kindOf(c.Type), at: i})
		}
	}
	return l
}

// Unlabelled returns the layout of records that have no label: those of a stream.
func (l Layout) Unlabelled() Layout {
	return Layout{slices.DeleteFunc(slices.Clone(l.places), func(p place) bool { return p.role == Label })}
}

func kindOf(t record.Type) Kind {
	switch t {
	case record.Numeric:
		return Number
	case record.Time:
		return Time
	case record.Enum:
		return Level
	default:
		return Text
	}
}

// predictions is the place of the predictions.
func predictions() place { return place{name: PredictionName, role: Prediction, kind: Number} }

// numbers returns the numbers of a column of numbers or times; scratch is used where they are not there as numbers.
func (p *place) numbers(r *Rows, scratch []float64) []float64 {
	switch {
	case p.role == Prediction:
		return r.Predictions
	case p.role == Feature:
		return r.Frame.Columns[p.at].Numbers
	case p.kind == Number:
		return r.Batch.Numbers(p.at)
	}
	scratch = scratch[:0]
	for _, us := range r.Batch.Times(p.at) {
		scratch = append(scratch, seconds(us))
	}
	return scratch
}

// codes returns the codes of a column of levels, and what a code means.
func (p *place) codes(r *Rows) (codes []int32, level func(int32) string) {
	if p.role == Feature {
		c := &r.Frame.Columns[p.at]
		return c.Codes, func(code int32) string { return c.Levels[code] }
	}
	return r.Batch.Codes(p.at), r.Batch.Dict(p.at).Level
}
