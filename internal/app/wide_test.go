package app

import (
	"testing"

	"millrace.dev/internal/config"
	"millrace.dev/internal/watch"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// TestTooWide holds window checks to columns whose counts a record has room for, however full their bins are.
func TestTooWide(t *testing.T) {
	t.Parallel()
	wide := func(columns int) *profile.Profile {
		p := &profile.Profile{}
		for range columns {
			p.Columns = append(p.Columns, profile.Column{Counts: make([]uint64, profile.Bins+1)})
		}
		return p
	}
	for columns, fits := range map[int]bool{0: true, 20: true, 1000: true, 1200: false, record.MaxFields: false} {
		if err := tooWide(&config.Pipeline{}, wide(columns)); (err == nil) != fits {
			t.Errorf("%d columns: %v", columns, err)
		}
	}

	s, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBatch(s, nil)
	for i := range 100_000 {
		b.Append(record.Raw{})
		b.Numbers(0)[i] = float64(i*7919%100_003) * 1.1e6 / 3
	}
	survey := profile.NewSurvey(profile.NewLayout(s, nil, ""))
	survey.Add(0, &profile.Rows{Batch: b})
	reference := survey.Profile()
	tally, err := watch.NewTally(watch.Every{Records: 1}, reference, profile.NewLayout(s, nil, ""))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		tally.Add(&profile.Rows{Batch: b}, nil, 0)
	}
	err = tally.Parts(watch.Part{}, func(p *watch.Part) error {
		if n := len(p.Counts); n > 160+6*len(reference.Columns[0].Counts) || n < 300 {
			t.Errorf("a column takes %d bytes", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
