package experiment

import (
	"math"
	"testing"
)

// TestOneSided holds what the vectors lack to the tests of confseq (test/uniform_boundaries_unittest.cpp), whose values come from R.
func TestOneSided(t *testing.T) {
	t.Parallel()
	b := binary{max(100/0.16/spread2(0.1)-1, 1e-3), true}
	near(t, "one-sided beta-binomial", b.log(10+0.2*625, 625, 0.2), -0.07134019, 1e-6)
	near(t, "its bound", b.bound(625, 0.2, 0.05), 28.41238, 1e-6)
	near(t, "stitched with c below 0", stitched(100, 0.05, 10, -1), 28.99389, 1e-6)
}

// TestBoundsAreInverses holds each bound to its mixture, over sizes up to the extremes.
func TestBoundsAreInverses(t *testing.T) {
	t.Parallel()
	for _, v := range []float64{1e-6, 0.1, 1, 30, 1e4, 1e8} {
		for _, alpha := range []float64{1e-6, 0.001, 0.05, 0.3} {
			want := -math.Log(alpha)
			check := func(name string, log, bound float64) {
				if !(bound > 0) || math.Abs(log-want) > 1e-6*want {
					t.Errorf("%s at v=%v, alpha=%v: bound %v, where the log is %v, want %v", name, v, alpha, bound, log, want)
				}
			}
			for _, one := range []bool{false, true} {
				m := tuned(100, 0.05, one)
				s := m.bound(v, alpha)
				check("normal", m.log(s, v), s)
			}
			ge := gammaExponential{tuning(100, 0.1), 2}
			s := ge.bound(v, alpha)
			check("gamma-exponential", ge.log(s, v), s)
			gp := gammaPoisson{tuning(100, 0.1), 2}
			s = gp.bound(v, alpha)
			check("gamma-Poisson", gp.log(s, v), s)
		}
	}
	if z := 1.0 + stitched(1e4, 0.05, 10, 0); z < tuned(1e4, 0.05, true).bound(1e4, 0.05) || z > 2*tuned(1e4, 0.05, true).bound(1e4, 0.05) {
		t.Errorf("the stitched bound is %v", z)
	}
	sum := 0.0 // of n^-1.4, and Euler and Maclaurin's rest
	const n = 1000
	for i := 1.0; i < n; i++ {
		sum += math.Pow(i, -1.4)
	}
	sum += math.Pow(n, -0.4)/0.4 + math.Pow(n, -1.4)/2 + 1.4*math.Pow(n, -2.4)/12
	near(t, "zeta(1.4)", sum, 3.105547277977581, 1e-13)
}
