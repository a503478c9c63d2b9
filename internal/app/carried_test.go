package app

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

func sameCarried(a, b carried) bool {
	bits := func(x []float64) (list []uint64) {
		for _, v := range x {
			list = append(list, math.Float64bits(v))
		}
		return list
	}
	return a.at == b.at && (a.value == nil) == (b.value == nil) && (a.row == nil) == (b.row == nil) && bytes.Equal(a.value, b.value) &&
		bytes.Equal(a.row, b.row) && slices.Equal(bits(a.windows), bits(b.windows))
}

// TestCarriedCodec writes and reads records on their way: null, empty and there are three things, of values and of rows.
func TestCarriedCodec(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		some := func(name string) []byte {
			switch rapid.IntRange(0, 2).Draw(t, name+" is there") {
			case 0:
				return nil
			case 1:
				return []byte{}
			default:
				return rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, name)
			}
		}
		c := carried{value: some("value"), row: some("row"), at: rapid.SampledFrom([]int64{0, -1, 1_740_000_000_000_000, record.MissingTime, math.MaxInt64}).Draw(t, "at")}
		for range rapid.IntRange(0, 5).Draw(t, "windows") {
			c.windows = append(c.windows, math.Float64frombits(rapid.Uint64().Draw(t, "x")))
		}
		b, err := carriedCodec{}.Append([]byte("x"), c)
		if err != nil || b[0] != 'x' {
			t.Fatal(err, b)
		}
		got, err := carriedCodec{}.Decode(b[1:])
		if err != nil || !sameCarried(c, got) {
			t.Fatalf("%+v became %+v, %v", c, got, err)
		}
		if short := b[1 : len(b)-len(c.value)]; len(short) > 0 {
			if _, err := (carriedCodec{}).Decode(short[:len(short)-1]); err == nil {
				t.Fatal("a part of it is a record")
			}
		}
	})
}

// FuzzCarried reads bytes of any kind: what is a record is written again in at most as many bytes.
func FuzzCarried(f *testing.F) {
	for _, c := range []carried{{}, {value: []byte("{}"), at: 7}, {value: []byte{}, row: []byte{1}, windows: []float64{1, math.NaN()}, at: record.MissingTime}} {
		b, err := carriedCodec{}.Append(nil, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := carriedCodec{}.Decode(b)
		if err != nil {
			return
		}
		again, err := carriedCodec{}.Append(nil, c)
		if err != nil || len(again) > len(b) {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
		if second, err := (carriedCodec{}).Decode(again); err != nil || !sameCarried(c, second) {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
	})
}

func changeSchema(t testing.TB) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "s", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// FuzzChange reads bytes of any kind as a change: what is one is written again in at most as many bytes.
func FuzzChange(f *testing.F) {
	cc := changeCodec{changeSchema(f)}
	row := &record.Row{Numbers: []float64{1}, Times: []int64{}, Texts: []record.Text{{S: "x", OK: true}}}
	for _, c := range []cdc.Change{
		{Op: cdc.Upsert, At: 5, Row: row}, {Op: cdc.Upsert, At: -5, Row: row, Snapshot: true, Keep: []int{0, 1}}, {Op: cdc.Delete, At: 7}, {Op: cdc.Delete, Tombstone: true},
	} {
		b, err := cc.Append(nil, c)
		if err != nil {
			f.Fatal(err)
		}
		got, err := cc.Decode(b)
		if err != nil || got.Op != c.Op || got.At != c.At || got.Snapshot != c.Snapshot || got.Tombstone != c.Tombstone || !slices.Equal(got.Keep, c.Keep) || (got.Row == nil) != (c.Row == nil) {
			f.Fatalf("%+v became %+v, %v", c, got, err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := cc.Decode(b)
		if err != nil {
			return
		}
		again, err := cc.Append(nil, c)
		if err != nil || len(again) > len(b) {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
		if _, err := cc.Decode(again); err != nil {
			t.Fatal(err)
		}
	})
}
