package anomaly

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"millrace.dev/profile"
)

// percent writes a share with three digits.
func percent(share float64) string {
	if share > 0 && share < 0.0001 {
		return "less than 0.01 %"
	}
	digits := 2
	switch {
	case share == 1 || share == 0:
		digits = 0
	case share >= 0.1:
		digits = 1
	}
	return strconv.FormatFloat(100*share, 'f', digits, 64) + " %"
}

// text writes a text of the data in quotes, of a bounded length and without what a terminal would obey.
func text(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return strconv.Quote(s)
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func records(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return number(n) + " records"
}

// span writes the range of a column.
func span(c *profile.Column) string { return value(c, c.Min) + " to " + value(c, c.Max) }

// value writes a number of a column of numbers or times.
func value(c *profile.Column, x float64) string {
	const most = 1 << 53
	if c.Kind == profile.Time && math.Abs(x) < most {
		at := time.UnixMicro(int64(math.Round(x * 1e6))).UTC()
		if at.Equal(at.Truncate(24 * time.Hour)) {
			return at.Format(time.DateOnly)
		}
		return at.Format("2006-01-02T15:04:05Z")
	}
	if a := math.Abs(x); x == 0 || a >= 1e-4 && a < 1e15 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', 6, 64)
}
