package profile_test

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"millrace.dev/profile"
	"millrace.dev/record"
)

// TestValidateRefuses holds a profile that comes from elsewhere to what is computed with it later.
func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	number := func() profile.Column {
		return profile.Column{Name: "x", Role: profile.Field, Kind: profile.Number, Rows: 2, Min: 1, Max: 2, Mean: 1.5, Deviation: 0.5, Edges: []float64{1, 2}, Counts: []uint64{1, 1, 0}}
	}
	levels := func(names ...string) profile.Column {
		return profile.Column{Name: "c", Role: profile.Field, Kind: profile.Level, Min: nan, Max: nan, Mean: nan, Deviation: nan, Levels: names, Counts: make([]uint64, len(names)+1)}
	}
	for _, c := range []struct {
		name   string
		change func(p *profile.Profile)
		want   string
	}{
		{"as it is", func(*profile.Profile) {}, ""},
		{"a prediction of levels", func(p *profile.Profile) { p.Columns[1].Role = profile.Prediction }, "a prediction is a number"},
		{"a level twice", func(p *profile.Profile) { p.Columns[1] = levels("a", "b", "a") }, "there twice"},
		{"a range that is none", func(p *profile.Profile) { p.Columns[0].Min = 3 }, "above its largest"},
		{"a deviation below 0", func(p *profile.Profile) { p.Columns[0].Deviation = -1 }, "below 0"},
		{"rows whose bins overflow", func(p *profile.Profile) { p.Sample = &profile.Sample{Rows: math.MinInt} }, "the sample"},
		{"rows of which the product overflows", func(p *profile.Profile) { p.Sample = &profile.Sample{Rows: math.MaxInt/2 + 1} }, "the sample"},
		{"rows of no columns", func(p *profile.Profile) { *p = profile.Profile{Sample: &profile.Sample{Rows: math.MaxInt}} }, "the sample"},
		{"more rows than a sample has", func(p *profile.Profile) {
			p.Sample = &profile.Sample{Rows: profile.SampleRows + 1, Bins: make([]uint16, 2*(profile.SampleRows+1))}
		}, "the sample"},
		{"a count too many", func(p *profile.Profile) { p.Columns[0].Counts = []uint64{math.MaxUint64, 3, 0} }, "more than its rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &profile.Profile{Rows: 2, Columns: []profile.Column{number(), levels("a", "b")}}
			c.change(p)
			switch err := p.Validate(); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestMergeRefuses holds the counts of a column to be those of its rows.
func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema(record.Field{Name: "c", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	p := &profile.Profile{Columns: []profile.Column{{Name: "c", Role: profile.Field, Kind: profile.Level, Levels: []string{"a", "b"}, Counts: []uint64{0, 0, 0}}}}
	for _, c := range []struct {
		name string
		n    []uint64 // rows, columns, rows of the column, missing, bins, and pairs of a gap and a count
		fine bool
	}{
		{"all there", []uint64{4, 1, 4, 1, 2, 0, 1, 1, 2}, true},
		{"none", []uint64{0, 1, 0, 0, 0}, true},
		{"fewer counts than rows", []uint64{4, 1, 4, 1, 1, 0, 2}, false},
		{"more counts than rows", []uint64{4, 1, 4, 1, 1, 0, 4}, false},
		{"counts that overflow", []uint64{4, 1, 4, 1, 3, 0, math.MaxUint64, 0, 2, 0, 2}, false},
		{"a gap that goes back", []uint64{4, 1, 4, 1, 2, 1, 1, math.MaxUint64 - 1, 2}, false},
		{"a bin beyond", []uint64{1, 1, 1, 0, 1, 3, 1}, false},
		{"more missing than rows", []uint64{1, 1, 1, 2, 0}, false},
		{"rows beyond all numbers", []uint64{1 << 60, 1, 0, 0, 0}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			counter, err := profile.NewCounter(p, profile.NewLayout(s, nil, ""))
			if err != nil {
				t.Fatal(err)
			}
			b := []byte{1}
			for _, n := range c.n {
				b = binary.AppendUvarint(b, n)
			}
			if err := counter.MergeBinary(b); (err == nil) != c.fine || err != nil && !errors.Is(err, profile.ErrCounter) {
				t.Error(err)
			}
			if !c.fine && counter.Rows() != 0 {
				t.Error("something was taken")
			}
		})
	}
}
