package backtest_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"millrace.dev/internal/backtest"
	"millrace.dev/record"
)

type row struct {
	period int64
	tries  []backtest.Try
	label  float64
}

func said(predictions ...float64) []backtest.Try {
	var tries []backtest.Try
	for _, x := range predictions {
		t := backtest.Try{Prediction: x}
		if math.IsNaN(x) {
			t.Problem = &record.Problem{Stage: record.StageDecode, Class: "not_json"}
		}
		tries = append(tries, t)
	}
	return tries
}

func reported(t *testing.T, rows []row) *backtest.Report {
	t.Helper()
	tally, err := backtest.NewTally(2)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := tally.Add(r.period, r.tries, r.label); err != nil {
			t.Fatal(err)
		}
	}
	r := &backtest.Report{}
	for range 2 {
		r.Models = append(r.Models, backtest.Model{Ref: "m"})
	}
	tally.Into(r, func(n int64) (int64, int64) { return n * 1000_000, (n + 1) * 1000_000 })
	return r
}

func text(t *testing.T, r *backtest.Report) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestFigures has figures that can be computed by hand.
func TestFigures(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	r := reported(t, []row{
		{1, said(3, 1), 1},   // errors 2 and 0
		{1, said(1, 9), 3},   // -2 and 6
		{1, said(5, nan), 5}, // 0, and a dead letter
		{1, said(7, 7), nan}, // no label
		{3, said(nan, nan), 4},
		{backtest.Untimed, said(1, 2), 1},
	})
	for name, want := range map[string]string{
		"first model": `{"predictions":4,"rejected":0,"coverage":0.75,"scores":{"rows":3,"rmse":1.632993161855452,"mae":1.3333333333333333,"bias":0,"r2":0}}`,
		"second":      `{"predictions":3,"rejected":1,"classes":{"decode/not_json":1},"coverage":0.6666666666666666,"scores":{"rows":2,"rmse":4.242640687119285,"mae":3,"bias":3,"r2":-17}}`,
		// Squares differ by -4 and 32; the RMSEs of the pairs are 2 and 4.24.
		"difference": `"against":[{"pairs":2,"rmse":{"value":2.242640687119285,"low":null,"high":null},"mae":{"value":1,"low":null,"high":null}}]`,
		"no labels":  `{"from":3000,"to":4000,"records":1,"results":[{"predictions":0,"rejected":1,"classes":{"decode/not_json":1},"coverage":null,"scores":{"rows":0,"rmse":null,"mae":null,"bias":null,"r2":null}}`,
		"untimed":    `"untimed":{"from":null,"to":null,"records":1`,
		"total":      `"total":{"from":null,"to":null,"records":6,"results":[{"predictions":5,"rejected":1`,
	} {
		if !strings.Contains(text(t, r), want) {
			t.Errorf("%s: want %s in\n%s", name, want, text(t, r))
		}
	}
	var csv strings.Builder
	if err := r.CSV(&csv); err != nil {
		t.Fatal(err)
	}
	if want := "m,1,1970-01-01T00:00:01Z,1970-01-01T00:00:02Z,4,3,1,decode/not_json=1,2,0.6666666666666666,4.242640687119285,3,3,-17,2,2.242640687119285,,,1,,\n"; !strings.Contains(csv.String(), want) {
		t.Errorf("want %s in\n%s", want, csv.String())
	}
}

// TestOrder holds that the order of the records does not matter to a bit.
func TestOrder(t *testing.T) {
	t.Parallel()
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 1))
	var rows []row
	for range 1000 {
		label := math.Exp(20 * r.NormFloat64())
		rows = append(rows, row{int64(r.IntN(3)), said(label*r.Float64(), label*r.Float64()), label})
	}
	want := text(t, reported(t, rows))
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	if got := text(t, reported(t, rows)); got != want {
		t.Errorf("seed %d: got %s\nwant %s", seed, got, want)
	}
}

// TestInterval holds that intervals have the truth in about 95 of 100 cases, and that the one of the RMSE leaves 0 out where a
// model is worse.
func TestInterval(t *testing.T) {
	t.Parallel()
	const seed, cases, n = 11, 400, 200
	r := rand.New(rand.NewPCG(seed, 1))
	equal, worse := 0, 0
	for range cases {
		var same, wider []row
		for range n {
			x := 100 * r.NormFloat64()
			a := x + r.NormFloat64()
			same = append(same, row{0, said(a, x+r.NormFloat64()), x})
			wider = append(wider, row{0, said(a, x+float64(2*r.NormFloat64())), x})
		}
		if d := reported(t, same).Total.Against[0]; !d.RMSE.Certain() {
			equal++
		}
		if d := reported(t, wider).Total.Against[0]; d.RMSE.Low > 0 && d.MAE.Low > 0 && d.RMSE.Low < 1 && d.RMSE.High > d.RMSE.Value {
			worse++
		}
	}
	if equal < cases*92/100 || equal > cases*98/100 || worse < cases*98/100 {
		t.Errorf("seed %d: of %d cases %d equal ones are not told apart, and %d worse ones are", seed, cases, equal, worse)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	huge := reported(t, []row{{0, said(1e200, 1), 1}, {0, said(1, 1), 1}})
	if want := `"scores":{"rows":2,"rmse":null`; !strings.Contains(text(t, huge), want) || !strings.Contains(text(t, huge), `"rmse":{"value":null`) {
		t.Errorf("want %s in %s", want, text(t, huge))
	}
	right := reported(t, []row{{0, said(1, 1), 1}})
	if d := right.Total.Against[0]; d.RMSE.Value != 0 || d.MAE.Value != 0 {
		t.Errorf("two models that are right differ: %+v", d)
	}
	tally, err := backtest.NewTally(1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range backtest.MostPeriods {
		if err := tally.Add(int64(i), said(1), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := tally.Add(-1, said(1), 1); !errors.Is(err, backtest.ErrManyPeriods) {
		t.Errorf("got %v", err)
	}
	if _, err := backtest.NewTally(0); err == nil {
		t.Error("no model is none to try")
	}
}
