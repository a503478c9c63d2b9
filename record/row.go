package record

import "strings"

// Text is a text that may be missing.
type Text struct {
	S  string
	OK bool // false: it is missing, and S is ""
}

// Row is one row of a table, apart from any batch: a value for each field of a schema. It is immutable, and safe for
// concurrent use. The zero value has no fields.
type Row struct {
	// Numbers has the numeric fields, in the order of the schema; NaN is missing.
	Numbers []float64
	// Times has the time fields, in the order of the schema: microseconds since 1970; [MissingTime] is missing.
	Times []int64
	// Texts has the enum and string fields, in the order of the schema.
	Texts []Text
}

// Slot returns where a [Row] holds field f of the schema: the position in Numbers, Times or Texts, by the field's type.
func (s *Schema) Slot(f int) int { return s.slots[f] }

// RowOf returns row i of b, which keeps nothing of it.
func RowOf(b *Batch, i int) *Row {
	s := b.schema
	r := &Row{}
	if n := s.counts; n[0]+n[1]+n[2] > 0 {
		r.Numbers, r.Times, r.Texts = make([]float64, 0, n[0]), make([]int64, 0, n[1]), make([]Text, 0, n[2])
	}
	for f := range s.Len() {
		switch s.fields[f].Type {
		case Numeric:
			r.Numbers = append(r.Numbers, b.numbers[f][i])
		case Time:
			r.Times = append(r.Times, b.times[f][i])
		case Enum:
			t := Text{}
			if c := b.codes[f][i]; c != MissingCode {
				t = Text{b.dicts[f].Level(c), true} // a level is a text of its own
			}
			r.Texts = append(r.Texts, t)
		case String:
			t := Text{}
			if !b.texts[f].Missing(i) {
				t = Text{strings.Clone(b.texts[f].View(i)), true}
			}
			r.Texts = append(r.Texts, t)
		}
	}
	return r
}
