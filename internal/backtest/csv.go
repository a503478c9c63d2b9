package backtest

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/drift"
)

// CSV writes a row for each period and model, in their order, then for the records without a time, and then the total. A value
// that is not known is empty; times are in UTC.
func (r *Report) CSV(w io.Writer) error {
	c := csv.NewWriter(w)
	rows := [][]string{{
		"model", "period", "from", "to", "records", "predictions", "rejected", "classes", "labels", "coverage", "rmse", "mae", "bias", "r2",
		"pairs", "rmse_difference", "rmse_low", "rmse_high", "mae_difference", "mae_low", "mae_high",
	}}
	for i := range r.Periods {
		rows = append(rows, r.csvRows(strconv.Itoa(i+1), &r.Periods[i])...)
	}
	if r.Untimed != nil {
		rows = append(rows, r.csvRows("untimed", r.Untimed)...)
	}
	rows = append(rows, r.csvRows("total", &r.Total)...)
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

func (r *Report) csvRows(name string, p *Period) [][]string {
	var rows [][]string
	for i := range p.Results {
		m := &p.Results[i]
		s := &m.Scores
		row := []string{
			r.Models[i].Ref, name, csvTime(p.From), csvTime(p.To), strconv.Itoa(p.Records), strconv.Itoa(m.Predictions), strconv.Itoa(m.Rejected), classesText(m.Classes),
			strconv.Itoa(s.Rows), csvNumber(m.Coverage), csvNumber(s.RMSE), csvNumber(s.MAE), csvNumber(s.Bias), csvNumber(s.R2),
		}
		if i == 0 {
			row = append(row, "", "", "", "", "", "", "")
		} else {
			d := &p.Against[i-1]
			row = append(row, strconv.Itoa(d.Pairs))
			for _, x := range []Delta{d.RMSE, d.MAE} {
				row = append(row, csvNumber(x.Value), csvNumber(x.Low), csvNumber(x.High))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func csvTime(ms *int64) string {
	if ms == nil {
		return ""
	}
	return time.UnixMilli(*ms).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

func csvNumber(n drift.Number) string {
	if x := float64(n); !math.IsNaN(x) && !math.IsInf(x, 0) {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return ""
}

// classesText writes counts by class, in the order of their names: "decode/not_json=3 score/not_finite=1".
func classesText(classes map[string]int) string {
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		parts = append(parts, fmt.Sprintf("%s=%d", class, classes[class]))
	}
	return strings.Join(parts, " ")
}
