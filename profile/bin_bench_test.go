package profile

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// draws are numbers as columns have them.
func draws(rng *rand.Rand) map[string]func() float64 {
	return map[string]func() float64{
		"years":     func() float64 { return float64(1900 + rng.IntN(115)) },
		"renovated": func() float64 { return []float64{0, 0, float64(1912 + rng.IntN(103))}[rng.IntN(3)] },
		"area":      func() float64 { return math.Round(math.Exp(7.5+0.4*rng.NormFloat64())/10) * 10 },
		"lot":       func() float64 { return math.Round(math.Exp(9 + rng.NormFloat64())) },
		"rooms":     func() float64 { return float64(1 + rng.IntN(6)) },
		"price":     func() float64 { return math.Exp(13 + 0.5*rng.NormFloat64()) },
		"share":     func() float64 { return rng.Float64() * rng.Float64() },
		"seconds":   func() float64 { return 1.4e9 + math.Floor(6e6*rng.Float64()) },
	}
}

func BenchmarkBin(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for name, draw := range draws(rng) {
		values := make([]float64, 16384)
		for i := range values {
			values[i] = draw()
		}
		sorted := slices.Sorted(slices.Values(values))
		n := newBinner(edges(sorted, Bins))
		b.Run(name, func(b *testing.B) {
			counts := make([]uint64, Bins+1)
			for b.Loop() {
				for _, x := range values {
					counts[n.bin(x)]++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(values)), "ns/value")
		})
	}
}
