package profile

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// words says a finding in a sentence, of a reference with a name.
func words(c *check, reference *Column, name string, f *Finding) string {
	switch c.name {
	case CheckDrift:
		return driftWords(c, name, f)
	case CheckNulls:
		s := fmt.Sprintf("%s: %s of the values are missing, %s in %s", f.Column, percent(f.Value), percent(f.Reference), name)
		if math.IsNaN(f.Value) {
			return f.Column + ": no rows"
		}
		if c.test < 0 {
			return s + ": limit " + percent(f.Threshold)
		}
		return s + chance(f)
	}
	value := func(x float64) string {
		if reference.Kind == Time && !math.IsNaN(x) {
			return time.Unix(int64(x), 0).UTC().Format("2006-01-02 15:04:05")
		}
		return figure(x)
	}
	what := map[string]string{CheckMean: "mean", CheckMedian: "median", CheckMin: "smallest value", CheckMax: "largest value"}[c.name]
	if math.IsNaN(f.Value) {
		return fmt.Sprintf("%s: no value, so no %s", f.Column, what)
	}
	s := fmt.Sprintf("%s: the %s went from %s to %s", f.Column, what, value(f.Reference), value(f.Value))
	switch {
	case c.name != CheckMedian:
	case f.Value < reference.Min:
		s = fmt.Sprintf("%s: the median went from %s to about %s, below the range of %s", f.Column, value(f.Reference), value(f.Value), name)
	case f.Value > reference.Max:
		s = fmt.Sprintf("%s: the median went from %s to about %s, above the range of %s", f.Column, value(f.Reference), value(f.Value), name)
	}
	if f.Value == f.Reference {
		s = fmt.Sprintf("%s: the %s stayed at %s", f.Column, what, value(f.Value))
	}
	unit, of := math.Abs(f.Reference), ""
	if c.name == CheckMin || c.name == CheckMax || reference.Kind == Time {
		unit, of = reference.Max-reference.Min, " of the range"
	}
	if unit > 0 && f.Value != f.Reference {
		change := 100 * (f.Value - f.Reference) / unit
		s += fmt.Sprintf(", %+s %%%s", signed(change), of)
	}
	return s + ": limit " + percent(c.within) + map[bool]string{true: of}[f.Value == f.Reference]
}

func driftWords(c *check, name string, f *Finding) string {
	if math.IsNaN(f.Value) {
		return f.Column + ": no value whose distribution could differ"
	}
	s := fmt.Sprintf("%s: the distribution differs from %s by %s of %s", f.Column, name, figure(f.Value), c.metric.Title)
	switch {
	case f.Value == 0:
		s = f.Column + ": the distribution is that of " + name
	case strings.HasPrefix(f.Unit, "the column") || strings.HasPrefix(f.Unit, "standard deviations"):
		s += " (in " + f.Unit + ")"
	}
	if c.test < 0 {
		return s + ": limit " + figure(f.Threshold)
	}
	return s + chance(f)
}

// chance says how likely a calibrated finding is without drift.
func chance(f *Finding) string {
	s := ""
	if !math.IsNaN(f.Threshold) {
		s = ": limit " + figure(f.Threshold)
	}
	switch {
	case f.P >= 0.095:
		return s + ", as expected by chance"
	case f.P < 1e-6:
		return s + ", by chance less than once in a million windows"
	}
	return s + ", by chance in one of " + figure(math.Round(1/f.P)) + " windows"
}

func percent(x float64) string { return figure(100*x) + " %" }

func signed(x float64) string {
	if x > 0 {
		return "+" + figure(x)
	}
	return figure(x)
}

// figure writes a number for people: three digits, or all of the whole part, in groups of three.
func figure(x float64) string {
	a := math.Abs(x)
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return fmt.Sprint(x)
	case a >= 1e15 || a < 1e-4 && a > 0:
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	decimals := 0
	for limit := 100.0; a < limit && decimals < 7 && a > 0; limit /= 10 {
		decimals++
	}
	s := strconv.FormatFloat(x, 'f', decimals, 64)
	if decimals > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	whole, rest, found := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		whole += "." + rest
	}
	return sign + whole
}
