//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// series returns 20 minutes of samples, one for each 5 s.
func series(value func(minute float64) float64) []point {
	all := make([]point, 240)
	for i := range all {
		at := 600 + float64(i)*5
		all[i] = point{at, value(float64(i) * 5 / 60)}
	}
	return all
}

// noise returns values of which each has most of the one before, with a standard deviation of 1.
func noise(rng *rand.Rand) func() float64 {
	const kept = 0.9
	last := rng.NormFloat64()
	return func() float64 {
		last = kept*last + math.Sqrt(1-kept*kept)*rng.NormFloat64()
		return last
	}
}

func TestTrend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		value func(minute, noise float64) float64
		least float64
		want  verdict
	}{
		{"level", func(_, n float64) float64 { return 200 + 3*n }, 0, flat},
		{"constant", func(float64, float64) float64 { return 17 }, 0, flat},
		{"nothing at all", func(float64, float64) float64 { return 0 }, 0, flat},
		{"a sawtooth", func(m, _ float64) float64 { return 200 + 40*math.Mod(m, 1.7) }, 0, flat},
		{"grows by a fifth", func(m, n float64) float64 { return 200 + 2*m + 3*n }, 0, grows},
		{"grows by a fifth with a sawtooth", func(m, _ float64) float64 { return 200 + 2*m + 10*math.Mod(m, 1.7) }, 0, grows},
		{"grows by a hundredth", func(m, n float64) float64 { return 200 + 0.1*m + n }, 0, flat},
		{"falls", func(m, n float64) float64 { return 200 - 5*m + 3*n }, 0, flat},
		{"a little in the unit", func(m, n float64) float64 { return 10 + 0.2*m + n/10 }, 10, flat},
		{"too noisy", func(_, n float64) float64 { return 200 + 400*n }, 0, unclear},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wrong := 0
			const seeds = 200
			for seed := range uint64(seeds) {
				next := noise(rand.New(rand.NewPCG(seed, 1)))
				got := trendOf(series(func(m float64) float64 { return c.value(m, next()) }), c.least)
				if got.verdict != c.want {
					if wrong++; wrong == 1 {
						t.Logf("seed %d: %+v", seed, got)
					}
				}
			}
			if wrong > seeds/20 {
				t.Errorf("not %s for %d seeds of %d", c.want, wrong, seeds)
			}
		})
	}
}

func TestTrendIsALine(t *testing.T) {
	t.Parallel()
	got := trendOf(series(func(m float64) float64 { return 100 + 3*m }), 0)
	if math.Abs(got.slope-3./60) > 1e-9 || got.margin > 1e-9 || math.Abs(got.growth()-3*1195./60) > 1e-6 || got.verdict != grows {
		t.Errorf("%+v", got)
	}
}

func TestTrendOfFew(t *testing.T) {
	t.Parallel()
	for _, few := range [][]point{nil, series(func(float64) float64 { return 1 })[:19], make([]point, 100)} {
		if got := trendOf(few, 1); got.verdict != unclear {
			t.Errorf("%d samples: %s", len(few), got.verdict)
		}
	}
}
