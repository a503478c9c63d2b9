package app

import (
	"fmt"
	"math"
	"testing"

	"millrace.dev/profile"
)

func TestRebinned(t *testing.T) {
	t.Parallel()
	numbers := func(distinct uint64, edges []float64, counts ...uint64) *profile.Column {
		return &profile.Column{Kind: profile.Number, Edges: edges, Counts: counts, Distinct: distinct, Min: edges[0], Max: edges[len(edges)-1]}
	}
	levels := func(names []string, counts ...uint64) *profile.Column {
		return &profile.Column{Kind: profile.Level, Levels: names, Counts: counts, Min: math.NaN(), Max: math.NaN()}
	}
	for name, test := range map[string]struct {
		into, from *profile.Column
		want       string
		exact      bool
	}{
		"the same":         {numbers(9, []float64{1, 2}, 0, 0, 0), numbers(900, []float64{1, 2}, 3, 4, 5), "[3 4 5]", true},
		"in the middle":    {numbers(900, []float64{0, 5, 10}, 0, 0, 0, 0), numbers(900, []float64{0, 10}, 0, 100, 0), "[0 50 50 0]", false},
		"single values":    {numbers(900, []float64{0, 5, 10}, 0, 0, 0, 0), numbers(3, []float64{0, 6, 20}, 1, 2, 4, 0), "[1 0 2 4]", true},
		"beyond both ends": {numbers(900, []float64{3, 4}, 0, 0, 0), numbers(900, []float64{0, 10}, 0, 100, 0), "[30 10 60]", false},
		"levels":           {levels([]string{"a", "b"}, 0, 0, 0), levels([]string{"b", "c"}, 5, 6, 7), "[0 5 13]", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, exact := rebinned(test.into, test.from)
			if fmt.Sprint(got.Counts) != test.want || exact != test.exact {
				t.Errorf("%d, exact %t", got.Counts, exact)
			}
		})
	}
	if o := beyond(numbers(900, []float64{3, 4}, 0, 0, 0), numbers(900, []float64{0, 10}, 0, 100, 0)); o.Below != 30 || o.Above != 60 {
		t.Errorf("%+v", o)
	}
}
