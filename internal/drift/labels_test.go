package drift

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"millrace.dev/model"
)

func TestScores(t *testing.T) {
	t.Parallel()
	labels, predictions := []float64{1, 2, 3, 6}, []float64{2, 2, 1, 7}
	var whole, a, b Errors
	for i, label := range labels {
		whole.Add(label, predictions[i])
		if i < 1 {
			a.Add(label, predictions[i])
		} else {
			b.Add(label, predictions[i])
		}
	}
	a.merge(&b)
	a.merge(&Errors{})
	for _, e := range []*Errors{&whole, &a} {
		s := e.Scores()
		// Errors are 1, 0, -2, 1; labels deviate from their mean, 3, by -2, -1, 0, 3.
		for name, x := range map[string][2]float64{
			"rmse": {float64(s.RMSE), math.Sqrt(6. / 4)}, "mae": {float64(s.MAE), 1}, "bias": {float64(s.Bias), 0}, "r2": {float64(s.R2), 1 - 6./14},
		} {
			if math.Abs(x[0]-x[1]) > 1e-12 {
				t.Errorf("%s is %v, want %v", name, x[0], x[1])
			}
		}
	}
	if s := (&Errors{}).Scores(); !math.IsNaN(float64(s.RMSE)) || !math.IsNaN(float64(s.R2)) {
		t.Errorf("of no rows: %+v", s)
	}
}

// TestLossByChance holds the rate of false confirmations to the declared one, with errors that have a long tail, and that of
// true ones to be of use.
func TestLossByChance(t *testing.T) {
	t.Parallel()
	const draws, m = 1500, 300
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	draw := func(n int, factor float64) Errors {
		var e Errors
		for range n {
			e.Add(0, factor*math.Exp(r.NormFloat64())*r.NormFloat64())
		}
		return e
	}
	for _, n := range []int{40, 300, 2000} {
		by := map[Outcome]int{}
		found := 0
		for range draws {
			test := draw(m, 1)
			s := test.Scores()
			in := &Input{Test: model.Scores{RMSE: float64(s.RMSE), MAE: float64(s.MAE), Rows: m}}
			outcome := func(factor float64) Outcome {
				w := &Window{Errors: draw(n, factor)}
				return (&Report{judged: []*Window{w}}).scope(in, "", 0).Outcome
			}
			by[outcome(1)]++
			if outcome(2) == Confirmed {
				found++
			}
		}
		if share := float64(by[Confirmed]) / draws; share > 0.04 { // half of 5 % are the other scope's; and what chance makes of it
			t.Errorf("seed %d: of %d labels, %.3f confirm a loss that is not there", seed, n, share)
		}
		if share := float64(found) / draws; n >= 300 && share < 0.9 {
			t.Errorf("seed %d: of %d labels, %.3f confirm errors twice as large", seed, n, share)
		}
		if n == 40 && by[TooFew] < draws/2 {
			t.Errorf("seed %d: 40 labels are enough in %d draws", seed, draws-by[TooFew])
		}
	}
}

// TestOneLargeError has a record that nobody could predict confirm nothing, and say so.
func TestOneLargeError(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	errors := func(large float64) *Report {
		w := &Window{Errors: Errors{}}
		for range 500 {
			w.Errors.Add(0, r.NormFloat64())
		}
		w.Errors.Add(0, large)
		in := &Input{Test: model.Scores{RMSE: 1, MAE: math.Sqrt(2 / math.Pi), R2: 0.5, Rows: 500}}
		report := &Report{judged: []*Window{w}}
		report.Labels = report.scope(in, "all windows", 0)
		return report
	}
	l := errors(300)
	if l.Labels.Outcome == Confirmed || !slices.Equal(l.Labels.Dominated, []string{"mae", "rmse"}) {
		t.Errorf("%+v", *l.Labels)
	}
	if words := strings.Join(l.lossWords(), "\n"); !strings.Contains(words, "A few large errors make up the root mean squared error, so that it confirms nothing.") {
		t.Error(words)
	}
	if l := errors(3); l.Labels.Outcome != NotConfirmed || l.Labels.Dominated != nil {
		t.Errorf("%+v", *l.Labels)
	}
}
