package experiment

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func addedUp(t *testing.T, units ...unit) *Cross {
	t.Helper()
	var c Cross
	for _, u := range units {
		if err := c.Add(u.y, u.x, u.d); err != nil {
			t.Fatal(err)
		}
	}
	return &c
}

func repeated(t *testing.T, n int, u unit) *Cross {
	t.Helper()
	units := make([]unit, n)
	for i := range units {
		units[i] = u
	}
	return addedUp(t, units...)
}

// TestCompareExtremes compares arms of which little or nothing can be said: there is no interval then, and no NaN ever.
func TestCompareExtremes(t *testing.T) {
	t.Parallel()
	a, b := unit{1, 1, 1}, unit{2, 1, 1}
	for _, c := range []struct {
		name               string
		control, treatment *Cross
		options            Options
		enough, bounded    bool
		p                  float64
	}{
		{"nothing", &Cross{}, &Cross{}, Options{}, false, false, 1},
		{"no treatment", addedUp(t, a), &Cross{}, Options{}, false, false, 1},
		{"a unit each", addedUp(t, a), addedUp(t, b), Options{Least: 2}, false, false, 1},
		{"two units each, too few", addedUp(t, a, b), addedUp(t, b, a), Options{}, false, false, 1},
		{"two units each", addedUp(t, a, b), addedUp(t, b, a), Options{Test: Fixed, Least: 2}, true, true, 1},
		{"a hundred of each, all the same, in a sequence", repeated(t, 100, a), repeated(t, 100, b), Options{}, true, false, 1},
		{"as many as expected, all the same", repeated(t, 100, a), repeated(t, 100, b), Options{Horizon: 200}, true, true, 0},
		{"the same in all", repeated(t, 100, a), repeated(t, 100, a), Options{Horizon: 200}, true, true, 1},
		{"all the same, in a t-test", repeated(t, 100, a), repeated(t, 100, b), Options{Test: Fixed}, true, true, 0},
		{"losses of 0", repeated(t, 100, unit{0, 0, 1}), repeated(t, 100, unit{0, 0, 1}), Options{Test: Fixed}, true, true, 1},
	} {
		got, err := Compare(c.control, c.treatment, c.options)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Enough != c.enough || got.Difference.Bounded() != c.bounded || got.P != c.p {
			t.Errorf("%s: enough %v, %v, p %v, want %v, bounded %v, p %v", c.name, got.Enough, got.Difference, got.P, c.enough, c.bounded, c.p)
		}
		b, err := json.Marshal(got)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var back Comparison
		if err := json.Unmarshal(b, &back); err != nil || back.P != got.P || back.Difference.Low != got.Difference.Low {
			t.Errorf("%s: %s was read as %+v, %v", c.name, b, back, err)
		}
	}
	for name, o := range map[string]Options{
		"alpha": {Alpha: 0.5}, "nan": {Alpha: math.NaN()}, "level": {Level: -1}, "horizon": {Horizon: -1}, "least": {Least: 1}, "test": {Test: "t"},
	} {
		if _, err := Compare(&Cross{}, &Cross{}, o); err == nil {
			t.Errorf("%s: %+v was taken", name, o)
		}
	}
	bad := repeated(t, 3, a)
	bad.YY.High = 0
	if _, err := Compare(bad, repeated(t, 3, a), Options{}); err == nil {
		t.Error("sums of nothing were compared")
	}
}

// TestCompareLarge compares losses of 1e60, whose squares have no room in the fourth power.
func TestCompareLarge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(8, 9))
	for _, scale := range []float64{1e-60, 1, 1e60} {
		var control, treatment Cross
		for range 1000 {
			e := scale * (100 + random.NormFloat64())
			if err := control.Add(e, e, 1); err != nil {
				t.Fatal(err)
			}
			e = scale * (100 + random.NormFloat64())
			if err := treatment.Add(e+scale, e, 1); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Compare(&control, &treatment, Options{})
		if err != nil {
			t.Fatal(err)
		}
		// The baseline says all of the treatment's losses: what is left is the difference of 1.
		if !c.Adjusted || !c.Significant() || math.Abs(c.Difference.Value/scale-1) > 0.1 || !(c.Difference.Low > 0.8*scale && c.Difference.High < 1.2*scale) || math.Abs(c.Relative.Value-0.01) > 1e-3 {
			t.Errorf("at %g: %+v", scale, c)
		}
	}
}

// TestAdjustmentFindsTinyDifferences compares losses that differ by one part in a billion from the baseline's.
func TestAdjustmentFindsTinyDifferences(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(10, 11))
	var control, treatment Cross
	for range 2000 {
		e := 1e10 * (5 + random.NormFloat64())
		if err := control.Add(e, e, 1); err != nil {
			t.Fatal(err)
		}
		e = 1e10 * (5 + random.NormFloat64())
		if err := treatment.Add(e+10+random.NormFloat64(), e, 1); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Compare(&control, &treatment, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Significant() || math.Abs(c.Difference.Value-10) > 0.2 || c.Saved < 0.999 {
		t.Errorf("%+v", c)
	}
}

func TestFamily(t *testing.T) {
	t.Parallel()
	p := []float64{0.01, 0.04, 0.03}
	for correction, want := range map[Correction][]float64{Holm: {0.03, 0.06, 0.06}, BenjaminiHochberg: {0.03, 0.04, 0.04}} {
		got, err := correction.Adjust(p)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			near(t, string(correction), got[i], want[i], 1e-12)
		}
	}
	if got, err := Holm.Adjust(nil); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	for _, bad := range [][]float64{{math.NaN()}, {-0.1}, {1.1}} {
		if _, err := Holm.Adjust(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	if _, err := Correction("none").Adjust(p); err == nil {
		t.Error("a correction that there is none of")
	}
	near(t, "Holm's level", Holm.Level(0.05, p), 0.05/3, 1e-12)
	near(t, "level of two found", BenjaminiHochberg.Level(0.05, []float64{0.01, 0.2, 0.05}), 0.1/3, 1e-12)
	near(t, "level of none found", BenjaminiYekutieli.Level(0.05, []float64{1, 1}), 0.05/2/1.5, 1e-12)
}

// TestCompareAll has a family of which one treatment is worse: its interval is wider than alone, and the others' hold 0.
func TestCompareAll(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(15, 16))
	arm := func(shift float64) *Cross {
		var c Cross
		for range 1000 {
			if err := c.Add(10+shift+random.NormFloat64(), 0, 1); err != nil {
				t.Fatal(err)
			}
		}
		return &c
	}
	control := arm(0)
	cells := []Cell{{"squared_error", "a", control, arm(0)}, {"squared_error", "b", control, arm(0.5)}, {"absolute_error", "a", control, arm(0)}}
	findings, err := CompareAll(cells, Options{}, Holm)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range findings {
		alone, err := Compare(cells[i].Control, cells[i].Treatment, Options{})
		if err != nil {
			t.Fatal(err)
		}
		wider := f.Difference.High-f.Difference.Low > alone.Difference.High-alone.Difference.Low
		if f.Metric != cells[i].Metric || f.Arm != cells[i].Arm || f.Significant != (i == 1) || f.P != alone.P || f.FamilyP < f.P || !wider {
			t.Errorf("%+v, %+v", f, f.Comparison)
		}
	}
	text, err := json.Marshal(findings[1])
	if err != nil || !strings.Contains(string(text), `"metric":"squared_error","arm":"b","test":"sequential"`) || !strings.Contains(string(text), `"significant":true`) {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := CompareAll(cells, Options{}, "bonferoni"); err == nil {
		t.Error("a correction that there is none of")
	}
	if _, err := CompareAll([]Cell{{"m", "a", &Cross{Units: -1}, control}}, Options{}, Holm); err == nil {
		t.Error("sums that are none")
	}
}

func TestSampleRatioRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string][]Stretch{
		"nothing":          nil,
		"one arm":          {{[]int64{1}, []float64{1}}},
		"weights missing":  {{[]int64{1, 2}, []float64{1}}},
		"negative":         {{[]int64{-1, 2}, []float64{1, 1}}},
		"NaN":              {{[]int64{1, 2}, []float64{1, math.NaN()}}},
		"no weight":        {{[]int64{0, 0}, []float64{0, 0}}},
		"units of none":    {{[]int64{5, 1}, []float64{1, 0}}},
		"infinite":         {{[]int64{5, 1}, []float64{1, math.Inf(1)}}},
		"other arms later": {{[]int64{5, 1}, []float64{1, 1}}, {[]int64{5, 1, 1}, []float64{1, 1, 1}}},
		"next to none":     {{[]int64{5, 1}, []float64{1, 1e-20}}},
	} {
		if got, err := SampleRatio(s...); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSampleRatioStretches(t *testing.T) {
	t.Parallel()
	// The weights went from 90/10 to 50/50: together the counts fit neither.
	r, err := SampleRatio(Stretch{[]int64{9000, 1000}, []float64{90, 10}}, Stretch{[]int64{5000, 5000}, []float64{1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	if r.ChiSquare != 0 || r.P != 1 || r.Freedom != 2 || r.AnytimeP != 1 || r.Expected[0] != 14000 || r.Mismatch(Sequential, 0) || r.Mismatch(Fixed, 0) {
		t.Errorf("%+v", r)
	}
	// Very many, off by a tenth of a per cent: nothing is lost in large logarithms.
	r, err = SampleRatio(Stretch{[]int64{1_000_000_000, 1_001_000_000}, []float64{1, 1}})
	if err != nil || !r.Mismatch(Fixed, 0) || !r.Mismatch(Sequential, 0) {
		t.Errorf("%+v, %v", r, err)
	}
	near(t, "chi-square", r.ChiSquare, 1e12/2.001e9, 1e-12)
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	r, err := Arrivals([]int64{800, 160}, []int64{1000, 200})
	if err != nil || r.P != 1 || r.AnytimeP != 1 {
		t.Errorf("the same rate: %+v, %v", r, err)
	}
	// A table of 2x2 by hand: 900 of 1000 and 820 of 1000.
	r, err = Arrivals([]int64{900, 820}, []int64{1000, 1000})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "chi-square of the table", r.ChiSquare, 2000*80_000*80_000/(1720.0*280*1000*1000), 1e-12)
	for _, bad := range [][2][]int64{{{1}, {1, 2}}, {{3, 1}, {2, 2}}, {{-1, 1}, {2, 2}}, {{1}, {1}}} {
		if r, err := Arrivals(bad[0], bad[1]); err == nil {
			t.Errorf("%v: %+v", bad, r)
		}
	}
	for _, fine := range [][2][]int64{{{0, 0}, {0, 0}}, {{2, 2}, {2, 2}}, {{0, 0}, {2, 2}}} {
		if r, err := Arrivals(fine[0], fine[1]); err != nil || r.P != 1 {
			t.Errorf("%v: %+v, %v", fine, r, err)
		}
	}
}

func TestRootRatio(t *testing.T) {
	t.Parallel()
	i := RootRatio(Interval{0.1025, -2, math.Inf(1)})
	near(t, "value", i.Value, 0.05, 1e-12)
	if i.Low != -1 || !math.IsInf(i.High, 1) {
		t.Errorf("%+v", i)
	}
	var back Interval
	if err := json.Unmarshal([]byte(`{"value":"x"}`), &back); err == nil || !strings.Contains(err.Error(), "interval") {
		t.Errorf("%v", err)
	}
}
