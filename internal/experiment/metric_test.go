package experiment

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetric(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		prediction, label float64
		want              float64
	}{
		{"squared_error", 3, 1, 4},
		{"absolute_error", 3, 5, 2},
		{"pinball_0.9", 3, 5, 1.8},
		{"pinball_0.9", 5, 3, 0.2},
		{"pinball_0.5", 5, 5, 0},
		{"log_loss", 0.25, 1, math.Log(4)},
		{"log_loss", 0.25, 0, -math.Log(0.75)},
		{"log_loss", 0, 1, 52 * math.Ln2},
		{"log_loss", 1, 0, 52 * math.Ln2},
		{"log_loss", 1, 1, 0x1p-52},
		{"brier", 0.25, 1, 0.5625},
	} {
		m, err := ParseMetric(c.name)
		if err != nil || m.String() != c.name {
			t.Errorf("%s is %q, %v", c.name, m, err)
			continue
		}
		got, err := m.Loss(c.prediction, c.label)
		if err != nil {
			t.Errorf("%s(%v, %v): %v", c.name, c.prediction, c.label, err)
		}
		near(t, c.name, got, c.want, 1e-12)
		if m.Classification() != (c.name == "log_loss" || c.name == "brier") {
			t.Errorf("%s: classification %v", c.name, m.Classification())
		}
		for _, bad := range [][2]float64{{math.NaN(), 1}, {0.5, math.NaN()}, {math.Inf(1), 1}, {0.5, math.Inf(-1)}, {math.Inf(1), math.Inf(1)}} {
			if loss, err := m.Loss(bad[0], bad[1]); err == nil {
				t.Errorf("%s(%v): %v", c.name, bad, loss)
			}
		}
		for _, bad := range [][2]float64{{0.5, 2}, {0.5, 0.5}, {1.5, 1}, {-0.1, 0}} {
			if loss, err := m.Loss(bad[0], bad[1]); m.Classification() == (err == nil) {
				t.Errorf("%s(%v): %v, %v", c.name, bad, loss, err)
			}
		}
	}
	if loss, err := (Metric{kind: squaredError}).Loss(1e40, 0); err == nil {
		t.Errorf("a loss of 1e80: %v", loss)
	}
	for _, name := range []string{"", "auc", "pinball", "pinball_", "pinball_1", "pinball_NaN", "rmse", "squared_eror"} {
		if m, err := ParseMetric(name); err == nil {
			t.Errorf("%q is %v", name, m)
		}
	}
	if _, err := (Metric{}).Loss(1, 1); err == nil {
		t.Error("a loss of no metric")
	}
	if right, err := Right(0.5, 1); err != nil || !right {
		t.Error("one half is 1")
	}
	if _, err := Right(0.5, 3); err == nil {
		t.Error("a class of 3")
	}
}

// bruteAUC computes DeLong's variance by its definition, in all pairs.
func bruteAUC(a, b []float64, labels []bool) (areaA, areaB, varianceA, covariance float64) {
	psi := func(x, y float64) float64 {
		switch {
		case x > y:
			return 1
		case x == y:
			return 0.5
		default:
			return 0
		}
	}
	var ones, zeros []int
	for i, l := range labels {
		if l {
			ones = append(ones, i)
		} else {
			zeros = append(zeros, i)
		}
	}
	part := func(s []float64) (v10, v01 []float64, area float64) {
		v10, v01 = make([]float64, len(ones)), make([]float64, len(zeros))
		for i, o := range ones {
			for j, z := range zeros {
				v := psi(s[o], s[z])
				v10[i] += v / float64(len(zeros))
				v01[j] += v / float64(len(ones))
				area += v / float64(len(ones)*len(zeros))
			}
		}
		return v10, v01, area
	}
	cov := func(x, y []float64, mx, my float64) float64 {
		sum := 0.0
		for i := range x {
			sum += (x[i] - mx) * (y[i] - my)
		}
		return sum / float64(len(x)-1) / float64(len(x))
	}
	a10, a01, areaA := part(a)
	b10, b01, areaB := part(b)
	return areaA, areaB, cov(a10, a10, areaA, areaA) + cov(a01, a01, areaA, areaA), cov(a10, b10, areaA, areaB) + cov(a01, b01, areaA, areaB)
}

// TestAUC holds areas, variances and covariances to sums over all pairs, on data with ties.
func TestAUC(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 12))
		n := 20 + random.IntN(200)
		a, b, labels := make([]float64, n), make([]float64, n), make([]bool, n)
		var ca, cb Curve
		for i := range n {
			labels[i] = i < 2 || i > 3 && random.IntN(3) == 0
			shift := 0.0
			if labels[i] {
				shift = 1
			}
			p := func() float64 { return 1 / (1 + math.Exp(-math.Round(4*(shift+random.NormFloat64()))/4-1e-3)) } // ties, in the middle of bins
			a[i], b[i] = p(), p()
			for c, s := range map[*Curve]float64{&ca: a[i], &cb: b[i]} {
				if err := c.Add(s, shift); err != nil {
					t.Fatal(err)
				}
			}
		}
		one, err := NewAUC(a, labels)
		if err != nil {
			t.Fatal(err)
		}
		two, err := NewAUC(b, labels)
		if err != nil {
			t.Fatal(err)
		}
		areaA, areaB, variance, covariance := bruteAUC(a, b, labels)
		_, _, varianceB, _ := bruteAUC(b, a, labels)
		near(t, "area", one.Area, areaA, 1e-12)
		near(t, "variance", one.Variance, variance, 1e-10)
		paired, err := one.Paired(two, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "difference", paired.Difference.Value, areaB-areaA, 1e-9)
		near(t, "z", paired.Statistic, (areaB-areaA)/math.Sqrt(variance+varianceB-2*covariance), 1e-8)
		near(t, "p", paired.P, math.Erfc(math.Abs(paired.Statistic)/math.Sqrt2), 1e-9)
		unpaired, err := one.Unpaired(two, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "t", unpaired.Statistic, (areaB-areaA)/math.Sqrt(variance+varianceB), 1e-9)
		fromCounts, err := ca.AUC()
		if err != nil {
			t.Fatal(err)
		}
		near(t, "area of bins", fromCounts.Area, areaA, 1e-12)
		near(t, "variance of bins", fromCounts.Variance, variance, 1e-9)
		if _, err := fromCounts.Paired(two, 0.05); err == nil {
			t.Error("counts have no pairs")
		}
		checkCurve(t, &ca, &cb)
	}
}

func checkCurve(t *testing.T, a, b *Curve) {
	t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back Curve
	if err := json.Unmarshal(text, &back); err != nil || back != *a {
		t.Errorf("%s was read otherwise: %v", text, err)
	}
	back.Merge(b)
	if back == *a {
		t.Error("nothing was merged")
	}
}

func TestAUCRefuses(t *testing.T) {
	t.Parallel()
	if _, err := NewAUC([]float64{1, 2, 3}, []bool{true, false, false}); err == nil {
		t.Error("one record of a class")
	}
	if _, err := NewAUC([]float64{1, 2, 3, math.NaN()}, []bool{true, true, false, false}); err == nil {
		t.Error("NaN")
	}
	if _, err := NewAUC([]float64{1}, nil); err == nil {
		t.Error("no labels")
	}
	perfect, err := NewAUC([]float64{1, 2, 3, 4}, []bool{false, false, true, true})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := perfect.Paired(perfect, 0.05); err != nil || d.P != 1 || d.Difference.Value != 0 {
		t.Errorf("beside itself: %+v, %v", d, err)
	}
	inverse, err := NewAUC([]float64{4, 3, 2, 1}, []bool{false, false, true, true})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := perfect.Unpaired(inverse, 0.05); err == nil {
		t.Errorf("areas of 1 and 0 without a variance: %+v", d)
	}
	var c Curve
	if _, err := c.AUC(); err == nil {
		t.Error("an area of nothing")
	}
	for _, bad := range [][2]float64{{math.NaN(), 1}, {2, 1}, {0.5, 3}} {
		if err := c.Add(bad[0], bad[1]); err == nil {
			t.Errorf("%v was added", bad)
		}
	}
	if err := c.Remove(0.5, 1); err == nil {
		t.Error("what was never added was removed")
	}
	for _, p := range []float64{0, 1e-300, 0.5, 1 - 1e-16, 1} {
		if err := c.Add(p, 0); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{`{}`, `[[1,1]`, `[[-1,1,1]]`, `[[1024,1,1]]`, `[[3,1,1],[3,1,1]]`, `[[1,-1,0]]`, `[[1,9007199254740992,0],[2,9007199254740992,0]]`} {
		if err := json.Unmarshal([]byte(bad), &c); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestWilcoxon(t *testing.T) {
	t.Parallel()
	// By hand: of 2^4 orders of signs those with a rank sum of 0 or 1 on either side.
	got, err := Wilcoxon([]float64{-1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "four", got, 4.0/16, 1e-12)
	if got, err = Wilcoxon([]float64{0, 0}); err != nil || got != 1 {
		t.Errorf("no difference: %v, %v", got, err)
	}
	if _, err = Wilcoxon([]float64{math.NaN()}); err == nil {
		t.Error("NaN was taken")
	}
	// The exact and the normal one meet: 50 differences, and 51.
	random := rand.New(rand.NewPCG(13, 14))
	d := make([]float64, 51)
	for i := range d {
		d[i] = random.NormFloat64() + 0.3
	}
	exact, err := Wilcoxon(d[:50])
	if err != nil {
		t.Fatal(err)
	}
	tied := append(slices.Clone(d[:50]), 0) // a zero asks for the normal one
	normal, err := Wilcoxon(tied)
	if err != nil || math.Abs(exact-normal) > 0.05*exact+1e-3 {
		t.Errorf("exact %v, normal %v, %v", exact, normal, err)
	}
}

func TestOrdered(t *testing.T) {
	t.Parallel()
	want := []Step{{1, 2}, {3, 1}}
	if diff := cmp.Diff(want, Ordered([]float64{3, 1, math.NaN(), 1})); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		a          []Step
		q, horizon float64
	}{
		"quantile": {want, 1, 10}, "horizon": {want, 0.5, 0}, "order": {[]Step{{3, 1}, {1, 1}}, 0.5, 10}, "count": {[]Step{{1, -1}}, 0.5, 10},
		"NaN": {[]Step{{math.NaN(), 1}}, 0.5, 10},
	} {
		if p, err := QuantileP(c.a, want, c.q, c.horizon); err == nil {
			t.Errorf("%s: %v", name, p)
		}
	}
	if p, err := QuantileP(nil, want, 0.5, 10); err != nil || p != 1 {
		t.Errorf("of nothing: %v, %v", p, err)
	}
}
