package app_test

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"millrace.dev/internal/app"
	"millrace.dev/internal/testenv"
)

// TestBacktestHouses trains on the real sales before 10 June 2014, and replays all of them. The figures are those of what predict
// writes, and the model is worse on what it has not seen.
func TestBacktestHouses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(testenv.Data(t), "housedata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	s := parseSales(t, string(text))
	date, price := slices.Index(s.header, "date"), slices.Index(s.header, "price")
	until := slices.IndexFunc(s.rows, func(row []string) bool { return row[date] >= "2014-06-10" })
	a, file := newHouses(t, s, s.rows[:until])
	all := filepath.Join(t.TempDir(), "all.csv")
	s.write(t, all, s.rows, nil)

	var out bytes.Buffer
	if _, err := a.Predict(t.Context(), app.PredictOptions{File: file, Model: "houses@1", Data: all, Out: "-", Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	predicted, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var n, before, squares, absolute, absoluteBefore float64
	for _, row := range predicted[1:] {
		label, err1 := strconv.ParseFloat(row[price], 64)
		x, err2 := strconv.ParseFloat(row[len(row)-1], 64)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if label <= 0 || label >= 5_000_000 { // as train.where has it
			continue
		}
		n++
		squares += (x - label) * (x - label)
		absolute += math.Abs(x - label)
		if row[date] < "2014-06-10" {
			before++
			absoluteBefore += math.Abs(x - label)
		}
	}
	r, err := a.Backtest(t.Context(), app.BacktestOptions{File: file, Models: []string{"houses@1"}, Data: all})
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	total := r.Total.Results[0].Scores
	near("the RMSE", float64(total.RMSE), math.Sqrt(squares/n))
	near("the MAE", float64(total.MAE), absolute/n)
	if r.Total.Records != len(s.rows) || float64(total.Rows) != n || len(r.Periods) != 70 {
		t.Errorf("%d records, %d labels, %d days", r.Total.Records, total.Rows, len(r.Periods))
	}
	parts := map[string]float64{}
	for name, o := range map[string]app.BacktestOptions{"before": {To: "2014-06-10"}, "after": {From: "2014-06-10"}} {
		o.File, o.Models, o.Data, o.Every = file, []string{"houses@1"}, all, "400d"
		r, err := a.Backtest(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		parts[name] = float64(r.Total.Results[0].Scores.MAE)
	}
	near("the MAE before", parts["before"], absoluteBefore/before)
	near("the MAE after", parts["after"], (absolute-absoluteBefore)/(n-before))
	if parts["after"] < 1.1*parts["before"] {
		t.Errorf("the MAE on what the model has not seen is %v, and %v on the rest", parts["after"], parts["before"])
	}
}
