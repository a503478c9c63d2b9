package experiment

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The simulations of this file are seeded: a rate is the same on each run, and failures print the seed.

// simulation ends a test that computes for seconds, under -short.
func simulation(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("this simulates thousands of experiments")
	}
}

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
		for i, v := range [...]float64{
			y, x, d, y * y, x * x, d * d, y * x, y * d, x * d,
			y * y * y, y * y * x, y * y * d, y * x * x, y * x * d, y * d * d, x * x * x, x * x * d, x * d * d, d * d * d,
		} {
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
	simulation(t)
	const runs, seed = 300, 1
	for name, draw := range losses() {
		for _, share := range []int{1, 9} { // units of the control for one of the treatment
			var peeked, outside, relativeOutside, careless int
			rate := rateOf(runs, seed, func(r *rand.Rand) bool {
				var control, treatment Cross
				var found, peek, out, relOut, bare bool
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
					d := absolute(control.adjusted(c.Theta), treatment.adjusted(c.Theta))
					peek = peek || d.studentP(twoSided) <= 0.05
					_, p := d.sequence(0.05, 0.05, 2000, twoSided)
					bare = bare || p <= 0.05
					if share > 1 && day == 30 {
						break // 90 to 10 takes ten times the draws
					}
				}
				for hit, count := range map[*bool]*int{&peek: &peeked, &out: &outside, &relOut: &relativeOutside, &bare: &careless} {
					if *hit {
						*count++
					}
				}
				return found
			})
			if share == 1 {
				within(t, name+": t-tests repeated at each look", seed, float64(peeked)/runs, 0.33, 0.47)
			}
			if share > 1 && name == "squared errors of prices" {
				within(t, name+", 90 to 10: the confidence sequence without a look at the skewness", seed, float64(careless)/runs, 0.06, 0.15)
			}
			within(t, name+": the confidence sequence", seed, rate, 0, 0.05)
			within(t, name+": its interval misses at some look", seed, float64(outside)/runs, 0, 0.05)
			within(t, name+": its relative interval misses at some look", seed, float64(relativeOutside)/runs, 0, 0.05)
		}
	}
}

// TestCoverage looks once, at the size that was planned: intervals of 95 % hold the difference in 95 % of experiments.
func TestCoverage(t *testing.T) {
	t.Parallel()
	simulation(t)
	const runs, seed = 1000, 2
	for name, draw := range losses() {
		var relative int
		missed := rateOf(runs, seed, func(r *rand.Rand) bool {
			control, treatment := batch(r, 1000, draw, true), batch(r, 1000, draw, false)
			c, err := Compare(control, treatment, Options{Test: Fixed})
			if err != nil {
				t.Fatal(err)
			}
			if c.Relative.Excludes(0) {
				relative++
			}
			if c.Enough && c.Difference.Excludes(0) != c.Significant() {
				t.Errorf("%s: the interval %v and p %v do not agree (seed %d)", name, c.Difference, c.P, seed)
			}
			return c.Difference.Excludes(0)
		})
		within(t, name+": Welch's interval misses", seed, missed, 0.03, 0.065)
		within(t, name+": Welch's relative interval misses", seed, float64(relative)/runs, 0.03, 0.065)
	}
}

// TestPower plans experiments, and runs them with the difference that they were planned for.
func TestPower(t *testing.T) {
	t.Parallel()
	const runs, seed = 500, 3
	for _, c := range []struct {
		name   string
		design Design
		most   float64
	}{
		{"fixed", Design{Deviation: 2, Effect: 0.4, Test: Fixed}, 0.85},
		{"fixed, 4 to 1", Design{Deviation: 2, Effect: 0.4, Test: Fixed, Weights: [2]float64{4, 1}}, 0.85},
		{"fixed, with a baseline", Design{Deviation: 2, Effect: 0.2, Correlation: 0.8, Test: Fixed}, 0.85},
		{"sequential", Design{Deviation: 2, Effect: 0.4}, 0.92},
		{"sequential, with a baseline", Design{Deviation: 2, Effect: 0.2, Correlation: 0.8}, 0.92},
	} {
		plan, err := c.design.Plan()
		if err != nil {
			t.Fatal(err)
		}
		options := Options{Test: c.design.Test, Horizon: plan.Horizon, Plain: c.design.Correlation == 0, Least: 2}
		steps := int64(looks)
		if c.design.Test == Fixed {
			steps = 1
		}
		draw := func(r *rand.Rand) (y, x, d float64) {
			base := r.NormFloat64()
			rho := c.design.Correlation
			return 10 + 2*(rho*base+math.Sqrt(1-rho*rho)*r.NormFloat64()) + c.design.Effect, 10 + 2*base, 1
		}
		var units, found float64
		power := rateOf(runs, seed, func(r *rand.Rand) bool {
			var control, treatment Cross
			for i := range steps {
				control.Merge(batch(r, int(plan.Control*(i+1)/steps-plan.Control*i/steps), draw, true))
				treatment.Merge(batch(r, int(plan.Treatment*(i+1)/steps-plan.Treatment*i/steps), draw, false))
				got, err := Compare(&control, &treatment, options)
				if err != nil {
					t.Fatal(err)
				}
				if got.Significant() && got.Difference.Low > 0 {
					units += float64(control.Units + treatment.Units)
					found++
					return true
				}
			}
			return false
		})
		t.Logf("%s: %d and %d units planned, %.0f on average where it was found; %.2f times the fixed test", c.name, plan.Control, plan.Treatment, units/found, plan.Ratio)
		within(t, c.name+": finds the difference", seed, power, 0.77, c.most)
	}
}

// TestSampleRatioRates draws units by the weights, and looks at the end, or sixty times.
func TestSampleRatioRates(t *testing.T) {
	t.Parallel()
	const runs, seed = 2000, 4
	weights := []float64{0.9, 0.1}
	simulate := func(share, alpha float64) (fixed, sequential float64) {
		hits := 0
		sequential = rateOf(runs, seed, func(r *rand.Rand) bool {
			var counts [2]int64
			found := false
			for look := range looks {
				for range 50 {
					arm := 0
					if r.Float64() < share {
						arm = 1
					}
					counts[arm]++
				}
				got, err := SampleRatio(Stretch{counts[:], weights})
				if err != nil {
					t.Fatal(err)
				}
				found = found || got.Mismatch(Sequential, alpha)
				if look == looks-1 && got.Mismatch(Fixed, alpha) {
					hits++
				}
			}
			return found
		})
		return float64(hits) / runs, sequential
	}
	for _, alpha := range []float64{0.05, 0.01} {
		fixed, sequential := simulate(0.1, alpha)
		within(t, "chi-square finds a mismatch where there is none", seed, fixed, alpha*0.6, alpha*1.4)
		within(t, "the sequential check finds a mismatch where there is none", seed, sequential, 0, alpha)
	}
	fixed, sequential := simulate(0.13, 0)
	within(t, "chi-square finds 13 instead of 10 %", seed, fixed, 0.95, 1)
	within(t, "the sequential check finds 13 instead of 10 %", seed, sequential, 0.8, 1)
}

// TestGuardRates asks guards forty times where the truth lies on the limit: there they may neither break nor pass, but for their error rate.
func TestGuardRates(t *testing.T) {
	t.Parallel()
	simulation(t)
	const runs, seed, times = 200, 5, 40
	g, err := NewGuards(0.05, 1, 2000, 0)
	if err != nil {
		t.Fatal(err)
	}
	skewed := func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) - math.Exp(0.5) } // of mean 0
	guards := map[string]func(r *rand.Rand, off float64) func() (*Decision, error){
		"a share of 1 %": func(r *rand.Rand, off float64) func() (*Decision, error) {
			var hits, n int64
			return func() (*Decision, error) {
				for range 100 {
					if n++; r.Float64() < 0.01*(1+off) {
						hits++
					}
				}
				return g.Proportion("refused", hits, n, 0.01)
			}
		},
		"a share of 30 %": func(r *rand.Rand, off float64) func() (*Decision, error) {
			var hits, n int64
			return func() (*Decision, error) {
				for range 20 {
					if n++; r.Float64() < 0.3*(1+off) {
						hits++
					}
				}
				return g.Proportion("refused", hits, n, 0.3)
			}
		},
		"a skewed mean": func(r *rand.Rand, off float64) func() (*Decision, error) {
			var p Paired
			return func() (*Decision, error) {
				for range 100 {
					if err := p.Add(5 + off + skewed(r)); err != nil {
						return nil, err
					}
				}
				return g.Mean("latency", &p, 5)
			}
		},
		"a loss": func(r *rand.Rand, off float64) func() (*Decision, error) {
			var c Cross
			return func() (*Decision, error) {
				c.Merge(batch(r, 100, func(r *rand.Rand) (y, x, d float64) {
					a, b := r.NormFloat64(), r.NormFloat64()
					e := 0.9*a + math.Sqrt(1-0.81)*b // as wide as a
					return 1.05 * (1 + off) * e * e, a * a, 1
				}, false))
				return g.Loss("loss", &c, 0.05)
			}
		},
		"a bounded mean": func(r *rand.Rand, off float64) func() (*Decision, error) {
			b, err := NewBounded(-1, 1)
			return func() (*Decision, error) {
				for range 100 {
					x := 0.0
					if u := r.Float64(); u < 0.03*(1+off) {
						x = 1
					} else if u > 0.97+0.03*off {
						x = -1
					}
					if err := b.Add(x); err != nil {
						return nil, err
					}
				}
				return first(g.Bounded("only one is right", b, 0))(err)
			}
		},
		"a rate": func(r *rand.Rand, off float64) func() (*Decision, error) {
			var events int64
			exposure := 0.0
			next := 0.0
			return func() (*Decision, error) {
				exposure += 50
				for next < exposure {
					events++
					next += r.ExpFloat64() / (1 + off)
				}
				return g.Rate("restarts", events, exposure, 1)
			}
		},
		"a quantile": func(r *rand.Rand, off float64) func() (*Decision, error) {
			var mine, its []float64
			return func() (*Decision, error) {
				for range 50 {
					mine, its = append(mine, 1.1*(1+off)*r.ExpFloat64()), append(its, r.ExpFloat64())
				}
				return g.Quantile("latency", Ordered(mine), Ordered(its), 0.9, 0.1)
			}
		},
	}
	for name, guard := range guards {
		simulate := func(runs, times int, off float64) (breaks, passes float64) {
			passed := 0
			breaks = rateOf(runs, seed, func(r *rand.Rand) bool {
				ask := guard(r, off)
				broken, fine := false, false
				for range times {
					d, err := ask()
					if err != nil {
						t.Fatal(err)
					}
					broken, fine = broken || d.Outcome == Breaks, fine || d.Outcome == Passes
				}
				if fine {
					passed++
				}
				return broken
			})
			return breaks, float64(passed) / float64(runs)
		}
		n := runs
		if name == "a quantile" { // which sorts all values each time
			n = 30
		}
		breaks, passes := simulate(n, times, 0)
		within(t, name+" at the limit breaks", seed, breaks, 0, 0.05)
		within(t, name+" at the limit passes", seed, passes, 0, 0.05)
		if breaks, _ = simulate(20, times, 1); breaks < 1 {
			t.Errorf("%s twice as large as allowed: breaks in %.0f %% (seed %d)", name, 100*breaks, seed)
		}
		if _, passes = simulate(20, 2*times, -0.9); passes < 1 && name != "a quantile" {
			t.Errorf("%s far below the limit: passes in %.0f %% (seed %d)", name, 100*passes, seed)
		}
	}
}

// first returns the results of a call, or an error that came before it.
func first(d *Decision, err error) func(error) (*Decision, error) {
	return func(before error) (*Decision, error) {
		if before != nil {
			return nil, before
		}
		return d, err
	}
}

// TestVerdictRates judges candidates that are as good as the champion, with differences of losses that are skewed, and classifiers.
func TestVerdictRates(t *testing.T) {
	t.Parallel()
	const runs, seed = 400, 6
	verdicts := map[Verdict]int{}
	rate := rateOf(runs, seed, func(r *rand.Rand) bool {
		var p Paired
		for range looks {
			for range 100 {
				if err := p.Add(math.Exp(r.NormFloat64()) - math.Exp(0.5)); err != nil {
					t.Fatal(err)
				}
			}
			j, err := p.Judge(Options{Horizon: 3000}, 0.15)
			if err != nil {
				t.Fatal(err)
			}
			if verdicts[j.Verdict]++; j.Verdict == Better || j.Verdict == Worse {
				return true
			}
		}
		return false
	})
	within(t, "a verdict of better or worse where there is no difference", seed, rate, 0, 0.05)
	if verdicts[NoDifference] == 0 {
		t.Errorf("no verdict of no difference in %v (seed %d)", verdicts, seed)
	}
	rate = rateOf(runs, seed, func(r *rand.Rand) bool {
		var m McNemar
		for range 500 {
			if r.Float64() < 0.5 {
				m.OnlyControl++
			} else {
				m.OnlyTreatment++
			}
			if m.Anytime(300) <= 0.05 {
				return true
			}
		}
		return false
	})
	within(t, "McNemar's test at any time finds a difference where there is none", seed, rate, 0, 0.05)
}
