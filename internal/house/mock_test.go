package house

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMockBounds holds each number of a mock house to its bounds, to reaching both, and to coming evenly.
func TestMockBounds(t *testing.T) {
	t.Parallel()
	const n = 60_000
	g := newTest(t, Options{Seed: 11})
	houses := make([]Sale, n)
	for i := range houses {
		houses[i] = g.Mock(int64(i))
	}
	for name, c := range map[string]struct {
		low, high int
		of        func(s *Sale) float64
	}{
		"floors":      {0, 2, func(s *Sale) float64 { return s.Floors }},
		"condition":   {0, 3, func(s *Sale) float64 { return float64(s.Condition) }},
		"sqft_living": {1000, 3000, func(s *Sale) float64 { return float64(s.SqftLiving) }},
		"sqft_lot":    {1000, 3000, func(s *Sale) float64 { return float64(s.SqftLot) }},
		"yr_built":    {1900, 1979, func(s *Sale) float64 { return float64(s.YrBuilt) }},
		"bedrooms":    {1, 5, func(s *Sale) float64 { return s.Bedrooms }},
		"bathrooms":   {1, 3, func(s *Sale) float64 { return s.Bathrooms }},
	} {
		values := c.high - c.low + 1
		counts := make([]int, values)
		for i := range houses {
			x := c.of(&houses[i])
			if x != math.Trunc(x) || x < float64(c.low) || x > float64(c.high) {
				t.Fatalf("%s: %v is no whole number from %d to %d", name, x, c.low, c.high)
			}
			counts[int(x)-c.low]++
		}
		if counts[0] == 0 || counts[values-1] == 0 {
			t.Errorf("%s: %d houses have %d, and %d have %d", name, counts[0], c.low, counts[values-1], c.high)
		}
		// Of evenly drawn values Pearson's statistic is values-1 on average, with this deviation at most.
		statistic, want := 0.0, float64(n)/float64(values)
		for _, k := range counts {
			statistic += (float64(k) - want) * (float64(k) - want) / want
		}
		if free := float64(values - 1); math.Abs(statistic-free) > 5*math.Sqrt(2*free) {
			t.Errorf("%s: the statistic of even counts is %.1f, for %d values", name, statistic, values)
		}
	}
}

func TestMockIsPlain(t *testing.T) {
	t.Parallel()
	g := newTest(t, Options{Seed: 3})
	for i := range int64(2000) {
		s := g.Mock(i)
		rest := Sale{ID: i, Date: g.Sale(i).Date, StateZip: "WA 98155", City: "Seattle", Country: "USA"}
		rest.Floors, rest.Condition, rest.YrBuilt, rest.Bedrooms, rest.Bathrooms = s.Floors, s.Condition, s.YrBuilt, s.Bedrooms, s.Bathrooms
		rest.SqftLiving, rest.SqftAbove, rest.SqftLot = s.SqftLiving, s.SqftLiving, s.SqftLot
		rest.Street, rest.Price, rest.LogPrice = s.Street, s.Price, s.LogPrice
		if diff := cmp.Diff(rest, s); diff != "" {
			t.Fatalf("house %d: %s", i, diff)
		}
		if s.Street == "" || s.Price < 10_000 || s.Price > 10_000_000 || math.Mod(s.Price, 100) != 0 {
			t.Errorf("house %d: %q, %v", i, s.Street, s.Price)
		}
	}
}

// TestMockSameEverywhere pins the bytes of mock houses, as TestSameEverywhere does those of sales.
func TestMockSameEverywhere(t *testing.T) {
	t.Parallel()
	g, h := newTest(t, Options{Seed: 1}), sha256.New()
	for i := int64(4999); i >= 0; i-- { // in any order
		s := g.Mock(i)
		h.Write(s.AppendJSON(nil))
	}
	const want = "01af1a361c856878ccedc619a65cc64a28df22110dbf3ef51fa3b8e63c9190e3"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("the houses hash to %s, want %s", got, want)
	}
	if a, b := g.Mock(7), newTest(t, Options{Seed: 2}).Mock(7); a.SqftLiving == b.SqftLiving && a.SqftLot == b.SqftLot {
		t.Error("another seed makes the same house")
	}
	if s := g.Mock(1 << 62); s.Date.Before(day(5, 2)) {
		t.Errorf("%+v", s)
	}
}
