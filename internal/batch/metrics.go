package batch

import (
	"math"

	"millrace.dev/model"
)

// scores accumulates the error of predictions against labels, in the order of the rows.
type scores struct {
	rows            int
	sumSquared      float64 // of label - prediction
	sumAbsolute     float64
	mean, deviation float64 // Welford's mean of the labels, and sum of squared deviations from it
}

func (s *scores) add(label, prediction float64) {
	s.rows++
	e := label - prediction
	s.sumSquared += float64(e * e)
	s.sumAbsolute += math.Abs(e)
	d := label - s.mean
	s.mean += d / float64(s.rows)
	s.deviation += float64(d * (label - s.mean))
}

// result returns the root mean squared error and the mean absolute error in the label's unit, and the share of the
// label's variance that the predictions explain: 1 - SSE/SST. R2 is NaN where the labels do not
// vary.
func (s *scores) result() model.Scores {
	nan := math.NaN()
	m := model.Scores{RMSE: nan, MAE: nan, R2: nan, LabelMean: nan, Rows: s.rows}
	if s.rows > 0 {
		n := float64(s.rows)
		m.RMSE, m.MAE, m.LabelMean = math.Sqrt(s.sumSquared/n), s.sumAbsolute/n, s.mean
	}
	if s.deviation > 0 {
		m.R2 = 1 - s.sumSquared/s.deviation
	}
	return m
}
