package experiment

import "testing"

// TestFarBelowTheLimit has no guard break a limit that is kept by far, however many records there are: the share of a tail that is too small for a
// float64 must not pass for evidence.
func TestFarBelowTheLimit(t *testing.T) {
	t.Parallel()
	g, err := NewGuards(0.05, 4, 2000, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []float64{1e-4, 0.005, 0.1, 0.5, 0.9} {
		for n := int64(1); n < 1<<40; n = n*9/8 + 1 {
			for _, k := range []int64{0, int64(float64(n) * limit / 20), int64(float64(n) * limit / 2), int64(float64(n) * limit)} {
				d, err := g.Proportion("errors", k, n, limit)
				if err != nil {
					t.Fatal(err)
				}
				if d.Outcome == Breaks || !(d.P > 0.9) || d.Estimate.Low > d.Estimate.Value {
					t.Fatalf("%d of %d, with a limit of %g: %+v", k, n, limit, d)
				}
			}
		}
	}
}
