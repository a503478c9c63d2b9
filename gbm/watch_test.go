package gbm

import (
	"math"
	"testing"

	"millrace.dev/record"
)

// TestWatchOfSmallLabels has an outlier among the labels trained on only: the predictions are far larger than the
// labels of the validation set, and so are the squares of their errors.
func TestWatchOfSmallLabels(t *testing.T) {
	t.Parallel()
	set := func(outlier float64) Dataset {
		x, y := make([]float64, 100), make([]float64, 100)
		for i := range x {
			x[i], y[i] = float64(i), float64(i%7)/7
		}
		y[3] = max(y[3], outlier)
		return Dataset{Frame: &record.Frame{Rows: 100, Columns: []record.Column{{Name: "x", Type: record.Numeric, Numbers: x}}}, Label: y}
	}
	valid := set(0)
	_, h, err := Train(t.Context(), DefaultParams(), set(MaxLabel), &valid, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range h.Rounds {
		if math.IsInf(r.RMSE, 0) || math.IsInf(r.MAE, 0) || math.IsNaN(r.RMSE) {
			t.Fatalf("after %d trees: RMSE %v, MAE %v", r.Trees, r.RMSE, r.MAE)
		}
	}
}
