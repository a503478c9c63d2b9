package table

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

func pastSchema(t testing.TB, fields ...record.Field) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(append(fields, record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "t", Type: record.Time}, record.Field{Name: "s", Type: record.String})...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPasts holds the past of a key against a table that has that key alone.
func TestPasts(t *testing.T) {
	t.Parallel()
	s := pastSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Schema: s, History: time.Duration(rapid.SampledFrom([]int64{-1, 0, 3000, 8000}).Draw(t, "history"))}
		table, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		pasts, err := NewPasts(o)
		if err != nil {
			t.Fatal(err)
		}
		var past []byte
		at := rapid.Int64Range(-5, 20)
		for i := range rapid.IntRange(1, 25).Draw(t, "changes") {
			c := cdc.Change{Op: cdc.Delete, Key: "k", At: at.Draw(t, "at")}
			if rapid.IntRange(0, 3).Draw(t, "op") > 0 {
				c.Op = cdc.Upsert
				c.Row = &record.Row{Numbers: []float64{float64(i)}, Times: []int64{int64(i)}, Texts: []record.Text{{S: "text", OK: i%3 > 0}}}
				c.Snapshot = rapid.Bool().Draw(t, "snapshot")
				if rapid.IntRange(0, 4).Draw(t, "keeps") == 0 {
					c.Row.Numbers[0], c.Keep = math.NaN(), []int{0}
				}
			} else {
				c.Tombstone = rapid.Bool().Draw(t, "tombstone")
			}
			if c.At <= table.Horizon() {
				continue // later than the history: a past of which all was forgotten does not know that
			}
			before, own := bytes.Clone(past), c
			if past, err = pasts.Apply(past, &own); err != nil {
				t.Fatal(err)
			}
			if len(before) > 0 && pasts.Check(before) != nil {
				t.Fatal("the past was changed")
			}
			table.Apply(&c)
			horizon := table.Horizon()
			for look := range int64(28) {
				look -= 6
				if look == 21 {
					look = record.MissingTime
				}
				if look < horizon && look != record.MissingTime {
					continue // beyond the history
				}
				got, err := pasts.Get(past, look)
				if err != nil {
					t.Fatal(err)
				}
				var want []byte
				if row := table.Get("k", look); row != nil {
					want = s.AppendRow(nil, row)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("change %d (%+v): as of %d: %x, want %x", i, c, look, got, want)
				}
			}
		}
	})
}

// TestPastIsBounded changes a key more often than its past can hold: the newest versions stay.
func TestPastIsBounded(t *testing.T) {
	t.Parallel()
	s := pastSchema(t)
	pasts, err := NewPasts(Options{Schema: s, History: Forever})
	if err != nil {
		t.Fatal(err)
	}
	row := func(i int) *record.Row {
		return &record.Row{Numbers: []float64{float64(i)}, Times: []int64{0}, Texts: []record.Text{{S: string(make([]byte, 1000)), OK: true}}}
	}
	var past []byte
	const n = 600
	for i := range n {
		if past, err = pasts.Apply(past, &cdc.Change{Op: cdc.Upsert, Key: "k", Row: row(i), At: int64(i), Snapshot: i == 0}); err != nil {
			t.Fatal(err)
		}
		if len(past) > MaxPastBytes {
			t.Fatalf("%d bytes", len(past))
		}
	}
	for _, at := range []int64{n - 1, n - 100, record.MissingTime} {
		want := s.AppendRow(nil, row(min(int(at&0xFFFF), n-1)))
		if at == record.MissingTime {
			want = s.AppendRow(nil, row(n-1))
		}
		if got, err := pasts.Get(past, at); err != nil || !bytes.Equal(got, want) {
			t.Errorf("as of %d: %v", at, err)
		}
	}
	if got, _ := pasts.Get(past, 0); got != nil {
		t.Error("what was forgotten is found")
	}
	if past, err = pasts.Apply(past, &cdc.Change{Op: cdc.Upsert, Key: "k", Row: &record.Row{Numbers: []float64{1}, Times: []int64{0}, Texts: []record.Text{{S: string(make([]byte, MaxPastBytes)), OK: true}}}, At: n}); err != nil {
		t.Fatal(err)
	}
	if got, err := pasts.Get(past, n); err != nil || got == nil {
		t.Errorf("a row larger than all pasts: %v", err)
	}
}

// TestPastOfOtherColumns refuses what was written with other columns.
func TestPastOfOtherColumns(t *testing.T) {
	t.Parallel()
	pasts, err := NewPasts(Options{Schema: pastSchema(t), History: Forever})
	if err != nil {
		t.Fatal(err)
	}
	past, err := pasts.Apply(nil, &cdc.Change{Op: cdc.Upsert, Key: "k", At: 1, Row: &record.Row{Numbers: []float64{1}, Times: []int64{1}, Texts: []record.Text{{}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewPasts(Options{}); err == nil {
		t.Error("pasts without a schema")
	}
	other, err := NewPasts(Options{Schema: pastSchema(t, record.Field{Name: "more", Type: record.Enum}), History: Forever})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Check(past); !errors.Is(err, ErrPast) {
		t.Error(err)
	}
	if _, err := other.Apply(past, &cdc.Change{Op: cdc.Delete}); !errors.Is(err, ErrPast) {
		t.Error(err)
	}
	if _, err := other.Get(past, 1); !errors.Is(err, ErrPast) {
		t.Error(err)
	}
}

// FuzzPast reads bytes of any kind as a past: what is taken is what would be written, and can be looked up in.
func FuzzPast(f *testing.F) {
	s := pastSchema(f)
	pasts, err := NewPasts(Options{Schema: s, History: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	var past []byte
	for i := range 5 {
		c := cdc.Change{Op: cdc.Upsert, Key: "k", At: int64(i), Row: &record.Row{Numbers: []float64{1}, Times: []int64{1}, Texts: []record.Text{{S: "x", OK: true}}}, Keep: []int{0, 2}[:i%3]}
		if i == 3 {
			c = cdc.Change{Op: cdc.Delete, At: 3, Tombstone: true}
		}
		if past, err = pasts.Apply(past, &c); err != nil {
			f.Fatal(err)
		}
		f.Add(past)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if pasts.Check(b) != nil {
			return
		}
		newest, versions, err := pasts.decode(b)
		if err != nil {
			t.Fatal(err)
		}
		again := pasts.encode(newest, versions)
		if err := pasts.Check(again); len(versions) > 0 && (err != nil || len(again) > len(b)) {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
		if _, err := pasts.Get(b, 2); err != nil {
			t.Fatal(err)
		}
		if b == nil {
			return
		}
		if _, err := pasts.Apply(b, &cdc.Change{Op: cdc.Delete, At: 7}); err != nil {
			t.Fatal(err)
		}
	})
}
