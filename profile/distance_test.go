package profile

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"millrace.dev/internal/stat"
	"pgregory.net/rapid"
)

// TestMetricsHaveNoNaN compares random counts, few and very many: a metric is a number that is not negative, 0 for equals.
func TestMetricsHaveNoNaN(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 8).Draw(t, "cells")
		count := rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 5), rapid.Uint64Range(1<<53, 1<<60))
		p, q := rapid.SliceOfN(count, n, n).Draw(t, "p"), rapid.SliceOfN(count, n, n).Draw(t, "q")
		for _, m := range Metrics() {
			v, err := m.OfCounts(p, q)
			switch one, other := sum(p) == 0, sum(q) == 0; {
			case one != other:
				if !errors.Is(err, ErrNoValues) {
					t.Fatalf("%s of one empty side: %v", m.Name, err)
				}
				continue
			case err != nil:
				t.Fatal(m.Name, err)
			case math.IsNaN(v) || math.IsInf(v, 0) || v < 0:
				t.Fatalf("%s is %v", m.Name, v)
			}
			if same, err := m.OfCounts(p, p); err != nil || same > 1e-12 {
				t.Fatalf("%s of equals is %v, %v", m.Name, same, err)
			}
		}
		for name, test := range map[string]func(p, q []uint64) (Test, error){
			"chi-square": ChiSquareTest, "g": GTest, "fit": FitTest, "grouped": FitTestGrouped, "ks": KSTest, "mann-whitney": MannWhitneyTest,
		} {
			got, err := test(p, q)
			if err == nil && (math.IsNaN(got.Statistic) || !(got.P >= 0 && got.P <= 1)) {
				t.Fatalf("%s: %+v", name, got)
			}
		}
	})
}

func TestMetricErrors(t *testing.T) {
	t.Parallel()
	if _, err := MetricNamed("wassertein"); err == nil || !strings.Contains(err.Error(), `did you mean "wasserstein"?`) {
		t.Error(err)
	}
	m, err := MetricNamed("ks")
	if err != nil {
		t.Fatal(err)
	}
	number := Column{Name: "x", Kind: Number, Edges: []float64{1, 2}, Counts: []uint64{1, 2, 0}}
	for want, other := range map[string]Column{
		"other bins":               {Name: "x", Kind: Number, Edges: []float64{1, 3}, Counts: []uint64{1, 2, 0}},
		"3 counts in the":          {Name: "x", Kind: Number, Edges: []float64{1, 2}, Counts: []uint64{1, 2}},
		"of kind number in":        {Name: "x", Kind: Time, Edges: []float64{1, 2}, Counts: []uint64{1, 2, 0}},
		"one side has no value to": {Name: "x", Kind: Number, Edges: []float64{1, 2}, Counts: []uint64{0, 0, 0}},
	} {
		if _, err := m.Between(&number, &other); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := m.OfCounts([]uint64{1}, []uint64{1, 2}); err == nil {
		t.Error("counts of other lengths")
	}
	level := Column{Name: "l", Kind: Level, Levels: []string{"a"}, Counts: []uint64{1, 0}}
	if _, err := m.Between(&level, &level); err == nil || !strings.Contains(err.Error(), "not defined") {
		t.Error(err)
	}
}

// TestGroups cuts bins as deciles would, and puts rare levels together with all other texts.
func TestGroups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		counts []uint64
		want   []uint16
	}{
		{[]uint64{10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 0}, []uint16{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9}},
		{[]uint64{993, 7, 0}, []uint16{0, 1, 1}},
		{[]uint64{1, 1, 1, 1, 96, 0}, []uint16{0, 0, 0, 0, 0, 1}},
		{[]uint64{7, 0}, []uint16{0, 1}},
		{[]uint64{5}, []uint16{0}},
	} {
		if a := equalMass(c.counts, mostGroups); !equal(a.of, c.want) {
			t.Errorf("%v: %v, want %v", c.counts, a.of, c.want)
		}
	}
	if a := rareTogether([]uint64{2000, 4, 5, 3, 0}); !equal(a.of, []uint16{0, 2, 1, 2, 2}) || a.n != 3 {
		t.Error(a)
	}
	if a := rareTogether([]uint64{4, 4, 0}); !equal(a.of, []uint16{0, 1, 2}) {
		t.Error("levels of a small reference are not rare", a)
	}
}

func equal(a, b []uint16) bool {
	for i := range a {
		if len(a) != len(b) || a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestTails holds probabilities against those of scipy.
func TestTails(t *testing.T) {
	t.Parallel()
	for what, c := range map[string][2]float64{
		"chi2.sf(3.84, 1)":               {stat.ChiSquareTail(3.84, 1), 0.05004352124870519},
		"chi2.sf(200, 76)":               {stat.ChiSquareTail(200, 76), 4.2523586476e-13},
		"a rate of 0":                    {binomialTail(1, 10, 0), 0},
		"binomtest(3, 50, 0.007).pvalue": {binomialTail(3, 50, 0.007), 0.005260085467448939},
		"fisher of nothing":              {FisherExact(0, 0, 1, 2), 1},
	} {
		if math.Abs(c[0]-c[1]) > 1e-9*c[1] {
			t.Errorf("%s: %.17g, want %v", what, c[0], c[1])
		}
	}
	if p, q := FisherExact(90_000, 400_000, 91_000, 400_000), FisherExact(40_000, 400_000, 40_500, 400_000); math.Abs(p-0.00753675749852446) > 1e-12 || math.Abs(q-0.06320) > 2e-3 {
		t.Errorf("many rows: %v, %v", p, q)
	}
}

// TestMedian takes values as they are where each has a bin, and as lying evenly in their bin elsewhere.
// TestFisher holds the sum over the tails to that over all tables, and to a time that does not grow with the rows.
func TestFisher(t *testing.T) {
	t.Parallel()
	all := func(a, n, b, m uint64) float64 {
		k, sum := float64(a+b), 0.0
		logs := func(x float64) float64 { return logChoose(float64(n), x) + logChoose(float64(m), k-x) }
		for x := max(0, k-float64(m)); x <= min(k, float64(n)); x++ {
			if logs(x) <= logs(float64(a))+1e-7 {
				sum += math.Exp(logs(x) - logChoose(float64(n+m), k))
			}
		}
		return min(sum, 1)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 3000 {
		n, m := 1+rng.Uint64N(1<<rng.UintN(11)), 1+rng.Uint64N(1<<rng.UintN(11))
		a, b := rng.Uint64N(n+1), rng.Uint64N(m+1)
		if got, want := FisherExact(a, n, b, m), all(a, n, b, m); math.Abs(got-want) > 1e-9*want+1e-300 {
			t.Fatalf("%d of %d and %d of %d: %v, want %v", a, n, b, m, got, want)
		}
	}
	if a, b := FisherExact(50_000, 100_000, 49_000, 100_000), all(50_000, 100_000, 49_000, 100_000); math.Abs(a-b) > 1e-9*b {
		t.Errorf("%v, want %v", a, b)
	}
}

func BenchmarkFisher(b *testing.B) {
	for b.Loop() {
		FisherExact(50_000, 100_000, 49_000, 100_000)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	exact := Column{Kind: Number, Edges: []float64{1, 2, 4}, Counts: []uint64{2, 0, 2, 0}, Distinct: 2, Min: 1, Max: 4}
	if m := exact.Median(); m != 2.5 {
		t.Error(m)
	}
	wide := Column{Kind: Number, Edges: []float64{0, 10, 20}, Counts: []uint64{0, 4, 4, 0}, Distinct: 500, Min: 0, Max: 20}
	if m := wide.Quantile(0.25); m != 5 {
		t.Error(m)
	}
	if m := wide.Quantile(1); m != 20 {
		t.Error(m)
	}
	above := Column{Kind: Number, Edges: []float64{0, 10}, Counts: []uint64{0, 0, 3}, Min: 30, Max: 50}
	if m := above.Median(); m < 10 || m > 50 {
		t.Error(m)
	}
	if m := (&Column{Kind: Number}).Median(); !math.IsNaN(m) {
		t.Error(m)
	}
}

// TestMedianOutside estimates medians of what lies outside of the bins, and of codes that were one in training.
func TestMedianOutside(t *testing.T) {
	t.Parallel()
	d := houses(t)
	lot := slices.Index(d.names(), "sqft_lot")
	renovated := slices.Index(d.names(), "yr_renovated")
	reference := d.reference(d.rows)
	for _, factor := range []float64{1e-3, 1e-2, 1e4, 1e6} {
		rows, values := make([][]any, len(d.rows)), make([]float64, len(d.rows))
		for i, row := range d.rows {
			rows[i] = slices.Clone(row)
			values[i] = factor * row[lot].(float64) //nolint:errcheck,forcetypeassert // a number
			rows[i][lot], rows[i][renovated] = values[i], -1.
		}
		slices.Sort(values)
		w := d.window(t, rows, reference)
		want, got := values[len(values)/2], medianOf(&reference.Columns[lot], &w.Columns[lot])
		if got < want/3 || got > want*3 {
			t.Errorf("times %v: the median is %v, estimated as %v", factor, want, got)
		}
		if got := medianOf(&reference.Columns[renovated], &w.Columns[renovated]); got != -1 {
			t.Errorf("the median of -1 is %v", got)
		}
	}
}
