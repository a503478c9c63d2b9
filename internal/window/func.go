package window

import (
	"fmt"
	"strings"
)

// Func is a function over the values in a window. The documentation of the package says what each computes.
type Func uint8

// The functions.
const (
	// Count counts records, or values of its argument.
	Count Func = iota + 1
	// Sum adds values.
	Sum
	// Mean is the arithmetic mean.
	Mean
	// Min is the lowest value.
	Min
	// Max is the highest value.
	Max
	// Variance is the variance of the sample.
	Variance
	// Stddev is the standard deviation of the sample.
	Stddev
	// Distinct counts different values, numbers or texts.
	Distinct
	// First is the value of the earliest event time.
	First
	// Last is the k-th value back; it is called last and lag.
	Last
	// Difference is the record's own value less the one before.
	Difference
	// Percentile is the value of a given rank.
	Percentile
)

// names returns the names of the functions, by Func.
func names() [Percentile + 1]string {
	return [...]string{
		Count: "count", Sum: "sum", Mean: "mean", Min: "min", Max: "max", Variance: "variance", Stddev: "stddev",
		Distinct: "distinct", First: "first", Last: "last", Difference: "difference", Percentile: "percentile",
	}
}

// String returns the name of f.
func (f Func) String() string {
	if f < Count || f > Percentile {
		return fmt.Sprintf("Func(%d)", uint8(f))
	}
	return names()[f]
}

// ParseFunc returns the function of a name; "lag" is [Last]. Another name is an error that lists the names.
func ParseFunc(name string) (Func, error) {
	if name == "lag" {
		return Last, nil
	}
	all := names()
	for f := Count; f <= Percentile; f++ {
		if all[f] == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("window: no such function: %q: want lag or one of %s", name, strings.Join(all[Count:], ", "))
}

// MarshalText returns the name of f; an unknown function is an error.
func (f Func) MarshalText() ([]byte, error) {
	if f < Count || f > Percentile {
		return nil, fmt.Errorf("window: no such function: %d", uint8(f))
	}
	return []byte(f.String()), nil
}

// UnmarshalText sets f to the function of a name, as [ParseFunc] does.
func (f *Func) UnmarshalText(name []byte) error {
	g, err := ParseFunc(string(name))
	if err == nil {
		*f = g
	}
	return err
}

// Accepts tells whether an argument of kind k can be given to f.
func (f Func) Accepts(k Kind) bool { return k == Numbers || f == Count || f == Distinct }
