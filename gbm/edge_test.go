package gbm

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// column makes a numeric input of numbers.
func column(name string, v ...float64) record.Column {
	return record.Column{Name: name, Type: record.Numeric, Numbers: v}
}

func dataset(label []float64, cols ...record.Column) Dataset {
	return Dataset{Frame: &record.Frame{Rows: len(label), Columns: cols}, Label: label}
}

func scores(f *Forest, d Dataset) []float64 {
	out := make([]float64, d.Frame.Rows)
	f.Score(d.Frame, out)
	return out
}

func repeat(n int, f func(i int) float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

// TestNothingToLearn has data without a split: the forest is the mean, without trees.
func TestNothingToLearn(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	ramp := func(i int) float64 { return float64(i) }
	for name, c := range map[string]struct {
		d    Dataset
		want float64
	}{
		"one row":                  {dataset([]float64{7.3}, column("a", 1)), 7.3},
		"one missing row":          {dataset([]float64{7.3}, column("a", nan)), 7.3},
		"constant label":           {dataset(repeat(100, func(int) float64 { return 0.1 }), column("a", repeat(100, ramp)...)), 0.1},
		"constant input":           {dataset(repeat(100, ramp), column("a", repeat(100, func(int) float64 { return 5 })...)), 49.5},
		"all values missing":       {dataset(repeat(100, ramp), column("a", repeat(100, func(int) float64 { return nan })...)), 49.5},
		"min_rows beyond one half": {dataset(repeat(19, ramp), column("a", repeat(19, ramp)...)), 9},
		"enum without levels":      {dataset([]float64{1, 3}, record.Column{Name: "a", Type: record.Enum, Codes: []int32{-1, -1}}), 2},
		"zero labels":              {dataset(make([]float64, 50), column("a", repeat(50, ramp)...)), 0},
	} {
		f, h, err := Train(t.Context(), DefaultParams(), c.d, nil, Options{Threads: 2})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.Trees() != 0 || h.Best != 0 || len(h.Rounds) != 1 {
			t.Errorf("%s: %d trees", name, f.Trees())
		}
		for _, v := range scores(f, c.d) {
			if math.Abs(v-c.want) > 1e-15*math.Abs(c.want) {
				t.Errorf("%s: %v, want %v", name, v, c.want)
				break
			}
		}
		if diff := cmp.Diff(make([]float64, len(c.d.Frame.Columns)), f.Importance()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestNothingToLearnSampled has no split either, but sampling goes on: a tree of one leaf for each round.
func TestNothingToLearnSampled(t *testing.T) {
	t.Parallel()
	p := DefaultParams()
	p.SampleRate, p.LearnRate = 0.001, 1 // most trees see no row at all
	d := dataset(repeat(50, func(i int) float64 { return float64(i % 2) }), column("a", make([]float64, 50)...))
	f := mustTrain(t, p, d)
	if f.Trees() != p.NTrees {
		t.Errorf("%d trees", f.Trees())
	}
	for _, v := range scores(f, d) {
		if !(v >= 0 && v <= 1) {
			t.Errorf("prediction %v", v)
		}
	}
}

// TestMissingAgainstRest learns that a value is missing, and nothing of the value.
func TestMissingAgainstRest(t *testing.T) {
	t.Parallel()
	var x, y []float64
	for i := range 100 {
		v, l := float64(i), 1.0
		if i%3 == 0 {
			v, l = math.NaN(), 5
		}
		x, y = append(x, v), append(y, l)
	}
	p := DefaultParams()
	p.NTrees, p.LearnRate = 1, 1
	f := mustTrain(t, p, dataset(y, column("a", x...)))
	n := f.trees[0][0]
	if !math.IsInf(n.value, 1) || n.missingLeft {
		t.Errorf("%+v", n)
	}
	got := scores(f, dataset(make([]float64, 4), column("a", math.NaN(), 1e300, math.Inf(1), math.Inf(-1))))
	if diff := cmp.Diff([]float64{5, 1, 1, 1}, repeat(4, func(i int) float64 { return math.Round(got[i]*1e12) / 1e12 })); diff != "" {
		t.Error(diff)
	}
}

// TestUnseenLevels checks that a level without rows in training, and a code that is no level, are missing; and
// that without missing values in training they go with the majority.
func TestUnseenLevels(t *testing.T) {
	t.Parallel()
	levels := []string{"low", "middle", "high", "unseen"}
	var codes []int32
	var y []float64
	for i := range 90 {
		k := int32(i % 3)
		codes, y = append(codes, k), append(y, float64(10*k))
	}
	p := DefaultParams()
	p.NTrees, p.LearnRate, p.MaxDepth = 1, 1, 1
	enum := func(codes ...int32) record.Column {
		return record.Column{Name: "a", Type: record.Enum, Levels: levels, Codes: codes}
	}
	// The label is 0, 10, 20: both cuts are equally good; low alone comes first, the majority is on the right.
	f := mustTrain(t, p, dataset(y, enum(codes...)))
	got := scores(f, dataset(make([]float64, 7), enum(0, 1, 2, 3, -1, 99, math.MinInt32)))
	if diff := cmp.Diff([]float64{0, 15, 15, 15, 15, 15, 15}, got); diff != "" {
		t.Error(diff)
	}
	// With missing values that are like low ones, all of them go there.
	for i := range 30 {
		codes, y = append(codes, -1), append(y, float64(i%2))
	}
	f = mustTrain(t, p, dataset(y, enum(codes...)))
	got = scores(f, dataset(make([]float64, 4), enum(3, -1, 99, 0)))
	for _, v := range got {
		if v != got[3] || v > 1 {
			t.Errorf("predictions %v", got)
		}
	}
}

// TestRareLevels checks that the rare levels of a node stay together.
func TestRareLevels(t *testing.T) {
	t.Parallel()
	var codes []int32
	var y []float64
	c := record.Column{Name: "a", Type: record.Enum}
	for l := range 24 {
		c.Levels = append(c.Levels, fmt.Sprintf("%02d", l))
		n := 4
		if l < 2 {
			n = 30
		}
		for range n {
			codes, y = append(codes, int32(l)), append(y, float64(l))
		}
	}
	c.Codes = codes
	p := DefaultParams()
	p.NTrees, p.LearnRate, p.MinRows = 1, 1, 1
	got := scores(mustTrain(t, p, dataset(y, c)), dataset(y, c))
	for i, k := range codes {
		if k >= 2 && got[i] != got[len(got)-1] {
			t.Fatalf("level %d: %v, other rare levels %v", k, got[i], got[len(got)-1])
		}
	}
	p.CatMinRows, p.CatL2 = 0, 0
	got = scores(mustTrain(t, p, dataset(y, c)), dataset(y, c))
	if got[60] == got[len(got)-1] {
		t.Error("rare levels stay together without cat_min_rows")
	}
}

func TestManyLevels(t *testing.T) {
	t.Parallel()
	d := made(40_000, 0, 1, maxLevels, 0.01, 1)
	for name, c := range map[string]struct{ bins, minRows int }{"own bins": {maxCatBins, 1}, "shared bins": {1024, 5}, "few bins": {2, 5}} {
		p := DefaultParams()
		p.NTrees, p.NBinsCats, p.CatMinRows = 2, c.bins, c.minRows
		f, h, err := Train(t.Context(), p, d, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if f.Trees() != 2 || h.Rounds[2].Loss >= h.Rounds[0].Loss {
			t.Errorf("%s: %d trees, %+v", name, f.Trees(), h.Rounds)
		}
		checkScores(t, f, part(d.Frame, 0, 500))
		g, err := ReadForest(encode(t, f))
		if err != nil {
			t.Fatal(err)
		}
		checkScores(t, g, part(d.Frame, 0, 500))
	}
}

// TestExtremeLabels has labels at both ends of what float64 holds.
func TestExtremeLabels(t *testing.T) {
	t.Parallel()
	ramp := repeat(200, func(i int) float64 { return float64(i) })
	for name, c := range map[string]struct {
		label     func(i int) float64
		transform string
		tolerance float64 // of predictions, as a share of the largest label
	}{
		"large":           {func(i int) float64 { return 1e300 * float64(1+i/100) }, TransformNone, 1e-9},
		"largest":         {func(i int) float64 { return MaxLabel * float64(2*(i/100)-1) }, TransformNone, 1e-9},
		"small":           {func(i int) float64 { return 1e-300 * float64(1+i/100) }, TransformNone, 1e-9},
		"smallest":        {func(i int) float64 { return math.SmallestNonzeroFloat64 * float64(i/100) }, TransformNone, 1},
		"large and small": {func(i int) float64 { return []float64{1e-300, 1e300}[i/100] }, TransformNone, 1e-9},
		"log":             {func(i int) float64 { return []float64{1e-300, 1e300}[i/100] }, TransformLog, 1e-9},
		"log of large":    {func(i int) float64 { return 1e300 * float64(1+i/100) }, TransformLog, 1e-9},
		"close together":  {func(i int) float64 { return 1e6 + 1e-6*float64(i/100) }, TransformNone, 1e-15},
	} {
		p := DefaultParams()
		p.LearnRate, p.NTrees, p.LabelTransform = 1, 3, c.transform
		d := dataset(repeat(200, c.label), column("a", ramp...))
		f, h, err := Train(t.Context(), p, d, &d, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		largest := max(math.Abs(d.Label[0]), math.Abs(d.Label[199]))
		for i, v := range scores(f, d) {
			if !(math.Abs(v-d.Label[i]) <= c.tolerance*largest) {
				t.Errorf("%s: row %d: %v, want %v", name, i, v, d.Label[i])
				break
			}
		}
		for _, r := range h.Rounds {
			if !(r.RMSE <= math.MaxFloat64) || !(r.MAE <= r.RMSE*(1+1e-12)) || !(r.Loss <= math.MaxFloat64) {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if _, err := ReadForest(encode(t, f)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDuplicateRows checks that doubling every row and min_rows changes nothing but rounding.
func TestDuplicateRows(t *testing.T) {
	t.Parallel()
	d := made(400, 3, 1, 6, 0.1, 1)
	rows := rowNumbers(400)
	p := DefaultParams()
	p.CatMinRows, p.CatSmooth, p.CatL2 = 0, 0, 0
	one := scores(mustTrain(t, p, d), d)
	p.MinRows *= 2
	two := scores(mustTrain(t, p, rowsOf(d, append(rows, rows...))), d)
	for i := range one {
		if math.Abs(one[i]-two[i]) > 1e-6 {
			t.Fatalf("row %d: %v and %v", i, one[i], two[i])
		}
	}
}

func TestImportance(t *testing.T) {
	t.Parallel()
	noise := made(500, 3, 0, 0, 0, 1).Frame.Columns
	d := dataset(repeat(500, func(i int) float64 { return float64(i / 250) }),
		column("b", repeat(500, func(i int) float64 { return float64(i) })...), noise[1])
	f := mustTrain(t, DefaultParams(), d)
	got := f.Importance()
	if len(got) != 2 || got[0] < 0.99 || math.Abs(got[0]+got[1]-1) > 1e-12 {
		t.Errorf("%v", got)
	}
}

// TestInfinitePrediction checks that the exponential link stops at the largest finite number.
func TestInfinitePrediction(t *testing.T) {
	t.Parallel()
	f := &Forest{link: LinkExp, initial: 1000}
	if err := f.finish(); err != nil {
		t.Fatal(err)
	}
	out := make([]float64, 3)
	f.Score(&record.Frame{Rows: 3}, out)
	if out[2] != math.MaxFloat64 {
		t.Error(out)
	}
}
