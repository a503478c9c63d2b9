package trial

import (
	"math"
	"testing"

	"millrace.dev/internal/experiment"
)

func TestReach(t *testing.T) {
	t.Parallel()
	none := math.Inf(1)
	for want, i := range map[string]experiment.Interval{
		"from -20% to +10%": {Low: -0.2, High: 0.1},
		"up to +10%":        {Low: -1, High: 0.1}, // a root's end that is open
		"up to +12%":        {Low: -none, High: 0.12},
		"from -20% on":      {Low: -0.2, High: none},
		"anything":          {Low: -none, High: none},
	} {
		if got := reach(i); got != want {
			t.Errorf("%+v: %q, want %q", i, got, want)
		}
	}
}

func TestMaturity(t *testing.T) {
	t.Parallel()
	for want, n := range map[string][2]int{"0 of 1 day is mature": {0, 1}, "1 of 7 days is mature": {1, 7}, "3 of 7 days are mature": {3, 7}, "0 of 0 days are mature": {}} {
		if got := Maturity(n[0], n[1]); got != want {
			t.Errorf("%v: %q, want %q", n, got, want)
		}
	}
}
