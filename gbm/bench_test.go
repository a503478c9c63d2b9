package gbm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"millrace.dev/gbm/internal/bitplane"
	"millrace.dev/record"
)

// made returns a data set with the given numbers of inputs; enums have about the given number of levels, and
// the share of missing values is missing.
func made(rows, numeric, enums, levels int, missing float64, seed uint64) Dataset {
	rng := rand.New(rand.NewPCG(seed, 1))
	d := Dataset{Frame: &record.Frame{Rows: rows}, Label: make([]float64, rows)}
	for i := range d.Label {
		d.Label[i] = 20 + rng.NormFloat64()
	}
	for k := range numeric + enums {
		c := record.Column{Name: fmt.Sprintf("x%d", k), Type: record.Numeric}
		if k >= numeric {
			c.Type = record.Enum
			for l := range levels {
				c.Levels = append(c.Levels, fmt.Sprintf("level %05d", l))
			}
		}
		for i := range rows {
			gone := rng.Float64() < missing
			if c.Type == record.Enum {
				code := int32(float64(levels) * math.Pow(rng.Float64(), 2))
				d.Label[i] += math.Sin(float64(code)*(1+float64(k))) / float64(1+k-numeric)
				if gone {
					code = record.MissingCode
				}
				c.Codes = append(c.Codes, code)
				continue
			}
			v := math.Round(rng.NormFloat64()*1000) / 1000
			d.Label[i] += math.Sin(v*(1+float64(k))) / float64(1+k)
			if gone {
				v = math.NaN()
			}
			c.Numbers = append(c.Numbers, v)
		}
		d.Frame.Columns = append(d.Frame.Columns, c)
	}
	return d
}

func mustTrain(t testing.TB, p Params, train Dataset) *Forest {
	t.Helper()
	f, _, err := Train(t.Context(), p, train, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// BenchmarkScore scores with 120 trees of depth 5: whole batches by each way there is, and single rows. Its ns/row is of
// the median batch, which other work of the machine disturbs less than the mean.
func BenchmarkScore(b *testing.B) {
	for _, c := range []struct {
		name           string
		numeric, enums int
	}{{"numeric", 17, 0}, {"enums", 12, 5}} {
		p := DefaultParams()
		p.NTrees = 120
		f := mustTrain(b, p, made(5000, c.numeric, c.enums, 80, 0, 1))
		measure := func(name string, rows int, score func(fr *record.Frame, out []float64)) {
			d := made(rows, c.numeric, c.enums, 80, 0, 2)
			out := make([]float64, rows)
			b.Run(c.name+"/"+name, func(b *testing.B) {
				took := make([]time.Duration, 0, 1000)
				for b.Loop() {
					start := time.Now()
					score(d.Frame, out)
					if len(took) < cap(took) {
						took = append(took, time.Since(start))
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/float64(rows), "ns/row")
			})
		}
		measure("row", 1, f.Score)
		measure("walk", 1024, func(fr *record.Frame, out []float64) { f.program.add(fr.Columns, 0, out) })
		for _, k := range bitplane.Kernels() {
			planes, _ := compilePlanes(f.inputs, f.trees, k)
			measure(k.Name, 1024, func(fr *record.Frame, out []float64) { planes.add(fr.Columns, out) })
			measure(k.Name+"/32rows", 32, func(fr *record.Frame, out []float64) { planes.add(fr.Columns, out) })
		}
	}
}

// BenchmarkTrain trains 10 trees of depth 5 on 100,000 rows.
func BenchmarkTrain(b *testing.B) {
	for _, c := range []struct {
		name           string
		numeric, enums int
		levels         int
	}{{"numeric", 20, 0, 0}, {"enums", 12, 8, 100}, {"wide", 12, 2, 1000}} {
		p := DefaultParams()
		p.NTrees = 10
		d := made(100_000, c.numeric, c.enums, c.levels, 0.01, 1)
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				mustTrain(b, p, d)
			}
		})
	}
}
