package trial

import (
	"fmt"
	"math"
	"strings"

	"millrace.dev/internal/chart"
	"millrace.dev/internal/experiment"
)

func grouped(n int64) string { return chart.Grouped(n) }

func percent(x float64) string { return chart.Percent(x) }

func number(x float64) string { return chart.Number(x) }

// OpenBelow tells whether a relative difference of losses may be as low as can be: no loss is below 0.
func OpenBelow(i experiment.Interval) bool { return i.Low <= -1 }

// reach writes an interval of a relative difference.
func reach(i experiment.Interval) string {
	low, high := !OpenBelow(i), !math.IsInf(i.High, 0)
	switch {
	case low && high:
		return fmt.Sprintf("from %+.3g%% to %+.3g%%", 100*i.Low, 100*i.High)
	case high:
		return fmt.Sprintf("up to %+.3g%%", 100*i.High)
	case low:
		return fmt.Sprintf("from %+.3g%% on", 100*i.Low)
	default:
		return "anything"
	}
}

// Maturity writes how many of some days are mature: "1 of 7 days is mature".
func Maturity(mature, days int) string {
	if mature == 1 || days == 1 {
		return fmt.Sprintf("%d of %s is mature", mature, counted(days, "day"))
	}
	return fmt.Sprintf("%d of %s are mature", mature, counted(days, "day"))
}

// beside writes by how much something is below or above something else.
func beside(i experiment.Interval) string {
	where := "below"
	if i.Value > 0 {
		where = "above"
	}
	return fmt.Sprintf("%.3g%% %s", math.Abs(100*i.Value), where)
}

// probability writes a p-value.
func probability(p float64) string {
	if p < 1e-4 {
		return "p < 0.0001"
	}
	return fmt.Sprintf("p = %.2g", p)
}

// numbers joins counts.
func numbers(counts []int64) string {
	var parts []string
	for _, n := range counts {
		parts = append(parts, grouped(n))
	}
	return listed(parts)
}

// listed joins words: a, b and c.
func listed(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

func rounded(counts []float64) string {
	var whole []int64
	for _, x := range counts {
		whole = append(whole, int64(math.Round(x)))
	}
	return numbers(whole)
}

// squaredError is the metric whose differences are told as those of its root, which is in the unit of the label.
const squaredError = "squared_error"

// Rooted tells whether differences of a metric are told as those of its root: of the squared error as those of the RMSE.
func Rooted(metric string) bool { return metric == squaredError }

// metricWord is what people call a metric: differences of the squared error are told as those of its root.
func metricWord(name string) string {
	if Rooted(name) {
		return "RMSE"
	}
	return strings.ReplaceAll(name, "_", " ")
}
