package record

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
)

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

// AppendRow appends the bytes of a row of s to dst, for [Schema.DecodeRow] with the same schema: the numbers and the times in
// eight bytes each, little-endian, and the texts after a varint each, their length and one more, or 0 where they are
// missing.
func (s *Schema) AppendRow(dst []byte, r *Row) []byte {
	for _, x := range r.Numbers {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
	}
	for _, t := range r.Times {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(t))
	}
	for _, t := range r.Texts {
		if !t.OK {
			dst = append(dst, 0)
			continue
		}
		dst = append(binary.AppendUvarint(dst, uint64(len(t.S))+1), t.S...)
	}
	return dst
}

var errRow = errors.New("record: these are not the bytes of a row of the schema")

// DecodeRow returns the row whose bytes AppendRow made. It keeps nothing of b.
func (s *Schema) DecodeRow(b []byte) (*Row, error) {
	if len(b) < 8*(s.counts[0]+s.counts[1])+s.counts[2] {
		return nil, errRow
	}
	r := &Row{Numbers: make([]float64, s.counts[0]), Times: make([]int64, s.counts[1]), Texts: make([]Text, s.counts[2])}
	for i := range r.Numbers {
		r.Numbers[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	for i := range r.Times {
		r.Times[i] = int64(binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	for i := range r.Texts {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size)+1 {
			return nil, errRow
		}
		if b = b[size:]; n > 0 {
			r.Texts[i] = Text{string(b[:n-1]), true}
			b = b[n-1:]
		}
	}
	if len(b) > 0 {
		return nil, errRow
	}
	return r, nil
}
