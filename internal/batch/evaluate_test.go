package batch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/model"
)

// described evaluates pairs as evaluate does once it has the predictions.
func described(pairs []outcomePair) *model.Evaluation { return describe(slices.Clone(pairs), 3) }

func TestEvaluationDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for _, n := range []int{0, 1, 2, 3, 11, 500} {
		pairs := make([]outcomePair, n)
		for i := range pairs {
			pairs[i] = outcomePair{math.Floor(r.ExpFloat64() * 20), math.Exp(r.NormFloat64() * 3)}
		}
		want := described(pairs)
		r.Shuffle(n, func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		if diff := cmp.Diff(want, described(pairs), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("seed %d, %d rows: %s", seed, n, diff)
		}
		checkEvaluation(t, want, pairs)
	}
}

// checkEvaluation compares an evaluation with sums over the pairs.
func checkEvaluation(t *testing.T, e *model.Evaluation, pairs []outcomePair) {
	t.Helper()
	var absolute, largest float64
	for _, p := range pairs {
		absolute += math.Abs(p.error())
		largest = max(largest, math.Abs(p.error()))
	}
	var rows, cells, errs int
	var weighted float64
	for _, g := range e.Groups {
		rows += g.Rows
		weighted += g.MAE * float64(g.Rows)
	}
	for _, n := range e.Grid {
		cells += n
	}
	for _, n := range e.ErrorCounts {
		errs += n
	}
	if rows != len(pairs) || cells != len(pairs) || errs != len(pairs) || len(e.Groups) > groupCount {
		t.Errorf("%d pairs: %d in %d groups, %d in cells, %d in errors", len(pairs), rows, len(e.Groups), cells, errs)
	}
	if math.Abs(weighted-absolute) > 1e-9*(1+absolute) {
		t.Errorf("the groups' absolute errors sum to %v, want %v", weighted, absolute)
	}
	if n := len(e.Absolute); n > 0 && e.Absolute[n-1].Error != largest {
		t.Errorf("the largest error is %v, want %v", e.Absolute[n-1].Error, largest)
	}
}

func TestEvaluationOfOddNumbers(t *testing.T) {
	t.Parallel()
	for name, pairs := range map[string][]outcomePair{
		"all equal":      {{1, 1}, {1, 1}, {1, 1}},
		"zero labels":    {{1, 0}, {2, 0}},
		"tiny labels":    {{1, 5e-324}, {2, 5e-324}},
		"large":          {{1e300, -1e300}, {-1e300, 1e300}},
		"small":          {{1e-310, 2e-310}, {3e-310, 0}},
		"next to others": {{1e16, 1e16 + 2}, {1e16 + 4, 1e16}},
		"negative":       {{-5, -3}, {-2, -9}, {4, 5}},
	} {
		e := described(pairs)
		checkEvaluation(t, e, pairs)
		if !slices.IsSorted(e.Edges) || len(slices.Compact(slices.Clone(e.Edges))) != len(e.Edges) || len(e.Edges) >= model.MaxEvaluationBins {
			t.Errorf("%s: edges %v", name, e.Edges)
		}
		for _, q := range e.Relative {
			if math.IsInf(q.Error, 0) || math.IsNaN(q.Error) {
				t.Errorf("%s: relative error %v", name, q)
			}
		}
	}
}

func TestNiceStep(t *testing.T) {
	t.Parallel()
	for _, tc := range [][2]float64{
		{1, 1},
		{1.1, 2},
		{2, 2},
		{3, 5},
		{5.5, 10},
		{99, 100},
		{0.03, 0.05},
		{0.1, 0.1},
		{30_000, 50_000},
		{0, 0},
		{-1, 0},
		{math.Inf(1), 0},
		{math.NaN(), 0},
		{1e-310, 0},
	} {
		if got := niceStep(tc[0]); math.Abs(got-tc[1]) > 1e-12*tc[1] {
			t.Errorf("step of %v: %v, want %v", tc[0], got, tc[1])
		}
	}
}

// TestTrainEvaluates wants the evaluation to be one of the test rows, and to agree with the scores.
func TestTrainEvaluates(t *testing.T) {
	t.Parallel()
	b, err := TrainModel(t.Context(), flats(t, flatRows(300)))
	if err != nil {
		t.Fatal(err)
	}
	e, test := b.Evaluation, b.Metrics.Test
	if e == nil || e.Rows != test.Rows {
		t.Fatalf("%+v of %d rows", e, test.Rows)
	}
	var mae float64
	for _, g := range e.Groups {
		mae += g.MAE * float64(g.Rows) / float64(e.Rows)
	}
	if math.Abs(mae-test.MAE) > 1e-9*test.MAE {
		t.Errorf("mean absolute error %v, want %v", mae, test.MAE)
	}
	if r2 := 1 - test.RMSE*test.RMSE/(e.MeanRMSE*e.MeanRMSE); r2 < test.R2-1e-9 {
		t.Errorf("the mean of the training rows is better than that of the test rows: %v < %v", r2, test.R2)
	}
	if _, _, err := b.Encode(); err != nil {
		t.Error(err)
	}
}
