package stat

import (
	"math"

	"millrace.dev/internal/detmath"
)

// StirlingRest returns what Stirling's formula lacks, for x above 0: ln Γ(x) - ((x-½) ln x - x + ½ ln 2π), within 1e-15. With
// it the large parts of logarithms of gamma functions cancel on paper rather than in the computer (Loader, Fast and accurate
// computation of binomial probabilities, 2000).
func StirlingRest(x float64) float64 {
	rest := 0.0
	for ; x < 10; x++ {
		rest += float64((x+0.5)*detmath.Log((x+1)/x)) - 1
	}
	y := float64(1 / float64(x*x))
	series := -691.0 / 360360
	for _, c := range [...]float64{1.0 / 1188, -1.0 / 1680, 1.0 / 1260, -1.0 / 360, 1.0 / 12} {
		series = float64(series*y) + c
	}
	return rest + series/x
}

// Deviance returns x ln(x/m) + m - x, which is 0 where x is m and above it elsewhere, for x from 0 and m above 0, without the
// cancellation near m (Loader's bd0).
func Deviance(x, m float64) float64 {
	d := x - m
	switch {
	case x == 0:
		return m
	case math.IsNaN(d):
		return d
	}
	if math.Abs(d) >= 0.1*(x+m) {
		return float64(x*detmath.Log(x/m)) - d
	}
	v := d / (x + m)
	sum, term, square := float64(d*v), float64(2*x*v), float64(v*v)
	for j := 3.0; ; j += 2 {
		term = float64(term * square)
		next := sum + term/j
		if next == sum {
			return sum
		}
		sum = next
	}
}
