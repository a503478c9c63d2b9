package experiment

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The simulations of this file are seeded: a rate is the same on each run, and failures print the seed.

// rateOf returns in which share of runs f is true.
func rateOf(runs int, seed uint64, f func(r *rand.Rand) bool) float64 {
	r := rand.New(rand.NewPCG(seed, 7))
	hits := 0
	for range runs {
		if f(r) {
			hits++
		}
	}
	return float64(hits) / float64(runs)
}

// within fails if a rate is not between low and high.
func within(t *testing.T, what string, seed uint64, rate, low, high float64) {
	t.Helper()
	t.Logf("%s: %.2f %% (seed %d)", what, 100*rate, seed)
	if rate < low || rate > high {
		t.Errorf("%s: %.2f %%, want %.2f to %.2f %% (seed %d)", what, 100*rate, 100*low, 100*high, seed)
	}
}

// looks is how often an experiment is looked at: once a day, while it grows by 8 % a day from 100 units in each arm, to 10,000.
const looks = 60

func dayUnits(day int) int {
	if day == 0 {
		return 100
	}
	return int(100*math.Pow(1.08, float64(day))) - int(100*math.Pow(1.08, float64(day-1)))
}

// losses are distributions of losses, of a unit and of its baseline.
func losses() map[string]func(r *rand.Rand) (y, x, d float64) {
	alone := func(f func(r *rand.Rand) float64) func(r *rand.Rand) (y, x, d float64) {
		return func(r *rand.Rand) (y, x, d float64) { return f(r), 0, 1 }
	}
	return map[string]func(r *rand.Rand) (y, x, d float64){
		"normal losses":  alone(func(r *rand.Rand) float64 { return 10 + r.NormFloat64() }),
		"squared errors": alone(func(r *rand.Rand) float64 { z := r.NormFloat64(); return z * z }),
		"lognormal losses": alone(func(r *rand.Rand) float64 {
			return math.Exp(r.NormFloat64())
		}),
		// Prices: an error is in proportion to the price, whose squares have tails so heavy that they have a variance, and little more.
		"squared errors of prices": alone(func(r *rand.Rand) float64 { z := r.NormFloat64() * math.Exp(0.5*r.NormFloat64()); return z * z }),
		"several records of a unit, with a baseline": func(r *rand.Rand) (y, x, d float64) {
			d = float64(1 + r.IntN(5))
			size := math.Exp(0.5 * r.NormFloat64()) // units differ
			for range int(d) {
				e := r.ExpFloat64()
				x += size * e
				y += size * (0.7*e + 0.3*r.ExpFloat64())
			}
			return y, x, d
		},
	}
}

// batch adds units up, as plain numbers: the simulations do not need more digits.
func batch(r *rand.Rand, units int, draw func(r *rand.Rand) (y, x, d float64), control bool) *Cross {
	var s [9 + cubes]float64
	for range units {
		y, x, d := draw(r)
		if control { // there the baseline is the arm itself
			y = x
			if d == 1 && x == 0 {
				y, _, _ = draw(r)
			}
		}
		for i, v := range [...]float64{y, x, d, y * y, x * x, d * d, y * x, y * d, x * d,
			y * y * y, y * y * x, y * y * d, y * x * x, y * x * d, y * d * d, x * x * x, x * x * d, x * d * d, d * d * d} {
			s[i] += v
		}
	}
	c := &Cross{Units: int64(units)}
	for i, t := range c.totals() {
		t.High = s[i]
	}
	for i := range c.Cubes {
		c.Cubes[i].High = s[9+i]
	}
	return c
}

// TestAA looks at experiments without a difference 60 times each: a confidence sequence may be looked at, and a t-test may not.
func TestAA(t *testing.T) {
	t.Parallel()
	const runs, seed = 600, 1
	for name, draw := range losses() {
		for _, share := range []int{1, 9} { // units of the control for one of the treatment
			var peeked, outside, relativeOutside int
			rate := rateOf(runs, seed, func(r *rand.Rand) bool {
				var control, treatment Cross
				var found, peek, out, relOut bool
				for day := range looks {
					n := dayUnits(day)
					control.Merge(batch(r, n*share, draw, true))
					treatment.Merge(batch(r, n, draw, false))
					c, err := Compare(&control, &treatment, Options{Horizon: 2000})
					if err != nil {
						t.Fatal(err)
					}
					found = found || c.Significant()
					out = out || c.Difference.Excludes(0)
					relOut = relOut || c.Relative.Excludes(0)
					peek = peek || absolute(control.adjusted(c.Theta), treatment.adjusted(c.Theta)).studentP(twoSided) <= 0.05
					if share > 1 && day == 30 {
						break // 90 to 10 takes ten times the draws
					}
				}
				for hit, count := range map[*bool]*int{&peek: &peeked, &out: &outside, &relOut: &relativeOutside} {
					if *hit {
						*count++
					}
				}
				return found
			})
			if share == 1 {
				within(t, name+": t-tests repeated at each look", seed, float64(peeked)/runs, 0.33, 0.47)
			}
			within(t, name+": the confidence sequence", seed, rate, 0, 0.05)
			within(t, name+": its interval misses at some look", seed, float64(outside)/runs, 0, 0.05)
			within(t, name+": its relative interval misses at some look", seed, float64(relativeOutside)/runs, 0, 0.05)
		}
	}
}
