package record

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// rowSchema has fields of every type, in no order of types.
func rowSchema(t testing.TB) *Schema {
	t.Helper()
	s, err := NewSchema(Field{Name: "a", Type: Enum}, Field{Name: "b", Type: Numeric}, Field{Name: "c", Type: Time}, Field{Name: "d", Type: String}, Field{Name: "e", Type: Numeric})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sameRow compares bits.
func sameRow(a, b *Row) bool {
	ok := len(a.Numbers) == len(b.Numbers) && len(a.Times) == len(b.Times) && len(a.Texts) == len(b.Texts)
	for i := range a.Numbers {
		ok = ok && math.Float64bits(a.Numbers[i]) == math.Float64bits(b.Numbers[i])
	}
	for i := range a.Times {
		ok = ok && a.Times[i] == b.Times[i]
	}
	for i := range a.Texts {
		ok = ok && a.Texts[i] == b.Texts[i]
	}
	return ok
}

// TestRowBytes writes and reads rows of any values, and no part of their bytes.
func TestRowBytes(t *testing.T) {
	t.Parallel()
	s := rowSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) Text {
			x := Text{S: rapid.String().Draw(t, name), OK: rapid.Bool().Draw(t, name+" is there")}
			if !x.OK {
				x.S = ""
			}
			return x
		}
		bits := rapid.Uint64()
		r := &Row{
			Numbers: []float64{math.Float64frombits(bits.Draw(t, "b")), math.Float64frombits(bits.Draw(t, "e"))},
			Times:   []int64{rapid.Int64().Draw(t, "c")}, Texts: []Text{text("a"), text("d")},
		}
		b := s.AppendRow([]byte("before"), r)
		if !bytes.HasPrefix(b, []byte("before")) {
			t.Fatal("it does not append")
		}
		b = b[len("before"):]
		got, err := s.DecodeRow(b)
		if err != nil || !sameRow(r, got) {
			t.Fatalf("%+v became %+v, %v", r, got, err)
		}
		for n := range b {
			if _, err := s.DecodeRow(b[:n]); err == nil {
				t.Fatalf("%d of %d bytes are a row", n, len(b))
			}
		}
		if _, err := s.DecodeRow(append(bytes.Clone(b), 0)); err == nil {
			t.Fatal("a byte too many")
		}
		clear(b)
		if !sameRow(r, got) {
			t.Fatal("the row has kept the bytes")
		}
	})
}

// FuzzDecodeRow reads bytes of any kind: what is a row is written again in at most as many bytes.
func FuzzDecodeRow(f *testing.F) {
	s := rowSchema(f)
	f.Add(s.AppendRow(nil, &Row{Numbers: []float64{1, math.NaN()}, Times: []int64{MissingTime}, Texts: []Text{{"x", true}, {}}}))
	f.Add(s.AppendRow(nil, &Row{Numbers: []float64{0, -1}, Times: []int64{1}, Texts: []Text{{"", true}, {"long text", true}}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := s.DecodeRow(b)
		if err != nil {
			return
		}
		again := s.AppendRow(nil, r)
		second, err := s.DecodeRow(again)
		if err != nil || !sameRow(r, second) || len(again) > len(b) {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
	})
}
