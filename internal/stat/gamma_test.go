package stat

import (
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if !(got == want || math.Abs(got-want) <= relative*math.Abs(want)) {
		t.Errorf("%s: got %.17g, want %.17g", what, got, want)
	}
}

// TestGamma holds the functions to closed forms: whole and half shapes.
func TestGamma(t *testing.T) {
	t.Parallel()
	for _, x := range []float64{1e-9, 0.1, 1, 5, 30, 200, 700} {
		lower, upper := GammaShares(1, x)
		near(t, "P(1, x)", lower, -math.Expm1(-x), 1e-13)
		near(t, "Q(1, x)", upper, math.Exp(-x), 1e-13)
		_, upper = GammaShares(3, x)
		near(t, "Q(3, x)", upper, math.Exp(-x)*(1+x+x*x/2), 1e-13)
		near(t, "chi-square 1", ChiSquareTail(x, 1), math.Erfc(math.Sqrt(x/2)), 1e-12)
	}
	for _, a := range []float64{1e4, 1e6, 1e8} { // near the median, which is a - 1/3 + 8/(405 a)
		lower, upper := GammaShares(a, a-1.0/3+8/(405*a))
		near(t, "P at the median", lower, 0.5, 1e-9)
		near(t, "P + Q", lower+upper, 1, 1e-12)
	}
	for _, c := range [][3]float64{{0, 0, 1}, {2, math.Inf(1), 0}} {
		if _, upper := GammaShares(c[0], c[1]); upper != c[2] {
			t.Errorf("Q(%v, %v) = %v", c[0], c[1], upper)
		}
	}
	if p, q := GammaShares(math.NaN(), 1); !math.IsNaN(p) || !math.IsNaN(q) {
		t.Error("a number of NaN")
	}
}

// TestStirling holds the rest to factorials, and the deviance to its definition.
func TestStirling(t *testing.T) {
	t.Parallel()
	for _, x := range []float64{1e-3, 0.5, 1, 2, 7.5, 9.999, 10, 11, 50} {
		g, _ := math.Lgamma(x)
		want := g - (x-0.5)*math.Log(x) + x - 0.5*math.Log(2*math.Pi)
		if got := StirlingRest(x); math.Abs(got-want) > 2e-14 {
			t.Errorf("rest of %v: %.17g, want %.17g", x, got, want)
		}
	}
	near(t, "rest of 1e9", StirlingRest(1e9), 1/12e9, 1e-12)
	near(t, "deviance far", Deviance(3, 1), 3*math.Log(3)-2, 1e-15)
	near(t, "deviance near", Deviance(1e9+1, 1e9), 0.5e-9, 1e-8)
	near(t, "deviance of 0", Deviance(0, 7), 7, 0)
	near(t, "deviance of equals", Deviance(7, 7), 0, 0)
}

// TestBeta holds the shares to the binomial distribution, and many to their symmetry.
func TestBeta(t *testing.T) {
	t.Parallel()
	for _, p := range []float64{1e-6, 0.01, 0.3, 0.5, 0.9} {
		sum := 0.0 // P(at least 3 of 10)
		for k := 3; k <= 10; k++ {
			choose := 1.0
			for i := range k {
				choose = choose * float64(10-i) / float64(i+1)
			}
			sum += choose * math.Pow(p, float64(k)) * math.Pow(1-p, float64(10-k))
		}
		near(t, "binomial", BetaShare(3, 8, p, 1-p), sum, 1e-12)
	}
	for _, a := range []float64{0.5, 10, 1e4, 1e7} {
		near(t, "symmetric", BetaShare(a, a, 0.5, 0.5), 0.5, 1e-10)
		x := 0.5 + 1/math.Sqrt(a)/4
		near(t, "both sides", BetaShare(a, a, x, 1-x)+BetaShare(a, a, 1-x, x), 1, 1e-10)
	}
	if !math.IsNaN(BetaShare(1, 1, math.NaN(), 0)) || BetaShare(1, 1, -1, 2) != 0 || BetaShare(1, 1, 2, -1) != 1 {
		t.Error("ends")
	}
}

func TestNormal(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]float64{{0, 0.5}, {1.959963984540054, 0.025}, {-1.6448536269514722, 0.95}, {6, 9.865876450376946e-10}, {37, 5.725571222524577e-300}} {
		near(t, "tail", NormalTail(c[0]), c[1], 1e-12)
		if got := NormalQuantile(c[1]); math.Abs(got-c[0]) > 1e-12*(1+math.Abs(c[0])) {
			t.Errorf("quantile of %v: %.17g, want %v", c[1], got, c[0])
		}
	}
	near(t, "log", LogNormalTail(29.999999), LogNormalTail(30.000001), 1e-6)
	near(t, "log far", LogNormalTail(1e6), -5e11, 1e-9)
	if !math.IsInf(NormalQuantile(0), 1) || !math.IsInf(NormalQuantile(1), -1) || !math.IsNaN(NormalQuantile(1.1)) || !math.IsNaN(NormalQuantile(math.NaN())) {
		t.Error("ends of the quantile")
	}
}

// TestStudentExtremes looks at what SciPy's values in TestStudent leave out.
func TestStudentExtremes(t *testing.T) {
	t.Parallel()
	for _, x := range []float64{0.1, 1, 30, 1e10, 1e100} {
		near(t, "Cauchy", StudentTail(x, 1), math.Atan(1/x)/math.Pi, 1e-12)
	}
	near(t, "many degrees", StudentTail(3, 1e12), NormalTail(3), 1e-9)
	near(t, "where it goes over to the normal one", StudentTail(5, 1.001e9), StudentTail(5, 0.999e9), 1e-7)
	for _, tail := range []float64{1e-60, 1e-20, 1e-3, 0.5, 0.999} {
		for _, freedom := range []float64{0.5, 1, 2.5, 1000, 1e10} {
			if q := StudentQuantile(tail, freedom); !math.IsInf(q, 0) {
				near(t, "tail of the quantile", StudentTail(q, freedom), tail, 1e-9)
			}
		}
	}
	for _, bad := range []float64{StudentTail(1, 0), StudentTail(1, -1), StudentQuantile(0, 1), StudentQuantile(1, 1), StudentQuantile(math.NaN(), 1)} {
		if !math.IsNaN(bad) {
			t.Errorf("%v, want NaN", bad)
		}
	}
}

// TestStudentShifted holds the tail to the central one, to the normal one, and to a sum of draws' exact counterpart at 1 degree of freedom.
func TestStudentShifted(t *testing.T) {
	t.Parallel()
	for _, freedom := range []float64{1, 2, 7.5, 100, 1e6} {
		for _, x := range []float64{-2, 0, 0.5, 3, 8} {
			near(t, "without a shift", StudentShiftedTail(x, freedom, 0), StudentTail(x, freedom), 1e-9)
		}
		near(t, "at 0", StudentShiftedTail(0, freedom, 1.5), NormalTail(-1.5), 1e-12)
	}
	near(t, "many degrees", StudentShiftedTail(1.96, 1e9, 2.8), NormalTail(1.96-2.8), 1e-8)
	if !math.IsNaN(StudentShiftedTail(1, 0, 1)) || !math.IsNaN(StudentShiftedTail(math.NaN(), 1, 1)) {
		t.Error("a number of nothing")
	}
}
