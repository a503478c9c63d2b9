package feature

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

func TestUses(t *testing.T) {
	t.Parallel()
	s := houseSchema(t)
	zips, err := record.NewSchema(record.Field{Name: "income", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(Declaration{
		Schema: s,
		Features: append(houseSpecs(), Spec{"income", "zips[zip].income"}, Spec{"relative", "sqft_living / recent.size"},
			Spec{"month", "month(date)"}, Spec{"old", "age > 50"}),
		Inputs:  []string{"sqft_living", "city", "age", "living_share", "income", "relative", "month", "old"},
		Tables:  []Table{{"zips", zips}},
		Windows: []Window{{Name: "recent", Key: "city", Where: "price > 0", Size: time.Hour, Aggregates: []Spec{{"size", "mean(sqft_above)"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Uses{
		{Fields: []string{"sqft_living"}},
		{Fields: []string{"city"}},
		{Fields: []string{"date", "yr_built"}},
		{Fields: []string{"sqft_living", "sqft_lot"}},
		{Fields: []string{"statezip"}, Tables: []string{"zips"}},
		{Fields: []string{"price", "sqft_living", "sqft_above", "city"}, Windows: []string{"recent"}},
		{Fields: []string{"date"}},
		{Fields: []string{"date", "yr_built"}},
	}
	if diff := cmp.Diff(want, p.Uses()); diff != "" {
		t.Error(diff)
	}
}
