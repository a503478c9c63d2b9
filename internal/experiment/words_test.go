package experiment

import (
	"math"
	"testing"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{
		0: "0", 1.23456: "1.235", 9999: "9999", 9999.99: "10,000", 75812.4: "75,810", -35841: "-35,840", 1e6: "1,000,000", 123456789: "123,500,000", 1e15: "1e+15", 0.00001234: "1.234e-05",
	} {
		if got := brief(x); got != want {
			t.Errorf("%g: %s, want %s", x, got, want)
		}
	}
	inf := math.Inf(1)
	for want, i := range map[string]Interval{
		"-1 to 12,000": {0, -1, 12000}, "up to -35,840": {0, -inf, -35840}, "from 2": {3, 2, inf}, "without bounds": {0, -inf, inf},
	} {
		if got := i.words(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
