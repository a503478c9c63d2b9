package stat

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// cars returns the pairs of Featran's test, sorted.
func cars(t *testing.T, all map[string]vector) (values []float64, classes []int32) {
	t.Helper()
	s := newSample(t, 0)
	labels := map[string]int32{}
	for i, raw := range decode[[][2]json.RawMessage](t, all["mdl-cars-10"].Fit) {
		label := decode[string](t, raw[0])
		if _, ok := labels[label]; !ok {
			labels[label] = int32(len(labels))
		}
		s.AddClass(uint64(i), decode[float64](t, raw[1]), labels[label])
	}
	return s.Pairs()
}

func TestFeatranMDL(t *testing.T) {
	t.Parallel()
	all := featran(t)
	values, classes := cars(t, all)
	for _, id := range []string{"mdl-cars-10", "mdl-cars-2"} {
		var want []float64
		for _, raw := range decode[[]json.RawMessage](t, all[id].Expect["thresholds"]) {
			if raw[0] != '"' { // -Infinity and Infinity
				want = append(want, decode[float64](t, raw))
			}
		}
		got, err := MDL{MaxBins: decode[struct{ MaxBins int }](t, all[id].Params).MaxBins}.Cuts(values, classes)
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 0.01)); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", id, err, diff)
		}
	}
}

// TestFeatranThresholds has the classes of four values, in the order of Featran's test: the cut is after the second.
func TestFeatranThresholds(t *testing.T) {
	t.Parallel()
	var values []float64
	var classes []int32
	for v, counts := range [][]int{{1, 2, 3}, {5, 4, 20}, {3, 20, 12}, {8, 18, 2}} {
		for c, n := range counts {
			for range n {
				values, classes = append(values, float64(v)), append(classes, int32(c))
			}
		}
	}
	got, err := MDL{MaxBins: 100, MinBinPercentage: 1.1}.Cuts(values, classes) // 1.1 % of 98 is 1 value
	if diff := cmp.Diff([]float64{1.5}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestMDL(t *testing.T) {
	t.Parallel()
	many := func(n int, f func(i int) (float64, int32)) (values []float64, classes []int32) {
		for i := range n {
			v, c := f(i)
			values, classes = append(values, v), append(classes, c)
		}
		return values, classes
	}
	steps := func(i int) (float64, int32) { return float64(i), int32(i/25) % 2 }
	for _, c := range []struct {
		name string
		m    MDL
		n    int
		f    func(i int) (float64, int32)
		want []float64
	}{
		{"nothing", MDL{}, 0, steps, nil},
		{"one value", MDL{}, 50, func(i int) (float64, int32) { return 3, int32(i % 2) }, nil},
		{"one class", MDL{}, 50, func(i int) (float64, int32) { return float64(i), 4 }, nil},
		{"two classes", MDL{}, 50, steps, []float64{24.5}},
		{"no classes", MDL{}, 50, func(i int) (float64, int32) { return float64(i), NoClass }, nil},
		{"four parts", MDL{}, 100, steps, []float64{24.5, 49.5, 74.5}},
		{"one bin", MDL{MaxBins: 1}, 50, steps, nil},
		{"two bins", MDL{MaxBins: 2}, 100, steps, []float64{24.5}},
		{"wide bins", MDL{MinBinPercentage: 49}, 100, steps, nil},
		{"much gain", MDL{Stop: 0.95}, 50, steps, nil},
		{"no pattern", MDL{}, 100, func(i int) (float64, int32) { return float64(i), int32(i % 2) }, nil},
		{"neighbours", MDL{}, 50, func(i int) (float64, int32) {
			return []float64{1, math.Nextafter(1, 2)}[i/25], int32(i / 25)
		}, []float64{math.Nextafter(1, 2)}},
		{"wide range", MDL{}, 50, func(i int) (float64, int32) {
			return []float64{-math.MaxFloat64, math.MaxFloat64}[i/25], int32(i / 25)
		}, []float64{0}},
	} {
		values, classes := many(c.n, c.f)
		got, err := c.m.Cuts(values, classes)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
	}
}

func TestMDLErrors(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, m := range []MDL{{MaxBins: -1}, {MaxBins: 1<<16 + 1}, {MinBinPercentage: -1}, {MinBinPercentage: 101}, {MinBinPercentage: nan}, {Stop: -1}, {Stop: nan}} {
		if _, err := m.Cuts(nil, nil); err == nil {
			t.Errorf("%+v is fine", m)
		}
	}
	if _, err := (MDL{}).Cuts([]float64{1, 2}, []int32{0}); err == nil {
		t.Error("fewer classes than values are fine")
	}
	if _, err := (MDL{}).Cuts([]float64{2, 1}, []int32{0, 1}); err == nil {
		t.Error("values out of order are fine")
	}
}

// slowCut is the definition: the cut of least entropy among all that the criterion accepts.
func slowCut(values []float64, classes []int32) (cut float64, ok bool) {
	entropy := func(classes []int32) (h, k float64) {
		count := map[int32]float64{}
		for _, c := range classes {
			count[c]++
		}
		for _, c := range slices.Sorted(maps.Keys(count)) {
			p := count[c] / float64(len(classes))
			h -= p * math.Log2(p)
		}
		return h, float64(len(count))
	}
	n := float64(len(values))
	h, k := entropy(classes)
	best := math.Inf(1)
	for i := 1; i < len(values); i++ {
		if values[i] == values[i-1] {
			continue
		}
		h1, k1 := entropy(classes[:i])
		h2, k2 := entropy(classes[i:])
		split := (float64(i)*h1 + (n-float64(i))*h2) / n
		delta := math.Log2(math.Pow(3, k)-2) - (k*h - k1*h1 - k2*h2)
		if h-split-(math.Log2(n-1)+delta)/n > 1e-9 && split < best-1e-9 {
			best, cut, ok = split, between(values[i-1], values[i]), true
		}
	}
	return cut, ok
}

func TestMDLFirstCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, k := rapid.IntRange(2, 80).Draw(t, "n"), rapid.IntRange(1, 4).Draw(t, "classes")
		s := newSample(t, 0)
		for i := range n {
			v := rapid.IntRange(0, 12).Draw(t, "value")
			c := v * k / 13
			if rapid.IntRange(0, 3).Draw(t, "noise") == 0 {
				c = rapid.IntRange(0, k-1).Draw(t, "class")
			}
			s.AddClass(uint64(i), float64(v), int32(c*7))
		}
		values, classes := s.Pairs()
		want, ok := slowCut(values, classes)
		got, err := MDL{MaxBins: 2}.Cuts(values, classes)
		if err != nil || len(got) == 1 != ok || ok && got[0] != want {
			t.Fatalf("%v %v: %v, %v; want %v, %v", values, classes, got, err, want, ok)
		}
	})
}

func BenchmarkMDL(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	values, classes := make([]float64, DefaultSample), make([]int32, DefaultSample)
	for i := range values {
		values[i] = r.Float64()
	}
	slices.Sort(values)
	for i, v := range values {
		classes[i] = int32(v*8) + int32(r.IntN(3))
	}
	for b.Loop() {
		if _, err := (MDL{}).Cuts(values, classes); err != nil {
			b.Fatal(err)
		}
	}
}
