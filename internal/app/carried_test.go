package app

import (
	"bytes"
	"math"
	"testing"

	"millrace.dev/record"
)

// FuzzCarried holds that what a record carries comes out of a topic as it went in, and that other bytes are refused or read as
// something that has bytes of its own.
func FuzzCarried(f *testing.F) {
	for _, c := range []carried{
		{at: record.MissingTime},
		{value: []byte{}, at: 0},
		{value: []byte(`{"id":1}`), at: -5, windows: []float64{1, math.Inf(-1), math.Copysign(0, -1)}, row: []byte{}},
		{at: math.MaxInt64, windows: []float64{math.NaN()}, row: []byte("row")},
	} {
		b, err := carriedCodec{}.Append(nil, c)
		if err != nil {
			f.Fatal(err)
		}
		got, err := carriedCodec{}.Decode(b)
		if err != nil || got.at != c.at || !bytes.Equal(got.value, c.value) || (got.value == nil) != (c.value == nil) || !bytes.Equal(got.row, c.row) || (got.row == nil) != (c.row == nil) || len(got.windows) != len(c.windows) {
			f.Fatalf("%+v: %+v, %v", c, got, err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := carriedCodec{}.Decode(b)
		if err != nil {
			return
		}
		again, err := carriedCodec{}.Append(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := (carriedCodec{}).Decode(again); err != nil || d.at != c.at || !bytes.Equal(d.value, c.value) || !bytes.Equal(d.row, c.row) {
			t.Fatalf("%x: %+v, then %+v, %v", b, c, d, err)
		}
	})
}
